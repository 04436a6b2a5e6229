//! Which notices take the place of which, and what becomes one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::super::tests::notice;
use super::*;
use crate::alert::NoticeReason;
use crate::event::UnixMillis;
use crate::limits::CHANNEL_WAITING_MAX;
use crate::net::retry::Miss;

/// The channel knows what was told since then.
const START: UnixMillis = UnixMillis(1_800_000_000_000);

fn of(name: &str, importance: Importance, tells: NoticeKind) -> Notice {
    Notice { tells, importance, ..notice(name, 1) }
}

fn push(queue: &mut Queue, notice: Notice, now: Instant) -> Vec<Replaced> {
    queue.push(Delivery::new(notice), now + Duration::from_hours(1), now)
}

#[test]
fn the_most_urgent_is_next_and_then_the_first() {
    use Importance::{Critical, Info, Warning};
    let (mut queue, now) = (Queue::new(CHANNEL_WAITING_MAX, false, START), Instant::now());
    for (name, importance) in
        [("a", Info), ("b", Warning), ("c", Critical), ("d", Warning), ("e", Critical), ("f", Info)]
    {
        assert!(push(&mut queue, of(name, importance, NoticeKind::Firing), now).is_empty());
    }
    let order: Vec<_> =
        std::iter::from_fn(|| queue.pop(now, false)).map(|next| next.delivery.notice.name).collect();
    assert_eq!(order.join(""), "cebdaf");
}

/// The next notice of the same group.
fn next(before: &Notice, tells: NoticeKind, reason: NoticeReason) -> Notice {
    let mut next = Notice { tells, reason, ..before.clone() };
    next.id.step += 1;
    next
}

fn ids(replaced: &[Replaced]) -> Vec<(u32, bool, &'static str)> {
    replaced.iter().flat_map(|each| each.notices.iter().map(|id| (id.step, each.maybe, each.why))).collect()
}

#[test]
fn an_end_that_nobody_heard_the_beginning_of_is_not_told() {
    for tells in [NoticeKind::Acknowledged, NoticeKind::Resolved] {
        let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
        let first = of("a", Importance::Info, NoticeKind::Firing);
        assert!(push(&mut queue, first.clone(), now).is_empty());
        let after = push(&mut queue, next(&first, tells, NoticeReason::Resolved), now);
        assert_eq!(ids(&after), [(1, false, BY_NEWER), (2, false, NO_BEGINNING)]);
        assert!(queue.is_empty());
        // It was refused at the first try.
        let mut again = first.clone();
        again.id.since += 1;
        push(&mut queue, again.clone(), now);
        let trying = queue.pop(now, false).unwrap();
        queue.tries(&trying);
        let end = next(&again, tells, NoticeReason::Resolved);
        assert!(push(&mut queue, end.clone(), now).is_empty(), "it may be told now");
        queue.tried(&trying, false);
        assert_eq!(ids(&queue.unheard()), [(2, false, NO_BEGINNING)]);
        assert!(queue.is_empty());
    }
}

#[test]
fn what_is_less_urgent_gives_way_and_ends_stay() {
    use Importance::{Critical, Info, Warning};
    let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
    for (name, importance) in [("a", Info), ("b", Info), ("c", Warning)] {
        push(&mut queue, of(name, importance, NoticeKind::Firing), now);
    }
    let mut left_out = |importance, tells| {
        let left_out = queue.give_way(&of("new", importance, tells))?;
        Some((left_out.notices[0].group, left_out.why))
    };
    let group = |name| of(name, Info, NoticeKind::Firing).id.group;
    assert_eq!(left_out(Info, NoticeKind::Firing), None);
    assert_eq!(left_out(Info, NoticeKind::Resolved), Some((group("b"), NO_ROOM)));
    assert_eq!(left_out(Critical, NoticeKind::Firing), Some((group("a"), NO_ROOM)));
    assert_eq!(left_out(Warning, NoticeKind::Acknowledged), None);
    assert_eq!(left_out(Critical, NoticeKind::Firing), Some((group("c"), NO_ROOM)));
    assert_eq!(left_out(Critical, NoticeKind::Resolved), None);
}

#[test]
fn an_escalation_is_a_beginning_where_nothing_else_was_told() {
    for (since, is_told) in [(START.0, false), (START.0 - 1, true)] {
        let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
        let mut page = of("a", Importance::Critical, NoticeKind::Firing);
        (page.id.since, page.id.step, page.reason) = (since, 2, NoticeReason::Escalation);
        push(&mut queue, page.clone(), now);
        push(&mut queue, next(&page, NoticeKind::Resolved, NoticeReason::Resolved), now);
        assert_eq!(!queue.is_empty(), is_told);
    }
}

#[test]
fn an_end_follows_what_may_have_been_heard() {
    for maybe_twice in [false, true] {
        let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
        let first = Notice { maybe_twice, ..of("a", Importance::Info, NoticeKind::Firing) };
        push(&mut queue, first.clone(), now);
        if !maybe_twice {
            let mut trying = queue.pop(now, false).unwrap();
            queue.tries(&trying);
            trying.tries += 1;
            trying.delivery.missed(&Miss::again("it answered 503"));
            queue.tried(&trying, false);
            assert!(queue.put_back(trying).is_empty());
        }
        let said = next(&first, NoticeKind::Acknowledged, NoticeReason::Acknowledged);
        assert!(push(&mut queue, said.clone(), now).is_empty());
        // What fires comes before who takes care of it, however urgent.
        assert_eq!(queue.pop(now, false).unwrap().delivery.notice, first);
        let said_again = queue.pop(now, false).unwrap();
        queue.put_back(said_again);
        let newest = next(&said, NoticeKind::Firing, NoticeReason::Changed);
        assert_eq!(ids(&push(&mut queue, newest.clone(), now)), [(2, maybe_twice, BY_NEWER)]);
        let end = next(&newest, NoticeKind::Resolved, NoticeReason::Resolved);
        assert_eq!(ids(&push(&mut queue, end.clone(), now)), [(3, maybe_twice, BY_NEWER)]);
        assert_eq!(queue.pop(now, false).unwrap().delivery.notice, end);
        assert!(queue.is_empty());
    }
}

#[test]
fn a_group_that_begins_again_is_a_different_one() {
    let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
    let end = of("a", Importance::Info, NoticeKind::Resolved);
    assert!(push(&mut queue, end.clone(), now).is_empty(), "it was told before the start");
    let mut again = Notice { tells: NoticeKind::Firing, ..end.clone() };
    again.id.since += 1;
    assert!(push(&mut queue, again.clone(), now).is_empty());
    assert_eq!(queue.pop(now, false).unwrap().delivery.notice, end);
    let again = queue.pop(now, false).unwrap();
    push(&mut queue, next(&again.delivery.notice, NoticeKind::Firing, NoticeReason::Changed), now);
    assert_eq!(ids(&queue.put_back(again)), [(1, false, BY_NEWER)], "what is under way does not come back");
}

#[test]
fn a_storm_that_is_over_before_anybody_is_told_is_not_told() {
    let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
    let firing: Vec<_> =
        (0..200).map(|number| of(&format!("g{number}"), Importance::Info, NoticeKind::Firing)).collect();
    for notice in &firing {
        push(&mut queue, notice.clone(), now);
    }
    let mut ended = 0;
    for notice in &firing[1..] {
        let end = next(notice, NoticeKind::Resolved, NoticeReason::Resolved);
        ended += push(&mut queue, end, now).iter().map(|each| each.notices.len()).sum::<usize>();
    }
    assert_eq!((ended, queue.names()), (2 * 199, 1));
    let left = queue.pop(now, false).unwrap();
    assert_eq!((left.covers(), left.delivery.notice.firing), (&[firing[0].id.clone()][..], 1));
}

#[test]
fn an_alertmanager_is_told_of_all_alerts_however_notices_become_one() {
    let (mut queue, now) = (Queue::new(9, true, START), Instant::now());
    let mut first = Notice { maybe_twice: true, ..notice("a", 60) };
    first.alerts.truncate(40);
    push(&mut queue, first.clone(), now);
    let mut newer = next(&notice("a", 60), NoticeKind::Firing, NoticeReason::Changed);
    newer.alerts.drain(..30);
    newer.alerts[0].ended = Some(newer.time);
    push(&mut queue, newer.clone(), now);
    let told = queue.pop(now, false).unwrap().delivery.notice;
    let ended: Vec<_> =
        told.alerts.iter().filter(|alert| alert.ended.is_some()).map(|alert| alert.id).collect();
    assert_eq!((told.alerts.len(), ended), (60, vec![newer.alerts[0].id]));
    push(&mut queue, told.clone(), now);
    let mut end = next(&newer, NoticeKind::Resolved, NoticeReason::Resolved);
    end.alerts.clear();
    push(&mut queue, end, now);
    let told = queue.pop(now, false).unwrap().delivery.notice;
    assert_eq!(told.alerts.iter().filter(|alert| alert.ended.is_some()).count(), 60);
    // Every other kind lists some of them, and counts all.
    let mut queue = Queue::new(9, false, START);
    push(&mut queue, first.clone(), now);
    let told = queue.pop(now, false).unwrap().delivery.notice;
    assert_eq!((told.alerts.len(), told.firing), (NOTICE_ALERTS_MAX, first.firing));
}

#[test]
fn recipients_that_were_served_are_not_served_again_by_a_digest() {
    let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
    for number in 0..9 {
        push(&mut queue, of(&format!("{number}"), Importance::Info, NoticeKind::Firing), now);
    }
    for _ in 0..2 {
        let mut served = queue.pop(now, false).unwrap();
        served.delivery.finish("+1");
        (served.tries, served.not_before) = (1, now + Duration::from_secs(1));
        queue.put_back(served);
    }
    for number in 9..30 {
        push(&mut queue, of(&format!("{number}"), Importance::Info, NoticeKind::Firing), now);
    }
    let later = now + Duration::from_secs(2);
    let all: Vec<_> = std::iter::from_fn(|| queue.pop(later, false)).collect();
    let served = all.iter().filter(|waiting| waiting.delivery.is_finished("+1"));
    assert_eq!(served.map(|waiting| waiting.covers().len()).sum::<usize>(), 2);
    assert_eq!(all.iter().map(|waiting| waiting.covers().len()).sum::<usize>(), 30);
}

/// What the machine of alerts asks for, as far as a channel sees it, and what people know.
#[derive(Debug, Default)]
struct Model {
    groups: BTreeMap<GroupBegun, ModelGroup>,
    outcomes: BTreeMap<NoticeId, u32>,
}

#[derive(Debug, Default)]
struct ModelGroup {
    step: u32,
    /// The newest notice that was not about who takes care of it.
    newest: Option<(NoticeKind, u32)>,
    /// Somebody may have heard that it fires, and was not told that it is over.
    perhaps: bool,
    /// As the outcomes say.
    told: bool,
    failed_end: bool,
}

impl Model {
    fn asks(&mut self, queue: &mut Queue, (name, since): (u8, u64), tells: NoticeKind, now: Instant) {
        let mut notice = of(&format!("g{name}"), Importance::ALL[usize::from(name) % 3], tells);
        notice.id.since = since;
        let group = self.groups.entry(group_of(&notice.id)).or_default();
        // Ends and acknowledgements are asked for of channels that were asked to tell the beginning.
        let is_owed = group.newest.map_or(group.told, |(newest, _)| newest == NoticeKind::Firing);
        if tells != NoticeKind::Firing && !is_owed {
            return;
        }
        group.step += 1;
        notice.id.step = group.step;
        notice.reason = match tells {
            NoticeKind::Firing if group.step == 1 => NoticeReason::First,
            NoticeKind::Firing => NoticeReason::Changed,
            NoticeKind::Acknowledged => NoticeReason::Acknowledged,
            NoticeKind::Resolved => NoticeReason::Resolved,
        };
        if tells != NoticeKind::Acknowledged {
            group.newest = Some((tells, group.step));
            group.failed_end = false;
        }
        self.outcomes.insert(notice.id.clone(), 0);
        let replaced = push(queue, notice, now);
        self.replaced(&replaced);
    }

    fn replaced(&mut self, replaced: &[Replaced]) {
        for each in replaced {
            for id in &each.notices {
                self.ends(id, Err(each.maybe));
                if each.why == NO_BEGINNING {
                    let group = &self.groups[&group_of(id)];
                    assert!(!group.perhaps, "{id}: who may have heard the beginning hears the end");
                }
            }
        }
    }

    /// What the machine makes of an outcome.
    fn ends(&mut self, id: &NoticeId, result: Result<NoticeKind, bool>) {
        *self.outcomes.get_mut(id).unwrap() += 1;
        let group = self.groups.get_mut(&group_of(id)).unwrap();
        let newest = group.newest.filter(|(_, step)| *step == id.step);
        match (result, newest) {
            (Ok(NoticeKind::Firing), _) => group.told = true,
            (Ok(NoticeKind::Resolved), _) => group.told = false,
            (Ok(NoticeKind::Acknowledged), _) | (Err(false), None) => {}
            (Err(maybe), Some((NoticeKind::Resolved, _))) => group.failed_end = maybe || group.perhaps,
            (Err(maybe), _) => group.told |= maybe,
        }
        if newest.is_some() {
            group.newest = None;
        }
    }

    /// A try of what is next, with that result.
    fn tries(
        &mut self,
        queue: &mut Queue,
        how: u8,
        between: impl FnOnce(&mut Self, &mut Queue),
        now: Instant,
    ) {
        let Some(mut waiting) = queue.pop(now, how.is_multiple_of(2)) else { return };
        queue.tries(&waiting);
        let tells = waiting.tells();
        let covers = waiting.covers().to_vec();
        for id in &covers {
            let group = &self.groups[&group_of(id)];
            assert!(tells == NoticeKind::Firing || group.perhaps, "{id}: {tells:?} without its beginning");
        }
        let before: Vec<bool> = covers.iter().map(|id| self.groups[&group_of(id)].perhaps).collect();
        if tells == NoticeKind::Firing {
            for id in &covers {
                self.groups.get_mut(&group_of(id)).unwrap().perhaps = true;
            }
        }
        between(self, queue);
        waiting.tries += 1;
        match how % 5 {
            0 => {
                queue.tried(&waiting, true);
                for id in &covers {
                    if tells == NoticeKind::Resolved {
                        self.groups.get_mut(&group_of(id)).unwrap().perhaps = false;
                    }
                    self.ends(id, Ok(tells));
                }
            }
            // It refuses, or cannot be reached: of this try is known that nobody heard.
            how @ (1 | 2) => {
                queue.tried(&waiting, false);
                let is_unheard = !waiting.is_maybe_heard();
                for (id, before) in covers.iter().zip(before) {
                    if tells == NoticeKind::Firing && is_unheard {
                        self.groups.get_mut(&group_of(id)).unwrap().perhaps = before;
                    }
                    if how == 1 {
                        self.ends(id, Err(!is_unheard));
                    }
                }
                if how == 2 {
                    let replaced = queue.put_back(waiting);
                    self.replaced(&replaced);
                }
            }
            _ => {
                waiting.delivery.missed(&Miss::again("it answered 503"));
                queue.tried(&waiting, false);
                let replaced = queue.put_back(waiting);
                self.replaced(&replaced);
            }
        }
        let replaced = queue.unheard();
        self.replaced(&replaced);
    }
}

proptest! {
    #[test]
    fn who_may_have_heard_the_beginning_hears_the_end_and_nobody_else_does(
        most in 9usize..12,
        acts in prop::collection::vec((0u8..12, 0u8..6, 0u8..4, 0u8..12, 0u8..4), 1..120),
    ) {
        let (mut queue, mut model, now) = (Queue::new(most, false, START), Model::default(), Instant::now());
        let tells = [NoticeKind::Firing, NoticeKind::Firing, NoticeKind::Acknowledged, NoticeKind::Resolved];
        for (name, act, how, other, told) in acts {
            match act {
                0..=3 => model.asks(&mut queue, (name, 1), tells[usize::from(act)], now),
                // A notice comes while another one is being tried.
                _ => model.tries(
                    &mut queue,
                    how,
                    |model, queue| model.asks(queue, (other, 1), tells[usize::from(told)], now),
                    now,
                ),
            }
            prop_assert!(queue.waiting.len() <= most + 1);
        }
        while !queue.is_empty() {
            model.tries(&mut queue, 0, |_, _| {}, now);
        }
        for (id, ends) in &model.outcomes {
            prop_assert_eq!(*ends, 1, "{} ends once", id);
        }
        for (name, group) in &model.groups {
            prop_assert_eq!(group.newest, None);
            // What the machine believes is what people may know: it asks for the end of what it believes to be told.
            prop_assert!(group.told || group.failed_end || !group.perhaps, "{:?}: {:?}", name, group);
        }
    }
}

#[test]
fn a_storm_becomes_one_for_each_likeness_and_no_name_is_lost() {
    let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
    let mut names = BTreeSet::new();
    for number in 0..10_000 {
        let importance = Importance::ALL[number % 3];
        let tells = [NoticeKind::Firing, NoticeKind::Acknowledged, NoticeKind::Resolved][number / 3 % 3];
        let notice = of(&format!("g{number}"), importance, tells);
        names.insert(notice.id.clone());
        assert!(push(&mut queue, notice, now).is_empty());
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
    let (mut queue, now) = (Queue::new(9, false, START), Instant::now());
    for number in 0..8 {
        push(&mut queue, of(&format!("c{number}"), Importance::Critical, NoticeKind::Firing), now);
        push(&mut queue, of(&format!("i{number}"), Importance::Info, NoticeKind::Firing), now);
    }
    let sizes: Vec<_> =
        std::iter::from_fn(|| queue.pop(now, false)).map(|next| next.covers().len()).collect();
    assert_eq!(sizes, [1, 1, 1, 1, 1, 1, 1, 1, 8]);
}
