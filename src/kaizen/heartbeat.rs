//! Whether threads turn: each notes once a second that it came round.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::ring::Mark;

/// One thread's own half.
#[derive(Debug)]
pub struct Heartbeat {
    beat: Arc<HeartbeatView>,
    noted: Option<Instant>,
}

/// What others see of it.
#[derive(Debug)]
pub struct HeartbeatView {
    thread: OnceLock<Box<str>>,
    /// When it came round last, by [`clock::millis`].
    at: Mark,
}

/// A thread notes at most so often that it came round.
const EVERY: Duration = Duration::from_millis(500);

impl Heartbeat {
    #[must_use]
    pub(super) fn new() -> Self {
        Self { beat: Arc::new(HeartbeatView { thread: OnceLock::new(), at: Mark::new(0) }), noted: None }
    }

    pub(super) fn beat(&self) -> Arc<HeartbeatView> {
        Arc::clone(&self.beat)
    }

    /// The thread comes round.
    pub fn turn(&mut self, now: Instant) {
        if self.noted.is_some_and(|noted| now.saturating_duration_since(noted) < EVERY) {
            return;
        }
        self.noted = Some(now);
        self.beat.thread.get_or_init(|| std::thread::current().name().unwrap_or("a thread").into());
        self.beat.at.publish(clock::millis());
    }
}

impl HeartbeatView {
    /// Whether it came round in the last so many milliseconds.
    #[must_use]
    pub fn is_within(&self, millis: u64) -> bool {
        clock::millis().saturating_sub(self.at.read()) <= millis
    }

    /// The thread's name, once it has turned.
    #[must_use]
    pub fn thread(&self) -> &str {
        self.thread.get().map_or("a thread that has not begun", |name| name)
    }
}
