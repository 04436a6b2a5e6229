//! Traces, as receivers of others take them: one trace for a signal with a span for each stage, over HTTP and gRPC; what a sender
//! says of its own trace; a crash in between; and receivers that refuse, hang, or are away.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::actions::{ended, policy};
use crate::node::{Node, PATIENCE};
use crate::otlp::{Receiver, named, one};
use crate::targets::{Does, Target};

const JSON: &str = "application/json";
const SENDERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SENDERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDERS_SPAN: &str = "b7ad6b7169203331";

/// A node that tells of its traces as `section` says, with webhooks to `target` on signals of the type `hook`.
fn node(dir: &Path, target: &Target, section: &str) -> Node {
    let actions = format!(
        "[[action]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\ntimeout_seconds = 6\n",
        target.url()
    );
    let policy = policy(dir, &actions);
    let config =
        format!("[node]\nprofile = \"dev\"\nname = \"n1\"\n{policy}{actions}[opentelemetry]\n{section}\n");
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn section(endpoints: &[String], more: &str) -> String {
    format!("endpoints = {endpoints:?}\ndelay_ms = 50\n{more}")
}

/// Sends a signal with these header fields; its number.
fn send(node: &Node, kind: &str, id: &str, more: &[(&str, &str)]) -> u64 {
    let body = format!(r#"{{"id":"{id}","tenant":"acme","sku":"{id}","type":"{kind}"}}"#);
    let signature = node.sign(body.as_bytes());
    let headers = [&[("content-type", JSON), ("x-signature", &*signature)], more].concat();
    let answer = node.request("POST", "/v1/signals", &headers, body.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["seq"].as_u64().unwrap()
}

fn lost(node: &Node, cause: &str) -> u64 {
    let series = format!("gemba_telemetry_lost_total{{sink=\"traces\",cause=\"{cause}\"}} ");
    let page = node.ask("/metrics").text();
    page.lines().find_map(|line| line.strip_prefix(&*series)?.parse().ok()).unwrap_or(0)
}

fn wait_for_loss(node: &Node, cause: &str, least: u64) {
    let until = Instant::now() + PATIENCE;
    while lost(node, cause) < least {
        assert!(Instant::now() < until, "{}", node.ask("/metrics").text());
        std::thread::sleep(Duration::from_millis(20));
    }
}

const ALL: [&str; 7] = [
    "gemba.receive",
    "gemba.verify",
    "gemba.journal",
    "gemba.decide",
    "gemba.act",
    "gemba.try",
    "gemba.receipt",
];

#[test]
fn a_signal_has_one_trace_with_a_span_for_each_stage() {
    for protocol in ["http/protobuf", "grpc"] {
        let Some(receiver) = Receiver::start(&[if protocol == "grpc" { "grpc" } else { "http" }]) else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let target = Target::start(|before| Does::Answer(if before == 0 { 503 } else { 200 }));
        let section = section(&[receiver.url()], &format!("protocol = \"{protocol}\"\nsample_ratio = 0.0"));
        let mut node = node(dir.path(), &target, &section);
        let seq = send(&node, "hook", "s-1", &[("traceparent", SENDERS)]);
        let receipt = ended(&node, "s-1");
        let seen = target.wait_for(2);
        assert!(node.terminate().success());
        let told = receiver.wait_for("all", |told| named(told, "gemba.receipt").len() == 2);
        let spans: Vec<Value> = told.into_iter().filter(|span| span["trace"] == SENDERS_TRACE).collect();
        assert!(ALL.iter().all(|name| !named(&spans, name).is_empty()), "{spans:#?}");
        let receive = one(&spans, "gemba.receive");
        assert_eq!(receive["parent"], SENDERS_SPAN);
        assert_eq!(receive["attributes"]["gemba.seq"], seq);
        assert_eq!(receive["attributes"]["http.response.status_code"], 202);
        assert_eq!(receive["flags"], 0x301);
        for name in ["gemba.verify", "gemba.journal", "gemba.decide", "gemba.act"] {
            assert_eq!(one(&spans, name)["parent"], receive["id"], "{name}");
        }
        // In the order of the line; the journal's span ends before the answer leaves.
        let begun = |name: &str| one(&spans, name)["begun"].as_u64().unwrap();
        assert!(begun("gemba.receive") <= begun("gemba.verify"));
        assert!(begun("gemba.verify") <= begun("gemba.journal"));
        assert!(begun("gemba.journal") <= begun("gemba.decide"));
        assert!(begun("gemba.decide") <= begun("gemba.act"));
        let decide = one(&spans, "gemba.decide");
        assert_eq!(decide["attributes"]["gemba.decision"], "action_generated");
        assert_eq!(decide["attributes"]["gemba.rule"], "hook");
        assert_eq!(decide["attributes"]["gemba.tenant"], "acme");
        // Each try is a span below the action, and the target was told of it.
        let act = one(&spans, "gemba.act");
        assert_eq!((&act["attributes"]["gemba.tries"], &act["failed"]), (&2.into(), &false.into()));
        let tries = named(&spans, "gemba.try");
        assert_eq!(tries.len(), 2);
        for (request, span) in seen.iter().zip(&tries) {
            assert_eq!(span["parent"], act["id"]);
            let told = format!("00-{SENDERS_TRACE}-{}-01", span["id"].as_str().unwrap());
            assert_eq!(request.header("traceparent"), told);
        }
        assert_eq!((&tries[0]["failed"], &tries[1]["failed"]), (&true.into(), &false.into()));
        // Both receipts are named as the log names them.
        let receipts: Vec<&Value> = named(&spans, "gemba.receipt")
            .into_iter()
            .map(|span| &span["attributes"]["gemba.receipt_id"])
            .collect();
        assert!(receipts.contains(&&receipt["receipt_id"]) && receipts.len() == 2, "{receipts:?}");
        assert_eq!(receive["resource"]["service.name"], "gemba");
        assert_eq!(receive["resource"]["service.instance.id"], "n1");
        if protocol == "http/protobuf" {
            assert_eq!(receive["headers"]["path"], "/v1/traces");
        }
    }
}

#[test]
fn a_sender_that_is_not_trusted_is_linked_to() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(200));
    let section = section(&[receiver.url()], "sample_ratio = 1.0\ntrust_traceparent = false");
    let node = node(dir.path(), &target, &section);
    let seq = send(&node, "hook", "s-1", &[("traceparent", SENDERS)]);
    let spans = receiver.trace_of(seq, &ALL);
    let receive = one(&spans, "gemba.receive");
    assert_eq!(receive["parent"], "");
    assert_eq!(receive["links"], serde_json::json!([[SENDERS_TRACE, SENDERS_SPAN]]));
    assert!(!target.wait_for(1)[0].header("traceparent").contains(SENDERS_TRACE));
}

#[test]
fn what_a_sender_does_not_record_is_passed_on_and_not_told() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(200));
    let node = node(dir.path(), &target, &section(&[receiver.url()], "sample_ratio = 1.0"));
    let unrecorded = SENDERS.replace("-01", "-00");
    send(&node, "hook", "s-1", &[("traceparent", &unrecorded)]);
    assert_eq!(target.wait_for(1)[0].header("traceparent"), unrecorded);
    // What comes after it is told, so what was to be told of it was.
    ended(&node, "s-1");
    let seq = send(&node, "hook", "s-2", &[]);
    receiver.trace_of(seq, &ALL);
    assert!(receiver.told().iter().all(|span| span["trace"] != SENDERS_TRACE));
}

#[test]
fn failures_are_traced_whether_they_were_chosen_or_not() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(400));
    let node = node(dir.path(), &target, &section(&[receiver.url()], "sample_ratio = 0.0"));
    send(&node, "no.rule", "well", &[]);
    node.decided("acme", "well");
    let seq = send(&node, "hook", "s-1", &[]);
    ended(&node, "s-1");
    let spans = receiver.trace_of(seq, &["gemba.act", "gemba.try", "gemba.receipt"]);
    let act = one(&spans, "gemba.act");
    assert_eq!(act["failed"], true);
    assert!(act["why"].as_str().unwrap().contains("it answered 400"), "{act}");
    let well = receiver.told().iter().any(|span| span["attributes"]["gemba.sku"] == "well");
    assert!(!well, "what went well was not chosen");
}

#[test]
fn a_trace_goes_on_over_a_crash() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|before| if before == 0 { Does::Hang } else { Does::Answer(200) });
    let section = section(&[receiver.url()], "sample_ratio = 0.0");
    let mut first = node(dir.path(), &target, &section);
    let seq = send(&first, "hook", "s-1", &[("traceparent", SENDERS)]);
    target.wait_for(1);
    first.kill();
    let second = node(dir.path(), &target, &section);
    let seen = target.wait_for(2);
    assert!(seen.iter().all(|request| request.header("traceparent").contains(SENDERS_TRACE)), "{seen:?}");
    ended(&second, "s-1");
    let has_outcome = |told: &[Value]| {
        named(told, "gemba.act").iter().any(|span| span["attributes"]["gemba.maybe_twice"] == true)
    };
    let told = receiver.wait_for("the action", has_outcome);
    let act = one(&told, "gemba.act");
    assert_eq!((&act["trace"], &act["attributes"]["gemba.seq"]), (&SENDERS_TRACE.into(), &seq.into()));
    // What the crash interrupted has no span, and what was done before it is not told twice.
    for name in ["gemba.receive", "gemba.decide"] {
        assert!(named(&told, name).len() <= 1, "{told:#?}");
    }
}

#[test]
fn every_answer_means_what_the_specification_says() {
    let retry_info = "GjAKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBAoCCAE=";
    let retried = format!("RESOURCE_EXHAUSTED/{retry_info}");
    for (protocol, script, arrives, cause) in [
        ("http", vec!["503", "429/1", "502", "504"], true, None),
        ("http", vec!["500"], false, Some("refused")),
        ("http", vec!["400"], false, Some("refused")),
        ("http", vec!["partial:1"], true, Some("rejected")),
        ("grpc", vec!["UNAVAILABLE", "ABORTED", "DATA_LOSS"], true, None),
        ("grpc", vec![&*retried], true, None),
        ("grpc", vec!["RESOURCE_EXHAUSTED"], false, Some("refused")),
        ("grpc", vec!["INTERNAL"], false, Some("refused")),
        ("grpc", vec!["partial:1"], true, Some("rejected")),
    ] {
        let Some(receiver) = Receiver::start(&[&[protocol], &script[..]].concat()) else { return };
        let dir = tempfile::tempdir().unwrap();
        let target = Target::start(|_| Does::Answer(200));
        let protocol = if protocol == "grpc" { "grpc" } else { "http/protobuf" };
        // One batch has it all.
        let more = format!("protocol = \"{protocol}\"\nsample_ratio = 1.0");
        let section = section(&[receiver.url()], &more).replace("delay_ms = 50", "delay_ms = 1000");
        let node = node(dir.path(), &target, &section);
        let seq = send(&node, "no.rule", "s-1", &[]);
        node.decided("acme", "s-1");
        if let Some(cause) = cause {
            wait_for_loss(&node, cause, 1);
        }
        if arrives {
            receiver.trace_of(seq, &["gemba.receive", "gemba.decide"]);
        } else {
            let taken = receiver.told().iter().any(|span| span["attributes"]["gemba.seq"] == seq);
            assert!(!taken, "{protocol} {script:?}");
        }
        let all = ["queue", "too_old", "refused", "rejected", "undelivered"].map(|cause| lost(&node, cause));
        assert!(cause.is_some() || all == [0; 5], "{protocol} {script:?}: {all:?}");
    }
}

#[test]
fn a_second_receiver_takes_what_the_first_does_not() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(200));
    let nobody = format!("http://{}", crate::node::free_address());
    let node = node(dir.path(), &target, &section(&[nobody, receiver.url()], "sample_ratio = 1.0"));
    let seq = send(&node, "no.rule", "s-1", &[]);
    receiver.trace_of(seq, &["gemba.receive", "gemba.decide", "gemba.receipt"]);
    assert_eq!(["queue", "refused", "too_old"].map(|cause| lost(&node, cause)), [0; 3]);
}

#[test]
fn a_receiver_that_hangs_costs_spans_and_nothing_else() {
    let Some(receiver) = Receiver::start(&["http", "hang"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(200));
    let more = "sample_ratio = 1.0\nbatch_size = 8\nmax_queue_size = 16";
    let mut node = node(dir.path(), &target, &section(&[receiver.url()], more));
    for number in 0..20 {
        send(&node, "no.rule", &format!("s-{number}"), &[]);
    }
    for number in 0..20 {
        node.decided("acme", &format!("s-{number}"));
    }
    wait_for_loss(&node, "queue", 1);
    // What waits at the end is lost, too, and does not hold it up.
    assert!(node.terminate().success());
}

#[test]
fn without_a_receiver_spans_are_lines_of_the_log() {
    // The built-in configuration.
    let mut node = Node::start_with(&[("GEMBA_INGRESS__THREADS", "1")]);
    let seq = send(&node, "no.rule", "s-1", &[]);
    node.decided("acme", "s-1");
    // What a person sends is seen; of a load, a part.
    let begun = Instant::now();
    for number in 0..500 {
        send(&node, "no.rule", &format!("load-{number}"), &[]);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap() + 2;
    assert!(node.terminate().success());
    let said = node.everything_said();
    let events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let spans: Vec<Value> = events.filter(|event| event["message"] == "a span ended").collect();
    let of_one = |span: &Value, seq: u64| {
        let attributes = span["attributes"].as_str().unwrap();
        attributes.split(' ').any(|attribute| attribute == format!("gemba.seq={seq}"))
    };
    let is_first = |span: &&Value| span["span"] == "gemba.receive" && of_one(span, seq);
    let receive = spans.iter().find(is_first).unwrap_or_else(|| panic!("{said}"));
    for name in ["gemba.verify", "gemba.journal", "gemba.decide", "gemba.receipt"] {
        let is_below = |span: &&Value| span["span"] == name && span["trace"] == receive["trace"];
        let span = spans.iter().find(is_below).unwrap_or_else(|| panic!("{name}: {said}"));
        assert_eq!(span["parent"], receive["id"], "{name}");
        assert_eq!((&span["level"], &span["target"]), (&"debug".into(), &"gemba::traces".into()));
    }
    let chosen = spans.iter().filter(|span| span["span"] == "gemba.receive").count();
    assert!(chosen <= 5 * seconds && chosen < 500, "{chosen} in {seconds} s");
    // The line of a failure says why.
    let dir = tempfile::tempdir().unwrap();
    let target = Target::start(|_| Does::Answer(400));
    let mut node =
        self::node(dir.path(), &target, "log = true\n[logging]\nformat = \"text\"\nlevel = \"debug\"");
    send(&node, "hook", "s-1", &[]);
    ended(&node, "s-1");
    let line = node.wait_for("span=gemba.act");
    assert!(line.contains("gemba::traces: a span ended") && line.contains(": it answered 400"), "{line}");
}

#[test]
fn the_variables_of_the_specification_hold_where_the_file_says_nothing() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let start = |variables: &[(&str, &str)]| {
        let base = [("OTEL_BSP_SCHEDULE_DELAY", "50")];
        Node::start_with(&[&base[..], variables].concat())
    };
    let url = receiver.url();
    let node = start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("{url}/base/")),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=top%20secret, x-other=1"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_SERVICE_NAME", "edge-of-acme"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=not-this"),
        ("OTEL_TRACES_SAMPLER", "always_on"),
    ]);
    let seq = send(&node, "no.rule", "s-1", &[("traceparent", SENDERS)]);
    let spans = receiver.trace_of(seq, &["gemba.receive", "gemba.verify"]);
    let receive = one(&spans, "gemba.receive");
    assert_eq!(receive["headers"]["path"], "/base/v1/traces");
    assert_eq!(receive["headers"]["x-api-key"], "top secret");
    assert_eq!(receive["resource"]["service.name"], "edge-of-acme");
    assert_eq!(receive["resource"]["deployment.environment.name"], "test");
    // This sampler asks no parent.
    assert_eq!(receive["links"], serde_json::json!([[SENDERS_TRACE, SENDERS_SPAN]]));
    let exact = format!("{url}/exactly/this");
    let node = start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://unused"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &exact),
    ]);
    let seq = send(&node, "no.rule", "s-1", &[]);
    let is_exact = |told: &[Value]| told.iter().any(|span| span["headers"]["path"] == "/exactly/this");
    receiver.wait_for("the exact path", is_exact);
    assert!(seq > 0);
    let mut node = start(&[("OTEL_TRACES_EXPORTER", "console"), ("GEMBA_OPENTELEMETRY__LOG", "false")]);
    send(&node, "no.rule", "s-1", &[("traceparent", SENDERS)]);
    node.decided("acme", "s-1");
    assert!(node.terminate().success());
    assert!(
        !node.everything_said().contains("a span ended"),
        "what is set is stronger than a variable of others"
    );
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let node = start(&[off, ("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
        send(&node, "no.rule", "s-1", &[("traceparent", SENDERS)]);
        node.decided("acme", "s-1");
        assert!(!node.ask("/metrics").text().contains("sink=\"traces\""), "{off:?}");
    }
}
