//! A process of the program: what it says, and how it ends. Nobody's process outlives its owner.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::node::{Node, READY};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_gemba");

pub struct Process {
    child: Child,
    lines: Mutex<mpsc::Receiver<String>>,
    said: Vec<String>,
    begun: Instant,
    /// What has not happened by then never will: a start, a line, an end.
    patience: Duration,
}

/// How a process ended, if it did, and what it said.
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

impl Process {
    /// Where its standard error is a pipe, its lines are kept.
    pub fn spawn(mut command: Command, patience: Duration) -> Self {
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        // The command holds its end of a pipe.
        drop(command);
        let (sender, lines) = mpsc::channel();
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    // Nobody listens any more only when the test is over.
                    let _over = sender.send(line);
                }
            });
        }
        Self { child, lines: Mutex::new(lines), said: Vec::new(), begun, patience }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Since it was started.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for a line that has `words` in it; `None` where it has ended without one, or never comes to it.
    pub fn wait_for(&mut self, words: &str) -> Option<String> {
        let until = Instant::now() + self.patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.get_mut().unwrap().recv_timeout(left).ok()?;
            self.said.push(line.clone());
            if line.contains(words) {
                return Some(line);
            }
        }
    }

    /// The lines so far that somebody waited for, or that came before those.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// All of standard error, once the process has ended.
    pub fn everything_said(&mut self) -> &[String] {
        self.said.extend(self.lines.get_mut().unwrap().iter());
        &self.said
    }

    /// The node that it becomes.
    ///
    /// # Errors
    /// When it ended before it took signals.
    pub fn ready(mut self, dir: &Path, data: &Path) -> Result<Node, Dead> {
        match self.wait_for(READY) {
            Some(line) => Ok(Node::of(self, &line, dir, data)),
            None => Err(self.dead()),
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// SIGKILL, unless it has ended.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Kills it `after` it was started, whatever it does then.
    pub fn killed(mut self, after: Duration) -> Dead {
        std::thread::sleep(after.saturating_sub(self.age()));
        self.kill();
        self.dead()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end; `None` where it does not come.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + self.patience;
        loop {
            let status = self.child.try_wait().unwrap();
            if status.is_some() || Instant::now() >= until {
                return status;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end, and takes what it said until then.
    pub fn dead(&mut self) -> Dead {
        let status = self.ended();
        if status.is_some() {
            self.everything_said();
        }
        Dead { status, said: self.said.clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What should have ended has not by then.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

/// A command, and how it ends: what waits for a file that never comes fails the test.
pub fn ends(mut command: Command) -> (Option<i32>, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + ENDS_WITHIN;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= until {
            child.kill().unwrap();
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// A program that is ours or runs ours, in `dir`, with nothing of the caller's environment that concerns it.
pub fn bare(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        if shown.starts_with("GEMBA_") || shown.starts_with("TAI2030_") {
            command.env_remove(name);
        }
    }
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Our program in `dir`, on free ports.
pub fn command(dir: &Path) -> Command {
    command_of(PROGRAM, dir)
}

/// The same for a program that runs it.
pub fn command_of(program: &str, dir: &Path) -> Command {
    let mut command = bare(program, dir);
    command
        .env("GEMBA_INGRESS__LISTEN", "127.0.0.1:0")
        .env("GEMBA_ADMIN__LISTEN", "127.0.0.1:0")
        .env("GEMBA_KANBAN__LOW_WATER_MIB", "1")
        // The table of identities is touched at random: a large one would hide what a test looks for in memory.
        .env("GEMBA_DEDUP__SIGNALS", "20000");
    command
}
