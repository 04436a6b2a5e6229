//! What stands in the queues and is no edge's signal, or was set aside: it becomes a dead letter and is seen.

use gemba::event::{EdgeName, Seq};
use gemba::kanban::broker::message::{CONTENT_TYPE, Draft, Origin, Span};
use gemba::signal::{Assurance, Provenance, Severity, Text, Unchecked};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::ledger::journal_of;
use crate::line::{Machine, Sender, section, wait_until};
use crate::rabbit::Broker;

fn cases(processor: &Machine) -> Vec<serde_json::Value> {
    processor.node().ask("/v1/deadletters").json()["deadletters"].as_array().unwrap().clone()
}

fn publish(broker: &Broker, queue: &str, id: &str, body: &[u8]) {
    broker.with(async |channel| {
        let properties = BasicProperties::default().with_message_id(id.into());
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), queue.into(), options, body, properties)
            .await
            .unwrap()
            .await
            .unwrap();
        channel.close(200, "done".into()).await.unwrap();
    });
}

#[test]
fn what_no_edge_wrote_and_what_was_set_aside_is_a_dead_letter() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    wait_until("it is connected", || edge.node().metric("gemba_broker_connected") == 1.0);
    // Nobody consumes yet: what comes becomes too old, and the broker sets it aside.
    broker.ctl(&["set_policy", "old", "^tai2030.signals$", r#"{"message-ttl":500}"#, "--apply-to", "queues"]);
    let mut sender = Sender::new(1);
    assert!(sender.batch(0, &edge, 3));
    wait_until("it is set aside", || broker.messages("tai2030.signals.deadletter") == 1);
    broker.ctl(&["clear_policy", "old"]);
    publish(&broker, "tai2030.signals", "hello-1", b"hello");
    publish(&broker, "tai2030.signals", "", &vec![0xff; 300_000]);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    wait_until("all of it is there", || cases(&processor).len() == 5);
    let found = cases(&processor);
    let of = |tenant: &str| found.iter().filter(|case| case["tenant"] == tenant).collect::<Vec<_>>();
    assert_eq!((of("t0-0").len(), of("unknown").len()), (3, 2), "{found:?}");
    for case in of("t0-0") {
        assert_eq!(case["cause"], "us", "{case}");
        assert_eq!(case["detail"], "the broker set it aside", "{case}");
    }
    for case in of("unknown") {
        assert_eq!(case["cause"], "sender", "{case}");
        assert_eq!(case["detail"], "it stood in a queue of the broker and no edge wrote it", "{case}");
    }
    // What comes behind it is decided, and the queues are empty.
    assert!(sender.batch(0, &edge, 2));
    let last = sender.ledger.acked.last().unwrap().clone();
    wait_until("it is decided", || {
        let answer = processor.node().ask(&format!("/v1/signals/{}/{}", last.tenant, last.id));
        answer.status == 200 && answer.json()["status"] == "decided"
    });
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 0.0);
    edge.terminate();
    processor.terminate();
    assert_eq!((broker.messages("tai2030.signals"), broker.messages("tai2030.signals.deadletter")), (0, 0));
}

#[test]
fn one_id_with_two_bodies_from_two_edges_is_decided_once_and_the_other_is_a_dead_letter() {
    let Some(broker) = Broker::start() else { return };
    let rabbit = section(&broker, "");
    let mut edges = [Machine::start("edge", "edge-a", &rabbit), Machine::start("edge", "edge-b", &rabbit)];
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    let signal = |kind: &str, id: &str| {
        format!(r#"{{"id":"{id}","tenant":"acme","sku":"vm","type":"{kind}"}}"#).into_bytes()
    };
    // Both edges hold the same signal: it was sent again after an answer was lost.
    for edge in &edges {
        assert_eq!(edge.node().post("application/json", &signal("same.here", "twin")).status, 202);
    }
    for (edge, kind) in edges.iter().zip(["one.kind", "other.kind"]) {
        assert_eq!(edge.node().post("application/json", &signal(kind, "conflict")).status, 202);
    }
    wait_until("the conflict is seen", || cases(&processor).len() == 1);
    let case = cases(&processor).remove(0);
    assert_eq!((case["signal_id"].as_str(), case["cause"].as_str()), (Some("conflict"), Some("sender")));
    assert_eq!(processor.node().decided("acme", "twin")["receipts"].as_array().unwrap().len(), 1);
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    for machine in edges.iter_mut().chain([&mut processor]) {
        machine.terminate();
    }
}

/// A message as an edge would write it, of one signal of each number.
fn forged(after: u64, numbers: &[u64]) -> (BasicProperties, Vec<u8>) {
    let span = Span { after: Seq(after), through: Seq(*numbers.last().unwrap()) };
    let origin = Origin { edge: EdgeName::read("edge-x.0123456789abcdef").unwrap(), partition: 0, span };
    let mut draft = Draft::default();
    for number in numbers {
        let id = format!("x-{number}");
        let body = format!(r#"{{"id":"{id}","tenant":"acme","sku":"vm","type":"see.this"}}"#);
        let text = |text: &str| Text::Owned(text.into());
        let signal = Unchecked {
            id: text(&id),
            tenant: text("acme"),
            sku: text("vm"),
            kind: text("see.this"),
            severity: Severity::Info,
            provenance: Provenance::intern("signals", "default", Assurance::C).unwrap(),
            digest: *number,
            body: body.into(),
        }
        .check()
        .unwrap();
        draft.push(Seq(*number), &signal);
    }
    let mut headers = FieldTable::default();
    headers.insert("gemba-edge".into(), AMQPValue::LongString((*origin.edge).into()));
    headers.insert("gemba-partition".into(), AMQPValue::LongInt(0));
    headers.insert("gemba-after".into(), AMQPValue::LongLongInt(i64::try_from(after).unwrap()));
    headers.insert("gemba-through".into(), AMQPValue::LongLongInt(i64::try_from(span.through.0).unwrap()));
    let properties = BasicProperties::default().with_content_type(CONTENT_TYPE.into()).with_headers(headers);
    (properties, draft.seal(&origin))
}

#[test]
fn what_comes_too_early_waits_and_what_never_comes_is_told_and_left_behind() {
    let Some(broker) = Broker::start() else { return };
    let mut processor = Machine::start("processor", "processor-1", &section(&broker, ""));
    wait_until("it is connected", || processor.node().metric("gemba_broker_connected") == 1.0);
    let publish = |after, numbers: &[u64]| {
        let (properties, body) = forged(after, numbers);
        broker.with(async |channel| {
            let options = BasicPublishOptions::default();
            let published =
                channel.basic_publish("".into(), "tai2030.signals".into(), options, &body, properties);
            published.await.unwrap().await.unwrap();
            channel.close(200, "done".into()).await.unwrap();
        });
    };
    // The first, the fourth, the third, the second: and all of it in order.
    publish(0, &[3, 4]);
    publish(9, &[10]);
    publish(6, &[9]);
    publish(4, &[5, 6]);
    let taken = || journal_of(&processor.data()).into_iter().map(|taken| taken.id).collect::<Vec<_>>();
    wait_until("all is taken", || taken().len() == 6);
    assert_eq!(taken(), ["x-3", "x-4", "x-5", "x-6", "x-9", "x-10"]);
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 0.0);
    // Ten to nineteen never come.
    publish(19, &[20, 21]);
    wait_until("it is left behind", || taken().len() == 8);
    assert_eq!(taken()[6..], ["x-20", "x-21"]);
    assert_eq!(processor.node().metric("gemba_broker_missing_signals"), 9.0);
    // And what comes twice counts once.
    publish(6, &[9]);
    publish(21, &[22]);
    wait_until("it goes on", || taken().len() == 9);
    wait_until("all is acknowledged", || {
        processor.node().metric("gemba_broker_unacknowledged_messages") == 0.0
    });
    processor.terminate();
}
