//! The dead letters in the store: one row for what became of each, one for its signal, so that a search reads no
//! bodies, and its entries in the [lists](super::case_lists) by which a search finds it. All of them are written in the
//! commit of the governors that made them. An open case is never removed; a closed one when its [`Retention`] ends.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, Readable as _, Snapshot};

use super::StoreError;
use super::case_lists::{Edit, Head, List, seq_at};
use super::embedded::wrapped;
use crate::case::{Case, CaseFilter, CaseId, Cause, Found, Status};
use crate::event::{Seq, UnixMillis};
use crate::jidoka::dead_letter::CaseChange;
use crate::jidoka::governor::{decode_signal, encode_signal};
use crate::kaizen::Gauges;
use crate::limits::{CASES_LOOKED_AT_MAX, CASES_RETIRED_AT_ONCE};
use crate::ring::Mark;
use crate::signal::Signal;

/// How long closed cases are kept: until one of the two is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: Duration,
    pub count: u64,
}

/// The cases in a store; a clone sees, on any thread, what was committed.
#[derive(Clone)]
pub struct Cases {
    path: PathBuf,
    database: Database,
    rows: Keyspace,
    signals: Keyspace,
    pub(super) index: Keyspace,
    /// Open ones, in the order of [`Cause::ALL`].
    open: [Mark; Cause::ALL.len()],
    closed: Mark,
}

/// The cases at one moment.
pub(super) struct View<'a> {
    pub(super) cases: &'a Cases,
    snapshot: Snapshot,
    /// Rows and entries that were read.
    reads: Cell<u64>,
}

impl Cases {
    pub(super) fn open(
        path: &Path,
        database: &Database,
        options: impl Fn() -> KeyspaceCreateOptions,
    ) -> Result<Self, StoreError> {
        let keyspace = |name| {
            let opened = database.keyspace(name, &options);
            opened.map_err(|error| wrapped(path, "open", error))
        };
        let cases = Self {
            path: path.to_owned(),
            database: database.clone(),
            rows: keyspace("cases")?,
            signals: keyspace("case_signals")?,
            index: keyspace("case_index")?,
            open: Cause::ALL.map(|_| Mark::new(0)),
            closed: Mark::new(0),
        };
        let is_empty =
            |keyspace: &Keyspace| keyspace.is_empty().map_err(|error| wrapped(path, "read", error));
        // What an earlier version wrote, or damage: what is listed nowhere would be lost silently.
        if is_empty(&cases.index)? && !is_empty(&cases.rows)? {
            return Err(cases.damaged());
        }
        cases.count()?;
        Ok(cases)
    }

    /// How many are open, by whose they are to mend, and how many closed ones are kept.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub fn gauges(&self, gauges: &mut Gauges) {
        for (cause, open) in Cause::ALL.into_iter().zip(&self.open) {
            gauges.set(
                "gemba_dead_letters_open",
                "Dead letters that nobody replayed or discarded, by whose they are to mend",
                &[("cause", cause.into_str())],
                open.read() as f64,
            );
        }
        gauges.set(
            "gemba_dead_letters_closed",
            "Closed dead letters that are still kept",
            &[],
            self.closed.read() as f64,
        );
    }

    /// Tells how many there are now.
    pub(super) fn count(&self) -> Result<(), StoreError> {
        let view = self.view();
        let count = |list: &List| view.head(list).map(|head| head.map_or(0, |head| head.count));
        for (cause, open) in Cause::ALL.into_iter().zip(&self.open) {
            open.publish(count(&List::of(None, Status::Open, cause))?);
        }
        self.closed.publish(count(&List::closed())?);
        Ok(())
    }

    fn view(&self) -> View<'_> {
        View { cases: self, snapshot: self.database.snapshot(), reads: Cell::new(0) }
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, case: CaseId) -> Result<Option<Case>, StoreError> {
        self.view().find(case)
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

    /// Those behind `after` that the filter takes, at most `limit`, and how many there are in all. It reads about as many
    /// rows as it returns, whatever there is; for a SKU or a type, by which nothing is listed, it looks at
    /// [`CASES_LOOKED_AT_MAX`] cases at most.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn search(&self, filter: &CaseFilter, after: Seq, limit: usize) -> Result<Found, StoreError> {
        self.view().search(filter, after, limit)
    }

    /// Adds what the changes come to.
    pub(super) fn write(
        &self,
        batch: &mut OwnedWriteBatch,
        changes: &[CaseChange],
    ) -> Result<(), StoreError> {
        let view = self.view();
        let mut cases: BTreeMap<CaseId, (Option<Case>, Option<Case>)> = BTreeMap::new();
        for change in changes {
            let id = change.case();
            if let CaseChange::Open { signal, .. } = change {
                let mut bytes = Vec::with_capacity(signal.body().len() + 256);
                encode_signal(&mut bytes, signal);
                batch.insert(&self.signals, id.0.0.to_be_bytes(), bytes);
            }
            let (_, after) = match cases.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let known = view.find(id)?;
                    new.insert((known.clone(), known))
                }
            };
            *after = change.applied(after.take());
        }
        let mut edit = Edit::default();
        for (id, (before, after)) in &cases {
            edit.note(before.as_ref(), after.as_ref());
            if let Some(row) = after {
                // A row of plain texts and numbers can be written.
                batch.insert(&self.rows, id.0.0.to_be_bytes(), serde_json::to_vec(row).unwrap_or_default());
            }
        }
        edit.write(&view, batch)
    }

    /// Removes the closed cases that need not be kept any more, those first that were closed first, and no more than
    /// [`CASES_RETIRED_AT_ONCE`]. Returns how many.
    pub(super) fn retire(
        &self,
        batch: &mut OwnedWriteBatch,
        retention: Retention,
        now: UnixMillis,
    ) -> Result<usize, StoreError> {
        let view = self.view();
        let closed = List::closed();
        let Some(head) = view.head(&closed)? else { return Ok(0) };
        let over = usize::try_from(head.count.saturating_sub(retention.count)).unwrap_or(usize::MAX);
        let age = u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX);
        let (mut edit, mut retired) = (Edit::default(), 0);
        for at in view.entries(&closed, head.first).take(CASES_RETIRED_AT_ONCE) {
            let id = CaseId(Seq(seq_at(at?)));
            let case = view.find(id)?.ok_or_else(|| self.damaged())?;
            let closed = case.closed.ok_or_else(|| self.damaged())?;
            if retired >= over && closed.saturating_add(age) > now.0 {
                break;
            }
            retired += 1;
            edit.note(Some(&case), None);
            batch.remove(&self.rows, id.0.0.to_be_bytes());
            batch.remove(&self.signals, id.0.0.to_be_bytes());
        }
        edit.write(&view, batch)?;
        Ok(retired)
    }

    pub(super) fn damaged(&self) -> StoreError {
        StoreError::Meta { path: self.path.clone(), what: "list of dead letters" }
    }
}

impl View<'_> {
    fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<fjall::UserValue>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        self.snapshot.get(keyspace, key).map_err(|error| wrapped(&self.cases.path, "read", error))
    }

    fn find(&self, case: CaseId) -> Result<Option<Case>, StoreError> {
        let row = self.get(&self.cases.rows, &case.0.0.to_be_bytes())?;
        let read = |row: fjall::UserValue| {
            let case: Case = serde_json::from_slice(&row).map_err(|_| self.cases.damaged())?;
            // An action that cannot be sent must not be decided anew instead.
            if case.action.is_some() && case.resend().is_none() {
                return Err(self.cases.damaged());
            }
            Ok(case)
        };
        row.map(read).transpose()
    }

    pub(super) fn head(&self, list: &List) -> Result<Option<Head>, StoreError> {
        let head = self.get(&self.cases.index, &list.head())?;
        head.map(|head| Head::read(&head).ok_or_else(|| self.cases.damaged())).transpose()
    }

    /// The entries of a list, from one on.
    pub(super) fn entries(&self, list: &List, from: u128) -> impl Iterator<Item = Result<u128, StoreError>> {
        let rows = self.snapshot.range(&self.cases.index, list.entry(from)..=list.entry(u128::MAX));
        rows.map(|row| {
            self.reads.set(self.reads.get() + 1);
            let key = row.key().map_err(|error| wrapped(&self.cases.path, "read", error))?;
            key.last_chunk().map(|at| u128::from_be_bytes(*at)).ok_or_else(|| self.cases.damaged())
        })
    }

    /// The numbers in all of these lists, from one on, in order.
    fn merged(&self, lists: &[(List, Head)], from: u64) -> impl Iterator<Item = Result<u64, StoreError>> {
        let from = u128::from(from);
        let mut each = Vec::with_capacity(lists.len());
        for (list, head) in lists {
            let mut entries = self.entries(list, head.first.max(from));
            each.push((entries.next(), entries));
        }
        std::iter::from_fn(move || {
            // An error comes first.
            let (next, entries) = each.iter_mut().min_by_key(|(next, _)| match next {
                Some(Ok(at)) => (1, *at),
                Some(Err(_)) => (0, 0),
                None => (2, 0),
            })?;
            std::mem::replace(next, entries.next()).map(|at| at.map(seq_at))
        })
    }

    fn search(&self, filter: &CaseFilter, after: Seq, limit: usize) -> Result<Found, StoreError> {
        let mut lists = Vec::new();
        for status in
            Status::ALL.into_iter().filter(|status| filter.status.is_none_or(|only| only == *status))
        {
            for cause in Cause::ALL.into_iter().filter(|cause| filter.cause.is_none_or(|only| only == *cause))
            {
                let list = List::of(filter.tenant.as_deref(), status, cause);
                lists.extend(self.head(&list)?.map(|head| (list, head)));
            }
        }
        let listed = lists.iter().map(|(_, head)| head.count).sum();
        let is_exact = filter.sku.is_none() && filter.r#type.is_none();
        // Few enough to be counted one by one.
        let is_counted = !is_exact && listed <= CASES_LOOKED_AT_MAX;
        let count = if is_exact { Some(listed) } else { is_counted.then_some(0) };
        let mut found = Found { count, ..Found::default() };
        let from = if is_counted { 0 } else { after.0.saturating_add(1) };
        let (mut looked, mut last) = (0, None);
        for seq in self.merged(&lists, from) {
            let (seq, is_full) = (Seq(seq?), found.page.len() >= limit);
            let is_over = !is_exact && looked >= CASES_LOOKED_AT_MAX;
            if (is_full || is_over) && found.next.is_none() {
                found.next = last;
            }
            if is_over || is_full && !is_counted {
                break;
            }
            looked += 1;
            last = Some(CaseId(seq));
            let case = self.find(CaseId(seq))?.ok_or_else(|| self.cases.damaged())?;
            if filter.takes(&case) {
                found.count = found.count.map(|count| count + u64::from(is_counted));
                if !is_full && seq > after {
                    found.page.push(case);
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
