//! The queues, as they are declared and as they are found.

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use crate::line::{Machine, Sender, broker_health, section, wait_until};
use crate::program::command;
use crate::rabbit::Broker;

fn trouble(machine: &Machine) -> String {
    broker_health(machine)["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_queue_that_is_another_one_is_told_by_its_argument() {
    let Some(broker) = Broker::start() else { return };
    broker.with(async |channel| {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
        channel.queue_declare("tai2030.signals".into(), options, arguments).await.unwrap();
    });
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut sender = Sender::new(3);
    assert!(sender.batch(0, &edge, 5), "it is no reason not to accept");
    let mut why = String::new();
    wait_until("it is told", || {
        why = trouble(&edge);
        why.contains("the queues are not as configured")
    });
    assert!(
        why.contains("inequivalent arg") && why.contains("x-") && why.contains("tai2030.signals"),
        "{why}"
    );
    // Once it is gone, what waited goes out.
    broker.with(async |channel| {
        channel.queue_delete("tai2030.signals".into(), QueueDeleteOptions::default()).await.unwrap();
    });
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_message_without_a_queue_is_not_taken_for_confirmed() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    wait_until("it is connected", || edge.node().metric("gemba_broker_connected") == 1.0);
    let mut sender = Sender::new(3);
    for _ in 0..3 {
        broker.with(async |channel| {
            channel.queue_delete("tai2030.signals".into(), QueueDeleteOptions::default()).await.unwrap();
        });
        for _ in 0..20 {
            assert!(sender.batch(0, &edge, 5));
        }
        let before = sender.ledger.acked.len();
        wait_until("it is told", || edge.node().metric("gemba_broker_reconnects_total") > 0.0);
        // The edge declares it again, and publishes what was returned.
        wait_until("it is confirmed", || edge.node().metric("gemba_broker_backlog_events") == 0.0);
        let mut processor = Machine::start("processor", "processor-1", &rabbit);
        sender.wait_until_taken(&[&processor]);
        processor.terminate();
        sender.ledger.check(&[&processor.data()]);
        assert_eq!(sender.ledger.acked.len(), before);
        sender = Sender::new(3);
        edge.terminate();
        edge = Machine::start("edge", "edge-1", &rabbit);
        wait_until("it is connected", || edge.node().metric("gemba_broker_connected") == 1.0);
    }
    edge.terminate();
}

#[test]
fn a_full_queue_is_waited_for() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    broker.ctl(&["set_policy", "short", "^tai2030.signals$", r#"{"max-length":3}"#, "--apply-to", "queues"]);
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    wait_until("it is connected", || edge.node().metric("gemba_broker_connected") == 1.0);
    let mut sender = Sender::new(3);
    for _ in 0..40 {
        assert!(sender.batch(0, &edge, 3));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    wait_until("it is told", || trouble(&edge).contains("its queue is full"));
    assert!(edge.node().metric("gemba_broker_backlog_events") > 0.0);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    broker.ctl(&["clear_policy", "short"]);
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn classic_queues_that_are_lost_with_the_broker_serve_development() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "durable = false\npartitions = 2\n");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    let mut sender = Sender::new(6);
    for _ in 0..5 {
        assert!(sender.batch(0, &edge, 100));
    }
    sender.wait_until_taken(&[&processor]);
    edge.terminate();
    processor.terminate();
    sender.ledger.check(&[&processor.data()]);
}

#[test]
fn a_processor_without_the_state_of_what_came_before_says_so_and_takes_nothing() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut first = Machine::start("processor", "processor-1", &rabbit);
    let mut sender = Sender::new(3);
    assert!(sender.batch(0, &edge, 10));
    sender.wait_until_taken(&[&first]);
    first.terminate();
    assert!(sender.batch(0, &edge, 10));
    let mut second = Machine::start("processor", "processor-2", &rabbit);
    // While it tries again it is connected for a moment.
    wait_until("it is told", || {
        let health = broker_health(&second);
        let why = health["reason"].as_str().unwrap_or_default();
        why.contains("were taken by another node, whose state is not here") && health["ok"] == false
    });
    second.terminate();
    // The one that has it goes on.
    first.up();
    sender.wait_until_taken(&[&first]);
    assert!(sender.batch(0, &edge, 10));
    sender.wait_until_taken(&[&first]);
    // And another one goes on without, where that is wanted.
    first.terminate();
    assert!(sender.batch(0, &edge, 10));
    let mut third = Machine::start("processor", "processor-3", &section(&broker, "adopt = true\n"));
    sender.wait_until_taken(&[&first, &third]);
    edge.terminate();
    third.terminate();
    sender.ledger.check(&[&first.data(), &third.data()]);
}

/// What a node says of a partition to whoever asks `gemba status`.
fn said_of(machine: &Machine, partition: u16) -> String {
    let admin = format!("http://{}", machine.node().admin);
    let mut status = command(machine.home.path());
    status.env("GEMBA_CONFIG", "gemba.toml").args(["status", "--admin", &admin]);
    let output = status.stdout(std::process::Stdio::piped()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.trim().starts_with(&format!("partition {partition} ")));
    line.unwrap_or_else(|| panic!("no partition {partition} in\n{text}")).to_owned()
}

/// A processor that is dead tells nothing, and a partition that nobody is configured to take has none that could: the
/// edge that publishes to them, and the processor beside them, do.
#[test]
fn a_partition_that_nobody_takes_is_seen_by_those_that_live() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "partitions = 2\n");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let sees = |machine: &Machine, name: &str, partition: u16, value: u64| {
        let series = format!("gemba_broker_queue_{name}{{partition=\"{partition}\"}} {value}");
        machine.node().ask("/metrics").text().lines().any(|line| line == series)
    };
    // Each is asked in its turn; a broker that is slow to answer leaves one unknown until the next.
    let says = |machine: &Machine, partition: u16, words: &str| {
        wait_until(words, || said_of(machine, partition).contains(words));
    };
    wait_until("nobody takes either", || sees(&edge, "consumers", 0, 0) && sees(&edge, "consumers", 1, 0));
    wait_until("it is a trouble", || edge.node().metric("system_status") > 0.5);
    wait_until("it is told", || {
        let ready = edge.node().ask("/readyz");
        assert_eq!(ready.status, 200, "{}", ready.text());
        ready.text().contains("nobody takes partition 0")
    });
    let mut processor = Machine::start("processor", "processor-1", &format!("{rabbit}consume = [0]\n"));
    wait_until("the first alone is taken", || {
        sees(&edge, "consumers", 0, 1) && sees(&edge, "consumers", 1, 0)
    });
    says(&edge, 0, "a processor takes it");
    says(&edge, 1, "nobody takes it");
    wait_until("the processor knows", || sees(&processor, "consumers", 1, 0));
    says(&processor, 1, "nobody takes it; `rabbitmq.consume` of this node leaves it out");
    says(&processor, 0, "this node stands in line; no message has come to it yet");
    let mut sender = Sender::new(16);
    assert!(sender.batch(0, &edge, 64));
    says(&processor, 0, "taken here");
    wait_until("the other waits", || {
        said_of(&edge, 1).contains("nobody takes it") && !sees(&edge, "messages", 1, 0)
    });
    // It dies, and only the edge is left to say so.
    processor.kill();
    wait_until("its death is seen", || sees(&edge, "consumers", 0, 0));
    let alive = |machine: &Machine| machine.node().metric("gemba_processors_alive");
    assert!(alive(&edge) < 0.5);
    says(&edge, 0, "nobody takes it");
    processor.up();
    wait_until("it is back", || sees(&edge, "consumers", 0, 1));
    broker.run("stop");
    says(&edge, 0, "not known");
    wait_until("no number is said of either", || {
        [0, 1].iter().all(|partition| {
            let series = format!("gemba_broker_queue_consumers{{partition=\"{partition}\"}}");
            !edge.node().ask("/metrics").text().contains(&series)
        })
    });
    broker.run("start");
    wait_until("it is known again", || sees(&edge, "consumers", 0, 1));
    for machine in [&edge, &processor] {
        wait_until("each sees one processor", || (alive(machine) - 1.0).abs() < 0.5);
    }
    processor.terminate();
    let mut both = Machine::start("processor", "processor-2", &rabbit);
    wait_until("all is well", || edge.node().metric("system_status") < 0.5);
    edge.terminate();
    both.terminate();
}
