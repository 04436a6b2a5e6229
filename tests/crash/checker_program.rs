//! The checker of this tree; a test binary alone would not build it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Where it is, once it is built.
pub fn checker() -> PathBuf {
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
