//! Timers as a governor knows them.

use std::time::Duration;

use crate::event::{Seq, UnixMillis};

/// A timer that runs: which event armed it, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    pub by: Seq,
    pub due: UnixMillis,
}

impl Armed {
    pub fn after(by: Seq, time: UnixMillis, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self { by, due: UnixMillis(time.0.saturating_add(wait)) }
    }
}
