//! File descriptors: connections never use those that journal and state need, and running out of them is no damage.

use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::hostile::{client, crowd};
use crate::http::{read_answer, try_exchange};
use crate::node::{Node, signal};
use crate::program::{PROGRAM, command_of, ends};
use crate::wire::{connect, send, signed};

/// A node whose limits of open files are these.
fn node_with_limits(dir: &Path, soft: u64, hard: u64) -> Node {
    let mut command = command_of("sh", dir);
    let limits = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" serve");
    command
        .args(["-c", &limits, PROGRAM])
        .env("GEMBA_KANBAN__SEGMENT_MIB", "4")
        .env("GEMBA_INGRESS__THREADS", "2")
        .env("GEMBA_RATE_LIMIT__PER_SECOND", "1000000")
        .env("GEMBA_RATE_LIMIT__BURST", "1000000");
    Node::start_command(dir, command)
}

/// A batch of about 250 KB.
fn batch(number: usize) -> Vec<u8> {
    let filler = "x".repeat(1000);
    let one = |index: usize| {
        signal(&format!("t-{number}"), "vm", &format!("b-{number}-{index}"))
            .replace("81.25", &format!("\"{filler}\""))
    };
    let signals: Vec<String> = (0..200).map(one).collect();
    format!("[{}]", signals.join(",")).into_bytes()
}

fn post_batch(node: &Node, socket: &mut TcpStream, number: usize) -> u16 {
    let body = batch(number);
    let batched = String::from_utf8(signed(node, &body)).unwrap();
    let batched = batched.replace("application/json", "application/cloudevents-batch+json");
    send(socket, batched.as_bytes());
    read_answer(socket).expect("an answer on a connection that was there before").status
}

/// Names of the journal's segments.
fn segments(node: &Node) -> Vec<String> {
    let files = std::fs::read_dir(node.file("journal")).unwrap().map(|entry| entry.unwrap().file_name());
    files.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".journal")).collect()
}

fn limit_of(node: &Node) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn open_descriptors(node: &Node) -> Vec<u64> {
    let found = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap();
    found.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn silent_connections_do_not_keep_the_journal_from_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node_with_limits(dir.path(), 1024, 1024);
    let mut honest = connect(node.ingress);
    assert_eq!(post_batch(&node, &mut honest, 0), 202);
    let before = segments(&node);
    let silent: Vec<_> = (1..=14).flat_map(|number| crowd(client(number), node.ingress, 100, b"")).collect();
    assert_eq!(silent.len(), 1400, "the kernel connects each of them");
    // As many were taken as ever will be.
    let mut open = 0;
    while open < open_descriptors(&node).len() {
        open = open_descriptors(&node).len();
        std::thread::sleep(Duration::from_millis(500));
    }
    for number in 1..=40 {
        assert_eq!(post_batch(&node, &mut honest, number), 202);
    }
    let after = segments(&node);
    assert!(after.iter().any(|name| !before.contains(name)), "no new segment: {before:?}, {after:?}");
    assert!(open_descriptors(&node).len() < 1000);
    let max = node.metric("gemba_connections_max");
    assert!((100.0..1024.0).contains(&max), "{max} connections of 1,024 descriptors");
    // They leave by their own deadline; then everybody is served again.
    let until = Instant::now() + Duration::from_mins(1);
    while node.metric("gemba_connections") > 10.0 {
        assert!(Instant::now() < until, "{} connections", node.metric("gemba_connections"));
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(silent);
    let honest = signed(&node, signal("acme", "vm", "honest").as_bytes());
    while try_exchange(node.ingress, &honest).is_none_or(|answer| answer.status != 202) {
        assert!(Instant::now() < until, "nobody is served");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(node.terminate().success());
    assert_eq!(node.everything_said().matches("waits for a descriptor").count(), 0, "the reserve was kept");
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node_with_limits(dir.path(), 64, 4096);
    assert_eq!(limit_of(&node), "4096 4096");
    assert!(node.metric("gemba_connections_max") > 3000.0);
    assert!(node.terminate().success());
}

#[test]
fn a_limit_that_leaves_too_little_stops_the_start_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command_of("sh", dir.path());
    command.args(["-c", "ulimit -n 128 && exec \"$0\" serve", PROGRAM]);
    let (code, said) = ends(command);
    assert_eq!(code, Some(2), "{said}");
    for part in ["is 128", "at least", "RLIMIT_NOFILE", "ulimit", "LimitNOFILE", "--ulimit nofile"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(!dir.path().join("data/journal").exists(), "nothing was made");
}

/// Lets the node open no file any more, until it is undone.
fn exhaust(node: &Node) -> (Rlimit, Vec<TcpStream>) {
    let pid = Pid::from_raw(node.pid().try_into().unwrap());
    let open = open_descriptors(node);
    let is_spare = |fd: &u64| {
        let link = std::fs::read_link(format!("/proc/{}/fd/{fd}", node.pid()));
        link.is_ok_and(|link| link == Path::new("/dev/null"))
    };
    let spare = open.iter().copied().filter(is_spare).max().unwrap();
    let limit = (spare + 1..4096).find(|fd| !open.contains(fd)).unwrap();
    let now = Rlimit { current: Some(limit), maximum: Some(4096) };
    let old = prlimit(pid, Resource::Nofile, now).unwrap();
    // What is free below the limit goes to connections.
    let free = || {
        let open = open_descriptors(node);
        (0..limit).filter(|fd| !open.contains(fd)).count()
    };
    let fillers = (0..free()).map(|_| connect(node.ingress)).collect();
    let until = Instant::now() + Duration::from_secs(5);
    while free() > 0 {
        assert!(Instant::now() < until, "{} descriptors are free", free());
    }
    (old, fillers)
}

#[test]
fn without_a_descriptor_connections_are_refused_and_files_wait() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node_with_limits(dir.path(), 4096, 4096);
    let mut honest = connect(node.ingress);
    assert_eq!(post_batch(&node, &mut honest, 0), 202);
    let pid = Pid::from_raw(node.pid().try_into().unwrap());
    for address in [node.ingress, node.admin] {
        let (old, mut fillers) = exhaust(&node);
        let (mut closed, mut taken) = (0, 0);
        while closed < 20 {
            let mut refused = connect(address);
            refused.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            // An end or a reset; a connection that nobody takes from the queue would wait.
            match refused.read(&mut [0]) {
                Ok(0) => closed += 1,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => closed += 1,
                // A file that was open for a moment has left its descriptor to this one.
                waits => {
                    taken += 1;
                    assert!(taken < 4, "{address} leaves connections standing: {waits:?}");
                    fillers.push(refused);
                }
            }
        }
        // A file of the node waits 10 s at most.
        prlimit(pid, Resource::Nofile, old).unwrap();
    }
    let (old, fillers) = exhaust(&node);
    let posting = std::thread::scope(|scope| {
        let posting =
            scope.spawn(|| (1..=40).map(|number| post_batch(&node, &mut honest, number)).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_secs(2));
        prlimit(pid, Resource::Nofile, old).unwrap();
        posting.join().unwrap()
    });
    assert!(posting.iter().all(|status| *status == 202), "{posting:?}");
    node.wait_for("waits for a descriptor");
    drop(fillers);
    assert_eq!(node.post("application/json", signal("acme", "vm", "honest").as_bytes()).status, 202);
    assert!(node.terminate().success());
}
