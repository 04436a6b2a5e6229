//! A clock that jumps under a running node, by libfaketime: it changes what the wall clock shows to the node, and leaves the
//! time since boot alone, as a wrong clock does.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::http::Answer;
use crate::node::{Node, PATIENCE, signal};
use crate::program::command;

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;

fn library() -> PathBuf {
    let found = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found.find(|path| path.exists()).expect("libfaketime is not installed: run tests/clock/install")
}

/// Shows the node in `dir` a wall clock that is wrong by so many seconds.
pub fn show(dir: &Path, seconds: i64) {
    std::fs::write(dir.join("wrong.new"), format!("{seconds:+}\n")).unwrap();
    std::fs::rename(dir.join("wrong.new"), dir.join("wrong")).unwrap();
}

pub fn start(dir: &Path, seconds: i64, variables: &[(&str, &str)]) -> Node {
    show(dir, seconds);
    let (library, file) = (library(), dir.join("wrong"));
    let faked = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    Node::start_in(dir, &[&faked, variables].concat())
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn post(node: &Node, id: &str) -> Answer {
    let answer = node.post("application/json", signal("acme", "vm", id).as_bytes());
    assert_eq!(answer.status, 202, "{}", answer.text());
    answer
}

/// Time of a signal's first receipt.
fn receipted_at(node: &Node, id: &str) -> u64 {
    let status = node.decided("acme", id);
    let receipt = status["receipts"][0].as_str().unwrap();
    node.ask(&format!("/v1/receipts/{receipt}")).json()["timestamp"].as_u64().unwrap()
}

fn assert_is_near(stamp: u64, truth: u64) {
    assert!(stamp.abs_diff(truth) <= 30_000, "stamped {stamp}, and it is {truth}");
}

/// What `/readyz` says of the clock.
fn reason(node: &Node) -> Option<String> {
    let ready = node.ask("/readyz");
    assert_eq!(ready.status, 200, "a wrong clock stops nothing: {}", ready.text());
    let stages = ready.json()["stages"].clone();
    let clock = stages.as_array().unwrap().iter().find(|stage| stage["stage"] == "clock");
    clock.expect("a stage `clock`")["reason"].as_str().map(str::to_owned)
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn batch(from: u64) -> String {
    (from..from + 100).map(|number| signal("acme", "vm", &format!("s-{number}")) + "\n").collect()
}

/// A batch, sent again while there is no room for it: how many of it were known.
fn post_batch(node: &Node, from: u64) -> u64 {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = node.post("application/x-ndjson", batch(from).as_bytes());
        if answer.status == 202 {
            return answer.json()["duplicates"].as_u64().unwrap_or(0);
        }
        assert!(Instant::now() < until, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn runs(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("data/dedup")).map_or(0, |entries| {
        entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension() == Some("run".as_ref()))
            .count()
    })
}

/// Identities are kept for an hour, in runs of 500.
const SHORT_MEMORY: [(&str, &str); 4] = [
    ("GEMBA_DEDUP__HOURS", "1"),
    ("GEMBA_DEDUP__SIGNALS", "2000"),
    ("GEMBA_RATE_LIMIT__PER_SECOND", "100000"),
    ("GEMBA_RATE_LIMIT__BURST", "100000"),
];

#[test]
fn a_day_ahead_for_some_seconds_changes_nothing_and_is_shown() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    let mut node = start(dir, 0, &SHORT_MEMORY);
    assert_eq!(reason(&node), None);
    for from in 0..17 {
        assert_eq!(post_batch(&node, from * 100), 0);
    }
    wait_until("three runs of identities", || runs(dir) >= 3);

    show(dir, DAY);
    assert!(node.wait_for("the wall clock is not followed").contains("ahead"));
    assert!(reason(&node).unwrap().contains("ahead of the journal's time"));
    assert!(node.metric("gemba_clock_offset_seconds") > 80_000.0);
    assert!((node.metric("gemba_clock_doubted") - 1.0).abs() < 0.1);
    post(&node, "while-wrong");
    assert_is_near(receipted_at(&node, "while-wrong"), now());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(post_batch(&node, 0), 100, "all of them are known");

    // A node that starts while the clock is wrong knows how much time has passed in this boot.
    assert!(node.terminate().success());
    let mut node = start(dir, DAY, &SHORT_MEMORY);
    assert!(reason(&node).unwrap().contains("ahead"));
    // It is told within a second, perhaps before the node said that it is ready.
    std::thread::sleep(Duration::from_secs(2));
    post(&node, "started-wrong");
    assert_is_near(receipted_at(&node, "started-wrong"), now());
    assert_eq!(post_batch(&node, 100), 100, "all of them are known");
    assert!(reason(&node).is_some());

    show(dir, 0);
    node.wait_for("agree again");
    assert_eq!(reason(&node), None);
    assert!((node.metric("gemba_clock_doubts_total") - 1.0).abs() < 0.1);
    post(&node, "right-again");
    assert_is_near(receipted_at(&node, "right-again"), now());
    assert_eq!(post_batch(&node, 200), 100, "all of them are known");
}

#[test]
fn an_hour_back_stops_no_timer() {
    let owned = tempfile::tempdir().unwrap();
    let dir = owned.path();
    let variables =
        [("GEMBA_ENTITLEMENT__DEFAULT", "required"), ("GEMBA_GOVERNOR__BOOT_TIMEOUT_SECONDS", "2")];
    let mut node = start(dir, 0, &variables);
    post(&node, "before");
    show(dir, -HOUR);
    assert!(node.wait_for("the wall clock is not followed").contains("behind"));
    let body = signal("acme", "disk", "after");
    assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
    let state = || node.ask("/v1/governors/acme/disk").json();
    wait_until("the boot time-out of two seconds", || state()["state"] == "degraded");
    assert!(reason(&node).unwrap().contains("behind the journal's time"));

    // A journal whose last stamp lies an hour ahead warns at the start.
    assert!(node.terminate().success());
    let node = start(dir, -HOUR, &variables);
    assert!(reason(&node).unwrap().contains("behind the journal's time"));
}

#[test]
fn no_journal_is_begun_by_a_clock_that_is_decades_off() {
    for seconds in [-7 * 365 * DAY, 30 * 365 * DAY] {
        let owned = tempfile::tempdir().unwrap();
        let dir = owned.path();
        show(dir, seconds);
        let output = command(dir)
            .arg("serve")
            .env("LD_PRELOAD", library())
            .env("FAKETIME_TIMESTAMP_FILE", dir.join("wrong"))
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("no journal is begun while the wall clock says"), "{said}");
        assert!(said.contains("set the clock of the machine"), "{said}");
        // One that was begun goes on, whatever the clock says.
        let mut node = start(dir, 0, &[]);
        assert!(node.terminate().success());
        drop(start(dir, seconds, &[]));
    }
}
