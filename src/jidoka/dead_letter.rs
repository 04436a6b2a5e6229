//! How governors speak of dead letters (blueprint 2B). A case opens with the first cause, which is kept for ever; a
//! replay or a discard closes it, and a signal that fails again after its replay opens it again. Pure: governors say in
//! their effects what changes, the store keeps it.

use std::sync::Arc;

use crate::case::{CaseId, Cause};
use crate::event::{Seq, UnixMillis};
use crate::receipt::StateName;
use crate::signal::Signal;

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
