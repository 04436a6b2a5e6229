//! The machine's clocks.

use std::time::{SystemTime, UNIX_EPOCH};

/// One look at the machine's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Microseconds since 1970, as the wall clock has it.
    pub wall: u64,
    /// Microseconds since the machine booted. Never steps, and counts while the machine sleeps.
    pub boot: u64,
}

/// Looks at both clocks. The wall comes first: where the process is stopped in between, the wall seems to be behind for
/// one look, which costs less than if it seemed to be ahead.
#[must_use]
pub fn look() -> Look {
    let wall = wall_micros();
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(boot.tv_sec).unwrap_or_default();
    let micros = u64::try_from(boot.tv_nsec / 1000).unwrap_or_default();
    Look { wall, boot: seconds * 1_000_000 + micros }
}

/// Microseconds since 1970, as the wall clock has it.
#[must_use]
pub fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
