//! A process that dies between an action's intent and its outcome: the target is called again under the same key, and
//! the receipt says that the action may have run twice.

use std::time::{Duration, Instant};

use crate::client::Connection;
use crate::home::{Home, PATIENCE};
use crate::node::Node;
use crate::targets::{Does, Target};

const BODY: &[u8] = br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"page.now","data":{}}"#;

const PACK: &str = r#"
name = "test"
[[rule]]
id = "page"
types = ["page.now"]
when = "true"
decide = "act"
action = "page"
reason = "now"
"#;

/// The answer, unless the node died before it was out: the signal is durable either way.
fn post(home: &Home, node: &Node) -> Option<u16> {
    let secret = home.secret("signals.secret");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = faster_hex::hex_string(aws_lc_rs::hmac::sign(&key, BODY).as_ref());
    let mut connection = Connection::open(node.ingress).unwrap();
    connection.post("application/json", &signature, BODY).ok().map(|answer| answer.status)
}

/// The receipt of the action's outcome.
fn outcome(home: &Home, node: &Node) -> serde_json::Value {
    let token = home.secret("admin.token");
    let mut operator = Connection::open(node.admin).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let status = operator.get("/v1/signals/acme/s-1", &token).unwrap().json();
        for receipt in status["receipts"].as_array().into_iter().flatten() {
            let path = format!("/v1/receipts/{}", receipt.as_str().unwrap());
            let receipt = operator.get(&path, &token).unwrap().json();
            if matches!(receipt["receipt_type"].as_str(), Some("action_successful" | "action_failed")) {
                return receipt;
            }
        }
        assert!(Instant::now() < until, "no outcome: {status}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Dies at `point` with one action under way, which the target sees `calls` times in all.
fn dies_at(point: &str, calls: usize) {
    let target = Target::start(|_| Does::Answer(200));
    let owned = tempfile::tempdir().unwrap();
    let action = format!(
        "[[action]]\nname = \"page\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\n",
        target.url()
    );
    let mut home = Home::new(owned.path(), &action);
    std::fs::write(owned.path().join("policy.toml"), PACK).unwrap();
    let node = home.try_start(Some(&format!("{point}:1")), &[]).unwrap();
    assert!(matches!(post(&home, &node), None | Some(202)), "{point}");
    let dead = node.dead();
    assert!(dead.at_point(), "{point}: {dead:?}");
    assert_eq!(target.seen().len(), calls - 1, "{point}");

    let node = home.start();
    let receipt = outcome(&home, &node);
    assert_eq!(receipt["receipt_type"], "action_successful", "{point}: {receipt}");
    let reason = receipt["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("may have run twice"), "{point}: {receipt}");
    let seen = target.wait_for(calls);
    assert_eq!(seen.len(), calls, "{point}");
    let key = receipt["action_id"].as_str().unwrap();
    for request in &seen {
        assert_eq!((request.header("idempotency-key"), request.header("webhook-id")), (key, key), "{point}");
    }
    let last: serde_json::Value = serde_json::from_slice(&seen[calls - 1].body).unwrap();
    assert_eq!(last["data"]["maybe_twice"], true, "{point}");
    assert_eq!(target.connections(), calls, "{point}: one for each process");
    assert_eq!(node.terminated().status.and_then(|status| status.code()), Some(0));

    // What has its outcome is not carried out again.
    let node = home.start();
    std::thread::sleep(Duration::from_millis(300));
    node.terminated();
    assert_eq!(target.seen().len(), calls, "{point}");
}

#[test]
fn an_action_that_was_decided_and_not_ordered_is_carried_out() {
    dies_at("K12", 1);
}

#[test]
fn an_action_that_was_ordered_and_not_called_is_carried_out() {
    dies_at("K13", 1);
}

#[test]
fn an_action_whose_outcome_was_lost_runs_again_under_the_same_key() {
    dies_at("K14", 2);
}
