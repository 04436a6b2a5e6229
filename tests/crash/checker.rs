//! Calls the checker, a program of its own, on the directory of a node that has ended: the oracles O1–O10 over
//! everything that it left, beside what its clients were told.

use std::process::Command;

use crate::checker_program::checker;
use crate::node::Home;

/// Looks at a node that ended in order.
///
/// # Errors
/// What the checker found.
pub fn check(home: &Home, clients: &str) -> Result<(), String> {
    let log = home.dir.join("clients.log");
    std::fs::write(&log, clients).unwrap();
    let mut command = Command::new(checker());
    command.arg(home.data()).arg(&log).arg("--ended");
    for secret in ["signals.secret", "admin.token", "receipt.secret", "log.key"] {
        command.arg("--secret").arg(home.data().join(secret));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("crash: checker: {}", said.trim_end());
    if output.status.success() { Ok(()) } else { Err(format!("the checker: {said}")) }
}
