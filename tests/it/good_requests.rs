//! Every way to bring signals in, and what is answered.

use std::time::{Duration, Instant};

use crate::http::exchange;
use crate::node::{Node, PATIENCE, signal};
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

/// A node with the source `signals` as usual, and `binary`, which takes binary mode for `acme`.
fn with_binary_source(dir: &std::path::Path) -> Node {
    let config = "[node]\nprofile = \"dev\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n\
                  [[source]]\nname = \"binary\"\nscheme = \"hmac\"\nsecret_env = \"BINARY_SECRET\"\n\
                  tenant = \"acme\"\ncontrol = true\nbinary = true\n";
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml"), ("BINARY_SECRET", BINARY_SECRET)])
}

const BINARY_SECRET: &str = "a secret of the source that takes binary mode";

fn sign_binary(body: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, BINARY_SECRET.as_bytes());
    faster_hex::hex_string(aws_lc_rs::hmac::sign(&key, body).as_ref())
}

fn beside<'a>(id: &'a str, tenant: &'a str, kind: &'a str, signature: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", id),
        ("ce-tenant", tenant),
        ("ce-sku", "vm"),
        ("ce-type", kind),
        ("ce-time", "2026-01-02T03:04:05Z"),
        ("ce-severity", "critical"),
        ("x-signature", signature),
    ]
}

#[test]
fn binary_mode_takes_the_attributes_from_the_headers() {
    let dir = tempfile::tempdir().unwrap();
    let node = with_binary_source(dir.path());
    let data = br#"{"spend":81.25}"#;
    let signature = sign_binary(data);
    let headers = beside("binary-1", "acme", "cost.usage", &signature);
    let answer = node.request("POST", "/v1/sources/binary", &headers, data);
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.header("x-signal-id"), Some("binary-1"));
    assert_eq!(answer.json(), serde_json::json!({"status": "accepted", "signal_id": "binary-1", "seq": 2}));
    // Its id was not signed, so it is known by its number alone.
    let until = Instant::now() + PATIENCE;
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
    let without: Vec<_> =
        headers.into_iter().filter(|(name, _)| !matches!(*name, "ce-tenant" | "ce-type")).collect();
    let answer = node.request("POST", "/v1/sources/binary", &without, data);
    assert_eq!((answer.status, answer.json()["detail"].as_str()), (422, Some("`type` is missing")));
}

/// An attacker with a copy of a signed body chooses the headers.
#[test]
fn a_signed_body_is_one_signal_whatever_stands_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = with_binary_source(dir.path());
    let status = |node: &Node, source: &str, headers: &[(&str, &str)], body: &[u8]| {
        node.request("POST", source, headers, body).status
    };
    // A source that fixes nothing takes none of it.
    let body = signal("acme", "vm", "s-1");
    let signature = node.sign(body.as_bytes());
    assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
    let replayed = node.request(
        "POST",
        "/v1/signals",
        &beside("x", "victim", "cost.usage", &signature),
        body.as_bytes(),
    );
    assert_eq!(replayed.status, 415, "{}", replayed.text());
    assert!(replayed.text().contains("binary"), "{}", replayed.text());
    assert_eq!(node.post("application/cloudevents+json", body.as_bytes()).json()["duplicate"], true);
    assert_eq!(node.post("application/x-ndjson", body.as_bytes()).json()["duplicates"], 1);
    // One that takes binary mode knows the body, before and after a restart, in each form.
    let body = format!(" {}\n", signal("acme", "vm", "s-2"));
    let signature = sign_binary(body.as_bytes());
    let plain = [("content-type", "application/json"), ("x-signature", signature.as_str())];
    for restarted in [false, true] {
        if restarted {
            node.terminate();
            node = with_binary_source(dir.path());
        }
        let at = "/v1/sources/binary";
        let answer = node.request("POST", at, &plain, body.as_bytes());
        assert_eq!((answer.status, answer.json()["seq"].as_u64()), (202, Some(3)), "{}", answer.text());
        assert_eq!(answer.json()["duplicate"].as_bool(), restarted.then_some(true));
        for (id, tenant, kind, expected) in [
            ("x", "acme", "cost.usage", 409),
            ("s-2", "acme", "cost.usage", 409),
            ("x", "victim", "cost.usage", 422),
            ("x", "acme", "gemba.entitlement.revoked", 422),
        ] {
            let got = status(&node, at, &beside(id, tenant, kind, &signature), body.as_bytes());
            assert_eq!(got, expected, "{id} {tenant} {kind}");
        }
        for kind in ["application/x-ndjson", "application/cloudevents-batch+json"] {
            let headers = [("content-type", kind), ("x-signature", signature.as_str())];
            assert_eq!(status(&node, at, &headers, body.as_bytes()), 415, "{kind}");
        }
    }
    assert!(node.metric("gemba_signals_total{result=\"accepted\"}") < 1.0, "since the restart");
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
