//! What the nodes go through.

use std::time::Duration;

use crate::line::{Machine, Sender, section};
use crate::rabbit::Broker;

#[test]
fn a_processor_that_dies_again_and_again_costs_no_innocent_signal() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "prefetch = 100\n");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    let mut sender = Sender::new(10);
    // More often than today's RabbitMQ would let a message be delivered.
    for round in 0..25 {
        for _ in 0..20 {
            assert!(sender.batch(0, &edge, 10));
        }
        std::thread::sleep(Duration::from_millis(round * 17 % 90));
        processor.kill();
        processor.up();
    }
    sender.wait_until_taken(&[&processor]);
    assert_eq!(broker.messages("tai2030.signals.deadletter"), 0);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_processor_that_stands_still_is_given_everything_again() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    let mut sender = Sender::new(10);
    assert!(sender.batch(0, &edge, 100));
    sender.wait_until_taken(&[&processor]);
    for _ in 0..20 {
        assert!(sender.batch(0, &edge, 10));
    }
    processor.node().signal("STOP");
    for _ in 0..20 {
        assert!(sender.batch(0, &edge, 10));
    }
    // Longer than the broker waits for a sign of life.
    std::thread::sleep(Duration::from_secs(35));
    processor.node().signal("CONT");
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn edges_and_processors_that_are_killed_lose_nothing_that_was_answered() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "partitions = 3\nprefetch = 20\n");
    let mut edges = [Machine::start("edge", "edge-a", &rabbit), Machine::start("edge", "edge-b", &rabbit)];
    let halves = ["consume = [0]\n", "consume = [1, 2]\n"].map(|consume| format!("{rabbit}{consume}"));
    let mut processors = [
        Machine::start("processor", "processor-a", &halves[0]),
        Machine::start("processor", "processor-b", &halves[1]),
    ];
    let mut sender = Sender::new(24);
    let mut random = 7_u64;
    for round in 0..12 {
        for step in 0..30 {
            sender.batch(step % 2, &edges[step % 2], 25);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(random >> 56));
        let machine = match round % 4 {
            0 => &mut edges[0],
            1 => &mut processors[0],
            2 => &mut edges[1],
            _ => &mut processors[1],
        };
        machine.kill();
        machine.up();
    }
    sender.wait_until_taken(&[&processors[0], &processors[1]]);
    for machine in edges.iter_mut().chain(&mut processors) {
        machine.terminate();
    }
    println!(
        "machines: {} acked, {} unknown, 12 kills",
        sender.ledger.acked.len(),
        sender.ledger.unknown.len()
    );
    sender.ledger.check(&[&processors[0].data(), &processors[1].data()]);
}
