//! The dead letters in the store against those that the journal gives: a case is as durable as its governor's row.

use std::collections::BTreeMap;

use gemba::case::{Case, CaseId, Status};
use gemba::event::Seq;
use gemba::jidoka::dead_letter::{CaseChange, Closing};

use super::{Failure, violation};

/// What is known of a case, told in another way than the store tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    status: Status,
    /// Events that opened it first, opened it again last, and changed it last.
    first: Seq,
    again: Option<Seq>,
    changed_by: Seq,
    replays: u32,
}

/// Cases up to where each governor's row has come.
#[derive(Debug, Default)]
pub struct Cases(BTreeMap<CaseId, Known>);

impl Cases {
    pub fn change(&mut self, changes: &[CaseChange]) {
        for change in changes {
            match change {
                CaseChange::Open { case, why, .. } => {
                    let event = why.event;
                    let fresh = Known {
                        status: Status::Open,
                        first: event,
                        again: None,
                        changed_by: event,
                        replays: 0,
                    };
                    let known = self.0.entry(*case).or_insert(fresh);
                    if *known != fresh {
                        (known.status, known.again, known.changed_by) = (Status::Open, Some(event), event);
                    }
                }
                CaseChange::Close { case, how, event, .. } => {
                    let Some(known) = self.0.get_mut(case) else { continue };
                    known.changed_by = *event;
                    match how {
                        Closing::Replayed => {
                            known.status = Status::Replayed;
                            known.replays += 1;
                        }
                        Closing::Discarded => known.status = Status::Discarded,
                    }
                }
            }
        }
    }

    /// O8: whatever could not be processed is a case, and is kept.
    pub fn compare(&self, stored: &BTreeMap<CaseId, Case>) -> Result<(), Failure> {
        for (id, known) in &self.0 {
            let Some(case) = stored.get(id) else {
                let detail =
                    format!("{id} was opened by event {}, and the store has no such case", known.first);
                return violation("O8", detail);
            };
            let found = Known {
                status: case.status,
                first: Seq(case.first.event),
                again: case.last.as_ref().map(|last| Seq(last.event)),
                changed_by: Seq(case.changed_by),
                replays: case.replays,
            };
            if found != *known || case.seq != id.0.0 {
                return violation("O8", format!("{id} is {known:?}, and the store says {found:?}"));
            }
        }
        match stored.keys().find(|id| !self.0.contains_key(id)) {
            Some(id) => violation("O8", format!("the store has {id}, which no event opened")),
            None => Ok(()),
        }
    }
}
