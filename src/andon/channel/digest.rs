//! One notice instead of several that wait. Pure.

use aws_lc_rs::digest::{SHA256, digest};

use super::delivery::Delivery;
use crate::alert::{AlertId, Notice, NoticeId, NoticeKind};
use crate::limits::NOTICE_ALERTS_MAX;

/// Makes one of two that tell the same of alerts of one importance, or adds the second to the first. Its own id is made of theirs; it lists the newest alerts and counts all.
#[must_use]
pub fn merged(first: Delivery, second: Delivery) -> Delivery {
    let mut covers = first.covers;
    let (first, added, second) = (first.notice, second.covers, second.notice);
    let id = id(&first.id, &added);
    covers.extend(added);
    let mut notice = Notice {
        id,
        firing: first.firing.saturating_add(second.firing),
        resolved: first.resolved.saturating_add(second.resolved),
        time: first.time.max(second.time),
        maybe_twice: first.maybe_twice || second.maybe_twice,
        importance: first.importance.max(second.importance),
        // It is a message of its own.
        reference: None,
        name: "".into(),
        acknowledged: None,
        ..first
    };
    notice.alerts.extend(second.alerts);
    notice.alerts.sort_by_key(|alert| std::cmp::Reverse((alert.importance, alert.since)));
    notice.alerts.truncate(NOTICE_ALERTS_MAX);
    notice.summary = summary(&notice, covers.len()).into();
    Delivery::of_several(notice, covers)
}

fn summary(notice: &Notice, groups: usize) -> String {
    match notice.tells {
        NoticeKind::Firing => format!("{} alerts in {groups} notifications, told as one", notice.firing),
        NoticeKind::Resolved => format!("{} alerts in {groups} notifications are over", notice.resolved),
        NoticeKind::Acknowledged => format!("{groups} notifications are acknowledged"),
    }
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
