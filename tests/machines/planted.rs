//! The tests find a bug that is there: an edge that takes a message for confirmed when it has sent it.

use std::time::Duration;

use crate::line::{Machine, Sender, section, wait_until};
use crate::rabbit::Broker;

#[test]
fn a_message_that_counts_when_it_is_sent_is_lost_and_missed() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start_with("edge", "edge-1", &rabbit, &[("GEMBA_PLANT", "confirmed-when-sent")]);
    wait_until("it is connected", || edge.node().metric("gemba_broker_connected") == 1.0);
    std::thread::sleep(Duration::from_secs(6));
    // What the broker does not read any more is lost with it.
    broker.signal("STOP");
    let mut sender = Sender::new(3);
    for _ in 0..5 {
        assert!(sender.batch(0, &edge, 10));
        wait_until("it counts as confirmed", || edge.node().metric("gemba_broker_backlog_events") == 0.0);
    }
    broker.run("stop");
    broker.run("start");
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    wait_until("it is connected", || processor.node().metric("gemba_broker_connected") == 1.0);
    std::thread::sleep(Duration::from_secs(2));
    edge.terminate();
    processor.terminate();
    let found = std::panic::catch_unwind(|| sender.ledger.check(&[&processor.data()]));
    let said = found.expect_err("the bug was planted and not found");
    println!("machines: found: {}", said.downcast_ref::<String>().map_or("?", |said| said));
}
