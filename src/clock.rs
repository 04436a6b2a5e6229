//! The one reader of time. Durations come from `quanta` (about 9 ns a look); wall time is read only where the
//! journal stamps an event, where a signature's age is judged, and where an operator reads a page.

use std::time::{SystemTime, UNIX_EPOCH};

pub use quanta::Instant;

use crate::event::UnixMillis;

/// Monotonic time, for durations and deadlines.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Monotonic nanoseconds since the program first asked; one scale for all threads.
#[must_use]
pub fn nanos() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    u64::try_from(Instant::now().saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

/// Wall time in milliseconds since 1970. May step back; whoever stamps must not (see the journal's writer).
#[must_use]
pub fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
