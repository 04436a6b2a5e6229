//! Which tries are made again, and what they say about a target. Pure: time and randomness are given.
//!
//! Made again is what may be different the next time: no connection, no answer in time, and the statuses 408, 425, 429
//! and 5xx. These speak about the target. Every other answer is the target's word on this one request, so no sender can
//! halt a target for others by what it puts into its signals (promise P5).

use std::time::{Duration, SystemTime};

use super::backoff::retry_after;

/// A try that did not succeed, in words without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// It may be different the next time, and not sooner than the target asked for. One that is surely unsent changed nothing there.
    Again { why: String, after: Option<Duration>, is_unsent: bool },
    /// It would be the same the next time, for every request.
    Final { why: String },
    /// It would be the same the next time, and says nothing about other requests.
    Refused { why: String },
}

impl Miss {
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None, is_unsent: false }
    }

    /// It may be different the next time, and nothing reached the target.
    pub fn unsent(why: impl Into<String>) -> Self {
        Self::again(why).surely_unsent()
    }

    /// The same where it is known that nothing reached the target.
    #[must_use]
    pub fn surely_unsent(self) -> Self {
        match self {
            Self::Again { why, after, is_unsent: _ } => Self::Again { why, after, is_unsent: true },
            Self::Final { .. } | Self::Refused { .. } => self,
        }
    }

    pub fn r#final(why: impl Into<String>) -> Self {
        Self::Final { why: why.into() }
    }

    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Again { why, .. } | Self::Final { why } | Self::Refused { why } => why,
        }
    }

    /// The target may have done what it was asked for.
    #[must_use]
    pub fn may_be_taken(&self) -> bool {
        match self {
            Self::Again { is_unsent, .. } => !is_unsent,
            Self::Final { .. } | Self::Refused { .. } => false,
        }
    }
}

/// What an HTTP status means.
///
/// # Errors
/// [`Miss`], of every status that is not a success.
pub fn judge(status: u16, asked: Option<&str>, now: SystemTime) -> Result<(), Miss> {
    let why = format!("it answered {status}");
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Miss::Refused { why: format!("{why}: redirects are not followed") }),
        408 | 425 | 429 | 500..=599 => {
            // Of these two it is said that nothing was done (RFC 6585, 4; RFC 8470, 5.2).
            let is_unsent = matches!(status, 425 | 429);
            Err(Miss::Again { why, after: asked.and_then(|text| retry_after(text, now)), is_unsent })
        }
        _ => Err(Miss::Refused { why }),
    }
}

/// Between nothing and `whole`, as `random` stands among all numbers.
#[must_use]
pub fn part(whole: Duration, random: u64) -> Duration {
    let drawn = ((whole.as_millis() + 1) * u128::from(random)) >> u64::BITS;
    Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_done_the_actions_own_failure_or_the_targets() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        for status in 0..=1000 {
            let why = format!("it answered {status}");
            let expected = match status {
                200..300 => Ok(()),
                300..400 => Err(Miss::refused(format!("{why}: redirects are not followed"))),
                425 | 429 => Err(Miss::unsent(why)),
                408 | 500..600 => Err(Miss::again(why)),
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
            ("86400", Some(86_400)),
            ("86401", Some(86_400)),
            ("18446744073709551615", Some(86_400)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
        ];
        for (text, seconds) in table {
            let after = seconds.map(Duration::from_secs);
            let why = "it answered 429".to_owned();
            assert_eq!(
                judge(429, Some(text), now),
                Err(Miss::Again { why, after, is_unsent: true }),
                "{text:?}"
            );
        }
    }
}
