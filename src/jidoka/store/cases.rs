//! The dead letters in the store: one row for what became of each, one for its signal, so that a search reads no
//! bodies, and its entries in the [lists](super::case_lists) by which a search finds it. All of them are written in the
//! commit of the governors that made them. An open case is never removed; a closed one when its [`Retention`] ends.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};

use super::case_edit::ListEdit;
use super::case_lists::{CaseList, seq_at};
use super::case_view::{CaseTables, CaseView};
use super::error::{StoreError, wrapped};
use crate::case::{Case, CaseFilter, CaseId, Cause, Found, Status};
use crate::event::{Seq, UnixMillis};
use crate::jidoka::dead_letter::CaseChange;
use crate::jidoka::governor::{decode_signal, encode_signal};
use crate::kaizen::{Metric, Readings};
use crate::limits::CASES_RETIRED_AT_ONCE;
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
    database: Database,
    tables: CaseTables,
    /// Open ones, in the order of [`Cause::ALL`].
    open: [Mark; Cause::ALL.len()],
    closed: Mark,
}

impl Cases {
    pub fn open(
        path: &Path,
        database: &Database,
        options: impl Fn() -> KeyspaceCreateOptions,
    ) -> Result<Self, StoreError> {
        let keyspace = |name| {
            let opened = database.keyspace(name, &options);
            opened.map_err(|error| wrapped(path, "open", error))
        };
        let cases = Self {
            database: database.clone(),
            tables: CaseTables {
                path: path.to_owned(),
                rows: keyspace("cases")?,
                signals: keyspace("case_signals")?,
                index: keyspace("case_index")?,
            },
            open: Cause::ALL.map(|_| Mark::new(0)),
            closed: Mark::new(0),
        };
        let is_empty =
            |keyspace: &Keyspace| keyspace.is_empty().map_err(|error| wrapped(path, "read", error));
        // What an earlier version wrote, or damage: what is listed nowhere would be lost silently.
        if is_empty(&cases.tables.index)? && !is_empty(&cases.tables.rows)? {
            return Err(cases.tables.damaged());
        }
        cases.count()?;
        Ok(cases)
    }

    /// How many are open, by whose they are to mend, and how many closed ones are kept.
    pub fn read(&self, readings: &mut Readings) {
        for (cause, open) in Cause::ALL.into_iter().zip(&self.open) {
            readings.count(Metric::DeadLettersOpen, &[cause.into_str()], open.read());
        }
        readings.count(Metric::DeadLettersClosed, &[], self.closed.read());
    }

    /// Tells how many there are now.
    pub fn count(&self) -> Result<(), StoreError> {
        let view = self.view();
        let count = |list: &CaseList| view.head(list).map(|head| head.map_or(0, |head| head.count));
        for (cause, open) in Cause::ALL.into_iter().zip(&self.open) {
            open.publish(count(&CaseList::of(None, Status::Open, cause))?);
        }
        self.closed.publish(count(&CaseList::closed())?);
        Ok(())
    }

    fn view(&self) -> CaseView<'_> {
        CaseView::new(&self.tables, self.database.snapshot())
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
        let row = self.tables.signals.get(case.0.0.to_be_bytes());
        let row = row.map_err(|error| wrapped(&self.tables.path, "read", error))?;
        row.map(|row| decode_signal(&row).map_err(|_| self.tables.damaged())).transpose()
    }

    /// Those behind `after` that the filter takes, at most `limit`, and how many there are in all. It reads about as many
    /// rows as it returns, whatever there is; for a SKU or a type, by which nothing is listed, it looks at
    /// [`CASES_LOOKED_AT_MAX`](crate::limits::CASES_LOOKED_AT_MAX) cases at most.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn search(&self, filter: &CaseFilter, after: Seq, limit: usize) -> Result<Found, StoreError> {
        self.view().search(filter, after, limit)
    }

    /// Adds what the changes come to.
    pub fn write(&self, batch: &mut OwnedWriteBatch, changes: &[CaseChange]) -> Result<(), StoreError> {
        let view = self.view();
        let mut cases: BTreeMap<CaseId, (Option<Case>, Option<Case>)> = BTreeMap::new();
        for change in changes {
            let id = change.case();
            if let CaseChange::Open { signal, .. } = change {
                let mut bytes = Vec::with_capacity(signal.body().len() + 256);
                encode_signal(&mut bytes, signal);
                batch.insert(&self.tables.signals, id.0.0.to_be_bytes(), bytes);
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
        let mut edit = ListEdit::default();
        for (id, (before, after)) in &cases {
            edit.note(before.as_ref(), after.as_ref());
            if let Some(row) = after {
                // A row of plain texts and numbers can be written.
                batch.insert(
                    &self.tables.rows,
                    id.0.0.to_be_bytes(),
                    serde_json::to_vec(row).unwrap_or_default(),
                );
            }
        }
        edit.write(&view, batch)
    }

    /// Removes the closed cases that need not be kept any more, those first that were closed first, and no more than
    /// [`CASES_RETIRED_AT_ONCE`]. Returns how many.
    pub fn retire(
        &self,
        batch: &mut OwnedWriteBatch,
        retention: Retention,
        now: UnixMillis,
    ) -> Result<usize, StoreError> {
        let view = self.view();
        let closed = CaseList::closed();
        let Some(head) = view.head(&closed)? else { return Ok(0) };
        let over = usize::try_from(head.count.saturating_sub(retention.count)).unwrap_or(usize::MAX);
        let age = u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX);
        let (mut edit, mut retired) = (ListEdit::default(), 0);
        for at in view.entries(&closed, head.first).take(CASES_RETIRED_AT_ONCE) {
            let id = CaseId(Seq(seq_at(at?)));
            let case = view.find(id)?.ok_or_else(|| self.tables.damaged())?;
            let closed = case.closed.ok_or_else(|| self.tables.damaged())?;
            if retired >= over && closed.saturating_add(age) > now.0 {
                break;
            }
            retired += 1;
            edit.note(Some(&case), None);
            batch.remove(&self.tables.rows, id.0.0.to_be_bytes());
            batch.remove(&self.tables.signals, id.0.0.to_be_bytes());
        }
        edit.write(&view, batch)?;
        Ok(retired)
    }
}

#[cfg(test)]
mod tests;
