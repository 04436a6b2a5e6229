//! Calls the checker, a program of its own, on the directory of a node that has ended: the oracles O1–O10 over
//! everything that it left, beside what its clients were told.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::node::Home;

/// The checker of this tree; `cargo test --test crash` alone would not build it.
fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--locked", "--quiet", "--example", "checker"]);
        if cfg!(feature = "faults") {
            command.args(["--features", "faults"]);
        }
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(command.status().unwrap().success(), "the checker could not be built");
        PathBuf::from(env!("CARGO_BIN_EXE_gemba")).with_file_name("examples").join("checker")
    };
    BUILT.get_or_init(build).clone()
}

/// Looks at a node that ended in order.
///
/// # Errors
/// What the checker found.
pub fn check(home: &Home, clients: &str) -> Result<(), String> {
    let log = home.dir.join("clients.log");
    std::fs::write(&log, clients).unwrap();
    let mut command = Command::new(program());
    command.arg(home.data()).arg(&log).arg("--ended");
    for secret in ["signals.secret", "admin.token", "receipt.secret", "log.key"] {
        command.arg("--secret").arg(home.data().join(secret));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("crash: checker: {}", said.trim_end());
    if output.status.success() { Ok(()) } else { Err(format!("the checker: {said}")) }
}
