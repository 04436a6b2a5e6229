//! What ends a run before its time: SIGINT, SIGTERM or SIGHUP, or a log that cannot be written any more. What there is
//! by then is printed and written. A second signal ends the process at once.

use std::io;
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::LoadError;
use crate::diagnostics;
use crate::ring::Mark;

/// Why a run ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP: the terminal is gone.
    HungUp,
    NodeGone,
    /// The log cannot be written.
    LogFailed,
}

impl Ended {
    /// What the command ends with: what a shell makes of the signal, or input and output.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::NodeGone | Self::LogFailed => 3,
        }
    }

    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::HungUp => "hung up",
            Self::NodeGone => "the node is gone",
            Self::LogFailed => "the log cannot be written",
        }
    }
}

/// Whether to stop. All threads of a run look at it.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The signal that came.
    signal: Mark,
    log_failure: Arc<OnceLock<LoadError>>,
}

const INTERRUPT: u64 = 1;
const TERMINATE: u64 = 2;
const HANG_UP: u64 = 3;

fn ended_by(signal: u64) -> Option<Ended> {
    match signal {
        INTERRUPT => Some(Ended::Interrupted),
        TERMINATE => Some(Ended::Terminated),
        HANG_UP => Some(Ended::HungUp),
        _ => None,
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Mark::new(0), log_failure: Arc::default() }
    }
}

impl Stop {
    /// Waits for signals from now on.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate, mut hang_up, beyond_file_size) = {
            let _inside = runtime.enter();
            // `nohup` has a run go on after its terminal.
            let hang_up = if hang_up_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
            // A write beyond a limit on the size of files then fails with EFBIG; uncaught, the signal kills without a word.
            let beyond = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hang_up, signal(beyond)?)
        };
        let told = stop.clone();
        let wait = async move {
            let _caught = beyond_file_size;
            loop {
                let order = tokio::select! {
                    Some(()) = interrupt.recv() => INTERRUPT,
                    Some(()) = terminate.recv() => TERMINATE,
                    Some(()) = came(hang_up.as_mut()) => HANG_UP,
                    else => return,
                };
                if let Some(ended) = ended_by(order).filter(|_| told.signal.read() != 0) {
                    process::exit(ended.exit_code().into());
                }
                told.signal.publish(order);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait))?;
        Ok(stop)
    }

    #[cfg(test)]
    pub fn interrupt(&self) {
        self.signal.publish(INTERRUPT);
    }

    /// Ends the run because its log cannot be written, and says so at once.
    pub fn log_failed(&self, error: LoadError) {
        let line = format!("{error}; the run ends");
        if self.log_failure.set(error).is_ok() {
            diagnostics::say(&line);
        }
    }

    #[must_use]
    pub fn log_failure(&self) -> Option<&LoadError> {
        self.log_failure.get()
    }

    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.ended().is_some()
    }

    /// What for. A log that is not whole is told before a signal.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.log_failure().map(|_| Ended::LogFailed).or_else(|| ended_by(self.signal.read()))
    }
}

async fn came(signal: Option<&mut Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether the process was started with SIGHUP ignored, as by `nohup`.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
    // Signal N is bit N - 1.
    ignored & 1 == 1
}
