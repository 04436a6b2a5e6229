//! A trace that goes over the broker.

use serde_json::Value;

use crate::line::{Machine, section};
use crate::otlp::{Receiver, named, one};
use crate::rabbit::Broker;

const SENDERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SENDERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn a_trace_goes_from_its_sender_over_the_edge_to_the_processor() {
    let Some(broker) = Broker::start() else { return };
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let traces =
        format!("[opentelemetry]\nendpoints = [\"{}\"]\ndelay_ms = 50\nsample_ratio = 0.0\n", receiver.url());
    let rabbit = section(&broker, &traces);
    let mut edge = Machine::start("edge", "edge-1", &rabbit);
    let mut processor = Machine::start("processor", "processor-1", &rabbit);
    let body = br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"no.rule"}"#;
    let signature = edge.node().sign(body);
    let headers =
        [("content-type", "application/json"), ("x-signature", &*signature), ("traceparent", SENDERS)];
    assert_eq!(edge.node().request("POST", "/v1/signals", &headers, body).status, 202);
    let of = |node: &str, told: &[Value]| -> Vec<Value> {
        let is =
            |span: &&Value| span["resource"]["service.instance.id"] == node && span["trace"] == SENDERS_TRACE;
        told.iter().filter(is).cloned().collect()
    };
    let is_whole = |told: &[Value]| {
        !named(&of("processor-1", told), "gemba.receipt").is_empty()
            && !named(&of("edge-1", told), "gemba.receive").is_empty()
    };
    let told = receiver.wait_for("the trace", is_whole);
    let (at_edge, at_processor) = (of("edge-1", &told), of("processor-1", &told));
    let receive = one(&at_edge, "gemba.receive");
    for (spans, name) in [
        (&at_edge, "gemba.verify"),
        (&at_edge, "gemba.journal"),
        (&at_processor, "gemba.journal"),
        (&at_processor, "gemba.decide"),
        (&at_processor, "gemba.receipt"),
    ] {
        assert_eq!(one(spans, name)["parent"], receive["id"], "{name}");
    }
    // Two journals, two spans.
    assert_ne!(one(&at_edge, "gemba.journal")["id"], one(&at_processor, "gemba.journal")["id"]);
    edge.terminate();
    processor.terminate();
}
