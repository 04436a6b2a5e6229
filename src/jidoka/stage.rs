//! A shard's turn: take events, level them, step governors, and hand on what they ask for and what changed.
//!
//! One thread owns the governors of its tenants, so a governor has no lock. The step itself is pure; this file joins the
//! parts: the inbox says which event is next, the roster has its governor, the release policy says when effects leave, and they
//! leave by the outlet. A commit costs what changed since the last one, however many governors there are.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::alerts::AlertDesk;
use super::governor::ActionRequest;
use super::governor::{Effects, Governor};
use super::inbox::{Barrier, Inbox, Ready};
use super::outlet::{Outlet, Step};
use super::ownership::PartitionOwnership;
use super::query::{Queries, Query, Shown};
use super::release::ReleasePolicy;
use super::roster::Roster;
use super::rules::{self, Compiled, Rules};
use super::store::{Commit, Kept};
use super::tap::Spout;
use crate::alert::Alarm;
use crate::clock::{self, Instant};
use crate::event::{Arrival, Event, Feed, Kind, Note, RulesText, Seq, UnixMillis};
use crate::kaizen::{Recorder, Tally};
use crate::ring::{Corner, Mark, Receiver, Sender, WeighedReceiver};
use crate::sharing::Adopt;

/// What a shard is connected to.
#[derive(Debug)]
pub struct Lanes {
    pub events: WeighedReceiver<Feed>,
    pub notes: Sender<Note>,
    pub orders: Sender<ActionRequest>,
    /// Timers that fired, to the journal.
    pub arrivals: Sender<Arrival>,
    /// What changed, to the store.
    pub commits: Sender<Commit>,
    pub queries: Receiver<Query>,
}

/// What others read.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Last event that was decided.
    pub decided: Mark,
    /// Governors by state, in the order of `StateName::ALL`.
    pub states: [Mark; 6],
    /// Events up to here are not read again: their states are in the store, and their receipts in the log.
    pub settled: Mark,
}

pub struct Stage {
    shard: usize,
    rules: Arc<Rules>,
    /// The event since which they hold.
    rules_since: Seq,
    compiled: Arc<Compiled>,
    inbox: Inbox,
    roster: Roster,
    release: ReleasePolicy,
    outlet: Outlet,
    queries: Queries,
    /// Of the shard that has them.
    alerts: Option<Box<AlertDesk>>,
    /// Room for what a step asks for.
    effects: Effects,
    /// Events on which the decision panicked twice.
    parked: HashSet<Seq>,
    steps: u32,
}

/// What a panic carries when deciding on an event caused it.
#[derive(Clone, Copy, Debug)]
pub struct Stumble {
    pub at: Seq,
}

/// Every so many steps one is measured.
const SAMPLE: u32 = 16;
/// Events taken in one turn, so that timers and operators get theirs.
const TURN_EVENTS: usize = 1024;

impl Stage {
    #[must_use]
    pub fn new(
        shard: usize,
        (rules, compiled): (Arc<Rules>, Arc<Compiled>),
        governors: Vec<Governor>,
        lanes: Lanes,
        marks: Marks,
        recorder: Recorder,
    ) -> Self {
        let Lanes { events, notes, orders, arrivals, commits, queries } = lanes;
        let Marks { decided, states, settled } = marks;
        let mut roster = Roster::new(states, settled);
        for governor in governors {
            let kept = Kept::all_of(&governor);
            roster.admit(governor, kept);
        }
        Self {
            shard,
            rules,
            rules_since: Seq(0),
            compiled,
            inbox: Inbox::new(events),
            roster,
            release: ReleasePolicy::default(),
            outlet: Outlet::new((notes, orders), (arrivals, commits), (decided, recorder)),
            queries: Queries::new(queries),
            alerts: None,
            effects: Effects::default(),
            parked: HashSet::new(),
            steps: 0,
        }
    }

    /// The rules that it begins with hold from this event on.
    #[must_use]
    pub fn under_rules_since(mut self, since: Seq) -> Self {
        self.rules_since = since;
        self
    }

    /// Gives up on these events: their signals become dead letters.
    #[must_use]
    pub fn parking(mut self, parked: HashSet<Seq>) -> Self {
        self.parked = parked;
        self
    }

    /// Tells those who accept which tenants have too much waiting.
    #[must_use]
    pub fn telling(mut self, crowd: Corner) -> Self {
        self.roster.tell(crowd);
        self
    }

    /// Has viewers look at what it decides.
    #[must_use]
    pub fn tapped(mut self, spout: Spout) -> Self {
        self.outlet.tap(spout);
        self
    }

    /// Has the alerts of the node.
    #[must_use]
    pub fn alerting(mut self, alerts: AlertDesk) -> Self {
        self.alerts = Some(Box::new(alerts));
        self
    }

    /// Shares the state of partitions.
    #[must_use]
    pub fn sharing(mut self, ownership: PartitionOwnership) -> Self {
        self.release = ReleasePolicy::WhenShared(Box::new(ownership));
        self
    }

    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.inbox.is_empty() || self.queries.has_work(self.inbox.last_taken())
    }

    /// Nothing waits: neither to be taken nor to be handed on.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.has_work() && !self.is_blocked() && !self.release.is_asked()
    }

    /// Whether a lane has no room for what was decided; nothing is taken before it has.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.outlet.is_blocked()
    }

    /// Takes what waits, and offers the timers that are due at the journal's `time`. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Instant, time: UnixMillis) -> bool {
        if self.outlet.turn(now) {
            let Self { roster, outlet, .. } = self;
            roster.tell_tallies(|tenant, tally| outlet.measure_tenant(tenant, tally));
            outlet.flush_measures(now);
        }
        self.queries.answer(
            &self.inbox,
            Shown { roster: &self.roster, rules: &self.rules, alerts: self.alerts.as_deref() },
        );
        if !self.hand_on() {
            return false;
        }
        self.roster.look_at_tenants();
        let mut took = self.take();
        for _ in 0..TURN_EVENTS {
            let Some((tenant, ready)) = self.inbox.next() else { break };
            took = true;
            self.roster.event_steps(tenant);
            self.step(tenant, ready, time);
            if self.is_blocked() {
                break;
            }
        }
        if let Some(barrier) = self.inbox.pass_barrier() {
            took = true;
            self.pass(barrier);
        }
        // Once a turn, however many alarms changed the same alert in it; and before any commit that counts them.
        if let Some(alerts) = &mut self.alerts {
            self.outlet.alert_rows(alerts.drain_changed());
        }
        self.release.commit_if_asked(&self.inbox, &mut self.roster, &mut self.outlet);
        self.hand_on();
        self.outlet.wake();
        if took {
            self.roster.publish_states();
        }
        if self.outlet.is_live() {
            if let Some(alerts) = &mut self.alerts
                && alerts.turn(time)
                && !self.outlet.tick()
            {
                alerts.not_ticked();
            }
            if self.outlet.asks_for_alarms() {
                let untold = self.roster.iter().flat_map(|governor| self.release.untold(governor));
                untold.for_each(|alarm| self.outlet.alarm(alarm));
            }
            self.outlet.fire(now, time);
            self.look_for_idle(now, time);
        }
        took
    }

    /// False while nothing may be taken.
    fn hand_on(&mut self) -> bool {
        self.outlet.hand_on() && self.release.commit_unasked(&self.inbox, &mut self.roster, &mut self.outlet)
    }

    /// From the lane into the levelled order, as far as there is room.
    fn take(&mut self) -> bool {
        let mut took = false;
        while let Some(feed) = self.inbox.receive() {
            took = true;
            match feed {
                Feed::Event(event) => self.take_event(event),
                Feed::Through(seq) => {
                    self.inbox.taken(seq);
                    self.release.ask(seq);
                }
                Feed::Cut(through) => self.inbox.wait_behind_all(Barrier::Cut(through)),
                Feed::Live => self.inbox.wait_behind_all(Barrier::Live),
            }
        }
        took
    }

    fn take_event(&mut self, event: Event) {
        self.inbox.taken(event.seq);
        if let Some(alerts) = &mut self.alerts {
            alerts.see(&event);
        }
        // The alerts are the node's, wherever the governor is.
        let is_alarm = matches!(event.kind, Kind::Alarm(_));
        if !is_alarm && self.release.is_elsewhere(&event.kind) {
            if let Kind::Stray(_) = event.kind {
                self.set_apart(event);
            }
            return;
        }
        match &event.kind {
            Kind::Rules(text) => {
                let text = Arc::clone(text);
                let barrier = Barrier::Rules(event, text);
                if crate::fault::planted("rules-without-barrier") {
                    self.pass(barrier);
                } else {
                    self.inbox.wait_behind_all(barrier);
                }
            }
            Kind::Reconfigured(change) => {
                let change = Arc::clone(change);
                self.inbox.wait_behind_all(Barrier::Reconfigured(event, change));
            }
            Kind::Alarm(alarm) => self.take_alarm(&event, alarm),
            // It waits for no governor, and none waits for it.
            Kind::Manifest(manifest) => self.outlet.draft(rules::manifest(&event, &manifest.hour)),
            Kind::Hold(hold) => self.inbox.wait_behind_all(Barrier::Hold(event.seq, *hold)),
            Kind::Shared(shared) => {
                self.inbox.wait_behind_all(Barrier::Shared(event.seq, shared.clone()));
            }
            Kind::Signal(_)
            | Kind::Outcome(_)
            | Kind::Timer(_)
            | Kind::Command(_)
            | Kind::Replay(_)
            | Kind::Stray(_)
            | Kind::Position(_)
            | Kind::Adopt(_) => {
                let Some(at) = self.find_or_admit(&event) else { return };
                let tenant = self.roster.event_waits(at);
                self.inbox.wait(tenant, Ready { at, event });
            }
        }
    }

    /// The alerts are told at once, and the governor that it names in its turn. One that is gone needs to hear nothing.
    fn take_alarm(&mut self, event: &Event, alarm: &Alarm) {
        if let Some(alerts) = &mut self.alerts {
            alerts.step(event, alarm, &self.rules, &mut self.outlet);
        }
        let own = event.subject().and_then(|(tenant, sku)| self.roster.find(tenant, sku));
        if let Some(at) = own {
            let tenant = self.roster.event_waits(at);
            self.inbox.wait(tenant, Ready { at, event: event.clone() });
        }
    }

    fn find_or_admit(&mut self, event: &Event) -> Option<u32> {
        let (tenant, sku) = event.subject()?;
        if let Some(at) = self.roster.find(tenant, sku) {
            return Some(at);
        }
        let subject = event.kind.governor()?;
        let governor = Governor::new(&subject, event.seq, event.time, &self.rules, &mut self.effects);
        self.outlet.emit(&mut self.effects);
        Some(self.roster.admit(governor, Kept::default()))
    }

    /// What no partition of this node's brings, but must be seen: a dead letter whose governor is elsewhere, or nowhere.
    fn set_apart(&mut self, event: Event) {
        let Some(subject) = event.kind.governor() else { return };
        let mut governor = Governor::new(&subject, event.seq, event.time, &self.rules, &mut self.effects);
        governor.step(event, &self.rules, &mut self.effects);
        self.effects.timers.clear();
        self.outlet.emit(&mut self.effects);
    }

    fn step(&mut self, tenant: u32, Ready { at, event }: Ready, time: UnixMillis) {
        self.steps = self.steps.wrapping_add(1);
        let begun = self.steps.is_multiple_of(SAMPLE).then(clock::now);
        if let Kind::Signal(signal) = &event.kind {
            let waited = Duration::from_millis(time.0.saturating_sub(event.time.0));
            if begun.is_some() {
                self.outlet.measure_wait(waited);
            }
            if self.outlet.traces() {
                let begun = begun.or_else(|| signal.recorded().map(|_| clock::now()));
                self.outlet.begin_step(Step { begun, waited });
            }
        }
        let (seq, waited_milliseconds) = (event.seq, time.0.saturating_sub(event.time.0));
        let Some(governor) = self.roster.get_mut(at) else { return };
        let before = governor.state();
        crate::fault::point("K11");
        while crate::fault::planted("shard-hangs") && matches!(event.kind, Kind::Signal(_)) {
            std::thread::sleep(Duration::from_secs(1));
        }
        if let Kind::Adopt(adopt) = &event.kind {
            self.adopt(at, adopt, &event);
        } else if !self.parked.is_empty() && self.parked.contains(&seq) {
            governor.park(event, &self.rules, &mut self.effects);
        } else {
            let decided = catch_unwind(AssertUnwindSafe(|| {
                crate::fault::stumble("shard", seq.0);
                governor.step(event, &self.rules, &mut self.effects);
            }));
            if decided.is_err() {
                // The governor may be half changed: the whole shard is taken up again from the journal.
                resume_unwind(Box::new(Stumble { at: seq }));
            }
        }
        self.roster.stepped(at, before);
        // What is replayed was told before, and waited longer.
        if self.outlet.is_live() {
            let failures = self.effects.cases.iter().filter(|change| change.is_opened()).count() as u64;
            self.roster.tenant_took(tenant, Tally { events: 1, waited_milliseconds, failures });
        }
        self.outlet.alerts_refused(std::mem::take(&mut self.effects.refused));
        self.release.emit(&mut self.effects, self.roster.get(at), seq, &mut self.outlet);
        self.outlet.decided(seq);
        self.outlet.begin_step(Step::default());
        if let Some(begun) = begun {
            self.outlet.measure(clock::now() - begun);
        }
    }

    /// The governor that an event brings.
    fn adopt(&mut self, at: u32, adopt: &Adopt, event: &Event) {
        let adopted = Governor::adopted(adopt.row(), event.seq, event.time, &self.rules);
        assert!(adopted.is_ok(), "a row is read before it is journalled: {adopted:?}");
        let (Ok(adopted), Some(governor)) = (adopted, self.roster.get_mut(at)) else { return };
        *governor = adopted;
        governor.timers().for_each(|arm| self.outlet.arm(arm));
        if self.outlet.is_live() {
            governor.untold_alarms().into_iter().for_each(|alarm| self.outlet.alarm(alarm));
            self.outlet.order_again(governor);
        }
    }

    fn pass(&mut self, barrier: Barrier) {
        match barrier {
            Barrier::Live => {
                // As with rules, one shard speaks for all.
                if self.shard == 0 {
                    self.compiled.go_live();
                }
                self.release.go_live(&self.roster, &mut self.outlet);
                if let Some(alerts) = &mut self.alerts {
                    alerts.go_live(&self.rules);
                }
            }
            Barrier::Cut(through) => self.release.cut(through, &mut self.roster),
            Barrier::Hold(seq, hold) => {
                self.release.hold(hold, &mut self.roster, &mut self.outlet);
                self.outlet.decided(seq);
            }
            Barrier::Shared(seq, shared) => {
                self.release.release(&shared, &mut self.roster, &mut self.outlet);
                self.outlet.decided(seq);
            }
            Barrier::Rules(event, text) => self.change_rules(&event, text),
            Barrier::Reconfigured(event, change) => {
                // As with rules, one shard speaks for all.
                if self.shard == 0 {
                    self.outlet.draft(rules::reconfigured(&event, &change));
                }
                self.outlet.decided(event.seq);
            }
        }
    }

    fn change_rules(&mut self, event: &Event, text: Arc<RulesText>) {
        let rules = self.compiled.of(text.text());
        assert!(rules.is_ok(), "rules are compiled before they are journalled, and again before a replay");
        let Ok(rules) = rules else { return };
        // They concern the node: one shard speaks for all.
        let speaks = self.shard == 0;
        if text.is_void_under(self.rules_since) {
            if speaks {
                self.outlet.draft(rules::void(event, &text, self.rules_since));
                self.compiled.refuse(event.seq);
            }
            self.outlet.decided(event.seq);
            return;
        }
        if speaks {
            let drafts = rules.receipts(&self.rules, event, &text);
            self.outlet.rules(event.seq, text, drafts);
            self.compiled.hold(event.seq, &rules);
        }
        (self.rules, self.rules_since) = (rules, event.seq);
        self.outlet.decided(event.seq);
    }

    fn look_for_idle(&mut self, now: Instant, time: UnixMillis) {
        let (mut rings, outlet) = (false, &mut self.outlet);
        self.roster.look_for_idle(now, time, &self.rules, |timer| rings |= outlet.offer(timer));
        if rings {
            outlet.wake_journal();
        }
    }

    /// The governors, for the comparison of a replay with the live line.
    #[cfg(feature = "inside")]
    pub fn governors(&self) -> impl Iterator<Item = &Governor> {
        self.roster.iter()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("shard", &self.shard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kaizen::Collector;
    use crate::ring::{Bell, lane, weighed_lane};

    /// Whoever goes by the halts that hold must know of each that the journal has.
    #[test]
    fn rules_are_live_once_the_shard_that_speaks_for_all_has_replayed() {
        let bell = || Arc::new(Bell::new(|| {}));
        let compiled = Arc::new(Compiled::default());
        for (shard, is_live) in [(1, false), (0, true)] {
            let (mut feeds, events) = weighed_lane(8, 1 << 20, bell());
            let lanes = Lanes {
                events,
                notes: lane(8, bell()).0,
                orders: lane(1, bell()).0,
                arrivals: lane(8, bell()).0,
                commits: lane(2, bell()).0,
                queries: lane(1, bell()).1,
            };
            let mark = || Mark::new(0);
            let marks = Marks { decided: mark(), states: std::array::from_fn(|_| mark()), settled: mark() };
            let rules = (Arc::new(Rules::default()), Arc::clone(&compiled));
            let recorder = Collector::new().unwrap().recorder().unwrap();
            let mut stage = Stage::new(shard, rules, Vec::new(), lanes, marks, recorder);
            assert!(feeds.push(Feed::Live).is_ok());
            stage.turn(clock::now(), UnixMillis(1));
            assert_eq!((stage.is_done(), compiled.is_live()), (true, is_live));
        }
    }
}
