//! When orders in the background end. Their governors say it in the journal's time, which may run slower than the machine's clock and
//! step; calls wait by the machine's. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::event::UnixMillis;
use crate::limits::GIVE_UP_HOURS_MAX;

/// What the journal's time was at some moment.
#[derive(Clone, Copy, Debug)]
pub struct TimeAnchor {
    at: Instant,
    time: UnixMillis,
}

/// Where the clocks are apart by more, ends are reckoned anew.
const APART: u64 = 1000;

impl TimeAnchor {
    pub fn new(at: Instant, time: UnixMillis) -> Self {
        Self { at, time }
    }

    /// Whether the journal's time is far from what it would be now, had both clocks run alike.
    pub fn is_far_from(&self, now: Instant, time: UnixMillis) -> bool {
        self.time(now).0.abs_diff(time.0) > APART
    }

    /// The journal's time now, had both clocks run alike.
    pub fn time(&self, now: Instant) -> UnixMillis {
        let passed = u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        UnixMillis(self.time.0.saturating_add(passed))
    }

    /// When that is; never further than an order may last.
    pub fn instant(&self, due: UnixMillis) -> Instant {
        let left = Duration::from_millis(due.0.saturating_sub(self.time.0));
        self.at + left.min(Duration::from_hours(GIVE_UP_HOURS_MAX.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_in_the_journals_time_is_a_moment_of_the_machines_clock() {
        let at = Instant::now();
        let time = TimeAnchor::new(at, UnixMillis(5_000));
        let seconds = Duration::from_secs;
        assert_eq!(time.instant(UnixMillis(9_000)), at + seconds(4));
        assert_eq!(time.instant(UnixMillis(4_000)), at, "it is over");
        assert_eq!(time.instant(UnixMillis(u64::MAX)), at + Duration::from_hours(168));
        for (passed, shown, is_far) in
            [(3, 8_000, false), (3, 9_000, false), (3, 9_001, true), (3, 6_999, true), (0, 5_000, false)]
        {
            assert_eq!(time.is_far_from(at + seconds(passed), UnixMillis(shown)), is_far, "{passed} {shown}");
        }
    }
}
