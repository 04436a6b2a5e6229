//! What the machine of alerts knows, as the store keeps it: one row for each alert, group and silence. JSON, since there are few and
//! they change seldom; names of fields never change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alarm::AlertLabels;
use super::cause::{AlertCause, AlertId, CauseKind, Importance};
use super::group_key::{DigestTold, GroupKey};
use super::notice::{ListedAlert, NoticeKind, NoticeReason};
use super::routes::AlertRoute;
use crate::ids::UnixMillis;
use crate::limits::{TOLD_AGAIN, TOLD_AGAIN_FOR};

/// What somebody said of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSaid {
    pub by: Box<str>,
    pub reason: Box<str>,
    /// Milliseconds since 1970.
    pub time: u64,
}

/// An alert that is open, or ended lately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    pub cause: AlertCause,
    pub importance: Importance,
    pub message: Box<str>,
    pub labels: AlertLabels,
    pub since: UnixMillis,
    /// Receipt of its opening.
    pub receipt: Box<str>,
    pub group: AlertId,
    /// Governors that are affected, beside its own; those that are named, and how many there are.
    pub members: BTreeSet<(Box<str>, Box<str>)>,
    pub members_in_all: u32,
    /// It ends then by itself.
    pub ends_at: Option<UnixMillis>,
    /// It has stood in a notification.
    pub notified: bool,
    pub acknowledged: Option<AlertSaid>,
    /// When its newest news came, which nobody has acknowledged before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub news: Option<UnixMillis>,
    /// That news stood in no notification yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_news: bool,
    /// Silences that fit, by the event that began each.
    pub silences: BTreeSet<u64>,
    pub ended: Option<UnixMillis>,
}

impl Alert {
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// It stood in a notification as it is.
    pub fn is_known(&self) -> bool {
        self.notified && !self.is_news
    }

    /// People were told of it, and nobody said that they take care of it.
    pub fn waits(&self) -> bool {
        self.is_open() && self.notified && self.acknowledged.is_none()
    }

    /// Whose it is; `None` of the node's own.
    pub fn tenant(&self) -> Option<&str> {
        self.cause.tenant()
    }

    /// Whether its governor tells of its end, on whichever node it is.
    pub fn ends_with_its_governor(&self) -> bool {
        self.cause.subject.is_some() && (self.cause.kind != CauseKind::Rule || self.labels.resolves)
    }

    /// As notifications and conditions see it.
    pub fn listed(&self, id: AlertId) -> ListedAlert {
        let subject = self.cause.subject.as_ref();
        let AlertLabels { signal, source, assurance, owner, target, resolves: _ } = &self.labels;
        ListedAlert {
            id,
            importance: self.importance,
            kind: self.cause.kind,
            name: self.cause.name.clone(),
            tenant: self.tenant().map(Into::into),
            sku: subject.map(|subject| (*subject.sku).into()),
            message: self.message.clone(),
            since: self.since,
            ended: self.ended,
            members: self.members_in_all,
            signal: signal.as_ref().map(|(_, id, _)| id.clone()),
            source: source.clone(),
            assurance: assurance.clone(),
            owner: owner.clone(),
            target: target.clone(),
            receipt: self.receipt.clone(),
        }
    }
}

/// Alerts that are told together. Which they are stands with the alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and has its name in the store")]
pub struct Group {
    /// When it began, in milliseconds since 1970; a part of the names of its notifications.
    pub since: u64,
    pub route: AlertRoute,
    /// Notifications so far.
    pub step: u32,
    /// Something is to be told then.
    pub flush_at: Option<u64>,
    /// When it was told last.
    pub flushed: Option<u64>,
    pub repeat_at: Option<u64>,
    pub escalate_at: Option<u64>,
    pub escalated: bool,
    /// Silences held all of it back, and a receipt says so.
    pub held_back: bool,
    pub channels: BTreeMap<Box<str>, Recipient>,
    /// When it was looked at last, whether or not there was something to tell.
    #[serde(default)]
    pub looked: Option<u64>,
    /// One that was told ended since.
    #[serde(default)]
    pub has_ended: bool,
    /// Somebody takes care of all that was told.
    #[serde(default)]
    pub is_taken: bool,
    #[serde(default)]
    pub missed: Missed,
    /// What was told last to fire.
    #[serde(default)]
    pub last_told: Option<Told>,
    /// How often channels were asked again to take the end.
    #[serde(default)]
    pub end: AskedAgain,
}

/// Times that came while silences, or the alert of a target, held back whom they concern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missed {
    pub repeat: bool,
    pub escalation: bool,
}

/// How often somebody who did not take a notification was asked again, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedAgain {
    pub since: Option<u64>,
    pub times: u32,
}

impl AskedAgain {
    /// When that is told again which was not taken now; `None` after [`TOLD_AGAIN_FOR`]. Later each time.
    pub fn again(&mut self, now: u64) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        self.times = self.times.saturating_add(1);
        let pause = TOLD_AGAIN.saturating_mul(1 << self.times.min(8));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        (now.saturating_sub(since) < millis(TOLD_AGAIN_FOR)).then(|| now.saturating_add(millis(pause)))
    }
}

/// What a notification tells. It stands with what waits for an outcome, so that it is the same whenever it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Those that are listed, the newest first.
    pub alerts: Vec<AlertId>,
    pub firing: u32,
    pub resolved: u32,
    pub importance: Importance,
    pub kind: CauseKind,
    pub name: Box<str>,
    pub summary: Box<str>,
    /// Who acknowledged it, with the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<(Box<str>, Box<str>)>,
}

impl Told {
    /// How many alerts such a notification is about.
    pub fn count(&self, kind: NoticeKind) -> u32 {
        match kind {
            NoticeKind::Firing | NoticeKind::Acknowledged => self.firing,
            NoticeKind::Resolved => self.resolved,
        }
    }
}

impl Group {
    /// When something is to be done.
    pub fn times(&self, id: AlertId) -> impl Iterator<Item = (UnixMillis, Due)> + use<> {
        let times = [
            (self.flush_at, Due::Flush(id)),
            (self.repeat_at, Due::Repeat(id)),
            (self.escalate_at, Due::Escalate(id)),
            (self.channels.values().filter_map(Recipient::again_at).min(), Due::Again(id)),
        ];
        times.into_iter().filter_map(|(at, due)| Some((UnixMillis(at?), due)))
    }

    /// All that is to be done comes later.
    pub fn put_off(&mut self, millis: u64) {
        let Self { flush_at, flushed, repeat_at, escalate_at, looked, end, channels, .. } = self;
        let times = [flush_at, flushed, repeat_at, escalate_at, looked, &mut end.since];
        let asked = channels.values_mut().map(|recipient| &mut recipient.asked.since);
        for time in times.into_iter().chain(asked).flatten() {
            *time = time.saturating_add(millis);
        }
        for again in channels.values_mut().filter_map(|recipient| recipient.again.as_mut()) {
            again.at = again.at.saturating_add(millis);
        }
    }

    /// Some channel was told, or is being told, of it.
    pub fn is_out(&self) -> bool {
        self.channels.values().any(|recipient| recipient.told || !recipient.pending.is_empty())
    }

    /// Channels that are to hear what becomes of it.
    pub fn owed(&self) -> Vec<Box<str>> {
        let owed = self.channels.iter().filter(|(_, recipient)| recipient.is_owed());
        owed.map(|(channel, _)| channel.clone()).collect()
    }

    /// Milliseconds for which nobody is to be called, if this is such an hour.
    pub fn quiet(&self, time: UnixMillis) -> Option<u64> {
        self.route.quiet.and_then(|quiet| quiet.left(time.0))
    }
}

/// What one channel was told of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// It was told that the group fires, and not yet that it does not.
    pub told: bool,
    /// What it answered to the first notification.
    pub reference: Option<Box<str>>,
    /// Notifications without an outcome, oldest first.
    pub pending: Vec<Pending>,
    /// It did not take that the group fires, knows nothing of it, and is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
    #[serde(default)]
    pub asked: AskedAgain,
    /// Digests by which it was told of the group, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<DigestTold>,
    /// Digests that are over: they are closed with the next end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closing: Vec<GroupKey>,
}

/// When a channel is asked again, and why it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Again {
    /// Milliseconds since 1970.
    pub at: u64,
    pub reason: NoticeReason,
}

impl Recipient {
    fn again_at(&self) -> Option<u64> {
        self.again.map(|again| again.at)
    }

    /// It did not take that the group fires.
    pub fn ask_again(&mut self, reason: NoticeReason, now: u64) {
        self.again = self.asked.again(now).map(|at| Again { at, reason });
    }

    /// It is not asked again.
    pub fn leave(&mut self) {
        (self.again, self.asked) = (None, AskedAgain::default());
    }

    /// It was told that the group fires, or will have been; and it was not asked to tell the end.
    fn is_owed(&self) -> bool {
        let newest = self.pending.iter().rev().find(|pending| pending.kind != NoticeKind::Acknowledged);
        newest.map_or(self.told, |pending| pending.kind == NoticeKind::Firing)
    }
}

/// A notification that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    pub since: u64,
    pub step: u32,
    pub kind: NoticeKind,
    pub reason: NoticeReason,
    /// When it was asked for.
    pub asked: u64,
    /// `None` where an older version asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
    /// Digests that this end closes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closes: Vec<GroupKey>,
}

/// A silence as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSilence {
    pub when: Box<str>,
    pub since: u64,
    pub until: u64,
    pub by: Box<str>,
    pub reason: Box<str>,
    /// Alerts that it held back.
    pub held_back: u32,
}

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Flush(AlertId),
    Repeat(AlertId),
    Escalate(AlertId),
    /// A channel did not take that the group fires.
    Again(AlertId),
    End(AlertId),
    SilenceEnds(u64),
    /// An alert that ended is not shown any more.
    Forget(AlertId),
}
