//! The harness finds bugs that are there: each is planted in the node, and a short campaign must see a promise broken.
//!
//! Not among them is a bug that needs a kill within a few milliseconds (`state-before-receipt`), and what only a power
//! cut shows, since a killed process leaves its page cache: `ack-before-sync`, `skip-dir-sync`, `trim-not-synced`; and
//! `seq-restarts`, since without a cut no frame is lost whose numbers could be given again. The simulation finds those.

use crate::campaign::{Campaign, Plan};

fn finds(plant: &'static str) {
    let mut campaign =
        Campaign::new(Plan { seed: 3, blind: 16, chains: 0, per_point: 1, plant: Some(plant) });
    campaign.run();
    assert!(!campaign.violations().is_empty(), "{plant} was planted and not found");
    println!("crash: {plant} found: {}", campaign.violations()[0]);
}

#[test]
fn a_memory_that_knows_nobody_is_found() {
    finds("dedup-off");
}

#[test]
fn a_lost_receipt_is_found() {
    finds("receipt-lost");
}

#[test]
fn signals_decided_in_another_order_are_found() {
    finds("order-swapped");
}
