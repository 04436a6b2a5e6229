//! Kills a running node at random moments and at the points of `src/fault.rs`, starts it again on what it left, and
//! holds it to what its clients were told: real processes, real sockets, real files.
//!
//! The client keeps its own log. What was answered 202 must be decided, with its number and one final receipt, for
//! ever; what got no answer is sent again and must get the first promise back or a fresh one; no number is given
//! twice, and none goes below one that was promised before the signal was sent.
//!
//! What this cannot find: a `kill -9` leaves the kernel's page cache, so a node that answers before it syncs passes
//! here (`ack-before-sync`). That is for the simulation, whose disk forgets what was not synced, for `sync_error`, where
//! the sync itself fails, and for `device`, where it fails since the device refuses the blocks.
//!
//! `GEMBA_KILLS` blind kills (40), `GEMBA_POINT_KILLS` for each named point (2; needs the feature `faults`),
//! `GEMBA_CHAINS` of kills during recovery (6), `GEMBA_SEED`. The seed chooses what is killed when; the threads of
//! node and clients remain the machine's.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it wants")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

#[cfg(feature = "faults")]
mod action_key;
mod campaign;
mod client;
mod device;
mod disk_full;
mod home;
mod ledger;
#[cfg(feature = "faults")]
mod planted;
#[path = "../support/mod.rs"]
mod support;
mod sync_error;
mod traffic;
mod verify;

use campaign::{Campaign, Plan};
#[cfg(feature = "faults")]
use support::targets;
use support::{checker, http, node, program, rng};

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

fn seed() -> u64 {
    std::env::var("GEMBA_SEED").map_or_else(
        |_| std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        |text| text.parse().expect("GEMBA_SEED is a number"),
    )
}

#[test]
fn what_was_answered_outlives_kills() {
    let points = if cfg!(feature = "faults") { number("GEMBA_POINT_KILLS", 2) } else { 0 };
    let plan = Plan {
        seed: seed(),
        blind: number("GEMBA_KILLS", 40),
        chains: number("GEMBA_CHAINS", 6),
        per_point: points,
        plant: None,
    };
    let mut campaign = Campaign::new(plan);
    campaign.run();
    campaign.report();
    assert!(campaign.violations().is_empty(), "{:#?}", campaign.violations());
    assert!(campaign.never_reached().is_empty(), "no run reached {:?}", campaign.never_reached());
}
