//! The machine: one alarm in, receipts and notifications out. Pure.
//!
//! An alert is `open` until it stood in a notification, then `notified`, `acknowledged` where somebody said so, and `resolved` when its
//! cause is over. Alerts that have a route, an importance and what `alerts.group_by` names in common are one group, and are told
//! together: `group_wait_seconds` after the first, then at most every `group_interval_seconds`. A silence holds back that something is
//! told to fire. It never holds back the end of what was told.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use strum::EnumCount as _;

use super::alarm::{Alarm, AlertLabels, NotAnAlarm, Raise, SilenceOrder, wrong};
use super::callback::{Callback, CallbackVerb, GroupNamed};
use super::cause::{AlertCause, AlertId, CauseKind, Importance};
use super::group_key::{DigestTold, GroupKey};
use super::list::{AlertDigits, AlertPage, AlertPosition, AlertsWanted};
use super::notice::{ListedAlert, Notice, NoticeId, NoticeKind, NoticeReason};
use super::routes::{AlertFacts, AlertFilter, QuietHours, Routes, RoutesSource};
use super::state::{
    Again, Alert, AlertSaid, AskedAgain, Due, Group, Missed, Pending, Recipient, StoredSilence, Told,
};
use crate::ids::{Seq, Subject, UnixMillis, Words};
use crate::limits::{
    ALARM_AGAIN, ALERT_MEMBERS_MAX, ALERT_MOVES_WITHIN, ALERTS_ENDED_FOR, ALERTS_ENDED_MAX, ALERTS_MAX,
    ALERTS_REFUSED_KEPT_MAX, CALLBACK_ALERTS_AT_ONCE, CALLBACK_TOLERANCE, CHANNEL_FAILING_MINUTES,
    DIGESTS_KNOWN_MAX, GROUP_LOOK, GROUPS_ALIKE_MAX, NOTICE_ALERTS_MAX, NOTICES_PENDING_MAX, SILENCES_MAX,
    TICK_GROUPS_MAX,
};
use crate::receipt::{About, Draft, Earlier, Gist, ReceiptId, ReceiptType, StateName};
use crate::view::{AlertView, ChannelToldView, SilenceView};

/// What a step asks for.
#[derive(Debug, Default)]
pub struct AlertEffects {
    pub drafts: Vec<Draft>,
    pub notices: Vec<Notice>,
}

/// A row for the store: its key, and what it holds; `None` removes it.
pub type AlertRow = (String, Option<Vec<u8>>);

/// All alerts of a node.
#[derive(Debug)]
pub struct Alerts {
    origin: Box<str>,
    node: Arc<str>,
    last: Seq,
    alerts: BTreeMap<AlertId, Alert>,
    /// Alerts that ended, by when.
    ended: BTreeSet<(UnixMillis, AlertId)>,
    groups: BTreeMap<AlertId, Group>,
    members: BTreeMap<AlertId, Members>,
    room: Room,
    silences: BTreeMap<u64, Silence>,
    /// What is to be done when.
    due: BTreeSet<(UnixMillis, Due)>,
    /// Targets whose breaker is open.
    targets: BTreeSet<Box<str>>,
    /// The groups of which a channel was told by one digest, and not yet that they are over.
    digests: BTreeMap<(Box<str>, GroupKey), BTreeSet<AlertId>>,
    /// Causes that hold and found no place.
    without: Without,
    changed: BTreeSet<Key>,
    /// Alerts that were not opened, since others have their places.
    refused: u64,
}

#[derive(Debug)]
struct Silence {
    stored: StoredSilence,
    filter: AlertFilter,
    /// Open alerts that fit.
    fits: usize,
}

/// The alerts of a group.
#[derive(Debug, Default)]
struct Members {
    /// Open ones, and those that ended and are still shown.
    all: BTreeSet<AlertId>,
    /// Open ones that nobody takes care of.
    unacknowledged: BTreeSet<AlertId>,
}

/// The places of open alerts.
#[derive(Debug, Default)]
struct Room {
    open: usize,
    /// Those of the node are nobody's.
    tenants: Shares,
    /// By the source whose signal led to it.
    sources: Shares,
}

/// Who has how many places, by importance.
#[derive(Debug, Default)]
struct Shares(BTreeMap<Box<str>, [usize; Importance::COUNT]>);

impl Shares {
    /// Those of this importance and of higher ones.
    fn of(&self, whose: Option<&str>, importance: Importance) -> usize {
        let own = whose.and_then(|whose| self.0.get(whose)).into_iter().flatten();
        own.skip(usize::from(importance as u8)).sum()
    }

    fn add(&mut self, whose: Option<&str>, importance: Importance) {
        if let Some(whose) = whose {
            self.0.entry(whose.into()).or_default()[usize::from(importance as u8)] += 1;
        }
    }

    fn remove(&mut self, whose: Option<&str>, importance: Importance) {
        if let Some(whose) = whose
            && let Some(open) = self.0.get_mut(whose)
        {
            open[usize::from(importance as u8)] -= 1;
            if open.iter().all(|open| *open == 0) {
                self.0.remove(whose);
            }
        }
    }
}

/// Causes that found no place.
#[derive(Debug, Default)]
struct Without {
    causes: BTreeMap<AlertId, Raise>,
    /// By their importance and source.
    alike: BTreeMap<(Importance, Option<Box<str>>), BTreeSet<AlertId>>,
}

impl Without {
    fn add(&mut self, id: AlertId, raise: Raise) {
        self.remove(id);
        let key = (raise.importance, raise.labels.source.clone());
        self.alike.entry(key).or_default().insert(id);
        self.causes.insert(id, raise);
    }

    fn remove(&mut self, id: AlertId) -> bool {
        let Some(raise) = self.causes.remove(&id) else { return false };
        let key = (raise.importance, raise.labels.source);
        if let Some(alike) = self.alike.get_mut(&key) {
            alike.remove(&id);
            if alike.is_empty() {
                self.alike.remove(&key);
            }
        }
        true
    }

    /// One that has no place here either: one of the least urgent, of the source of which most wait.
    fn beyond(&self) -> Option<AlertId> {
        let ((least, _), _) =
            self.alike.first_key_value().filter(|_| self.causes.len() > ALERTS_REFUSED_KEPT_MAX)?;
        let alike = self.alike.iter().take_while(|((importance, _), _)| importance == least);
        alike.max_by_key(|(_, ids)| ids.len()).and_then(|(_, ids)| ids.first().copied())
    }
}

impl Room {
    /// Why an alert is not opened, if it is not. What is less urgent takes no room from it.
    fn refuses(&self, importance: Importance, tenant: Option<&str>, source: Option<&str>) -> Option<String> {
        let most = match importance {
            Importance::Info => ALERTS_MAX * 6 / 10,
            Importance::Warning => ALERTS_MAX * 8 / 10,
            Importance::Critical => ALERTS_MAX,
        };
        let (open, severity) = (self.open, importance.into_str());
        if open >= most {
            return Some(format!(
                "{open} alerts are open, and one of severity {severity} is opened below {most}"
            ));
        }
        let shares = [
            ("tenant", self.tenants.of(tenant, importance), most / 4),
            ("source", self.sources.of(source, importance), most / 4 * 3),
        ];
        let (whose, own, _) = shares.into_iter().find(|(_, own, share)| open >= most / 2 && own >= share)?;
        Some(format!("{open} alerts are open, {own} of them of this {whose}, as many as it may have"))
    }

    fn add(&mut self, alert: &Alert) {
        self.open += 1;
        self.tenants.add(alert.tenant(), alert.importance);
        self.sources.add(alert.labels.source.as_deref(), alert.importance);
    }

    fn remove(&mut self, alert: &Alert) {
        self.open -= 1;
        self.tenants.remove(alert.tenant(), alert.importance);
        self.sources.remove(alert.labels.source.as_deref(), alert.importance);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Alert(AlertId),
    Group(AlertId),
    Without(AlertId),
    Silence(u64),
}

/// One alarm's passage.
struct Step<'a> {
    seq: Seq,
    time: UnixMillis,
    ordinal: u8,
    routes: &'a Routes,
    effects: &'a mut AlertEffects,
}

const GROUP_LOOK_MILLIS: u64 = GROUP_LOOK.as_secs() * 1000;

fn after(time: UnixMillis, seconds: u64) -> UnixMillis {
    UnixMillis(time.0.saturating_add(seconds.saturating_mul(1000)))
}

impl Alerts {
    /// None. `origin` is that of the log without the node's name, `node` that name.
    #[must_use]
    pub fn new(origin: &str, node: &str) -> Self {
        Self {
            origin: origin.into(),
            node: node.into(),
            last: Seq(0),
            alerts: BTreeMap::new(),
            ended: BTreeSet::new(),
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
            room: Room::default(),
            silences: BTreeMap::new(),
            due: BTreeSet::new(),
            targets: BTreeSet::new(),
            digests: BTreeMap::new(),
            without: Without::default(),
            changed: BTreeSet::new(),
            refused: 0,
        }
    }

    /// Takes a row that [`Alerts::drain_changed`] gave. All rows come before the first step.
    ///
    /// # Errors
    /// [`NotAnAlarm`], where another version wrote it.
    pub fn restore(&mut self, key: &str, row: &[u8]) -> Result<(), NotAnAlarm> {
        let (of, name) = key.split_once('/').unwrap_or((key, ""));
        match of {
            "alert" => {
                let id: AlertId = name.parse().map_err(wrong)?;
                self.keep(id, serde_json::from_slice(row).map_err(wrong)?);
            }
            "group" => {
                let id: AlertId = name.parse().map_err(wrong)?;
                let group: Group = serde_json::from_slice(row).map_err(wrong)?;
                self.due.extend(group.times(id));
                for (channel, recipient) in &group.channels {
                    for digest in &recipient.digests {
                        self.digests.entry((channel.clone(), digest.key)).or_default().insert(id);
                    }
                }
                self.groups.insert(id, group);
            }
            "silence" => {
                let seq: u64 = name.parse().map_err(wrong)?;
                let stored: StoredSilence = serde_json::from_slice(row).map_err(wrong)?;
                let filter = AlertFilter::compile(&stored.when).map_err(|error| wrong(error.to_string()))?;
                self.due.insert((UnixMillis(stored.until), Due::SilenceEnds(seq)));
                let fits =
                    self.alerts.values().filter(|alert| alert.is_open() && alert.silences.contains(&seq));
                let fits = fits.count();
                self.silences.insert(seq, Silence { stored, filter, fits });
            }
            "without" => {
                let id: AlertId = name.parse().map_err(wrong)?;
                self.without.add(id, serde_json::from_slice(row).map_err(wrong)?);
            }
            "last" => self.last = Seq(serde_json::from_slice(row).map_err(wrong)?),
            _ => return Err(wrong(format!("there is no row {key:?}"))),
        }
        Ok(())
    }

    fn keep(&mut self, id: AlertId, alert: Alert) {
        let members = self.members.entry(alert.group).or_default();
        members.all.insert(id);
        if let Some(ended) = alert.ended {
            self.ended.insert((ended, id));
            self.due.insert((after(ended, ALERTS_ENDED_FOR.as_secs()), Due::Forget(id)));
        } else {
            self.due.extend(alert.ends_at.map(|at| (at, Due::End(id))));
            if alert.cause.kind == CauseKind::TargetBreaker {
                self.targets.insert(alert.cause.name.clone());
            }
            if alert.acknowledged.is_none() {
                members.unacknowledged.insert(id);
            }
            self.room.add(&alert);
            for silence in &alert.silences {
                if let Some(silence) = self.silences.get_mut(silence) {
                    silence.fits += 1;
                }
            }
        }
        self.alerts.insert(id, alert);
    }

    /// The last event that was stepped.
    #[cfg(test)]
    #[must_use]
    pub fn last(&self) -> Seq {
        self.last
    }

    /// When a [`Alarm::Tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<UnixMillis> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Alerts that were not opened, since others have their places.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Rows that changed since the last time.
    pub fn drain_changed(&mut self) -> Vec<AlertRow> {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return Vec::new();
        }
        let of_key = |key: Key| match key {
            Key::Alert(id) => (format!("alert/{id}"), row(self.alerts.get(&id))),
            Key::Group(id) => (format!("group/{id}"), row(self.groups.get(&id))),
            Key::Without(id) => (format!("without/{id}"), row(self.without.causes.get(&id))),
            Key::Silence(seq) => {
                let stored = self.silences.get(&seq).map(|silence| &silence.stored);
                (format!("silence/{seq}"), row(stored))
            }
        };
        let last = ("last".to_owned(), row(Some(&self.last)));
        changed.into_iter().map(of_key).chain([last]).collect()
    }

    /// Notifications that have no outcome yet, in the order of each channel. After a start they are asked for again.
    #[must_use]
    pub fn pending(&self, routes: &Routes) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (id, group) in &self.groups {
            for (channel, recipient) in &group.channels {
                for pending in &recipient.pending {
                    let complete = is_among(&routes.source().complete, channel);
                    let mut notice = for_channel(self.notice(*id, pending, complete), channel, recipient);
                    notice.closes.clone_from(&pending.closes);
                    notice.maybe_twice = true;
                    if crate::fault::planted("page-twice") {
                        notice.id.step += 1000;
                    }
                    notices.push(notice);
                }
            }
        }
        notices
    }

    /// Applies one alarm. One at or before the last one changes nothing.
    pub fn step(
        &mut self,
        (seq, time): (Seq, UnixMillis),
        alarm: &Alarm,
        routes: &Routes,
        effects: &mut AlertEffects,
    ) {
        if seq <= self.last {
            return;
        }
        self.last = seq;
        let mut step = Step { seq, time, ordinal: 0, routes, effects };
        match alarm {
            Alarm::Raise(raise) => self.raise(raise, &mut step),
            Alarm::End(cause) => {
                let id = self.id(cause);
                self.leave_without(id);
                self.end(id, "the cause is over", &mut step);
            }
            Alarm::Tick => {}
            Alarm::Stepped { millis } => self.put_off(*millis),
            Alarm::Acknowledge { alert, by, reason } => self.acknowledge(*alert, by, reason, &mut step),
            Alarm::Resolve { alert, by, reason, cause: _ } => {
                self.end(*alert, &format!("resolved by {by}: {reason}"), &mut step);
            }
            Alarm::Silence(order) => self.silence(order, &mut step),
            Alarm::EndSilence { silence, by, reason } => {
                self.end_silence(silence.0, &format!("silence ended by {by}: {reason}"), &mut step);
            }
            Alarm::Notified { notice, failed, reference, tries, replaced, maybe, digest } => {
                let result = failed.as_ref().map_or(Ok(reference.as_ref()), Err);
                self.notified(notice, (result, *replaced, *maybe), (*tries, *digest), &mut step);
            }
        }
        self.pass_time(&mut step);
    }

    /// From this event on another node decides on governors of these tenants, or this one does again: who does tells anew of what
    /// holds. Alerts of which nobody does end after [`ALERT_MOVES_WITHIN`]. An event before the last one changes nothing.
    pub fn look_elsewhere(&mut self, (seq, time): (Seq, UnixMillis), is_elsewhere: impl Fn(&str) -> bool) {
        if seq < self.last {
            return;
        }
        self.last = seq;
        let is_gone =
            |raise: &Raise| raise.cause.subject.as_ref().is_some_and(|about| is_elsewhere(&about.tenant));
        let gone: Vec<AlertId> =
            self.without.causes.iter().filter(|(_, raise)| is_gone(raise)).map(|(id, _)| *id).collect();
        for id in gone {
            self.leave_without(id);
        }
        let at = after(time, ALERT_MOVES_WITHIN.as_secs());
        for (id, alert) in self.alerts.iter_mut().filter(|(_, alert)| alert.ends_with_its_governor()) {
            let tenant = alert.cause.subject.as_ref().map(|subject| &*subject.tenant);
            // What ends earlier ends then.
            let is_earlier = alert.ends_at.is_some_and(|ends| ends <= at);
            if alert.is_open() && tenant.is_some_and(&is_elsewhere) && !is_earlier {
                if let Some(before) = alert.ends_at.replace(at) {
                    self.due.remove(&(before, Due::End(*id)));
                }
                self.due.insert((at, Due::End(*id)));
                self.changed.insert(Key::Alert(*id));
            }
        }
    }

    /// What is to be done at a time waits for time that passes.
    fn put_off(&mut self, millis: u64) {
        let later = |at: UnixMillis| UnixMillis(at.0.saturating_add(millis));
        self.due.clear();
        for (id, group) in &mut self.groups {
            group.put_off(millis);
            self.due.extend(group.times(*id));
            self.changed.insert(Key::Group(*id));
        }
        self.ended.clear();
        for (id, alert) in &mut self.alerts {
            alert.ends_at = alert.ends_at.map(later);
            alert.ended = alert.ended.map(later);
            self.due.extend(alert.ends_at.map(|at| (at, Due::End(*id))));
            if let Some(ended) = alert.ended {
                self.ended.insert((ended, *id));
                self.due.insert((after(ended, ALERTS_ENDED_FOR.as_secs()), Due::Forget(*id)));
            }
            self.changed.insert(Key::Alert(*id));
        }
        for (seq, Silence { stored, .. }) in &mut self.silences {
            stored.until = stored.until.saturating_add(millis);
            self.due.insert((UnixMillis(stored.until), Due::SilenceEnds(*seq)));
            self.changed.insert(Key::Silence(*seq));
        }
    }

    /// The id of the alert that is about this.
    #[must_use]
    pub fn id(&self, cause: &AlertCause) -> AlertId {
        AlertId::of(&self.origin, &self.node, cause)
    }

    fn raise(&mut self, raise: &Raise, step: &mut Step<'_>) {
        let Some(importance) = step.routes.importance(raise.cause.kind, raise.importance) else { return };
        let id = self.id(&raise.cause);
        // What holds still is told again once in a while, but for a test: its end waits for that.
        let again = if raise.cause.kind == CauseKind::Test { 0 } else { ALARM_AGAIN.as_secs() };
        let seconds = u64::from(raise.minutes) * 60 + again;
        let ends_at = (raise.minutes > 0).then(|| after(step.time, seconds));
        if let Some(alert) = self.alerts.get_mut(&id).filter(|alert| alert.is_open()) {
            if let Some(before) = std::mem::replace(&mut alert.ends_at, ends_at) {
                self.due.remove(&(before, Due::End(id)));
            }
            self.due.extend(ends_at.map(|at| (at, Due::End(id))));
            // The newest values are shown. They are not told, unless what they say is news: that would be a call for nothing new.
            let is_news = raise.cause.kind.is_news() && *alert.message != *raise.message;
            alert.message = (&*raise.message).into();
            if let Some(member) = &raise.member {
                add_member(alert, member);
            }
            self.changed.insert(Key::Alert(id));
            if is_news {
                (alert.news, alert.is_news, alert.acknowledged) = (Some(step.time), true, None);
                let group = alert.group;
                if let Some(members) = self.members.get_mut(&group) {
                    members.unacknowledged.insert(id);
                }
                self.call_for_flush(group, step.time);
                if self.groups.get(&group).is_some_and(|group| group.is_taken) {
                    self.move_on(group, step);
                }
            }
            return;
        }
        let receipt = ReceiptId { seq: step.seq, ordinal: step.ordinal };
        let mut alert = Alert {
            cause: AlertCause { told_by: None, ..raise.cause.clone() },
            importance,
            message: (&*raise.message).into(),
            labels: raise.labels.clone(),
            since: step.time,
            receipt: receipt.to_string().into(),
            group: id,
            members: BTreeSet::new(),
            members_in_all: 0,
            ends_at,
            notified: false,
            acknowledged: None,
            news: None,
            is_news: false,
            silences: BTreeSet::new(),
            ended: None,
        };
        if let Some(member) = &raise.member {
            add_member(&mut alert, member);
        }
        // Those of the node have their place, however many a sender raises: they are few.
        let takes_room = !raise.cause.is_of_node() || raise.cause.kind == CauseKind::Test;
        let source = alert.labels.source.as_deref();
        if takes_room && let Some(why) = self.room.refuses(importance, alert.tenant(), source) {
            self.refused += 1;
            // Its governor does not tell of it again.
            if alert.ends_with_its_governor() {
                self.keep_without(id, raise);
            }
            return step.alert(ReceiptType::AlertFailed, (id, &alert), &format!("no alert is opened: {why}"));
        }
        self.leave_without(id);
        self.forget(id);
        let listed = alert.listed(id);
        let facts = AlertFacts::of(&listed);
        let fits = self.silences.iter().filter(|(_, silence)| silence.filter.holds(&facts));
        alert.silences = fits.map(|(seq, _)| *seq).collect();
        let group = self.group_for(&listed, step);
        alert.group = group;
        step.alert(ReceiptType::AlertOpened, (id, &alert), &alert.message);
        self.join_target(&mut alert);
        self.keep(id, alert);
        self.changed.insert(Key::Alert(id));
        self.call_for_flush(group, step.time);
    }

    /// The group of such an alert, which begins if it is not there.
    fn group_for(&mut self, listed: &ListedAlert, step: &Step<'_>) -> AlertId {
        let route = step.routes.find(listed);
        let parts = step.routes.group(&route, listed);
        // With the route's channels: those whom a changed route tells form a group of their own.
        let (channels, escalate_to) = (route.channels.join(","), route.escalate_to.join(","));
        let named = [&*self.origin, "group", &*channels, &*escalate_to].into_iter();
        let first = AlertId::hash(&named.chain(parts.iter().map(|part| &**part)).collect::<Vec<_>>());
        // Of a group that somebody takes care of people know, and PagerDuty pages nobody for what joins it: what is new begins one of its own.
        let alike = (1..GROUPS_ALIKE_MAX).map(|number| number.to_string());
        // Where there are too many of them, by itself.
        let alone = format!("{}.{}", step.seq.0, step.ordinal);
        let alike = alike.chain([alone]).map(|name| AlertId::hash(&[&first.to_string(), &name]));
        let mut alike = std::iter::once(first).chain(alike);
        let group = alike.find(|group| !self.is_taken_care_of(*group)).unwrap_or(first);
        let begun = Group {
            since: step.time.0,
            route,
            step: 0,
            flush_at: None,
            flushed: None,
            repeat_at: None,
            escalate_at: None,
            escalated: false,
            held_back: false,
            channels: BTreeMap::new(),
            looked: None,
            has_ended: false,
            is_taken: false,
            missed: Missed::default(),
            last_told: None,
            end: AskedAgain::default(),
        };
        if let Entry::Vacant(place) = self.groups.entry(group) {
            place.insert(begun);
            self.changed.insert(Key::Group(group));
        }
        group
    }

    /// Whether somebody takes care of all of a group of which people were told; also while its end is still told.
    fn is_taken_care_of(&self, group: AlertId) -> bool {
        self.groups.get(&group).is_some_and(|group| group.is_taken && group.is_out())
    }

    /// Somebody takes care of what was told of a group: what was not told yet goes to one that calls.
    fn move_on(&mut self, from: AlertId, step: &Step<'_>) {
        let is_left = |alert: &Alert| alert.acknowledged.is_none() && !alert.is_known();
        let moved = self.firing(from).filter(|(_, alert)| is_left(alert)).map(|(id, _)| id);
        let moved: Vec<AlertId> = moved.collect();
        let first = moved.first().and_then(|id| Some(self.alerts.get(id)?.listed(*id)));
        let Some(listed) = first.filter(|_| self.is_taken_care_of(from)) else { return };
        let to = self.group_for(&listed, step);
        for id in moved {
            let Some(alert) = self.alerts.get_mut(&id) else { continue };
            (alert.group, alert.notified, alert.is_news) = (to, false, false);
            self.changed.insert(Key::Alert(id));
            if let Some(members) = self.members.get_mut(&from) {
                members.all.remove(&id);
                members.unacknowledged.remove(&id);
            }
            let members = self.members.entry(to).or_default();
            members.all.insert(id);
            members.unacknowledged.insert(id);
        }
        if self.members.get(&from).is_some_and(|members| members.all.is_empty()) {
            self.members.remove(&from);
        }
        self.call_for_flush(from, step.time);
        self.call_for_flush(to, step.time);
    }

    /// A governor whose target's breaker is open is a member of that target's alert, and not told of by itself.
    fn join_target(&mut self, alert: &mut Alert) {
        if alert.cause.kind == CauseKind::TargetBreaker {
            let target = alert.cause.name.clone();
            for behind in self.alerts.values().filter(|behind| is_behind(behind, &target)) {
                if let Some(member) = &behind.cause.subject {
                    add_member(alert, member);
                }
            }
        } else if alert.cause.kind == CauseKind::GovernorBreaker
            && let Some((target, member)) = alert.labels.target.as_deref().zip(alert.cause.subject.as_ref())
            && self.targets.contains(target)
        {
            let cause = AlertCause::of_node(CauseKind::TargetBreaker, target);
            let of = self.id(&cause);
            if let Some(open) = self.alerts.get_mut(&of) {
                add_member(open, member);
                self.changed.insert(Key::Alert(of));
            }
        }
    }

    /// The end of an alert, if it is open.
    fn end(&mut self, id: AlertId, reason: &str, step: &mut Step<'_>) {
        let Some(alert) = self.alerts.get_mut(&id).filter(|alert| alert.is_open()) else { return };
        if let Some(at) = alert.ends_at.take() {
            self.due.remove(&(at, Due::End(id)));
        }
        alert.ended = Some(step.time);
        step.alert(ReceiptType::AlertResolved, (id, alert), reason);
        let (group, was_told) = (alert.group, alert.notified);
        self.room.remove(alert);
        for silence in &alert.silences {
            if let Some(silence) = self.silences.get_mut(silence) {
                silence.fits -= 1;
            }
        }
        if let Some(members) = self.members.get_mut(&group) {
            members.unacknowledged.remove(&id);
        }
        if was_told {
            self.set_due(group, |group| group.has_ended = true);
        }
        let Some(alert) = self.alerts.get(&id) else { return };
        let target = (alert.cause.kind == CauseKind::TargetBreaker).then(|| alert.cause.name.clone());
        self.ended.insert((step.time, id));
        self.due.insert((after(step.time, ALERTS_ENDED_FOR.as_secs()), Due::Forget(id)));
        self.changed.insert(Key::Alert(id));
        self.call_for_flush(group, step.time);
        if let Some(target) = target {
            self.targets.remove(&target);
            // Those that were told of with it, and do not end with it, are told of by themselves.
            let behind = self.alerts.values().filter(|behind| is_behind(behind, &target));
            let groups: BTreeSet<AlertId> = behind.map(|behind| behind.group).collect();
            for group in groups {
                self.make_up(group, step.time);
            }
        }
        self.forget_oldest();
        self.give_place(step);
    }

    fn keep_without(&mut self, id: AlertId, raise: &Raise) {
        self.without.add(id, raise.clone());
        self.changed.insert(Key::Without(id));
        if let Some(least) = self.without.beyond() {
            self.leave_without(least);
        }
    }

    fn leave_without(&mut self, id: AlertId) {
        if self.without.remove(id) {
            self.changed.insert(Key::Without(id));
        }
    }

    /// A place is free: the most urgent cause that holds and may have it is an alert.
    fn give_place(&mut self, step: &mut Step<'_>) {
        let may = |raise: &&Raise| {
            let tenant = raise.cause.tenant();
            let importance = step.routes.importance(raise.cause.kind, raise.importance);
            let source = raise.labels.source.as_deref();
            importance.is_none_or(|importance| self.room.refuses(importance, tenant, source).is_none())
        };
        let next = self.without.causes.iter().filter(|(_, raise)| may(raise));
        let next = next.max_by_key(|(id, raise)| (raise.importance, Reverse(**id)));
        let Some((id, raise)) = next.map(|(id, raise)| (*id, raise.clone())) else { return };
        self.leave_without(id);
        self.raise(&raise, step);
    }

    /// Keeps only the newest of those that ended; one whose end is yet to be told is awaited, within the bounds of memory.
    fn forget_oldest(&mut self) {
        while self.ended.len() > ALERTS_ENDED_MAX
            && let Some((_, oldest)) = self.ended.first().copied()
        {
            let is_awaited = |alert: &Alert| {
                alert.notified && self.groups.get(&alert.group).is_some_and(|group| group.flush_at.is_some())
            };
            let has_room = self.alerts.len() <= ALERTS_MAX + ALERTS_ENDED_MAX;
            if has_room && self.alerts.get(&oldest).is_some_and(is_awaited) {
                return;
            }
            self.forget(oldest);
        }
    }

    /// The group's alerts may be told again: times that came meanwhile are made up for.
    fn make_up(&mut self, group: AlertId, now: UnixMillis) {
        self.set_due(group, |group| {
            group.held_back = false;
            let Missed { repeat, escalation } = std::mem::take(&mut group.missed);
            if repeat {
                group.repeat_at.get_or_insert(now.0);
            }
            if escalation && !group.escalated {
                group.escalate_at.get_or_insert(now.0);
            }
        });
        self.call_for_flush(group, now);
    }

    /// An alert that ended is not shown any more.
    fn forget(&mut self, id: AlertId) {
        let Some(ended) = self.alerts.get(&id).and_then(|alert| alert.ended) else { return };
        let Some(alert) = self.alerts.remove(&id) else { return };
        self.ended.remove(&(ended, id));
        self.due.remove(&(after(ended, ALERTS_ENDED_FOR.as_secs()), Due::Forget(id)));
        if let Some(members) = self.members.get_mut(&alert.group) {
            members.all.remove(&id);
            if members.all.is_empty() {
                self.members.remove(&alert.group);
            }
        }
        self.changed.insert(Key::Alert(id));
    }

    fn acknowledge(&mut self, id: AlertId, by: &Words, reason: &Words, step: &mut Step<'_>) {
        let Some(alert) = self.alerts.get_mut(&id).filter(|alert| alert.is_open()) else { return };
        let said = AlertSaid { by: (&**by).into(), reason: (&**reason).into(), time: step.time.0 };
        let is_known = alert.acknowledged.replace(said).is_some();
        step.alert(ReceiptType::AlertAcknowledged, (id, alert), &format!("acknowledged by {by}: {reason}"));
        self.changed.insert(Key::Alert(id));
        let (group_id, was_told) = (alert.group, alert.notified);
        let Some(members) = self.members.get_mut(&group_id) else { return };
        members.unacknowledged.remove(&id);
        if is_known || !was_told || self.firing(group_id).any(|(_, alert)| alert.waits()) {
            return;
        }
        // Nobody else is called, and those who were hear of it.
        self.set_due(group_id, |group| {
            (group.repeat_at, group.escalate_at, group.missed) = (None, None, Missed::default());
            group.is_taken = true;
        });
        let Some(owed) = self.groups.get(&group_id).map(Group::owed) else { return };
        self.send(group_id, &owed, (NoticeKind::Acknowledged, NoticeReason::Acknowledged), step);
        self.move_on(group_id, step);
    }

    fn silence(&mut self, order: &SilenceOrder, step: &mut Step<'_>) {
        if self.silences.len() >= SILENCES_MAX || order.until <= step.time {
            return;
        }
        // What is journalled was compiled before.
        let Ok(filter) = AlertFilter::compile(&order.when) else { return };
        let seq = step.seq.0;
        let mut held_back = 0;
        for (id, alert) in self.alerts.iter_mut().filter(|(_, alert)| alert.is_open()) {
            if filter.holds(&AlertFacts::of(&alert.listed(*id))) {
                alert.silences.insert(seq);
                self.changed.insert(Key::Alert(*id));
                held_back += 1;
            }
        }
        let stored = StoredSilence {
            when: (&*order.when).into(),
            since: step.time.0,
            until: order.until.0,
            by: (&*order.by).into(),
            reason: (&*order.reason).into(),
            held_back,
        };
        let facts = serde_json::json!({
            "alerts": held_back, "silence": seq, "until": order.until.0, "when": cut(&order.when, 512),
        });
        step.node(ReceiptType::AlertSilenced, &format!("silenced by {}: {}", order.by, order.reason), &facts);
        self.due.insert((order.until, Due::SilenceEnds(seq)));
        self.changed.insert(Key::Silence(seq));
        let fits = usize::try_from(held_back).unwrap_or(usize::MAX);
        self.silences.insert(seq, Silence { stored, filter, fits });
    }

    fn end_silence(&mut self, seq: u64, reason: &str, step: &mut Step<'_>) {
        let Some(Silence { stored, .. }) = self.silences.remove(&seq) else { return };
        self.due.remove(&(UnixMillis(stored.until), Due::SilenceEnds(seq)));
        self.changed.insert(Key::Silence(seq));
        let facts = serde_json::json!({"alerts": stored.held_back, "silence": seq});
        step.node(ReceiptType::AlertSilenced, reason, &facts);
        let mut groups = BTreeSet::new();
        for (id, alert) in &mut self.alerts {
            if alert.silences.remove(&seq) {
                self.changed.insert(Key::Alert(*id));
                groups.insert(alert.group);
            }
        }
        for group in groups {
            self.make_up(group, step.time);
        }
    }

    /// The alerts of a group, those that ended and are still shown included.
    fn all_of(&self, group: AlertId) -> impl Iterator<Item = (AlertId, &Alert)> {
        let members = self.members.get(&group).into_iter().flat_map(|members| &members.all);
        members.filter_map(|id| Some((*id, self.alerts.get(id)?)))
    }

    /// The open alerts of a group.
    fn firing(&self, group: AlertId) -> impl Iterator<Item = (AlertId, &Alert)> {
        self.all_of(group).filter(|(_, alert)| alert.is_open())
    }

    /// Whether it would be told that this alert fires. Nobody is called for what somebody takes care of already.
    fn is_told(&self, alert: &Alert) -> bool {
        let behind = alert.cause.kind == CauseKind::GovernorBreaker
            && alert.labels.target.as_deref().is_some_and(|target| self.targets.contains(target));
        alert.silences.is_empty() && !behind && (alert.notified || alert.acknowledged.is_none())
    }

    /// Changes a group, and keeps its times among those that are due.
    fn set_due(&mut self, id: AlertId, change: impl FnOnce(&mut Group)) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        for time in group.times(id) {
            self.due.remove(&time);
        }
        change(group);
        self.due.extend(group.times(id));
        self.changed.insert(Key::Group(id));
    }

    /// Something of the group is to be told, in its time.
    fn call_for_flush(&mut self, id: AlertId, now: UnixMillis) {
        self.set_due(id, |group| {
            let seconds = |seconds: u32| u64::from(seconds) * 1000;
            let at = match group.flushed {
                Some(flushed) => now.0.max(flushed.saturating_add(seconds(group.route.interval))),
                None => now.0.saturating_add(seconds(group.route.wait)),
            };
            // Most may be silenced, and a look at them takes as long as there are many.
            let at = at.max(group.looked.map_or(0, |looked| looked.saturating_add(GROUP_LOOK_MILLIS)));
            group.flush_at = Some(group.flush_at.map_or(at, |known| known.min(at)));
        });
    }

    /// Does what is due, a bounded part of it: the rest is due at once.
    fn pass_time(&mut self, step: &mut Step<'_>) {
        for _ in 0..TICK_GROUPS_MAX {
            let Some(first) = self.due.first().copied().filter(|(at, _)| *at <= step.time) else { return };
            self.due.remove(&first);
            let (_, due) = first;
            match due {
                Due::Flush(group) => {
                    self.set_due(group, |group| (group.flush_at, group.looked) = (None, Some(step.time.0)));
                    self.flush(group, step);
                    self.forget_oldest();
                }
                Due::Repeat(group) => {
                    self.set_due(group, |group| group.repeat_at = None);
                    if self.is_over(group) {
                        self.tell_end(group, step);
                        self.leave_if_over(group);
                    } else {
                        self.tell_firing(group, NoticeReason::Repeat, step);
                    }
                }
                Due::Escalate(group) => {
                    self.set_due(group, |group| group.escalate_at = None);
                    self.escalate(group, step);
                }
                Due::Again(group) => self.ask_again(group, step),
                Due::End(id) => {
                    let is_elsewhere = self.alerts.get(&id).is_some_and(Alert::ends_with_its_governor);
                    let reason = if is_elsewhere {
                        "another node decides on its governor, and tells of it"
                    } else {
                        "it was not raised again in time"
                    };
                    self.end(id, reason, step);
                }
                Due::SilenceEnds(silence) => self.end_silence(silence, "the silence is over", step),
                Due::Forget(alert) => self.forget(alert),
            }
        }
    }

    fn flush(&mut self, id: AlertId, step: &mut Step<'_>) {
        if self.is_over(id) {
            self.tell_end(id, step);
            self.set_due(id, |group| {
                (group.escalate_at, group.escalated, group.missed) = (None, false, Missed::default());
            });
            self.hold_back(id, step);
            return self.leave_if_over(id);
        }
        let Some(group) = self.groups.get(&id) else { return };
        let is_new = self.firing(id).any(|(_, alert)| !alert.is_known() && self.is_told(alert));
        let reason = match (group.flushed, is_new, group.has_ended) {
            (None, true, _) => NoticeReason::First,
            (Some(_), true, _) | (Some(_), false, true) => NoticeReason::Changed,
            (None, false, _) | (Some(_), false, false) => return self.hold_back(id, step),
        };
        self.tell_firing(id, reason, step);
    }

    /// Whether nothing fires of which people were told, or would be now: what else fires does not delay the end of the others.
    fn is_over(&self, id: AlertId) -> bool {
        !self.firing(id).any(|(_, alert)| alert.notified || self.is_told(alert))
    }

    /// Tells the end to whom it is owed.
    fn tell_end(&mut self, id: AlertId, step: &mut Step<'_>) {
        let Some(group) = self.groups.get(&id) else { return };
        let mut owed = group.owed();
        if crate::fault::planted("end-before-trigger") {
            owed.clone_from(&group.route.channels);
        }
        if crate::fault::planted("silence-swallows-end") && !self.silences.is_empty() {
            owed.clear();
        }
        self.send(id, &owed, (NoticeKind::Resolved, NoticeReason::Resolved), step);
        self.set_due(id, |group| {
            (group.repeat_at, group.has_ended) = (None, false);
            group.channels.values_mut().for_each(Recipient::leave);
        });
    }

    /// All of a group is silenced: a receipt says so, once.
    fn hold_back(&mut self, id: AlertId, step: &mut Step<'_>) {
        let silenced = self.firing(id).filter(|(_, alert)| !alert.silences.is_empty()).count();
        let Some(group) = self.groups.get(&id).filter(|group| !group.held_back && silenced > 0) else {
            return;
        };
        let facts =
            serde_json::json!({"alerts": silenced, "group": id.to_string(), "route": group.route.name});
        step.node(ReceiptType::AlertSilenced, "a silence held the notification back", &facts);
        self.set_due(id, |group| group.held_back = true);
    }

    fn tell_firing(&mut self, id: AlertId, reason: NoticeReason, step: &mut Step<'_>) {
        let told: Vec<AlertId> =
            self.firing(id).filter(|(_, alert)| self.is_told(alert)).map(|(id, _)| id).collect();
        let Some(group) = self.groups.get(&id) else { return };
        if told.is_empty() {
            if reason == NoticeReason::Repeat {
                self.set_due(id, |group| group.missed.repeat = true);
            }
            return;
        }
        // People sleep; nobody is woken by what can wait.
        if let Some(left) = group.quiet(step.time) {
            return self.set_due(id, |group| match reason {
                NoticeReason::Repeat => group.repeat_at = Some(step.time.0 + left),
                NoticeReason::First
                | NoticeReason::Changed
                | NoticeReason::Escalation
                | NoticeReason::Resolved
                | NoticeReason::Acknowledged => group.flush_at = Some(step.time.0 + left),
            });
        }
        let is_acknowledged =
            told.iter().all(|id| self.alerts.get(id).is_some_and(|alert| alert.acknowledged.is_some()));
        if reason == NoticeReason::Repeat && is_acknowledged {
            // Others may be silenced.
            return self.set_due(id, |group| group.missed.repeat = true);
        }
        for alert in &told {
            if let Some(known) = self.alerts.get_mut(alert).filter(|alert| !alert.is_known()) {
                (known.notified, known.is_news) = (true, false);
                self.changed.insert(Key::Alert(*alert));
            }
        }
        let mut channels = group.route.channels.clone();
        if group.escalated {
            channels.extend(group.route.escalate_to.iter().cloned());
        }
        self.send(id, &channels, (NoticeKind::Firing, reason), step);
        self.set_due(id, |group| {
            group.flushed = Some(step.time.0);
            group.is_taken &= is_acknowledged;
            (group.held_back, group.has_ended, group.missed.repeat) = (false, false, false);
            group.end = AskedAgain::default();
            let minutes = |minutes: u32| Some(step.time.0 + u64::from(minutes) * 60_000);
            group.repeat_at = minutes(group.route.repeat);
            if group.route.escalate_after > 0
                && !group.escalated
                && group.escalate_at.is_none()
                && !is_acknowledged
            {
                group.escalate_at = minutes(group.route.escalate_after);
            }
        });
    }

    fn escalate(&mut self, id: AlertId, step: &mut Step<'_>) {
        // Others were just told of what stood in no notification yet.
        let waits = self.firing(id).filter(|(_, alert)| alert.waits());
        let (waits, held_back): (Vec<_>, Vec<_>) = waits.partition(|(_, alert)| self.is_told(alert));
        let (waits, held_back) = (waits.len(), held_back.len());
        if waits == 0 {
            return self.set_due(id, |group| group.missed.escalation |= held_back > 0);
        }
        let Some(group) = self.groups.get(&id) else { return };
        if let Some(left) = group.quiet(step.time) {
            return self.set_due(id, |group| group.escalate_at = Some(step.time.0 + left));
        }
        let (channels, minutes) = (group.route.escalate_to.clone(), group.route.escalate_after);
        let facts = serde_json::json!({
            "alerts": waits, "channels": &channels, "group": id.to_string(), "route": &group.route.name,
        });
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        let reason = format!("nobody acknowledged it within {minutes} {unit}");
        step.node(ReceiptType::AlertEscalated, &reason, &facts);
        self.set_due(id, |group| group.escalated = true);
        self.send(id, &channels, (NoticeKind::Firing, NoticeReason::Escalation), step);
    }

    /// Asks those channels again that did not take that the group fires.
    fn ask_again(&mut self, id: AlertId, step: &mut Step<'_>) {
        let Some(group) = self.groups.get(&id) else { return };
        let again =
            group.channels.iter().filter_map(|(name, recipient)| Some((name.clone(), recipient.again?)));
        let due: Vec<(Box<str>, Again)> = again.filter(|(_, again)| again.at <= step.time.0).collect();
        let quiet = group.quiet(step.time);
        let waits = || self.firing(id).filter(|(_, alert)| alert.waits());
        let (is_left, is_told) = (waits().next().is_some(), waits().any(|(_, alert)| self.is_told(alert)));
        for (channel, Again { at: _, reason }) in due {
            self.set_due(id, |group| {
                let Some(recipient) = group.channels.get_mut(&channel) else { return };
                recipient.again = None;
                match quiet {
                    Some(left) if is_told => recipient.again = Some(Again { at: step.time.0 + left, reason }),
                    // Silences, or the alert of a target, hold back who waits.
                    Some(_) | None if is_left && !is_told => recipient.ask_again(reason, step.time.0),
                    Some(_) | None if !is_left => recipient.leave(),
                    Some(_) | None => {}
                }
            });
            if is_told && quiet.is_none() {
                self.send(id, &[channel], (NoticeKind::Firing, reason), step);
            }
        }
    }

    /// Asks channels for a notification, each once.
    fn send(
        &mut self,
        id: AlertId,
        channels: &[Box<str>],
        (kind, reason): (NoticeKind, NoticeReason),
        step: &mut Step<'_>,
    ) {
        let mut channels: Vec<Box<str>> = channels.to_vec();
        channels.sort_unstable();
        channels.dedup();
        let there_are = &step.routes.source().channels;
        if kind == NoticeKind::Firing && !channels.is_empty() {
            channels.retain(|channel| is_among(there_are, channel));
            // All of them were taken out of the configuration: who is called for such an alert now, is called.
            if channels.is_empty()
                && let Some((id, newest)) = self.newest_told(id)
            {
                channels = step.routes.find(&newest.listed(id)).channels;
            }
        }
        let failing = self.failing_channels(id);
        if !failing.is_empty() {
            channels.retain(|channel| !failing.contains(channel));
            if channels.is_empty() && kind == NoticeKind::Firing {
                channels.extend(self.another_channel(step.routes, &failing));
            }
        }
        if channels.is_empty() {
            return;
        }
        let told = self.tell(id, kind);
        let (mut number, mut since) = (0, 0);
        self.set_due(id, |group| {
            group.step += 1;
            (number, since) = (group.step, group.since);
            if kind == NoticeKind::Firing {
                group.last_told = Some(told.clone());
            }
        });
        let pending = Pending {
            since,
            step: number,
            kind,
            reason,
            asked: step.time.0,
            told: Some(told),
            closes: Vec::new(),
        };
        let notice = self.notice(id, &pending, false);
        let complete = &step.routes.source().complete;
        let complete_notice = channels.iter().any(|channel| is_among(complete, channel));
        let complete_notice = complete_notice.then(|| self.notice(id, &pending, true));
        self.set_due(id, |group| {
            for channel in channels {
                let recipient = group.channels.entry(channel.clone()).or_default();
                // Who may have heard of one that is forgotten hears of the end.
                if recipient.pending.len() == NOTICES_PENDING_MAX
                    && recipient.pending.remove(0).kind == NoticeKind::Firing
                {
                    recipient.told = true;
                }
                let mut pending = pending.clone();
                if kind == NoticeKind::Resolved {
                    pending.closes.clone_from(&recipient.closing);
                }
                recipient.again = None;
                let notice = match &complete_notice {
                    Some(complete_notice) if is_among(complete, &channel) => complete_notice,
                    Some(_) | None => &notice,
                };
                let mut notice = for_channel(notice.clone(), &channel, recipient);
                notice.closes.clone_from(&pending.closes);
                recipient.pending.push(pending);
                step.effects.notices.push(notice);
            }
        });
    }

    /// The newest alert of a group of which people are told to fire.
    fn newest_told(&self, id: AlertId) -> Option<(AlertId, &Alert)> {
        self.firing(id).filter(|(_, alert)| self.is_told(alert)).max_by_key(|(_, alert)| alert.since)
    }

    /// A channel that tells of those that fail: the first one that works, of those that are called for what is critical before others.
    fn another_channel(&self, routes: &Routes, failing: &BTreeSet<Box<str>>) -> Option<Box<str>> {
        let RoutesSource { channels, critical, warning, info, .. } = routes.source();
        let works = |name: &&String| {
            let cause = AlertCause::of_node(CauseKind::ChannelFailing, name);
            !failing.contains(name.as_str()) && !self.alerts.get(&self.id(&cause)).is_some_and(Alert::is_open)
        };
        let mut named = [critical, warning, info, channels].into_iter().flatten();
        let works = named.clone().find(works);
        works.or_else(|| named.find(|name| !failing.contains(name.as_str()))).map(|name| name.as_str().into())
    }

    /// Channels of whose failing the group tells: they are not told by themselves.
    fn failing_channels(&self, id: AlertId) -> BTreeSet<Box<str>> {
        let failing = self.firing(id).filter(|(_, alert)| alert.cause.kind == CauseKind::ChannelFailing);
        failing.map(|(_, alert)| alert.cause.name.clone()).collect()
    }

    /// The alerts of a group that such a notification is about, the newest first, open ones before others.
    fn concerned(&self, id: AlertId, since: u64, kind: NoticeKind) -> Vec<(AlertId, &Alert)> {
        let is_shown = |alert: &Alert| {
            let fires = match kind {
                NoticeKind::Firing => self.is_told(alert),
                NoticeKind::Acknowledged => true,
                NoticeKind::Resolved => false,
            };
            alert.notified && alert.ended.map_or(fires, |ended| ended.0 >= since)
        };
        let mut all: Vec<(AlertId, &Alert)> = self.all_of(id).filter(|(_, alert)| is_shown(alert)).collect();
        all.sort_unstable_by_key(|(_, alert)| (alert.ended.is_some(), Reverse(alert.since)));
        all
    }

    /// What is told of a group now, whichever channel tells it.
    fn tell(&self, id: AlertId, kind: NoticeKind) -> Told {
        let group = self.groups.get(&id);
        let all = self.concerned(id, group.map_or(0, |group| group.since), kind);
        // Those that ended may be forgotten, or open anew where nobody is told of them: what was told is over all the same.
        if all.is_empty()
            && let Some(last) = group.and_then(|group| group.last_told.clone())
        {
            return match kind {
                NoticeKind::Firing | NoticeKind::Acknowledged => last,
                NoticeKind::Resolved => Told { firing: 0, resolved: last.firing.max(1), ..last },
            };
        }
        let firing = all.iter().filter(|(_, alert)| alert.is_open()).count();
        let resolved = all.len() - firing;
        let tenants: BTreeSet<&str> = all.iter().filter_map(|(_, alert)| alert.tenant()).collect();
        let newest = all.first().map(|(_, alert)| *alert);
        let message = newest.map_or("", |alert| &*alert.message);
        let count = if kind == NoticeKind::Resolved { resolved } else { firing };
        let summary = match count {
            0 | 1 => message.to_owned(),
            many if tenants.len() > 1 => format!("{many} alerts of {} tenants: {message}", tenants.len()),
            many => format!("{many} alerts: {message}"),
        };
        let said =
            all.iter().filter_map(|(_, alert)| alert.acknowledged.as_ref()).max_by_key(|said| said.time);
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Told {
            alerts: all.iter().take(NOTICE_ALERTS_MAX).map(|(id, _)| *id).collect(),
            firing: number(firing),
            resolved: number(resolved),
            importance: all.iter().map(|(_, alert)| alert.importance).max().unwrap_or(Importance::Info),
            kind: newest.map_or(CauseKind::Test, |alert| alert.cause.kind),
            name: newest.map(|alert| alert.cause.name.clone()).unwrap_or_default(),
            summary: summary.replace(['\r', '\n'], " ").into(),
            acknowledged: said.map(|said| (said.by.clone(), said.reason.clone())),
        }
    }

    /// A notification as it was asked for; `complete`: with every alert of its group.
    fn notice(&self, id: AlertId, pending: &Pending, complete: bool) -> Notice {
        let told = pending.told.clone().unwrap_or_else(|| self.tell(id, pending.kind));
        let known = |id: &AlertId| self.alerts.get(id).map(|alert| (*id, alert));
        let mut all: Vec<(AlertId, &Alert)> = told.alerts.iter().filter_map(known).collect();
        if complete {
            let mut rest = self.concerned(id, pending.since, pending.kind);
            rest.retain(|(id, _)| !told.alerts.contains(id));
            all.extend(rest);
            // One that went to another group is not over: it is told of there.
            all.retain(|(_, alert)| {
                pending.kind != NoticeKind::Resolved || alert.group == id || !alert.is_open()
            });
        }
        let listed = all.into_iter().map(|(id, alert)| {
            let mut listed = alert.listed(id);
            if pending.kind == NoticeKind::Resolved {
                listed.ended.get_or_insert(UnixMillis(pending.asked));
            }
            listed
        });
        Notice {
            id: NoticeId { group: id, since: pending.since, step: pending.step, channel: "".into() },
            tells: pending.kind,
            reason: pending.reason,
            importance: told.importance,
            kind: told.kind,
            name: told.name,
            summary: told.summary,
            alerts: listed.collect(),
            firing: told.firing,
            resolved: told.resolved,
            acknowledged: told.acknowledged,
            reference: None,
            closes: Vec::new(),
            node: Arc::clone(&self.node),
            time: UnixMillis(pending.asked),
            maybe_twice: false,
        }
    }

    /// What became of a notification.
    fn notified(
        &mut self,
        notice: &NoticeId,
        (result, replaced, maybe): (Result<Option<&Words>, &Words>, bool, bool),
        (tries, digest): (u32, Option<DigestTold>),
        step: &mut Step<'_>,
    ) {
        let failed = result.err();
        let Some(group) = self.groups.get_mut(&notice.group) else { return };
        let Some(recipient) = group.channels.get_mut(&notice.channel) else { return };
        let is_it = |pending: &Pending| pending.since == notice.since && pending.step == notice.step;
        let Some(at) = recipient.pending.iter().position(is_it) else { return };
        let pending = recipient.pending.remove(at);
        // Who may have heard of it hears of its end.
        let is_owed = failed.is_some() && recipient.told && recipient.pending.is_empty();
        if failed.is_some() {
            recipient.told |= maybe && pending.kind == NoticeKind::Firing;
        } else {
            match pending.kind {
                NoticeKind::Firing => recipient.told = true,
                NoticeKind::Resolved => {
                    recipient.told = false;
                    recipient.closing.retain(|key| !pending.closes.contains(key));
                }
                NoticeKind::Acknowledged => {}
            }
            if let Ok(Some(reference)) = result {
                // A first message that is gone has a new one.
                recipient.reference = Some((&**reference).into());
            }
            if !recipient.told && recipient.pending.is_empty() {
                recipient.reference = None;
            }
        }
        let is_unheard = !recipient.told && recipient.pending.is_empty();
        let asks_again = failed.is_some() && pending.kind == NoticeKind::Firing && is_unheard;
        self.set_due(notice.group, |group| {
            let Some(recipient) = group.channels.get_mut(&notice.channel) else { return };
            if asks_again {
                recipient.ask_again(pending.reason, step.time.0);
            } else if failed.is_none() {
                recipient.leave();
            }
        });
        let kind = if failed.is_some() { ReceiptType::AlertFailed } else { ReceiptType::AlertNotified };
        // The end is not given up as long as somebody may come for nothing: nor where it failed while the beginning was under way.
        let is_late = pending.kind == NoticeKind::Firing
            && self.groups.get(&notice.group).is_some_and(|group| {
                let recipient = group.channels.get(&notice.channel);
                group.flush_at.is_none() && recipient.is_some_and(|each| each.told && each.pending.is_empty())
            })
            && self.is_over(notice.group);
        if is_owed && pending.kind == NoticeKind::Resolved || is_late {
            self.set_due(notice.group, |group| group.repeat_at = group.end.again(step.time.0));
        }
        let told = pending.told.unwrap_or_else(|| self.tell(notice.group, pending.kind));
        let reason = match failed {
            Some(why) => format!("{} was not told: {why}", notice.channel),
            None => format!("{} was told", notice.channel),
        };
        let listed = told.alerts.iter().filter_map(|id| Some((*id, self.alerts.get(id)?)));
        let listed: Vec<(AlertId, &Alert)> = listed.collect();
        // One receipt for the notification, and one for the story of each further signal that led to it.
        let first = listed.first().copied();
        let others = listed.iter().skip(1).filter(|(_, alert)| alert.labels.signal.is_some());
        for about in std::iter::once(first).chain(others.map(|other| Some(*other))) {
            let facts = serde_json::json!({
                "alert": about.map(|(id, _)| id.to_string()),
                "alerts": told.count(pending.kind),
                "channel": &notice.channel,
                "group": notice.group.to_string(),
                "notice": notice.to_string(),
                "digest": digest.map(|digest| digest.key.to_string()),
                "tells": pending.kind,
                "tries": tries,
                "why": pending.reason,
            });
            step.about(kind, about.map(|(_, alert)| alert), &reason, &facts);
        }
        if failed.is_none() {
            match (pending.kind, digest) {
                (NoticeKind::Firing, Some(digest)) => self.told_by_digest(notice, digest),
                (NoticeKind::Resolved, _) => self.leave_digests(notice, step),
                (NoticeKind::Firing, None) | (NoticeKind::Acknowledged, _) => {}
            }
        }
        self.leave_if_over(notice.group);
        // Who is not configured does not fail.
        if !replaced && is_among(&step.routes.source().channels, &notice.channel) {
            self.judge_channel(&notice.channel, failed, step);
        }
    }

    fn told_by_digest(&mut self, notice: &NoticeId, digest: DigestTold) {
        let Some(group) = self.groups.get_mut(&notice.group) else { return };
        let Some(recipient) = group.channels.get_mut(&notice.channel) else { return };
        if recipient.digests.iter().any(|known| known.key == digest.key) {
            return;
        }
        let oldest = recipient.digests.len() == DIGESTS_KNOWN_MAX;
        let oldest = oldest.then(|| recipient.digests.remove(0));
        recipient.digests.push(digest);
        self.digests.entry((notice.channel.clone(), digest.key)).or_default().insert(notice.group);
        if let Some(oldest) = oldest {
            self.is_left(&notice.channel, oldest, notice.group);
        }
    }

    /// A group is no part of the digest any more; whether none is.
    fn is_left(&mut self, channel: &str, digest: DigestTold, group: AlertId) -> bool {
        let named = (channel.into(), digest.key);
        let Some(groups) = self.digests.get_mut(&named) else { return false };
        groups.remove(&group);
        groups.is_empty() && self.digests.remove(&named).is_some()
    }

    /// It was told that the group is over: digests of which it was the last are closed.
    fn leave_digests(&mut self, notice: &NoticeId, step: &mut Step<'_>) {
        let group = self.groups.get_mut(&notice.group);
        let recipient = group.and_then(|group| group.channels.get_mut(&notice.channel));
        let digests = recipient.map(|recipient| std::mem::take(&mut recipient.digests)).unwrap_or_default();
        let mut over: Vec<GroupKey> = Vec::new();
        for digest in digests {
            if self.is_left(&notice.channel, digest, notice.group) && digest.opens {
                over.push(digest.key);
            }
        }
        let group = self.groups.get_mut(&notice.group);
        let recipient = group.and_then(|group| group.channels.get_mut(&notice.channel));
        let Some(recipient) = recipient else { return };
        recipient.closing.append(&mut over);
        if recipient.closing.is_empty() {
            return;
        }
        // They are open there, so their end is owed.
        recipient.told = true;
        if recipient.pending.is_empty() {
            let channels = [notice.channel.clone()];
            self.send(notice.group, &channels, (NoticeKind::Resolved, NoticeReason::Resolved), step);
        }
    }

    /// A channel that fails is a cause itself.
    fn judge_channel(&mut self, channel: &str, failed: Option<&Words>, step: &mut Step<'_>) {
        let cause = AlertCause::of_node(CauseKind::ChannelFailing, channel);
        if let Some(why) = failed {
            let message = Words::from(format!("notifications of channel `{channel}` fail: {why}"));
            let (importance, labels) = (CauseKind::ChannelFailing.importance(), AlertLabels::default());
            let minutes = CHANNEL_FAILING_MINUTES;
            self.raise(&Raise { cause, importance, message, member: None, labels, minutes }, step);
        } else {
            let id = self.id(&cause);
            self.end(id, "a notification of the channel arrived", step);
        }
    }

    /// A group that has nothing to tell any more begins anew with its next alert.
    fn leave_if_over(&mut self, id: AlertId) {
        let Some(group) = self.groups.get(&id) else { return };
        let is_asked = group.channels.values().any(|each| !each.pending.is_empty());
        let asks_again = group.repeat_at.is_some() && group.channels.values().any(|each| each.told);
        if group.flush_at.is_some() || is_asked || asks_again || self.firing(id).next().is_some() {
            return;
        }
        for time in group.times(id) {
            self.due.remove(&time);
        }
        let Some(group) = self.groups.remove(&id) else { return };
        for (channel, recipient) in group.channels {
            for digest in recipient.digests {
                self.is_left(&channel, digest, id);
            }
        }
        self.changed.insert(Key::Group(id));
    }
}

impl Alerts {
    /// Alerts as people are shown them, in the order of their [`AlertPosition`].
    #[must_use]
    pub fn list(&self, wanted: &AlertsWanted) -> AlertPage {
        let AlertsWanted { state: in_state, importance, tenant, after, limit } = wanted;
        let fits = |alert: &Alert| {
            in_state.as_deref().is_none_or(|wanted| state(alert) == wanted)
                && importance.is_none_or(|wanted| alert.importance == wanted)
                && tenant.as_deref().is_none_or(|wanted| alert.tenant() == Some(wanted))
        };
        let fitting = self.alerts.iter().filter(|(_, alert)| fits(alert));
        let mut all: Vec<_> = fitting.map(|(id, alert)| (position(*id, alert), alert)).collect();
        let count = all.len() as u64;
        all.retain(|(at, _)| after.is_none_or(|after| *at > after));
        let has_more = *limit < all.len();
        // There may be many more than are shown.
        if has_more {
            all.select_nth_unstable_by_key(*limit, |(at, _)| *at);
            all.truncate(*limit);
        }
        all.sort_unstable_by_key(|(at, _)| *at);
        let next = all.last().filter(|_| has_more).map(|(at, _)| *at);
        AlertPage {
            alerts: all.into_iter().map(|(at, alert)| self.view(at.id, alert)).collect(),
            count,
            next,
        }
    }

    /// At most `most` alerts as people are shown them.
    #[cfg(test)]
    pub fn views(&self, limit: usize) -> impl Iterator<Item = AlertView> {
        self.list(&AlertsWanted { limit, ..AlertsWanted::default() }).alerts.into_iter()
    }

    /// The alerts that are called so, as they are shown, `most` of them, and how many there are.
    #[must_use]
    pub fn called(&self, called: AlertDigits, most: usize) -> AlertPage {
        let found = || self.alerts.range(called.range());
        let alerts = found().take(most).map(|(id, alert)| self.view(*id, alert)).collect();
        AlertPage { alerts, count: found().count() as u64, next: None }
    }

    /// The alerts that a callback changes, a bounded part of them; none where its channels were not told of the group.
    #[must_use]
    pub fn meant_by(&self, callback: &Callback) -> Vec<MeantAlert> {
        let is_told = |group: &Group| callback.channels.iter().any(|name| group.channels.contains_key(name));
        let mut meant = self.groups_of(callback);
        meant.retain(|id| self.groups.get(id).is_some_and(is_told));
        let until = after(callback.pressed, CALLBACK_TOLERANCE.as_secs());
        let members = meant.iter().filter_map(|id| self.members.get(id));
        let changes = members.flat_map(|members| match callback.verb {
            CallbackVerb::Acknowledge => &members.unacknowledged,
            CallbackVerb::Resolve => &members.all,
        });
        let known = changes.filter_map(|id| Some((*id, self.alerts.get(id)?)));
        // Of what stood in no notification nobody said anything.
        let is_meant =
            |alert: &Alert| alert.is_known() && alert.news.unwrap_or(alert.since).max(alert.since) <= until;
        let meant = known.filter(|(_, alert)| alert.is_open() && is_meant(alert));
        let meant = meant.map(|(alert, known)| MeantAlert { alert, cause: known.cause.clone() });
        meant.take(CALLBACK_ALERTS_AT_ONCE).collect()
    }

    /// What an alert is about.
    #[must_use]
    pub fn cause(&self, id: AlertId) -> Option<&AlertCause> {
        self.alerts.get(&id).map(|alert| &alert.cause)
    }

    /// The group that is called so, or those of the digest that is.
    fn groups_of(&self, callback: &Callback) -> Vec<AlertId> {
        if let Some(group) = self.group_of(callback.group) {
            return vec![group];
        }
        let is_meant = |(channel, key): &(Box<str>, GroupKey)| {
            callback.channels.contains(channel)
                && match callback.group {
                    GroupNamed::Key(named) => named == *key,
                    GroupNamed::Tag(tag) => tag == key.tag(),
                }
        };
        let named = self.digests.iter().filter(|(digest, _)| is_meant(digest));
        named.flat_map(|(_, groups)| groups.iter().copied()).collect()
    }

    /// The group that is called so, as long as it did not begin again.
    fn group_of(&self, named: GroupNamed) -> Option<AlertId> {
        match named {
            GroupNamed::Key(GroupKey { group, since }) => {
                self.groups.get(&group).filter(|known| known.since == since).map(|_| group)
            }
            GroupNamed::Tag(tag) => {
                let mut first = [0; 16];
                first[..4].copy_from_slice(&tag.group);
                let mut last = [u8::MAX; 16];
                last[..4].copy_from_slice(&tag.group);
                let named = self.groups.range(AlertId(first)..=AlertId(last));
                let mut named = named
                    .filter(|(group, known)| GroupKey { group: **group, since: known.since }.tag() == tag);
                let found = named.next().map(|(group, _)| *group);
                // Two that are called alike are told apart by nobody.
                found.filter(|_| named.next().is_none())
            }
        }
    }

    /// The silences that hold, oldest first.
    #[must_use]
    pub fn silences(&self) -> Vec<SilenceView> {
        let view = |(seq, silence): (&u64, &Silence)| {
            let StoredSilence { when, since, until, by, reason, .. } = &silence.stored;
            SilenceView {
                id: *seq,
                when: when.clone(),
                since_ms: *since,
                until_ms: *until,
                by: by.clone(),
                reason: reason.clone(),
                alerts: silence.fits,
            }
        };
        self.silences.iter().map(view).collect()
    }

    /// How many open alerts a silence for these would hold back.
    #[must_use]
    pub fn fitting(&self, filter: &AlertFilter) -> u64 {
        let open = self.alerts.iter().filter(|(_, alert)| alert.is_open());
        open.filter(|(id, alert)| filter.holds(&AlertFacts::of(&alert.listed(**id)))).count() as u64
    }

    /// Open ones of the node itself, by kind and name.
    #[must_use]
    pub fn open_of_node(&self) -> Vec<(CauseKind, Box<str>)> {
        let open = self.alerts.values().filter(|alert| alert.is_open() && alert.cause.is_of_node());
        open.map(|alert| (alert.cause.kind, alert.cause.name.clone())).collect()
    }

    /// Whether there is room for one more silence.
    #[must_use]
    pub fn takes_silences(&self) -> bool {
        self.silences.len() < SILENCES_MAX
    }

    /// Open alerts by their state and importance, and whether silences hold them back.
    #[must_use]
    pub fn counts(&self) -> Vec<AlertCount> {
        let mut counts = BTreeMap::<_, u64>::new();
        for alert in self.alerts.values().filter(|alert| alert.is_open()) {
            *counts.entry((state(alert), alert.importance, !alert.silences.is_empty())).or_default() += 1;
        }
        let count =
            |((state, importance, silenced), count)| AlertCount { state, importance, silenced, count };
        counts.into_iter().map(count).collect()
    }

    fn view(&self, id: AlertId, alert: &Alert) -> AlertView {
        let group = self.groups.get(&alert.group);
        let subject = alert.cause.subject.as_ref();
        let channel = |name: &str, recipient: &Recipient| ChannelToldView {
            channel: name.into(),
            state: match (recipient.pending.is_empty(), recipient.told) {
                // Its group was told, and it was not.
                _ if !alert.notified => "not_told",
                (false, _) => "pending",
                (true, true) => "told",
                (true, false) => "not_told",
            },
        };
        AlertView {
            id: id.to_string(),
            kind: alert.cause.kind.into_str(),
            name: alert.cause.name.clone(),
            severity: alert.importance.into_str(),
            state: state(alert),
            silenced: alert.is_open() && !alert.silences.is_empty(),
            tenant: alert.tenant().map(Into::into),
            sku: subject.map(|subject| (*subject.sku).into()),
            message: alert.message.clone(),
            since_ms: alert.since.0,
            ended_ms: alert.ended.map(|ended| ended.0),
            members: alert.members_in_all,
            named_members: alert.members.iter().map(|(tenant, sku)| format!("{tenant}/{sku}")).collect(),
            end_known: alert.cause.kind.has_end() || alert.ends_at.is_some() || alert.labels.resolves,
            ends_ms: alert.ends_at.map(|at| at.0),
            acknowledged_by: alert.acknowledged.as_ref().map(|said| said.by.clone()),
            acknowledged_reason: alert.acknowledged.as_ref().map(|said| said.reason.clone()),
            owner: alert.labels.owner.clone(),
            signal: alert.labels.signal.as_ref().map(|(_, id, _)| id.clone()),
            group: alert.group.to_string(),
            route: group.map(|group| group.route.name.clone()),
            quiet_hours: group.and_then(|group| group.route.quiet).map(QuietHours::to_text),
            channels: group
                .into_iter()
                .flat_map(|group| &group.channels)
                .map(|(name, recipient)| channel(name, recipient))
                .collect(),
            receipt: alert.receipt.clone(),
        }
    }
}

/// How many open alerts are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertCount {
    pub state: &'static str,
    pub importance: Importance,
    pub silenced: bool,
    pub count: u64,
}

/// An alert that a callback is about.
#[derive(Clone, Debug, PartialEq)]
pub struct MeantAlert {
    pub alert: AlertId,
    pub cause: AlertCause,
}

fn is_among(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

/// Nothing that is kept can fail to be written.
fn row<T: Serialize>(of: Option<&T>) -> Option<Vec<u8>> {
    of.and_then(|of| serde_json::to_vec(of).ok())
}

fn for_channel(mut notice: Notice, channel: &str, recipient: &Recipient) -> Notice {
    notice.id.channel = channel.into();
    notice.reference.clone_from(&recipient.reference);
    notice
}

fn position(id: AlertId, alert: &Alert) -> AlertPosition {
    AlertPosition {
        has_ended: !alert.is_open(),
        importance: Reverse(alert.importance),
        since: Reverse(alert.since),
        id,
    }
}

fn state(alert: &Alert) -> &'static str {
    match (alert.is_open(), &alert.acknowledged, alert.notified) {
        (false, _, _) => "resolved",
        (true, Some(_), _) => "acknowledged",
        (true, None, true) => "notified",
        (true, None, false) => "open",
    }
}

fn is_behind(alert: &Alert, target: &str) -> bool {
    alert.is_open()
        && alert.cause.kind == CauseKind::GovernorBreaker
        && alert.labels.target.as_deref() == Some(target)
}

fn add_member(alert: &mut Alert, member: &Subject) {
    let member = ((*member.tenant).into(), (*member.sku).into());
    if alert.members.contains(&member) {
        return;
    }
    // Beyond the bound a member that comes back is counted again.
    alert.members_in_all = alert.members_in_all.saturating_add(1);
    if alert.members.len() < ALERT_MEMBERS_MAX {
        alert.members.insert(member);
    }
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

impl Step<'_> {
    /// A receipt about one alert.
    fn alert(&mut self, kind: ReceiptType, (id, alert): (AlertId, &Alert), reason: &str) {
        let facts = serde_json::json!({
            "alert": id.to_string(),
            // One that was not opened has none.
            "group": (alert.group != id).then(|| alert.group.to_string()),
            "kind": alert.cause.kind,
            "name": cut(&alert.cause.name, 256),
            "owner": alert.labels.owner.as_deref().map(|owner| cut(owner, 256)),
            "severity": alert.importance,
        });
        self.about(kind, Some(alert), reason, &facts);
    }

    /// A receipt about many alerts, or none.
    fn node(&mut self, kind: ReceiptType, reason: &str, facts: &serde_json::Value) {
        self.about(kind, None, reason, facts);
    }

    fn about(&mut self, kind: ReceiptType, alert: Option<&Alert>, reason: &str, facts: &serde_json::Value) {
        let id = ReceiptId { seq: self.seq, ordinal: self.ordinal };
        // A step leaves some hundred receipts at most: `TICK_GROUPS_MAX`.
        self.ordinal = self.ordinal.saturating_add(1);
        let caused = alert.and_then(|alert| alert.labels.signal.as_ref());
        let signal_seq = caused.map(|(seq, _, _)| Seq(*seq));
        let signal = caused.and_then(|(_, id, hex)| {
            let mut hash = [0; 32];
            faster_hex::hex_decode(hex.as_bytes(), &mut hash).ok()?;
            Some(Earlier { id: id.clone(), hash })
        });
        // Such receipts show no states.
        let (before, after) = (StateName::Stable, StateName::Stable);
        let (time, success) = (self.time, kind.is_success());
        let gist = Gist { id, time, kind, before, after, success, action: None, signal_seq };
        let subject = alert.and_then(|alert| alert.cause.subject.as_ref());
        let about = match subject {
            Some(subject) => About::Governor {
                tenant: (*subject.tenant).into(),
                sku: (*subject.sku).into(),
                signal,
                trace: None,
            },
            None => About::Node,
        };
        let facts = serde_jcs::to_string(facts).ok().map(Into::into);
        let reason = Some(Words::from(reason)).map(|reason| (&*reason).into());
        self.effects.drafts.push(Draft { gist, policy: None, facts, reason, about });
    }
}
