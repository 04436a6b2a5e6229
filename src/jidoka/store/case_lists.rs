//! Lists of dead letters: by status and cause, by tenant, status and cause, and of the closed ones by when they were
//! closed. Each has a head with its length and its first entry, so that a count reads one row, and a page does not pass
//! over what was removed before it: an LSM tree keeps a mark of each removal until it is compacted.

use std::collections::{BTreeMap, BTreeSet};

use fjall::OwnedWriteBatch;

use super::StoreError;
use super::cases::View;
use crate::case::{Case, Cause, Status};

/// One list, by how its keys begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct List(Vec<u8>);

/// What is said of a list as a whole; an empty one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub count: u64,
    /// Where its first entry stands.
    pub first: u128,
}

const ENTRY: u8 = b'e';
const HEAD: u8 = b'h';
const ALL: u8 = b'a';
const TENANT: u8 = b't';
const CLOSED: u8 = b'c';

impl List {
    /// Cases by number; of one tenant or of all.
    pub(super) fn of(tenant: Option<&str>, status: Status, cause: Cause) -> Self {
        let mut key = vec![if tenant.is_some() { TENANT } else { ALL }];
        key.extend_from_slice(tenant.unwrap_or_default().as_bytes());
        key.extend_from_slice(&[0, status as u8, cause as u8]);
        Self(key)
    }

    /// Cases by when they were closed.
    pub(super) fn closed() -> Self {
        Self(vec![CLOSED])
    }

    pub(super) fn head(&self) -> Vec<u8> {
        [&[HEAD][..], &self.0].concat()
    }

    pub(super) fn entry(&self, at: u128) -> Vec<u8> {
        [&[ENTRY][..], &self.0, &at.to_be_bytes()].concat()
    }
}

impl Head {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (count, first) = bytes.split_first_chunk()?;
        let (count, first) = (u64::from_be_bytes(*count), u128::from_be_bytes(first.try_into().ok()?));
        (count > 0).then_some(Self { count, first })
    }

    fn bytes(self) -> Vec<u8> {
        [&self.count.to_be_bytes()[..], &self.first.to_be_bytes()].concat()
    }
}

/// Where a case stands in the list of the closed: by time, then by number.
pub(super) fn closed_at(time: u64, seq: u64) -> u128 {
    u128::from(time) << 64 | u128::from(seq)
}

/// The number of the case that stands there.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is the number")]
pub(super) fn seq_at(at: u128) -> u64 {
    at as u64
}

/// Where it stands in which lists.
fn places(case: Option<&Case>) -> BTreeSet<(List, u128)> {
    let Some(case) = case else { return BTreeSet::new() };
    let (status, cause, seq) = (case.status, case.first.cause, case.seq);
    let of = |tenant| (List::of(tenant, status, cause), seq.into());
    let closed = case.closed.map(|time| (List::closed(), closed_at(time, seq)));
    [of(None), of(Some(&case.tenant))].into_iter().chain(closed).collect()
}

/// What one commit does to the lists.
#[derive(Debug, Default)]
pub(super) struct Edit(BTreeMap<List, (BTreeSet<u128>, BTreeSet<u128>)>);

impl Edit {
    /// Notes that a case is now as it is.
    pub(super) fn note(&mut self, before: Option<&Case>, after: Option<&Case>) {
        let (before, after) = (places(before), places(after));
        for (list, at) in after.difference(&before) {
            self.0.entry(list.clone()).or_default().0.insert(*at);
        }
        for (list, at) in before.difference(&after) {
            self.0.entry(list.clone()).or_default().1.insert(*at);
        }
    }

    pub(super) fn write(&self, view: &View<'_>, batch: &mut OwnedWriteBatch) -> Result<(), StoreError> {
        for (list, (added, removed)) in &self.0 {
            let known = view.head(list)?;
            let (count, first) = known.map_or((0, u128::MAX), |head| (head.count, head.first));
            let count = (count + added.len() as u64).checked_sub(removed.len() as u64);
            let count = count.ok_or_else(|| view.cases.damaged())?;
            for at in removed {
                batch.remove(&view.cases.index, list.entry(*at));
            }
            for at in added {
                batch.insert(&view.cases.index, list.entry(*at), []);
            }
            if count == 0 {
                batch.remove(&view.cases.index, list.head());
                continue;
            }
            let is_left =
                |at: &Result<u128, StoreError>| at.as_ref().map_or(true, |at| !removed.contains(at));
            let left = if removed.contains(&first) {
                view.entries(list, first).find(is_left).transpose()?
            } else {
                Some(first)
            };
            let first = left.into_iter().chain(added.first().copied()).min().unwrap_or(first);
            batch.insert(&view.cases.index, list.head(), Head { count, first }.bytes());
        }
        Ok(())
    }
}
