//! What the system asks of a node, from its first moment on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::http::try_exchange;
use crate::node::{Node, PATIENCE, READY, free_address, signal};
use crate::program::{PROGRAM, Process, command, command_of};

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn kill(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

fn ended(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= until {
            child.kill().unwrap();
            panic!("the node did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Signals that a process catches.
fn catches(pid: u32, signal: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap_or(0);
    caught >> (signal - 1) & 1 == 1
}

/// Whether a process of ours hears signals. A handler is in place a moment before it knows what to do, and what comes then is
/// lost; SIGXFSZ is caught last, so all others are heard by then.
pub fn hears(pid: u32) -> bool {
    catches(pid, 25)
}

/// A journal of this many batches, so that a start takes its time; what the node says when it knows all of it.
fn long_journal(dir: &Path, batches: usize) {
    let rates = [("GEMBA_RATE_LIMIT__PER_SECOND", "1000000"), ("GEMBA_RATE_LIMIT__BURST", "1000000")];
    let mut node = Node::start_in(dir, &[("GEMBA_DEDUP__SIGNALS", "2000000"), rates[0], rates[1]]);
    for batch in 0..batches {
        let one = |index: usize| {
            signal(&format!("t-{batch}"), "vm", &format!("s-{batch}-{index}")).replace("cost.usage", "x.y")
        };
        let signals: Vec<String> = (0..1000).map(one).collect();
        let body = format!("[{}]", signals.join(","));
        assert_eq!(node.post("application/cloudevents-batch+json", body.as_bytes()).status, 202);
    }
    assert!(node.terminate().success());
}

#[test]
fn sigterm_at_any_moment_of_a_start_ends_it_in_order() {
    let dir = tempfile::tempdir().unwrap();
    long_journal(dir.path(), 30);
    let start = || {
        let mut command = command(dir.path());
        command.arg("serve").env("GEMBA_DEDUP__SIGNALS", "2000000").stderr(Stdio::null()).spawn().unwrap()
    };
    for step in 0..24 {
        let mut child = start();
        // Before its first instruction a process catches nothing.
        wait_until("signals are heard", || hears(child.id()));
        assert!(catches(child.id(), 15) && catches(child.id(), 1), "SIGTERM and SIGHUP are among them");
        std::thread::sleep(Duration::from_millis(step * step / 2));
        kill(child.id(), "TERM");
        let begun = Instant::now();
        assert_eq!(ended(&mut child).code(), Some(0), "step {step}");
        assert!(begun.elapsed() < Duration::from_secs(8), "step {step} took {:?}", begun.elapsed());
    }
    let mut node = Node::start_in(dir.path(), &[("GEMBA_DEDUP__SIGNALS", "2000000")]);
    let again = signal("t-29", "vm", "s-29-999").replace("cost.usage", "x.y");
    let again = node.post("application/json", again.as_bytes()).json();
    assert_eq!((again["seq"].as_u64(), again["duplicate"].as_bool()), (Some(30_001), Some(true)));
    assert!(node.terminate().success());
}

/// A configuration that is a pipe into which nobody has written yet: the start waits in its first step.
fn config_that_waits(dir: &Path) -> PathBuf {
    let pipe = dir.join("gemba.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

#[test]
fn signals_are_caught_before_the_start_touches_anything() {
    let dir = tempfile::tempdir().unwrap();
    config_that_waits(dir.path());
    let mut command = command(dir.path());
    let mut child = command.args(["serve", "--config", "gemba.toml"]).spawn().unwrap();
    wait_until("signals are heard", || hears(child.id()));
    assert!(!dir.path().join("data").exists());
    kill(child.id(), "HUP");
    kill(child.id(), "TERM");
    assert_eq!(ended(&mut child).code(), Some(0));
    assert!(!dir.path().join("data").exists(), "nothing is half made");
}

#[test]
fn sighup_during_a_start_is_kept_until_the_line_can_do_it() {
    let dir = tempfile::tempdir().unwrap();
    long_journal(dir.path(), 5);
    let mut command = command(dir.path());
    let pipe = config_that_waits(dir.path());
    command.args(["serve", "--config", "gemba.toml"]);
    let mut process = Process::spawn(command, PATIENCE);
    wait_until("signals are heard", || hears(process.id()));
    process.signal("HUP");
    let packs = concat!("\"", env!("CARGO_MANIFEST_DIR"), "/config/policies");
    let config = include_str!("../../config/dev.toml").replace("\"config/policies", packs);
    // Once for the start, and once for the signal.
    std::fs::write(&pipe, &config).unwrap();
    assert!(process.wait_for(READY).is_some(), "{:?}", process.said());
    std::fs::write(&pipe, &config).unwrap();
    let read = process.wait_for("the configuration was read anew");
    let said = process.said();
    assert!(read.is_some_and(|line| line.contains("\"actor\":\"SIGHUP\"")), "{said:?}");
    process.signal("TERM");
    assert_eq!(process.ended().and_then(|status| status.code()), Some(0));
}

/// The process that `unshare` started.
fn first_child(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split(' ').next()?.parse().ok()
}

#[test]
fn as_the_first_process_of_a_container_a_node_hears_signals_from_its_first_moment() {
    // In the first round the start waits for its configuration.
    for (wait, waits) in
        [(0, true), (0, false), (5, false), (20, false), (60, false), (200, false), (2000, false)]
    {
        let dir = tempfile::tempdir().unwrap();
        let admin = free_address();
        let mut command = command_of("unshare", dir.path());
        if waits {
            command.env("GEMBA_CONFIG", config_that_waits(dir.path()));
        }
        command
            .args(["--pid", "--fork", "--kill-child", PROGRAM, "serve"])
            .env("GEMBA_ADMIN__LISTEN", admin.to_string())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut node = 0;
        wait_until("the node runs", || {
            node = first_child(child.id()).unwrap_or(0);
            node != 0 && hears(node)
        });
        let status = std::fs::read_to_string(format!("/proc/{node}/status")).unwrap();
        let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        assert_eq!(inner.split_whitespace().last(), Some("1"), "it is the first process of its namespace");
        std::thread::sleep(Duration::from_millis(wait));
        kill(node, "HUP");
        std::thread::sleep(Duration::from_millis(wait / 4));
        kill(node, "TERM");
        assert_eq!(ended(&mut child).code(), Some(0), "after {wait} ms");
        let request = b"GET /livez HTTP/1.1\r\nhost: gemba\r\nconnection: close\r\n\r\n";
        assert!(try_exchange(admin, request).is_none());
    }
}
