//! Pauses before something outside is tried again: doubled each time, half of each drawn, so that what failed together
//! does not come back together.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::limits::{BROKER_PAUSE, BROKER_PAUSE_MAX, RETRY_AFTER_MAX, TELEMETRY_PAUSE, TELEMETRY_PAUSE_MAX};

/// The pauses of one connection.
#[derive(Debug, Default)]
pub struct Backoff {
    failed: u32,
}

/// Orders to end are heard within this.
const LOOK: Duration = Duration::from_millis(50);

impl Backoff {
    /// Waits after a failure; a short while if something had gone well before it. Ends early when it is `over`.
    pub async fn wait(&mut self, went_well: bool, over: impl Fn() -> bool) {
        self.failed = if went_well { 1 } else { self.failed.saturating_add(1) };
        let until = Instant::now() + pause_between((BROKER_PAUSE, BROKER_PAUSE_MAX), self.failed, random());
        while Instant::now() < until && !over() {
            tokio::time::sleep(LOOK.min(until - Instant::now())).await;
        }
    }
}

/// Before what failed so often is tried again: the first pause, doubled each time up to the longest.
#[must_use]
pub fn pause_between((first, most): (Duration, Duration), failed: u32, random: u64) -> Duration {
    let longest = first.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(most);
    let drawn = ((longest.as_micros() / 2) * u128::from(random)) >> u64::BITS;
    longest / 2 + Duration::from_micros(u64::try_from(drawn).unwrap_or(u64::MAX))
}

/// Before a receiver of telemetry is asked again, after it failed so often; not sooner than it asked for.
#[must_use]
pub fn pause(failed: u32, after: Option<Duration>, random: u64) -> Duration {
    let pause = pause_between((TELEMETRY_PAUSE, TELEMETRY_PAUSE_MAX), failed, random);
    pause.max(after.unwrap_or_default().min(TELEMETRY_PAUSE_MAX))
}

/// What a server asks for by `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. It has at most [`RETRY_AFTER_MAX`].
#[must_use]
pub fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let asked = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    };
    asked.map(|asked| asked.min(RETRY_AFTER_MAX))
}

/// For jitter.
#[must_use]
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the pauses are the longest ones.
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_half_of_each_is_drawn() {
        let pause = |failed, random| pause_between((BROKER_PAUSE, BROKER_PAUSE_MAX), failed, random);
        assert_eq!(pause(1, 0), Duration::from_millis(50));
        let longest = |failed| pause(failed, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 7, 8, 1000].map(longest), [99, 199, 399, 6399, 9999, 9999]);
    }
}
