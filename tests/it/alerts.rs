//! Alerts, from what causes them to who is told, with a node that ends in between.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::http::{Answer, exchange};
use crate::node::Node;
use crate::signals::wait_until;
use crate::targets::{Does, Target};
use crate::wire::raw;

const PACK: &str = r#"
name = "cost"
[[rule]]
id = "budget"
types = ["cost"]
when = "signal.data.spend > 100.0"
decide = "observe"
reason = "over the budget"
alert = "critical"
message = "signal.tenant + ' spent ' + string(signal.data.spend)"
owner = "signal.data.owner"
resolve = "signal.data.spend <= 100.0"
"#;

/// A node that tells a file and a webhook of critical alerts, and the file of all others, without waiting.
fn node(dir: &Path, url: &str) -> Node {
    let secret = format!("whsec_{}", data_encoding::BASE64.encode(&[7; 32]));
    let path = dir.join("hook.secret");
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(dir.join("cost.toml"), PACK).unwrap();
    let config = format!(
        r#"[node]
profile = "dev"
[policy]
packs = ["cost.toml"]
[[channel]]
name = "book"
kind = "file"
path = "alerts.jsonl"
[[channel]]
name = "hook"
kind = "webhook"
url = "{url}"
allow_private = true
secret_file = "hook.secret"
[alerts]
critical = ["hook", "book"]
warning = ["book"]
info = ["book"]
group_wait_seconds = 0
group_interval_seconds = 1
"#
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    started(dir)
}

fn started(dir: &Path) -> Node {
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

/// Killed, and started again.
fn again(node: Node) -> Node {
    let dir = node.dir.clone();
    node.killed();
    started(&dir)
}

fn told(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("alerts.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn order(node: &Node, path: &str, body: &Value) -> Answer {
    let token = node.secret("admin.token");
    let body = body.to_string();
    let head = [
        format!("authorization: Bearer {token}"),
        format!("content-length: {}", body.len()),
        "connection: close".into(),
    ];
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    exchange(node.admin, &raw(&format!("POST {path} HTTP/1.1"), &head, body.as_bytes()))
}

fn alerts(node: &Node, query: &str) -> Vec<Value> {
    node.ask(&format!("/v1/alerts?{query}")).json()["alerts"].as_array().unwrap().clone()
}

fn spend(node: &Node, id: &str, spend: f64) {
    let data = format!(r#"{{"spend":{spend:?},"owner":"ann"}}"#);
    let body = format!(r#"{{"id":"{id}","tenant":"acme","sku":"vm","type":"cost","data":{data}}}"#);
    assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
}

fn types(node: &Node) -> Vec<String> {
    let receipts = node.ask("/v1/receipts?limit=100").json()["receipts"].clone();
    let types = receipts
        .as_array()
        .unwrap()
        .iter()
        .map(|receipt| receipt["receipt_type"].as_str().unwrap().to_owned());
    let mut types: Vec<String> = types.filter(|kind| kind.starts_with("alert_")).collect();
    types.reverse();
    types
}

#[test]
fn a_rule_calls_people_once_and_says_when_it_is_over() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target.url());
    spend(&node, "s-1", 50.0);
    spend(&node, "s-2", 150.5);
    spend(&node, "s-3", 160.0);
    wait_until("the file was told", || told(dir.path()).len() == 1);
    let open = alerts(&node, "severity=critical");
    assert_eq!(open.len(), 1, "{open:?}");
    let alert = &open[0];
    assert_eq!(
        (&alert["kind"], &alert["name"], &alert["message"], &alert["owner"], &alert["signal"]),
        (&json!("rule"), &json!("cost/budget"), &json!("acme spent 150.5"), &json!("ann"), &json!("s-2"))
    );
    wait_until("both channels were told", || {
        let alert = &alerts(&node, "state=notified")[0];
        alert["channels"].as_array().unwrap().iter().filter(|channel| channel["state"] == "told").count() == 2
    });
    let id = alert["id"].as_str().unwrap();
    let acknowledged = order(&node, &format!("/v1/alerts/{id}/acknowledge"), &json!({"reason": "on it"}));
    assert_eq!(acknowledged.status, 200, "{}", acknowledged.text());
    assert_eq!(acknowledged.json()["alert"]["state"], "acknowledged");
    spend(&node, "s-4", 90.0);
    wait_until("it is over", || alerts(&node, "state=resolved").len() == 1);
    let hooked = || -> Vec<Value> {
        target.seen().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    };
    wait_until("everybody heard of the end", || {
        told(dir.path()).iter().any(|line| line["tells"] == "resolved")
            && hooked().last().is_some_and(|last| last["status"] == "resolved")
    });
    let hooked = hooked();
    assert_eq!((&hooked[0]["version"], &hooked[0]["status"]), (&json!("4"), &json!("firing")), "{hooked:?}");
    wait_until("the receipts are there", || {
        types(&node).iter().filter(|kind| *kind == "alert_notified").count() >= 4
    });
    let types = types(&node);
    for kind in ["alert_opened", "alert_acknowledged", "alert_resolved"] {
        assert_eq!(types.iter().filter(|each| *each == kind).count(), 1, "{kind}: {types:?}");
    }
    wait_until("its story tells who was told", || {
        let story = node.ask("/v1/signals/acme/s-2/story").json();
        let steps = story["steps"].as_array().unwrap();
        let steps: Vec<&str> = steps.iter().map(|step| step["receipt_type"].as_str().unwrap()).collect();
        steps.starts_with(&["observed", "alert_opened", "alert_notified"])
    });
    assert!(order(&node, &format!("/v1/alerts/{id}/resolve"), &json!({"reason": "x"})).status == 409);
}

/// Somebody closes an alert, and the rule fires again within the minute in which it would say nothing new.
#[test]
fn a_test_says_whether_it_opened_an_alert_and_first_digits_call_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "http://127.0.0.1:1/");
    let test = |name: &str| order(&node, "/v1/alerts", &json!({"reason": "who is called?", "name": name}));
    let opened = test("drill");
    assert_eq!(opened.status, 200, "{}", opened.text());
    let alert = opened.json()["alert"].clone();
    assert_eq!(alert["receipt"], opened.json()["receipt_id"]);
    let id = alert["id"].as_str().unwrap();
    let again = test("drill");
    assert_eq!(again.status, 409);
    assert!(again.text().contains(id) && again.text().contains("is open since"), "{}", again.text());
    assert_eq!(test("other").status, 200);

    let page = node.ask("/v1/alerts?severity=info&limit=1").json();
    assert_eq!((&page["count"], page["alerts"].as_array().unwrap().len()), (&json!(2), 1));
    let next = page["next"].as_str().unwrap();
    let rest = node.ask(&format!("/v1/alerts?severity=info&limit=1&after={next}")).json();
    assert_eq!((&rest["next"], &rest["alerts"][0]["name"]), (&Value::Null, &json!("drill")));
    assert_eq!(node.ask("/v1/alerts?tenant=acme").json()["count"], 0);
    for (digits, status) in [(&id[..8], 200), (&id[..5], 400), ("zzzzzzzz", 400)] {
        assert_eq!(node.ask(&format!("/v1/alerts/{digits}")).status, status, "{digits}");
    }
    let resolved = order(&node, &format!("/v1/alerts/{}/resolve", &id[..8]), &json!({"reason": "seen"}));
    assert_eq!((resolved.status, &resolved.json()["alert"]["id"]), (200, &json!(id)));
    assert_eq!(test("drill").status, 200, "it is over");

    let path = dir.path().join("gemba.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config + "[alerts.severity]\ntest = \"off\"\n").unwrap();
    let reloaded = order(&node, "/v1/reload", &json!({"reason": "no tests"}));
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let off = test("third");
    assert_eq!(off.status, 409);
    assert!(off.text().contains("`alerts.severity`"), "{}", off.text());
}

#[test]
fn what_fires_after_somebody_closed_it_calls_again() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target.url());
    spend(&node, "s-1", 150.0);
    wait_until("it is an alert", || alerts(&node, "state=notified").len() == 1);
    let id = alerts(&node, "")[0]["id"].as_str().unwrap().to_owned();
    let closed = order(&node, &format!("/v1/alerts/{id}/resolve"), &json!({"reason": "seen"}));
    assert_eq!(closed.status, 200, "{}", closed.text());
    spend(&node, "s-2", 170.0);
    wait_until("the next one is an alert", || {
        alerts(&node, "").iter().any(|alert| alert["ended_ms"].is_null() && alert["signal"] == "s-2")
    });
    wait_until("people are called", || {
        told(dir.path()).iter().filter(|line| line["tells"] == "firing").count() == 2
    });
}

#[test]
fn a_kill_between_the_call_and_its_outcome_loses_no_end() {
    let target = Target::start(|_| Does::Hang);
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target.url());
    spend(&node, "s-1", 150.0);
    wait_until("the hook is called", || !target.seen().is_empty());
    let first = target.seen()[0].header("webhook-id").to_owned();
    let node = again(node);
    wait_until("the hook is called again", || target.seen().len() >= 2);
    assert_eq!(target.seen()[1].header("webhook-id"), first, "under the same name");
    assert_eq!(alerts(&node, "").len(), 1);
    spend(&node, "s-2", 10.0);
    wait_until("it is over", || alerts(&node, "state=resolved").len() == 1);
    wait_until("the file hears of the end", || {
        told(dir.path()).iter().any(|line| line["tells"] == "resolved")
    });
    let fires = told(dir.path()).iter().filter(|line| line["tells"] == "firing").count();
    assert!(fires <= 2, "at most once more, after the kill: {fires}");
}

#[test]
fn a_halt_is_an_alert_until_it_is_resumed_and_a_silence_holds_it_back() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target.url());
    let silence = json!({"when": "alert.kind == 'halt'", "minutes": 5, "reason": "a drill"});
    let answer = order(&node, "/v1/silences", &silence);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.json()["seq"].clone();
    for wrong in [
        json!({"when": "alert.nobody == 1", "minutes": 5, "reason": "x"}),
        json!({"when": "true", "minutes": 0, "reason": "x"}),
        json!({"when": "true", "reason": "x"}),
        json!({"when": "true", "minutes": 5}),
    ] {
        assert_eq!(order(&node, "/v1/silences", &wrong).status, 400, "{wrong}");
    }
    order(&node, "/v1/governors/acme/vm/halt", &json!({"reason": "too dear"}));
    wait_until("it is an alert", || alerts(&node, "").len() == 1);
    let alert = &alerts(&node, "")[0];
    assert_eq!((&alert["silenced"], &alert["state"]), (&json!(true), &json!("open")), "{alert}");
    assert!(alert["message"].as_str().unwrap().contains("too dear"), "{alert}");
    assert_eq!(node.ask("/v1/silences").json()["silences"][0]["alerts"], 1);
    order(&node, &format!("/v1/silences/{id}/end"), &json!({"reason": "over"}));
    wait_until("the file is told", || told(dir.path()).len() == 1);
    let node = again(node);
    order(&node, "/v1/governors/acme/vm/resume", &json!({"reason": "cheap again"}));
    wait_until("it is over", || alerts(&node, "state=resolved").len() == 1);
    wait_until("the file hears of the end", || {
        told(dir.path()).iter().any(|line| line["tells"] == "resolved")
    });
    wait_until("both orders have receipts", || {
        let audit = node.ask("/v1/audit?type=alert_silenced").json();
        audit["receipts"].as_array().unwrap().len() >= 2
    });
}

/// Other routes, a silence and a kill come between the beginning and the end: who was told of the one is told of the other, and
/// nobody else.
#[test]
fn the_end_finds_who_was_told_whatever_was_changed_meanwhile() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target.url());
    spend(&node, "s-1", 150.0);
    let statuses = || -> Vec<String> {
        let bodies = target.seen();
        let bodies = bodies.iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap());
        bodies.map(|body| body["status"].as_str().unwrap().to_owned()).collect()
    };
    wait_until("the hook is called", || statuses() == ["firing"]);
    wait_until("its outcome is known", || {
        let open = alerts(&node, "state=notified");
        open.iter().any(|alert| {
            let channels = alert["channels"].as_array().unwrap();
            channels.iter().any(|channel| channel["channel"] == "hook" && channel["state"] == "told")
        })
    });
    let path = dir.path().join("gemba.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let other = "[[channel]]\nname = \"other\"\nkind = \"file\"\npath = \"other.jsonl\"\n[alerts]\n";
    let config = config.replace("[alerts]\n", other).replace("[\"hook\", \"book\"]", "[\"other\"]");
    std::fs::write(&path, config).unwrap();
    let reloaded = order(&node, "/v1/reload", &json!({"reason": "other people"}));
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let silence = json!({"when": "true", "minutes": 60, "reason": "a quiet hour"});
    assert_eq!(order(&node, "/v1/silences", &silence).status, 200);
    let node = again(node);
    spend(&node, "s-2", 10.0);
    wait_until("the hook hears of the end", || statuses().last().is_some_and(|last| last == "resolved"));
    assert_eq!(statuses().iter().filter(|status| *status == "resolved").count(), 1, "{:?}", statuses());
    wait_until("the outcome is known", || alerts(&node, "state=resolved").len() == 1);
    assert!(!dir.path().join("other.jsonl").exists(), "nobody else was told of the beginning");
}

/// The node is killed while the time runs after which others are called: they are called once.
#[test]
fn an_escalation_outlives_a_kill_and_comes_once() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &target.url());
    let path = dir.path().join("gemba.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let route = "[[alerts.route]]\nwhen = \"true\"\nchannels = [\"book\"]\nescalate_after_minutes = 1\nescalate_to = [\"hook\"]\n";
    std::fs::write(&path, config + route).unwrap();
    let node = again(node);
    spend(&node, "s-1", 150.0);
    wait_until("the file is told", || told(dir.path()).len() == 1);
    assert!(target.seen().is_empty());
    std::thread::sleep(std::time::Duration::from_secs(40));
    let node = again(node);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(50);
    while target.seen().is_empty() {
        assert!(std::time::Instant::now() < until, "{:?}", alerts(&node, ""));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    wait_until("its receipt is there", || types(&node).iter().any(|kind| kind == "alert_escalated"));
    let node = again(node);
    wait_until("its outcome is known", || {
        let channels = alerts(&node, "")[0]["channels"].clone();
        channels.as_array().unwrap().iter().all(|channel| channel["state"] == "told")
    });
    assert_eq!(types(&node).iter().filter(|kind| *kind == "alert_escalated").count(), 1);
    let keys: std::collections::BTreeSet<String> =
        target.seen().iter().map(|seen| seen.header("webhook-id").to_owned()).collect();
    assert_eq!(keys.len(), 1, "one call, and after a kill under the same name");
}
