//! Actions and what targets do to them: a webhook is signed, asked for again, given up, halted and probed; no private
//! address is called unasked, no redirect followed, and no secret told.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http::exchange;
use crate::node::{Node, PATIENCE};
use crate::signals::wait_until;
use crate::targets::{Does, Seen, Target, Then};
use crate::tls::{Authority, served};
use crate::wire::raw;

const JSON: &str = "application/json";

/// `[policy]` with a pack, written to `dir`, that takes each of these actions on signals of the type that is its name.
pub fn policy(dir: &Path, actions: &str) -> String {
    let mut pack = String::from("name = \"test\"\n");
    for name in actions.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')) {
        pack.push_str(&format!(
            "[[rule]]\nid = \"{name}\"\ntypes = [\"{name}\"]\nwhen = \"true\"\ndecide = \"act\"\n\
             action = \"{name}\"\nreason = \"tested\"\n"
        ));
    }
    std::fs::write(dir.join("pack.toml"), pack).unwrap();
    "[policy]\npacks = [\"pack.toml\"]\n".into()
}

/// A node with these actions, each taken on signals of the type that is its name; a target's breaker opens after five
/// failures, for a second.
pub fn node(dir: &Path, actions: &str) -> Node {
    node_with_reset(dir, 1, actions)
}

/// The same; a target's breaker opens for so many seconds.
fn node_with_reset(dir: &Path, seconds: u64, actions: &str) -> Node {
    let policy = policy(dir, actions);
    let config = format!(
        "[node]\nprofile = \"dev\"\n[governor]\nbreaker_failures = 5\nbreaker_reset_seconds = {seconds}\n{policy}{actions}"
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

/// The action `name`.
fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("[[action]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{url}\"\n{more}\n")
}

/// A try takes longer only where the target means it to: one that the machine held up would be made again, and be counted.
fn private(name: &str, target: &Target) -> String {
    webhook(name, &target.url(), "allow_private = true\ntimeout_seconds = 6")
}

/// Sends the signal `id`, with a governor of its own, that asks for `action`.
pub fn ask_for(node: &Node, action: &str, id: &str) {
    assert_eq!(node.post(JSON, asking(action, id).as_bytes()).status, 202);
}

/// The same in one request.
pub fn ask_for_all(node: &Node, action: &str, ids: &[String]) {
    let lines: Vec<String> = ids.iter().map(|id| asking(action, id)).collect();
    assert_eq!(node.post("application/x-ndjson", lines.join("\n").as_bytes()).status, 202);
}

fn asking(action: &str, id: &str) -> String {
    format!(r#"{{"id":"{id}","tenant":"acme","sku":"{id}","type":"{action}","data":{{"n":1.50}}}}"#)
}

/// Waits for the receipt that says how the action ended.
pub fn ended(node: &Node, id: &str) -> serde_json::Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = node.decided("acme", id);
        for receipt in status["receipts"].as_array().unwrap() {
            let receipt = node.ask(&format!("/v1/receipts/{}", receipt.as_str().unwrap())).json();
            if matches!(receipt["receipt_type"].as_str(), Some("action_successful" | "action_failed")) {
                return receipt;
            }
        }
        assert!(Instant::now() < until, "no outcome of {id}: {status}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn reason(receipt: &serde_json::Value) -> &str {
    assert_eq!(receipt["receipt_type"], "action_failed", "{receipt}");
    receipt["reason"].as_str().unwrap()
}

/// What a receiver checks: id, age and signature, under the action's secret.
fn verify(node: &Node, secret: &str, seen: &Seen) -> Result<(), gemba::signature::Refusal> {
    use gemba::signature::{Keyring, Scheme};
    let secret = node.secret(secret);
    let keyring =
        Keyring::new("target", Scheme::StandardWebhooks, &[("default", secret.as_bytes())], 300).unwrap();
    let mut headers = hyper::HeaderMap::new();
    for (name, value) in &seen.headers {
        let name = hyper::header::HeaderName::try_from(name.as_str()).unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    keyring.verify(&headers, seen.body.clone().into(), now).map(drop)
}

#[test]
fn a_webhook_says_what_was_decided_and_is_signed() {
    let target = Target::start(|_| Does::Answer(204));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &private("page", &target));
    ask_for(&node, "page", "s-1");
    let receipt = ended(&node, "s-1");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let seen = &target.wait_for(1)[0];
    assert_eq!(verify(&node, "page.secret", seen), Ok(()));
    let mut changed = seen.clone();
    changed.body[10] ^= 1;
    assert!(verify(&node, "page.secret", &changed).is_err());
    let action = receipt["action_id"].as_str().unwrap();
    assert_eq!((seen.header("idempotency-key"), seen.header("webhook-id")), (action, action));
    assert_eq!(seen.header("content-type"), JSON);
    assert_eq!(seen.header("user-agent"), concat!("gemba/", env!("CARGO_PKG_VERSION")));
    assert_eq!(seen.header("host"), target.address.to_string());
    let text = std::str::from_utf8(&seen.body).unwrap();
    assert!(
        text.contains(r#""signal":{"id":"s-1","tenant":"acme","sku":"s-1","type":"page","data":{"n":1.50}}"#)
    );
    let body: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(body["type"], "gemba.action");
    let data = &body["data"];
    assert_eq!(
        (&data["action"], &data["tenant"], &data["sku"]),
        (&"page".into(), &"acme".into(), &"s-1".into())
    );
    assert_eq!((&data["signal_id"], &data["signal_type"]), (&"s-1".into(), &"page".into()));
    assert_eq!((&data["action_id"], &data["maybe_twice"]), (&action.into(), &false.into()));
    assert_eq!(data["seq"], node.decided("acme", "s-1")["seq"]);
    assert_eq!(data["policy"]["rule"], "page");
    assert!(node.metric("actions_successful_total") >= 1.0);
    assert!(node.metric("gemba_target_breaker{target=\"page\"}").abs() < f64::EPSILON);
}

/// The action `name`, shaped by expressions.
fn shaped(name: &str, target: &Target, shape: &str) -> String {
    webhook(name, &target.url(), &format!("allow_private = true\ntimeout_seconds = 6\n{shape}"))
}

#[test]
fn a_webhook_is_shaped_by_expressions_and_signed_as_it_is_shaped() {
    let (chat, plain) = (Target::start(|_| Does::Answer(204)), Target::start(|_| Does::Answer(204)));
    let dir = tempfile::tempdir().unwrap();
    let body = "{'text': action.reason + ' (' + action.tenant + '/' + action.sku + ')', 'id': action.id, 'data': signal.data}";
    let actions = shaped(
        "page",
        &chat,
        &format!(
            "body = \"{body}\"\nheaders = {{ x-team = \"'team-' + signal.tenant\", x-seq = \"string(action.seq)\" }}"
        ),
    ) + &shaped(
        "line",
        &plain,
        "body = \"action.rule + ': ' + signal.id\"\ncontent_type = \"text/plain\"",
    );
    let node = node(dir.path(), &actions);
    ask_for(&node, "page", "s-1");
    let receipt = ended(&node, "s-1");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    let seen = &chat.wait_for(1)[0];
    let action = receipt["action_id"].as_str().unwrap();
    assert_eq!(
        std::str::from_utf8(&seen.body).unwrap(),
        format!(r#"{{"text":"tested (acme/s-1)","id":"{action}","data":{{"n":1.50}}}}"#)
    );
    assert_eq!(verify(&node, "page.secret", seen), Ok(()));
    let mut changed = seen.clone();
    changed.body[10] ^= 1;
    assert!(verify(&node, "page.secret", &changed).is_err());
    let seq = node.decided("acme", "s-1")["seq"].to_string();
    assert_eq!((seen.header("x-team"), seen.header("x-seq")), ("team-acme", &*seq));
    assert_eq!((seen.header("content-type"), seen.header("idempotency-key")), (JSON, action));

    ask_for(&node, "line", "s-2");
    assert_eq!(ended(&node, "s-2")["receipt_type"], "action_successful");
    let seen = &plain.wait_for(1)[0];
    assert_eq!((&*seen.body, seen.header("content-type")), (b"line: s-2".as_slice(), "text/plain"));
    assert_eq!(verify(&node, "line.secret", seen), Ok(()));
}

/// Orders something as the admin.
fn order(node: &Node, path: &str, body: &str) {
    let bearer = format!("authorization: Bearer {}", node.secret("admin.token"));
    let length = format!("content-length: {}", body.len());
    let headers = [bearer.as_str(), &length, "connection: close"];
    let answer = exchange(node.admin, &raw(&format!("POST {path} HTTP/1.1"), &headers, body.as_bytes()));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A sender's value can neither begin a header nor keep a target halted; what cannot be made is a dead letter that is sent again
/// once the configuration was mended.
#[test]
fn what_cannot_be_shaped_fails_without_asking_and_is_sent_again_after_it_was_mended() {
    let target = Target::start(|_| Does::Answer(204));
    let dir = tempfile::tempdir().unwrap();
    let header =
        |expression: &str| shaped("page", &target, &format!("headers = {{ x-note = \"{expression}\" }}"));
    let node = node(dir.path(), &header("signal.data.note"));
    let ask = |id: &str, note: &str| {
        let data = serde_json::json!({ "note": note });
        let signal = format!(r#"{{"id":"{id}","tenant":"acme","sku":"{id}","type":"page","data":{data}}}"#);
        assert_eq!(node.post(JSON, signal.as_bytes()).status, 202);
        ended(&node, id)
    };
    let injections = ["a\r\nx-admin: 1", "a\nx-admin: 1", "a\r", "a\0b", "a\u{7f}", "a\u{85}"];
    for (number, injection) in injections.into_iter().enumerate() {
        let receipt = ask(&format!("s-{number}"), injection);
        let why = "target `page` was not asked: `headers.x-note`: it has control characters";
        assert_eq!(reason(&receipt), why);
    }
    ask_for(&node, "page", "without");
    let why = "target `page` was not asked: `headers.x-note`: `signal.data.note` is not there";
    assert_eq!(reason(&ended(&node, "without")), why);
    assert_eq!((target.seen().len(), target.connections()), (0, 0));
    assert!(node.metric("gemba_target_breaker{target=\"page\"}").abs() < f64::EPSILON);

    assert_eq!(ask("good", "on call")["receipt_type"], "action_successful");
    assert_eq!(target.wait_for(1)[0].header("x-note"), "on call");

    let text = std::fs::read_to_string(dir.path().join("gemba.toml")).unwrap();
    let mended = text.replace("signal.data.note", "has(signal.data.note) ? 'given' : 'none'");
    assert_ne!(text, mended);
    std::fs::write(dir.path().join("gemba.toml"), mended).unwrap();
    order(&node, "/v1/reload", r#"{"reason":"the expression was mended"}"#);
    let cases = node.ask("/v1/deadletters?cause=target&sku=without").json();
    let id = cases["deadletters"][0]["id"].as_str().unwrap_or_else(|| panic!("{cases}"));
    order(&node, &format!("/v1/deadletters/{id}/resend"), r#"{"reason":"it can be made now"}"#);
    assert_eq!(target.wait_for(2)[1].header("x-note"), "none");
}

#[test]
fn the_standard_webhooks_library_of_pypi_accepts_a_webhook() {
    let Some(python) = crate::senders::python() else { return };
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &private("page", &target));
    ask_for(&node, "page", "s-1");
    let seen = &target.wait_for(1)[0];
    let headers: serde_json::Map<String, serde_json::Value> =
        seen.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    std::fs::write(dir.path().join("headers"), serde_json::to_vec(&headers).unwrap()).unwrap();
    std::fs::write(dir.path().join("body"), &seen.body).unwrap();
    let script = "import json, sys\nfrom standardwebhooks.webhooks import Webhook\n\
                  Webhook(open(sys.argv[1]).read().strip()).verify(open('body', 'rb').read(), json.load(open('headers')))";
    let output = std::process::Command::new(std::path::absolute(python).unwrap())
        .args(["-c", script])
        .arg(node.file("page.secret"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_may_be_different_the_next_time_is_asked_for_again_under_the_same_key() {
    let failing = Target::start(|before| if before < 2 { Does::Answer(500) } else { Does::Answer(200) });
    let flapping =
        Target::start(|before| if before % 2 == 0 { Does::Answer(503) } else { Does::Answer(200) });
    let late =
        Target::start(
            |before| if before == 0 { Does::Late(Duration::from_secs(9)) } else { Does::Answer(200) },
        );
    let resetting = Target::start(|before| if before == 0 { Does::Reset } else { Does::Answer(200) });
    let busy =
        Target::start(
            |before| if before == 0 { Does::With(429, "retry-after: 2\r\n") } else { Does::Answer(200) },
        );
    let targets = [
        ("failing", &failing),
        ("flapping", &flapping),
        ("late", &late),
        ("resetting", &resetting),
        ("busy", &busy),
    ];
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &targets.map(|(name, target)| private(name, target)).concat());
    for (name, _) in targets {
        ask_for(&node, name, &format!("s-{name}"));
    }
    for (name, target) in targets {
        let receipt = ended(&node, &format!("s-{name}"));
        assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
        let seen = target.seen();
        assert_eq!(seen.len(), if name == "failing" { 3 } else { 2 }, "{name}");
        for request in &seen {
            assert_eq!(request.header("idempotency-key"), receipt["action_id"].as_str().unwrap());
            assert_eq!(request.body, seen[0].body);
            assert_eq!(verify(&node, &format!("{name}.secret"), request), Ok(()));
        }
    }
    let seen = busy.seen();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(2), "it asked for two seconds");
    for number in 0..10 {
        ask_for(&node, "flapping", &format!("f-{number}"));
        assert_eq!(ended(&node, &format!("f-{number}"))["receipt_type"], "action_successful");
    }
    assert!(node.metric("gemba_target_breaker{target=\"flapping\"}").abs() < f64::EPSILON);
}

#[test]
fn a_redirect_is_a_failure_and_not_followed() {
    let elsewhere = Target::start(|_| Does::Answer(200));
    let location: &'static str = format!("location: {}\r\n", elsewhere.url()).leak();
    let target = Target::start(move |before| Does::With([301, 302, 303, 307, 308][before % 5], location));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &private("page", &target));
    for (number, status) in [301, 302, 303, 307, 308].iter().enumerate() {
        ask_for(&node, "page", &format!("s-{number}"));
        let receipt = ended(&node, &format!("s-{number}"));
        let why = format!("target `page`: it answered {status}: redirects are not followed");
        assert_eq!(reason(&receipt), why);
    }
    assert_eq!((elsewhere.connections(), target.seen().len()), (0, 5));
}

#[test]
fn a_success_with_ten_megabytes_behind_it_is_a_success() {
    let target = Target::start(|_| Does::Large(10 * 1024 * 1024));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &private("page", &target));
    let before = node.rss_bytes();
    for number in 0..20 {
        ask_for(&node, "page", &format!("s-{number}"));
        assert_eq!(ended(&node, &format!("s-{number}"))["receipt_type"], "action_successful");
    }
    let grown = node.rss_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more");
    assert_eq!(target.connections(), 20, "such a connection is not used again");
}

#[test]
fn a_status_line_counts_whatever_stands_behind_it() {
    use Then::{Close, Hang, Read, Repeat, Reset};
    // All but the first are wrong behind the status line; the action was carried out all the same.
    let table: [(&[u8], Then); 27] = [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Read),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", Read),
        (b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n", Hang),
        (b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n", Close),
        (b"HTTP/1.1 200 OK\r\nx: \0\x01\r\n\r\n", Read),
        (b"HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\n\r\n", Read),
        (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", Read),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", Read),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", Read),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", Hang),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", Close),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", Reset),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort", Hang),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nlonger than it said", Read),
        (b"HTTP/1.1 200 OK\r\n\r\n", Repeat(b"endless")),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n", Read),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", Close),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n", Hang),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: zip\r\n\r\n", Hang),
        (b"HTTP/1.1 200 OK\r\n", Repeat(b"x-endless: head\r\n")),
        (b"HTTP/1.1 200 OK\r\n", Hang),
        (b"HTTP/1.1 200 OK\r\nx: half", Close),
        (b"HTTP/1.1 200 OK\r\nx: half", Reset),
        (b"HTTP/1.1 204 ", Close),
        (b"HTTP/1.1 299 \xff\xfe\r\n\r\n", Read),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 .\r\nlink: </a>\r\n\r\nHTTP/1.1 201 .\r\nno header\r\n\r\n", Read),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", Close),
    ];
    let targets: Vec<(String, Target)> = (0..)
        .zip(table)
        .map(|(number, (said, then))| (format!("t-{number}"), Target::start(move |_| Does::Raw(said, then))))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let actions: String = targets.iter().map(|(name, target)| private(name, target)).collect();
    let node = node(dir.path(), &actions);
    // Twice: a connection on which something was wrong is not used again.
    for round in 1..=2 {
        for (name, _) in &targets {
            ask_for(&node, name, &format!("{name}-{round}"));
        }
        for ((name, target), (said, then)) in targets.iter().zip(table) {
            let receipt = ended(&node, &format!("{name}-{round}"));
            let said = String::from_utf8_lossy(said);
            assert_eq!(receipt["receipt_type"], "action_successful", "{said:?}, {then:?}: {receipt}");
            assert_eq!(target.seen().len(), round, "{said:?}, {then:?}: it was told once");
        }
    }
    let connections: Vec<usize> = targets.iter().map(|(_, target)| target.connections()).collect();
    assert_eq!((connections[0], &connections[1..]), (1, &[2; 26][..]));
}

#[test]
fn a_failure_counts_whatever_stands_behind_it_and_no_status_is_none() {
    let table: [(&[u8], &str, usize); 5] = [
        (b"HTTP/1.1 410 Gone\r\nno header\r\n\r\n", "it answered 410", 1),
        (b"HTTP/1.1 302 Found\r\nno header\r\n\r\n", "it answered 302: redirects are not followed", 1),
        (b"HTTP/1.1 503 Busy\r\nno header\r\n\r\n", "", 2),
        (b"HTTP/1.1 200", "", 2),
        (b"ICY 200 OK\r\n\r\n", "", 2),
    ];
    let targets: Vec<(String, Target)> = (0..)
        .zip(table)
        .map(|(number, (said, _, _))| {
            let does =
                move |before| if before == 0 { Does::Raw(said, Then::Close) } else { Does::Answer(200) };
            (format!("t-{number}"), Target::start(does))
        })
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let actions: String = targets.iter().map(|(name, target)| private(name, target)).collect();
    let node = node(dir.path(), &actions);
    for (name, _) in &targets {
        ask_for(&node, name, name);
    }
    for ((name, target), (said, why, times)) in targets.iter().zip(table) {
        let (receipt, said) = (ended(&node, name), String::from_utf8_lossy(said));
        if why.is_empty() {
            assert_eq!(receipt["receipt_type"], "action_successful", "{said:?}: {receipt}");
        } else {
            assert_eq!(reason(&receipt), format!("target `{name}`: {why}"), "{said:?}");
        }
        assert_eq!(target.seen().len(), times, "{said:?}");
    }
}

#[test]
fn a_success_shortly_before_the_deadline_is_one_although_its_body_goes_on() {
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
    let target = Target::start(|_| Does::LateThen(Duration::from_secs(6), said));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &webhook("page", &target.url(), "allow_private = true\ntimeout_seconds = 9"));
    ask_for(&node, "page", "s-1");
    let receipt = ended(&node, "s-1");
    assert_eq!(
        (&receipt["receipt_type"], target.seen().len()),
        (&"action_successful".into(), 1),
        "{receipt}"
    );
}

#[test]
fn connections_are_used_again() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &private("page", &target));
    for number in 0..20 {
        ask_for(&node, "page", &format!("s-{number}"));
        ended(&node, &format!("s-{number}"));
    }
    assert_eq!((target.connections(), target.seen().len()), (1, 20));
}

#[test]
fn five_failures_halt_a_target_and_one_probe_heals_it() {
    // In this time no more than one probe comes between the asking below, on a slow machine as well.
    const RESET: u64 = 10;
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    // More time than an action has: each fails by one try.
    let failing = Does::With(503, "retry-after: 3600\r\n");
    let target =
        Target::start(move |_| if is_broken.load(Ordering::Relaxed) { failing } else { Does::Answer(200) });
    let dir = tempfile::tempdir().unwrap();
    let node = node_with_reset(dir.path(), RESET, &private("page", &target));
    for number in 0..5 {
        ask_for(&node, "page", &format!("s-{number}"));
        assert_eq!(reason(&ended(&node, &format!("s-{number}"))), "target `page`: it answered 503");
    }
    for number in 5..10 {
        ask_for(&node, "page", &format!("s-{number}"));
    }
    // Of these, one may have been a probe; nothing else was asked.
    let why = "target `page` is halted after 5 failures in a row; ";
    let halted = (5..10).filter(|number| reason(&ended(&node, &format!("s-{number}"))).starts_with(why));
    let (halted, calls) = (halted.count(), target.seen().len());
    assert!(halted >= 4 && halted + calls == 10, "{halted} were not asked, {calls} were");
    broken.store(false, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(RESET * 1000 + 200));
    ask_for(&node, "page", "probe");
    assert_eq!(ended(&node, "probe")["receipt_type"], "action_successful");
    ask_for(&node, "page", "after");
    assert_eq!(ended(&node, "after")["receipt_type"], "action_successful");
    assert_eq!(target.seen().len(), calls + 2);
}

#[test]
fn a_hanging_target_delays_no_other_and_a_drain_does_not_wait_for_it_for_ever() {
    let hanging = Target::start(|_| Does::Hang);
    let working = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), &[private("hanging", &hanging), private("working", &working)].concat());
    for number in 0..100 {
        ask_for(&node, "hanging", &format!("h-{number}"));
    }
    hanging.wait_for(16);
    let begun = Instant::now();
    for number in 0..20 {
        ask_for(&node, "working", &format!("w-{number}"));
        working.wait_for(number + 1);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(ended(&node, "w-19")["receipt_type"], "action_successful");
    assert!((node.metric("gemba_target_waiting{target=\"hanging\"}") - 84.0).abs() < f64::EPSILON);
    let begun = Instant::now();
    assert!(node.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn private_addresses_are_not_called_unasked() {
    let target = Target::start(|_| Does::Answer(200));
    let port = target.address.port();
    let table = [
        ("loopback", format!("https://127.0.0.1:{port}/hook"), "loopback"),
        ("short", format!("https://127.1:{port}/hook"), "loopback"),
        ("six", format!("https://[::1]:{port}/hook"), "loopback"),
        ("mapped", format!("https://[::ffff:127.0.0.1]:{port}/hook"), "IPv4-mapped"),
        ("named", format!("https://localhost:{port}/hook"), "loopback"),
        ("metadata", "https://169.254.169.254/latest/meta-data".to_owned(), "metadata"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let actions: String = table.iter().map(|(name, url, _)| webhook(name, url, "")).collect();
    let node = node(dir.path(), &actions);
    for (name, _, _) in &table {
        ask_for(&node, name, &format!("s-{name}"));
    }
    for (name, _, kind) in &table {
        let receipt = ended(&node, &format!("s-{name}"));
        let why = reason(&receipt);
        let right = why.starts_with(&format!("target `{name}`: its address "))
            && why.ends_with(&format!(" is not called: {kind}; `allow_private` is not set"));
        assert!(right, "{why}");
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn tls_goes_only_to_whom_the_authority_vouches_for() {
    let authority = Authority::new();
    let target = Target::wrapped(|_| Does::Answer(200), served(authority.server(false)));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let url = format!("https://{}/hook", target.address);
    let trusted = webhook("trusted", &url, "allow_private = true\nca_file = \"ca.pem\"");
    let untrusted = webhook("untrusted", &url, "allow_private = true");
    let node = node(dir.path(), &format!("{trusted}{untrusted}"));
    ask_for(&node, "trusted", "s-1");
    let receipt = ended(&node, "s-1");
    assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
    assert_eq!(verify(&node, "trusted.secret", &target.seen()[0]), Ok(()));
    ask_for(&node, "untrusted", "s-2");
    let why = reason(&ended(&node, "s-2")).to_owned();
    assert!(why.starts_with("target `untrusted`: its certificate is not trusted: "), "{why}");
    assert_eq!(target.seen().len(), 1, "nothing was said before the certificate was");
}

#[test]
fn http2_is_spoken_where_the_target_offers_it() {
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let authority = Authority::new();
    let mut config = Arc::unwrap_or_clone(authority.server(false));
    config.alpn_protocols = vec![b"h2".into()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            let stream = acceptor.accept(socket).await.unwrap();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let key = request.headers()["idempotency-key"].to_str().unwrap().to_owned();
                sender.send((request.version(), key)).unwrap();
                std::future::ready(Ok::<_, std::convert::Infallible>(hyper::Response::new(String::new())))
            });
            let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            served.serve_connection(TokioIo::new(stream), service).await.unwrap();
        });
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let url = format!("https://{address}/hook");
    let node = node(dir.path(), &webhook("page", &url, "allow_private = true\nca_file = \"ca.pem\""));
    for id in ["s-1", "s-2"] {
        ask_for(&node, "page", id);
        let receipt = ended(&node, id);
        assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
        let (version, key) = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!((version, key.as_str()), (hyper::Version::HTTP_2, receipt["action_id"].as_str().unwrap()));
    }
}

#[test]
fn a_log_action_is_a_line_and_a_reader_that_does_not_read_stalls_no_other() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let log = "[[action]]\nname = \"audit\"\nkind = \"log\"\ntimeout_seconds = 1\n";
    let actions = format!("{log}{}", private("page", &target));
    let config = format!("[node]\nprofile = \"dev\"\n{}{actions}", policy(dir.path(), &actions));
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let node = Node::start_with_stdout(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")], writer);
    // More than a pipe holds.
    for number in 0..600 {
        ask_for(&node, "audit", &format!("l-{number}"));
    }
    ask_for(&node, "page", "s-1");
    assert_eq!(ended(&node, "s-1")["receipt_type"], "action_successful");
    let lines = std::thread::spawn(move || {
        use std::io::BufRead as _;
        std::io::BufReader::new(reader).lines().map_while(Result::ok).collect::<Vec<String>>()
    });
    for number in 0..600 {
        assert_eq!(ended(&node, &format!("l-{number}"))["receipt_type"], "action_successful");
    }
    drop(node);
    let lines: Vec<serde_json::Value> =
        lines.join().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: std::collections::HashSet<&str> =
        lines.iter().map(|line| line["signal_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 600);
    assert_eq!((&lines[0]["action"], &lines[0]["rule"]), (&"audit".into(), &"audit".into()));
}

#[test]
fn standard_output_that_takes_nothing_fails_its_actions_and_no_others() {
    let target = Target::start(|_| Does::Answer(200));
    let dir = tempfile::tempdir().unwrap();
    let log = "[[action]]\nname = \"audit\"\nkind = \"log\"\ntimeout_seconds = 1\n";
    let actions = format!("{log}{}", private("page", &target));
    let config = format!("[node]\nprofile = \"dev\"\n{}{actions}", policy(dir.path(), &actions));
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for (round, stdout) in [Stdio::from(full()), Stdio::from(closed)].into_iter().enumerate() {
        let mut node = Node::start_with_stdout(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")], stdout);
        for number in 0..20 {
            ask_for(&node, "audit", &format!("l-{round}-{number}"));
        }
        let id = format!("s-{round}");
        ask_for(&node, "page", &id);
        assert_eq!(ended(&node, &id)["receipt_type"], "action_successful");
        assert!(node.terminate().success());
        assert!(!node.everything_said().contains("panicked"), "{}", node.everything_said());
    }
}

/// One tenant's signals are none of another's business.
#[test]
fn what_a_target_refuses_halts_it_for_nobody_else() {
    let target = Target::start(|nth| Does::Answer(if nth < 12 { 403 } else { 200 }));
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), &private("page", &target));
    for number in 0..12 {
        let id = format!("refused-{number}");
        ask_for(&node, "page", &id);
        assert_eq!(reason(&ended(&node, &id)), "target `page`: it answered 403");
    }
    ask_for(&node, "page", "honest");
    assert_eq!(ended(&node, "honest")["receipt_type"], "action_successful");
}

#[test]
fn no_secret_of_an_action_is_told() {
    const IN_URL: &str = "T0KENT0KENT0KENT0KENT0KEN";
    const IN_ANSWER: &str = "B0DYB0DYB0DYB0DYB0DYB0DY";
    let target = Target::start(|_| Does::With(400, "x-said: B0DYB0DYB0DYB0DYB0DYB0DY\r\n"));
    let dir = tempfile::tempdir().unwrap();
    let nowhere = webhook(
        "nowhere",
        &format!("http://127.0.0.1:1/{IN_URL}"),
        "allow_private = true\ntimeout_seconds = 1",
    );
    let refused = webhook("refused", &format!("https://127.0.0.1/{IN_URL}"), "");
    let mut node = node(dir.path(), &format!("{nowhere}{refused}{}", private("page", &target)));
    let mut told = String::new();
    for (action, id) in [("page", "s-1"), ("refused", "s-2")] {
        ask_for(&node, action, id);
        told.push_str(&ended(&node, id).to_string());
    }
    ask_for(&node, "nowhere", "s-3");
    told.push_str(&node.ask("/metrics").text());
    let secrets = ["page", "nowhere", "refused"].map(|name| node.secret(&format!("{name}.secret")));
    node.terminate();
    told.push_str(&node.everything_said());
    assert!(told.contains("target `page`: it answered 400"), "{told}");
    for secret in secrets.iter().map(String::as_str).chain([IN_URL, IN_ANSWER]) {
        assert!(!told.contains(secret.trim_start_matches("whsec_")), "{secret} in {told}");
    }
}

/// A receiver is away: the governor decides on, no kill loses an action, and the receiver has each once it is back.
#[test]
fn an_action_in_the_background_holds_up_no_governor_and_outlives_a_kill() {
    let back = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let target = Target::start(move |_| Does::Answer(if is_back.load(Ordering::SeqCst) { 200 } else { 503 }));
    let dir = tempfile::tempdir().unwrap();
    let action = webhook("page", &target.url(), "allow_private = true\ndelivery = \"background\"");
    let mut node = node(dir.path(), &action);
    let one = |number: usize| {
        format!(r#"{{"id":"s-{number}","tenant":"acme","sku":"vm","type":"page","data":{{"n":1.50}}}}"#)
    };
    for number in 0..10 {
        assert_eq!(node.post(JSON, one(number).as_bytes()).status, 202);
    }
    let governor = |node: &Node| node.ask("/v1/governors/acme/vm").json();
    wait_until("all are out", || governor(&node)["deliveries"] == 10);
    let seen = governor(&node);
    assert_eq!((&seen["state"], &seen["mailbox_depth"]), (&"stable".into(), &0.into()));
    wait_until("the receiver was asked", || !target.seen().is_empty());
    node.kill();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    assert_eq!(governor(&node)["deliveries"], 10);
    assert_eq!(node.post(JSON, one(10).as_bytes()).status, 202);
    back.store(true, Ordering::SeqCst);
    for number in 0..=10 {
        let receipt = ended(&node, &format!("s-{number}"));
        assert_eq!(receipt["receipt_type"], "action_successful", "{receipt}");
        assert_eq!((&receipt["state_before"], &receipt["state_after"]), (&"stable".into(), &"stable".into()));
    }
    assert_eq!(governor(&node)["deliveries"], 0);
    let keys: std::collections::BTreeSet<String> =
        target.seen().iter().map(|seen| seen.header("idempotency-key").to_owned()).collect();
    assert_eq!(keys.len(), 11, "each under its own key, whenever it was asked for");
}

/// The largest number that fits is a day at most, for the order that was answered by it alone: the node stays, also after a start.
#[test]
fn a_receiver_that_asks_for_more_time_than_there_is_ends_no_node() {
    let asks = "retry-after: 18446744073709551615\r\n";
    let target =
        Target::start(move |before| if before % 2 == 0 { Does::With(503, asks) } else { Does::Answer(200) });
    let dir = tempfile::tempdir().unwrap();
    let action = webhook("page", &target.url(), "allow_private = true\ndelivery = \"background\"");
    let mut node = node(dir.path(), &action);
    ask_for(&node, "page", "s-1");
    target.wait_for(1);
    ask_for(&node, "page", "s-2");
    assert_eq!(ended(&node, "s-2")["receipt_type"], "action_successful");
    assert_eq!(node.ask("/v1/governors/acme/s-1").json()["deliveries"], 1, "it waits for its day");
    node.kill();
    // The start calls it again, and is answered alike.
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    target.wait_for(3);
    ask_for(&node, "page", "s-3");
    assert_eq!(ended(&node, "s-3")["receipt_type"], "action_successful");
    assert_eq!(node.ask("/v1/governors/acme/s-1").json()["deliveries"], 1);
    assert!(node.metric("gemba_restarts_total").abs() < f64::EPSILON);
}

/// A node that ends calls nothing more of what waits, and no key is called on both sides of a graceful stop.
#[test]
fn a_drain_begins_no_call_in_the_background() {
    let target = Target::start(|_| Does::Late(Duration::from_millis(300)));
    let dir = tempfile::tempdir().unwrap();
    let action = webhook("page", &target.url(), "allow_private = true\ndelivery = \"background\"");
    let mut node = node(dir.path(), &action);
    let ids: Vec<String> = (0..300).map(|number| format!("s-{number}")).collect();
    ask_for_all(&node, "page", &ids);
    target.wait_for(16);
    assert!(node.terminate().success());
    let called = target.seen().len();
    assert!(called < 150, "{called} of 300 were called before the node ended");
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    for id in &ids {
        assert_eq!(ended(&node, id)["receipt_type"], "action_successful", "{id}");
    }
    assert_eq!(target.seen().len(), 300, "each once");
}

/// What an operator halts is not called on, and goes on where it was.
#[test]
fn a_halted_target_is_not_called_for_what_waits_in_the_background() {
    let target =
        Target::start(
            |before| if before == 0 { Does::With(503, "retry-after: 3\r\n") } else { Does::Answer(200) },
        );
    let dir = tempfile::tempdir().unwrap();
    let action = webhook("page", &target.url(), "allow_private = true\ndelivery = \"background\"");
    let node = node(dir.path(), &action);
    ask_for(&node, "page", "s-1");
    target.wait_for(1);
    let halts = ["/v1/targets/page", "/v1/tenants/acme", "/v1/line"];
    let halt = |scope: &str| order(&node, &format!("{scope}/halt"), r#"{"reason":"a drill"}"#);
    halt(halts[0]);
    std::thread::sleep(Duration::from_secs(2));
    for (scope, next) in halts.iter().zip(halts.iter().skip(1).map(Some).chain([None])) {
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(target.seen().len(), 1, "{scope}");
        assert!((node.metric("gemba_target_waiting{target=\"page\"}") - 1.0).abs() < f64::EPSILON);
        // The next one begins before this one ends, so that one holds all the time.
        if let Some(next) = next {
            halt(next);
        }
        order(&node, &format!("{scope}/resume"), r#"{"reason":"it is over"}"#);
    }
    assert_eq!(ended(&node, "s-1")["receipt_type"], "action_successful");
}
