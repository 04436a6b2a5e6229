//! `gemba load` when something comes between: a signal, a node that dies, a directory that cannot be written. What was
//! measured is printed and written, and the exit code says why the run ended.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::node::{Node, command};

/// What should happen has not happened by then.
const PATIENCE: Duration = Duration::from_secs(30);
/// Far longer than a test waits: what ends such a run is not its time.
const LONG: [&str; 2] = ["--duration", "600"];

fn load(node: &Node, more: &[&str]) -> Command {
    let mut command = command(&node.dir);
    let (url, admin) = (format!("http://{}", node.ingress), format!("http://{}", node.admin));
    command.arg("load").args(["--url", &url, "--admin-url", &admin, "--secret-file"]);
    command.arg(node.file("signals.secret")).arg("--admin-token-file").arg(node.file("admin.token"));
    command.args(["--json", "--rate", "200", "--connections", "4", "--tenants", "1"]).args(more);
    command.stdout(Stdio::piped());
    command
}

fn spawned(mut command: Command) -> Child {
    command.spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap().success());
}

/// Waits until the node has taken signals of the run.
fn wait_for_signals(node: &Node) {
    let until = Instant::now() + PATIENCE;
    while node.metric("gemba_signals_total{result=\"accepted\"}") < 20.0 {
        assert!(Instant::now() < until, "no signal came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How the run ended, within reason: exit code, summary, and standard error.
fn ended(child: Child) -> (Option<i32>, serde_json::Value, String) {
    let begun = Instant::now();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    let summary = serde_json::from_slice(&stdout).unwrap_or_default();
    (status.code(), summary, String::from_utf8(stderr).unwrap())
}

fn has_report(dir: &Path) -> bool {
    let page = std::fs::read_to_string(dir.join("index.html")).unwrap_or_default();
    page.contains("ended early") && dir.join("latency.hgrm").exists()
}

#[test]
fn a_signal_ends_a_run_and_what_there_is_is_printed_and_written() {
    let node = Node::start();
    for (name, code, why) in [("INT", 130, "interrupted"), ("TERM", 143, "terminated")] {
        let run = spawned(load(&node, &[&LONG[..], &["--verify", "--report", why]].concat()));
        let before = node.metric("gemba_signals_total{result=\"accepted\"}");
        let until = Instant::now() + PATIENCE;
        while node.metric("gemba_signals_total{result=\"accepted\"}") < before + 20.0 {
            assert!(Instant::now() < until, "no signal came");
            std::thread::sleep(Duration::from_millis(20));
        }
        signal(&run, name);
        let (exit, summary, said) = ended(run);
        assert_eq!((exit, &summary["ended_early"]), (Some(code), &why.into()), "{said}");
        assert!(summary["signals"]["accepted"].as_u64().unwrap() >= 20, "{summary}");
        assert!(summary["seconds"].as_f64().unwrap() < 60.0, "{summary}");
        assert_eq!(summary["requests"]["unsent"], 0, "{summary}");
        assert!(has_report(&node.dir.join(why)));
        assert!(said.contains(&format!("the run was {why}")), "{said}");
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let mut node = Node::start();
    let run = spawned(load(&node, &LONG));
    wait_for_signals(&node);
    // The node answers nothing now, so that the first signal has something to wait for.
    node.signal("STOP");
    std::thread::sleep(Duration::from_millis(100));
    signal(&run, "INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(&run, "INT");
    let begun = Instant::now();
    let (exit, _, said) = ended(run);
    assert_eq!(exit, Some(130), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    node.signal("CONT");
    node.terminate();
}

#[test]
fn a_signal_ends_the_wait_for_a_node_too() {
    let mut node = Node::start();
    node.kill();
    let run = spawned(load(&node, &LONG));
    std::thread::sleep(Duration::from_millis(700));
    signal(&run, "INT");
    let (exit, _, said) = ended(run);
    assert_eq!(exit, Some(130), "{said}");
}

#[test]
fn a_node_that_dies_is_told_with_what_was_measured() {
    let mut node = Node::start();
    let run = spawned(load(&node, &[&LONG[..], &["--verify", "--report", "out"]].concat()));
    wait_for_signals(&node);
    node.kill();
    let (exit, summary, said) = ended(run);
    assert_eq!((exit, &summary["ended_early"]), (Some(3), &"node_gone".into()), "{said}");
    assert!(summary["signals"]["accepted"].as_u64().unwrap() >= 20, "{summary}");
    assert!(has_report(&node.dir.join("out")));
    assert!(said.contains("is gone: every connection was refused or broke"), "{said}");
    let (exit, _, said) = ended(spawned(load(&node, &["--duration", "1"])));
    assert!(exit == Some(3) && said.contains("is the node running?"), "{said}");
}

#[test]
fn what_cannot_be_done_at_the_end_is_told_before_the_begin() {
    let node = Node::start();
    std::fs::write(node.dir.join("wrong.token"), "another").unwrap();
    std::fs::write(node.dir.join("file"), "text").unwrap();
    let table: [(&[&str], i32, &str); 8] = [
        (&["--report", "file"], 3, "cannot write the report"),
        (&["--accepted-log", "file/log"], 3, "cannot write the log"),
        (&["--verify", "--admin-token-file", "wrong.token"], 2, "refuses the token"),
        (&["--verify", "--admin-token-file", "missing"], 2, "--admin-token-file"),
        (&["--verify", "--admin-url", "http://127.0.0.1:1"], 3, "nothing listens"),
        (&["--secret-file", "missing"], 2, "--secret-file"),
        (&["--connections", "10000"], 2, "descriptors"),
        (&["--url", "http://root:secret@127.0.0.1:1"], 2, "without user"),
    ];
    for (flags, code, why) in table {
        let mut command = load(&node, &["--duration", "1"]);
        // A flag that stands twice is wrong use: the one of the table counts.
        let given: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut kept = Vec::new();
        let mut given = given.into_iter();
        while let Some(flag) = given.next() {
            let known = flags.iter().any(|other| flag == *other);
            if known {
                given.next();
            } else {
                kept.push(flag);
            }
        }
        let mut limited = Command::new("sh");
        limited.current_dir(&node.dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        limited
            .args(["-c", "ulimit -n 1000; exec \"$@\"", "sh"])
            .arg(command.get_program())
            .args(kept)
            .args(flags);
        command = limited;
        let (exit, _, said) = ended(spawned(command));
        assert!(exit == Some(code) && said.contains(why), "{flags:?}: {exit:?} {said}");
    }
    assert!(node.metric("gemba_signals_total{result=\"accepted\"}").abs() < f64::EPSILON);
}

#[test]
fn operators_name_a_node_by_its_url_or_its_address() {
    let node = Node::start();
    for admin in [format!("http://{}", node.admin), format!("http://{}/", node.admin), node.admin.to_string()]
    {
        let status = command(&node.dir).args(["status", "--admin", &admin]).output().unwrap();
        assert!(status.status.success(), "{admin}: {}", String::from_utf8_lossy(&status.stderr));
    }
    let url = format!("http://localhost:{}", node.admin.port());
    let status = command(&node.dir).args(["status", "--admin", &url]).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    for wrong in ["localhost", "https://localhost:1", "http://localhost:1/v1", "http://x:y@localhost:1"] {
        let status = command(&node.dir).args(["status", "--admin", wrong]).output().unwrap();
        assert_eq!(status.status.code(), Some(2), "{wrong}");
    }
}
