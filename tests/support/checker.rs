//! The checker of this tree, a program of its own: the oracles O1 to O10 over everything that a node left that ended in
//! order, beside what its clients were told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::program::PROGRAM;

/// Where it is, once it is built; a test program alone would not build it.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
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
        Path::new(PROGRAM).with_file_name("examples").join("checker")
    })
}

/// Holds the oracles to `data` and what its clients say, which is written to `log`. What stands in `secrets` must stand in no
/// other file.
///
/// # Errors
/// What the checker found.
pub fn check(data: &Path, log: &Path, clients: &str, secrets: &[&str]) -> Result<(), String> {
    std::fs::write(log, clients).unwrap();
    let mut command = Command::new(program());
    command.arg(data).arg(log).arg("--ended");
    for secret in secrets {
        command.arg("--secret").arg(data.join(secret));
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    println!("checker: {}", said.trim_end());
    if output.status.success() { Ok(()) } else { Err(format!("the checker: {said}")) }
}
