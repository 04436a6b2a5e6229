//! What the broker goes through: an edge answers all the while, and nothing is lost, doubled or reordered.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::line::{Machine, Sender, broker_health, section, wait_until};
use crate::rabbit::Broker;

/// One edge, one processor.
fn pair(broker: &Broker, more: &str) -> (Machine, Machine) {
    let rabbit = section(broker, more);
    (Machine::start("edge", "edge-1", &rabbit), Machine::start("processor", "processor-1", &rabbit))
}

#[test]
fn what_an_edge_accepts_a_processor_decides() {
    let Some(broker) = Broker::start() else { return };
    let (mut edge, mut processor) = pair(&broker, "partitions = 4\nprefetch = 50\n");
    let mut sender = Sender::new(20);
    for size in [1, 1, 7, 100, 1, 300, 1000] {
        assert!(sender.batch(0, &edge, size));
    }
    sender.wait_until_taken(&[&processor]);
    let last = sender.ledger.acked.last().unwrap().clone();
    let status = processor.node().decided(&last.tenant, &last.id);
    assert_eq!(
        (status["status"].as_str(), status["receipts"].as_array().unwrap().len()),
        (Some("decided"), 1)
    );
    let status = edge.node().ask(&format!("/v1/signals/{}/{}", last.tenant, last.id)).json();
    assert_eq!((status["status"].as_str(), status["seq"].as_u64()), (Some("accepted"), Some(last.seq)));
    wait_until("everything is confirmed", || edge.node().metric("gemba_broker_backlog_events") == 0.0);
    assert_eq!(processor.node().metric("gemba_broker_repeated_messages_total"), 0.0);
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    for machine in [&mut edge, &mut processor] {
        machine.terminate();
    }
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_broker_that_is_not_there_is_a_longer_queue() {
    let Some(broker) = Broker::start() else { return };
    broker.run("stop");
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut sender = Sender::new(10);
    for _ in 0..20 {
        assert!(sender.batch(0, &edge, 50), "a broker that is away is no error");
    }
    // Its first connection is tried beside what it accepts.
    wait_until("it is told", || {
        let health = broker_health(&edge);
        assert!(health["ok"].as_bool().unwrap());
        health["reason"].as_str().is_some_and(|why| {
            why.contains("the broker cannot be reached") && why.ends_with("1000 events wait for it")
        })
    });
    let status = edge.node().ask("/v1/status").json();
    assert_eq!(
        (status["role"].as_str(), status["broker"]["backlog_events"].as_u64()),
        (Some("edge"), Some(1000))
    );
    let mut command = Command::new(crate::program::PROGRAM);
    command.args(["status", "--config", "gemba.toml", "--admin", &edge.node().admin.to_string()]);
    let shown = command.current_dir(edge.home.path()).output().unwrap();
    let (said, table) = (String::from_utf8_lossy(&shown.stderr), String::from_utf8_lossy(&shown.stdout));
    assert!(shown.status.success() && table.contains("1000 events wait for it"), "{table}{said}");
    // The queue is the journal: it outlives the edge.
    edge.kill();
    edge.up();
    assert!(sender.batch(0, &edge, 50));
    broker.run("start");
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    sender.wait_until_taken(&[&processor]);
    wait_until("the trouble is over", || broker_health(&edge)["reason"].is_null());
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_broker_that_is_killed_again_and_again_loses_nothing() {
    let Some(broker) = Broker::start() else { return };
    let (mut edge, mut processor) = pair(&broker, "partitions = 2\n");
    let mut sender = Sender::new(10);
    for _ in 0..4 {
        for machine in [&edge, &processor] {
            wait_until("the broker is there", || machine.node().metric("gemba_broker_connected") == 1.0);
        }
        // RabbitMQ 3.10.8 brings a quorum queue back without a leader, for good, where it is killed within seconds of its
        // start.
        std::thread::sleep(Duration::from_secs(6));
        for _ in 0..30 {
            assert!(sender.batch(0, &edge, 40));
        }
        broker.run("stop");
        for _ in 0..10 {
            assert!(sender.batch(0, &edge, 40));
        }
        broker.run("start");
    }
    sender.wait_until_taken(&[&processor]);
    assert!(edge.node().metric("gemba_broker_reconnects_total") >= 4.0);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_broker_that_says_nothing_is_left_and_found_again() {
    let Some(broker) = Broker::start() else { return };
    let (mut edge, mut processor) = pair(&broker, "");
    let mut sender = Sender::new(10);
    assert!(sender.batch(0, &edge, 100));
    sender.wait_until_taken(&[&processor]);
    broker.signal("STOP");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        assert!(sender.batch(0, &edge, 10));
        std::thread::sleep(Duration::from_millis(200));
    }
    let why = broker_health(&edge)["reason"].as_str().unwrap().to_owned();
    assert!(why.contains("the broker"), "{why}");
    broker.signal("CONT");
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_broker_short_of_memory_is_waited_for_without_piling_up() {
    let Some(broker) = Broker::start() else { return };
    let (mut edge, mut processor) = pair(&broker, "");
    let mut sender = Sender::new(10);
    assert!(sender.batch(0, &edge, 100));
    sender.wait_until_taken(&[&processor]);
    broker.run("block");
    assert!(sender.batch(0, &edge, 1));
    wait_until("the broker blocks", || edge.node().metric("gemba_broker_blocked") == 1.0);
    let before = edge.node().rss_bytes();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(3) {
        assert!(sender.batch(0, &edge, 200));
        std::thread::sleep(Duration::from_millis(100));
    }
    let grown = edge.node().rss_bytes().saturating_sub(before);
    println!(
        "machines: blocked for three minutes, {} signals wait, {grown} bytes more",
        sender.ledger.acked.len()
    );
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more");
    broker.run("unblock");
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn more_than_may_be_kept_for_the_broker_is_answered_503() {
    let Some(broker) = Broker::start() else { return };
    broker.run("stop");
    let rabbit = section(&broker, "");
    let small = "[kanban]\nsegment_mib = 4\nbacklog_mib = 12\n";
    let mut edge = Machine::start("edge", "edge-1", &format!("{small}{rabbit}"));
    let mut sender = Sender::new(10);
    let full = || edge.node().ask("/readyz").text().contains("no more can be kept for it");
    wait_until("as much is kept as may be", || {
        sender.batch(0, &edge, 1000);
        full()
    });
    assert!(!sender.batch(0, &edge, 1), "it is refused");
    broker.run("start");
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    sender.wait_until_taken(&[&processor]);
    wait_until("there is room again", || sender.batch(0, &edge, 1000));
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}
