//! A progress bar on standard error, for commands that take longer than two seconds on a terminal.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::ProgressBar;

use crate::clock::{self, Instant};

const SHOWN_AFTER: Duration = Duration::from_secs(2);

/// Counts up to a total.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    total: u64,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new(total: u64) -> Self {
        Self { begun: clock::now(), total, done: 0, bar: None }
    }

    pub fn advance(&mut self) {
        self.done += 1;
        if self.bar.is_none() && clock::now() - self.begun >= SHOWN_AFTER && io::stderr().is_terminal() {
            self.bar = Some(ProgressBar::new(self.total));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        }
    }

    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
