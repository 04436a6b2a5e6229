//! Dead letters as cases: what could not be processed, why, and what became of it (blueprint 2B). A case is named by
//! the number under which its signal was accepted. It opens with the first cause, which is kept for ever; a replay or
//! a discard closes it, and a signal that fails again after its replay opens it again. Pure: governors say in their
//! effects what changes, the store keeps it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::{Seq, UnixMillis};
use crate::receipt::StateName;
use crate::signal::Signal;

/// Whose it is to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Cause {
    /// More signals of one tenant and SKU than may wait behind one action.
    Sender = 0,
    /// A rule or a memory could not be evaluated on the signal.
    Policy = 1,
    /// The action's target failed, or has failed so often that the breaker stands open.
    Target = 2,
    /// An operator halted the governor, or deciding on the signal panicked.
    Us = 3,
}

impl Cause {
    pub const ALL: [Self; 4] = [Self::Sender, Self::Policy, Self::Target, Self::Us];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Policy => "policy",
            Self::Target => "target",
            Self::Us => "us",
        }
    }
}

impl FromStr for Cause {
    type Err = NotACause;

    fn from_str(text: &str) -> Result<Self, NotACause> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text).ok_or(NotACause)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cause; there are sender, policy, target and us")]
pub struct NotACause;

/// The name of a case: `d-<seq>`, by the number under which its signal was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(pub Seq);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d-{:016x}", self.0.0)
    }
}

impl FromStr for CaseId {
    type Err = NotACaseId;

    fn from_str(text: &str) -> Result<Self, NotACaseId> {
        let digits = text.strip_prefix("d-").filter(|digits| digits.len() == 16).ok_or(NotACaseId)?;
        let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let seq = plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        seq.map(|seq| Self(Seq(seq))).ok_or(NotACaseId)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter's id; one looks like d-000000000000002a")]
pub struct NotACaseId;

/// Why, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    pub cause: Cause,
    /// In words, without what the signal says.
    pub detail: Arc<str>,
    /// The event that settled it, and its time.
    pub event: Seq,
    pub time: UnixMillis,
    /// Where the governor stood.
    pub state: StateName,
}

/// What closed a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    Replayed,
    Discarded,
}

/// What an event changes.
#[derive(Clone, Debug)]
pub enum CaseChange {
    Open {
        case: CaseId,
        why: Why,
        signal: Box<Signal>,
        /// After a replay: there is a case already, and its first cause stays.
        again: bool,
    },
    Close {
        case: CaseId,
        how: Closing,
        event: Seq,
        time: UnixMillis,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_were_written() {
        let id = CaseId(Seq(42));
        assert_eq!(id.to_string(), "d-000000000000002a");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "d-", "42", "d-000000000000002A", "d-0000000000000002a", "d-+00000000000002a"] {
            assert_eq!(wrong.parse::<CaseId>(), Err(NotACaseId), "{wrong}");
        }
    }
}
