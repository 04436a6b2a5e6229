//! `gemba top`: in a pseudo-terminal, and without one; beside a node at work, and beside one that goes away, starts again and
//! names its tenants as an attacker would.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gemba::improvement::{Look, NodeLook, TenantLook};
use serde_json::Value;

use crate::node::Node;
use crate::program::command;
use crate::pty::Pty;
use crate::signals::wait_until;

fn top(dir: &Path, admin: SocketAddr, token: &Path, arguments: &[&str]) -> Command {
    let mut command = command(dir);
    command.arg("top").args(["--admin", &admin.to_string(), "--token-file"]).arg(token).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn of_node(node: &Node, arguments: &[&str]) -> Command {
    top(&node.dir, node.admin, &node.file("admin.token"), arguments)
}

#[track_caller]
fn done(mut command: Command, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (told, failed) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{told}\n{failed}");
    (told, failed)
}

/// `gemba load` beside a test, ended with it.
struct Loaded(std::process::Child);

impl Loaded {
    fn start(node: &Node) -> Self {
        let mut load = command(&node.dir);
        let (url, admin) = (format!("http://{}", node.ingress), format!("http://{}", node.admin));
        load.args(["load", "--url", &url, "--admin-url", &admin, "--secret-file"]);
        load.arg(node.file("signals.secret")).arg("--admin-token-file").arg(node.file("admin.token"));
        load.args(["--rate", "200", "--connections", "2", "--tenants", "1", "--duration", "600"]);
        let loaded = Self(load.stderr(Stdio::null()).spawn().unwrap());
        wait_until("signals come", || node.metric("gemba_signals_total{result=\"accepted\"}") >= 20.0);
        loaded
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn one_look_at_a_node_at_work_has_its_rates() {
    let node = Node::start();
    let loaded = Loaded::start(&node);
    let (told, _) = done(of_node(&node, &["--once", "--json", "--interval", "4"]), 0);
    assert_eq!(told.lines().count(), 1, "{told}");
    let view: Value = serde_json::from_str(&told).unwrap();
    let rate = |list: &str, key: &str, name: &str, rate: &str| {
        let rows = view[list].as_array().unwrap();
        rows.iter().find(|row| row[key] == name).unwrap_or_else(|| panic!("{name}: {view}"))[rate].as_f64()
    };
    assert_eq!((&view["answered"], &view["node"]["ready"]), (&true.into(), &true.into()), "{view}");
    assert!(view["window_seconds"].as_f64().unwrap() >= 3.0, "{view}");
    assert!(view["tenants"][0]["events_per_second"].as_f64().unwrap() > 0.0, "{view}");
    assert!(rate("signals", "result", "accepted", "per_second").unwrap() > 0.0, "{view}");
    for stage in ["verify", "lane_wait", "fsync", "decide", "receipt", "whole"] {
        assert!(rate("stages", "stage", stage, "per_second").unwrap() > 0.0, "{stage}: {view}");
        assert!(rate("stages", "stage", stage, "p99_seconds").unwrap() > 0.0, "{stage}: {view}");
    }
    for lane in ["arrivals", "events", "drafts"] {
        assert!(rate("lanes", "lane", lane, "per_second").unwrap() > 0.0, "{lane}: {view}");
    }
    assert!(view["disk_free_bytes"].as_u64().unwrap() > 0, "{view}");
    assert!(
        view["rules"]
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| rule["decisions_per_second"].as_f64() > Some(0.0))
    );
    // Without a terminal the same as text.
    let (told, _) = done(of_node(&node, &[]), 0);
    for words in ["  ready  disk free ", "\nLINE\n", "\nSTAGES\n", "\nTENANTS\n", "\nrates over "] {
        assert!(told.contains(words), "{words:?} is not in\n{told}");
    }
    drop(loaded);
}

#[test]
fn a_terminal_is_drawn_on_followed_and_given_back() {
    let node = Node::start();
    let _loaded = Loaded::start(&node);
    let mut pty = Pty::start(&of_node(&node, &["--interval", "0.2"]), (80, 24));
    pty.wait_for(&[
        "  ready",
        "accepted ",
        " LINE",
        " STAGES",
        " TENANTS by EVENTS/s",
        "tenant-000",
        "\u{b5}s",
    ]);
    let has_foot =
        |screen: &str, row: usize| screen.lines().nth(row - 1).is_some_and(|line| line.starts_with("q end"));
    pty.wait_until("the foot is on the last line", |screen| has_foot(screen, 24));
    assert!(pty.written().contains("\x1b[?1049h") && pty.written().contains("\x1b[?25l") && !pty.is_cooked());
    pty.resize((120, 40));
    pty.wait_until("a larger terminal is filled", |screen| has_foot(screen, 40) && screen.contains(" LINE"));
    pty.resize((60, 12));
    pty.wait_until("a smaller one, too", |screen| has_foot(screen, 12) && screen.lines().count() == 12);
    pty.press("?");
    pty.wait_for(&["Ctrl-C"]);
    pty.press("?");
    pty.wait_until("the tables are back", |screen| screen.contains("TENANTS") && !screen.contains("Ctrl-C"));
    pty.press("\x1b[Zp");
    pty.wait_for(&["PAUSED"]);
    pty.press("q");
    assert_eq!(pty.ended().code(), Some(0), "{:?}", pty.written());
    is_given_back(&pty);
}

#[track_caller]
fn is_given_back(pty: &Pty) {
    // The thread that reads may be late.
    wait_until("the screen is given back", || {
        pty.written().contains("\x1b[?1049l") && pty.written().contains("\x1b[?25h")
    });
    assert!(pty.is_cooked(), "keys are shown again");
}

#[test]
fn a_view_that_is_ended_gives_the_terminal_back() {
    let node = Node::start();
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut pty = Pty::start(&of_node(&node, &[]), (80, 24));
        pty.wait_for(&["q end"]);
        assert!(Command::new("kill").args(["-s", signal, &pty.id().to_string()]).status().unwrap().success());
        assert_eq!(pty.ended().code(), Some(code), "{:?}", pty.written());
        is_given_back(&pty);
    }
    // A terminal that takes nothing holds nobody up.
    let mut pty = Pty::start_unread(&of_node(&node, &["--interval", "0.2"]), (200, 60));
    wait_until("it is drawn on", || !pty.is_cooked());
    for columns in 160..200 {
        pty.resize((columns, 60));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-s", "TERM", &pty.id().to_string()]).status().unwrap().success());
    assert_eq!(pty.ended().code(), Some(143));
    assert!(pty.is_cooked());
    let mut pty = Pty::start(&of_node(&node, &[]), (80, 24));
    pty.wait_for(&["q end"]);
    pty.press("\x03");
    assert_eq!(pty.ended().code(), Some(0), "{:?}", pty.written());
    is_given_back(&pty);
}

#[test]
fn no_color_is_heard() {
    let node = Node::start();
    let colored = Pty::start(&of_node(&node, &[]), (80, 24));
    colored.wait_for(&["q end"]);
    assert!(colored.written().contains("\x1b[38;5;2mready"), "{:?}", colored.written());
    let mut plain = of_node(&node, &[]);
    plain.env("NO_COLOR", "1");
    let plain = Pty::start(&plain, (80, 24));
    plain.wait_for(&["q end"]);
    assert!(!plain.written().contains("\x1b[38"), "{:?}", plain.written());
}

const HOSTILE: &str = "t\x1b]0;owned\x07\u{9b}31m\r\n\u{202e}\u{200b}日本";

/// What answers as a node would, and does what a test wants.
#[derive(Clone, Copy, PartialEq)]
enum Plane {
    /// Runs since then.
    Runs(u64),
    Away,
}

/// A node's operator plane whose tenant has a hostile name, and a second passes with each look.
fn hostile_plane(does: &Arc<Mutex<Plane>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, does) = (listener.local_addr().unwrap(), Arc::clone(does));
    std::thread::spawn(move || {
        let mut looks = 0;
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let Plane::Runs(started) = *does.lock().unwrap() else { continue };
            let mut request = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = request.next().unwrap_or_default();
            let _head = request.find(String::is_empty);
            let body = match first.split(' ').nth(1) {
                Some("/v1/kaizen") => {
                    looks += 1;
                    hostile_look(started, looks)
                }
                Some("/v1/status") => r#"{"ready": true, "stages": []}"#.into(),
                _ => "queue_depth 3\n".into(),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            // The one who asked may have gone.
            let _sent = socket.write_all((head + &body).as_bytes());
        }
    });
    address
}

fn hostile_look(started_milliseconds: u64, looks: u64) -> String {
    let node =
        NodeLook { name: HOSTILE.into(), role: "all".into(), started_milliseconds, ..NodeLook::default() };
    let mut look = Look { node, elapsed_milliseconds: looks * 1000, ..Look::default() };
    let tenant = TenantLook { events: looks * 50, ..TenantLook::default() };
    look.tenants.insert(HOSTILE.into(), tenant);
    serde_json::to_string(&look).unwrap()
}

fn token(dir: &Path) -> std::path::PathBuf {
    let file = dir.join("viewer.token");
    std::fs::write(&file, "5a".repeat(32)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// What reaches a terminal or a pipe, whatever a name holds.
#[track_caller]
fn is_harmless(written: &str) {
    for order in ["\x1b]0;", "\x07", "\u{9b}", "\u{202e}"] {
        assert!(!written.contains(order), "{order:?} is in {written:?}");
    }
}

#[test]
fn hostile_names_silence_and_a_new_start_are_told_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let (token, does) = (token(dir.path()), Arc::new(Mutex::new(Plane::Runs(1))));
    let admin = hostile_plane(&does);
    for arguments in [&["--once"][..], &["--once", "--json"]] {
        let (told, _) = done(top(dir.path(), admin, &token, arguments), 0);
        is_harmless(&told);
        assert!(told.contains("日本") && told.contains("50"), "{told}");
    }
    let mut pty = Pty::start(&top(dir.path(), admin, &token, &["--interval", "0.2"]), (100, 30));
    pty.wait_for(&["t\\u{1b}]0;owned\\u{7}", "q end"]);
    *does.lock().unwrap() = Plane::Away;
    pty.wait_for(&["no answer since "]);
    *does.lock().unwrap() = Plane::Runs(2);
    pty.wait_for(&["q end"]);
    is_harmless(&pty.written());
    assert!(!pty.written().contains('\u{200b}'));
    pty.press("q");
    assert_eq!(pty.ended().code(), Some(0));
    is_given_back(&pty);
}

#[test]
fn json_goes_on_over_silence_and_ends_with_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let (token, does) = (token(dir.path()), Arc::new(Mutex::new(Plane::Runs(1))));
    let admin = hostile_plane(&does);
    let mut child = top(dir.path(), admin, &token, &["--json", "--interval", "0.2"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!(
        (&first["answered"], &first["tenants"][0]["tenant"]),
        (&true.into(), &HOSTILE.into()),
        "{first}"
    );
    assert_eq!(first["tenants"][0]["events_per_second"], 50.0);
    *does.lock().unwrap() = Plane::Away;
    let silent = std::iter::repeat_with(&mut next).find(|line| line["answered"] == false).unwrap();
    assert!(silent["silent_seconds"].is_number() && silent["reason"].is_string(), "{silent}");
    *does.lock().unwrap() = Plane::Runs(2);
    let again = std::iter::repeat_with(&mut next).find(|line| line["answered"] == true).unwrap();
    // Of all since the new start.
    assert_eq!(again["window_seconds"], again["node"]["up_seconds"], "{again}");
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_watched_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let token = token(dir.path());
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let (_, why) = done(top(dir.path(), nowhere, &token, &["--once"]), 3);
    assert!(why.contains("is the node running?"), "{why}");
    let (_, why) = done(top(dir.path(), nowhere, &token, &["--interval", "0.1"]), 2);
    assert!(why.contains("from 0.2 to 60 seconds"), "{why}");
    let node = Node::start();
    let (_, why) = done(top(dir.path(), node.admin, &token, &[]), 3);
    assert!(why.contains("it does not know this token"), "{why}");
}
