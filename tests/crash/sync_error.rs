//! A sync that fails, told by the kernel's own answer (`strace` injects EIO): the node stops, answers nothing of that
//! batch, and never syncs that file again, since the next sync would say yes without the data (fsyncgate).

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::home::Home;
use crate::program::Dead;
use crate::rng::Rng;
use crate::traffic::Clients;
use crate::verify;

fn strace_works() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped: strace does not work here, so no sync can be made to fail");
    }
    works
}

/// What the trace says of syncs of the file that failed: those that failed, and those that came after.
fn syncs_after_failure(trace: &Path) -> (usize, usize) {
    let text = std::fs::read_to_string(trace).unwrap();
    let syncs: Vec<&str> =
        text.lines().filter(|line| line.contains("fdatasync(") || line.contains("fsync(")).collect();
    let failed = |line: &&str| line.contains("(INJECTED)");
    let first = syncs.iter().position(failed).unwrap_or(syncs.len());
    let later = syncs.iter().skip(first + 1);
    (syncs.iter().copied().filter(|line| failed(line)).count(), later.count())
}

/// Lets the `when`-th sync of `file` fail, and looks at what the node does and the next one finds.
fn fails(file: &str, when: usize) {
    let owned = tempfile::tempdir().unwrap();
    let mut home = Home::new(owned.path(), "");
    home.start().terminate();
    let clients = Clients::new(&home.secret("signals.secret"));
    let (trace, path) = (owned.path().join("trace"), home.data().join(file));
    // -D: strace is the child, so that the node can be waited for and killed.
    let inject = format!("inject=fdatasync:error=EIO:when={when}");
    let wrapper = ["strace", "-D", "-f", "-e", "trace=fdatasync,fsync", "-e", &inject];
    let paths = ["-P", path.to_str().unwrap(), "-o", trace.to_str().unwrap()];
    let mut node = home.try_start(None, &[&wrapper[..], &paths].concat()).unwrap();

    let stop = AtomicBool::new(false);
    let (at, mut rng) = (node.ingress, Rng::new(7));
    let dead = std::thread::scope(|scope| {
        scope.spawn(|| clients.drive(at, &mut rng, &stop));
        let until = Instant::now() + Duration::from_mins(1);
        while !node.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let alive = !node.has_ended();
        let dead = if alive { node.killed() } else { node.dead() };
        stop.store(true, Ordering::Relaxed);
        assert!(!alive, "it never ended: {dead:?}");
        dead
    });
    ended_by_the_error(&dead);
    let (failed, later) = syncs_after_failure(&trace);
    assert_eq!((failed, later), (1, 0), "syncs of {file} that failed, and that came after");

    let node = home.start();
    assert!(verify::resend(&clients, &node).is_ok(), "the node went away");
    assert!(verify::decided(&clients, &node, &home.secret("admin.token"), u64::MAX).is_ok());
    assert!(node.terminated().status.is_some_and(|status| status.success()));
    verify::actions(&home, &clients.ledger);
    assert_eq!(clients.ledger.violations(), Vec::<String>::new());
}

fn ended_by_the_error(dead: &Dead) {
    assert_eq!(dead.status.and_then(|status| status.code()), Some(3), "{dead:?}");
    assert!(dead.said.iter().any(|line| line.contains("Input/output error")), "{dead:?}");
}

#[test]
fn a_journal_that_cannot_sync_stops_the_node() {
    if strace_works() {
        fails("journal/0000000000000000.journal", 20);
    }
}

#[test]
fn a_log_that_cannot_sync_stops_the_node() {
    if strace_works() {
        fails("log/0000000000000000.log", 3);
    }
}
