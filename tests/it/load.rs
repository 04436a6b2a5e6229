//! `gemba load` when something comes between: a signal, a node that dies, a directory that cannot be written. What was
//! measured is printed and written, and the exit code says why the run ended.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::node::{Node, PATIENCE};
use crate::program::{PROGRAM, command, command_of, ends};
use crate::signals::{hears, wait_until};

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

/// The same run with the default action for SIGHUP, which the tests may have inherited as ignored.
fn hearing_hangups(load: &Command) -> Command {
    let mut command = command_of("env", load.get_current_dir().unwrap());
    command.arg("--default-signal=HUP").arg(load.get_program()).args(load.get_args()).stdout(Stdio::piped());
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

/// Lets nobody else read a file.
fn private(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn has_report(dir: &Path) -> bool {
    let page = std::fs::read_to_string(dir.join("index.html")).unwrap_or_default();
    page.contains("ended early") && dir.join("latency.hgrm").exists()
}

#[test]
fn a_signal_ends_a_run_and_what_there_is_is_printed_and_written() {
    for (name, code, why) in
        [("INT", 130, "interrupted"), ("TERM", 143, "terminated"), ("HUP", 129, "hung_up")]
    {
        // Its counters lag: one that an earlier run had used may still count that run's signals.
        let node = Node::start();
        let run = load(&node, &[&LONG[..], &["--verify", "--report", why]].concat());
        let run = spawned(hearing_hangups(&run));
        wait_for_signals(&node);
        signal(&run, name);
        let (exit, summary, said) = ended(run);
        assert_eq!((exit, &summary["ended_early"]), (Some(code), &why.into()), "{said}");
        assert!(summary["signals"]["accepted"].as_u64().unwrap() >= 20, "{summary}");
        assert!(summary["seconds"].as_f64().unwrap() < 60.0, "{summary}");
        assert_eq!(summary["requests"]["unsent"], 0, "{summary}");
        assert!(has_report(&node.dir.join(why)));
        assert!(said.contains(&format!("the run was {}", why.replace('_', " "))), "{said}");
    }
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let mut node = Node::start();
    let mut run = spawned(load(&node, &LONG));
    wait_for_signals(&node);
    // The node answers nothing now, so that the first signal has something to wait for.
    node.signal("STOP");
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    // Two that come before the run looks are one to it, as the system has it.
    while run.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        signal(&run, "INT");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (exit, _, said) = ended(run);
    assert_eq!(exit, Some(130), "{said}");
    node.signal("CONT");
    node.terminate();
}

#[test]
fn a_signal_ends_the_wait_for_a_node_too() {
    let mut node = Node::start();
    node.kill();
    let run = spawned(load(&node, &LONG));
    wait_until("signals are heard", || hears(run.id()));
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
    std::fs::write(node.dir.join("wrong.token"), "a-token-that-nobody-has-given").unwrap();
    std::fs::write(node.dir.join("file"), "text").unwrap();
    private(&node.dir.join("wrong.token"));
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

/// As a terminal that is gone leaves a run: nobody takes what it says.
#[test]
fn a_run_whose_terminal_is_gone_writes_its_report() {
    let node = Node::start();
    let mut command = hearing_hangups(&load(&node, &[&LONG[..], &["--report", "out"]].concat()));
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = spawned({
        command.stdout(full()).stderr(full());
        command
    });
    wait_for_signals(&node);
    signal(&run, "HUP");
    let (exit, _, _) = ended(run);
    assert_eq!(exit, Some(3), "standard output took nothing");
    assert!(has_report(&node.dir.join("out")));
}

#[test]
fn a_run_that_was_started_to_outlive_its_terminal_does() {
    let node = Node::start();
    let load = load(&node, &["--duration", "3"]);
    let mut command = Command::new("sh");
    command.current_dir(&node.dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(load.get_program()).args(load.get_args());
    let run = spawned(command);
    wait_for_signals(&node);
    signal(&run, "HUP");
    let (exit, summary, said) = ended(run);
    assert_eq!((exit, &summary["ended_early"]), (Some(0), &serde_json::Value::Null), "{said}");
}

/// A limit on the size of files stands for a disk that is full.
#[test]
fn a_log_that_cannot_be_written_ends_the_run_at_once_with_what_there_is() {
    for protocol in ["h1", "h2"] {
        let node = Node::start_with(&[
            ("GEMBA_RATE_LIMIT__PER_SECOND", "1000000"),
            ("GEMBA_RATE_LIMIT__BURST", "1000000"),
        ]);
        let more = ["--verify", "--report", "out", "--accepted-log", "out.log", "--protocol", protocol];
        let load = load(&node, &[&LONG[..], &more].concat());
        let mut command = Command::new("sh");
        command.current_dir(&node.dir).stdout(Stdio::piped()).stderr(Stdio::piped());
        // 64 KiB: the report fits, the log does not.
        command.args(["-c", "ulimit -f 128; exec \"$@\"", "sh"]).arg(load.get_program()).args(
            load.get_args().map(|flag| if flag == "200" { std::ffi::OsStr::new("3000") } else { flag }),
        );
        let mut run = spawned(command);
        let mut said = BufReader::new(run.stderr.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        assert!(
            first.contains("cannot write the log out.log: ") && first.contains("the run ends"),
            "{first}"
        );
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        let (exit, summary, _) = ended(run);
        assert_eq!((exit, &summary["ended_early"]), (Some(3), &"log_failed".into()), "{rest}");
        assert!(summary["signals"]["accepted"].as_u64().unwrap() > 100, "{summary}");
        assert!(summary["seconds"].as_f64().unwrap() < 60.0, "{summary}");
        assert!(has_report(&node.dir.join("out")));
        assert!(rest.contains("cannot write the log out.log: "), "{rest}");
    }
}

#[test]
fn files_that_have_no_end_are_refused_and_pipes_not_waited_for() {
    let node = Node::start();
    let file = |name: &str| node.dir.join(name);
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(file("fifo")).status().unwrap().success());
    std::fs::create_dir(file("pipes")).unwrap();
    assert!(Command::new("mkfifo").arg(file("pipes/index.html")).status().unwrap().success());
    std::fs::write(file("large"), "x".repeat(5000)).unwrap();
    std::fs::write(file("open"), "0123456789abcdef0123456789abcdef\n").unwrap();
    private(&file("large"));
    std::fs::set_permissions(file("open"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (url, admin) = (format!("http://{}", node.ingress), format!("http://{}", node.admin));
    for (flag, path, code, why) in [
        ("--secret-file", "fifo", 2, "not a regular file"),
        ("--secret-file", "/dev/zero", 2, "not a regular file"),
        ("--secret-file", "large", 2, "longer than"),
        ("--secret-file", "open", 2, "mode 0644"),
        ("--admin-token-file", "fifo", 2, "not a regular file"),
        ("--admin-token-file", "/dev/zero", 2, "not a regular file"),
        ("--admin-token-file", "large", 2, "longer than"),
        ("--accepted-log", "fifo", 3, "not a regular file"),
        ("--report", "pipes", 3, "not a regular file"),
    ] {
        let mut run = command(&node.dir);
        run.args([
            "load",
            "--url",
            &url,
            "--admin-url",
            &admin,
            "--duration",
            "1",
            "--rate",
            "10",
            "--verify",
        ]);
        run.args([flag, path]);
        let (exit, said) = ends(run);
        assert!(
            exit == Some(code) && said.contains(why) && said.contains(path),
            "{flag} {path}: {exit:?} {said}"
        );
    }
    // Without a bound, each of these would take all memory that there is.
    for (args, code) in [
        (&["sign", "/dev/zero"][..], 2),
        (&["policy", "check", "/dev/zero"], 3),
        (&["config", "check", "/dev/zero"], 2),
        (&["status", "--token-file", "/dev/zero"], 2),
        (&["status", "--token-file", "fifo"], 2),
    ] {
        let mut run = command(&node.dir);
        run.args(args);
        let (exit, said) = ends(run);
        assert!(exit == Some(code), "{args:?}: {exit:?} {said}");
    }
    // What a shell puts together comes through a pipe.
    let pack = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policies/cost_governance.toml");
    let packs = concat!("\"", env!("CARGO_MANIFEST_DIR"), "/config/policies");
    let config = include_str!("../../config/dev.toml").replace("\"config/policies", packs);
    std::fs::write(file("gemba.toml"), config).unwrap();
    let pipe = |given: &str, args: &str| {
        let mut run = Command::new("sh");
        run.current_dir(&node.dir).env("GEMBA_NODE__PROFILE", "dev");
        run.args(["-c", &format!("cat '{given}' | \"$0\" {args} /dev/stdin"), PROGRAM]);
        ends(run)
    };
    for (given, args) in [("gemba.toml", "sign"), (pack, "policy check"), ("gemba.toml", "config check")] {
        let (exit, said) = pipe(given, args);
        assert_eq!(exit, Some(0), "{args}: {said}");
    }
}

#[test]
fn what_the_node_does_not_know_is_told_with_what_to_do() {
    let node = Node::start();
    std::fs::write(node.dir.join("other"), "0123456789abcdef0123456789abcdef").unwrap();
    private(&node.dir.join("other"));
    let (url, admin) = (format!("http://{}", node.ingress), format!("http://{}", node.admin));
    let signals = node.file("signals.secret");
    let signals = signals.to_str().unwrap();
    for (flags, why) in [
        (["--secret-file", "other", "--source", "signals"], "every answer was 401"),
        (["--secret-file", signals, "--source", "none"], "every answer was 404"),
    ] {
        let mut run = command(&node.dir);
        run.args(["load", "--url", &url, "--duration", "1", "--rate", "10"]).args(flags);
        let (exit, said) = ends(run);
        assert!(exit == Some(1) && said.contains(why), "{flags:?}: {exit:?} {said}");
    }
    for (token, code, why) in
        [("other", 3, "it does not know this token"), ("missing", 2, "of a token of the node")]
    {
        let mut status = command(&node.dir);
        status.args(["status", "--admin", &admin, "--token-file", token]);
        let (exit, said) = ends(status);
        assert!(
            exit == Some(code) && said.contains(why) && !said.contains("openssl"),
            "{token}: {exit:?} {said}"
        );
    }
    // A client whose configuration keeps the token in a variable, and one that signs without the node's secret.
    let kept = "[node]\nprofile = \"dev\"\n[[admin.token]]\nname = \"root\"\nrole = \"admin\"\ntoken_env = \"GEMBA_OPS_TOKEN\"\n";
    std::fs::write(node.dir.join("kept.toml"), kept).unwrap();
    for (words, token, code, why) in [
        (
            &["status", "--config", "kept.toml", "--admin", &admin][..],
            None,
            2,
            "set GEMBA_OPS_TOKEN to what the node has",
        ),
        (&["status", "--config", "kept.toml", "--admin", &admin], Some(node.secret("admin.token")), 0, ""),
        (&["sign", "--data-dir", "elsewhere"], None, 2, "the node's configuration and directory"),
    ] {
        let mut client = command(&node.dir);
        client.args(words).envs(token.map(|token| ("GEMBA_OPS_TOKEN", token)));
        let (exit, said) = ends(client);
        assert!(
            exit == Some(code) && said.contains(why) && !said.contains("openssl"),
            "{words:?}: {exit:?} {said}"
        );
    }
    // An empty variable is not set.
    let mut check = command(&node.dir);
    check.args(["policy", "check"]).env("GEMBA_CONFIG", "");
    assert_eq!(ends(check).0, Some(0));
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
