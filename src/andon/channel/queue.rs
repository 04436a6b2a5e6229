//! Notices that wait for one channel. Pure; the time is given.
//!
//! The most urgent one is next, and among these the one that came first. A newer notice of a group takes the place of one that waits.
//! Beyond the bound those that are alike become one, the least urgent first. So a storm is a few messages. Each of its notices ends
//! with the one that it became part of.

use tokio::time::Instant;

use super::delivery::Delivery;
use super::digest::merged;
use crate::alert::{Importance, NoticeId, NoticeKind};

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

/// See above.
#[derive(Debug)]
pub struct Queue {
    waiting: Vec<Waiting>,
    next: u64,
    most: usize,
}

impl Queue {
    pub fn new(most: usize) -> Self {
        Self { waiting: Vec::new(), next: 0, most }
    }

    pub fn bound(&mut self, most: usize) {
        self.most = most;
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notices without an end, those that are part of others included.
    pub fn names(&self) -> usize {
        self.waiting.iter().map(|waiting| waiting.delivery.covers.len()).sum()
    }

    /// Takes a notice; the one that it replaces.
    pub fn push(&mut self, delivery: Delivery, until: Instant, now: Instant) -> Option<Waiting> {
        let replaced = self.of_same_group(&delivery).map(|at| self.waiting.remove(at));
        let number = self.next;
        self.next += 1;
        self.waiting.push(Waiting { delivery, tries: 0, not_before: now, until, why: None, number });
        while self.waiting.len() > self.most && self.merge_one() {}
        replaced
    }

    /// A try failed, and there will be another one; it, if a newer notice of its group has come meanwhile.
    pub fn put_back(&mut self, waiting: Waiting) -> Option<Waiting> {
        if self.of_same_group(&waiting.delivery).is_some() {
            return Some(waiting);
        }
        self.waiting.push(waiting);
        None
    }

    /// Where a notice of the group waits alone. A digest is of no group, and a group that begins again is a different one: its end
    /// before that has to be told.
    fn of_same_group(&self, delivery: &Delivery) -> Option<usize> {
        let group = |delivery: &Delivery| (delivery.notice.id.group, delivery.notice.id.since);
        let is_alone = |other: &Waiting| !other.delivery.is_digest() && !delivery.is_digest();
        self.waiting.iter().position(|other| is_alone(other) && group(&other.delivery) == group(delivery))
    }

    /// Two that are alike become one; whether there were two.
    fn merge_one(&mut self) -> bool {
        for importance in Importance::ALL {
            for tells in [NoticeKind::Firing, NoticeKind::Acknowledged, NoticeKind::Resolved] {
                let is_alike = |waiting: &Waiting| {
                    let notice = &waiting.delivery.notice;
                    notice.importance == importance && notice.tells == tells
                };
                let mut alike =
                    (0..self.waiting.len()).filter(|at| self.waiting.get(*at).is_some_and(is_alike));
                // One that stands for several grows.
                let found = alike.next().zip(alike.next());
                let Some((first, second)) = found else { continue };
                let second = self.waiting.remove(second);
                let first = self.waiting.remove(first);
                let whole = Waiting {
                    delivery: merged(first.delivery, second.delivery),
                    tries: first.tries.max(second.tries),
                    not_before: first.not_before.min(second.not_before),
                    until: first.until.max(second.until),
                    why: first.why.or(second.why),
                    number: first.number.min(second.number),
                };
                let at = self.waiting.partition_point(|waiting| waiting.number < whole.number);
                self.waiting.insert(at, whole);
                return true;
            }
        }
        false
    }

    /// The next one to try. While the channel fails, one that was tried less often is before those that are more urgent: what a
    /// receiver can never take would be first for ever.
    pub fn pop(&mut self, now: Instant, is_failing: bool) -> Option<Waiting> {
        let due = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.not_before <= now);
        let next = due.min_by_key(|(_, waiting)| {
            let tries = if is_failing { waiting.tries } else { 0 };
            (tries, std::cmp::Reverse(waiting.delivery.notice.importance), waiting.number)
        });
        let at = next.map(|(at, _)| at)?;
        Some(self.waiting.remove(at))
    }

    /// The channel works again: nobody waits for a pause that began before.
    pub fn hurry(&mut self, now: Instant) {
        for waiting in &mut self.waiting {
            waiting.not_before = waiting.not_before.min(now);
        }
    }

    /// When one is to be tried.
    pub fn due_at(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.not_before).min()
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::tests::notice;
    use super::*;
    use crate::alert::Notice;
    use crate::limits::CHANNEL_WAITING_MAX;

    fn of(name: &str, importance: Importance, tells: NoticeKind) -> Notice {
        Notice { tells, importance, ..notice(name, 1) }
    }

    fn push(queue: &mut Queue, notice: Notice, now: Instant) -> Option<Waiting> {
        queue.push(Delivery::new(notice), now + Duration::from_hours(1), now)
    }

    #[test]
    fn the_most_urgent_is_next_and_then_the_first() {
        use Importance::{Critical, Info, Warning};
        let (mut queue, now) = (Queue::new(CHANNEL_WAITING_MAX), Instant::now());
        for (name, importance) in
            [("a", Info), ("b", Warning), ("c", Critical), ("d", Warning), ("e", Critical), ("f", Info)]
        {
            assert!(push(&mut queue, of(name, importance, NoticeKind::Firing), now).is_none());
        }
        let order: Vec<_> =
            std::iter::from_fn(|| queue.pop(now, false)).map(|next| next.delivery.notice.name).collect();
        assert_eq!(order.join(""), "cebdaf");
    }

    #[test]
    fn a_newer_notice_replaces_the_one_of_its_group_that_waits() {
        let (mut queue, now) = (Queue::new(CHANNEL_WAITING_MAX), Instant::now());
        let first = of("a", Importance::Info, NoticeKind::Firing);
        push(&mut queue, first.clone(), now);
        let mut end = Notice { tells: NoticeKind::Resolved, ..first.clone() };
        end.id.step += 1;
        assert_eq!(push(&mut queue, end.clone(), now).unwrap().delivery.notice, first);
        // The group begins again: its end before that has to be told.
        let mut again = first.clone();
        again.id.since += 1;
        assert!(push(&mut queue, again.clone(), now).is_none());
        assert_eq!(queue.pop(now, false).unwrap().delivery.notice, end);
        let again = queue.pop(now, false).unwrap();
        let mut newer = again.delivery.notice.clone();
        newer.id.step += 1;
        push(&mut queue, newer, now);
        assert!(queue.put_back(again).is_some(), "what is under way does not come back");
    }

    #[test]
    fn a_storm_becomes_one_for_each_likeness_and_no_name_is_lost() {
        let (mut queue, now) = (Queue::new(9), Instant::now());
        let mut names = BTreeSet::new();
        for number in 0..10_000 {
            let importance = Importance::ALL[number % 3];
            let tells = [NoticeKind::Firing, NoticeKind::Acknowledged, NoticeKind::Resolved][number / 3 % 3];
            let notice = of(&format!("g{number}"), importance, tells);
            names.insert(notice.id.clone());
            assert!(push(&mut queue, notice, now).is_none());
            assert!(queue.waiting.len() <= 9);
        }
        assert_eq!(queue.names(), 10_000);
        let mut firing = 0;
        while let Some(next) = queue.pop(now, false) {
            let notice = &next.delivery.notice;
            assert!(notice.alerts.len() <= crate::limits::NOTICE_ALERTS_MAX);
            firing += notice.firing;
            for name in next.covers() {
                assert!(names.remove(name), "{name} twice");
            }
        }
        assert!(names.is_empty());
        assert_eq!(firing, 10_000);
    }

    #[test]
    fn the_urgent_stay_alone_while_others_can_become_one() {
        let (mut queue, now) = (Queue::new(9), Instant::now());
        for number in 0..8 {
            push(&mut queue, of(&format!("c{number}"), Importance::Critical, NoticeKind::Firing), now);
            push(&mut queue, of(&format!("i{number}"), Importance::Info, NoticeKind::Firing), now);
        }
        let sizes: Vec<_> =
            std::iter::from_fn(|| queue.pop(now, false)).map(|next| next.covers().len()).collect();
        assert_eq!(sizes, [1, 1, 1, 1, 1, 1, 1, 1, 8]);
    }
}
