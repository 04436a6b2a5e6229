//! Lists of dead letters: by status and cause, by tenant, status and cause, and of the closed ones by when they were
//! closed. Each has a head with its length and its first entry, so that a count reads one row, and a page does not pass
//! over what was removed before it: an LSM tree keeps a mark of each removal until it is compacted.

use std::collections::BTreeSet;

use crate::case::{Case, Cause, Status};

/// One list, by how its keys begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CaseList(Vec<u8>);

/// What is said of a list as a whole; an empty one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListHead {
    pub count: u64,
    /// Where its first entry stands.
    pub first: u128,
}

const ENTRY: u8 = b'e';
const HEAD: u8 = b'h';
const ALL: u8 = b'a';
const TENANT: u8 = b't';
const CLOSED: u8 = b'c';

impl CaseList {
    /// Cases by number; of one tenant or of all.
    pub fn of(tenant: Option<&str>, status: Status, cause: Cause) -> Self {
        let mut key = vec![if tenant.is_some() { TENANT } else { ALL }];
        key.extend_from_slice(tenant.unwrap_or_default().as_bytes());
        key.extend_from_slice(&[0, status as u8, cause as u8]);
        Self(key)
    }

    /// Cases by when they were closed.
    pub fn closed() -> Self {
        Self(vec![CLOSED])
    }

    pub fn head(&self) -> Vec<u8> {
        [&[HEAD][..], &self.0].concat()
    }

    pub fn entry(&self, at: u128) -> Vec<u8> {
        [&[ENTRY][..], &self.0, &at.to_be_bytes()].concat()
    }
}

impl ListHead {
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (count, first) = bytes.split_first_chunk()?;
        let (count, first) = (u64::from_be_bytes(*count), u128::from_be_bytes(first.try_into().ok()?));
        (count > 0).then_some(Self { count, first })
    }

    pub fn bytes(self) -> Vec<u8> {
        [&self.count.to_be_bytes()[..], &self.first.to_be_bytes()].concat()
    }
}

/// Where a case stands in the list of the closed: by time, then by number.
pub fn closed_at(time: u64, seq: u64) -> u128 {
    u128::from(time) << 64 | u128::from(seq)
}

/// The number of the case that stands there.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is the number")]
pub fn seq_at(at: u128) -> u64 {
    at as u64
}

/// Where it stands in which lists.
pub fn places(case: Option<&Case>) -> BTreeSet<(CaseList, u128)> {
    let Some(case) = case else { return BTreeSet::new() };
    let (status, cause, seq) = (case.status, case.first.cause, case.seq);
    let of = |tenant| (CaseList::of(tenant, status, cause), seq.into());
    let closed = case.closed.map(|time| (CaseList::closed(), closed_at(time, seq)));
    [of(None), of(Some(&case.tenant))].into_iter().chain(closed).collect()
}
