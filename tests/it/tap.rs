//! `gemba tap`: who looks sees the signals that are asked for, none of their secrets, and disturbs nobody.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::http::exchange;
use crate::node::Node;
use crate::program::command;
use crate::signals::wait_until;
use crate::wire::raw;

const JSON: &str = "application/json";
const PACK: &str = "name = \"p\"\n[[rule]]\nid = \"no\"\ntypes = [\"bad\"]\nwhen = \"true\"\ndecide = \"deny\"\nreason = \"it is bad\"\n";

fn node(dir: &Path, more: &str) -> Node {
    std::fs::write(dir.join("pack.toml"), PACK).unwrap();
    let tokens = ["admin", "viewer"]
        .map(|role| format!("[[admin.token]]\nname = \"{role}\"\nrole = \"{role}\"\n"))
        .concat();
    let config = format!(
        "[node]\nprofile = \"dev\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n[policy]\npacks = [\"pack.toml\"]\n{tokens}{more}"
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn send(node: &Node, tenant: &str, id: &str, kind: &str, data: &Value) {
    let body = json!({"id": id, "tenant": tenant, "sku": "vm", "type": kind, "data": data}).to_string();
    assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
}

fn tap(node: &Node, words: &[&str]) -> Command {
    let mut command = command(&node.dir);
    command.env("GEMBA_CONFIG", "gemba.toml").args(["tap", "--admin", &node.admin.to_string()]);
    command.args(["--token-file", node.file("viewer.token").to_str().unwrap()]).args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ask(node: &Node, path: &str, token: &str) -> (u16, Value) {
    let bearer = format!("authorization: Bearer {}", node.secret(&format!("{token}.token")));
    let answer =
        exchange(node.admin, &raw(&format!("GET {path} HTTP/1.1"), &[&bearer, "connection: close"], b""));
    (answer.status, answer.json())
}

#[test]
fn who_looks_sees_what_is_asked_for_without_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "[tap]\nmask = [\"data.person\"]\n");
    let mut child =
        tap(&node, &["--tenant", "acme", "--rule", "p/no", "--count", "2", "--json"]).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let data = json!({"spend": 3, "api_key": "very secret", "person": {"name": "a private person"}});
    let mut number = 0;
    // The look has begun when the first signal is seen.
    let seen = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    wait_until("two signals are seen", || {
        number += 1;
        send(&node, "acme", &format!("good-{number}"), "good", &data);
        send(&node, "other", &format!("bad-{number}"), "bad", &data);
        send(&node, "acme", &format!("bad-{number}"), "bad", &data);
        seen.is_finished()
    });
    assert!(child.wait().unwrap().success());
    let seen = seen.join().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    for line in &seen {
        let signal: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&signal["tenant"], &signal["result"]), (&json!("acme"), &json!("policy_denied")));
        assert_eq!(
            (&signal["pack"], &signal["rule"], &signal["reason"]),
            (&json!("p"), &json!("no"), &json!("it is bad"))
        );
        assert_eq!((&signal["source"], &signal["type"]), (&json!("signals"), &json!("bad")));
        let masked = json!({"spend": 3, "api_key": "(masked)", "person": "(masked)"});
        assert_eq!(signal["signal"]["data"], masked);
        assert!(!line.contains("secret") && !line.contains("private"), "{line}");
        // Its receipt says the same.
        let receipt = format!("/v1/receipts/{}", signal["receipt_id"].as_str().unwrap());
        wait_until("the receipt is in the log", || node.ask(&receipt).status == 200);
        assert_eq!(node.ask(&receipt).json()["receipt_type"], "policy_denied");
    }
}

#[test]
fn a_line_for_people_says_what_was_decided_and_orders_nothing_of_their_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let child = tap(&node, &["--result", "policy_denied", "--count", "1"]).spawn().unwrap();
    let seen = std::thread::spawn(move || child.wait_with_output().unwrap());
    let mut number = 0;
    wait_until("a signal is seen", || {
        number += 1;
        send(&node, "acme", &format!("s-{number}"), "bad", &json!({"note": "\u{1b}[2Jcleared\nforged"}));
        seen.is_finished()
    });
    let seen = seen.join().unwrap();
    let text = String::from_utf8(seen.stdout).unwrap();
    assert!(seen.status.success() && text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    assert!(
        text.contains(" signals acme/vm s-") && text.contains(" bad: policy_denied by p/no (it is bad) {"),
        "{text}"
    );
}

#[test]
fn looks_are_bounded_end_by_themselves_and_need_a_role() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "");
    let begin = |token: &str| ask(&node, "/v1/tap", token);
    let looks: Vec<Value> = ["viewer", "viewer", "admin"]
        .iter()
        .map(|token| {
            let (status, view) = begin(token);
            assert_eq!(status, 200, "{view}");
            view["look"].clone()
        })
        .collect();
    let (status, busy) = begin("viewer");
    assert_eq!(status, 409, "{busy}");
    assert!(busy["detail"].as_str().unwrap().contains("as many of this token"), "{busy}");
    assert_eq!(begin("admin").0, 200, "another one has room");
    for id in 0..500 {
        send(&node, "acme", &format!("s-{id}"), "good", &json!({}));
    }
    node.decided("acme", "s-499");
    let next_of =
        |look: &Value, token: &str| ask(&node, &format!("/v1/tap?look={}", look.as_str().unwrap()), token);
    let next = |look: &Value| next_of(look, "viewer");
    assert_eq!(next(&looks[2]).0, 404, "it is another viewer's");
    let (status, page) = next(&looks[0]);
    let shown = page["signals"].as_array().unwrap().len();
    assert!(status == 200 && (1..=32).contains(&shown), "a page is bounded: {shown}");
    let has_room = || next(&looks[0]).0 == 200 && begin("viewer").0 == 200;
    wait_until("a look that nobody asks for ends", has_room);
    assert_eq!(next(&looks[1]).0, 404);
    for (query, what) in [
        ("?result=denied", "`result` must be bootstrap_timeout"),
        ("?tenant=A%2FB", "tenant"),
        ("?look=xyz", "`look` must be"),
        ("?look=0123456789abcdef&tenant=a", "`look` stands alone"),
        ("?sku=vm", "unknown parameter"),
    ] {
        let (status, problem) = ask(&node, &format!("/v1/tap{query}"), "viewer");
        assert_eq!(status, 400, "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(what), "{problem}");
    }
    let none = exchange(node.admin, &raw("GET /v1/tap HTTP/1.1", &["connection: close"], b""));
    assert_eq!(none.status, 401);
}

#[test]
fn where_it_is_not_allowed_nobody_looks_and_a_reload_allows_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), "[tap]\nallowed = false\n");
    let out = tap(&node, &[]).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("set `tap.allowed = true`"), "{said}");
    assert_eq!(ask(&node, "/v1/tap", "admin").0, 403, "not even an admin");
    let config = std::fs::read_to_string(dir.path().join("gemba.toml")).unwrap();
    std::fs::write(dir.path().join("gemba.toml"), config.replace("allowed = false", "allowed = true"))
        .unwrap();
    node.signal("HUP");
    wait_until("it is allowed", || ask(&node, "/v1/tap", "viewer").0 == 200);
}
