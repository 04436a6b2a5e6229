//! Acknowledgements that come back from PagerDuty and Slack: signed, once, and with who it was.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::h2::on_connection;
use crate::http::{Answer, exchange};
use crate::node::Node;
use crate::signals::wait_until;
use crate::targets::{Does, Target};
use crate::wire::raw;

const PAGER_SECRET: &str = "the secret of the webhook subscription";
const SLACK_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

const PACK: &str = r#"
name = "cost"
[[rule]]
id = "budget"
types = ["cost"]
when = "true"
decide = "observe"
reason = "over the budget"
alert = "critical"
"#;

/// A node that tells PagerDuty and Slack of critical alerts, without waiting.
fn config(pager: &Target, slack: &Target, dir: &Path, callbacks: bool) {
    for (name, secret) in [
        ("pager.key", "0123456789abcdef0123456789abcdef"),
        ("pager.secret", PAGER_SECRET),
        ("slack.url", &slack.url()),
        ("slack.secret", SLACK_SECRET),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let secret =
        |name: &str| if callbacks { format!("callback_secret_file = \"{name}\"") } else { String::new() };
    let (pager_secret, slack_secret) = (secret("pager.secret"), secret("slack.secret"));
    std::fs::write(dir.join("cost.toml"), PACK).unwrap();
    let config = format!(
        r#"[node]
profile = "dev"
[policy]
packs = ["cost.toml"]
[[channel]]
name = "oncall"
kind = "pagerduty"
url = "{}"
allow_private = true
routing_key_file = "pager.key"
{pager_secret}
[[channel]]
name = "chat"
kind = "slack"
allow_private = true
webhook_url_file = "slack.url"
{slack_secret}
[alerts]
critical = ["oncall", "chat"]
group_wait_seconds = 0
group_interval_seconds = 1
"#,
        pager.url()
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
}

fn started(dir: &Path) -> Node {
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn order(node: &Node, path: &str, body: &Value) -> Answer {
    let (token, body) = (node.secret("admin.token"), body.to_string());
    let head = [
        format!("authorization: Bearer {token}"),
        format!("content-length: {}", body.len()),
        "connection: close".into(),
    ];
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    exchange(node.admin, &raw(&format!("POST {path} HTTP/1.1"), &head, body.as_bytes()))
}

/// Opens a critical alert.
fn trouble(node: &Node, name: &str) {
    let answer =
        order(node, "/v1/alerts", &json!({"severity": "critical", "name": name, "reason": "a drill"}));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn alert(node: &Node, name: &str) -> Value {
    let alerts = node.ask("/v1/alerts").json()["alerts"].clone();
    let found = alerts.as_array().unwrap().iter().find(|alert| alert["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {alerts}")).clone()
}

/// What a receiver was told, as JSON.
fn told(target: &Target) -> Vec<Value> {
    target.seen().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
}

/// The trigger of this alert, as PagerDuty has it.
fn trigger(pager: &Target, name: &str) -> Value {
    let mut found = None;
    wait_until("PagerDuty is told", || {
        found = told(pager).into_iter().find(|event| event["payload"]["component"] == name);
        found.is_some()
    });
    found.unwrap()
}

fn mac(secret: &str, parts: &[&[u8]]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    faster_hex::hex_string(hmac::sign(&key, &parts.concat()).as_ref())
}

/// An event of PagerDuty about an incident that an alert made.
fn event(kind: &str, agent: &str, title: &str) -> Value {
    let now = chrono::DateTime::from_timestamp_millis(i64::try_from(now().as_millis()).unwrap()).unwrap();
    json!({"event": {
        "id": "01FKZSRAQJLP9S3OPM2VALGUPJ", "event_type": kind, "resource_type": "incident",
        "occurred_at": now.to_rfc3339(), "client": null,
        "agent": {"id": "PVE0ZR9", "type": agent, "summary": "Jane Doe"},
        "data": {"id": "Q2CKYRLH85UNN4", "type": "incident", "number": 37, "incident_key": null, "title": title},
    }})
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn call(node: &Node, channel: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    node.request("POST", &format!("/v1/channels/{channel}/callback"), headers, body)
}

fn from_pagerduty(node: &Node, event: &Value) -> Answer {
    let body = event.to_string();
    let signature = format!("v1={},v1={}", "0".repeat(64), mac(PAGER_SECRET, &[body.as_bytes()]));
    call(node, "oncall", &[("x-pagerduty-signature", &signature)], body.as_bytes())
}

fn from_slack(node: &Node, payload: &Value, signed_at: u64) -> Answer {
    let (encoded, time) = (gemba::percent::encode(&payload.to_string()), signed_at.to_string());
    let body = format!("payload={encoded}");
    let signature = format!("v0={}", mac(SLACK_SECRET, &[b"v0:", time.as_bytes(), b":", body.as_bytes()]));
    let headers = [("x-slack-request-timestamp", time.as_str()), ("x-slack-signature", &signature)];
    call(node, "chat", &headers, body.as_bytes())
}

/// Receipts of this type, the newest first.
fn receipts(node: &Node, query: &str) -> Vec<Value> {
    node.ask(&format!("/v1/audit?{query}")).json()["receipts"].as_array().unwrap().clone()
}

#[test]
fn a_word_from_pagerduty_is_kept_through_a_kill_and_says_whose_it_is() {
    let (pager, slack) = (Target::start(|_| Does::Answer(202)), Target::start(|_| Does::Answer(200)));
    let dir = tempfile::tempdir().unwrap();
    config(&pager, &slack, dir.path(), true);
    let node = started(dir.path());
    trouble(&node, "disk");
    let title = trigger(&pager, "disk")["payload"]["summary"].as_str().unwrap().to_owned();
    wait_until("it was told", || alert(&node, "disk")["state"] == "notified");

    // What the node told, a timer, and an incident of somebody else are nobody's word.
    for said in [
        event("incident.acknowledged", "inbound_integration_reference", &title),
        event("incident.resolved", "service_reference", &title),
        event("incident.acknowledged", "user_reference", "a different incident"),
        event("incident.acknowledged", "user_reference", "a different incident [00000000-00000000]"),
        event("incident.unacknowledged", "user_reference", &title),
    ] {
        assert_eq!(from_pagerduty(&node, &said).status, 200, "{said}");
    }
    assert_eq!(alert(&node, "disk")["state"], "notified");

    let acknowledged = event("incident.acknowledged", "user_reference", &title);
    let answer = from_pagerduty(&node, &acknowledged);
    assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{answer:?}");
    node.killed();
    let node = started(dir.path());
    let known = alert(&node, "disk");
    assert_eq!(
        (&known["state"], &known["acknowledged_by"], &known["acknowledged_reason"]),
        (
            &json!("acknowledged"),
            &json!("pagerduty oncall/Jane Doe"),
            &json!("acknowledged in PagerDuty, incident 37")
        )
    );
    // It comes again, as after an answer that was lost.
    assert_eq!(from_pagerduty(&node, &acknowledged).status, 200);
    assert_eq!(from_pagerduty(&node, &event("incident.resolved", "user_reference", &title)).status, 200);
    assert_eq!(alert(&node, "disk")["state"], "resolved");
    let by = "type=alert_acknowledged&who=pagerduty%20oncall%2FJane%20Doe";
    let resolved = "type=alert_resolved&who=pagerduty%20oncall%2FJane%20Doe";
    wait_until("the receipts are there", || receipts(&node, resolved).len() == 1);
    assert_eq!(receipts(&node, by).len(), 1, "a repeat is not a second acknowledgement");
}

#[test]
fn a_button_of_slack_acknowledges_once_and_nobody_else_does() {
    let (pager, slack) = (Target::start(|_| Does::Answer(202)), Target::start(|_| Does::Answer(200)));
    let dir = tempfile::tempdir().unwrap();
    config(&pager, &slack, dir.path(), true);
    let node = started(dir.path());
    trouble(&node, "disk");
    let key = trigger(&pager, "disk")["dedup_key"].clone();
    wait_until("Slack is told", || !told(&slack).is_empty());
    let message = told(&slack)[0].clone();
    let button = message["blocks"].as_array().unwrap().last().unwrap()["elements"][0].clone();
    assert_eq!((&button["action_id"], &button["value"]), (&json!("gemba_acknowledge"), &key), "{message}");
    wait_until("it was told", || alert(&node, "disk")["state"] == "notified");

    let pressed = json!({
        "type": "block_actions", "user": {"id": "U1", "username": "jane"}, "message": message,
        "actions": [{"action_id": button["action_id"], "value": button["value"], "type": "button"}],
    });
    let body = format!("payload={}", gemba::percent::encode(&pressed.to_string()));
    let (time, zeros) = (now().as_secs().to_string(), format!("v0={}", "0".repeat(64)));
    let forged = call(
        &node,
        "chat",
        &[("x-slack-request-timestamp", &time), ("x-slack-signature", &zeros)],
        body.as_bytes(),
    );
    let unsigned = call(&node, "chat", &[], body.as_bytes());
    let old = from_slack(&node, &pressed, now().as_secs() - 3600);
    // What is signed for one channel is not for another one.
    let event = event("incident.acknowledged", "user_reference", "x").to_string();
    let foreign = format!("v1={}", mac(SLACK_SECRET, &[event.as_bytes()]));
    let foreign = call(&node, "oncall", &[("x-pagerduty-signature", &foreign)], event.as_bytes());
    for refused in [&forged, &unsigned, &old, &foreign] {
        assert_eq!((refused.status, &refused.body), (401, &forged.body), "{refused:?}");
    }
    for (payload, status) in [(json!([]), 400), (json!({"type": 1}), 400), (json!({"type": "shortcut"}), 200)]
    {
        assert_eq!(from_slack(&node, &payload, now().as_secs()).status, status, "{payload}");
    }
    for (path, status) in [
        ("/v1/channels/log/callback", 404),
        ("/v1/channels/other/callback", 404),
        ("/v1/channels/chat", 404),
        ("/v1/channels/chat/callback/x", 404),
    ] {
        assert_eq!(node.request("POST", path, &[], b"").status, status, "{path}");
    }
    let get = node.request("GET", "/v1/channels/chat/callback", &[], b"");
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(call(&node, "chat", &[("content-encoding", "gzip")], b"x").status, 415);
    let large = vec![b'x'; 256 * 1024 + 1];
    assert_eq!(call(&node, "chat", &[], &large).status, 413);
    assert_eq!(alert(&node, "disk")["state"], "notified", "none of it had an effect");
    let refusals = "gemba_signature_refusals_total{source=\"channels/chat\",reason=\"no_match\"}";
    assert!((node.metric(refusals) - 1.0).abs() < f64::EPSILON);

    assert_eq!(from_slack(&node, &pressed, now().as_secs()).status, 200);
    let known = alert(&node, "disk");
    assert_eq!(
        (&known["state"], &known["acknowledged_by"]),
        (&json!("acknowledged"), &json!("slack chat/jane"))
    );
    assert_eq!(from_slack(&node, &pressed, now().as_secs()).status, 200);
    wait_until("PagerDuty hears of it", || {
        told(&pager).iter().any(|event| event["event_action"] == "acknowledge" && event["dedup_key"] == key)
    });
    wait_until("the receipt is there", || !receipts(&node, "type=alert_acknowledged").is_empty());
    assert_eq!(receipts(&node, "type=alert_acknowledged").len(), 1);

    // A key that was withdrawn opens nothing.
    config(&pager, &slack, dir.path(), false);
    assert_eq!(order(&node, "/v1/reload", &json!({"reason": "a drill"})).status, 200);
    assert_eq!(from_slack(&node, &pressed, now().as_secs()).status, 404);
    trouble(&node, "other");
    let plain = trigger(&pager, "other")["payload"]["summary"].as_str().unwrap().to_owned();
    assert!(!plain.ends_with(']'), "{plain}");
}

#[test]
fn every_alert_of_a_group_is_acknowledged_over_http_2_too() {
    const TENANTS: usize = 150;
    let (pager, slack) = (Target::start(|_| Does::Answer(202)), Target::start(|_| Does::Answer(200)));
    let dir = tempfile::tempdir().unwrap();
    config(&pager, &slack, dir.path(), true);
    let node = started(dir.path());
    for number in 0..TENANTS {
        let body = format!(r#"{{"id":"s-{number}","tenant":"t-{number}","sku":"vm","type":"cost"}}"#);
        assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
    }
    let states = |state: &str| {
        node.ask(&format!("/v1/alerts?state={state}")).json()["alerts"].as_array().unwrap().len()
    };
    wait_until("all were told", || states("notified") == TENANTS);
    let mut event = event("incident.acknowledged", "user_reference", "a title that somebody changed");
    event["event"]["data"]["incident_key"] = trigger(&pager, "cost/budget")["dedup_key"].clone();
    let body = event.to_string();
    let request = |signature: String| {
        hyper::Request::post("http://gemba/v1/channels/oncall/callback")
            .header("x-pagerduty-signature", signature)
            .body(())
            .unwrap()
    };
    let right = format!("v1={}", mac(PAGER_SECRET, &[body.as_bytes()]));
    for (signature, status) in [(format!("v1={}", "0".repeat(64)), 401), (right, 200)] {
        let body = bytes::Bytes::from(body.clone());
        on_connection(&node, |mut sender| async move {
            let (answer, mut stream) = sender.send_request(request(signature), false).unwrap();
            stream.send_data(body, true).unwrap();
            assert_eq!(answer.await.unwrap().status(), status);
        });
        assert_eq!(states("acknowledged"), if status == 200 { TENANTS } else { 0 });
    }
}

#[test]
fn an_acknowledgement_at_a_channel_keeps_the_escalation_away() {
    let (pager, slack) = (Target::start(|_| Does::Answer(202)), Target::start(|_| Does::Answer(200)));
    let dir = tempfile::tempdir().unwrap();
    config(&pager, &slack, dir.path(), true);
    let path = dir.path().join("gemba.toml");
    let route = "[[alerts.route]]\nwhen = \"alert.kind == 'test'\"\nchannels = [\"oncall\"]\nescalate_after_minutes = 1\n\
                 escalate_to = [\"book\"]\n[[channel]]\nname = \"book\"\nkind = \"file\"\npath = \"alerts.jsonl\"\n";
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + route).unwrap();
    let node = started(dir.path());
    trouble(&node, "taken");
    let title = trigger(&pager, "taken")["payload"]["summary"].as_str().unwrap().to_owned();
    let said = event("incident.acknowledged", "user_reference", &title);
    assert_eq!(from_pagerduty(&node, &said).status, 200);
    assert_eq!(alert(&node, "taken")["state"], "acknowledged");
    // What began later and is nobody's is called for later.
    trouble(&node, "nobodys");
    let book = || std::fs::read_to_string(dir.path().join("alerts.jsonl")).unwrap_or_default();
    wait_until("it goes further", || book().contains("nobodys"));
    assert!(!book().contains("taken"), "{}", book());
    let escalated = receipts(&node, "type=alert_escalated");
    assert!(escalated.len() <= 1, "{escalated:?}");
}
