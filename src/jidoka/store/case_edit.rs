//! What a commit does to the lists of dead letters.

use std::collections::{BTreeMap, BTreeSet};

use fjall::OwnedWriteBatch;

use super::case_lists::{CaseList, ListHead, places};
use super::case_view::CaseView;
use super::error::StoreError;
use crate::case::Case;

/// What one commit does to the lists.
#[derive(Debug, Default)]
pub struct ListEdit(BTreeMap<CaseList, (BTreeSet<u128>, BTreeSet<u128>)>);

impl ListEdit {
    /// Notes that a case is now as it is.
    pub fn note(&mut self, before: Option<&Case>, after: Option<&Case>) {
        let (before, after) = (places(before), places(after));
        for (list, at) in after.difference(&before) {
            self.0.entry(list.clone()).or_default().0.insert(*at);
        }
        for (list, at) in before.difference(&after) {
            self.0.entry(list.clone()).or_default().1.insert(*at);
        }
    }

    pub fn write(&self, view: &CaseView<'_>, batch: &mut OwnedWriteBatch) -> Result<(), StoreError> {
        let index = view.index();
        for (list, (added, removed)) in &self.0 {
            let known = view.head(list)?;
            let (count, first) = known.map_or((0, u128::MAX), |head| (head.count, head.first));
            let count = (count + added.len() as u64).checked_sub(removed.len() as u64);
            let count = count.ok_or_else(|| view.damaged())?;
            for at in removed {
                batch.remove(index, list.entry(*at));
            }
            for at in added {
                batch.insert(index, list.entry(*at), []);
            }
            if count == 0 {
                batch.remove(index, list.head());
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
            batch.insert(index, list.head(), ListHead { count, first }.bytes());
        }
        Ok(())
    }
}
