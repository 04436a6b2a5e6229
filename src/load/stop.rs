//! An order to end the run before its time: SIGINT or SIGTERM. What there is by then is printed and written. A second
//! one ends the process at once.

use std::io;
use std::process;
use std::thread;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::ring::Mark;

/// Why a run ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    NodeGone,
}

impl Ended {
    /// What the command ends with: what a shell makes of the signal, or input and output.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::NodeGone => 3,
        }
    }

    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::NodeGone => "the node is gone",
        }
    }
}

/// Whether to stop. All threads of a run look at it.
#[derive(Clone, Debug)]
pub struct Stop(Mark);

const INTERRUPT: u64 = 1;
const TERMINATE: u64 = 2;

impl Default for Stop {
    fn default() -> Self {
        Self(Mark::new(0))
    }
}

impl Stop {
    /// Waits for signals from now on.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let told = stop.clone();
        let wait = async move {
            loop {
                let order = tokio::select! {
                    Some(()) = interrupt.recv() => INTERRUPT,
                    Some(()) = terminate.recv() => TERMINATE,
                    else => return,
                };
                if told.is_ordered() {
                    let ended = if order == INTERRUPT { Ended::Interrupted } else { Ended::Terminated };
                    process::exit(ended.exit_code().into());
                }
                told.0.publish(order);
            }
        };
        thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait))?;
        Ok(stop)
    }

    #[cfg(test)]
    pub fn interrupt(&self) {
        self.0.publish(INTERRUPT);
    }

    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.0.read() != 0
    }

    /// For which signal.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        match self.0.read() {
            INTERRUPT => Some(Ended::Interrupted),
            TERMINATE => Some(Ended::Terminated),
            _ => None,
        }
    }
}
