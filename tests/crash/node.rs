//! A node in a directory of its own, which may die at any moment and is started again on what it left.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

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

    /// Starts a node, by `wrapper` if there is one: a program that runs the command behind its own arguments.
    pub fn spawn(&mut self, fault: Option<&str>, wrapper: &[&str]) -> Starting {
        self.starts += 1;
        let program = env!("CARGO_BIN_EXE_gemba");
        let mut command = match wrapper {
            [] => Command::new(program),
            [wrapper, arguments @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GEMBA_")) {
            command.env_remove(name);
        }
        command.env("GEMBA_GOVERNOR__QUOTA", QUOTA);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(fault) = fault {
            command.env("GEMBA_FAULT", fault);
        }
        let actions = File::create(self.dir.join(format!("actions-{}", self.starts))).unwrap();
        command
            .args(["serve", "--config", "gemba.toml", "--data-dir"])
            .arg(&self.data)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(actions)
            .stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens any more when the node was killed.
                let _over = sender.send(line);
            }
        });
        Starting { child: Reaped(child), lines, said: Vec::new(), begun }
    }

    /// Starts a node and waits until it takes signals.
    pub fn start(&mut self) -> Node {
        self.spawn(None, &[]).ready().unwrap_or_else(|dead| panic!("the node did not start: {dead:?}"))
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

/// A child that does not outlive its owner.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// A node that does not take signals yet.
pub struct Starting {
    child: Reaped,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
    begun: Instant,
}

/// How a process ended, and what it said.
#[derive(Debug)]
pub struct Dead {
    pub status: Option<ExitStatus>,
    pub said: Vec<String>,
}

impl Dead {
    /// It ended at the point that it was told to end at.
    pub fn at_point(&self) -> bool {
        const SIGABRT: i32 = 6;
        self.status.is_some_and(|status| status.signal() == Some(SIGABRT))
            && self.said.iter().any(|line| line.starts_with("fault K"))
    }

    pub fn killed(&self) -> bool {
        const SIGKILL: i32 = 9;
        self.status.is_some_and(|status| status.signal() == Some(SIGKILL))
    }
}

impl Starting {
    /// # Errors
    /// When it ended before it took signals.
    pub fn ready(mut self) -> Result<Node, Dead> {
        let until = self.begun + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { return Err(self.dead()) };
            self.said.push(line.clone());
            if !line.contains("the node takes signals") {
                continue;
            }
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            let address = |plane: &str| {
                event[plane].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
            };
            let (ingress, admin) = (address("signals"), address("operators"));
            let recovery = self.begun.elapsed();
            return Ok(Node { ingress, admin, recovery, starting: self });
        }
    }

    /// Kills it `after` it was started, whatever it does then.
    pub fn kill(mut self, after: Duration) -> Dead {
        std::thread::sleep(after.saturating_sub(self.begun.elapsed()));
        // It may have ended already.
        let _killed = self.child.0.kill();
        self.dead()
    }

    /// Waits for its end, and takes what it said until then.
    fn dead(&mut self) -> Dead {
        let until = Instant::now() + PATIENCE;
        let mut status = None;
        while status.is_none() && Instant::now() < until {
            status = self.child.0.try_wait().unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.said.extend(self.lines.iter());
        Dead { status, said: std::mem::take(&mut self.said) }
    }
}

/// A node that takes signals.
pub struct Node {
    pub ingress: SocketAddr,
    pub admin: SocketAddr,
    /// From the start of the process until it took signals.
    pub recovery: Duration,
    starting: Starting,
}

impl Node {
    /// SIGKILL.
    pub fn kill(self) -> Dead {
        self.starting.kill(Duration::ZERO)
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self) -> Dead {
        let pid = self.starting.child.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        self.starting.dead()
    }

    pub fn is_alive(&mut self) -> bool {
        self.starting.child.0.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Dead {
        self.starting.dead()
    }
}
