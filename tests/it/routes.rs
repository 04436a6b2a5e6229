//! `gemba route test`: the example of its page is true, and a program reads the same.

use std::path::Path;
use std::process::{Command, Output};

use crate::program::PROGRAM;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let page = std::fs::read_to_string(path).unwrap();
    page.split_once("### Who would be called\n").unwrap().1.to_owned()
}

fn block(page: &str, language: &str) -> String {
    let block = page.split_once(&format!("```{language}\n")).unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

/// Runs it on this configuration.
fn tested(configuration: &str, words: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("gemba.toml"), configuration).unwrap();
    let mut command = Command::new(PROGRAM);
    command.current_dir(dir.path()).args(["route", "test", "--config", "gemba.toml"]).args(words);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn json(configuration: &str, words: &[&str]) -> serde_json::Value {
    let output = tested(configuration, &[words, &["--json"]].concat());
    serde_json::from_str(&said(&output)).unwrap()
}

#[test]
fn the_example_of_route_test_is_true() {
    let page = page();
    let console = block(&page, "console");
    let (command, output) = console.split_once('\n').unwrap();
    let words = command.strip_prefix("$ gemba route test --config gemba.toml ").unwrap();
    let words: Vec<&str> = words.split(' ').collect();
    let told = said(&tested(&block(&page, "toml"), &words));
    let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(&told), lines(output), "{told}");
}

#[test]
fn a_program_reads_who_would_be_called() {
    let configuration = block(&page(), "toml");
    let told = json(&configuration, &["--tenant", "acme"]);
    assert_eq!((&told["route"], &told["alert"]["severity"]), (&"route[1]".into(), &"warning".into()));
    assert_eq!(told["channels"], serde_json::json!([{"name": "acme-chat", "kind": "slack"}]));
    assert_eq!(told["escalation"]["after_minutes"], 15);
    assert_eq!(told["looked_at"].as_array().unwrap().len(), 2);
    let told = json(&configuration, &["--kind", "disk_low"]);
    assert_eq!(
        (&told["route"], &told["alert"]["severity_is"]),
        (&"critical".into(), &"as usual for its kind".into())
    );
    assert_eq!(told["channels"][0], serde_json::json!({"name": "oncall", "kind": "pagerduty"}));
    let told = json(&configuration, &["--owner", "billing", "--severity", "info"]);
    assert_eq!((&told["route"], &told["not_looked_at"]), (&"route[0]".into(), &1.into()));

    let more = "quiet_hours = \"00:00-23:59\"\nrepeat_hours = 2\n[alerts.severity]\ndisk_low = \"off\"\nrule = \"info\"\n";
    let configuration = format!("{configuration}{more}");
    let told = json(&configuration, &["--tenant", "acme"]);
    assert_eq!(
        (&told["quiet_hours"]["from"], &told["quiet_hours"]["to"]),
        (&"00:00".into(), &"23:59".into())
    );
    assert_eq!((&told["repeat_minutes"], &told["alert"]["severity"]), (&120.into(), &"info".into()));
    assert_eq!(told["alert"]["severity_is"], "as `alerts.severity.rule` says");
    let critical = json(&configuration, &["--tenant", "acme", "--severity", "critical"]);
    assert_eq!(critical["quiet_hours"], serde_json::Value::Null, "critical alerts do not wait");
    let off = json(&configuration, &["--kind", "disk_low"]);
    assert_eq!(off["none"], "`alerts.severity.disk_low` is off: there is no such alert");
}

#[test]
fn a_wrong_route_is_told_with_its_place() {
    let configuration = block(&page(), "toml").replace("alert.owner", "alert.owners");
    let output = tested(&configuration, &[]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("gemba.toml:18:9: "), "{told}");
    let output = tested(&configuration, &["--kind", "weather"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("must be rule, governor_breaker, "));
}
