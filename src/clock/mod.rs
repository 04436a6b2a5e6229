//! The one reader of time. Durations come from `quanta` (about 9 ns a look). The journal's time comes from a
//! [`Timekeeper`], which follows the clock that counts since boot and is corrected by the wall clock. The wall clock itself
//! is for what others compare with their own: the age of a signature, a token, a `date`.

mod look;
mod timekeeper;

pub use look::{Look, look};
pub use quanta::Instant;
pub use timekeeper::{Doubt, Kept, Timekeeper};

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

/// Monotonic milliseconds since the program first asked: for ages that others look at.
#[must_use]
pub fn millis() -> u64 {
    nanos() / 1_000_000
}

/// The last millisecond of the year 9999, the last that the formats of dates can say.
pub const WALL_MILLIS_MAX: u64 = 253_402_300_799_999;

/// Wall time in milliseconds since 1970, as the machine has it: it may step in both directions.
#[must_use]
pub fn wall() -> UnixMillis {
    UnixMillis(look::wall_micros() / 1000)
}

/// The same in nanoseconds, to a microsecond.
#[must_use]
pub fn wall_nanos() -> u64 {
    look::wall_micros().saturating_mul(1000)
}

/// Which boot of the machine [`Look::boot`] counts from; `None` where the system does not say.
#[must_use]
pub fn boot_id() -> Option<Box<str>> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = id.trim();
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic())).then(|| id.into())
}
