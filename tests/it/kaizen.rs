//! `gemba kaizen` against a running node: it names what is slow or fails, sees a change, and believes no file that was changed.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gemba::improvement::{self, BaselineKey, TenantLook};
use serde_json::{Value, json};

use crate::actions;
use crate::metrics::target as built;
use crate::node::Node;
use crate::program::command;
use crate::targets::{Does, Target};
use crate::tools::missing;

fn kaizen(node: &Node, arguments: &[&str]) -> Command {
    let mut command = command(&node.dir);
    command.arg("kaizen").args(arguments).args(["--key", "baseline.key"]);
    command.args(["--admin", &node.admin.to_string(), "--token-file"]).arg(node.file("admin.token"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[track_caller]
fn done(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    let (told, failed) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{told}\n{failed}");
    output
}

/// Sends one signal after the other while a command runs, each to a governor of its own.
fn under_signals(node: &Node, command: Command, kind: &str, run: &str) -> Output {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // By the clock, so that a busy machine sends as many as a quiet one.
            let begun = Instant::now();
            for number in 0u32.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                actions::ask_for(node, kind, &format!("{run}-{number}"));
                let next = begun + number * Duration::from_millis(50);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let output = done(command, 0);
        stop.store(true, Ordering::Relaxed);
        output
    })
}

fn private(name: &str, target: &Target) -> String {
    format!(
        "[[action]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"{}\"\nallow_private = true\ntimeout_seconds = 6\n",
        target.url()
    )
}

fn report(node: &Node, file: &str) -> Value {
    serde_json::from_slice(&done(kaizen(node, &["report", file, "--json"]), 0).stdout).unwrap()
}

#[test]
fn a_target_that_fails_is_the_first_to_change() {
    let (good, bad) = (Target::start(|_| Does::Answer(200)), Target::start(|_| Does::Answer(400)));
    let dir = tempfile::tempdir().unwrap();
    let node = actions::node(dir.path(), &[private("good", &good), private("bad", &bad)].concat());
    under_signals(&node, kaizen(&node, &["record", "good.json", "--duration", "4"]), "good", "g");
    let before = report(&node, "good.json");
    assert!(before["first"]["kind"] != "target_failures", "{before}");
    under_signals(&node, kaizen(&node, &["record", "bad.json", "--duration", "4"]), "bad", "b");
    let report = report(&node, "bad.json");
    let first = &report["first"];
    assert_eq!((&first["kind"], &first["name"]), (&json!("target_failures"), &json!("bad")), "{report}");
    assert!(first["reason"].as_str().unwrap().contains("100 %"), "{first}");
    let rankings = report["rankings"].as_array().unwrap();
    let ranked = |kind: &str| &rankings.iter().find(|ranking| ranking["kind"] == kind).unwrap()["items"][0];
    assert_eq!(ranked("rule_failures")["name"], "test/bad");
    assert_eq!(ranked("tenant_failures")["name"], "acme");
    assert_eq!(ranked("stage_delay")["vital"], true);
    let table = String::from_utf8(done(kaizen(&node, &["report", "bad.json"]), 0).stdout).unwrap();
    assert!(table.starts_with("Change first: bad (Targets by failures)\n"), "{table}");
}

#[test]
fn a_slower_target_is_worse_and_a_faster_one_better() {
    let slow = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&slow);
    let late = move |_| {
        if seen.load(Ordering::Relaxed) { Does::Late(Duration::from_millis(500)) } else { Does::Answer(200) }
    };
    let target = Target::start(late);
    let dir = tempfile::tempdir().unwrap();
    let node = actions::node(dir.path(), &private("page", &target));
    under_signals(&node, kaizen(&node, &["record", "old.json", "--duration", "24"]), "page", "o");
    slow.store(true, Ordering::Relaxed);
    // A machine that is kept busy sends so unevenly that the two cannot be compared: then it is recorded once more.
    let compare = |old: &str, new: &str| kaizen(&node, &["compare", old, new, "--json"]).output().unwrap();
    let names = ["new-1.json", "new-2.json", "new-3.json"];
    let new = names.into_iter().find(|name| {
        under_signals(&node, kaizen(&node, &["record", name, "--duration", "24"]), "page", &name[..5]);
        let compared = compare("old.json", name);
        let is_told = compared.status.code() != Some(2);
        if !is_told {
            eprintln!("{}", String::from_utf8_lossy(&compared.stderr));
        }
        is_told
    });
    let new = new.expect("recordings that can be compared");
    let verdict = |old: &str, new: &str| {
        let compared = compare(old, new);
        let answer: Value = serde_json::from_slice(&compared.stdout).unwrap_or_default();
        let measures = answer["comparison"]["measures"].as_array().cloned().unwrap_or_default();
        let found = measures.iter().find(|measure| measure["name"] == "target page p50").cloned();
        (compared.status.code(), found.unwrap_or(answer)["verdict"].clone())
    };
    assert_eq!(verdict("old.json", new), (Some(1), json!("worse")));
    assert_eq!(verdict(new, "old.json").1, json!("better"));
    assert_eq!(verdict("old.json", "old.json"), (Some(0), json!("noise")));

    let path = node.dir.join("old.json");
    let mut bytes = std::fs::read(&path).unwrap();
    // A digit stays a digit.
    let at = bytes.windows(11).position(|found| found == b"\"accepted\":").unwrap() + 11;
    bytes[at] ^= 1;
    std::fs::write(node.dir.join("changed.json"), bytes).unwrap();
    let refused = done(kaizen(&node, &["compare", "changed.json", new]), 1);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(why.contains("changed.json: it was changed after it was recorded"), "{why}");
    let mut foreign = command(&node.dir);
    foreign.args(["kaizen", "report", "old.json", "--data-dir", "elsewhere"]).stderr(Stdio::piped());
    let why = String::from_utf8(done(foreign, 1).stderr).unwrap();
    assert!(why.contains("which is not trusted here"), "{why}");
}

#[test]
fn an_idle_node_is_said_to_be_idle_and_no_baseline_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start_in(dir.path(), &[]);
    let told = done(kaizen(&node, &["record", "idle.json", "--duration", "2"]), 0).stdout;
    assert!(String::from_utf8(told).unwrap().contains("no signal came meanwhile"));
    let told = String::from_utf8(done(kaizen(&node, &["report", "idle.json"]), 0).stdout).unwrap();
    assert!(told.starts_with("Nothing came while it was recorded"), "{told}");
    let compared = done(kaizen(&node, &["compare", "idle.json", "idle.json"]), 2);
    let why = String::from_utf8(compared.stderr).unwrap();
    assert!(why.contains("the old recording is idle") && why.contains("2 samples"), "{why}");
    let exists = done(kaizen(&node, &["record", "idle.json", "--duration", "2"]), 2);
    assert!(String::from_utf8(exists.stderr).unwrap().contains("idle.json exists"));
}

/// Console messages and the page as the browser made it.
fn browsed(page: &Path) -> Option<(String, String)> {
    let shell = built().join("chromium/shell");
    if !shell.exists() {
        return missing("Chromium", "tests/chromium/install");
    }
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(shell)
        .args([
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", profile.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some((text(output.stderr), text(output.stdout)))
}

/// No tenant may have such a name; who holds the key may write it into a baseline.
#[test]
fn a_browser_shows_hostile_names_as_text_and_complains_of_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = actions::node(dir.path(), &private("page", &Target::start(|_| Does::Answer(200))));
    under_signals(&node, kaizen(&node, &["record", "base.json", "--duration", "3"]), "page", "s");
    let key = BaselineKey::from_hex(&std::fs::read(node.dir.join("baseline.key")).unwrap()).unwrap();
    let base = std::fs::read(node.dir.join("base.json")).unwrap();
    let mut recording = improvement::open(&base, &[key.public()]).unwrap();
    let hostile = "</style></td><img src=x onerror=console.error(1)><script>console.error(2)</script>";
    let tenant = TenantLook { events: 1, waited_milliseconds: 1 << 30, failures: 1 << 30 };
    recording.totals.tenants.insert(hostile.into(), tenant);
    std::fs::write(node.dir.join("hostile.json"), improvement::seal(recording, &key).unwrap()).unwrap();
    done(kaizen(&node, &["report", "hostile.json", "--html", "page.html"]), 0);
    let Some((console, page)) = browsed(&node.dir.join("page.html")) else { return };
    assert!(!console.contains("CONSOLE"), "{console}");
    assert!(page.contains("&lt;img src=x onerror=console.error(1)&gt;&lt;script&gt;"), "{page}");
    assert!(!page.contains("<img") && !page.contains("<script"), "{page}");
    assert!(page.contains("<polyline") && page.contains("class=\"first\""), "{page}");
}
