//! How governors speak of dead letters (blueprint 2B). A case opens with the first cause, which stays; a replay or
//! a discard closes it, and a signal that fails again after its replay opens it again. Pure: governors say in
//! their effects what changes, [`CaseChange::applied`] says what a case is then, the store keeps it.

use std::sync::Arc;

use crate::case::{Case, CaseId, Cause, Reason, Status, Undone};
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
        /// The action that failed.
        undone: Option<Box<Undone>>,
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

impl CaseChange {
    /// Whether a case is opened.
    #[must_use]
    pub fn is_opened(&self) -> bool {
        match self {
            Self::Open { .. } => true,
            Self::Close { .. } => false,
        }
    }

    #[must_use]
    pub fn case(&self) -> CaseId {
        match self {
            Self::Open { case, .. } | Self::Close { case, .. } => *case,
        }
    }

    /// The case after this change, given what was `known` of it. `None` where there is none: an operator's order may name
    /// a case that is none, and its receipt says what was ordered.
    #[must_use]
    pub fn applied(&self, known: Option<Case>) -> Option<Case> {
        match self {
            Self::Open { case, why, signal, undone, again } => Some(match known.filter(|_| *again) {
                Some(known) => Case {
                    status: Status::Open,
                    closed: None,
                    last: Some(why.reason()),
                    action: undone.as_deref().cloned(),
                    changed_by: why.event.0,
                    ..known
                },
                None => Case { action: undone.as_deref().cloned(), ..fresh(*case, why, signal) },
            }),
            Self::Close { how, event, time, .. } => {
                let known = known?;
                let (status, replays) = match how {
                    Closing::Replayed => (Status::Replayed, known.replays.saturating_add(1)),
                    Closing::Discarded => (Status::Discarded, known.replays),
                };
                Some(Case { status, closed: Some(time.0), replays, changed_by: event.0, ..known })
            }
        }
    }
}

fn fresh(case: CaseId, why: &Why, signal: &Signal) -> Case {
    Case {
        id: case.to_string().into(),
        seq: case.0.0,
        tenant: signal.tenant().into(),
        sku: signal.sku().into(),
        signal_id: signal.id().into(),
        r#type: signal.kind().into(),
        source: signal.provenance.source.clone(),
        status: Status::Open,
        closed: None,
        first: why.reason(),
        last: None,
        action: None,
        replays: 0,
        changed_by: why.event.0,
    }
}

impl Why {
    fn reason(&self) -> Reason {
        Reason {
            cause: self.cause,
            detail: (&*self.detail).into(),
            state: self.state.into_str().into(),
            event: self.event.0,
            time: self.time.0,
        }
    }
}
