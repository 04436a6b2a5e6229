//! When a try of an action is made again. Pure: time and randomness are given.
//!
//! The pause doubles with each try and is drawn between nothing and all of it, so that what failed together does not come back
//! together; a target's `Retry-After` makes it longer.

use std::time::Duration;

use crate::limits::{ACTION_PAUSE, ACTION_PAUSE_MAX, DELIVERY_PAUSE_MAX};
use crate::net::retry::part;

/// How long to wait after the `tries`th try; `None` when the time that is left does not reach for another.
pub fn pause(tries: u32, after: Option<Duration>, random: u64, left: Duration) -> Option<Duration> {
    let doubled = ACTION_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let pause = part(doubled.min(ACTION_PAUSE_MAX), random).max(after.unwrap_or_default());
    (pause < left).then_some(pause)
}

/// How long to wait after so many calls of an order in the background. It doubles, and is drawn from its upper half, so that the
/// receiver has peace.
pub fn background_pause(calls: u32, after: Option<Duration>, random: u64) -> Duration {
    let doubled = ACTION_PAUSE.saturating_mul(4 << calls.saturating_sub(1).min(16)).min(DELIVERY_PAUSE_MAX);
    (doubled / 2 + part(doubled / 2, random)).max(after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn pauses_double_up_to_their_bound_and_are_drawn_from_the_whole() {
        let longest = |tries| pause(tries, None, u64::MAX, MINUTE).unwrap().as_millis();
        let table = [(1, 250), (2, 500), (3, 1000), (4, 2000), (6, 8000), (7, 10_000), (60, 10_000)];
        for (tries, millis) in table {
            assert_eq!(longest(tries), millis, "after {tries}");
        }
        assert_eq!(pause(5, None, 0, MINUTE), Some(Duration::ZERO));
        assert_eq!(pause(5, None, u64::MAX / 2, MINUTE), Some(Duration::from_secs(2)));
    }

    #[test]
    fn no_pause_goes_beyond_the_time_that_is_left() {
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(pause(1, asked(5), 3, MINUTE), asked(5));
        assert_eq!(pause(1, asked(60), 3, MINUTE), None);
        assert_eq!(pause(1, asked(0), u64::MAX, Duration::from_millis(250)), None);
        assert_eq!(pause(1, None, u64::MAX, Duration::from_millis(251)), Some(Duration::from_millis(250)));
    }

    #[test]
    fn in_the_background_pauses_grow_to_minutes_and_a_receiver_may_ask_for_more() {
        let seconds = |calls| background_pause(calls, None, u64::MAX).as_secs();
        assert_eq!([1, 2, 3, 9, 60].map(seconds), [1, 2, 4, 256, 300]);
        assert_eq!(background_pause(60, None, 0), Duration::from_secs(150));
        assert_eq!(background_pause(1, Some(Duration::from_mins(9)), 0), Duration::from_mins(9));
    }
}
