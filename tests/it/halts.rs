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
    let of_tenant = audit(&node, "tenant=acme&type=jidoka_halt,operator");
    assert_eq!(of_tenant, told, "they are about the tenant, and name no governor of it");
    assert_eq!(audit(&node, "tenant=acm&type=jidoka_halt,operator"), []);
    let shown = ["audit", "--tenant", "acme", "--type", "jidoka_halt,operator", "--admin", &admin];
    let mut shown_by = command(dir.path());
    shown_by.args(shown).arg("--token-file").arg(&bearer).stdout(Stdio::piped());
    let shown = shown_by.output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..6], ["TIME", "TYPE", "WHO", "TENANT", "SKU", "WHAT"], "{shown}");
    assert_eq!(rows[1][1..7], ["operator", "bob", "-", "-", "tenant", "acme"], "{shown}");
    assert_eq!(rows[2][1..7], ["jidoka_halt", "alice", "-", "-", "tenant", "acme"], "{shown}");

    // A test of alerts is an order, too.
    ordered(&node, "/v1/alerts");
    wait_until("the log has it", || audit(&node, "who=alice&type=alert_opened").len() == 1);
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
    // It failed again, so it may be ordered again at once.
    ordered(&node, &format!("{path}/replay"));
    own(&node, "acme", "s-1", 3);
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
fn what_is_halted_is_said_wherever_people_look() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let node = start(dir.path());
    let admin = node.admin.to_string();
    let told = |words: &[&str]| {
        let mut command = command(dir.path());
        command.args(words).args(["--admin", &admin, "--token-file"]).arg(dir.path().join("data/bob.token"));
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let says = |words: &[&str], parts: &[&str]| {
        let text = told(words);
        for part in parts {
            assert!(text.contains(part), "{words:?}: {part} is not in\n{text}");
        }
    };
    decided(&node, "acme", "s-1");
    says(&["halt", "reach", "--tenant", "nope"], &["no governor of tenant nope is known here", "not halted"]);
    says(&["halt", "reach", "--target", "nope"], &["no [[action]] of this node is named as target nope"]);
    says(
        &["governor", "resume", "acme", "vm", "--reason", "a slip"],
        &["nothing changed: it was not halted"],
    );
    says(
        &["tenant", "halt", "nobody", "--reason", "a drill"],
        &["no governor of tenant nobody is known here"],
    );
    assert!((node.metric("gemba_halts{scope=\"tenant\"}") - 1.0).abs() < 0.1);

    says(&["governor", "halt", "acme", "vm", "--reason", "alone"], &["halted since", "by bob: alone"]);
    says(&["tenant", "halt", "acme", "--reason", "all of it"], &["governors 1"]);
    says(&["target", "halt", "notify", "--reason", "no mail"], &["rule test/spent"]);
    says(&["line", "halt", "--reason", "stop"], &["halted since"]);
    says(
        &["governor", "show", "acme", "vm"],
        &[
            "halted with the line since",
            "by bob: stop",
            "halted with its tenant since",
            "by bob: all of it",
            "halted since",
            "by bob: alone",
            "its target notify is halted since",
            "by bob: no mail",
        ],
    );
    says(&["halt", "list"], &["acme/vm", "alone", "all of it", "no mail", "stop"]);
    says(&["governor", "list", "--halted"], &["acme"]);
    says(&["status"], &["tenant acme", "halted since", "by bob: all of it", "by bob: stop"]);
    let head = "HALTED: the line, 2 tenants, target notify";
    says(&["top", "--once"], &[head]);
    let board = node.ask("/board").text();
    assert!(board.lines().next().unwrap().contains(head), "{board}");
    assert!(board.contains("governors 1: by an operator"), "{board}");
    assert_eq!(node.ask("/readyz").status, 200, "it takes signals");
    assert!((node.metric("gemba_halts{scope=\"line\"}") - 1.0).abs() < 0.1);

    says(&["governor", "resume", "acme", "vm", "--reason", "over"], &["halted with its tenant"]);
    wait_until("it is not listed", || !told(&["governor", "list", "--halted"]).contains("acme"));
}

#[test]
fn an_order_that_needs_two_persons_waits_for_the_second() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[operator]\nneeds_second = [\"tenant halt\", \"policy reload\"]\n");
    let node = start(dir.path());
    let halt = |token: &str, reason: &str| post(&node, "/v1/tenants/acme/halt", token, reason);
    assert_refused(&halt("alice", " "), 400);
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
        let said = "halt of tenant acme by alice and bob: ordered: \"it overspends\"; approved: \"seen\"";
        assert_eq!(told, [("jidoka_halt".to_owned(), said.to_owned())], "{who}");
    }

    // An operator neither approves nor refuses what an admin's role is needed for.
    let pack = std::fs::read_to_string(dir.path().join("pack.toml")).unwrap();
    std::fs::write(dir.path().join("pack.toml"), pack + "\n# changed\n").unwrap();
    let waits = post(&node, "/v1/policy/reload", "admin", "new rules").json();
    let id = waits["request"]["id"].as_str().unwrap();
    assert_refused(&post(&node, &format!("/v1/requests/{id}/approve"), "bob", "seen"), 409);
    assert_refused(&post(&node, &format!("/v1/requests/{id}/refuse"), "alice", "not today"), 409);
    assert_eq!(post(&node, &format!("/v1/requests/{id}/refuse"), "root", "not today").status, 200);
    assert_eq!(ask(&node, "/v1/requests")["requests"], json!([]));
}

/// What was approved is what was ordered: not a later halt, alert or failure under the same name.
#[test]
fn what_is_there_anew_is_not_what_was_ordered() {
    let dir = tempfile::tempdir().unwrap();
    let guarded = ["tenant resume", "governor resume", "alert resolve", "deadletter discard"];
    write(dir.path(), &format!("[operator]\nneeds_second = {guarded:?}\n"));
    let node = start(dir.path());
    assert_eq!(decided(&node, "acme", "s-1").0, "action_generated");
    let waits = |path: &str| {
        let waits = post(&node, path, "alice", "over");
        assert_eq!(waits.status, 202, "{path}: {}", waits.text());
        let request = waits.json()["request"].clone();
        (request["id"].as_str().unwrap().to_owned(), request["concerns"].as_str().unwrap().to_owned())
    };
    let approve = |id: &str| post(&node, &format!("/v1/requests/{id}/approve"), "bob", "seen");
    let end = |id: &str| assert_eq!(approve(id).status, 200, "{id}");
    for of in ["tenants/acme", "governors/acme/vm"] {
        let halt =
            |reason: &str| assert_eq!(post(&node, &format!("/v1/{of}/halt"), "bob", reason).status, 200);
        let resume = format!("/v1/{of}/resume");
        halt("the first");
        let ((first, concerns), (again, _)) = (waits(&resume), waits(&resume));
        assert!(
            concerns.contains("the halt by bob since 20") && concerns.contains("the first"),
            "{concerns}"
        );
        end(&first);
        halt("the second");
        let refused = approve(&again);
        assert_refused(&refused, 409);
        assert!(refused.text().contains("not what was ordered any more"), "{}", refused.text());
        end(&waits(&resume).0);
    }

    let halt = || assert_eq!(post(&node, "/v1/tenants/acme/halt", "bob", "a drill").status, 200);
    halt();
    let alert = || {
        let alerts = ask(&node, "/v1/alerts?tenant=acme")["alerts"].clone();
        let mut alerts = alerts.as_array().unwrap().iter();
        alerts.find(|alert| alert["name"] == "tenant acme").cloned().unwrap_or_default()
    };
    wait_until("the halt is an alert", || alert()["id"].is_string() && alert()["ended_ms"].is_null());
    let id = alert()["id"].as_str().unwrap().to_owned();
    let ((resolve, concerns), (resume, _)) =
        (waits(&format!("/v1/alerts/{}/resolve", &id[..8])), waits("/v1/tenants/acme/resume"));
    assert!(
        concerns.starts_with("info halt tenant acme of acme since ") && concerns.contains("a drill"),
        "{concerns}"
    );
    end(&resume);
    wait_until("it is over", || !alert()["ended_ms"].is_null());
    assert_refused(&approve(&resolve), 409);
    halt();
    wait_until("it is open anew", || alert()["ended_ms"].is_null());
    assert_eq!(alert()["id"], id);
    let refused = approve(&resolve);
    assert_refused(&refused, 409);
    assert!(refused.text().contains("not what was ordered any more"), "{}", refused.text());

    assert_eq!(node.post(JSON, signal("acme", "vm", "s-2").as_bytes()).status, 202);
    let open = || ask(&node, "/v1/deadletters?status=open")["deadletters"][0].clone();
    wait_until("it is a case", || open()["id"].is_string());
    let case = open()["id"].as_str().unwrap().to_owned();
    let (discard, concerns) = waits(&format!("/v1/deadletters/{case}/discard"));
    assert!(concerns.contains("of acme/vm, us: "), "{concerns}");
    assert_eq!(post(&node, &format!("/v1/deadletters/{case}/replay"), "bob", "again").status, 200);
    wait_until("it failed again", || open()["replays"] == 1);
    wait_until("the discard is refused for what it is now", || {
        let refused = approve(&discard);
        assert_refused(&refused, 409);
        refused.text().contains("not what was ordered any more")
    });
}

/// What is wrong, and what changes nothing, is answered as it is without a second person.
#[test]
fn what_nobody_need_approve_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let guarded =
        ["governor resume", "governor quota", "deadletter resend", "deadletter discard-all", "reload"];
    write(dir.path(), &format!("[operator]\nneeds_second = {guarded:?}\n"));
    let node = start(dir.path());
    assert_refused(&post(&node, "/v1/governors/acme/vm/resume", "alice", "over"), 404);
    let quota = json!({"reason": "more", "quota_remaining": 7});
    assert_refused(&order(&node, "/v1/governors/acme/vm/quota", "alice", &quota), 404);
    ordered(&node, "/v1/tenants/acme/halt");
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    let open = || ask(&node, "/v1/deadletters?status=open")["deadletters"][0].clone();
    wait_until("it is a case", || open()["id"].is_string());
    let case = open()["id"].as_str().unwrap().to_owned();
    assert_refused(&post(&node, &format!("/v1/deadletters/{case}/resend"), "alice", "again"), 409);
    for (path, token, told) in [
        ("/v1/discards?tenant=other&expect=0", "alice", ("discarded", json!(0))),
        ("/v1/policy/reload", "admin", ("changed", json!(false))),
        ("/v1/reload", "admin", ("changed", json!(false))),
    ] {
        let done = post(&node, path, token, "a drill");
        assert_eq!((done.status, &done.json()[told.0]), (200, &told.1), "{path}: {}", done.text());
    }
    assert_eq!(ask(&node, "/v1/requests")["requests"], json!([]));
    let secret = format!("rotated-{}", "x".repeat(40));
    std::fs::write(dir.path().join("data/root.token"), secret).unwrap();
    let reload = || post(&node, "/v1/reload", "admin", "a rotated token");
    let waits = reload();
    assert_eq!(waits.status, 202, "another secret is a change: {}", waits.text());
    // Who only looks makes nothing.
    let path = dir.path().join("gemba.toml");
    let before = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, before.clone() + "[[logging.file]]\npath = \"new.log\"\n[[logging.file]]\npath = \"acts.jsonl\"\ncontent = \"audit\"\n").unwrap();
    assert_eq!(reload().status, 202);
    std::fs::write(&path, before + "[[admin.token]]\nname = \"zed\"\nrole = \"viewer\"\n").unwrap();
    let refused = reload();
    assert_refused(&refused, 422);
    assert!(refused.text().contains("zed.token"), "{}", refused.text());
    for made in ["new.log", "acts.jsonl", "data/zed.token"] {
        assert!(!dir.path().join(made).exists(), "{made}");
    }
}

/// Who orders must still be allowed to when all of the order is here.
#[test]
fn a_token_that_is_taken_back_while_its_order_comes_in_orders_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let node = start(dir.path());
    let body = json!({"reason": "too late"}).to_string();
    let bearer = format!("authorization: Bearer {}", node.secret("alice.token"));
    let length = format!("content-length: {}", body.len());
    let headers = [bearer.as_str(), "content-type: application/json", &length, "connection: close"];
    let request = raw("POST /v1/tenants/acme/halt HTTP/1.1", &headers, body.as_bytes());
    let mut socket = std::net::TcpStream::connect(node.admin).unwrap();
    let (begin, rest) = request.split_at(request.len() - 5);
    std::io::Write::write_all(&mut socket, begin).unwrap();
    // The head is read when the node has answered somebody else after it.
    std::thread::sleep(Duration::from_millis(200));
    std::fs::write(dir.path().join("data/alice.token"), format!("rotated-{}", "x".repeat(40))).unwrap();
    let done = post(&node, "/v1/reload", "admin", "a stolen token");
    assert_eq!((done.status, &done.json()["changed"]), (200, &true.into()), "{}", done.text());
    std::io::Write::write_all(&mut socket, rest).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut socket, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(ask(&node, "/v1/halts")["halts"], json!([]));
}

#[test]
fn orders_that_nobody_could_approve_and_what_is_no_order_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    for (order, says) in [
        ("policy reload", "fewer than two have a token with the role admin"),
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
    // Who orders is told at once what is wrong, and nothing waits.
    for (query, status) in [
        ("expect=101", 400),
        ("tenant=acme", 400),
        ("tenant=acme&expect=10001", 400),
        ("tenant=acme&expect=%2B100", 400),
        ("tenant=acme&expect=99", 409),
        ("tenant=acme&expect=101", 409),
    ] {
        assert_refused(&discard(query), status);
    }
    assert_eq!(ask(&node, "/v1/requests")["requests"], json!([]));
    let waits = discard("tenant=acme&cause=us&expect=100");
    let told = waits.json()["request"].clone();
    assert_eq!(told["request"], "POST /v1/discards?tenant=acme&cause=us&expect=100");
    assert!(told["concerns"].as_str().unwrap().starts_with("100 open dead letters: d-"), "{told}");
    let done = approve(&waits);
    let told = done.json();
    assert_eq!((&told["discarded"], &told["left"]), (&100.into(), &0.into()), "{told}");
    assert_eq!(told["request"]["command"], "deadletter discard-all");
    wait_until("the store knows", || count("status=open") == 1);
    let told = audit(&node, "who=bob&type=operator&limit=1000");
    assert_eq!(told.len(), 100, "each has a receipt");
    let said = "discard by alice and bob: ordered: \"a drill\"; approved: \"seen\"";
    assert!(told.iter().all(|(_, reason)| reason == said));
}

fn order(node: &Node, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("authorization: Bearer {}", node.secret(&format!("{token}.token")));
    let body = body.to_string();
    let length = format!("content-length: {}", body.len());
    let headers =
        [bearer.as_str(), "content-type: application/json", "if-match: *", &length, "connection: close"];
    exchange(node.admin, &raw(&format!("POST {path} HTTP/1.1"), &headers, body.as_bytes()))
}

#[test]
fn who_approves_sees_all_of_the_order_and_what_is_wrong_with_one_is_said_when_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "[operator]\nneeds_second = [\"silence add\", \"log level\", \"governor quota\", \"tenant halt\", \"reload\"]\n",
    );
    let node = start(dir.path());
    assert_eq!(decided(&node, "acme", "s-1").0, "action_generated");
    let when = "alert.kind == \"halt\"";
    for (path, token, body) in [
        ("/v1/silences", "alice", json!({"reason": "r", "when": "(((", "minutes": 60})),
        ("/v1/silences", "alice", json!({"reason": "r", "when": when, "minutes": 99_999_999})),
        ("/v1/silences", "alice", json!({"reason": "r", "minutes": 60})),
        ("/v1/silences", "alice", json!({"reason": "r".repeat(400), "when": when, "minutes": 60})),
        ("/v1/tenants/..%2F/halt", "alice", json!({"reason": "r"})),
        ("/v1/governors/acme/vm/quota", "alice", json!({"reason": "r"})),
        ("/v1/log/level", "admin", json!({"reason": "r", "level": "gemba=loud"})),
    ] {
        assert_refused(&order(&node, path, token, &body), 400);
    }
    assert_eq!(ask(&node, "/v1/requests")["requests"], json!([]), "nothing that is wrong waits");
    let pack = std::fs::read_to_string(dir.path().join("pack.toml")).unwrap();
    std::fs::write(dir.path().join("pack.toml"), pack + "\n# changed\n").unwrap();
    let orders = [
        ("/v1/silences", "alice", json!({"reason": "r", "when": when, "minutes": 60})),
        ("/v1/governors/acme/vm/quota", "alice", json!({"reason": "r", "quota_remaining": 7})),
        ("/v1/log/level", "admin", json!({"reason": "r", "level": "gemba=debug"})),
        ("/v1/reload", "admin", json!({"reason": "r"})),
    ];
    for (path, token, body) in &orders {
        assert_eq!(order(&node, path, token, body).status, 202, "{path}");
    }
    let listed = ask(&node, "/v1/requests")["requests"].clone();
    let told: Vec<&str> =
        listed.as_array().unwrap().iter().map(|one| one["request"].as_str().unwrap()).collect();
    assert_eq!(
        told,
        [
            r#"POST /v1/silences {"minutes":60,"when":"alert.kind == \"halt\""} If-Match: *"#,
            r#"POST /v1/governors/acme/vm/quota {"quota_remaining":7} If-Match: *"#,
            r#"POST /v1/log/level {"level":"gemba=debug"} If-Match: *"#,
            "POST /v1/reload If-Match: *",
        ]
    );
    for (at, concerns) in [
        "0 open alerts now, for 60 minutes from its approval",
        "actions left in this window: ",
        "levels: ",
        "settings that change: policy.packs[",
    ]
    .iter()
    .enumerate()
    {
        let told = listed[at]["concerns"].as_str().unwrap();
        assert!(told.starts_with(concerns), "{concerns}: {told}");
    }
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let run_of = |id: &str| id.rsplit_once('-').unwrap().0.to_owned();
    let begin = run_of(ids[0]);
    let others = ["+2", "02", "2%20"].map(|number| format!("{begin}-{number}"));
    for spelling in others.into_iter().chain(["q-2".into(), "q-00000000-2".into()]) {
        assert_refused(&post(&node, &format!("/v1/requests/{spelling}/approve"), "bob", "seen"), 404);
    }
    let done = post(&node, &format!("/v1/requests/{}/approve", ids[1]), "bob", "seen");
    assert_eq!((done.status, &done.json()["governor"]["quota_remaining"]), (200, &7.into()));
    assert_eq!(done.json()["request"]["request"], listed[1]["request"]);

    // The commands say it as no error, and show all of it.
    let run = |arguments: &[&str], token: &str| {
        let token = dir.path().join(format!("data/{token}.token"));
        let admin = node.admin.to_string();
        let mut command = command(dir.path());
        command.args(arguments).args(["--admin", &admin, "--token-file"]).arg(&token);
        let output = command.stdout(Stdio::piped()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, _, told) = run(&["tenant", "halt", "acme", "--reason", "it overspends"], "alice");
    assert_eq!(code, Some(4), "{told}");
    let fifth = format!("{begin}-5");
    let waits = [format!("waits as request {fifth}"), format!("gemba request approve {fifth}")];
    let concerns = ["POST /v1/tenants/acme/halt", "1 governor, 0 waiting signals", "operator"];
    for says in waits.iter().map(String::as_str).chain(concerns) {
        assert!(told.contains(says) && !told.contains("error"), "{says}: {told}");
    }
    let (_, listed, _) = run(&["request", "list"], "viewer");
    for says in ["EXPIRES IN", "60 min", "quota", "If-Match", "gemba=debug", "settings that change: "] {
        assert_eq!(listed.contains(says), says != "quota", "{says}: {listed}");
    }
    let (code, told, _) = run(&["request", "approve", &fifth, "--reason", "seen"], "bob");
    assert!(code == Some(0) && told.starts_with(&format!("{fifth} is carried out\n")), "{told}");
    for says in ["tenant halt, ordered by alice: it overspends\n", "concerns: 1 governor", "seq: "] {
        assert!(told.contains(says), "{says}: {told}");
    }
    let (code, told, _) = run(&["request", "refuse", ids[0], "--reason", "no"], "bob");
    assert_eq!((code, told), (Some(0), format!("{} is not carried out\nstatus: refused\n", ids[0])));
}

#[test]
fn what_is_carried_out_is_what_was_ordered() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[operator]\nneeds_second = [\"deadletter discard-all\", \"policy reload\"]\n");
    let node = start(dir.path());
    ordered(&node, "/v1/line/halt");
    let open = || ask(&node, "/v1/deadletters?status=open");
    let send = |numbers: std::ops::Range<u32>, open_then: u32| {
        for number in numbers {
            let body = signal("acme", "vm", &format!("s-{number}"));
            assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
        }
        wait_until("all are cases", || open()["count"] == open_then);
    };
    let approve = |id: &str, second: &str| post(&node, &format!("/v1/requests/{id}/approve"), second, "seen");
    let waits = |path: &str, token: &str| {
        let waits = post(&node, path, token, "a drill");
        assert_eq!(waits.status, 202, "{path}: {}", waits.text());
        waits.json()["request"]["id"].as_str().unwrap().to_owned()
    };
    send(0..5, 5);
    let ids: Vec<String> = open()["deadletters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap().into())
        .collect();
    let order = waits("/v1/discards?tenant=acme&expect=5", "alice");
    // Discards one by one are guarded, too; the command stops at the first that waits.
    let mut single = command(dir.path());
    single.args(["deadletter", "discard", "--tenant", "acme", "--expect", "5", "--reason", "a drill"]);
    single.args(["--admin", &node.admin.to_string(), "--token-file", "data/alice.token"]);
    let output = single.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("the other 4 were not sent") && told.contains("discard-all"), "{told}");
    let second = ask(&node, "/v1/requests")["requests"][1]["id"].as_str().unwrap().to_owned();
    let refuse = format!("/v1/requests/{second}/refuse");
    assert_eq!(post(&node, &refuse, "alice", "one by one is too slow").status, 200);
    // As many others come as are settled.
    for id in &ids[..3] {
        let single = waits(&format!("/v1/deadletters/{id}/discard"), "alice");
        assert_eq!(approve(&single, "bob").status, 200);
    }
    wait_until("three are settled", || open()["count"] == 2);
    send(5..8, 5);
    let refused = approve(&order, "bob");
    assert_refused(&refused, 409);
    assert!(refused.text().contains("not what was ordered any more"), "{}", refused.text());
    let listed = ask(&node, "/v1/requests")["requests"][0].clone();
    assert_eq!((&listed["id"], &listed["under_way"]), (&order.as_str().into(), &false.into()));
    assert!(listed["refused"].as_str().unwrap().contains("not what was ordered"), "{listed}");
    assert_eq!(open()["count"], 5, "none of the new ones is discarded");
    assert_eq!(post(&node, &format!("/v1/requests/{order}/refuse"), "alice", "it changed").status, 200);

    for (path, to_text) in [("/v1/policy/reload", "> 70.0"), ("/v1/reload", "> 50.0")] {
        std::fs::write(dir.path().join("pack.toml"), PACK.replace("> 80.0", to_text)).unwrap();
        let order = waits(path, "admin");
        let listed = ask(&node, "/v1/requests")["requests"][0].clone();
        assert!(listed["concerns"].as_str().unwrap().contains("pack.toml"), "{listed}");
        std::fs::write(dir.path().join("pack.toml"), PACK.replace("> 80.0", "> 10.0")).unwrap();
        assert_refused(&approve(&order, "root"), 409);
        let show = |node: &Node| ask(node, "/v1/policy");
        let before = show(&node);
        std::fs::write(dir.path().join("pack.toml"), PACK.replace("> 80.0", to_text)).unwrap();
        let done = approve(&order, "root");
        assert_eq!((done.status, &done.json()["changed"]), (200, &true.into()), "{path}: {}", done.text());
        assert_ne!(show(&node), before);
    }
}

/// An order whose approver does not wait for the answer is carried out, or waits on; it is never lost.
#[test]
fn an_approved_order_ends_without_who_approved_it() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[operator]\nneeds_second = [\"tenant halt\", \"tenant resume\"]\n");
    let node = start(dir.path());
    for number in 0..40_u64 {
        let (verb, holds) = if number % 2 == 0 { ("halt", 1) } else { ("resume", 0) };
        let waits = post(&node, &format!("/v1/tenants/acme/{verb}"), "alice", "a drill").json();
        let approve = format!("/v1/requests/{}/approve", waits["request"]["id"].as_str().unwrap());
        let bearer = format!("authorization: Bearer {}", node.secret("bob.token"));
        let body = json!({"reason": "seen"}).to_string();
        let length = format!("content-length: {}", body.len());
        let headers = [bearer.as_str(), "content-type: application/json", &length];
        let request = raw(&format!("POST {approve} HTTP/1.1"), &headers, body.as_bytes());
        let mut socket = std::net::TcpStream::connect(node.admin).unwrap();
        std::io::Write::write_all(&mut socket, &request).unwrap();
        // Before, amid and after it.
        std::thread::sleep(Duration::from_millis(number / 4));
        drop(socket);
        wait_until("it waits no more", || {
            let waits = ask(&node, "/v1/requests")["requests"] != json!([]);
            // The node may not have read the approval at all.
            if waits {
                post(&node, &approve, "bob", "seen");
            }
            !waits
        });
        assert_eq!(ask(&node, "/v1/halts")["halts"].as_array().unwrap().len(), holds, "{number}");
    }
}

#[test]
fn two_tokens_of_one_person_are_one_person() {
    let dir = tempfile::tempdir().unwrap();
    let more = "[[admin.token]]\nname = \"alice-2\"\nperson = \"alice\"\nrole = \"operator\"\n[operator]\nneeds_second = [\"tenant halt\"]\n";
    write(dir.path(), more);
    let node = start(dir.path());
    let waits = post(&node, "/v1/tenants/acme/halt", "alice", "a drill");
    let approve = format!("/v1/requests/{}/approve", waits.json()["request"]["id"].as_str().unwrap());
    assert_refused(&post(&node, &approve, "alice-2", "myself"), 409);
    assert_eq!(post(&node, &approve, "bob", "seen").status, 200);
    drop(node);
    // Two admins that are one person cannot approve.
    write(dir.path(), "[operator]\nneeds_second = [\"reload\"]\n");
    let path = dir.path().join("gemba.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace("name = \"root\"", "name = \"root\"\nperson = \"admin\"")).unwrap();
    let check = command(dir.path()).args(["config", "check", "gemba.toml"]).output().unwrap();
    let told = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(2), "{told}");
    assert!(told.contains("fewer than two have a token with the role admin"), "{told}");
}

/// A page of the store looks at 1,000 cases at most.
#[test]
fn more_cases_than_one_page_are_found_and_discarded_by_one_order() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "[rate_limit]\nper_second = 100000\nburst = 100000\n");
    let node = start(dir.path());
    ordered(&node, "/v1/line/halt");
    for from in ["a", "b"] {
        let lines = (0..600).map(|number| signal("acme", "usual", &format!("{from}-{number}")));
        let answer = node.post("application/x-ndjson", lines.collect::<Vec<_>>().join("\n").as_bytes());
        assert!(answer.status < 300, "{}", answer.text());
    }
    assert_eq!(node.post(JSON, signal("acme", "rare", "r").as_bytes()).status, 202);
    let count = || ask(&node, "/v1/deadletters?status=open")["count"].clone();
    wait_until("all are cases", || count() == 1201);
    let discard = |query: &str| post(&node, &format!("/v1/discards?{query}"), "alice", "a drill");
    let refused = discard("sku=rare&expect=2");
    assert_refused(&refused, 409);
    assert!(refused.text().contains("1 open dead letters fit, and 2 were expected"), "{}", refused.text());
    assert_refused(&discard("sku=usual&expect=1199"), 409);
    let refused = discard("sku=usual&expect=10001");
    assert_refused(&refused, 400);
    assert!(
        refused.text().contains("too many at once: one order discards 10000 at most"),
        "{}",
        refused.text()
    );
    assert_eq!(discard("sku=rare&expect=1").json(), json!({"discarded": 1, "left": 0}));
    let begun = Instant::now();
    let done = discard("sku=usual&expect=1200");
    eprintln!("1,200 discards took {:?}", begun.elapsed());
    assert_eq!(done.json(), json!({"discarded": 1200, "left": 0}), "{}", done.text());
    wait_until("all are discarded", || count() == 0);
}

/// The first order of each pair is answered 503, since the journal stands still, and is carried out all the same.
#[cfg(feature = "faults")]
#[test]
fn orders_on_the_rules_do_not_undo_each_other_on_a_slow_disk() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "");
    let held = dir.path().join("held");
    let hold = format!("K8:{}", held.display());
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml"), ("GEMBA_HOLD", &hold)]);
    let order = |path: &str, token: &str| post(&node, path, token, "a drill").status;
    let halts = || {
        let halts = ask(&node, "/v1/halts");
        let halts = halts["halts"].as_array().unwrap().iter();
        halts.map(|halt| halt["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let policy = |spend: &str| {
        let text = PACK.replace("> 80.0", &format!("> {spend}.0"));
        std::fs::write(dir.path().join("pack.toml"), text).unwrap();
    };
    let hash = || ask(&node, "/v1/policy")["packs"][0]["content_hash"].clone();
    // One order while the journal stands still, and a second one before it goes on.
    let beside = |first: (&str, &str), second: (&str, &str)| {
        std::fs::write(&held, "").unwrap();
        assert_eq!(order(first.0, first.1), 503, "{first:?}");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| order(second.0, second.1));
            std::thread::sleep(Duration::from_millis(500));
            std::fs::remove_file(&held).unwrap();
            second.join().unwrap()
        })
    };
    assert_eq!(beside(("/v1/tenants/a/halt", "alice"), ("/v1/tenants/b/halt", "bob")), 200);
    assert_eq!(halts(), ["a", "b"]);

    let before = hash();
    policy("70");
    assert_eq!(beside(("/v1/policy/reload", "admin"), ("/v1/tenants/c/halt", "alice")), 200);
    assert_eq!(halts(), ["a", "b", "c"]);
    let reloaded = hash();
    assert_ne!(reloaded, before);

    policy("60");
    let busy = beside(("/v1/tenants/d/halt", "alice"), ("/v1/policy/reload", "admin"));
    assert_eq!(busy, 409, "the halt is not over");
    wait_until("the halt is over", || order("/v1/policy/reload", "admin") == 200);
    assert_eq!(halts(), ["a", "b", "c", "d"]);
    assert_ne!(hash(), reloaded);

    let told = || audit(&node, "type=operator,jidoka_halt&limit=100");
    wait_until("all receipts", || told().len() >= 4);
    let is_halt =
        |(kind, reason): &(String, String)| kind == "jidoka_halt" && reason.starts_with("halt of tenant");
    assert!(told().len() == 4 && told().iter().all(is_halt), "{:?}", told());
    drop(node);
    let node = start(dir.path());
    assert_eq!(ask(&node, "/v1/halts")["halts"].as_array().unwrap().len(), 4);
}
