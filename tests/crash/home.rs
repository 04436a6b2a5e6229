//! The directory of a node that may die at any moment and is started again on what it left.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::node::Node;
use crate::program::{Dead, PROGRAM, Process, bare};

/// What has not happened by then is a failure: a start, an end, the decision on what was accepted.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What a node is kept in: `gemba.toml`, `policy.toml`, `data`, and a file for the lines of its actions, one per start.
pub struct Home {
    pub dir: PathBuf,
    data: PathBuf,
    /// As many signals that were acked last are found by their ids.
    pub memory: u64,
    variables: Vec<(String, String)>,
    starts: usize,
}

impl Home {
    /// `tail` is added to the configuration file.
    pub fn new(dir: &Path, tail: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("gemba.toml"), format!("{CONFIGURATION}{tail}")).unwrap();
        std::fs::write(dir.join("policy.toml"), POLICY).unwrap();
        Self {
            dir: dir.to_owned(),
            data: dir.join("data"),
            memory: u64::MAX,
            variables: Vec::new(),
            starts: 0,
        }
    }

    /// Every later start has this variable.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// The data is kept elsewhere.
    pub fn with_data(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn secret(&self, name: &str) -> String {
        std::fs::read_to_string(self.data.join(name)).unwrap().trim_end().to_owned()
    }

    /// Files with the lines of the `log` action, oldest first.
    pub fn actions(&self) -> Vec<PathBuf> {
        (1..=self.starts).map(|start| self.dir.join(format!("actions-{start}"))).collect()
    }

    /// Starts a process, by `wrapper` if there is one: a program that runs the command behind its own arguments.
    pub fn spawn(&mut self, fault: Option<&str>, wrapper: &[&str]) -> Process {
        self.starts += 1;
        let mut command = match wrapper {
            [] => bare(PROGRAM, &self.dir),
            [wrapper, arguments @ ..] => {
                let mut command = bare(wrapper, &self.dir);
                command.args(arguments).arg(PROGRAM);
                command
            }
        };
        command.env("GEMBA_GOVERNOR__QUOTA", QUOTA);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(fault) = fault {
            command.env("GEMBA_FAULT", fault);
        }
        let actions = File::create(self.dir.join(format!("actions-{}", self.starts))).unwrap();
        command.args(["serve", "--config", "gemba.toml", "--data-dir"]).arg(&self.data).stdout(actions);
        Process::spawn(command, PATIENCE)
    }

    /// The same, until it takes signals.
    ///
    /// # Errors
    /// When it ended before.
    pub fn try_start(&mut self, fault: Option<&str>, wrapper: &[&str]) -> Result<Node, Dead> {
        self.spawn(fault, wrapper).ready(&self.dir, &self.data)
    }

    /// Starts a node and waits until it takes signals.
    pub fn start(&mut self) -> Node {
        self.try_start(None, &[]).unwrap_or_else(|dead| panic!("the node did not start: {dead:?}"))
    }
}

/// Actions in a governor's window: more than the clients ask for.
const QUOTA: &str = "1000000";

/// Any free port; a low mark that the harness's machine does not reach; segments small enough to be left.
const CONFIGURATION: &str = r#"
[node]
profile = "dev"
[ingress]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[rate_limit]
per_second = 1000000
[[source]]
name = "signals"
scheme = "hmac"
tolerance_seconds = 1
[[action]]
name = "audit"
kind = "log"
[policy]
packs = ["policy.toml"]
[kanban]
segment_mib = 4
"#;

/// Acts on each permission change, and remembers something of every signal.
const POLICY: &str = r#"
name = "crash"
[memory]
seen = { kind = "count", window_seconds = 3600 }
[[rule]]
id = "permission-change"
types = ["permission.change"]
when = "memory.seen >= 1.0"
decide = "act"
action = "audit"
reason = "permissions are watched"
"#;
