//! What sources send, and do not send: heartbeats, and the manifest of each hour.

use std::path::Path;

use serde_json::{Value, json};

use crate::clock;
use crate::node::{Node, signal};
use crate::signals::wait_until;
use crate::tls::Authority;

const HOUR: i64 = 3_600;
const MISSED: &str = "heartbeat_missed";

fn config(dir: &Path, source: &str) {
    let config = format!(
        r#"[node]
profile = "dev"
[[source]]
name = "signals"
scheme = "hmac"
{source}
[[channel]]
name = "book"
kind = "file"
path = "alerts.jsonl"
[alerts]
warning = ["book"]
critical = ["book"]
group_wait_seconds = 0
group_interval_seconds = 1
"#
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
}

const CONFIG: (&str, &str) = ("GEMBA_CONFIG", "gemba.toml");

fn send(node: &Node, id: &str, sequence: Option<u64>) {
    let sequence = sequence.map_or(String::new(), |number| format!(r#""sequence":{number},"#));
    let body = signal("acme", "vm", id).replacen('{', &format!("{{{sequence}"), 1);
    assert_eq!(node.post("application/json", body.as_bytes()).status, 202, "{body}");
}

fn alerts(node: &Node, state: &str, kind: &str) -> Vec<Value> {
    let alerts = node.ask(&format!("/v1/alerts?state={state}")).json()["alerts"].clone();
    alerts.as_array().unwrap().iter().filter(|alert| alert["kind"] == kind).cloned().collect()
}

/// Alerts of this kind that hold.
fn open(node: &Node, kind: &str) -> Vec<Value> {
    [alerts(node, "open", kind), alerts(node, "notified", kind)].concat()
}

/// How often a file was told of it.
fn told(dir: &Path, kind: &str, tells: &str) -> usize {
    let text = std::fs::read_to_string(dir.join("alerts.jsonl")).unwrap_or_default();
    let told = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|told| told["tells"] == tells);
    text.lines().filter(|line| line.contains(kind)).filter(told).count()
}

/// Waits until a file was told, and the journal knows that it was.
fn wait_for(node: &Node, kind: &str) -> Value {
    wait_until("it is told", || {
        open(node, kind).first().is_some_and(|alert| alert["channels"][0]["state"] == "told")
    });
    open(node, kind)[0].clone()
}

fn manifests(node: &Node) -> Vec<Value> {
    node.ask("/v1/audit?type=manifest").json()["receipts"].as_array().unwrap().clone()
}

#[test]
fn a_silent_source_is_told_of_once_over_a_kill_until_it_sends_again() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "heartbeat_seconds = 5");
    let node = Node::start_in(dir, &[CONFIG]);
    send(&node, "s-1", None);
    let alert = wait_for(&node, MISSED);
    assert_eq!((&alert["name"], &alert["end_known"]), (&json!("signals"), &json!(true)), "{alert}");
    let id = alert["id"].clone();
    node.killed();
    let node = Node::start_in(dir, &[CONFIG]);
    wait_until("it is known still", || !open(&node, MISSED).is_empty());
    // The look that might tell of it anew comes once a second.
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!((open(&node, MISSED)[0]["id"].clone(), told(dir, MISSED, "firing")), (id, 1));
    send(&node, "s-2", None);
    wait_until("it is over", || !alerts(&node, "resolved", MISSED).is_empty());
    wait_until("its end is told", || told(dir, MISSED, "resolved") == 1);
}

#[test]
fn a_source_that_never_sent_is_silent_and_stays_so_over_a_kill() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "heartbeat_seconds = 5");
    let node = Node::start_in(dir, &[CONFIG]);
    wait_for(&node, MISSED);
    node.killed();
    let node = Node::start_in(dir, &[CONFIG]);
    std::thread::sleep(std::time::Duration::from_secs(3));
    let told = |tells| told(dir, MISSED, tells);
    assert_eq!((open(&node, MISSED).len(), told("firing"), told("resolved")), (1, 1, 0));
    // Who expects nothing of it misses nothing.
    config(dir, "");
    let token = node.secret("admin.token");
    let body = r#"{"reason":"it is retired"}"#;
    let head = format!(
        "POST /v1/reload HTTP/1.1\r\nhost: gemba\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = crate::http::exchange(node.admin, head.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait_until("it is over", || !alerts(&node, "resolved", MISSED).is_empty());
}

#[test]
fn a_clock_that_steps_ahead_makes_no_source_silent() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "heartbeat_seconds = 50");
    let node = clock::start(dir, 0, &[CONFIG]);
    send(&node, "s-1", None);
    // The look comes once a second.
    let look = std::time::Duration::from_secs(3);
    std::thread::sleep(look);
    clock::show(dir, 59);
    std::thread::sleep(look);
    assert_eq!(open(&node, MISSED), [] as [Value; 0]);
    send(&node, "s-2", None);
}

/// Starts a node whose wall clock is ahead: without the note of the process before, it believes it.
fn later(dir: &Path, seconds: i64) -> Node {
    std::fs::remove_file(dir.join("data/journal/clock")).unwrap();
    clock::start(dir, seconds, &[CONFIG])
}

#[test]
fn an_hour_leaves_a_manifest_with_its_gaps_and_a_kill_takes_nothing_of_it() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "");
    // From the middle of an hour on, whenever this runs.
    let minutes =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60 % 60;
    let middle = (30 - i64::try_from(minutes).unwrap()) * 60;
    let node = clock::start(dir, middle, &[CONFIG]);
    for (id, sequence) in [("s-1", Some(1)), ("s-2", Some(2)), ("s-3", Some(5)), ("s-4", None)] {
        send(&node, id, sequence);
    }
    send(&node, "s-1", Some(1));
    assert_eq!(manifests(&node).len(), 0, "the hour is not over");
    node.killed();
    let node = clock::start(dir, middle, &[CONFIG]);
    send(&node, "s-5", Some(4));
    node.killed();
    let node = later(dir, middle + HOUR);
    wait_until("the hour has its receipt", || manifests(&node).len() == 1);
    let manifest = manifests(&node)[0].clone();
    let facts = &manifest["facts"];
    assert_eq!(
        (&facts["source"], &facts["count"], &facts["gaps"], &facts["heartbeat_missed"]),
        (&json!("signals"), &json!(5), &json!([[3, 3]]), &json!(false)),
        "{facts}"
    );
    assert_eq!(
        (&facts["numbered"], &facts["behind"], &facts["compared"]),
        (&json!(4), &json!(0), &json!(true)),
        "{facts}"
    );
    let seq = |name: &str| facts[name].as_u64().unwrap();
    assert!(seq("first_seq") < seq("last_seq"));
    assert_eq!((seq("to_ms") - seq("from_ms"), seq("from_ms") % 3_600_000), (3_600_000, 0));
    wait_until("what is missing is told", || open(&node, "sequence_gap").len() == 1);
    let alert = &open(&node, "sequence_gap")[0];
    assert!(alert["message"].as_str().unwrap().ends_with("did not come: 3"), "{alert}");
    assert!(alert["ends_ms"].is_u64(), "{alert}");
    // It is one of the log's receipts, and the same for whoever asks again.
    node.killed();
    let node = clock::start(dir, middle + HOUR, &[CONFIG]);
    wait_until("it is there", || manifests(&node).len() == 1);
    assert_eq!(manifests(&node)[0], manifest);
    let usual = node.ask("/v1/audit").json()["receipts"].clone();
    assert!(usual.as_array().unwrap().iter().all(|act| act["receipt_type"] != "manifest"), "{usual}");
    // The next hour goes on with the numbers.
    send(&node, "s-6", Some(7));
    node.killed();
    let node = later(dir, middle + 2 * HOUR);
    wait_until("the next hour has its own", || manifests(&node).len() >= 2);
    let facts = manifests(&node)[0]["facts"].clone();
    assert_eq!((&facts["count"], &facts["gaps"]), (&json!(1), &json!([[6, 6]])), "{facts}");
}

#[test]
fn what_ended_the_last_process_is_told_by_the_next() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "");
    let mut node = Node::start_in(dir, &[CONFIG]);
    assert!(node.terminate().success());
    std::fs::write(
        dir.join("data/unwritable"),
        r#"{"what":"log","at_ms":1800000000000,"reason":"the transparency log stopped: no space"}"#,
    )
    .unwrap();
    let node = Node::start_in(dir, &[CONFIG]);
    let alert = wait_for(&node, "log_unwritable");
    assert_eq!(alert["severity"], "critical");
    assert!(alert["message"].as_str().unwrap().contains("no space"), "{alert}");
}

#[test]
fn a_journal_that_cannot_go_on_ends_the_node_and_the_next_start_tells_of_it() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "");
    let small = [CONFIG, ("GEMBA_KANBAN__SEGMENT_MIB", "4")];
    let mut node = Node::start_in(dir, &small);
    let (journal, away) = (dir.join("data/journal"), dir.join("away"));
    std::fs::rename(&journal, &away).unwrap();
    // The segment that is open takes what there is room for; the next one cannot be made.
    let long = "x".repeat(200_000);
    let mut number = 0;
    loop {
        let body =
            json!({"id": format!("s-{number}"), "tenant": "acme", "sku": "vm", "type": "t", "data": {"long": long}})
                .to_string();
        let headers = [("content-type", "application/json"), ("x-signature", &*node.sign(body.as_bytes()))];
        let Some(answer) = node.try_request("POST", "/v1/signals", &headers, body.as_bytes()) else { break };
        if answer.status != 202 {
            assert_eq!(answer.status, 503, "{}", answer.text());
            break;
        }
        number += 1;
        assert!(number < 100, "the journal goes on");
    }
    assert!(number > 0, "the segment that is open is taken");
    assert_eq!(node.ended().code(), Some(3));
    std::fs::rename(&away, &journal).unwrap();
    let node = Node::start_in(dir, &small);
    let alert = wait_for(&node, "journal_unwritable");
    assert_eq!(alert["severity"], "critical");
    assert!(
        alert["message"].as_str().unwrap().contains("could not be continued in a new segment"),
        "{alert}"
    );
}

#[test]
fn a_certificate_that_ends_soon_is_an_alert_until_it_is_renewed() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    config(dir, "");
    let authority = Authority::new();
    std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    authority.write_until(dir, "client", &["client"], (2020, 1, 1));
    let more = r#"
[logging.syslog]
address = "127.0.0.1:1"
transport = "tls"
ca_file = "ca.pem"
cert_file = "client.crt"
key_file = "client.key"
"#;
    let whole = std::fs::read_to_string(dir.join("gemba.toml")).unwrap() + more;
    std::fs::write(dir.join("gemba.toml"), whole).unwrap();
    let node = Node::start_in(dir, &[CONFIG]);
    let alert = wait_for(&node, "certificate_expiring");
    assert!(alert["name"].as_str().unwrap().ends_with("client.crt"), "{alert}");
    assert!(alert["message"].as_str().unwrap().contains("syslog ends at 2020-01-01"), "{alert}");
    authority.write(dir, "client", &["client"]);
    wait_until("it is over", || !alerts(&node, "resolved", "certificate_expiring").is_empty());
}
