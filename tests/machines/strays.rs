//! What stands in the queues and is no edge's signal, or was set aside: it becomes a dead letter and is seen.

use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;

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
