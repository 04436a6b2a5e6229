//! What the governors know, kept so that a restart replays only the journal's end. A segment of the journal is
//! given back only when the store has seen it; from then on the two belong together.
//!
//! A commit is atomic: rows, follow-ups and watermark together or not at all. The caller owes one order: a row may
//! be committed only when the receipts of its last event are durable, because a replay skips what a row has
//! already applied.

mod cases;
mod certain;
mod embedded;
mod keeper;

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

pub use cases::Cases;
pub use certain::make_certain;
pub use embedded::{Embedded, Followups};
pub use keeper::{Keeper, Port};

use super::dead_letter::CaseChange;
use super::governor::{Damage, Governor};
use crate::event::Seq;
use crate::receipt::Draft;

/// A place for governors. The embedded store is one; a remote one versions its rows.
pub trait StateStore: Send {
    /// Hands every governor to `visit`. Events up to the watermark it returns need not be replayed; 0 is a new store.
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Loaded, StoreError>;

    /// Makes `changes` durable, atomically with the watermark: every governor's events up to it are in its row.
    /// After an error the store takes no further commit; open it again.
    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError>;
}

/// What a store knows beside its governors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub watermark: Seq,
    /// Entries that the transparency log had when this was committed, all of them durable; 0 in a new store.
    pub log_size: u64,
    /// The text of the rules that hold at the watermark; `None` in a new store, and in one of a version before rules were
    /// journalled.
    pub rules: Option<Box<str>>,
    /// Partitions that the node held at the watermark.
    pub held: Vec<u16>,
}

/// A receipt of a later event that belongs to a signal: the outcome of its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followup {
    pub signal: Seq,
    pub event: Seq,
}

impl Followup {
    /// The follow-up that `draft` is, if it is one.
    #[must_use]
    pub fn of(draft: &Draft) -> Option<Self> {
        let signal = draft.signal_seq.filter(|seq| *seq != draft.id.seq)?;
        Some(Self { signal, event: draft.id.seq })
    }
}

/// What one commit writes. Its room is kept from commit to commit.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    rows: Vec<(Range<usize>, Range<usize>)>,
    followups: Vec<Followup>,
    rules: Vec<(Seq, Box<str>)>,
    cases: Vec<CaseChange>,
    /// Governors that are known no more; each is as good as written before the rows.
    forgotten: Vec<Box<str>>,
    held: Option<Vec<u16>>,
    log_size: u64,
}

impl Changes {
    /// Takes down what `governor` knows now. A later entry for the same governor wins.
    pub fn governor(&mut self, governor: &Governor) {
        self.put(governor.key(), |out| governor.encode(out));
    }

    /// Takes down what [`Governor::encode`] made of one. A later entry for the same governor wins.
    pub fn row(&mut self, key: &str, row: &[u8]) {
        self.put(key, |out| out.extend_from_slice(row));
    }

    fn put(&mut self, key: &str, row: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key.as_bytes());
        let middle = self.bytes.len();
        row(&mut self.bytes);
        self.rows.push((start..middle, middle..self.bytes.len()));
    }

    /// Takes down that governors are known no more, whatever was taken down of them before.
    pub fn forget(&mut self, keys: HashSet<Box<str>>) {
        let bytes = &self.bytes;
        let key = |of: &Range<usize>| bytes.get(of.clone()).and_then(|key| str::from_utf8(key).ok());
        self.rows.retain(|(of, _)| key(of).is_none_or(|key| !keys.contains(key)));
        self.forgotten.extend(keys);
    }

    /// Takes down which partitions this node holds.
    pub fn hold(&mut self, held: Vec<u16>) {
        self.held = Some(held);
    }

    /// Takes down how many entries of the transparency log are durable.
    pub fn logged(&mut self, log_size: u64) {
        self.log_size = log_size;
    }

    #[must_use]
    pub fn log_size(&self) -> u64 {
        self.log_size
    }

    pub fn followup(&mut self, followup: Followup) {
        self.followups.push(followup);
    }

    /// Takes down the rules that hold from `seq` on.
    pub fn rules_from(&mut self, seq: Seq, text: &str) {
        self.rules.push((seq, text.into()));
    }

    pub fn case(&mut self, change: CaseChange) {
        self.cases.push(change);
    }

    pub fn forgotten(&self) -> impl Iterator<Item = &str> {
        self.forgotten.iter().map(|key| &**key)
    }

    pub fn held(&self) -> Option<&[u16]> {
        self.held.as_deref()
    }

    /// In the order of the events.
    pub fn rules(&self) -> &[(Seq, Box<str>)] {
        &self.rules
    }

    /// In the order of the events of each signal.
    pub fn cases(&self) -> &[CaseChange] {
        &self.cases
    }

    /// Keys and values of the governors, in the order in which they were taken down.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.rows.iter().map(move |(key, value)| (part(key), part(value)))
    }

    pub fn followups(&self) -> impl Iterator<Item = Followup> {
        self.followups.iter().copied()
    }
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: another process has this state open; stop it first")]
    Locked { path: PathBuf },
    #[error("{path}: the newest commits of the state cannot be made durable: {source}")]
    Uncertain { path: PathBuf, source: std::io::Error },
    #[error("{path}: cannot {doing} the state: {source}")]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error(
        "{path}: cannot {doing} the state: {what}; restore it from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Engine { path: PathBuf, doing: &'static str, what: String },
    #[error("{path}: an earlier write failed, so nothing more is written; restart to recover")]
    Poisoned { path: PathBuf },
    #[error(
        "{path}: governor {key:?} {damage}; restore it from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Row { path: PathBuf, key: String, damage: Damage },
    #[error(
        "{path}: the {what} is damaged; restore it from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Meta { path: PathBuf, what: &'static str },
}
