//! What the governors know, kept so that a restart replays only the journal's end. A segment of the journal is
//! given back only when the store has seen it; from then on the two belong together.
//!
//! A signal that waits is a row of its own: it is written when it comes and removed when it goes, however often its
//! governor changes in between.
//!
//! A commit is atomic: rows, follow-ups and watermark together or not at all. The caller owes one order: a row may
//! be committed only when the receipts of its last event are durable, because a replay skips what a row has
//! already applied.

mod case_lists;
mod cases;
mod certain;
mod embedded;
mod keeper;

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::path::PathBuf;

pub use cases::{Cases, Retention};
pub use certain::make_certain;
pub use embedded::{Embedded, Followups};
pub use keeper::{Keeper, Port, Retiring};

use super::dead_letter::CaseChange;
use super::governor::{Bare, Damage, Governor};
use crate::event::{Seq, UnixMillis};
use crate::receipt::Draft;

/// A place for governors. The embedded store is one; a remote one versions its rows.
pub trait StateStore: Send {
    /// Hands every governor to `visit`. Events up to the watermark it returns need not be replayed; 0 is a new store.
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Loaded, StoreError>;

    /// Makes `changes` durable, atomically with the watermark: every governor's events up to it are in its row.
    /// After an error the store takes no further commit; open it again.
    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError>;

    /// Removes some of the closed dead letters that need not be kept at `now`. Returns whether there may be more of them.
    fn retire(&mut self, retention: Retention, now: UnixMillis) -> Result<bool, StoreError>;
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

/// Which of a governor's waiting signals are taken down, oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept(VecDeque<Seq>);

impl Kept {
    /// Of a governor that the store gave back.
    #[must_use]
    pub fn all_of(governor: &Governor) -> Self {
        Self(governor.held_after(None).map(|held| held.seq).collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug)]
enum Wait {
    Begun(Range<usize>),
    Over,
}

/// `governor NUL number`: the rows of one governor stand together, in the order of their numbers.
fn wait_key(out: &mut Vec<u8>, governor: &str, seq: Seq) {
    out.extend_from_slice(governor.as_bytes());
    out.push(0);
    out.extend_from_slice(&seq.0.to_be_bytes());
}

/// The governor and the number of a waiting signal's key.
fn waits_for(key: &[u8]) -> Option<(&[u8], Seq)> {
    let (governor, seq) = key.split_last_chunk()?;
    let (0, governor) = governor.split_last()? else { return None };
    Some((governor, Seq(u64::from_be_bytes(*seq))))
}

/// Puts governors and waiting signals together; both come in the order of their keys.
///
/// # Errors
/// The governor whose row is damaged, or which a signal waits for that has no such row.
pub fn join<E>(
    rows: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
    waits: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), E>>,
    wrong: impl Fn(&[u8], Damage) -> E,
    visit: &mut dyn FnMut(Governor),
) -> Result<(), E> {
    let mut waits = waits.peekable();
    for row in rows {
        let (key, row) = row?;
        let mut bare = Bare::decode(&row).map_err(|damage| wrong(&key, damage))?;
        while let Some(wait) = waits.next_if(|wait| {
            wait.as_ref().map_or(true, |(of, _)| waits_for(of).is_none_or(|(of, _)| of <= &*key))
        }) {
            let (of, wait) = wait?;
            let Some((governor, seq)) = waits_for(&of) else { return Err(wrong(&of, Damage::Inconsistent)) };
            if governor != &*key {
                return Err(wrong(governor, Damage::Inconsistent));
            }
            bare.wait(seq, &wait).map_err(|damage| wrong(&key, damage))?;
        }
        match bare.complete() {
            Ok(governor) if governor.key().as_bytes() == &*key => visit(governor),
            Ok(_) => return Err(wrong(&key, Damage::Inconsistent)),
            Err(damage) => return Err(wrong(&key, damage)),
        }
    }
    match waits.next() {
        Some(left) => Err(wrong(&left?.0, Damage::Inconsistent)),
        None => Ok(()),
    }
}

/// What one commit writes. Its room is kept from commit to commit.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    rows: Vec<(Range<usize>, Range<usize>)>,
    /// Keys of signals that wait, or wait no more.
    waits: Vec<(Range<usize>, Wait)>,
    followups: Vec<Followup>,
    rules: Vec<(Seq, Box<str>)>,
    cases: Vec<CaseChange>,
    /// Governors that are known no more; each is as good as written before the rows.
    forgotten: Vec<Box<str>>,
    held: Option<Vec<u16>>,
    log_size: u64,
}

impl Changes {
    /// Takes down what `governor` knows now, given which of its waiting signals were taken down before; `kept` then says
    /// which are now. A later entry for the same governor wins.
    pub fn governor(&mut self, governor: &Governor, kept: &mut Kept) {
        let key = self.put(|out| out.extend_from_slice(governor.key().as_bytes()));
        let row = self.put(|out| governor.encode_bare(out));
        self.rows.push((key, row));
        let oldest = governor.oldest_waiting();
        while let Some(gone) = kept.0.pop_front_if(|kept| oldest.is_none_or(|oldest| *kept < oldest)) {
            let key = self.put(|out| wait_key(out, governor.key(), gone));
            if !crate::fault::planted("waiting-row-kept") {
                self.waits.push((key, Wait::Over));
            }
        }
        for held in governor.held_after(kept.0.back().copied()) {
            let key = self.put(|out| wait_key(out, governor.key(), held.seq));
            let row = self.put(|out| held.encode(out));
            self.waits.push((key, Wait::Begun(row)));
            kept.0.push_back(held.seq);
        }
    }

    fn put(&mut self, part: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.bytes.len();
        part(&mut self.bytes);
        start..self.bytes.len()
    }

    /// Takes down, behind these, what `others` has of governors.
    pub fn append(&mut self, others: &Self) {
        let by = self.bytes.len();
        let moved = |range: &Range<usize>| range.start + by..range.end + by;
        self.bytes.extend_from_slice(&others.bytes);
        self.rows.extend(others.rows.iter().map(|(key, row)| (moved(key), moved(row))));
        self.waits.extend(others.waits.iter().map(|(key, wait)| match wait {
            Wait::Begun(row) => (moved(key), Wait::Begun(moved(row))),
            Wait::Over => (moved(key), Wait::Over),
        }));
    }

    /// Takes down that governors are known no more, whatever was taken down of them before.
    pub fn forget(&mut self, keys: HashSet<Box<str>>) {
        let bytes = &self.bytes;
        let of = |key: &Range<usize>| bytes.get(key.clone()).unwrap_or_default();
        let known = |key: &[u8]| str::from_utf8(key).is_ok_and(|key| keys.contains(key));
        self.rows.retain(|(key, _)| !known(of(key)));
        self.waits.retain(|(key, _)| !waits_for(of(key)).is_some_and(|(key, _)| known(key)));
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

    /// Keys of signals that wait, with their rows, and of signals that wait no more, in the order in which they were taken
    /// down.
    pub fn waits(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.waits.iter().map(move |(key, wait)| match wait {
            Wait::Begun(row) => (part(key), Some(part(row))),
            Wait::Over => (part(key), None),
        })
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
