//! Notices that wait for one channel. Pure; the time is given.
//!
//! The most urgent one is next, and among these the one that came first; of one group its beginning is before an acknowledgement, and
//! that is before its end. A newer notice of a group takes the place of what it makes untrue. An acknowledgement or an end of which
//! nobody can have heard the beginning is not told either ([`Heard`]). Beyond the bound those that are alike become one, the least
//! urgent first. So a storm is a few messages. Each of its notices ends with the one that it became part of.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::delivery::Delivery;
use super::digest::{join, merged};
use super::heard::{GroupBegun, Heard, group_of};
use crate::alert::{AlertId, Importance, Notice, NoticeId, NoticeKind};
use crate::event::UnixMillis;
use crate::limits::NOTICE_ALERTS_MAX;

/// A notice that waits, or is being tried.
#[derive(Debug)]
pub struct Waiting {
    pub delivery: Delivery,
    pub tries: u32,
    /// The next try is not made before this.
    pub not_before: Instant,
    /// From here on a failure is its last.
    pub until: Instant,
    /// Why the last try failed.
    pub why: Option<String>,
    number: u64,
}

/// Notices that end without a call.
#[derive(Debug, PartialEq, Eq)]
pub struct Replaced {
    pub notices: Vec<NoticeId>,
    pub tries: u32,
    /// A try before may have been heard.
    pub maybe: bool,
    pub why: &'static str,
}

const BY_NEWER: &str = "replaced by a newer one";
const NO_BEGINNING: &str = "nobody was told that it began";
const NO_ROOM: &str = "its channel had no more room, and a more urgent one took its place";

/// See above.
#[derive(Debug)]
pub struct Queue {
    waiting: Vec<Waiting>,
    heard: Heard,
    next: u64,
    most: usize,
    /// A notice lists all its alerts, however many.
    lists_all: bool,
}

impl Queue {
    /// What was told of groups that begin from now on is known here.
    pub fn new(most: usize, lists_all: bool, now: UnixMillis) -> Self {
        Self { waiting: Vec::new(), heard: Heard::new(now), next: 0, most, lists_all }
    }

    pub fn bound(&mut self, most: usize, lists_all: bool) {
        (self.most, self.lists_all) = (most, lists_all);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notices without an end, those that are part of others included.
    pub fn names(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.delivery.covers.len()).sum()
    }

    /// Takes a notice; what it replaces, which may be itself.
    pub fn push(&mut self, mut delivery: Delivery, until: Instant, now: Instant) -> Vec<Replaced> {
        if !self.lists_all {
            delivery.notice.alerts.truncate(NOTICE_ALERTS_MAX);
        }
        let is_first = self.heard.asked(&delivery.notice);
        let number = self.next;
        self.next += 1;
        let mut added = Waiting { delivery, tries: 0, not_before: now, until, why: None, number };
        let mut replaced = Vec::new();
        // Of a storm each is the first of its group, and nothing of it waits.
        if !is_first {
            for other in &mut self.waiting {
                replaced.extend(other.yield_to(&mut added, &self.heard, self.lists_all));
            }
            self.waiting.retain(|waiting| !waiting.is_empty());
        }
        replaced.extend(added.leave_out_unheard(&self.heard));
        if !added.is_empty() {
            self.waiting.push(added);
        }
        while self.waiting.len() > self.most && self.merge_one() {}
        replaced
    }

    /// There is no room for one more: the newest of the least urgent that tell that something fires is left out, where this one is more
    /// urgent, or tells an end. Ends have to be told.
    pub fn give_way(&mut self, to: &Notice) -> Option<Replaced> {
        let yields = |importance: Importance| match to.tells {
            NoticeKind::Resolved => importance <= to.importance,
            NoticeKind::Firing | NoticeKind::Acknowledged => importance < to.importance,
        };
        let importance = |waiting: &Waiting| waiting.delivery.notice.importance;
        let firing = self.waiting.iter_mut().filter(|waiting| waiting.tells() == NoticeKind::Firing);
        let lesser = firing
            .filter(|waiting| yields(importance(waiting)))
            .min_by_key(|waiting| (importance(waiting), std::cmp::Reverse(waiting.number)))?;
        let newest = lesser.covers().last()?.clone();
        let replaced = lesser.leave_out(|id| *id == newest, NO_ROOM);
        self.waiting.retain(|waiting| !waiting.is_empty());
        replaced
    }

    /// A try failed, and there will be another one; what is replaced, since a newer notice of its group has come meanwhile.
    pub fn put_back(&mut self, mut failed: Waiting) -> Vec<Replaced> {
        let mut replaced = Vec::new();
        for other in &mut self.waiting {
            replaced.extend(failed.yield_to(other, &self.heard, self.lists_all));
        }
        if !failed.is_empty() {
            self.waiting.push(failed);
        }
        replaced
    }

    /// Takes out acknowledgements and ends of groups of which nobody heard: none of them waits any more to be told that it fires, or
    /// that would have been replaced.
    pub fn unheard(&mut self) -> Vec<Replaced> {
        let heard = &self.heard;
        let replaced =
            self.waiting.iter_mut().filter_map(|waiting| waiting.leave_out_unheard(heard)).collect();
        self.waiting.retain(|waiting| !waiting.is_empty());
        replaced
    }

    /// Groups of which is to be told that they fire.
    fn firing(&self) -> BTreeSet<GroupBegun> {
        let firing = self.waiting.iter().filter(|waiting| waiting.tells() == NoticeKind::Firing);
        firing.flat_map(|waiting| waiting.covers().iter().map(group_of)).collect()
    }

    /// Two that are alike become one; whether there were two.
    fn merge_one(&mut self) -> bool {
        // Recipients that a failed try has served are not told again, so those are preferred that all or none have been served of.
        let Some((first, second)) = self.alike(true).or_else(|| self.alike(false)) else { return false };
        let second = self.waiting.remove(second);
        let first = self.waiting.remove(first);
        self.waiting.push(Waiting {
            delivery: merged(first.delivery, second.delivery, self.lists_all),
            tries: first.tries.max(second.tries),
            not_before: first.not_before.min(second.not_before),
            until: first.until.max(second.until),
            why: first.why.or(second.why),
            number: first.number.min(second.number),
        });
        true
    }

    /// The first two that are alike, of the least urgent.
    fn alike(&self, by_recipients: bool) -> Option<(usize, usize)> {
        for importance in Importance::ALL {
            for tells in [NoticeKind::Firing, NoticeKind::Acknowledged, NoticeKind::Resolved] {
                let is_alike = |(_, waiting): &(usize, &Waiting)| {
                    waiting.delivery.notice.importance == importance && waiting.tells() == tells
                };
                let mut alike: Vec<_> = self.waiting.iter().enumerate().filter(is_alike).collect();
                // One that stands for several grows.
                alike.sort_unstable_by_key(|(_, waiting)| waiting.number);
                for (at, (first, one)) in alike.iter().enumerate() {
                    let others = alike.iter().skip(at + 1);
                    let fits = |(_, other): &&(usize, &Waiting)| {
                        !by_recipients || one.delivery.has_same_done(&other.delivery)
                    };
                    if let Some((second, _)) = others.clone().find(fits) {
                        return Some((*first.min(second), *first.max(second)));
                    }
                }
            }
        }
        None
    }

    /// The next one to try. While the channel fails, one that was tried less often is before those that are more urgent: what a
    /// receiver can never take would be first for ever. One that a part of its receivers has taken waits for those that none has.
    pub fn pop(&mut self, now: Instant, is_failing: bool) -> Option<Waiting> {
        let next =
            self.in_turn().filter(|(_, waiting)| waiting.not_before <= now).min_by_key(|(_, waiting)| {
                let is_behind = is_failing || waiting.delivery.is_partly_done();
                let tries = if is_behind { waiting.tries } else { 0 };
                (tries, std::cmp::Reverse(waiting.delivery.notice.importance), waiting.number)
            });
        let at = next.map(|(at, _)| at)?;
        Some(self.waiting.remove(at))
    }

    /// Those that wait for no other one: an acknowledgement waits for what is acknowledged.
    fn in_turn(&self) -> impl Iterator<Item = (usize, &Waiting)> {
        let has_acknowledged = self.waiting.iter().any(|waiting| waiting.tells() == NoticeKind::Acknowledged);
        let firing = if has_acknowledged { self.firing() } else { BTreeSet::new() };
        self.waiting.iter().enumerate().filter(move |(_, waiting)| {
            waiting.tells() != NoticeKind::Acknowledged
                || !waiting.covers().iter().any(|id| firing.contains(&group_of(id)))
        })
    }

    /// A try begins.
    pub fn tries(&mut self, waiting: &Waiting) {
        if waiting.tells() == NoticeKind::Firing {
            self.heard.tries(waiting.covers());
        }
    }

    /// A try is over.
    pub fn tried(&mut self, waiting: &Waiting, is_told: bool) {
        match waiting.tells() {
            NoticeKind::Firing => self.heard.tried(waiting.covers(), is_told || waiting.is_maybe_heard()),
            NoticeKind::Resolved if is_told => self.heard.over(waiting.covers()),
            NoticeKind::Resolved | NoticeKind::Acknowledged => {}
        }
    }

    /// The channel works again: nobody waits for a pause that began before.
    pub fn hurry(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            waiting.not_before = waiting.not_before.min(now);
        }
    }

    /// When one is to be tried.
    pub fn due_at(&self) -> Option<Instant> {
        self.in_turn().map(|(_, waiting)| waiting.not_before).min()
    }

    /// When the time of one is over.
    pub fn ends_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.until).min()
    }

    /// One whose time is over.
    pub fn overdue(&mut self, now: Instant) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.until <= now)?;
        Some(self.waiting.remove(at))
    }
}

impl Waiting {
    pub fn covers(&self) -> &[NoticeId] {
        &self.delivery.covers
    }

    fn tells(&self) -> NoticeKind {
        self.delivery.notice.tells
    }

    fn is_empty(&self) -> bool {
        self.delivery.covers.is_empty()
    }

    /// Somebody may have heard it.
    pub fn is_maybe_heard(&self) -> bool {
        self.delivery.is_maybe_heard() || self.delivery.notice.maybe_twice
    }

    /// Leaves out what a newer one makes untrue.
    fn yield_to(&mut self, newer: &mut Self, heard: &Heard, lists_all: bool) -> Option<Replaced> {
        let told = self.tells();
        let yields = match (newer.tells(), told) {
            (NoticeKind::Firing | NoticeKind::Resolved, _)
            | (NoticeKind::Acknowledged, NoticeKind::Acknowledged) => true,
            // What may have been heard is told in full, and then that somebody takes care of it.
            (NoticeKind::Acknowledged, NoticeKind::Firing) => !self.delivery.is_maybe_heard(),
            (NoticeKind::Acknowledged, NoticeKind::Resolved) => false,
        };
        if !yields {
            return None;
        }
        let is_answered = newer.tells() == NoticeKind::Acknowledged && told == NoticeKind::Firing;
        let steps = newer.covers().iter().map(|id| (group_of(id), id.step));
        // One that stands for many is looked up in.
        let one = newer.covers().first().filter(|_| newer.covers().len() == 1);
        let many: BTreeMap<GroupBegun, u32> = if one.is_some() { BTreeMap::new() } else { steps.collect() };
        let is_outdated = |id: &NoticeId| {
            let group = group_of(id);
            let step = match one {
                Some(one) => (group_of(one) == group).then_some(one.step),
                None => many.get(&group).copied(),
            };
            step.is_some_and(|step| step > id.step) && !(is_answered && heard.perhaps(group))
        };
        let was_alone = !self.delivery.is_digest();
        let replaced = self.leave_out(is_outdated, BY_NEWER)?;
        let older = &mut self.delivery.notice;
        if was_alone && lists_all {
            join(&mut newer.delivery.notice, std::mem::take(&mut older.alerts));
        } else {
            let newest: BTreeSet<AlertId> =
                newer.delivery.notice.alerts.iter().map(|alert| alert.id).collect();
            older.alerts.retain(|alert| !newest.contains(&alert.id));
        }
        Some(replaced)
    }

    /// Leaves out that something is acknowledged or over of which nobody heard.
    fn leave_out_unheard(&mut self, heard: &Heard) -> Option<Replaced> {
        // A digest is open there, whatever is known of the groups.
        if self.tells() == NoticeKind::Firing || !self.delivery.notice.closes.is_empty() {
            return None;
        }
        self.leave_out(|id| !heard.perhaps(group_of(id)), NO_BEGINNING)
    }

    /// Leaves out notices for which it stands.
    fn leave_out(&mut self, is_left_out: impl Fn(&NoticeId) -> bool, why: &'static str) -> Option<Replaced> {
        let (tries, maybe) = (self.tries, self.is_maybe_heard());
        let notices = self.delivery.leave_out(is_left_out);
        (!notices.is_empty()).then_some(Replaced { notices, tries, maybe, why })
    }
}

#[cfg(test)]
mod tests;
