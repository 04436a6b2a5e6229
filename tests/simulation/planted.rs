//! Does the alarm work? Each bug is planted in the program, one at a time, and the seeds must find it. The plant is read
//! from the environment once, so each bug gets a process of its own: this test binary again.

use std::path::Path;
use std::process::Command;

use crate::{on_every_core, plan};

/// The bugs of `reliability.md`, 3.3, that this harness can meet, and some of the line's own.
const BUGS: [&str; 19] = [
    "ack-before-sync",
    "skip-dir-sync",
    "parents-unsynced",
    "dedup-off",
    "seq-restarts",
    "trim-not-synced",
    "interior-rot-trimmed",
    "retry-failed-sync",
    "journal-trusts-cache",
    "log-trusts-cache",
    "receipt-lost",
    "state-before-receipt",
    "log-size-ahead",
    "order-swapped",
    "rules-without-barrier",
    "rows-by-number",
    "dead-letter-lost",
    "waiting-row-kept",
    "stamped-by-wall",
];

/// What a process says of the bug that is planted in it.
const FOUND: &str = "planted bug found: ";

#[test]
fn every_planted_bug_is_found() {
    let program = std::env::current_exe().unwrap();
    let findings = on_every_core(&BUGS, |bug| {
        let finding = finding(&program, bug);
        println!("{bug}: {}", finding.as_deref().unwrap_or("NOT FOUND"));
        finding
    });
    let found = findings.iter().flatten().count();
    println!("planted {} / found {found}", BUGS.len());
    assert_eq!(found, BUGS.len());
}

/// What a process says in which the bug is planted.
fn finding(program: &Path, bug: &str) -> Option<String> {
    let mut child = Command::new(program);
    child.args(["planted::hunt", "--exact", "--ignored", "--nocapture"]).env("GEMBA_PLANT", bug);
    let output = child.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    told.lines().find_map(|line| line.split_once(FOUND)).map(|(_, finding)| finding.to_owned())
}

/// Runs seeds until one fails; for [`every_planted_bug_is_found`].
#[test]
#[ignore = "a planted bug is needed"]
fn hunt() {
    for seed in plan::seeds() {
        if let Err(found) = crate::run(seed) {
            println!("{FOUND}seed {seed}: {}", found.what);
            return;
        }
    }
}
