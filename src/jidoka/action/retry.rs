//! Which tries are made again, when, and what they say about the target. Pure: time and randomness are given.
//!
//! Made again is what may be different the next time: no connection, no answer in time, and the statuses 408, 425, 429
//! and 5xx. These speak about the target. Every other answer is the target's word on this one action, so no sender can
//! halt a target for others by what it puts into its signals (promise P5). The pause doubles with each try and is drawn
//! between nothing and all of it, so that what failed together does not come back together; a target's `Retry-After`
//! makes it longer.

use std::time::{Duration, SystemTime};

use crate::limits::{ACTION_PAUSE, ACTION_PAUSE_MAX};
use crate::net::backoff::retry_after;

/// A try that did not succeed; the words are ours, never the target's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It may be different the next time, and not sooner than the target asked for.
    Again { why: String, after: Option<Duration> },
    /// It would be the same the next time, for every action.
    Final { why: String },
    /// It would be the same the next time, and says nothing about other actions.
    Refused { why: String },
}

impl Miss {
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None }
    }

    pub fn r#final(why: impl Into<String>) -> Self {
        Self::Final { why: why.into() }
    }

    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    pub fn why(&self) -> &str {
        match self {
            Self::Again { why, .. } | Self::Final { why } | Self::Refused { why } => why,
        }
    }
}

/// What an HTTP status means.
pub fn judge(status: u16, asked: Option<&str>, now: SystemTime) -> Result<(), Miss> {
    let why = format!("it answered {status}");
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Miss::Refused { why: format!("{why}: redirects are not followed") }),
        408 | 425 | 429 | 500..=599 => {
            Err(Miss::Again { why, after: asked.and_then(|text| retry_after(text, now)) })
        }
        _ => Err(Miss::Refused { why }),
    }
}

/// How long to wait after the `tries`th try; `None` when the time that is left does not reach for another.
pub fn pause(tries: u32, after: Option<Duration>, random: u64, left: Duration) -> Option<Duration> {
    let doubled = ACTION_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let pause = part(doubled.min(ACTION_PAUSE_MAX), random).max(after.unwrap_or_default());
    (pause < left).then_some(pause)
}

/// Between nothing and `whole`, as `random` stands among all numbers.
pub fn part(whole: Duration, random: u64) -> Duration {
    let drawn = ((whole.as_millis() + 1) * u128::from(random)) >> u64::BITS;
    Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn every_status_is_done_the_actions_own_failure_or_the_targets() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        for status in 0..=1000 {
            let why = format!("it answered {status}");
            let expected = match status {
                200..300 => Ok(()),
                300..400 => Err(Miss::refused(format!("{why}: redirects are not followed"))),
                408 | 425 | 429 | 500..600 => Err(Miss::again(why)),
                _ => Err(Miss::refused(why)),
            };
            assert_eq!(judge(status, None, now), expected, "{status}");
        }
    }

    #[test]
    fn a_target_may_ask_for_time() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let date = httpdate::fmt_http_date(now + Duration::from_secs(7));
        let past = httpdate::fmt_http_date(now - Duration::from_secs(7));
        let table = [
            ("3", Some(3)),
            ("0", Some(0)),
            (date.as_str(), Some(7)),
            (past.as_str(), None),
            ("soon", None),
            ("-1", None),
            ("", None),
            ("99999999999999999999999", None),
        ];
        for (text, seconds) in table {
            let after = seconds.map(Duration::from_secs);
            let why = "it answered 429".to_owned();
            assert_eq!(judge(429, Some(text), now), Err(Miss::Again { why, after }), "{text:?}");
        }
    }

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
}
