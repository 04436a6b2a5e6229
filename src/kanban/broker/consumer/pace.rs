//! When deliveries are looked at: few at a time would cost a frame, a sync and a wake of every stage for each few. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{BURST_SIGNALS, BURST_WAIT};

/// When deliveries are looked at.
#[derive(Debug)]
pub struct Pace {
    last_delivery: Instant,
    /// Deliveries are looked at from here on.
    look_from: Option<Instant>,
    /// Signals that came when they were looked at last.
    burst: usize,
}

impl Pace {
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { last_delivery: now, look_from: None, burst: 0 }
    }

    /// Whether it is time to look.
    #[must_use]
    pub fn may_look(&self, now: Instant) -> bool {
        self.look_from.is_none_or(|from| from <= now)
    }

    /// Something was delivered; whatever else is there is looked at with it.
    pub fn begin(&mut self, now: Instant) {
        self.last_delivery = now;
        self.burst = 0;
    }

    /// So many signals more.
    pub fn add(&mut self, signals: usize) {
        self.burst += signals;
    }

    /// Everything that was there was looked at: after a few signals the next look waits a while.
    pub fn end(&mut self) {
        self.look_from = (self.burst < BURST_SIGNALS).then(|| self.last_delivery + BURST_WAIT);
    }

    /// For how long nothing was delivered.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.last_delivery.elapsed()
    }

    /// How long to wait: up to the next look, and not longer than `longest`.
    #[must_use]
    pub fn patience(&self, now: Instant, longest: Duration) -> Duration {
        let look = self.look_from.map(|from| from.saturating_duration_since(now));
        look.filter(|look| !look.is_zero()).map_or(longest, |look| look.min(longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_few_signals_the_next_look_waits_and_after_many_it_does_not() {
        let now = Instant::now();
        let longest = Duration::from_secs(1);
        let mut pace = Pace::new(now);
        assert!(pace.may_look(now));
        assert_eq!(pace.patience(now, longest), longest);
        pace.begin(now);
        pace.add(BURST_SIGNALS - 1);
        pace.end();
        assert!(!pace.may_look(now) && pace.may_look(now + BURST_WAIT));
        assert_eq!(pace.patience(now, longest), BURST_WAIT);
        assert_eq!(pace.patience(now, BURST_WAIT / 2), BURST_WAIT / 2);
        assert_eq!(pace.patience(now + BURST_WAIT, longest), longest);
        pace.begin(now);
        pace.add(BURST_SIGNALS - 1);
        pace.add(1);
        pace.end();
        assert!(pace.may_look(now));
    }
}
