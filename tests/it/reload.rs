//! The configuration of a running node, read anew: all of it holds, or nothing changes; who changed what is a receipt.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::actions::ended;
use crate::http::{Answer, exchange, read_answer};
use crate::node::{Node, signal};
use crate::otlp::Receiver;
use crate::program::{PROGRAM, command, command_of};
use crate::signals::wait_until;
use crate::targets::{Does, Target};
use crate::wire::{connect, raw, send};

const JSON: &str = "application/json";

/// What every configuration here begins with.
const BEGIN: &str = "[node]\nprofile = \"dev\"\nname = \"n1\"\n[logging]\nformat = \"json\"\n";
const SIGNALS: &str = "[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n";

fn write(dir: &Path, config: &str) {
    std::fs::write(dir.join("gemba.toml"), format!("{BEGIN}{config}")).unwrap();
}

fn node(dir: &Path, config: &str) -> Node {
    write(dir, config);
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

fn secret(dir: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(dir.join(name), text).unwrap();
    std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn ask_as(node: &Node, line: &str, token: &str, more: &[&str], body: &str) -> Answer {
    let bearer = format!("authorization: Bearer {token}");
    let length = format!("content-length: {}", body.len());
    let headers = [&[bearer.as_str(), &length, "connection: close"], more].concat();
    exchange(node.admin, &raw(&format!("{line} HTTP/1.1"), &headers, body.as_bytes()))
}

fn post(node: &Node, more: &[&str]) -> Answer {
    ask_as(node, "POST /v1/reload", &node.secret("admin.token"), more, r#"{"reason":"a test"}"#)
}

/// Reads it anew, which must succeed.
fn reload(node: &Node) -> Value {
    let answer = post(node, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// The receipt of a change; the log has it a moment after the journal.
fn receipt(node: &Node, done: &Value) -> Value {
    let path = format!("/v1/receipts/{}", done["receipt_id"].as_str().unwrap());
    wait_until("the receipt is in the log", || node.ask(&path).status == 200);
    node.ask(&path).json()
}

fn keys(changes: &Value) -> Vec<&str> {
    changes.as_array().unwrap().iter().map(|change| change["key"].as_str().unwrap()).collect()
}

fn sign(secret: &str, body: &[u8]) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    faster_hex::hex_string(aws_lc_rs::hmac::sign(&key, body).as_ref())
}

fn request(path: &str, secret: &str, id: &str) -> Vec<u8> {
    let body = signal("acme", "vm", id);
    let signature = format!("x-signature: {}", sign(secret, body.as_bytes()));
    let length = format!("content-length: {}", body.len());
    let kind = format!("content-type: {JSON}");
    raw(&format!("POST {path} HTTP/1.1"), &[&signature, &length, &kind], body.as_bytes())
}

fn status(node: &Node, path: &str, secret: &str, id: &str) -> u16 {
    exchange(node.ingress, &request(path, secret, id)).status
}

fn gemba(node: &Node, words: &[&str]) -> Output {
    let mut command = command(&node.dir);
    command.env("GEMBA_CONFIG", "gemba.toml").stdout(std::process::Stdio::piped());
    command.args(words).args(["--admin", &node.admin.to_string()]).output().unwrap()
}

fn gemba_offline(node: &Node, words: &[&str]) -> Output {
    let mut command = command(&node.dir);
    command.stdout(std::process::Stdio::piped()).args(words).output().unwrap()
}

const OLD: &str = "an old secret of a source, long enough";
const NEW: &str = "a new secret of a source, long enough";

fn with_keys(names: &[&str]) -> String {
    let key = |name: &&str| format!("[[source.key]]\nname = \"{name}\"\nsecret_file = \"{name}.secret\"\n");
    format!("{SIGNALS}{}", names.iter().map(key).collect::<String>())
}

#[test]
fn keys_rotate_under_load_and_a_withdrawn_one_is_dead_at_once() {
    let dir = tempfile::tempdir().unwrap();
    secret(dir.path(), "old.secret", OLD);
    secret(dir.path(), "new.secret", NEW);
    let rate = "[rate_limit]\nper_second = 1000000\nburst = 1000000\n";
    let with_keys = |names: &[&str]| with_keys(names) + rate;
    let mut node = node(dir.path(), &with_keys(&["old"]));
    let (is_new, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let sent = std::thread::scope(|scope| {
        let sends = scope.spawn(|| {
            // One connection through all of it, and no signal that is not taken.
            let mut socket = connect(node.ingress);
            let mut sent = 0u32;
            while !is_over.load(Ordering::SeqCst) {
                let secret = if is_new.load(Ordering::SeqCst) { NEW } else { OLD };
                send(&mut socket, &request("/v1/signals", secret, &format!("load-{sent}")));
                let answer = read_answer(&mut socket).expect("the connection stays");
                assert_eq!(answer.status, 202, "{answer:?}");
                sent += 1;
            }
            sent
        });
        wait_until("signals come", || node.metric("gemba_signals_total{result=\"accepted\"}") > 10.0);
        assert_eq!(status(&node, "/v1/signals", NEW, "early"), 401);
        write(dir.path(), &with_keys(&["old", "new"]));
        let both = reload(&node);
        assert!(both["changed"].as_bool().unwrap() && both["needs_restart"] == json!([]), "{both}");
        assert_eq!(status(&node, "/v1/signals", NEW, "both-new"), 202);
        assert_eq!(status(&node, "/v1/signals", OLD, "both-old"), 202);
        is_new.store(true, Ordering::SeqCst);
        // What was signed with the old key has been answered.
        std::thread::sleep(Duration::from_millis(50));
        write(dir.path(), &with_keys(&["new"]));
        let one = reload(&node);
        assert_eq!(status(&node, "/v1/signals", OLD, "late"), 401);
        let receipt = receipt(&node, &one);
        assert_eq!(receipt["receipt_type"], "config_change");
        assert_eq!(receipt["reason"], "by root: a test");
        assert_eq!((&receipt["tenant"], &receipt["success"]), (&Value::Null, &json!(true)));
        let told = receipt["facts"]["changes"].clone();
        assert_eq!(keys(&told), ["source[signals].key[old].name", "source[signals].key[old].secret_file"]);
        assert_eq!(
            told[1],
            json!({"key": "source[signals].key[old].secret_file", "old": "old.secret", "new": null})
        );
        is_over.store(true, Ordering::SeqCst);
        sends.join().unwrap()
    });
    assert!(node.terminate().success());
    assert!(sent > 10);
    let said = node.everything_said();
    assert!(!said.contains(OLD) && !said.contains(NEW), "{said}");
}

#[test]
fn a_body_that_comes_while_its_key_is_withdrawn_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    secret(dir.path(), "old.secret", OLD);
    secret(dir.path(), "new.secret", NEW);
    let node = node(dir.path(), &with_keys(&["old", "new"]));
    let whole = request("/v1/signals", OLD, "slow");
    let (first, rest) = whole.split_at(whole.len() - 10);
    let mut socket = connect(node.ingress);
    send(&mut socket, first);
    wait_until("its head is read", || node.metric("gemba_connections") >= 1.0);
    std::thread::sleep(Duration::from_millis(200));
    write(dir.path(), &with_keys(&["new"]));
    reload(&node);
    send(&mut socket, rest);
    assert_eq!(read_answer(&mut socket).unwrap().status, 401);
}

#[test]
fn another_secret_in_the_same_file_is_a_change_that_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    secret(dir.path(), "s.secret", OLD);
    let config = format!("{SIGNALS}secret_file = \"s.secret\"\n");
    let node = node(dir.path(), &config);
    secret(dir.path(), "s.secret", NEW);
    let done = reload(&node);
    assert_eq!(keys(&done["changes"]), ["source (the secret of source `signals`)"]);
    assert!(!done.to_string().contains(NEW) && !done.to_string().contains(OLD));
    assert_eq!(status(&node, "/v1/signals", OLD, "s-1"), 401);
    assert_eq!(status(&node, "/v1/signals", NEW, "s-2"), 202);
    assert_eq!(reload(&node)["changed"], false, "nothing is told twice");
}

#[test]
fn one_bad_key_among_good_ones_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    secret(dir.path(), "old.secret", OLD);
    secret(dir.path(), "short.secret", "short");
    let good = format!("{}[[admin.token]]\nname = \"admin\"\nrole = \"admin\"\n", with_keys(&["old"]));
    let mut node = node(dir.path(), &good);
    let before = node.ask("/v1/config").json();
    let other = "[[source]]\nname = \"other\"\nscheme = \"hmac\"\nsecret_file = \"other.secret\"\n";
    secret(dir.path(), "other.secret", NEW);
    for (number, (bad, told)) in (0u32..).zip([
        (format!("{good}{other}[[source]]\nname = \"third\"\nscheme = \"hmac\"\nsecret_file = \"short.secret\"\n"), "it has 5 bytes"),
        (format!("{good}{other}[[source]]\nname = \"third\"\nscheme = \"hmac\"\nsecret_file = \"none.secret\"\n"), "none.secret"),
        (format!("{good}{other}[[source]]\nname = \"third\"\nscheme = \"hmac\"\nsecret_file = \"old.secret\"\n"), "it is the same as"),
        (format!("{good}{other}[governor]\nqota = 3\n"), "unknown key `governor.qota`"),
        (format!("{good}{other}[policy]\npacks = [\"none.toml\"]\n"), "none.toml"),
        (format!("{good}{other}[prometheus]\nremote_write_url = \"ftp://x\"\n"), "remote_write_url"),
        (format!("{good}{other}[[logging.file]]\npath = \"/proc/nowhere/x.log\"\n"), "/proc/nowhere/x.log"),
        (format!("{good}{other}[dedup]\nhours = 0\n"), "dedup.hours"),
        (format!("{good}{other}[[action]]\nname = \"a\"\nkind = \"amqp\"\nexchange = \"x\"\nrouting_key = \"y\"\n"), "rabbitmq"),
        (format!("{good}{other}tolerance_seconds = 999999\n"), "tolerance_seconds"),
        (format!("{good}{other}[[source"), "gemba.toml:"),
        (good.replacen("[[source]]", "[node]\ndata_dir = \"elsewhere\"\n[[source]]", 1), "duplicate key"),
    ]) {
        write(dir.path(), &bad);
        let answer = post(&node, &[]);
        assert_eq!(answer.status, 422, "{bad}\n{answer:?}");
        let problem = answer.json();
        let error = &problem["errors"][0];
        let text = format!("{error}{}", problem["detail"]);
        assert!(text.contains(told), "{told}: {problem}");
        assert!(!error["place"].as_str().unwrap().is_empty(), "{problem}");
        assert_eq!(node.ask("/v1/config").json(), before, "what held holds on");
        assert_eq!(status(&node, "/v1/sources/other", NEW, "x"), 404);
        assert_eq!(status(&node, "/v1/signals", OLD, &format!("still-{number}")), 202);
        assert!((node.metric("gemba_config_reloads_total{result=\"refused\"}") - f64::from(number + 1)).abs() < 0.1);
    }
    let said = node.wait_for("a configuration is refused");
    assert!(said.contains("it has 5 bytes") && said.contains("\"actor\":\"admin\""), "{said}");
    write(dir.path(), &format!("{good}{other}"));
    assert_eq!(keys(&reload(&node)["changes"]).len(), 3);
    assert_eq!(status(&node, "/v1/sources/other", NEW, "x"), 202);
}

#[test]
fn what_needs_a_restart_is_named_until_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), SIGNALS);
    let more = "[dedup]\nhours = 95\n[rate_limit]\nper_second = 7\n[governor]\nquota = 3\n";
    write(dir.path(), &format!("{SIGNALS}{more}"));
    let done = reload(&node);
    assert_eq!(done["needs_restart"], json!(["dedup.hours", "rate_limit.per_second"]));
    assert_eq!(keys(&done["changes"]), ["governor.quota"]);
    let again = reload(&node);
    assert_eq!((&again["changed"], &again["needs_restart"]), (&json!(false), &done["needs_restart"]));
    assert_eq!(node.ask("/v1/config").json()["needs_restart"], done["needs_restart"]);
    let out = gemba(&node, &["reload", "--reason", "what waits?"]);
    let out = (out.status.code(), String::from_utf8(out.stdout).unwrap());
    assert_eq!(
        out,
        (
            Some(0),
            "nothing changes now\nwaits for the next start: dedup.hours, rate_limit.per_second\n".into()
        )
    );
    assert!(node.terminate().success());
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    assert_eq!(reload(&node)["needs_restart"], json!([]));
    // What is said already changes nothing; where the data is, does.
    let text = format!("{BEGIN}{SIGNALS}{more}");
    let said = |line: &str| text.replacen("[node]\n", &format!("[node]\n{line}\n"), 1);
    std::fs::write(dir.path().join("gemba.toml"), said("role = \"all\"")).unwrap();
    assert_eq!(reload(&node)["changes"], json!([]));
    std::fs::write(dir.path().join("gemba.toml"), said("data_dir = \"x\"")).unwrap();
    let answer = post(&node, &[]);
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.text().contains("`node.data_dir` cannot change while the node runs"), "{answer:?}");
    assert!(!dir.path().join("x").exists(), "nothing was made there");
}

#[test]
fn an_order_names_the_configuration_that_it_is_about() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), SIGNALS);
    let shown = node.ask("/v1/config");
    let tag = shown.json()["etag"].as_str().unwrap().to_owned();
    assert_eq!(shown.header("etag"), Some(&*tag));
    write(dir.path(), &format!("{SIGNALS}[governor]\nquota = 3\n"));
    let answer = post(&node, &["if-match: \"0123456789abcdef-0\""]);
    assert_eq!(answer.status, 412, "{answer:?}");
    assert!(answer.text().contains("another configuration holds"), "{answer:?}");
    let answer = post(&node, &[&format!("if-match: \"x\", {tag}")]);
    assert_eq!((answer.status, answer.json()["changed"].clone()), (200, json!(true)), "{answer:?}");
    assert_ne!(answer.header("etag"), Some(&*tag));
    assert_eq!(post(&node, &[&format!("if-match: {tag}")]).status, 412, "it does not hold any more");
    assert_eq!(post(&node, &["if-match: *"]).status, 200);
    let out = gemba(&node, &["reload", "--reason", "why", "--if-match", &tag]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    // A shell takes the quotes away.
    let tag = node.ask("/v1/config").json()["etag"].as_str().unwrap().trim_matches('"').to_owned();
    assert!(gemba(&node, &["reload", "--reason", "why", "--if-match", &tag]).status.success());
    // What waits for the next start is a change of what was read.
    write(dir.path(), &format!("{SIGNALS}[governor]\nquota = 3\n[dedup]\nhours = 90\n"));
    assert!(gemba(&node, &["reload", "--reason", "why", "--if-match", &tag]).status.success());
    assert_eq!(gemba(&node, &["reload", "--reason", "why", "--if-match", &tag]).status.code(), Some(1));
    // Who may, and why.
    for (token, body, status) in
        [("wrong", r#"{"reason":"x"}"#, 401), (&*node.secret("admin.token"), "{}", 400)]
    {
        assert_eq!(ask_as(&node, "POST /v1/reload", token, &[], body).status, status);
    }
}

#[test]
fn tokens_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let token = |name: &str, role: &str| {
        format!("[[admin.token]]\nname = \"{name}\"\nrole = \"{role}\"\ntoken_file = \"{name}.token\"\n")
    };
    let root = "[[admin.token]]\nname = \"admin\"\nrole = \"admin\"\n";
    secret(dir.path(), "eve.token", "a token of eve that is long enough");
    let node = node(dir.path(), &format!("{SIGNALS}{root}{}", token("eve", "viewer")));
    let asks = |what: &str| ask_as(&node, what, "a token of eve that is long enough", &[], "").status;
    assert_eq!(asks("GET /v1/config"), 200);
    write(dir.path(), &format!("{SIGNALS}{root}"));
    reload(&node);
    assert_eq!(asks("GET /v1/config"), 401);
    write(dir.path(), &format!("{SIGNALS}{root}{}", token("eve", "admin")));
    reload(&node);
    assert_eq!(
        ask_as(&node, "POST /v1/reload", "a token of eve that is long enough", &[], r#"{"reason":"x"}"#)
            .status,
        200
    );
}

/// A pack whose one rule asks for an action on signals of the type of the same name.
fn pack(dir: &Path, action: &str) {
    let text = format!(
        "name = \"p\"\n[[rule]]\nid = \"r\"\ntypes = [\"call\"]\nwhen = \"true\"\ndecide = \"act\"\naction = \"{action}\"\nreason = \"why\"\n"
    );
    std::fs::write(dir.join("pack.toml"), text).unwrap();
}

fn hook(name: &str, target: &Target) -> String {
    format!(
        "[[action]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\n",
        target.url()
    )
}

fn call(node: &Node, id: &str) {
    let body = format!(r#"{{"id":"{id}","tenant":"acme","sku":"{id}","type":"call"}}"#);
    assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
}

#[test]
fn packs_and_what_they_ask_for_change_together_and_a_call_under_way_ends_as_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let slow =
        Target::start(
            |before| if before == 0 { Does::Late(Duration::from_secs(3)) } else { Does::Answer(200) },
        );
    let other = Target::start(|_| Does::Answer(200));
    pack(dir.path(), "first");
    let policy = "[policy]\npacks = [\"pack.toml\"]\n";
    let mut node = node(dir.path(), &format!("{SIGNALS}{policy}{}", hook("first", &slow)));
    call(&node, "s-1");
    wait_until("the call is under way", || slow.seen().len() == 1);
    pack(dir.path(), "second");
    let refused = post(&node, &[]);
    assert_eq!(refused.status, 422, "no such action is configured: {refused:?}");
    assert!(refused.text().contains("no [[action]] is named `second`"), "{refused:?}");
    write(dir.path(), &format!("{SIGNALS}{policy}{}", hook("second", &other)));
    let done = reload(&node);
    assert!(keys(&done["changes"]).contains(&"policy.packs[pack.toml]"), "{done}");
    assert!(keys(&done["changes"]).contains(&"action[second].url"), "{done}");
    assert!(done["rules_seq"].as_u64() > done["seq"].as_u64(), "{done}");
    call(&node, "s-2");
    assert_eq!(ended(&node, "s-2")["receipt_type"], "action_successful");
    assert_eq!(other.seen().len(), 1);
    assert_eq!(ended(&node, "s-1")["receipt_type"], "action_successful", "it ends as it began");
    assert_eq!(slow.seen().len(), 1);
    // The same name at another place.
    write(dir.path(), &format!("{SIGNALS}{policy}{}", hook("second", &slow)));
    let moved = reload(&node);
    assert_eq!(keys(&moved["changes"]), ["action[second].url"]);
    let shown = moved["changes"][0]["new"].as_str().unwrap();
    assert_eq!(
        shown,
        slow.url().split('/').take(3).collect::<Vec<_>>().join("/")
            + if slow.url().ends_with('/') { "" } else { "/…" }
    );
    call(&node, "s-3");
    ended(&node, "s-3");
    assert_eq!((slow.seen().len(), other.seen().len()), (2, 1));
    // All of it holds after a crash, and each change has its one receipt.
    node.kill();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    for change in [&done, &moved] {
        let receipt = receipt(&node, change);
        assert_eq!(receipt["receipt_type"], "config_change", "{receipt}");
    }
    assert_eq!(reload(&node)["changed"], false);
}

#[test]
fn traces_begin_and_end_and_files_of_the_log_too() {
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), SIGNALS);
    let post_signal = |node: &Node, id: &str| {
        let answer = node.post(JSON, signal("acme", "vm", id).as_bytes());
        answer.json()["seq"].as_u64().unwrap()
    };
    post_signal(&node, "untold");
    let on = format!(
        "[opentelemetry]\nendpoints = [\"{}\"]\ndelay_ms = 50\nsample_ratio = 1.0\n[[logging.file]]\npath = \"a.log\"\n",
        receiver.url()
    );
    write(dir.path(), &format!("{SIGNALS}{on}"));
    reload(&node);
    wait_until("the file is there", || dir.path().join("a.log").exists());
    // It is looked up by the threads when they turn.
    let mut number = 0;
    let told = |receiver: &Receiver, seq: u64| {
        receiver.told().iter().any(|span| span["attributes"]["gemba.seq"] == seq)
    };
    wait_until("a signal is traced", || {
        number += 1;
        let seq = post_signal(&node, &format!("told-{number}"));
        std::thread::sleep(Duration::from_millis(200));
        told(&receiver, seq)
    });
    assert!(!told(&receiver, 1));
    write(dir.path(), &format!("{SIGNALS}[[logging.file]]\npath = \"b.log\"\n"));
    reload(&node);
    let size = || std::fs::metadata(dir.path().join("a.log")).unwrap().len();
    wait_until("the other file has events", || {
        std::fs::metadata(dir.path().join("b.log")).is_ok_and(|file| file.len() > 0)
    });
    let before = size();
    // Spans that were under way may still come.
    std::thread::sleep(Duration::from_millis(500));
    let last = receiver.told().len();
    let seq = post_signal(&node, "untold-2");
    node.decided("acme", "untold-2");
    std::thread::sleep(Duration::from_millis(500));
    assert!(!told(&receiver, seq));
    assert!(receiver.told().len() <= last, "nothing is told any more");
    write(dir.path(), &format!("{SIGNALS}[governor]\nquota = 3\n[[logging.file]]\npath = \"b.log\"\n"));
    reload(&node);
    assert_eq!(size(), before, "it has no more events");
    assert!(node.terminate().success());
}

#[test]
fn levels_that_an_operator_changed_stay_unless_others_are_configured() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), SIGNALS);
    let level = || node.ask("/v1/log/level").json()["level"].as_str().unwrap().to_owned();
    let out = gemba(&node, &["log", "level", "gemba::line=trace", "--reason", "x"]);
    assert!(out.status.success(), "{out:?}");
    write(dir.path(), &format!("{SIGNALS}[governor]\nquota = 3\n"));
    reload(&node);
    assert!(level().contains("gemba::line=trace"), "{}", level());
    let text = format!("{BEGIN}{SIGNALS}").replacen("[logging]\n", "[logging]\nlevel = \"warn\"\n", 1);
    std::fs::write(dir.path().join("gemba.toml"), text).unwrap();
    reload(&node);
    assert!(level().contains("gemba::line=warn"), "{}", level());
}

#[test]
fn sighup_and_a_changed_file_read_it_anew() {
    let dir = tempfile::tempdir().unwrap();
    // As a ConfigMap is mounted: the file is a link through a link that is replaced.
    let mount = |version: &str, config: &str| {
        std::fs::create_dir(dir.path().join(version)).unwrap();
        std::fs::write(dir.path().join(version).join("gemba.toml"), format!("{BEGIN}{config}")).unwrap();
        std::os::unix::fs::symlink(version, dir.path().join("..new")).unwrap();
        std::fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
    };
    let watched = format!("{SIGNALS}[reload]\nwatch_seconds = 1\n");
    mount("v1", &watched);
    std::os::unix::fs::symlink("..data/gemba.toml", dir.path().join("gemba.toml")).unwrap();
    let mut node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")]);
    mount("v2", &format!("{watched}[governor]\nquota = 3\n"));
    let said = node.wait_for("the configuration was read anew");
    assert!(said.contains("\"actor\":\"a changed file\"") && said.contains("governor.quota"), "{said}");
    mount("v3", &format!("{watched}[governor]\nquota = \"many\"\n"));
    let said = node.wait_for("a configuration is refused");
    assert!(said.contains("governor.quota"), "{said}");
    mount("v4", &format!("{watched}[governor]\nquota = 4\n"));
    node.wait_for("the configuration was read anew");
    node.signal("HUP");
    let said = node.wait_for("the configuration was read anew");
    assert!(said.contains("\"actor\":\"SIGHUP\""), "{said}");
    assert!(node.terminate().success());
    // A change that is wrong is told once, however often it is looked at.
    assert_eq!(node.everything_said().matches("a configuration is refused").count(), 1);
}

/// In development, a file is a key because it is there.
#[test]
fn a_key_that_is_used_because_its_file_is_there_goes_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    secret(dir.path(), "new.secret", NEW);
    let more = "[[source.key]]\nname = \"new\"\nsecret_file = \"new.secret\"\n";
    let node = node(dir.path(), SIGNALS);
    let made = node.secret("signals.secret");
    write(dir.path(), &format!("{SIGNALS}{more}"));
    reload(&node);
    assert_eq!(status(&node, "/v1/signals", &made, "s-1"), 202);
    std::fs::rename(node.file("signals.secret"), dir.path().join("away")).unwrap();
    let done = reload(&node);
    assert_eq!(keys(&done["changes"]), ["source (the secret of source `signals`)"], "{done}");
    assert_eq!(done["changes"][0]["new"], Value::Null);
    assert_eq!(status(&node, "/v1/signals", &made, "s-2"), 401);
    assert_eq!(status(&node, "/v1/signals", NEW, "s-3"), 202);
    // The first token is there as long as no other is written down.
    let root = node.secret("admin.token");
    let ops = "[[admin.token]]\nname = \"ops\"\nrole = \"admin\"\ntoken_file = \"ops.token\"\n";
    secret(dir.path(), "ops.token", "a token of operations, long enough");
    write(dir.path(), &format!("{SIGNALS}{more}{ops}"));
    let done = reload(&node);
    assert!(done["changes"].as_array().unwrap().iter().any(|change| change["new"].is_null()), "{done}");
    assert_eq!(ask_as(&node, "GET /v1/config", &root, &[], "").status, 401);
}

#[test]
fn a_log_is_written_to_no_file_that_a_node_reads() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), SIGNALS);
    std::os::unix::fs::symlink(dir.path().join("data"), dir.path().join("elsewhere")).unwrap();
    for (path, what) in [
        ("data/journal/0000000000000000.journal", "it is in `node.data_dir`"),
        ("data/admin.token", "it is in `node.data_dir`"),
        ("elsewhere/new.log", "it is in `node.data_dir`"),
        ("gemba.toml", "the node reads this file"),
        ("a.log\"\n[[logging.file]]\npath = \"./a.log", "it is written twice"),
        ("a.log\"\n[[logging.file]]\npath = \"a.log.1", "it is what another one becomes"),
        ("a[.log", "its name has a bracket"),
    ] {
        write(dir.path(), &format!("{SIGNALS}[[logging.file]]\npath = \"{path}\"\nmax_bytes = 1024\n"));
        let answer = post(&node, &[]);
        assert_eq!(answer.status, 422, "{path}: {answer:?}");
        assert!(answer.text().contains(what), "{path}: {answer:?}");
        let check = gemba_offline(&node, &["config", "check", "gemba.toml"]);
        assert_eq!(check.status.code(), Some(2), "{path}: {check:?}");
    }
    assert_eq!(post(&node, &[]).status, 422);
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
}

#[test]
fn a_receipt_names_who_may_do_what_before_all_else() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path(), SIGNALS);
    let mut config = SIGNALS.to_owned();
    for number in 0..40 {
        config += &format!("[[action]]\nname = \"a-long-name-of-an-action-{number}\"\nkind = \"log\"\n");
    }
    secret(dir.path(), "evil.token", "a token of somebody, long enough");
    config += "[[admin.token]]\nname = \"admin\"\nrole = \"admin\"\n\
               [[admin.token]]\nname = \"evil\"\nrole = \"admin\"\ntoken_file = \"evil.token\"\n";
    write(dir.path(), &config);
    let done = reload(&node);
    let facts = receipt(&node, &done)["facts"].clone();
    assert!(facts.to_string().contains("admin.token[evil].role"), "{facts}");
    let told = facts["changes"].as_array().unwrap().len() as u64;
    assert_eq!(told + facts["more"].as_u64().unwrap(), done["changes"].as_array().unwrap().len() as u64);
    assert!(facts["more"].as_u64().unwrap() > 0 && facts.to_string().len() <= 2048);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let watched = format!("{SIGNALS}[reload]\nwatch_seconds = 1\n");
    let mut node = node(dir.path(), &watched);
    // Another version within the time of a reload, again and again.
    for round in 0..8u32 {
        write(dir.path(), &format!("{watched}[governor]\nquota = {}\n", 10 + round));
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| post(&node, &[]).status);
            std::thread::sleep(Duration::from_millis(u64::from(round) * 3));
            write(dir.path(), &format!("{watched}[governor]\nquota = {}\n", 100 + round));
            assert!(matches!(asked.join().unwrap(), 200 | 409 | 422));
        });
        let holds = || node.ask("/v1/config").json()["keys"]["governor.quota"]["value"] == 100 + round;
        wait_until("what the file says holds", holds);
    }
    // A file that only a refused configuration names is looked at, too.
    let other = "[[source]]\nname = \"other\"\nscheme = \"hmac\"\nsecret_file = \"other.secret\"\n";
    write(dir.path(), &format!("{watched}{other}"));
    node.wait_for("a configuration is refused");
    secret(dir.path(), "other.secret", NEW);
    wait_until("it is read again", || status(&node, "/v1/sources/other", NEW, "s-1") == 202);
}

#[test]
fn an_edge_reads_its_sources_anew_and_has_no_receipt_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = |more: &str| {
        format!(
            "[node]\nprofile = \"dev\"\nrole = \"edge\"\n[kanban]\nbackend = \"rabbitmq\"\n{SIGNALS}[rabbitmq]\nhosts = [\"127.0.0.1:1\"]\nusername = \"guest\"\npassword_env = \"BROKER_PASSWORD\"\n{more}"
        )
    };
    std::fs::write(dir.path().join("gemba.toml"), config("")).unwrap();
    let node = Node::start_in(dir.path(), &[("GEMBA_CONFIG", "gemba.toml"), ("BROKER_PASSWORD", "guest")]);
    secret(dir.path(), "other.secret", NEW);
    let other = "[[source]]\nname = \"other\"\nscheme = \"hmac\"\nsecret_file = \"other.secret\"\n";
    std::fs::write(dir.path().join("gemba.toml"), config(other)).unwrap();
    let done = reload(&node);
    assert_eq!((&done["changed"], done.get("receipt_id")), (&json!(true), None), "{done}");
    assert_eq!(status(&node, "/v1/sources/other", NEW, "s-1"), 202);
}

/// Connections of clients have what the start left over, so a new target would take what journal and state need.
#[test]
fn more_targets_than_there_are_descriptors_for_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let action = |number: u32| {
        format!(
            "[[action]]\nname = \"a{number}\"\nkind = \"webhook\"\nurl = \"https://example.com/{number}\"\n"
        )
    };
    write(dir.path(), &format!("{SIGNALS}{}", action(1)));
    let start = |limit: u32| {
        let mut command = command_of("sh", dir.path());
        command.args(["-c", &format!("ulimit -n {limit} && exec \"$0\" serve"), PROGRAM]);
        command.env("GEMBA_CONFIG", "gemba.toml").env("GEMBA_INGRESS__THREADS", "2");
        Node::start_command(dir.path(), command)
    };
    let mut node = start(1000);
    write(dir.path(), &format!("{SIGNALS}{}{}", action(1), action(2)));
    let refused = post(&node, &[]);
    assert_eq!(refused.status, 422, "{refused:?}");
    let told = refused.text();
    assert!(told.contains("2 actions call a target") && told.contains("RLIMIT_NOFILE"), "{told}");
    assert!(node.terminate().success());
    write(dir.path(), &format!("{SIGNALS}{}", action(1)));
    let node = start(20_000);
    write(dir.path(), &format!("{SIGNALS}{}{}", action(1), action(2)));
    assert_eq!(reload(&node)["changed"], true);
}

#[test]
fn channels_and_routes_of_alerts_change_and_tell_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let key = "0123456789abcdef0123456789abcdef";
    secret(dir.path(), "pager.key", key);
    let node = node(dir.path(), SIGNALS);
    let channels = "[[channel]]\nname = \"oncall\"\nkind = \"pagerduty\"\nrouting_key_file = \"pager.key\"\n\
                    url = \"https://pager.example.com/t0ken\"\n";
    let with = |critical: &str| format!("{SIGNALS}{channels}[alerts]\ncritical = [\"{critical}\"]\n");
    write(&node.dir, &with("oncal"));
    let refused = post(&node, &[]);
    assert_eq!(refused.status, 422, "{refused:?}");
    let told = refused.json().to_string();
    assert!(told.contains("no [[channel]] is named `oncal`") && told.contains("`oncall`"), "{told}");
    write(&node.dir, &with("oncall"));
    let done = reload(&node);
    let changed = keys(&done["changes"]);
    for key in ["alerts.critical", "channel[oncall].kind", "channel[oncall].routing_key_file"] {
        assert!(changed.contains(&key), "{changed:?}");
    }
    assert_eq!(done["needs_restart"], json!([]), "all of it holds at once");
    let receipt = receipt(&node, &done).to_string();
    let shown = String::from_utf8(gemba(&node, &["config", "show", "--json"]).stdout).unwrap();
    assert!(shown.contains("channel[oncall].url"), "{shown}");
    // Another key in the same file is a change, too.
    secret(&node.dir, "pager.key", &key.replace('0', "9"));
    let again = reload(&node);
    assert_eq!(keys(&again["changes"]), ["channel (the routing key of channel `oncall`)"]);
    for told in [done.to_string(), again.to_string(), receipt, shown] {
        assert!(!told.contains("t0ken") && !told.contains(key), "{told}");
    }
    secret(&node.dir, "pager.key", "short");
    assert!(post(&node, &[]).json().to_string().contains("it is not 32 letters and digits"));
}
