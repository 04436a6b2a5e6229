//! The alerts of the node, in the one shard that has them. They are stepped when they are taken from the lane: an alarm waits for no
//! governor, and none waits for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::outlet::Outlet;
use super::rules::Rules;
use crate::alert::{
    Alarm, AlertCause, AlertCount, AlertDigits, AlertEffects, AlertFilter, AlertPage, AlertRow, Alerts,
    AlertsWanted, Callback, CauseKind, MeantAlert, NotAnAlarm, Notice, Routes,
};
use crate::event::{Event, Kind, UnixMillis};
use crate::limits::{ALERTS_NAMED_ALIKE, NOTICES_LANE};
use crate::sharing::HeldPartitions;
use crate::view::SilenceView;

/// Notifications on their way to the channels. Cheap to clone; few come, so a lock is no burden.
#[derive(Clone, Debug, Default)]
pub struct NoticeLane(Arc<(Mutex<VecDeque<Notice>>, Notify)>);

impl NoticeLane {
    /// Puts in as many as there is room for.
    fn push(&self, waiting: &mut VecDeque<Notice>) {
        let (lane, bell) = &*self.0;
        let mut lane = lane.lock().unwrap_or_else(PoisonError::into_inner);
        let before = lane.len();
        while lane.len() < NOTICES_LANE
            && let Some(notice) = waiting.pop_front()
        {
            lane.push_back(notice);
        }
        if lane.len() > before {
            bell.notify_one();
        }
    }

    /// The next one; waits until there is one. May be given up at any time.
    pub async fn next(&self) -> Notice {
        loop {
            match self.try_next() {
                Some(notice) => return notice,
                None => self.0.1.notified().await,
            }
        }
    }

    /// The most urgent one, and the first among these. What was asked for before of the same group and channel comes before it: in
    /// the other order it would be told that it fires when it is over.
    pub fn try_next(&self) -> Option<Notice> {
        let mut lane = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let urgency = |(at, notice): &(usize, &Notice)| (std::cmp::Reverse(notice.importance), *at);
        let (_, urgent) = lane.iter().enumerate().min_by_key(urgency)?;
        let of_one =
            |notice: &Notice| notice.id.group == urgent.id.group && notice.id.channel == urgent.id.channel;
        let at = lane.iter().position(of_one)?;
        lane.remove(at)
    }
}

/// The alerts, and what they ask for.
#[derive(Debug)]
pub struct AlertDesk {
    alerts: Alerts,
    effects: AlertEffects,
    lane: NoticeLane,
    waiting: VecDeque<Notice>,
    /// A tick is on its way through the journal.
    ticks: bool,
    /// Where the state of partitions is shared.
    held: Option<HeldPartitions>,
}

/// What is asked of the alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertsAsked {
    /// Those that are called so, in place of a list.
    pub called: Option<AlertDigits>,
    /// The one that is about this, in place of a list.
    pub about: Option<AlertCause>,
    pub list: AlertsWanted,
    /// Of a silence that is to come.
    pub silence: Option<Arc<AlertFilter>>,
}

/// What is known of the alerts.
#[derive(Clone, Debug, Default)]
pub struct AlertsSeen {
    pub list: AlertPage,
    /// What the one that was asked for is about.
    pub cause: Option<AlertCause>,
    pub silences: Vec<SilenceView>,
    /// How many open ones the silence that was asked for would hold back.
    pub would_hold_back: u64,
    pub counts: Vec<AlertCount>,
    /// Not opened, since there are as many as may be.
    pub refused: u64,
    pub takes_silences: bool,
    /// Open ones of the node itself, by kind and name.
    pub open_of_node: Vec<(CauseKind, Box<str>)>,
    /// Kinds of which no alert is opened.
    pub off: Vec<CauseKind>,
}

impl AlertDesk {
    /// As the store has them.
    ///
    /// # Errors
    /// A row that this version does not read, with its key.
    pub fn new(
        (origin, node): (&str, &str),
        rows: &[(String, Vec<u8>)],
        held: Option<HeldPartitions>,
        lane: NoticeLane,
    ) -> Result<Self, (String, NotAnAlarm)> {
        let mut alerts = Alerts::new(origin, node);
        for (key, row) in rows {
            alerts.restore(key, row).map_err(|why| (key.clone(), why))?;
        }
        let (effects, waiting) = (AlertEffects::default(), VecDeque::new());
        Ok(Self { alerts, effects, lane, waiting, ticks: false, held })
    }

    /// Applies an alarm.
    pub fn step(&mut self, event: &Event, alarm: &Alarm, rules: &Rules, outlet: &mut Outlet) {
        if matches!(alarm, Alarm::Tick) {
            self.ticks = false;
        }
        let at = (event.seq, event.time);
        let refused = self.alerts.refused();
        self.alerts.step(at, alarm, &rules.routes, &mut self.effects);
        outlet.alerts_refused(self.alerts.refused() - refused);
        // It was on its way when its partition was lost.
        if let (Some(held), Alarm::Raise(raise)) = (&self.held, alarm)
            && let Some(subject) = &raise.cause.subject
            && !held.holds(&subject.tenant)
        {
            self.alerts.look_elsewhere(at, |tenant| *tenant == *subject.tenant);
        }
        self.effects.drafts.drain(..).for_each(|draft| outlet.draft(draft));
        if outlet.is_live() {
            self.waiting.extend(self.effects.notices.drain(..));
        }
        // During a replay they were asked for before; those without an outcome are asked for when it is over.
        self.effects.notices.clear();
    }

    /// Partitions are taken or lost, in the order of the journal: no barrier of the shard's governors holds for alerts.
    pub fn see(&mut self, event: &Event) {
        let Some(held) = &mut self.held else { return };
        match &event.kind {
            Kind::Hold(hold) => held.take(hold.partition),
            Kind::Shared(shared) => {
                shared.lost.iter().for_each(|partition| held.lose(*partition));
                let is_lost = |tenant: &str| shared.lost.contains(&held.of(tenant));
                if !shared.lost.is_empty() {
                    self.alerts.look_elsewhere((event.seq, event.time), is_lost);
                }
            }
            Kind::Signal(_)
            | Kind::Outcome(_)
            | Kind::Timer(_)
            | Kind::Command(_)
            | Kind::Replay(_)
            | Kind::Stray(_)
            | Kind::Position(_)
            | Kind::Adopt(_)
            | Kind::Rules(_)
            | Kind::Reconfigured(_)
            | Kind::Alarm(_)
            | Kind::Manifest(_) => {}
        }
    }

    /// The replay is over: notifications without an outcome are asked for again.
    pub fn go_live(&mut self, rules: &Rules) {
        self.waiting.extend(self.alerts.pending(&rules.routes));
    }

    /// Hands on what waits, and says whether time is to be journalled: something is due. Not during a replay.
    pub fn turn(&mut self, time: UnixMillis) -> bool {
        if !self.waiting.is_empty() {
            self.lane.push(&mut self.waiting);
        }
        let is_due = !self.ticks && self.alerts.due().is_some_and(|due| due <= time);
        self.ticks |= is_due;
        is_due
    }

    /// The tick found no room.
    pub fn not_ticked(&mut self) {
        self.ticks = false;
    }

    pub fn drain_changed(&mut self) -> Vec<AlertRow> {
        self.alerts.drain_changed()
    }

    /// Alerts that a callback changes.
    #[must_use]
    pub fn meant_by(&self, callback: &Callback) -> Vec<MeantAlert> {
        self.alerts.meant_by(callback)
    }

    /// As operators are shown them.
    #[must_use]
    pub fn seen(&self, asked: &AlertsAsked, routes: &Routes) -> AlertsSeen {
        let about = asked.about.as_ref().map(|cause| self.alerts.id(cause).into());
        let called = asked.called.or(about);
        let list = match called {
            Some(called) => self.alerts.called(called, ALERTS_NAMED_ALIKE),
            None if asked.list.limit == 0 => AlertPage::default(),
            None => self.alerts.list(&asked.list),
        };
        let one = match (called, &list.alerts[..]) {
            (Some(_), [one]) => one.id.parse().ok(),
            (Some(_) | None, _) => None,
        };
        AlertsSeen {
            list,
            cause: one.and_then(|id| self.alerts.cause(id)).cloned(),
            silences: self.alerts.silences(),
            would_hold_back: asked.silence.as_ref().map_or(0, |filter| self.alerts.fitting(filter)),
            counts: self.alerts.counts(),
            refused: self.alerts.refused(),
            takes_silences: self.alerts.takes_silences(),
            open_of_node: self.alerts.open_of_node(),
            off: CauseKind::ALL.into_iter().filter(|kind| routes.is_off(*kind)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{AlertId, Importance, NoticeId, NoticeKind, NoticeReason, RoutesSource};

    fn notice(group: u8, step: u32, importance: Importance) -> Notice {
        Notice {
            id: NoticeId { group: AlertId([group; 16]), since: 1, step, channel: "chat".into() },
            tells: NoticeKind::Firing,
            reason: NoticeReason::First,
            importance,
            kind: CauseKind::Test,
            name: "".into(),
            summary: "".into(),
            alerts: Vec::new(),
            firing: 1,
            resolved: 0,
            acknowledged: None,
            reference: None,
            closes: Vec::new(),
            node: "n-1".into(),
            time: UnixMillis(0),
            maybe_twice: false,
        }
    }

    #[test]
    fn it_is_seen_which_kinds_are_off() {
        let desk = AlertDesk::new(("origin/", "n-1"), &[], None, NoticeLane::default()).unwrap();
        let importance = [(CauseKind::DiskLow, None), (CauseKind::Halt, Some(Importance::Info))];
        let source = RoutesSource { importance: importance.into_iter().collect(), ..RoutesSource::default() };
        let routes = Routes::compile(source).unwrap();
        assert_eq!(desk.seen(&AlertsAsked::default(), &routes).off, [CauseKind::DiskLow]);
    }

    #[test]
    fn the_urgent_leave_the_lane_first_and_those_of_a_group_in_their_order() {
        use Importance::{Critical, Info, Warning};
        let lane = NoticeLane::default();
        let came =
            [(1, 1, Info), (2, 1, Info), (3, 1, Warning), (2, 2, Critical), (4, 1, Critical), (3, 2, Info)];
        let mut waiting: VecDeque<Notice> =
            came.iter().map(|(group, step, importance)| notice(*group, *step, *importance)).collect();
        waiting.extend((0..NOTICES_LANE).map(|_| notice(9, 1, Info)));
        lane.push(&mut waiting);
        assert_eq!((lane.0.0.lock().unwrap().len(), waiting.len()), (NOTICES_LANE, came.len()));
        let left = std::iter::from_fn(|| lane.try_next()).take(6);
        let left: Vec<_> = left.map(|notice| (notice.id.group.0[0], notice.id.step)).collect();
        assert_eq!(left, [(2, 1), (2, 2), (4, 1), (3, 1), (1, 1), (3, 2)]);
    }
}
