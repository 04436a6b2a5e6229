//! Of which groups somebody may have heard that they fire, through one channel. Pure.
//!
//! The machine of alerts knows it, too, but later: its notices are on their way while what became of earlier ones is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::alert::{AlertId, Notice, NoticeId, NoticeKind, NoticeReason};
use crate::event::UnixMillis;
use crate::limits::CHANNEL_NAMES_MAX;

/// A group that began once: when, and its name.
pub type GroupBegun = (u64, AlertId);

pub fn group_of(id: &NoticeId) -> GroupBegun {
    (id.since, id.group)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Nobody,
    /// It is being told for the first time.
    Trying,
    Perhaps,
}

/// See above. Of groups that are not in it, somebody may have heard: before a start, or long ago.
#[derive(Debug)]
pub struct Heard {
    /// All that was told of groups that began since then is known.
    since: UnixMillis,
    groups: BTreeMap<GroupBegun, Hearing>,
}

impl Heard {
    pub fn new(since: UnixMillis) -> Self {
        Self { since, groups: BTreeMap::new() }
    }

    /// A notice comes; whether it is the first of its group.
    pub fn asked(&mut self, notice: &Notice) -> bool {
        let group = group_of(&notice.id);
        let hearing = match (notice.tells, notice.reason) {
            _ if notice.maybe_twice => Hearing::Perhaps,
            (NoticeKind::Firing, NoticeReason::First) => Hearing::Nobody,
            // A channel may be called first and last.
            (NoticeKind::Firing, NoticeReason::Escalation) if notice.id.since >= self.since.0 => {
                Hearing::Nobody
            }
            // It was told before, by a process that is not any more.
            (
                NoticeKind::Firing | NoticeKind::Resolved | NoticeKind::Acknowledged,
                NoticeReason::First
                | NoticeReason::Changed
                | NoticeReason::Repeat
                | NoticeReason::Escalation
                | NoticeReason::Resolved
                | NoticeReason::Acknowledged,
            ) => Hearing::Perhaps,
        };
        let is_first = match self.groups.entry(group) {
            Entry::Vacant(place) => {
                place.insert(hearing);
                true
            }
            Entry::Occupied(mut known) => {
                if notice.maybe_twice {
                    known.insert(hearing);
                }
                false
            }
        };
        // The oldest are over.
        while self.groups.len() > CHANNEL_NAMES_MAX && self.groups.pop_first().is_some() {}
        is_first
    }

    /// It is being told that these fire.
    pub fn tries(&mut self, of: &[NoticeId]) {
        self.change(of, |hearing| {
            if *hearing == Hearing::Nobody {
                *hearing = Hearing::Trying;
            }
        });
    }

    /// A try to tell that these fire is over.
    pub fn tried(&mut self, of: &[NoticeId], perhaps: bool) {
        self.change(of, |hearing| {
            if *hearing == Hearing::Trying {
                *hearing = if perhaps { Hearing::Perhaps } else { Hearing::Nobody };
            }
        });
    }

    /// It was told that these are over: one that fires again is a new beginning.
    pub fn over(&mut self, of: &[NoticeId]) {
        self.change(of, |hearing| *hearing = Hearing::Nobody);
    }

    fn change(&mut self, of: &[NoticeId], change: impl Fn(&mut Hearing)) {
        for id in of {
            if let Some(hearing) = self.groups.get_mut(&group_of(id)) {
                change(hearing);
            }
        }
    }

    pub fn perhaps(&self, group: GroupBegun) -> bool {
        self.groups.get(&group) != Some(&Hearing::Nobody)
    }
}
