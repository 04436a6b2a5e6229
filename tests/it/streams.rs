//! Standard error and standard output that take nothing: the node goes on.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::node::{Node, PATIENCE, signal};
use crate::signals::wait_until;

/// A pipe that is full, and its reading end.
fn full_pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&vec![b'.'; 64 * 1024]).unwrap();
    (reader, writer)
}

/// Orders to read the packs anew, and waits until a change of them has had its effect.
fn reload(node: &Node, since: f64) -> f64 {
    let config = node.dir.join("packs/cost_governance.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n# another text\n")).unwrap();
    let until = Instant::now() + PATIENCE;
    node.signal("HUP");
    loop {
        let now = node.metric("gemba_rules_since_seq");
        if now > since {
            return now;
        }
        assert!(Instant::now() < until, "the packs were not read anew");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn goes_on(stderr: impl Into<Stdio>) {
    let dir = tempfile::tempdir().unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policies");
    std::fs::create_dir(dir.path().join("packs")).unwrap();
    for file in std::fs::read_dir(shipped).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            std::fs::copy(&file, dir.path().join("packs").join(file.file_name().unwrap())).unwrap();
        }
    }
    let config = include_str!("../../config/dev.toml").replace("config/policies", "packs");
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let mut node = Node::start_unheard(dir.path(), &[("GEMBA_CONFIG", "gemba.toml")], stderr);
    // The first rules are an event that comes after the node has said that it is ready.
    wait_until("rules hold", || node.ask("/metrics").text().contains("\ngemba_rules_since_seq "));
    let mut since = node.metric("gemba_rules_since_seq");
    for round in 0..4 {
        since = reload(&node, since);
        let body = signal("acme", "vm", &format!("s-{round}"));
        assert_eq!(node.post("application/json", body.as_bytes()).status, 202);
    }
    let begun = Instant::now();
    assert!(node.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "nobody is waited for");
}

#[test]
fn a_node_whose_standard_error_is_closed_goes_on() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    goes_on(writer);
}

#[test]
fn a_node_whose_standard_error_is_on_a_full_disk_goes_on() {
    goes_on(File::options().write(true).open("/dev/full").unwrap());
}

#[test]
fn a_node_whose_standard_error_nobody_reads_goes_on() {
    let (_reader, writer) = full_pipe();
    goes_on(writer);
}

#[test]
fn lines_that_are_lost_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut node = Node::start_unheard(dir.path(), &[], full);
    let until = Instant::now() + PATIENCE;
    while node.metric("gemba_telemetry_lost_total{sink=\"logs\",cause=\"write\"}") < 1.0 {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(node.terminate().success());
}

#[test]
fn a_start_that_is_refused_ends_though_nobody_reads_why() {
    let dir = tempfile::tempdir().unwrap();
    let (_reader, writer) = full_pipe();
    let mut command = crate::program::command(dir.path());
    command.arg("serve").env("GEMBA_INGRESS__LISTEN", "192.0.2.1:80").stderr(writer);
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= until {
            child.kill().unwrap();
            panic!("it waits for a reader");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(2));
}
