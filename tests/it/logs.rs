//! Where events go beside standard error: files that wrap, syslog as rsyslog takes it, and levels that change while a node runs.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::node::{Node, PATIENCE, signal};
use crate::program::{Process, command};
use crate::rsyslog::Rsyslog;
use crate::targets::{Does, Target};
use crate::tls::{Authority, served};

const JSON: &str = "application/json";

fn node(dir: &Path, section: &str) -> Node {
    let config = format!(
        "[node]\nprofile = \"dev\"\nname = \"n1\"\n[[source]]\nname = \"signals\"\nscheme = \"hmac\"\n{section}"
    );
    std::fs::write(dir.join("gemba.toml"), config).unwrap();
    Node::start_in(dir, &[("GEMBA_CONFIG", "gemba.toml")])
}

/// Every line of a file, each an object of its own.
fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for levels as an operator does.
fn change_levels(node: &Node, change: &str) -> std::process::Output {
    let mut command = command(&node.dir);
    command.env("GEMBA_CONFIG", "gemba.toml");
    command.args(["log", "level", change, "--reason", "a test", "--admin", &node.admin.to_string()]);
    command.stdout(std::process::Stdio::piped()).output().unwrap()
}

#[test]
fn a_file_has_every_event_and_is_opened_anew_when_it_was_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), "[[logging.file]]\npath = \"gemba.log\"\n");
    let path = dir.path().join("gemba.log");
    let takes =
        |event: &Value| event["message"] == "the node takes signals" && event["target"] == "gemba::line";
    wait_until("the start is told", || events(&path).iter().any(takes));
    // As logrotate does it.
    std::fs::rename(&path, dir.path().join("gemba.log.old")).unwrap();
    node.signal("USR1");
    wait_until("the file is there again", || path.exists());
    assert!(node.terminate().success());
    let last = events(&path);
    assert!(last.iter().any(|event| event["message"].as_str().unwrap().starts_with("drained")), "{last:?}");
    assert!(events(&dir.path().join("gemba.log.old")).iter().any(takes));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn files_wrap_under_load_and_a_kill_leaves_whole_lines() {
    let dir = tempfile::tempdir().unwrap();
    let section = "[logging]\nlevel = \"debug\"\n[[logging.file]]\npath = \"gemba.log\"\nmax_bytes = 4096\nmax_files = 3\n\
                   [[action]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:1/\"\nallow_private = true\n";
    for _ in 0..3 {
        let mut node = node(dir.path(), section);
        for number in 0..60 {
            // Each change is an event.
            let level = if number % 2 == 0 { "gemba::line=trace" } else { "gemba::line=debug" };
            let body = format!("{{\"level\":\"{level}\",\"reason\":\"{}\"}}", "r".repeat(300));
            let token = node.secret("admin.token");
            let request = format!(
                "POST /v1/log/level HTTP/1.1\r\nhost: gemba\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            assert_eq!(crate::http::exchange(node.admin, request.as_bytes()).status, 200);
        }
        node.kill();
        let mut names: Vec<String> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("gemba.log"))
            .collect();
        names.sort();
        // The kill may come while they are renamed.
        assert!(names.len() >= 2 && names.iter().all(|name| name.len() <= "gemba.log.2".len()), "{names:?}");
        assert!(!names.iter().any(|name| name == "gemba.log.3"), "{names:?}");
        for name in names {
            let path = dir.path().join(name);
            assert!(std::fs::metadata(&path).unwrap().len() <= 4096);
            // Every line is an object of its own.
            events(&path);
        }
    }
}

#[test]
fn levels_change_while_the_node_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node(dir.path(), "[[logging.file]]\npath = \"gemba.log\"\n");
    let output = change_levels(&node, "gemba::kanban=debug");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    let level = |said: &str, target: &str| {
        said.lines()
            .find(|line| line.contains(target))
            .map(|line| line.split_whitespace().last().unwrap().to_owned())
    };
    assert_eq!(level(&said, "gemba::kanban").as_deref(), Some("debug"));
    assert_eq!(level(&said, "gemba::line").as_deref(), Some("info"));
    assert!(node.wait_for("levels of the log were changed").contains("a test"));
    // Who turns it down leaves a proof.
    wait_until("the receipt is in the log", || {
        let acts = node.ask("/v1/audit?type=config_change").json();
        acts["receipts"].as_array().unwrap().len() == 1
    });
    let act = &node.ask("/v1/audit?type=config_change").json()["receipts"][0];
    assert_eq!(act["reason"], "by root: a test", "{act}");
    let change = &act["facts"]["changes"][0];
    assert_eq!(change["key"], "logging.level");
    assert!(change["new"].as_str().unwrap().contains("gemba::kanban=debug"), "{act}");
    let wrong = change_levels(&node, "gemba::kanbn=debug");
    assert!(!wrong.status.success());
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("the nearest target is `gemba::kanban`"));
    // What is off is not told; a restart forgets it.
    assert!(change_levels(&node, "gemba::line=off").status.success());
    assert!(node.terminate().success());
    assert!(!node.everything_said().contains("drained"));
}

#[test]
fn handshakes_have_a_file_of_their_own_whatever_the_levels_say() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let soon = (jiff::Timestamp::now() + Duration::from_hours(10 * 24)).to_string()[..10].to_owned();
    let part = |from: usize, to: usize| soon[from..to].parse::<u8>().unwrap();
    let until = (2000 + i32::from(part(2, 4)), part(5, 7), part(8, 10));
    authority.write_until(dir.path(), "client", &["n1"], until);
    let target = Target::wrapped(|_| Does::Answer(200), served(authority.server(true)));
    let section = format!(
        "[logging]\nlevel = \"error\"\n[[logging.file]]\npath = \"tls.log\"\ncontent = \"tls\"\n\
         [[logging.file]]\npath = \"gemba.log\"\n\
         [prometheus]\nremote_write_url = \"https://{0}/hook\"\ninterval_seconds = 1\n\
         [prometheus.remote_write_tls]\nca_file = \"ca.pem\"\ncert_file = \"client.crt\"\nkey_file = \"client.key\"\n[opentelemetry]\nendpoints = [\"https://{0}\"]\ndelay_ms = 50\n",
        target.address
    );
    std::fs::write(dir.path().join("gemba.toml"), format!("[node]\nprofile = \"dev\"\n{section}")).unwrap();
    let mut command = command(dir.path());
    command.arg("serve").env("GEMBA_CONFIG", "gemba.toml");
    let _process = Process::spawn(command, PATIENCE);
    target.wait_for(1);
    let path = dir.path().join("tls.log");
    let told = |message: &str| events(&path).into_iter().find(|event| event["message"] == message);
    wait_until("the handshake is told", || told("a TLS handshake succeeded").is_some());
    let event = told("a TLS handshake succeeded").unwrap();
    assert_eq!((&event["host"], &event["protocol"]), (&"127.0.0.1".into(), &"TLSv1_3".into()), "{event}");
    let of = |event: &Value| [&event["subject"], &event["issuer"], &event["not_after"]].map(Value::clone);
    assert_eq!(of(&event), ["CN=127.0.0.1", "CN=an authority of tests", "2096-02-29T00:00:00Z"], "{event}");
    assert!(event["serial"].as_str().is_some_and(|serial| !serial.is_empty()), "{event}");
    let loaded = told("a certificate of this node was loaded").unwrap();
    let ends = format!("{soon}T00:00:00Z");
    assert_eq!(of(&loaded), ["CN=n1", "CN=an authority of tests", &ends], "{loaded}");
    let warned = told("a certificate of this node ends within 30 days, or has ended: renew it").unwrap();
    assert_eq!((of(&warned), &warned["whom"]), (of(&loaded), &"remote write".into()));
    assert!(events(&path).iter().all(|event| event["target"] == "gemba::tls"));
    assert!(events(&dir.path().join("gemba.log")).is_empty(), "the levels let nothing through");
}

#[test]
fn a_file_that_cannot_be_opened_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = "[node]\nprofile = \"dev\"\n[[logging.file]]\npath = \"missing/gemba.log\"\n";
    std::fs::write(dir.path().join("gemba.toml"), config).unwrap();
    let mut command = command(dir.path());
    let output = command.args(["serve", "--config", "gemba.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("gemba.toml:3") && said.contains("missing/gemba.log"), "{said}");
}

#[test]
fn rsyslog_takes_every_line_whole_over_every_transport() {
    let authority = Authority::new();
    let Some(rsyslog) = Rsyslog::start(&authority) else { return };
    let socket = rsyslog.socket().display().to_string();
    for (transport, address, framing) in [
        ("unix", socket, "octet-counting"),
        ("udp", format!("127.0.0.1:{}", rsyslog.udp), "octet-counting"),
        ("tcp", format!("127.0.0.1:{}", rsyslog.tcp), "octet-counting"),
        ("tcp", format!("127.0.0.1:{}", rsyslog.tcp), "lf"),
        ("tls", format!("127.0.0.1:{}", rsyslog.tls), "octet-counting"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        authority.write(dir.path(), "client", &["n1"]);
        let files = "ca_file = \"ca.pem\"\ncert_file = \"client.crt\"\nkey_file = \"client.key\"\n";
        let files = if transport == "tls" { files } else { "" };
        let app = format!("gemba-{transport}-{framing}");
        let section = format!(
            "[logging.syslog]\ntransport = \"{transport}\"\naddress = \"{address}\"\nfacility = \"local3\"\napp_name = \"{app}\"\n\
             framing = \"{framing}\"\n{files}"
        );
        let mut node = node(dir.path(), &section);
        let mut command = command(dir.path());
        command.env("GEMBA_CONFIG", "gemba.toml");
        // What looks like two lines and is one.
        command.args([
            "log",
            "level",
            "info",
            "--admin",
            &node.admin.to_string(),
            "--reason",
            "one\ntwo <13>1 three",
        ]);
        assert!(command.output().unwrap().status.success());
        assert!(node.terminate().success());
        let of = |lines: Vec<String>| -> Vec<String> {
            lines.into_iter().filter(|line| line.contains(&app)).collect()
        };
        wait_until(&app, || of(rsyslog.lines()).iter().any(|line| line.contains("drained")));
        let lines = of(rsyslog.lines());
        let start = lines.iter().find(|line| line.contains("the node takes signals")).unwrap();
        assert!(
            start.starts_with(&format!(
                "{} local3.info {app} line ",
                if transport == "unix" { "imuxsock" } else { transport }
            )),
            "{start}"
        );
        for line in &lines {
            let json = &line[line.find('{').unwrap()..];
            let event: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {line}"));
            if event["message"] == "levels of the log were changed" {
                assert_eq!(event["reason"], "one\ntwo <13>1 three");
            }
        }
        assert!(lines.iter().any(|line| line.contains("levels of the log were changed")), "{lines:#?}");
    }
}

#[test]
fn a_receiver_that_reads_nothing_costs_lines_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let section = format!("[logging.syslog]\ntransport = \"tcp\"\naddress = \"{address}\"\n");
    let mut node = node(dir.path(), &section);
    let (mut socket, _) = listener.accept().unwrap();
    let mut first = [0; 1];
    socket.read_exact(&mut first).unwrap();
    drop((socket, listener));
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    for _ in 0..5 {
        assert!(change_levels(&node, "info").status.success());
    }
    let series = "gemba_telemetry_lost_total{sink=\"syslog\",cause=\"write\"} ";
    wait_until("lines are lost", || {
        change_levels(&node, "info");
        let page = node.ask("/metrics").text();
        page.lines().any(|line| line.strip_prefix(series).is_some_and(|count| count != "0"))
    });
    assert!(node.terminate().success());
    assert!(node.everything_said().contains("the syslog receiver cannot be reached"));
}
