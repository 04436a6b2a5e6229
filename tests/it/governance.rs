//! Rules, operators and dead letters from outside: what a team writes, tries, activates, and mends.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::actions;
use crate::http::{Answer, exchange};
use crate::node::{Node, PATIENCE, signal};
use crate::program::command;
use crate::signals::wait_until;
use crate::targets::{Does, Target};
use crate::wire::{assert_problem, raw};

const JSON: &str = "application/json";

/// A node whose one pack is `pack`, with a token for each role and an action `notify` that logs.
fn node(dir: &Path, pack: &str) -> Node {
    std::fs::write(dir.join("pack.toml"), pack).unwrap();
    let mut config = String::from(
        "[node]\nprofile = \"dev\"\n[policy]\npacks = [\"pack.toml\"]\n[[action]]\nname = \"notify\"\nkind = \"log\"\n",
    );
    for role in ["admin", "operator", "viewer"] {
        config.push_str(&format!("[[admin.token]]\nname = \"{role}\"\nrole = \"{role}\"\n"));
    }
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn rule(id: &str, when: &str, decide: &str) -> String {
    let action = if decide == "act" { "action = \"notify\"\n" } else { "" };
    format!(
        "[[rule]]\nid = \"{id}\"\ntypes = [\"cost.usage\"]\nwhen = '{when}'\ndecide = \"{decide}\"\n{action}reason = \"for {id}\"\n"
    )
}

fn pack(rules: &[String]) -> String {
    format!("name = \"test\"\n{}", rules.concat())
}

fn post(node: &Node, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("authorization: Bearer {}", node.secret(&format!("{token}.token")));
    let body = body.to_string();
    let length = format!("content-length: {}", body.len());
    let headers = [bearer.as_str(), "content-type: application/json", &length, "connection: close"];
    exchange(node.admin, &raw(&format!("POST {path} HTTP/1.1"), &headers, body.as_bytes()))
}

fn ordered(node: &Node, path: &str, body: &Value) -> Value {
    let answer = post(node, path, "operator", body);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn ask(node: &Node, path: &str) -> Value {
    let answer = node.ask(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn accept(node: &Node, sku: &str, id: &str) {
    assert_eq!(node.post(JSON, signal("acme", sku, id).as_bytes()).status, 202);
}

/// The receipts of a signal, those of alerts left out, once there are `count`.
fn receipts(node: &Node, id: &str, count: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = node.decided("acme", id);
        let names = status["receipts"].as_array().unwrap().clone();
        let all = names.iter().map(|name| ask(node, &format!("/v1/receipts/{}", name.as_str().unwrap())));
        let is_alert = |receipt: &Value| receipt["receipt_type"].as_str().unwrap().starts_with("alert_");
        let found: Vec<Value> = all.filter(|receipt| !is_alert(receipt)).collect();
        if found.len() >= count {
            return found;
        }
        assert!(Instant::now() < until, "{status}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn types(receipts: &[Value]) -> Vec<&str> {
    receipts.iter().map(|receipt| receipt["receipt_type"].as_str().unwrap()).collect()
}

/// The cases that a filter takes, once there are `count`: the store sees them a moment later.
fn cases(node: &Node, filter: &str, count: usize) -> Vec<Value> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = ask(node, &format!("/v1/deadletters?{filter}"));
        let page = found["deadletters"].as_array().unwrap().clone();
        assert_eq!(found["count"], page.len());
        if page.len() == count {
            return page;
        }
        assert!(Instant::now() < until, "{found}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn gemba(node: &Node, words: &[&str]) -> Output {
    let mut command = command(&node.dir);
    command.env("GEMBA_CONFIG", "gemba.toml").stdout(std::process::Stdio::piped()).args(words);
    if matches!(words[0], "deadletter" | "governor") || words[1] == "reload" || words[1] == "show" {
        command.args(["--admin", &format!("http://{}", node.admin)]);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_order_needs_a_role_and_a_reason_and_leaves_a_receipt() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &pack(&[]));
    accept(&node, "vm", "s-1");
    receipts(&node, "s-1", 1);
    let halt = "/v1/governors/acme/vm/halt";
    let reason = json!({"reason": "a drill"});
    for (path, token, body, status) in [
        (halt, "viewer", reason.clone(), 403),
        (halt, "operator", json!({}), 400),
        (halt, "operator", json!({"reason": "  "}), 400),
        (halt, "operator", json!({"reason": "x".repeat(1025)}), 400),
        (halt, "operator", json!({"reason": "x", "quota_remaining": 1}), 400),
        (halt, "operator", json!({"reason": "x", "why": 1}), 400),
        (halt, "operator", json!(["a drill"]), 400),
        (halt, "operator", json!("a drill"), 400),
        (halt, "operator", json!(null), 400),
        ("/v1/governors/acme/vm/quota", "operator", reason.clone(), 400),
        ("/v1/governors/acme/unknown/resume", "operator", reason.clone(), 404),
        ("/v1/governors/ACME/vm/entitle", "operator", reason.clone(), 400),
        ("/v1/deadletters/d-0000000000000001/replay", "viewer", reason.clone(), 403),
        ("/v1/deadletters/d-0000000000000001/replay", "operator", reason.clone(), 404),
        ("/v1/deadletters/1/replay", "operator", reason.clone(), 400),
        ("/v1/policy/reload", "operator", reason.clone(), 403),
    ] {
        let answer = post(&node, path, token, &body);
        assert_eq!(answer.status, status, "{path} {token} {body}: {}", answer.text());
        assert_problem(path, &answer);
    }
    assert_eq!(ask(&node, "/v1/governors/acme/vm")["state"], "stable");

    let done = ordered(&node, halt, &reason);
    assert_eq!(done["governor"]["state"], "halted");
    let receipt = || node.ask(&format!("/v1/receipts/{}", done["receipt_id"].as_str().unwrap()));
    let until = Instant::now() + PATIENCE;
    while receipt().status != 200 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(5));
    }
    let receipt = receipt().json();
    assert_eq!(
        (&receipt["receipt_type"], &receipt["reason"]),
        (&"jidoka_halt".into(), &"halt by operator: a drill".into())
    );

    for (verb, body, state) in [
        ("resume", json!({"reason": "over"}), "stable"),
        ("revoke", json!({"reason": "unpaid"}), "degraded"),
        ("entitle", json!({"reason": "paid"}), "stable"),
        ("quota", json!({"reason": "month end", "quota_remaining": 3}), "stable"),
    ] {
        let done = ordered(&node, &format!("/v1/governors/acme/vm/{verb}"), &body);
        assert_eq!(done["governor"]["state"], state, "{verb}");
    }
    assert_eq!(ask(&node, "/v1/governors/acme/vm")["quota_remaining"], 3);
    let output = gemba(&node, &["governor", "halt", "acme", "vm", "--reason", "by hand", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(ask(&node, "/v1/governors/acme/vm")["state"], "halted");
}

#[test]
fn a_dead_letter_is_a_case_that_can_be_tried_replayed_once_and_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), &pack(&[rule("spent", "signal.data.spend > 80.0", "act")]));
    accept(&node, "vm", "s-1");
    let ended = receipts(&node, "s-1", 2);
    assert_eq!(types(&ended), ["action_generated", "action_successful"]);
    assert_eq!((&ended[0]["policy"]["rule"], &ended[0]["reason"]), (&"spent".into(), &"for spent".into()));
    ordered(&node, "/v1/governors/acme/vm/halt", &json!({"reason": "a drill"}));
    accept(&node, "vm", "s-2");
    let dead = receipts(&node, "s-2", 1);
    assert_eq!(dead[0]["reason"], "us: the governor is halted by an operator");
    assert_eq!(node.decided("acme", "s-2")["status"], "dead_lettered");
    let case = cases(&node, "cause=us&status=open&tenant=acme", 1).remove(0);
    assert_eq!(
        (&case["signal_id"], &case["state"], &case["replays"]),
        (&"s-2".into(), &"halted".into(), &0.into())
    );
    assert!(cases(&node, "cause=policy", 0).is_empty());
    let path = format!("/v1/deadletters/{}", case["id"].as_str().unwrap());
    assert_eq!(ask(&node, &path)["signal"]["data"]["spend"], 81.25);

    // While the cause is there, a dry run says that it would fail again, and a replay does.
    let dry = post(&node, &format!("{path}/dry-run"), "viewer", &json!({})).json();
    assert_eq!((&dry["state_after"], &dry["actions"]), (&"halted".into(), &json!([])));
    assert_eq!(dry["transitions"][1]["receipt_type"], "deadletter_signal");
    ordered(&node, &format!("{path}/replay"), &json!({"reason": "too early"}));
    let again = &cases(&node, "status=open", 1)[0];
    let again = if again["replays"] == 1 {
        again.clone()
    } else {
        wait_for(&node, &path, |case| case["replays"] == 1)
    };
    assert_eq!((&again["cause"], &again["last"]["cause"]), (&"us".into(), &"us".into()));

    ordered(&node, "/v1/governors/acme/vm/resume", &json!({"reason": "over"}));
    // The alert of the halt ends by an event of its own, which may come at any time.
    let governor = || {
        let mut governor = ask(&node, "/v1/governors/acme/vm");
        governor.as_object_mut().unwrap().remove("last_seq");
        governor
    };
    let before = governor();
    let dry = post(&node, &format!("{path}/dry-run"), "viewer", &json!({})).json();
    assert_eq!((&dry["actions"], &dry["state_after"]), (&json!(["notify"]), &"action_pending".into()));
    assert_eq!(dry["transitions"][1]["rule"], "spent");
    assert_eq!(governor(), before, "a dry run changes nothing");
    assert_eq!(node.decided("acme", "s-2")["receipts"].as_array().unwrap().len(), 3, "nor tells of anything");

    // One of many at once is taken.
    let statuses: Vec<u16> = (0..3)
        .map(|_| {
            post(&node, &format!("{path}/replay"), "operator", &json!({"reason": "the drill is over"})).status
        })
        .collect();
    assert_eq!(statuses, [200, 409, 409]);
    let all = receipts(&node, "s-2", 6);
    let kinds = types(&all);
    assert_eq!(kinds.iter().filter(|kind| **kind == "action_generated").count(), 1, "{kinds:?}");
    assert_eq!(node.decided("acme", "s-2")["status"], "decided");
    let closed = wait_for(&node, &path, |case| case["status"] == "replayed");
    assert_eq!((&closed["replays"], &closed["cause"]), (&2.into(), &"us".into()), "the first cause stays");
    assert_eq!(post(&node, &format!("{path}/discard"), "operator", &json!({"reason": "x"})).status, 409);

    // All of it outlives a kill.
    node.kill();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    assert_eq!(wait_for(&node, &path, |case| case["status"] == "replayed")["replays"], 2);
    assert_eq!(types(&receipts(&node, "s-2", 6)).len(), 6);
}

fn wait_for(node: &Node, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = node.ask(path);
        if found.status == 200 && holds(&found.json()) {
            return found.json();
        }
        assert!(Instant::now() < until, "{}", found.text());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_does_not_fit_a_rule_is_replayed_under_better_rules() {
    let dir = tempfile::tempdir().unwrap();
    let mut node =
        node(dir.path(), &pack(&[rule("share", "signal.data.spend > 0.8 * signal.data.budget", "act")]));
    for number in 0..5 {
        accept(&node, &format!("vm-{number}"), &format!("s-{number}"));
    }
    let dead = receipts(&node, "s-0", 1);
    assert_eq!(dead[0]["reason"], "policy: test/share: `signal.data.budget` is not there");
    assert_eq!(dead[0]["policy"]["rule"], "share");
    cases(&node, "cause=policy&status=open", 5);

    // A pack that is wrong changes nothing, and is told with its place.
    std::fs::write(dir.path().join("pack.toml"), pack(&[rule("share", "signal.dat.spend > 1.0", "act")]))
        .unwrap();
    let answer = post(&node, "/v1/policy/reload", "admin", &json!({"reason": "guarded"}));
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("pack.toml:5:9: `when` of rule `share`: unknown name"),
        "{}",
        answer.text()
    );
    assert!(node.metric("gemba_policy_reload_failures_total") >= 1.0);
    let old = ask(&node, "/v1/policy")["packs"][0]["content_hash"].clone();

    let better = pack(&[
        rule("share", "has(signal.data.budget) && signal.data.spend > 0.8 * signal.data.budget", "act"),
        rule("seen", "true", "observe"),
    ]);
    std::fs::write(dir.path().join("pack.toml"), better).unwrap();
    let done = post(&node, "/v1/policy/reload", "admin", &json!({"reason": "guarded"})).json();
    assert_eq!(done["changed"], true, "{done}");
    assert_ne!(done["policy"]["packs"][0]["content_hash"], old);
    assert_eq!(
        post(&node, "/v1/policy/reload", "admin", &json!({"reason": "again"})).json()["changed"],
        false
    );
    let receipt =
        wait_for(&node, &format!("/v1/receipts/{}", done["receipt_id"].as_str().unwrap()), |_| true);
    assert_eq!(
        (&receipt["receipt_type"], &receipt["reason"], &receipt["policy"]["pack"], &receipt["tenant"]),
        (&"policy_change".into(), &"changed by admin: guarded".into(), &"test".into(), &Value::Null)
    );
    assert_eq!(receipt["policy"]["content_hash"], done["policy"]["packs"][0]["content_hash"]);

    // Nothing is replayed that was not counted.
    let words =
        ["deadletter", "replay", "--cause", "policy", "--reason", "guarded", "--rate", "100", "--expect"];
    let output = gemba(&node, &[&words[..], &["4"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("5 open dead letters"), "{}", said(&output));
    let output = gemba(&node, &[&words[..], &["5"]].concat());
    assert!(output.status.success(), "{}", said(&output));
    for number in 0..5 {
        assert_eq!(
            types(&receipts(&node, &format!("s-{number}"), 3)),
            ["deadletter_signal", "operator", "observed"]
        );
    }
    cases(&node, "status=replayed", 5);

    // SIGHUP is the same, and the rules outlive the process.
    std::fs::write(dir.path().join("pack.toml"), pack(&[rule("never", "true", "deny")])).unwrap();
    node.signal("HUP");
    node.wait_for("the configuration was read anew");
    accept(&node, "vm-9", "s-9");
    assert_eq!(types(&receipts(&node, "s-9", 1)), ["policy_denied"]);
    node.kill();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    accept(&node, "vm-9", "s-10");
    assert_eq!(types(&receipts(&node, "s-10", 1)), ["policy_denied"]);
}

/// A governor that is quiet is forgotten, and one may be stopped before it has ever said anything.
#[test]
fn a_governor_that_is_not_there_can_be_halted_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &pack(&[]));
    let reason = json!({"reason": "it must not act"});
    let halted = ordered(&node, "/v1/governors/acme/quiet/halt", &reason);
    assert_eq!(halted["governor"]["state"], "halted", "{halted}");
    let revoked = ordered(&node, "/v1/governors/acme/gone/revoke", &reason);
    assert_eq!(revoked["governor"]["state"], "degraded", "{revoked}");
    accept(&node, "quiet", "s-1");
    assert_eq!(types(&receipts(&node, "s-1", 1)), ["deadletter_signal"]);
    accept(&node, "gone", "s-2");
    assert_eq!(types(&receipts(&node, "s-2", 1)), ["deferred_dropped"]);
}

#[test]
fn tenants_go_by_packs_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("own.toml"), pack(&[rule("own", "true", "deny")])).unwrap();
    let config =
        "[node]\nprofile = \"dev\"\n[[policy.tenant]]\ntenants = [\"acme\"]\npacks = [\"own.toml\"]\n";
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    accept(&node, "vm", "s-1");
    assert_eq!(types(&receipts(&node, "s-1", 1)), ["policy_denied"]);
    assert_eq!(node.post(JSON, signal("other", "vm", "s-2").as_bytes()).status, 202);
    let status = node.decided("other", "s-2");
    let receipt = ask(&node, &format!("/v1/receipts/{}", status["receipts"][0].as_str().unwrap()));
    assert_eq!(receipt["receipt_type"], "observed");
    assert_eq!(ask(&node, "/v1/policy")["tenants"]["acme"], json!(["test"]));
}

#[test]
fn a_failed_target_is_a_case_that_is_replayed_when_the_target_is_back() {
    let failing = Target::start(|nth| if nth < 1 { Does::Answer(403) } else { Does::Answer(200) });
    let dir = tempfile::tempdir().unwrap();
    let hook = format!(
        "[[action]]\nname = \"page\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\ntimeout_seconds = 6\n",
        failing.url()
    );
    let mut node = actions::node(dir.path(), &hook);
    actions::ask_for(&node, "page", "s-1");
    assert_eq!(types(&receipts(&node, "s-1", 2)), ["action_generated", "action_failed"]);
    let case = cases(&node, "cause=target", 1).remove(0);
    assert!(case["detail"].as_str().unwrap().contains("it answered 403"), "{case}");
    let open = |node: &Node| node.metric("gemba_dead_letters_open{cause=\"target\"}");
    // The store counts what it shows a moment later.
    wait_until("the case is open", || (open(&node) - 1.0).abs() < 0.1);
    node.kill();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    // What the store had not written when it was killed is read from the journal again.
    wait_until("the case is open", || (open(&node) - 1.0).abs() < 0.1);
    let token = std::fs::read_to_string(node.file("admin.token")).unwrap();
    assert!(!token.is_empty());
    let path = format!("/v1/deadletters/{}", case["id"].as_str().unwrap());
    let answer = post(&node, &format!("{path}/replay"), "admin", &json!({"reason": "it is back"}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let all = receipts(&node, "s-1", 5);
    assert_eq!(types(&all).last(), Some(&"action_successful"), "{:?}", types(&all));
    let keys: Vec<String> =
        failing.wait_for(2).iter().map(|seen| seen.header("idempotency-key").to_owned()).collect();
    assert_eq!(keys[0], keys[1], "the same action goes out again");
    wait_for(&node, &path, |case| case["status"] == "replayed");
    wait_until("no case is open", || open(&node) < 0.1);
}

/// Of four cases three are closed: what is open is counted alone and stays, and of the closed ones the newest is kept.
#[test]
fn closed_dead_letters_are_not_counted_as_open_and_go_when_their_retention_ends() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pack.toml"), pack(&[rule("bad", "signal.data.missing > 1.0", "deny")]))
        .unwrap();
    let config = |count: u32| {
        let config = format!(
            "[node]\nprofile = \"dev\"\n[policy]\npacks = [\"pack.toml\"]\n[dead_letters]\nretention_count = {count}\n\
             [[admin.token]]\nname = \"operator\"\nrole = \"operator\"\n[[admin.token]]\nname = \"admin\"\nrole = \"admin\"\n"
        );
        std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    };
    let start = || Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    config(100);
    let mut node = start();
    for number in 0..4 {
        accept(&node, "vm", &format!("s-{number}"));
    }
    let all = cases(&node, "", 4);
    let told = said(&gemba(&node, &["deadletter", "list"]));
    assert!(told.starts_with("4 open dead letters\n"), "{told}");
    for case in &all[..3] {
        let path = format!("/v1/deadletters/{}/discard", case["id"].as_str().unwrap());
        ordered(&node, &path, &json!({"reason": "a drill"}));
    }
    let closed = cases(&node, "status=discarded", 3);
    assert!(closed.iter().all(|case| case["closed"].as_u64().is_some()), "{closed:?}");
    let listed = |node: &Node, words: &[&str]| said(&gemba(node, &[&["deadletter", "list"], words].concat()));
    let id = |number: usize| all[number]["id"].as_str().unwrap();
    let told = listed(&node, &[]);
    assert!(told.starts_with("1 open dead letter\n"), "{told}");
    assert!(told.contains(id(3)) && !told.contains(id(0)), "{told}");
    assert!(listed(&node, &["--status", "all"]).starts_with("4 dead letters\n"));
    assert!(listed(&node, &["--type", "cost.usage", "--limit", "1"]).starts_with("1 open dead letter\n"));
    wait_until("three are closed", || (node.metric("gemba_dead_letters_closed") - 3.0).abs() < 0.1);
    let told = said(&gemba(&node, &["deadletter", "discard", "--expect", "4", "--reason", "a drill"]));
    assert!(told.contains("1 open dead letter"), "{told}");

    // The retention is the configuration's, of cases from before it, too.
    node.kill();
    config(1);
    let node = start();
    let until = Instant::now() + PATIENCE;
    while ask(&node, "/v1/deadletters?status=discarded")["count"] != 1 {
        assert!(Instant::now() < until, "closed ones are still kept");
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = cases(&node, "", 2);
    assert_eq!((left[0]["id"].as_str(), left[1]["id"].as_str()), (Some(id(2)), Some(id(3))));
    assert_eq!((&left[0]["status"], &left[1]["status"]), (&"discarded".into(), &"open".into()));
    assert_eq!(node.ask(&format!("/v1/deadletters/{}", id(0))).status, 404);
    assert_eq!(types(&receipts(&node, "s-0", 2)), ["deadletter_signal", "operator"], "what is proven stays");
    wait_until("one is closed", || (node.metric("gemba_dead_letters_closed") - 1.0).abs() < 0.1);
    let open = || node.metric("gemba_dead_letters_open{cause=\"policy\"}");
    wait_until("one is open", || (open() - 1.0).abs() < 0.1);
}

/// The memory of `budget-80` has counted the signal whose action failed: decided anew, it would be observed and its page
/// be lost.
#[test]
fn the_page_of_a_shipped_rule_is_sent_again_and_not_decided_anew() {
    let target = Target::start(|nth| Does::Answer(if nth < 2 { 403 } else { 200 }));
    let dir = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/policies/cost_governance.toml");
    std::fs::copy(shipped, dir.path().join("pack.toml")).unwrap();
    let config = format!(
        "[node]\nprofile = \"dev\"\n[policy]\npacks = [\"pack.toml\"]\n[[action]]\nname = \"notify\"\n\
         kind = \"webhook\"\nurl = \"{}\"\nallow_private = true\ntimeout_seconds = 6\n\
         [[admin.token]]\nname = \"operator\"\nrole = \"operator\"\n[[admin.token]]\nname = \"admin\"\nrole = \"admin\"\n",
        target.url()
    );
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let start = || Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    let mut node = start();
    let spent =
        r#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage","data":{"spend":81.0,"budget":100.0}}"#;
    assert_eq!(node.post(JSON, spent.as_bytes()).status, 202);
    assert_eq!(types(&receipts(&node, "s-1", 2)), ["action_generated", "action_failed"]);
    let case = cases(&node, "cause=target", 1).remove(0);
    assert_eq!(
        (&case["action"]["name"], &case["action"]["rule"]),
        (&"notify".into(), &"budget-80".into()),
        "{case}"
    );
    let id = case["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/deadletters/{id}");

    node.kill();
    node = start();
    let told = gemba(&node, &["deadletter", "dry-run", &id]);
    assert!(String::from_utf8_lossy(&told.stdout).contains("would send again: notify"), "{told:?}");
    assert_eq!(ordered(&node, &format!("{path}/dry-run"), &json!({}))["does"], "resend");
    // It fails once more, then it is done.
    ordered(&node, &format!("{path}/replay"), &json!({"reason": "it is back"}));
    let failed = wait_for(&node, &path, |case| case["status"] == "open" && case["replays"] == 1);
    assert_eq!(
        (&failed["cause"], &failed["last"]["cause"]),
        (&"target".into(), &"target".into()),
        "{failed}"
    );
    assert_eq!(failed["action"], case["action"], "{failed}");
    ordered(&node, &format!("{path}/resend"), &json!({"reason": "now it is"}));
    let done = wait_for(&node, &path, |case| case["status"] == "replayed" && case["replays"] == 2);
    assert_eq!(done["first"], case["first"]);
    let seen = target.wait_for(3);
    let keys: Vec<&str> = seen.iter().map(|seen| seen.header("idempotency-key")).collect();
    assert_eq!((keys.len(), keys[1], keys[2]), (3, keys[0], keys[0]), "{keys:?}");
    assert_eq!(types(&receipts(&node, "s-1", 6)).last(), Some(&"action_successful"));
    assert_eq!(post(&node, &format!("{path}/resend"), "operator", &json!({"reason": "x"})).status, 409);

    // What no action failed of has none to send.
    let stuck =
        r#"{"id":"s-2","tenant":"acme","sku":"vm","type":"cost.usage","data":{"spend":"much","budget":1.0}}"#;
    assert_eq!(node.post(JSON, stuck.as_bytes()).status, 202);
    let case = cases(&node, "cause=policy", 1).remove(0);
    let path = format!("/v1/deadletters/{}", case["id"].as_str().unwrap());
    let refused = post(&node, &format!("{path}/resend"), "operator", &json!({"reason": "x"}));
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(ordered(&node, &format!("{path}/dry-run"), &json!({}))["does"], "decide");

    // A decision is counted where it is made: not when its event is replayed, and not when its action is sent again.
    wait_until("failures are told", || node.ask("/metrics").text().contains("gemba_rule_failures_total{"));
    let page = node.ask("/metrics").text();
    assert!(!page.contains("decision=\"act\""), "{page}");
}

#[test]
fn packs_are_checked_tested_and_compared_with_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let example =
        "[[rule.example]]\nsignal = { type = \"cost.usage\", data = { spend = 90.0 } }\nexpect = \"act\"\n";
    let spent = rule("spent", "signal.data.spend > 80.0", "act") + example;
    let mut node = node(dir.path(), &pack(std::slice::from_ref(&spent)));
    for number in 0..20 {
        accept(&node, "vm", &format!("s-{number}"));
        receipts(&node, &format!("s-{number}"), 2);
    }
    assert!(gemba(&node, &["policy", "check"]).status.success());
    let unknown = dir.path().join("unknown.toml");
    std::fs::write(&unknown, pack(&[rule("r", "true", "act").replace("\"notify\"", "\"page\"")])).unwrap();
    let unknown = unknown.to_str().unwrap();
    assert!(gemba(&node, &["policy", "check", unknown]).status.success());
    let output = gemba(&node, &["policy", "check", unknown, "--config", "gemba.toml"]);
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("no [[action]] is named `page`"), "{}", said(&output));
    let output = gemba(&node, &["policy", "test"]);
    assert!(
        output.status.success() && said(&output).contains("1 passed, 0 failed, warnings: 1"),
        "{}",
        said(&output)
    );

    assert!(
        said(&output).contains("warning: test: rule `spent`: no example in which it leaves a signal"),
        "{}",
        said(&output)
    );
    assert_eq!(gemba(&node, &["policy", "test", "--strict"]).status.code(), Some(1));

    let bare = pack(&[rule("spent", "signal.data.spend > 80.0", "act")]);
    std::fs::write(dir.path().join("bare.toml"), &bare).unwrap();
    let output = gemba(&node, &["policy", "test", "bare.toml"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("nothing was tested"), "{}", said(&output));

    std::fs::write(dir.path().join("bad.toml"), pack(&[rule("spent", "signal.data.spend > ", "act")]))
        .unwrap();
    let output = gemba(&node, &["policy", "check", "bad.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("bad.toml:5:"), "{}", said(&output));
    let higher = rule("higher", "signal.data.spend > 90.0", "act") + example;
    std::fs::write(dir.path().join("new.toml"), pack(&[higher, rule("seen", "true", "observe")])).unwrap();
    let output = gemba(&node, &["policy", "test", "new.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("expected `act`, got `observe` by `seen`"), "{}", said(&output));

    // Beside the running node, and on what it left.
    let diff = || gemba(&node, &["policy", "diff", "--journal", "data", "--pack", "new.toml", "--json"]);
    let report: Value =
        serde_json::from_slice(&diff().stdout).unwrap_or_else(|_| panic!("{}", said(&diff())));
    assert_eq!((&report["signals"], &report["differ"]), (&20.into(), &20.into()), "{report}");
    let change = &report["changes"][0];
    assert_eq!(
        (&change["tenant"], &change["sku"], &change["signals"]),
        (&"acme".into(), &"vm".into(), &20.into())
    );
    assert_eq!((&change["before"]["rule"], &change["before"]["action"]), (&"spent".into(), &"notify".into()));
    assert_eq!(
        (&change["after"]["rule"], &change["after"]["receipt_type"]),
        (&"seen".into(), &"observed".into())
    );
    assert!(node.terminate().success());
    let same = gemba(&node, &["policy", "diff", "--journal", "data/journal", "--pack", "pack.toml"]);
    assert!(said(&same).contains("0 of 20 signals are decided otherwise"), "{}", said(&same));
    let output = gemba(
        &node,
        &["policy", "diff", "--journal", "data", "--pack", "new.toml", "--base", "new.toml", "--from", "5"],
    );
    assert!(said(&output).contains("signals are decided otherwise"), "{}", said(&output));
}

#[test]
fn a_file_in_the_working_directory_is_not_taken_for_a_built_in_pack() {
    let dir = tempfile::tempdir().unwrap();
    let policies = dir.path().join("config/policies");
    std::fs::create_dir_all(&policies).unwrap();
    let file = policies.join("cost_governance.toml");
    std::fs::write(&file, pack(&[])).unwrap();
    let mut node = Node::start_in(dir.path(), &[]);
    let packs = ask(&node, "/v1/policy")["packs"].clone();
    assert_eq!(
        (packs.as_array().unwrap().len(), &packs[0]["name"]),
        (4, &"cost_governance".into()),
        "{packs}"
    );
    for text in ["not a pack", ""] {
        std::fs::write(&file, text).unwrap();
        let done = post(&node, "/v1/policy/reload", "admin", &json!({"reason": "again"}));
        assert_eq!((done.status, &done.json()["changed"]), (200, &false.into()), "{}", done.text());
    }
    node.terminate();
    let said = node.everything_said();
    assert!(said.contains("cost_governance.toml is not used: the pack of this name is built in"), "{said}");
}
