//! Halts of a tenant, a target and the line, and orders that need two persons, from outside.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{Answer, exchange};
use crate::node::{Node, PATIENCE, signal};
use crate::program::command;
use crate::signals::wait_until;
use crate::wire::{assert_problem, raw};

const JSON: &str = "application/json";
const PACK: &str = "name = \"test\"\n[[rule]]\nid = \"spent\"\ntypes = [\"cost.usage\"]\nwhen = 'signal.data.spend > 80.0'\ndecide = \"act\"\n\
                    action = \"notify\"\nreason = \"it is spent\"\n";

fn write(dir: &Path, more: &str) {
    std::fs::write(dir.join("pack.toml"), PACK).unwrap();
    let mut config = String::from(
        "[node]\nprofile = \"dev\"\n[policy]\npacks = [\"pack.toml\"]\n[[action]]\nname = \"notify\"\nkind = \"log\"\n",
    );
    for (name, role) in [
        ("alice", "operator"),
        ("bob", "operator"),
        ("admin", "admin"),
        ("root", "admin"),
        ("viewer", "viewer"),
    ] {
        config.push_str(&format!("[[admin.token]]\nname = \"{name}\"\nrole = \"{role}\"\n"));
    }
    std::fs::write(dir.join("gemba.toml"), config + more).unwrap();
}

fn start(dir: &Path) -> Node {
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn post(node: &Node, path: &str, token: &str, reason: &str) -> Answer {
    let bearer = format!("authorization: Bearer {}", node.secret(&format!("{token}.token")));
    let body = json!({"reason": reason}).to_string();
    let length = format!("content-length: {}", body.len());
    let headers = [bearer.as_str(), "content-type: application/json", &length, "connection: close"];
    exchange(node.admin, &raw(&format!("POST {path} HTTP/1.1"), &headers, body.as_bytes()))
}

fn assert_refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_problem("an order", answer);
}

fn ordered(node: &Node, path: &str) -> Value {
    let answer = post(node, path, "alice", "a drill");
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn ask(node: &Node, path: &str) -> Value {
    let answer = node.ask(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Sends a signal, and what is decided on it: type and reason of its last own receipt.
fn decided(node: &Node, tenant: &str, id: &str) -> (String, String) {
    assert_eq!(node.post(JSON, signal(tenant, "vm", id).as_bytes()).status, 202);
    own(node, tenant, id, 1)
}

/// Type and reason of the last receipt that settled a signal, once there are so many.
fn own(node: &Node, tenant: &str, id: &str, count: usize) -> (String, String) {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = node.decided(tenant, id);
        let names: Vec<String> =
            status["receipts"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().into()).collect();
        let settled: Vec<&String> = names.iter().filter(|name| name.ends_with("-00")).collect();
        let settled: Vec<Value> =
            settled.iter().map(|name| ask(node, &format!("/v1/receipts/{name}"))).collect();
        // An outcome's receipt has the ordinal 0, too.
        let ends = |one: &&Value| {
            matches!(one["receipt_type"].as_str(), Some("action_successful" | "action_failed"))
        };
        let settled: Vec<&Value> =
            settled.iter().filter(|one| one["signal_id"] == id && !ends(one)).collect();
        if settled.len() >= count {
            let last = settled.last().unwrap();
            return (
                last["receipt_type"].as_str().unwrap().into(),
                last["reason"].as_str().unwrap_or_default().into(),
            );
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn audit(node: &Node, query: &str) -> Vec<(String, String)> {
    let found = ask(node, &format!("/v1/audit?{query}"));
    let text = |receipt: &Value, name: &str| receipt[name].as_str().unwrap_or_default().to_owned();
    let receipts = found["receipts"].as_array().unwrap().iter();
    receipts.map(|receipt| (text(receipt, "receipt_type"), text(receipt, "reason"))).collect()
}

fn wait_for_alert(node: &Node, name: &str, state: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let alerts = ask(node, "/v1/alerts");
        let mut alerts = alerts["alerts"].as_array().unwrap().iter();
        let is = |alert: &&Value| {
            alert["kind"] == "halt"
                && alert["name"] == name
                && (alert["ended_ms"].is_null() == (state == "open"))
        };
        if alerts.any(|alert| is(&alert)) {
            return;
        }
        assert!(Instant::now() < until, "{name} {state}: {}", ask(node, "/v1/alerts"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_halted_tenant_stands_still_alone_and_over_a_kill_and_a_reload() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let mut node = start(dir.path());
    assert_eq!(decided(&node, "acme", "s-1").0, "action_generated");
    let before = ask(&node, "/v1/halts/reach?tenant=acme");
    assert_eq!((&before["governors"], &before["halt"]), (&1.into(), &Value::Null));
    let done = ordered(&node, "/v1/tenants/acme/halt");
    assert_eq!(done["reach"]["halt"]["who"], "alice");
    assert_refused(&post(&node, "/v1/tenants/acme/halt", "bob", "again"), 409);
    assert_refused(&post(&node, "/v1/tenants/acme/halt", "viewer", "a viewer"), 403);

    let stopped = ("deadletter_signal".to_owned(), "us: tenant acme is halted by alice: a drill".to_owned());
    assert_eq!(decided(&node, "acme", "s-2"), stopped);
    assert_eq!(decided(&node, "other", "s-1").0, "action_generated", "another tenant goes on");
    let governor = ask(&node, "/v1/governors/acme/vm");
    assert_eq!(
        (&governor["halt"]["scope"], &governor["halt"]["name"], &governor["halt"]["reason"]),
        (&"tenant".into(), &"acme".into(), &"a drill".into())
    );
    assert_eq!(ask(&node, "/v1/governors/other/vm").get("halt"), None);
    wait_for_alert(&node, "tenant acme", "open");

    // Neither a kill, nor other rules, nor a reload lets it go.
    node.kill();
    std::fs::write(dir.path().join("pack.toml"), PACK.replace("> 80.0", "> 70.0")).unwrap();
    let node = start(dir.path());
    assert_eq!(decided(&node, "acme", "s-3"), stopped);
    assert_eq!(decided(&node, "acme-new", "s-1").0, "action_generated");
    std::fs::write(dir.path().join("pack.toml"), PACK.replace("> 80.0", "> 60.0")).unwrap();
    assert_eq!(post(&node, "/v1/policy/reload", "admin", "other rules").status, 200);
    assert_eq!(decided(&node, "acme", "s-4"), stopped);
    assert_eq!(ask(&node, "/v1/halts")["halts"].as_array().unwrap().len(), 1);

    let bearer = dir.path().join("data/bob.token");
    let admin = node.admin.to_string();
    let shown = ["governor", "show", "acme", "vm", "--admin", &admin, "--token-file"];
    let shown = command(dir.path()).args(shown).arg(&bearer).stdout(Stdio::piped()).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("halted with its tenant since") && shown.contains("by alice: a drill"), "{shown}");
    let arguments = ["tenant", "resume", "acme", "--reason", "over", "--admin", &admin, "--token-file"];
    let resumed = command(dir.path()).args(arguments).arg(&bearer).stdout(Stdio::piped()).output().unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    assert!(String::from_utf8_lossy(&resumed.stdout).contains("not halted"), "{resumed:?}");
    wait_for_alert(&node, "tenant acme", "over");
    assert_eq!(decided(&node, "acme", "s-5").0, "action_generated");
    assert_refused(&post(&node, "/v1/tenants/acme/resume", "bob", "again"), 409);

    let told = audit(&node, "type=jidoka_halt,operator");
    assert_eq!(
        told,
        [
            ("operator".to_owned(), "resume of tenant acme by bob: over".to_owned()),
            ("jidoka_halt".to_owned(), "halt of tenant acme by alice: a drill".to_owned()),
        ]
    );
    assert_eq!(audit(&node, "who=alice").len(), 1);
}

#[test]
fn what_a_halted_target_would_have_done_can_be_done_later_as_it_was_decided() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let node = start(dir.path());
    assert_refused(&post(&node, "/v1/targets/notifi/halt", "alice", "a slip"), 409);
    ordered(&node, "/v1/targets/notify/halt");
    assert_eq!(ask(&node, "/v1/halts/reach?target=notify")["rules"], json!(["test/spent"]));
    let (kind, reason) = decided(&node, "acme", "s-1");
    assert_eq!((&*kind, &*reason), ("deadletter_signal", "us: target notify is halted by alice: a drill"));
    // The store sees it a moment later.
    let open = || ask(&node, "/v1/deadletters?status=open")["deadletters"][0].clone();
    wait_until("the case", || open().is_object());
    let case = open();
    assert_eq!((&case["action"]["name"], &case["action"]["rule"]), (&"notify".into(), &"spent".into()));
    let path = format!("/v1/deadletters/{}", case["id"].as_str().unwrap());
    ordered(&node, &format!("{path}/replay"));
    let (kind, reason) = own(&node, "acme", "s-1", 2);
    assert_eq!(kind, "deadletter_signal");
    assert!(reason.contains("not sent again: target notify is halted by alice"), "{reason}");
    ordered(&node, "/v1/targets/notify/resume");
    ordered(&node, &format!("{path}/replay"));
    wait_until("the action is done", || {
        let names = node.decided("acme", "s-1")["receipts"].as_array().unwrap().clone();
        let kinds = names.iter().map(|name| ask(&node, &format!("/v1/receipts/{}", name.as_str().unwrap())));
        kinds.into_iter().any(|receipt| receipt["receipt_type"] == "action_successful")
    });
}

#[test]
fn a_halted_line_decides_nothing_until_it_is_resumed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let node = start(dir.path());
    ordered(&node, "/v1/line/halt");
    for tenant in ["acme", "other"] {
        let (kind, reason) = decided(&node, tenant, "s-1");
        assert_eq!((&*kind, &*reason), ("deadletter_signal", "us: the line is halted by alice: a drill"));
    }
    ordered(&node, "/v1/tenants/acme/halt");
    ordered(&node, "/v1/line/resume");
    assert_eq!(decided(&node, "other", "s-2").0, "action_generated");
    assert_eq!(decided(&node, "acme", "s-2").0, "deadletter_signal", "it was halted by itself as well");
}

#[test]
fn an_order_that_needs_two_persons_waits_for_the_second() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[operator]\nneeds_second = [\"tenant halt\", \"policy reload\"]\n");
    let node = start(dir.path());
    let halt = |token: &str, reason: &str| post(&node, "/v1/tenants/acme/halt", token, reason);
    assert_refused(&halt("alice", " "), 422);
    let waits = halt("alice", "it overspends");
    assert_eq!((waits.status, &waits.json()["status"]), (202, &"waits".into()));
    let id = waits.json()["request"]["id"].as_str().unwrap().to_owned();
    assert_eq!(decided(&node, "acme", "s-1").0, "action_generated", "nothing is changed yet");
    let listed = ask(&node, "/v1/requests")["requests"][0].clone();
    assert_eq!(
        (&listed["command"], &listed["request"], &listed["who"]),
        (&"tenant halt".into(), &"POST /v1/tenants/acme/halt".into(), &"alice".into())
    );

    let approve = format!("/v1/requests/{id}/approve");
    assert_refused(&post(&node, &approve, "alice", "myself"), 409);
    assert_refused(&post(&node, &approve, "viewer", "a viewer"), 403);
    let done = post(&node, &approve, "bob", "seen");
    assert_eq!((done.status, &done.json()["reach"]["halt"]["who"]), (200, &"alice and bob".into()));
    assert_refused(&post(&node, &approve, "bob", "twice"), 404);
    assert_eq!(decided(&node, "acme", "s-2").0, "deadletter_signal");
    for who in ["alice", "bob"] {
        let told = audit(&node, &format!("who={who}&type=jidoka_halt"));
        let said = "halt of tenant acme by alice and bob: it overspends; approved: seen";
        assert_eq!(told, [("jidoka_halt".to_owned(), said.to_owned())], "{who}");
    }

    // An operator cannot approve what an admin's role is needed for, and anybody who orders may refuse.
    let waits = post(&node, "/v1/policy/reload", "admin", "new rules").json();
    let id = waits["request"]["id"].as_str().unwrap();
    assert_refused(&post(&node, &format!("/v1/requests/{id}/approve"), "bob", "seen"), 409);
    assert_eq!(post(&node, &format!("/v1/requests/{id}/refuse"), "alice", "not today").status, 200);
    assert_eq!(ask(&node, "/v1/requests")["requests"], json!([]));
}

#[test]
fn orders_that_nobody_could_approve_and_what_is_no_order_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for (order, says) in [
        ("policy reload", "fewer than two tokens have the role admin"),
        ("tenant hold", "the nearest one is `tenant halt`"),
        ("governor show", "is not the command of an order"),
    ] {
        write(dir.path(), &format!("[operator]\nneeds_second = [\"{order}\"]\n"));
        let path = dir.path().join("gemba.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace("\"root\"\nrole = \"admin\"", "\"root\"\nrole = \"operator\""))
            .unwrap();
        let check = command(dir.path()).args(["config", "check", "gemba.toml"]).output().unwrap();
        let told = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{order}: {told}");
        assert!(told.contains(says) && told.contains("gemba.toml:"), "{order}: {told}");
    }
}

#[test]
fn all_that_a_filter_takes_are_discarded_by_one_order_of_two_persons() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[operator]\nneeds_second = [\"deadletter discard-all\"]\n");
    let node = start(dir.path());
    ordered(&node, "/v1/line/halt");
    for number in 0..100 {
        let body = signal("acme", &format!("vm-{}", number % 3), &format!("s-{number}"));
        assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
    }
    assert_eq!(node.post(JSON, signal("other", "vm", "s-1").as_bytes()).status, 202);
    let count = |query: &str| ask(&node, &format!("/v1/deadletters?{query}"))["count"].clone();
    wait_until("all are cases", || count("status=open") == 101);
    let discard = |query: &str| post(&node, &format!("/v1/discards?{query}"), "alice", "a drill");
    let approve = |answer: &Answer| {
        let id = answer.json()["request"]["id"].as_str().unwrap().to_owned();
        post(&node, &format!("/v1/requests/{id}/approve"), "bob", "seen")
    };
    for (query, status) in [("expect=101", 400), ("tenant=acme", 400), ("tenant=acme&expect=99", 409)] {
        let waits = discard(query);
        assert_eq!(waits.status, 202, "{query}: {}", waits.text());
        assert_refused(&approve(&waits), status);
    }
    assert_eq!(count("status=open"), 101, "nothing was done");
    let done = approve(&discard("tenant=acme&cause=us&expect=100"));
    assert_eq!(done.json(), json!({"discarded": 100, "left": 0}), "{}", done.text());
    wait_until("the store knows", || count("status=open") == 1);
    let told = audit(&node, "who=bob&type=operator&limit=1000");
    assert_eq!(told.len(), 100, "each has a receipt");
    assert!(told.iter().all(|(_, reason)| reason == "discard by alice and bob: a drill; approved: seen"));
}
