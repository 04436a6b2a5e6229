//! What a node logs: one event a line, in the format and with the levels that were asked for.

use std::process::Stdio;

use serde_json::Value;

use crate::node::{Node, READY, signal};
use crate::program::{command, ends};

const TARGETS: [&str; 11] =
    ["config", "disk", "net", "ingress", "kanban", "jidoka", "andon", "kaizen", "traces", "operator", "line"];

/// Every line of a log is an event with the five fields; all of them.
fn events(said: &str) -> Vec<Value> {
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text =
            |name: &str| event[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
        let time: jiff::Timestamp = text("ts").parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(time).as_secs();
        assert!(text("ts").ends_with('Z') && (-60..600).contains(&age), "{line}");
        assert!(["error", "warn", "info", "debug", "trace"].contains(&text("level").as_str()), "{line}");
        assert!(TARGETS.map(|target| format!("gemba::{target}")).contains(&text("target")), "{line}");
        assert!(!text("message").is_empty(), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        event
    };
    said.lines().map(event).collect()
}

#[test]
fn every_line_of_a_node_whose_log_is_no_terminal_is_an_event_in_json() {
    let dir = tempfile::tempdir().unwrap();
    // A variable that was probably meant to set something; and the name of the directory ends the line and orders a terminal.
    let named = "d\n2026-01-01T00:00:00.000Z ERROR gemba::line: forged\u{1b}[2J\"";
    let mut serve = command(dir.path());
    serve.arg("serve").env("GEMBA_NODE_NAME", "x").env("GEMBA_NODE__DATA_DIR", named);
    let mut node = Node::start_command(dir.path(), serve);
    node.signal("HUP");
    node.wait_for("the configuration was read anew");
    assert!(node.terminate().success());
    let events = events(&node.everything_said());
    let with =
        |message: &str| events.iter().find(|event| event["message"].as_str().unwrap().starts_with(message));
    let made = with("a secret was made").unwrap();
    assert_eq!((&made["level"], &made["target"]), (&"info".into(), &"gemba::config".into()));
    assert!(made["path"].as_str().unwrap().starts_with(named), "{made}");
    let warned = with("this should not stay so").unwrap();
    assert_eq!((&warned["level"], &warned["place"]), (&"warn".into(), &"GEMBA_NODE_NAME".into()));
    assert!(warned["hint"].as_str().unwrap().contains("GEMBA_NODE__NAME"), "{warned}");
    let ready = with(READY).unwrap();
    assert_eq!((&ready["level"], &ready["target"]), (&"info".into(), &"gemba::line".into()));
    assert_eq!((&ready["name"], &ready["data_dir"]), (&"dev".into(), &named.into()));
    assert_eq!(ready["operators"], format!("http://{}", node.admin));
    assert!(with("the system ends the node").is_some());
    assert_eq!(
        events.last().unwrap()["message"],
        "drained: everything accepted is durable, every decision has its receipt"
    );
}

#[test]
fn as_text_a_line_is_as_readable_as_it_cannot_be_forged() {
    let dir = tempfile::tempdir().unwrap();
    let named = "d\n2026-01-01T00:00:00.000Z ERROR gemba::line: forged\u{1b}[2J";
    let mut serve = command(dir.path());
    serve.arg("serve").env("GEMBA_LOGGING__FORMAT", "text").env("GEMBA_NODE__DATA_DIR", named);
    let mut node = Node::start_command(dir.path(), serve);
    assert!(node.terminate().success());
    let said = node.everything_said();
    for line in said.lines() {
        let (time, rest) = line.split_at(24);
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert!(rest.starts_with(" INFO  gemba::") || rest.starts_with(" WARN  gemba::"), "{line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let ready = format!(
        " INFO  gemba::line: the node takes signals version={} name=dev signals=http://{} operators=http://{} data_dir=\"d\\n",
        env!("CARGO_PKG_VERSION"),
        node.ingress,
        node.admin
    );
    assert!(said.contains(&ready), "{said}");
}

#[test]
fn the_filter_decides_what_is_written() {
    let said = |level: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::start_unheard(
            dir.path(),
            &[("GEMBA_LOGGING__LEVEL", level), ("GEMBA_LOGGING__FORMAT", "json")],
            std::fs::File::create(dir.path().join("stderr")).unwrap(),
        );
        assert_eq!(node.post("application/json", signal("acme", "vm", "s-1").as_bytes()).status, 202);
        assert!(node.terminate().success());
        events(&std::fs::read_to_string(dir.path().join("stderr")).unwrap())
    };
    let of = |events: &[Value], target: &str| events.iter().filter(|event| event["target"] == target).count();
    let all = said("info");
    assert!(of(&all, "gemba::config") > 0 && of(&all, "gemba::line") > 0, "{all:?}");
    let some = said("off,gemba::config=info");
    assert!(of(&some, "gemba::config") > 0 && of(&some, "gemba::config") == some.len(), "{some:?}");
    assert_eq!(said("off"), Vec::<Value>::new());
    // Libraries beside us are silent whatever is asked for: what they tell of may hold tokens.
    let most = said("trace");
    assert!(most.len() >= all.len(), "{most:?}");
}

#[test]
fn a_wrong_filter_or_format_stops_the_start_and_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gemba.toml");
    let level = |level: &str| format!("[node]\nprofile = \"dev\"\n[logging]\nlevel = \"{level}\"\n");
    for (text, expected) in [
        (level("loud"), ["gemba.toml:4: `logging.level`: `loud` is not a level", "one of off, error, warn"]),
        (
            level("info,gemba::kanbn=debug"),
            ["`gemba::kanbn` is not a target", "the nearest target is `gemba::kanban`"],
        ),
        (level("info,h2=trace"), ["`h2` is not a target", "targets are gemba for all"]),
        (
            "[node]\nprofile = \"dev\"\n[logging]\nformat = \"xml\"\n".into(),
            ["gemba.toml:4: `xml` is not a value of `logging.format`", "`auto`, `text`, `json`"],
        ),
    ] {
        std::fs::write(&file, &text).unwrap();
        for arguments in [&["serve", "--config", "gemba.toml"][..], &["config", "check", "gemba.toml"]] {
            let mut command = command(dir.path());
            command.args(arguments);
            let (code, said) = ends(command);
            assert_eq!(code, Some(2), "{said}");
            assert!(expected.iter().all(|words| said.contains(words)), "{said}");
        }
        assert!(!dir.path().join("data").exists(), "nothing is begun");
    }
}

#[test]
fn a_start_that_fails_is_an_event_once_the_configuration_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut serve = command(dir.path());
    serve.arg("serve").env("GEMBA_INGRESS__LISTEN", "192.0.2.1:80").stdout(Stdio::null());
    let (code, said) = ends(serve);
    assert_eq!(code, Some(2), "{said}");
    let events = events(&said);
    let last = events.last().unwrap();
    assert_eq!((&last["message"], &last["level"]), (&"the node ends".into(), &"error".into()));
    assert!(last["error"].as_str().unwrap().contains("192.0.2.1:80") && last["exit"] == 2, "{last}");
    assert_eq!(last["hint"], "no interface of this machine has this address");
}

#[test]
fn a_second_signal_is_the_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start_in(dir.path(), &[]);
    // The first one has been heard before the second is sent.
    node.signal("STOP");
    node.signal("TERM");
    node.signal("CONT");
    node.wait_for("the system ends the node");
    node.signal("INT");
    let status = node.ended();
    let said = node.everything_said();
    let events = events(&said);
    let last = events.last().unwrap()["message"].as_str().unwrap().to_owned();
    // A quick drain may have ended before.
    match status.code() {
        Some(3) => assert!(last.starts_with("a second signal ends the node at once"), "{said}"),
        code => assert!(code == Some(0) && last.starts_with("drained"), "{said}"),
    }
}
