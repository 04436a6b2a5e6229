//! The dead letters in the store at one moment.

use std::cell::Cell;
use std::path::PathBuf;

use fjall::{Keyspace, Readable as _, Snapshot};

use super::case_lists::{CaseList, ListHead, seq_at};
use super::error::{StoreError, wrapped};
use crate::case::{Case, CaseFilter, CaseId, Cause, Found, Status};
use crate::event::Seq;
use crate::limits::CASES_LOOKED_AT_MAX;

/// Where dead letters are kept.
#[derive(Clone)]
pub struct CaseTables {
    pub path: PathBuf,
    /// What became of each.
    pub rows: Keyspace,
    pub signals: Keyspace,
    /// The lists' heads and entries.
    pub index: Keyspace,
}

impl CaseTables {
    pub fn damaged(&self) -> StoreError {
        StoreError::Meta { path: self.path.clone(), what: "list of dead letters" }
    }
}

/// The cases at one moment.
pub struct CaseView<'a> {
    tables: &'a CaseTables,
    snapshot: Snapshot,
    /// Rows and entries that were read.
    reads: Cell<u64>,
}

impl<'a> CaseView<'a> {
    pub fn new(tables: &'a CaseTables, snapshot: Snapshot) -> Self {
        Self { tables, snapshot, reads: Cell::new(0) }
    }

    pub fn index(&self) -> &Keyspace {
        &self.tables.index
    }

    pub fn damaged(&self) -> StoreError {
        self.tables.damaged()
    }

    /// Rows and entries that were read.
    #[cfg(test)]
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    fn get(&self, keyspace: &Keyspace, key: &[u8]) -> Result<Option<fjall::UserValue>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        self.snapshot.get(keyspace, key).map_err(|error| wrapped(&self.tables.path, "read", error))
    }

    pub fn find(&self, case: CaseId) -> Result<Option<Case>, StoreError> {
        let row = self.get(&self.tables.rows, &case.0.0.to_be_bytes())?;
        let read = |row: fjall::UserValue| {
            let case: Case = serde_json::from_slice(&row).map_err(|_| self.damaged())?;
            // An action that cannot be sent must not be decided anew instead.
            if case.action.is_some() && case.resend().is_none() {
                return Err(self.damaged());
            }
            Ok(case)
        };
        row.map(read).transpose()
    }

    pub fn head(&self, list: &CaseList) -> Result<Option<ListHead>, StoreError> {
        let head = self.get(&self.tables.index, &list.head())?;
        head.map(|head| ListHead::read(&head).ok_or_else(|| self.damaged())).transpose()
    }

    /// The entries of a list, from one on.
    pub fn entries(&self, list: &CaseList, from: u128) -> impl Iterator<Item = Result<u128, StoreError>> {
        let rows = self.snapshot.range(&self.tables.index, list.entry(from)..=list.entry(u128::MAX));
        rows.map(|row| {
            self.reads.set(self.reads.get() + 1);
            let key = row.key().map_err(|error| wrapped(&self.tables.path, "read", error))?;
            key.last_chunk().map(|at| u128::from_be_bytes(*at)).ok_or_else(|| self.damaged())
        })
    }

    /// The numbers in all of these lists, from one on, in order.
    fn merged(
        &self,
        lists: &[(CaseList, ListHead)],
        from: u64,
    ) -> impl Iterator<Item = Result<u64, StoreError>> {
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

    pub fn search(&self, filter: &CaseFilter, after: Seq, limit: usize) -> Result<Found, StoreError> {
        let mut lists = Vec::new();
        for status in
            Status::ALL.into_iter().filter(|status| filter.status.is_none_or(|only| only == *status))
        {
            for cause in Cause::ALL.into_iter().filter(|cause| filter.cause.is_none_or(|only| only == *cause))
            {
                let list = CaseList::of(filter.tenant.as_deref(), status, cause);
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
            let case = self.find(CaseId(seq))?.ok_or_else(|| self.damaged())?;
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
