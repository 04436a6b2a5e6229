//! Which alerts are listed and in which order, and how one is called by the first digits of its id.

use std::cmp::Reverse;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::cause::{AlertId, Importance};
use crate::ids::UnixMillis;
use crate::limits::ALERT_DIGITS_MIN;
use crate::view::AlertView;

/// Which alerts are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertsWanted {
    pub state: Option<Box<str>>,
    pub importance: Option<Importance>,
    pub tenant: Option<Box<str>>,
    /// Those after this position.
    pub after: Option<AlertPosition>,
    /// Not more than this.
    pub limit: usize,
}

/// A page of alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertPage {
    pub alerts: Vec<AlertView>,
    /// How many there are of these in all.
    pub count: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<AlertPosition>,
}

/// Where an alert stands in a list: open ones first, then the most severe, then the newest. It is known when the alert is gone, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AlertPosition {
    pub(super) has_ended: bool,
    pub(super) importance: Reverse<Importance>,
    pub(super) since: Reverse<UnixMillis>,
    pub(super) id: AlertId,
}

impl fmt::Display for AlertPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { has_ended, importance: Reverse(importance), since: Reverse(since), id } = self;
        let state = if *has_ended { ENDED } else { OPEN };
        write!(f, "{state}-{}-{}-{id}", importance.into_str(), since.0)
    }
}

const OPEN: &str = "open";
const ENDED: &str = "ended";

impl FromStr for AlertPosition {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let mut parts = text.splitn(4, '-');
        let mut part = || parts.next().ok_or(NotAPosition);
        let (state, importance, since, id) = (part()?, part()?, part()?, part()?);
        let has_ended = match state {
            OPEN => false,
            ENDED => true,
            _ => return Err(NotAPosition),
        };
        let read = Self {
            has_ended,
            importance: Reverse(importance.parse().map_err(|_| NotAPosition)?),
            since: Reverse(UnixMillis(since.parse().map_err(|_| NotAPosition)?)),
            id: id.parse().map_err(|_| NotAPosition)?,
        };
        // Each has one text.
        if read.to_string() == text { Ok(read) } else { Err(NotAPosition) }
    }
}

/// The text is no position in a list of alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be the `next` of an answer")]
pub struct NotAPosition;

/// The first digits of an alert's id, as a text message has them, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertDigits {
    first: AlertId,
    last: AlertId,
    digits: usize,
}

impl AlertDigits {
    /// The ids that begin so.
    #[must_use]
    pub fn range(self) -> RangeInclusive<AlertId> {
        self.first..=self.last
    }
}

impl From<AlertId> for AlertDigits {
    fn from(id: AlertId) -> Self {
        Self { first: id, last: id, digits: ID_DIGITS }
    }
}

const ID_DIGITS: usize = 32;

impl FromStr for AlertDigits {
    type Err = NotDigits;

    fn from_str(text: &str) -> Result<Self, NotDigits> {
        if !(ALERT_DIGITS_MIN..=ID_DIGITS).contains(&text.len()) {
            return Err(NotDigits);
        }
        let rest = ID_DIGITS - text.len();
        let id = |fill: &str| {
            let whole = text.to_ascii_lowercase() + &fill.repeat(rest);
            whole.parse().map_err(|_| NotDigits)
        };
        Ok(Self { first: id("0")?, last: id("f")?, digits: text.len() })
    }
}

impl fmt::Display for AlertDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.digits$}", self.first.to_string(), digits = self.digits)
    }
}

/// The text calls no alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an alert's id; one has 32 digits of 0-9 and a-f, of which the first {ALERT_DIGITS_MIN} or more will do"
)]
pub struct NotDigits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_one_text() {
        let text = "open-critical-1790000000000-000102030405060708090a0b0c0d0e0f";
        let position: AlertPosition = text.parse().unwrap();
        assert_eq!(position.to_string(), text);
        for wrong in [
            "",
            "open",
            "open-critical-1-000102030405060708090a0b0c0d0e",
            "open-critical-01-000102030405060708090a0b0c0d0e0f",
            "open-critical-+1-000102030405060708090a0b0c0d0e0f",
            "shut-critical-1-000102030405060708090a0b0c0d0e0f",
            "open-urgent-1-000102030405060708090a0b0c0d0e0f",
        ] {
            assert!(wrong.parse::<AlertPosition>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn digits_call_the_ids_that_begin_so() {
        let digits: AlertDigits = "ABCDEF0".parse().unwrap();
        assert_eq!(digits.to_string(), "abcdef0");
        let id = |text: &str| text.parse::<AlertId>().unwrap();
        let has = |text| digits.range().contains(&id(text));
        assert!(has("abcdef00000000000000000000000000") && has("abcdef0fffffffffffffffffffffffff"));
        assert!(!has("abcdef10000000000000000000000000") && !has("abcdeeffffffffffffffffffffffffff"));
        let whole = "000102030405060708090a0b0c0d0e0f";
        assert_eq!(AlertDigits::from(id(whole)), whole.parse().unwrap());
        for wrong in ["", "abcde", "abcdeg", "é00000", "abcdef+0", &"0".repeat(33)] {
            assert!(wrong.parse::<AlertDigits>().is_err(), "{wrong}");
        }
    }
}
