//! What needs a program that is not as it should be: one with a bug that the tests must find, and one that a signal kills.

use std::time::Duration;

use gemba::net::firestore::Value;

use crate::ledger::Acked;
use crate::line::{Machine, Sender, section, wait_until};
use crate::node::Node;
use crate::rabbit::Broker;
use crate::sharing::{Shared, acting, calls, held};
use crate::targets::{Does, Target};

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

/// Starts a processor again for as long as something ends it; how often something did.
fn until_settled(processor: &mut Machine, sender: &Sender) -> u32 {
    let last = sender.ledger.acked.last().unwrap().clone();
    let mut ends = 0;
    wait_until("neither settled nor ended", || {
        if processor.has_ended() {
            ends += 1;
            assert!(ends < 15, "it never stops");
            processor.up();
        }
        let answer = processor.node().try_ask(&format!("/v1/signals/{}/{}", last.tenant, last.id));
        answer.is_some_and(|answer| answer.status == 200 && answer.json()["status"] != "accepted")
    });
    ends
}

/// What the queue's section says, and what the processor's environment says.
type Way = (&'static str, &'static [(&'static str, &'static str)]);

/// The queues that there are; and a processor that acknowledges nothing, so that each begins with all that the last one took.
const WAYS: [Way; 3] = [
    ("", &[]),
    ("queue_type = \"classic\"\n", &[]),
    ("queue_type = \"classic\"\n", &[("GEMBA_PLANT", "ack-late")]),
];

/// What ends its processor whenever it is taken is given up after some ends, on whatever queue, and nothing else is.
fn kills((queue, variables): Way, poison: (&'static str, &'static str)) -> (u32, Vec<serde_json::Value>) {
    let Some(broker) = Broker::start() else { return (0, Vec::new()) };
    let rabbit = section(&broker, &format!("prefetch = 100\n{queue}"));
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut sender = Sender::new(3);
    // The first and the last ones are in messages of their own, around the one that kills.
    for batches in [1, 39, 1] {
        for _ in 0..batches {
            assert!(sender.batch(0, &edge, 5));
        }
        wait_until("it is in the queue", || edge.node().metric("gemba_broker_backlog_events") == 0.0);
    }
    let variables = [&[poison], variables].concat();
    let mut processor = Machine::start_with("processor", "processor-1", &rabbit, &variables);
    let ends = until_settled(&mut processor, &sender);
    println!("machines: {variables:?} ended {ends} processes");
    let found = || processor.node().ask("/v1/deadletters?limit=1000").json();
    wait_until("it is a dead letter", || !found()["deadletters"].as_array().unwrap().is_empty());
    let cases = found()["deadletters"].as_array().unwrap().clone();
    for case in &cases {
        assert_eq!(case["detail"], "taking it has ended the processor again and again", "{cases:?}");
    }
    assert_eq!(cases.len(), 1, "its neighbours are innocent: {cases:?}");
    let lost = |acked: &&Acked| {
        let answer = processor.node().ask(&format!("/v1/signals/{}/{}", acked.tenant, acked.id));
        answer.status != 200 || answer.json()["status"] == "accepted"
    };
    wait_until("its neighbours are decided", || {
        // Of what cannot be read, the signals beside it in the same message are given up with it.
        let most = if poison.0 == "GEMBA_POISON" { 1 } else { gemba::limits::MESSAGE_SIGNALS_MAX };
        sender.ledger.acked.iter().filter(lost).count() <= most
    });
    assert_eq!(broker.messages("tai2030.signals.deadletter"), 0);
    edge.terminate();
    processor.terminate();
    (ends, cases)
}

#[test]
fn a_signal_that_kills_its_processor_becomes_a_dead_letter_and_its_neighbours_are_decided() {
    for way in WAYS {
        let (ends, cases) = kills(way, ("GEMBA_POISON", "s-0-101"));
        assert!(ends <= 9, "{ends}");
        assert!(cases.iter().all(|case| case["signal_id"] == "s-0-101"), "{cases:?}");
    }
}

#[test]
fn a_message_that_kills_its_processor_before_it_is_read_becomes_a_dead_letter() {
    for way in WAYS {
        let (ends, cases) = kills(way, ("GEMBA_POISON_BYTES", "\"s-0-101\""));
        assert!(ends <= 6, "{ends}");
        assert!(cases.iter().all(|case| case["tenant"] == "unknown"), "{cases:?}");
    }
}

/// A processor ends at this point; the next one goes on, and the first comes back.
fn ends_at(point: &'static str, line: &Shared, mut sender: Sender, batches: usize, target: &Target) {
    let mut edge = line.edge("edge-1");
    for _ in 0..batches {
        assert!(sender.batch(0, &edge, 20));
    }
    wait_until("it is in the queues", || edge.node().metric("gemba_broker_backlog_events") == 0.0);
    let mut first = line.processor_with("processor-1", &[("GEMBA_FAULT", point)]);
    wait_until("it has ended", || first.has_ended());
    let mut second = line.processor("processor-2");
    assert!(sender.batch(0, &edge, 20));
    line.wait_until_shared(&sender, &["edge-1"]);
    first.heal();
    first.up();
    assert!(sender.batch(0, &edge, 20));
    line.wait_until_shared(&sender, &["edge-1"]);
    line.wait_until_settled(&[&first, &second]);
    edge.terminate();
    let history = line.history(&sender, &mut [&mut first, &mut second]);
    let actions = history.check_actions(&calls(target, |_| false));
    println!("machines: {point}: {} signals, {actions} actions", sender.ledger.acked.len());
}

#[test]
fn a_processor_may_end_at_any_point_of_a_round() {
    for point in ["K18:1", "K18:2", "K19:1", "K19:2", "K19:3"] {
        let target = Target::start(|_| Does::Answer(200));
        let (_dir, acting) = acting(&target);
        let Some(line) = Shared::start(2, &acting) else { return };
        ends_at(point, &line, Sender::new(10).acting_every(9), 10, &target);
    }
}

#[test]
fn a_processor_may_end_at_any_point_of_a_round_that_is_larger_than_a_write() {
    for point in ["K20:1", "K21:1"] {
        let target = Target::start(|_| Does::Answer(200));
        // Signals wait in their governors for a while, so that their bodies are shared.
        let waits = "[entitlement]\ndefault = \"required\"\n[governor]\nboot_timeout_seconds = 20\n";
        let Some(line) = Shared::start(2, waits) else { return };
        ends_at(point, &line, Sender::new(25).weighing(12_000), 65, &target);
        let chunks =
            line.fake.documents("partitions/").keys().filter(|path| path.contains(".staged.")).count();
        assert!(chunks > 0, "no round was larger than a write");
    }
}

/// What a planted bug does is found in the history.
fn found(check: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let said = std::panic::catch_unwind(check).expect_err("the bug was planted and not found");
    let said = said.downcast_ref::<String>().map_or("?", |said| said).to_owned();
    println!("machines: found: {}", said.chars().take(200).collect::<String>());
    said
}

/// A processor with a bug decides while the store is away, and dies; the other one decides the same signals.
fn dies_unshared(plant: &'static str, has_done_it: impl Fn(&Node, &Acked) -> bool) -> String {
    let Some(line) = Shared::start(1, "") else { return "twice never".to_owned() };
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(4);
    let mut first = line.processor_with("processor-1", &[("GEMBA_PLANT", plant)]);
    assert!(sender.batch(0, &edge, 20));
    line.wait_until_shared(&sender, &["edge-1"]);
    line.fake.stop();
    assert!(sender.batch(0, &edge, 20));
    wait_until("it is decided", || first.node().metric("gemba_state_unshared_seconds") > 0.0);
    std::thread::sleep(Duration::from_secs(2));
    wait_until("the bug has shown", || has_done_it(first.node(), sender.ledger.acked.last().unwrap()));
    first.kill();
    line.fake.start_again();
    let mut second = line.processor("processor-2");
    assert!(sender.batch(0, &edge, 20));
    // What is lost is not waited for.
    wait_until("the other one decides", || held(&second) == 1.0);
    wait_until("the queue is empty", || second.node().metric("gemba_broker_unacknowledged_messages") == 0.0);
    std::thread::sleep(Duration::from_secs(3));
    first.heal();
    first.up();
    edge.terminate();
    found(std::panic::AssertUnwindSafe(|| drop(line.history(&sender, &mut [&mut first, &mut second]))))
}

#[test]
fn effects_that_do_not_wait_for_the_store_are_found() {
    let said = dies_unshared("effects-before-shared", |first, last| {
        let answer = first.ask(&format!("/v1/signals/{}/{}", last.tenant, last.id));
        answer.status == 200 && answer.json()["status"] != "accepted"
    });
    assert!(said.contains("twice"), "{said}");
}

#[test]
fn an_acknowledgement_that_does_not_wait_for_the_store_is_found() {
    let said = dies_unshared("ack-before-shared", |first, _| {
        first.metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    assert!(said.contains("never"), "{said}");
}

#[test]
fn a_head_that_presumes_nothing_is_found() {
    let Some(line) = Shared::start(1, "") else { return };
    let mut edge = line.edge("edge-1");
    let mut sender = Sender::new(4);
    let mut first = line.processor_with("processor-1", &[("GEMBA_PLANT", "head-presumes-nothing")]);
    assert!(sender.batch(0, &edge, 20));
    line.wait_until_shared(&sender, &["edge-1"]);
    let mut second = line.processor("processor-2");
    wait_until("it is connected", || second.node().metric("gemba_broker_connected") == 1.0);
    line.fake.stop();
    assert!(sender.batch(0, &edge, 20));
    wait_until("it is decided", || first.node().metric("gemba_state_unshared_seconds") > 0.0);
    first.node().signal("STOP");
    line.fake.start_again();
    let owner = || line.fake.documents("partitions/")["partitions/tai2030.signals.0"].fields["owner"].clone();
    wait_until(
        "the other one has taken it",
        || matches!(owner(), Value::Text(owner) if owner.starts_with("processor-2.")),
    );
    first.node().signal("CONT");
    wait_until(
        "the stale one has written",
        || matches!(owner(), Value::Text(owner) if owner.starts_with("processor-1.")),
    );
    edge.terminate();
    found(std::panic::AssertUnwindSafe(|| drop(line.history(&sender, &mut [&mut first, &mut second]))));
}
