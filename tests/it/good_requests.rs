//! Every way to bring signals in, and what is answered.

use std::time::{Duration, Instant};

use crate::http::exchange;
use crate::node::{Node, signal};
use crate::wire::{chunked, raw};

const POST: &str = "POST /v1/signals HTTP/1.1";

#[test]
fn one_signal_is_accepted_in_each_form_that_carries_one() {
    let node = Node::start();
    let forms = [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/cloudevents+json",
    ];
    for (number, content_type) in forms.into_iter().enumerate() {
        let id = format!("one-{number}");
        let answer = node.post(content_type, signal("acme", "vm", &id).as_bytes());
        assert_eq!(answer.status, 202, "{content_type}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-signal-id"), Some(id.as_str()));
        // The first event is the node's rules.
        let seq = number as u64 + 2;
        assert_eq!(
            answer.json(),
            serde_json::json!({"status": "accepted", "signal_id": id, "seq": seq}),
            "{content_type}"
        );
        let again = node.post(content_type, signal("acme", "vm", &id).as_bytes());
        assert_eq!(again.status, 202);
        assert_eq!(
            again.json(),
            serde_json::json!({"status": "accepted", "signal_id": id, "seq": seq, "duplicate": true}),
            "{content_type}"
        );
        assert_eq!(node.decided("acme", &id)["status"], "decided");
    }
}

#[test]
fn binary_mode_takes_the_attributes_from_the_headers() {
    let node = Node::start();
    let data = br#"{"spend":81.25}"#;
    let signature = node.sign(data);
    let headers = [
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "binary-1"),
        ("ce-tenant", "acme"),
        ("ce-sku", "vm"),
        ("ce-type", "cost.usage"),
        ("ce-time", "2026-01-02T03:04:05Z"),
        ("ce-severity", "critical"),
        ("x-signature", signature.as_str()),
    ];
    let answer = node.request("POST", "/v1/signals", &headers, data);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("x-signal-id"), Some("binary-1"));
    assert_eq!(answer.json(), serde_json::json!({"status": "accepted", "signal_id": "binary-1", "seq": 2}));
    // Its id was not signed, so it is known by its number alone.
    let until = Instant::now() + Duration::from_secs(30);
    let receipt = loop {
        let answer = node.ask("/v1/receipts/r-0000000000000002-00");
        if answer.status == 200 {
            break answer.json();
        }
        assert!(Instant::now() < until, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(
        (&receipt["signal_id"], &receipt["assurance"]),
        (&"binary-1".into(), &"D".into()),
        "{receipt}"
    );

    let missing: Vec<_> = headers.into_iter().filter(|(name, _)| *name != "ce-tenant").collect();
    let answer = node.request("POST", "/v1/signals", &missing, data);
    assert_eq!(answer.status, 422, "{}", answer.text());
}

#[test]
fn a_batch_is_numbered_in_a_row_and_counts_its_repeats() {
    let node = Node::start();
    let items = |from: u32, to: u32| -> Vec<String> {
        (from..to).map(|number| signal("acme", "vm", &format!("i-{number}"))).collect()
    };
    let array = |items: Vec<String>| format!("[{}]", items.join(" ,\n"));
    let (batch, lines) = ("application/cloudevents-batch+json", "application/x-ndjson");

    let answer = node.post(batch, array(items(0, 3)).as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let accepted = serde_json::json!({"status": "accepted", "count": 3, "first_seq": 2, "last_seq": 4});
    assert_eq!(answer.json(), accepted);
    assert_eq!(answer.header("x-signal-id"), None, "a batch has no single id");

    let answer = node.post(lines, (items(3, 6).join("\n") + "\r\n").as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let accepted = serde_json::json!({"status": "accepted", "count": 3, "first_seq": 5, "last_seq": 7});
    assert_eq!(answer.json(), accepted);

    let answer = node.post(batch, array(items(4, 9)).as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let answer = answer.json();
    assert_eq!((answer["count"].as_u64(), answer["duplicates"].as_u64()), (Some(5), Some(2)), "{answer}");

    let answer = node.post(batch, array(items(0, 3)).as_bytes()).json();
    assert_eq!((answer["count"].as_u64(), answer["duplicates"].as_u64()), (Some(3), Some(3)), "{answer}");

    let twice = vec![signal("acme", "vm", "same"); 2];
    let answer = node.post(batch, array(twice).as_bytes()).json();
    assert_eq!((answer["count"].as_u64(), answer["duplicates"].as_u64()), (Some(2), Some(1)), "{answer}");
    for number in 0..9 {
        let status = node.decided("acme", &format!("i-{number}"));
        assert_eq!(status["receipts"].as_array().unwrap().len(), 1, "{status}");
    }

    let thousand: Vec<String> = (0..1000).map(|number| signal("many", "vm", &number.to_string())).collect();
    let answer = node.post(batch, array(thousand).as_bytes());
    assert_eq!((answer.status, answer.json()["count"].as_u64()), (202, Some(1000)), "{}", answer.text());
}

#[test]
fn a_body_in_chunks_is_taken_and_ends_the_connection() {
    let node = Node::start();
    let body = signal("acme", "vm", "chunked");
    let signature = format!("x-signature: {}", node.sign(body.as_bytes()));
    let headers = ["content-type: application/json", "transfer-encoding: chunked", &signature];
    let answer = exchange(node.ingress, &raw(POST, &headers, &chunked(body.as_bytes())));
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn default_source_has_its_own_path_too() {
    let node = Node::start();
    let body = signal("acme", "vm", "named");
    let signature = node.sign(body.as_bytes());
    let headers = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    let answer = node.request("POST", "/v1/sources/signals", &headers, body.as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let again = node.post("application/json", body.as_bytes());
    assert_eq!(again.json()["duplicate"], true, "it is one source: {}", again.text());
    let elsewhere = node.request("POST", "/v1/sources/webhooks", &headers, body.as_bytes());
    assert_eq!(elsewhere.status, 401, "another source has other keys");
}
