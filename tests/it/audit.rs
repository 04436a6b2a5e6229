//! The audit file of a real node: every receipt of the transparency log once, in order, and as the operator plane gives it,
//! whatever happens to the node, the file and its disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use gemba::andon::log::frame::records;
use gemba::andon::log::segment;
use gemba::disk::{Disk as _, RealDisk};
use gemba::line::recovery::log_dir;
use gemba::receipt::canonical;
use serde_json::Value;

use crate::node::{Node, PATIENCE, free_address, signal};
use crate::program::{Process, command};
use crate::tools::missing;

const BATCH: &str = "application/cloudevents-batch+json";
const LAG: &str = "gemba_audit_lag_receipts";

fn write_config(dir: &Path, file: &str) {
    let config = format!(
        "[node]\nprofile = \"dev\"\nname = \"n1\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n\
         [rate_limit]\nper_second = 1000000\nburst = 1000000\n[[logging.file]]\ncontent = \"audit\"\n{file}"
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
}

fn start(dir: &Path) -> Node {
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

/// What a start that fails says.
fn refused(dir: &Path) -> String {
    let mut command = command(dir);
    let output = command.args(["serve", "--config", "gemba.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn post(node: &Node, name: &str, count: usize) {
    let signals: Vec<String> = (0..count)
        .map(|number| signal(&format!("t-{}", number % 5), "vm", &format!("{name}-{number}")))
        .collect();
    assert_eq!(node.post(BATCH, format!("[{}]", signals.join(",")).as_bytes()).status, 202);
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Lines of the file and of those that it wrapped to, the oldest first.
fn lines(path: &Path) -> Vec<String> {
    let older = (1..100).rev().map(|number| PathBuf::from(format!("{}.{number}", path.display())));
    let mut lines = Vec::new();
    for path in older.chain([path.to_owned()]) {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(text.is_empty() || text.ends_with('\n'), "{} has a torn line", path.display());
        lines.extend(text.lines().map(str::to_owned));
    }
    lines
}

/// Each receipt of the log: its index and name.
fn logged(data: &Path) -> Vec<(u64, String)> {
    let mut logged = Vec::new();
    for path in segment::list(&RealDisk, &log_dir(data)).unwrap().values() {
        let file = RealDisk.open(path).unwrap();
        let scanned = segment::scan(&*file, path, |_, header, bytes| {
            for (index, record) in (header.first..).zip(records(header, bytes)) {
                if let Some(fields) = canonical::load(record.compact) {
                    logged.push((index, fields.gist.id.to_string()));
                }
            }
        });
        scanned.unwrap();
    }
    logged
}

fn names(lines: &[String]) -> Vec<(u64, String)> {
    let name = |line: &String| {
        let receipt: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        (receipt["log_index"].as_u64().unwrap(), receipt["receipt_id"].as_str().unwrap().to_owned())
    };
    lines.iter().map(name).collect()
}

/// The node is asked for each receipt, and answers as the file has it.
fn compare(node: &Node, lines: &[String]) {
    for line in lines {
        let receipt: Value = serde_json::from_str(line).unwrap();
        let answer = node.ask(&format!("/v1/receipts/{}", receipt["receipt_id"].as_str().unwrap()));
        assert_eq!(answer.text(), *line);
    }
}

#[test]
fn every_receipt_is_in_the_file_once_and_in_order_whatever_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), "path = \"audit.log\"\nmax_bytes = 40000\nmax_files = 100\n");
    let path = dir.path().join("audit.log");
    for round in 0..6 {
        let mut node = start(dir.path());
        let before = lines(&path).len();
        for batch in 0..4 {
            post(&node, &format!("s-{round}-{batch}"), 25);
        }
        // Before the first line of this start, amid them, after them.
        wait_until("lines are written", || lines_now(&path) >= before + [0, 1, 60][round % 3]);
        node.kill();
        if round == 3 {
            // What a machine that lost its power may leave.
            let torn = std::fs::read_to_string(&path).unwrap() + "{\"action_id\":null,\"as";
            std::fs::write(&path, torn).unwrap();
        }
    }
    let mut node = start(dir.path());
    post(&node, "last", 20);
    assert!(node.terminate().success());
    let written = lines(&path);
    assert_eq!(names(&written), logged(&node.file("")), "what is in the log is in the file");
    assert!(written.len() > 600, "{}", written.len());
    assert!(dir.path().join("audit.log.3").exists());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let node = start(dir.path());
    compare(&node, &written);
    wait_until("the metric falls to 0", || node.metric(LAG) == 0.0);
}

/// Whole lines at this moment, without judging the last.
fn lines_now(path: &Path) -> usize {
    let older = (1..100).map(|number| PathBuf::from(format!("{}.{number}", path.display())));
    let count = |path| std::fs::read_to_string(path).unwrap_or_default().matches('\n').count();
    older.chain([path.to_owned()]).map(count).sum()
}

const GOES_ON: &str = "the audit file was moved away, removed or emptied: it goes on after what was written";

#[test]
fn a_file_that_is_moved_away_goes_on_and_what_differs_from_the_log_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), "path = \"audit.log\"\n");
    let path = dir.path().join("audit.log");
    let mut node = start(dir.path());
    post(&node, "a", 10);
    wait_until("lines are written", || node.metric(LAG) == 0.0 && lines_now(&path) > 10);
    // As logrotate does it.
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    std::fs::rename(&path, &first).unwrap();
    node.signal("USR1");
    wait_until("the file is there again", || path.exists());
    post(&node, "b", 10);
    assert!(node.terminate().success());
    assert!(node.everything_said().contains(GOES_ON), "it is told while the node runs");
    std::fs::rename(&path, &second).unwrap();
    let mut node = start(dir.path());
    post(&node, "c", 10);
    assert!(node.terminate().success());
    assert!(node.everything_said().contains(GOES_ON));
    let all = [lines(&first), lines(&second), lines(&path)].concat();
    assert_eq!(names(&all), logged(&node.file("")));
    assert_eq!(lines(&path).len(), 10);

    // Without what is kept of it, the whole log is written.
    let kept = std::fs::read_dir(node.file("")).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<PathBuf> =
        kept.filter(|path| path.extension().is_some_and(|extension| extension == "position")).collect();
    assert_eq!(kept.len(), 1);
    std::fs::remove_file(&kept[0]).unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut node = start(dir.path());
    assert!(node.terminate().success());
    assert_eq!(lines(&path), all);

    // Somebody changed a line.
    let mut changed = all.clone();
    let last = changed.last_mut().unwrap();
    *last =
        last.replace("\"success\":true", "\"success\":false").replace("\"tenant\":\"t-", "\"tenant\":\"u-");
    std::fs::write(&path, changed.join("\n") + "\n").unwrap();
    let said = refused(dir.path());
    let index = names(&all).last().unwrap().0;
    assert!(said.contains("audit.log") && said.contains(&format!("log index {index}")), "{said}");
    assert!(said.contains("one of the two was replaced"), "{said}");

    // A file of something else.
    std::fs::write(&path, "{\"ts\":\"2026-11-28T16:49:07.773Z\"}\n").unwrap();
    let said = refused(dir.path());
    assert!(said.contains("gemba.toml:10") && said.contains("it is not an audit file"), "{said}");
    write_config(dir.path(), "path = \"missing/audit.log\"\n");
    let said = refused(dir.path());
    assert!(said.contains("gemba.toml:10") && said.contains("missing/audit.log"), "{said}");
    write_config(dir.path(), "path = \"audit.log\"\nreceipts = \"some\"\n");
    refused(dir.path());
    let config = std::fs::read_to_string(dir.path().join("gemba.toml")).unwrap();
    let config = config.replace("content = \"audit\"", "content = \"all\"").replace("\"some\"", "\"acts\"");
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    assert!(refused(dir.path()).contains("`receipts` means nothing without `content = \"audit\"`"));
}

#[test]
fn acts_are_what_people_and_rules_changed() {
    let dir = tempfile::tempdir().unwrap();
    write_config(
        dir.path(),
        "path = \"acts.log\"\nreceipts = \"acts\"\n[[logging.file]]\ncontent = \"audit\"\npath = \"all.log\"\n",
    );
    let mut node = start(dir.path());
    post(&node, "s", 30);
    node.decided("t-4", "s-29");
    let halt = ["governor", "halt", "t-0", "vm", "--reason", "an auditor reads this"];
    let mut command = command(dir.path());
    command.args(halt).args(["--admin", &node.admin.to_string()]).env("GEMBA_CONFIG", "gemba.toml");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(node.terminate().success());
    let (acts, all) = (lines(&dir.path().join("acts.log")), lines(&dir.path().join("all.log")));
    assert_eq!(names(&all), logged(&node.file("")));
    let types: Vec<String> = acts
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["receipt_type"].as_str().unwrap().to_owned())
        .collect();
    let halts = types.iter().filter(|kind| *kind == "jidoka_halt").count();
    assert_eq!(halts, 1, "{types:?}");
    assert!(types.iter().all(|kind| {
        ["jidoka_halt", "policy_change", "entitlement", "operator"].contains(&&**kind)
            || kind.starts_with("alert_")
    }));
    assert!(acts.iter().all(|line| all.contains(line)) && acts.len() < all.len());
    let halt = acts.iter().find(|line| line.contains("\"jidoka_halt\"")).unwrap();
    assert!(halt.contains("an auditor reads this"));
}

/// A file system of its own, small enough to be filled.
struct Volume(PathBuf);

impl Volume {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            Some(Self(at))
        } else {
            missing("a file system that can be mounted", "a user who may mount")
        }
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_stops_no_signal_and_loses_no_line() {
    let dir = tempfile::tempdir().unwrap();
    let Some(volume) = Volume::mount(dir.path().join("audit")) else { return };
    write_config(dir.path(), "path = \"audit/audit.log\"\n");
    let path = volume.0.join("audit.log");
    let mut node = start(dir.path());
    let filler = volume.0.join("filler");
    std::fs::write(&filler, vec![7; 200 * 1024]).unwrap();
    for batch in 0..10 {
        post(&node, &format!("s-{batch}"), 25);
    }
    assert!(node.wait_for("the audit file cannot be written").contains("audit.log"));
    wait_until("the lag shows it", || node.metric(LAG) > 0.0);
    // Whole lines alone, also while the disk is full.
    let written = lines(&path);
    let lag = node.metric(LAG);
    // An end says what is missing, and does not wait for room.
    assert!(node.terminate().success());
    assert!(node.everything_said().contains("the audit file lacks receipts that the log has"));
    assert!(written.len() < 250 && lag > 0.0);
    let mut node = start(dir.path());
    wait_until("it is tried again", || node.metric(LAG) > 0.0);
    std::fs::remove_file(&filler).unwrap();
    node.wait_for("the audit file is written again");
    wait_until("the rest is written", || node.metric(LAG) == 0.0);
    assert!(node.terminate().success());
    assert_eq!(names(&lines(&path)), logged(&node.file("")));
    assert_eq!(node.everything_said().matches("the audit file cannot be written").count(), 1, "told once");
}

#[test]
fn an_edge_says_that_it_writes_no_audit_file() {
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path(), "path = \"missing/audit.log\"\n");
    let mut command = command(dir.path());
    command.args(["serve", "--role", "edge"]).env("GEMBA_CONFIG", "gemba.toml");
    let host = free_address();
    std::fs::write(dir.path().join("rabbitmq.secret"), "not a secret of anybody").unwrap();
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(dir.path().join("rabbitmq.secret"), mode).unwrap();
    command.env("GEMBA_RABBITMQ__HOSTS", format!("[\"{host}\"]"));
    command.env("GEMBA_RABBITMQ__USERNAME", "gemba").env("GEMBA_RABBITMQ__PASSWORD_FILE", "rabbitmq.secret");
    let mut process = Process::spawn(command, PATIENCE);
    let said = process.wait_for("an edge decides nothing: it writes no audit file");
    assert!(said.is_some_and(|line| line.contains("missing/audit.log")), "{:?}", process.said());
}
