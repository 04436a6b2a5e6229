//! One notice instead of several that wait. Pure.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};

use super::delivery::Delivery;
use crate::alert::{AlertId, ListedAlert, Notice, NoticeId, NoticeKind};
use crate::limits::NOTICE_ALERTS_MAX;

/// Makes one of two that tell the same of alerts of one importance, or adds the second to the first. Its own id is made of theirs. It
/// counts all alerts, and lists the newest, or all where it is to list all.
#[must_use]
pub fn merged(first: Delivery, second: Delivery, lists_all: bool) -> Delivery {
    // What was sent in parts has new parts.
    let done = if lists_all { BTreeSet::new() } else { first.done_of_both(&second) };
    let is_maybe_heard = first.is_maybe_heard() || second.is_maybe_heard();
    let Delivery { notice: first, mut covers, mut counts, .. } = first;
    let Delivery { notice: second, covers: added, counts: added_counts, .. } = second;
    let id = id(&first.id, &added);
    covers.extend(added);
    counts.extend(added_counts);
    let mut notice = Notice {
        id,
        firing: first.firing.saturating_add(second.firing),
        resolved: first.resolved.saturating_add(second.resolved),
        time: first.time.max(second.time),
        maybe_twice: first.maybe_twice || second.maybe_twice,
        importance: first.importance.max(second.importance),
        // It is a message of its own.
        reference: None,
        closes: first.closes.into_iter().chain(second.closes).collect(),
        name: "".into(),
        acknowledged: None,
        ..first
    };
    let is_older = second.time < first.time;
    let (older, newer) =
        if is_older { (second.alerts, notice.alerts) } else { (notice.alerts, second.alerts) };
    notice.alerts = union(older, newer);
    notice.alerts.sort_by_key(|alert| std::cmp::Reverse((alert.importance, alert.since)));
    if !lists_all {
        notice.alerts.truncate(NOTICE_ALERTS_MAX);
    }
    Delivery::of_several(notice, covers, counts, done, is_maybe_heard)
}

/// Adds alerts of an older notice of the same group that the newer one does not list.
pub fn join(newer: &mut Notice, older: Vec<ListedAlert>) {
    let listed = std::mem::take(&mut newer.alerts);
    newer.alerts = union(older, listed);
    if newer.tells == NoticeKind::Resolved {
        for alert in &mut newer.alerts {
            alert.ended.get_or_insert(newer.time);
        }
    }
}

/// Each alert once, as the newer list has it, in the order of that one.
fn union(older: Vec<ListedAlert>, mut newer: Vec<ListedAlert>) -> Vec<ListedAlert> {
    let mut known = BTreeSet::new();
    newer.retain(|alert| known.insert(alert.id));
    newer.extend(older.into_iter().filter(|alert| known.insert(alert.id)));
    newer
}

/// Made of the id so far and of what is added.
fn id(first: &NoticeId, added: &[NoticeId]) -> NoticeId {
    let mut text = b"digest".to_vec();
    for id in std::iter::once(first).chain(added) {
        text.extend_from_slice(&id.group.0);
        text.extend_from_slice(&id.since.to_le_bytes());
        text.extend_from_slice(&id.step.to_le_bytes());
    }
    let hash = digest(&SHA256, &text);
    let mut group = [0; 16];
    group.copy_from_slice(hash.as_ref().first_chunk::<16>().unwrap_or(&[0; 16]));
    NoticeId { group: AlertId(group), ..first.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::tests::notice;
    use super::*;
    use crate::event::UnixMillis;

    #[test]
    fn a_digest_lists_each_alert_once_as_it_is_now() {
        let first = notice("disk", 60);
        let mut second = first.clone();
        (second.id.step, second.time) = (2, UnixMillis(first.time.0 + 1));
        second.alerts[7].ended = Some(second.time);
        second.alerts.truncate(8);
        for lists_all in [true, false] {
            for (one, other) in [(&first, &second), (&second, &first)] {
                let (one, other) = (Delivery::new(one.clone()), Delivery::new(other.clone()));
                let digest = merged(one, other, lists_all);
                let listed: BTreeSet<AlertId> = digest.notice.alerts.iter().map(|alert| alert.id).collect();
                assert_eq!(listed.len(), digest.notice.alerts.len());
                assert_eq!(listed.len(), if lists_all { 60 } else { NOTICE_ALERTS_MAX });
                let seventh = digest.notice.alerts.iter().find(|alert| alert.id == first.alerts[7].id);
                assert_eq!(seventh.unwrap().ended, Some(second.time));
            }
        }
    }

    #[test]
    fn recipients_that_heard_both_hear_no_digest_and_the_others_do() {
        let served = |done: &[&str]| {
            let mut delivery = Delivery::new(notice("disk", 1));
            for part in done {
                delivery.finish(part);
            }
            delivery
        };
        let digest = merged(served(&["+1", "+2"]), served(&["+2", "+3"]), false);
        let left: Vec<bool> = ["+1", "+2", "+3"].map(|to| digest.is_finished(to)).into();
        assert_eq!(left, [false, true, false]);
        assert!(!merged(served(&["part 0"]), served(&["part 0"]), true).is_finished("part 0"));
    }

    #[test]
    fn a_digest_says_how_many() {
        let mut digest = merged(Delivery::new(notice("a", 1)), Delivery::new(notice("b", 2)), false);
        assert_eq!(&*digest.notice.summary, "3 alerts in 2 notifications, told as one");
        let first = digest.covers[0].clone();
        assert_eq!(digest.leave_out(|id| *id == first), [first]);
        assert_eq!(&*digest.notice.summary, "2 alerts in 1 notification, told as one");
        assert!(digest.is_digest());
    }
}
