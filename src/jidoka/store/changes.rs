//! What a commit writes.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use crate::alert::AlertRow;
use crate::event::Seq;
use crate::jidoka::dead_letter::CaseChange;
use crate::jidoka::governor::{Governor, encode_held};
use crate::receipt::Draft;

/// What changed in one shard since its last commit.
#[derive(Debug)]
pub struct Commit {
    /// Counts this shard's commits: its receipts are durable once the scribe has passed [`Note::Commit`] of this number.
    /// A row may hold events behind `through`, so that number would not tell.
    ///
    /// [`Note::Commit`]: crate::event::Note::Commit
    pub number: u64,
    pub changes: Changes,
    /// The changes hold the shard's events up to here.
    pub through: Seq,
    /// Of a node that shares the state of partitions: those that it holds.
    pub held: Option<Vec<u16>>,
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
    alerts: Vec<AlertRow>,
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
            let row = self.put(|out| encode_held(held, out));
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

    /// Takes down what changed of the alerts.
    pub fn alerts(&mut self, rows: Vec<AlertRow>) {
        self.alerts.extend(rows);
    }

    /// Rows of alerts by their keys, in the order in which they were taken down; those that are gone have none.
    pub fn alert_rows(&self) -> &[AlertRow] {
        &self.alerts
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
        let signal = draft.gist.signal_seq.filter(|seq| *seq != draft.gist.id.seq)?;
        Some(Self { signal, event: draft.gist.id.seq })
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
pub fn waits_for(key: &[u8]) -> Option<(&[u8], Seq)> {
    let (governor, seq) = key.split_last_chunk()?;
    let (0, governor) = governor.split_last()? else { return None };
    Some((governor, Seq(u64::from_be_bytes(*seq))))
}
