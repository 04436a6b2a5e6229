//! What needs a program that is not as it should be: one with a bug that the tests must find, and one that a signal kills.

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

#[test]
fn a_signal_that_kills_its_processor_becomes_a_dead_letter_and_its_neighbours_are_decided() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "prefetch = 100\n");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut sender = Sender::new(3);
    for _ in 0..40 {
        assert!(sender.batch(0, &edge, 5));
    }
    wait_until("it is in the queue", || edge.node().metric("gemba_broker_backlog_events") == 0.0);
    let mut processor =
        Machine::start_with("processor", "processor-1", &rabbit, &[("GEMBA_POISON", "s-0-101")]);
    let mut ends = 0;
    let all_is_settled = |processor: &mut Machine, ends: &mut u32| {
        let last = sender.ledger.acked.last().unwrap().clone();
        for _ in 0..200 {
            if processor.has_ended() {
                *ends += 1;
                return false;
            }
            let answer = processor.node().try_ask(&format!("/v1/signals/{}/{}", last.tenant, last.id));
            if answer.is_some_and(|answer| answer.status == 200 && answer.json()["status"] != "accepted") {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("neither settled nor ended");
    };
    while !all_is_settled(&mut processor, &mut ends) {
        assert!(ends < 15, "it never stops");
        processor.up();
    }
    println!("machines: the poison ended {ends} processes");
    let found = || processor.node().ask("/v1/deadletters?limit=1000").json();
    wait_until("it is a dead letter", || !found()["deadletters"].as_array().unwrap().is_empty());
    let found = found();
    let cases = found["deadletters"].as_array().unwrap();
    let poison =
        |case: &&serde_json::Value| case["detail"] == "taking it has ended the processor again and again";
    assert!(cases.iter().all(|case| poison(&case)), "{cases:?}");
    assert!(cases.iter().any(|case| case["signal_id"] == "s-0-101"), "{cases:?}");
    assert_eq!(cases.len(), 1, "its neighbours are innocent: {cases:?}");
    for acked in sender.ledger.acked.iter().filter(|acked| acked.id != "s-0-101") {
        let status = processor.node().decided(&acked.tenant, &acked.id);
        assert_ne!(status["status"], "accepted", "{status}");
    }
    assert_eq!(broker.messages("tai2030.signals.deadletter"), 0);
    edge.terminate();
    processor.terminate();
}
