//! The dead letters in the store: one row for what became of each, one for its signal, so that a search reads no
//! bodies. They are written in the commit of the governors that made them, and never deleted: the first cause is kept
//! for ever.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::embedded::wrapped;
use crate::event::Seq;
use crate::jidoka::dead_letter::{CaseChange, CaseId, Closing, Why};
use crate::jidoka::governor::{decode_signal, encode_signal};
use crate::signal::Signal;

/// Where a case stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Open,
    Replayed,
    Discarded,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::Open, Self::Replayed, Self::Discarded];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }
}

/// Why it could not be processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub cause: Box<str>,
    pub detail: Box<str>,
    /// Where the governor stood.
    pub state: Box<str>,
    /// The event that settled it, and the journal's time of it.
    pub event: u64,
    pub time: u64,
}

impl Reason {
    fn of(why: &Why) -> Self {
        Self {
            cause: why.cause.as_str().into(),
            detail: (&*why.detail).into(),
            state: why.state.as_str().into(),
            event: why.event.0,
            time: why.time.0,
        }
    }
}

/// One case, as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub id: Box<str>,
    /// The number under which the signal was accepted.
    pub seq: u64,
    pub tenant: Box<str>,
    pub sku: Box<str>,
    pub signal_id: Box<str>,
    pub r#type: Box<str>,
    pub source: Box<str>,
    pub status: Status,
    /// The first cause.
    #[serde(flatten)]
    pub first: Reason,
    /// What it failed for after its last replay.
    pub last: Option<Reason>,
    /// How often it was sent through the line again.
    pub replays: u32,
    /// The last event that changed it.
    pub changed_by: u64,
}

/// Which cases are wanted; what is not set does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub cause: Option<Box<str>>,
    pub tenant: Option<Box<str>>,
    pub sku: Option<Box<str>>,
    pub r#type: Option<Box<str>>,
    pub status: Option<Status>,
}

impl Filter {
    fn takes(&self, case: &Stored) -> bool {
        let fits = |wanted: &Option<Box<str>>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        fits(&self.cause, &case.first.cause)
            && fits(&self.tenant, &case.tenant)
            && fits(&self.sku, &case.sku)
            && fits(&self.r#type, &case.r#type)
            && self.status.is_none_or(|status| status == case.status)
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All that the filter takes.
    pub count: u64,
    /// Those of the page, in the order of acceptance.
    pub page: Vec<Stored>,
}

/// The cases in a store; a clone sees, on any thread, what was committed.
#[derive(Clone)]
pub struct Cases {
    path: PathBuf,
    rows: Keyspace,
    signals: Keyspace,
}

impl Cases {
    pub(super) fn open(
        path: &Path,
        database: &Database,
        options: impl Fn() -> KeyspaceCreateOptions,
    ) -> Result<Self, fjall::Error> {
        Ok(Self {
            path: path.to_owned(),
            rows: database.keyspace("cases", &options)?,
            signals: database.keyspace("case_signals", &options)?,
        })
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, case: CaseId) -> Result<Option<Stored>, StoreError> {
        let row = self.rows.get(case.0.0.to_be_bytes()).map_err(|error| wrapped(&self.path, "read", error))?;
        row.map(|row| self.read(&row)).transpose()
    }

    /// The signal of a case.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn signal(&self, case: CaseId) -> Result<Option<Signal>, StoreError> {
        let row = self.signals.get(case.0.0.to_be_bytes());
        let row = row.map_err(|error| wrapped(&self.path, "read", error))?;
        row.map(|row| decode_signal(&row).map_err(|_| self.damaged())).transpose()
    }

    /// Those behind `after` that the filter takes, at most `limit`, and how many there are in all. Looks at every case.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn search(&self, filter: &Filter, after: Seq, limit: usize) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for row in self.rows.iter() {
            let row = row.value().map_err(|error| wrapped(&self.path, "read", error))?;
            let case = self.read(&row)?;
            if !filter.takes(&case) {
                continue;
            }
            found.count += 1;
            if case.seq > after.0 && found.page.len() < limit {
                found.page.push(case);
            }
        }
        Ok(found)
    }

    /// Adds what the changes come to.
    pub(super) fn write(&self, batch: &mut OwnedWriteBatch, changes: &[CaseChange]) -> Result<(), StoreError> {
        let mut rows: BTreeMap<CaseId, Stored> = BTreeMap::new();
        for change in changes {
            match change {
                CaseChange::Open { case, why, signal, again } => {
                    let known = if *again { self.known(&rows, *case)? } else { None };
                    let row = match known {
                        Some(known) => Stored {
                            status: Status::Open,
                            last: Some(Reason::of(why)),
                            changed_by: why.event.0,
                            ..known
                        },
                        None => fresh(*case, why, signal),
                    };
                    rows.insert(*case, row);
                    let mut bytes = Vec::with_capacity(signal.body.len() + 256);
                    encode_signal(&mut bytes, signal);
                    batch.insert(&self.signals, case.0.0.to_be_bytes(), bytes);
                }
                CaseChange::Close { case, how, event, .. } => {
                    // An operator's order may name a case that is none; its receipt says what was ordered.
                    let Some(known) = self.known(&rows, *case)? else { continue };
                    let (status, replays) = match how {
                        Closing::Replayed => (Status::Replayed, known.replays.saturating_add(1)),
                        Closing::Discarded => (Status::Discarded, known.replays),
                    };
                    rows.insert(*case, Stored { status, replays, changed_by: event.0, ..known });
                }
            }
        }
        for (case, row) in rows {
            // A row of plain texts and numbers can be written.
            batch.insert(&self.rows, case.0.0.to_be_bytes(), serde_json::to_vec(&row).unwrap_or_default());
        }
        Ok(())
    }

    fn known(&self, rows: &BTreeMap<CaseId, Stored>, case: CaseId) -> Result<Option<Stored>, StoreError> {
        match rows.get(&case) {
            Some(row) => Ok(Some(row.clone())),
            None => self.find(case),
        }
    }

    fn read(&self, row: &[u8]) -> Result<Stored, StoreError> {
        serde_json::from_slice(row).map_err(|_| self.damaged())
    }

    fn damaged(&self) -> StoreError {
        StoreError::Meta { path: self.path.clone(), what: "list of dead letters" }
    }
}

fn fresh(case: CaseId, why: &Why, signal: &Signal) -> Stored {
    Stored {
        id: case.to_string().into(),
        seq: case.0.0,
        tenant: signal.tenant().into(),
        sku: signal.sku().into(),
        signal_id: signal.id().into(),
        r#type: signal.kind().into(),
        source: signal.provenance.source.clone(),
        status: Status::Open,
        first: Reason::of(why),
        last: None,
        replays: 0,
        changed_by: why.event.0,
    }
}
