//! A shard's turn: take events, step governors, route the effects, hand what changed to the store.
//!
//! One thread owns the governors of its tenants, so a governor has no lock. The step itself is pure; this file joins
//! it to lanes and timers. A commit costs what changed since the last one, however many governors there are.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::breaker::Breaker;
use super::governor::{Effects, Governor, Intent};
use super::rules::Rules;
use super::store::{Changes, Followup};
use super::timers::Timers;
use crate::clock::{self, Instant};
use crate::event::{Arrival, Event, Feed, Note, Seq, Subject, UnixMillis};
use crate::kaizen::{Recorder, Stage as Measured};
use crate::limits::{DRAFTS_LANE, GOVERNORS_LISTED_MAX};
use crate::receipt::StateName;
use crate::ring::{Full, Mark, Receiver, Sender};
use crate::view::GovernorView;

/// What an operator asks.
#[derive(Debug)]
pub enum Query {
    One { subject: Subject, answer: tokio::sync::oneshot::Sender<Option<GovernorView>> },
    Many { page: Page, answer: tokio::sync::oneshot::Sender<Vec<GovernorView>> },
}

/// Governors in the order of tenant and SKU, those behind `after`.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub tenant: Option<Box<str>>,
    pub after: Option<(Box<str>, Box<str>)>,
    pub limit: usize,
}

/// What changed in one shard since its last commit.
#[derive(Debug)]
pub struct Commit {
    pub shard: usize,
    pub changes: Changes,
    /// The changes hold the shard's events up to here.
    pub through: Seq,
}

/// What the outbound runtime is asked to do.
#[derive(Debug)]
pub struct Order {
    pub intent: Intent,
    /// A crash may have come after it was carried out and before its outcome was known.
    pub maybe_twice: bool,
}

/// What a shard is connected to.
#[derive(Debug)]
pub struct Lanes {
    pub events: Receiver<Feed>,
    pub notes: Sender<Note>,
    pub orders: Sender<Order>,
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
    /// Governors by state, in the order of [`StateName::ALL`].
    pub states: [Mark; 6],
}

#[derive(Debug)]
struct Slot {
    governor: Governor,
    dirty: bool,
}

pub struct Stage {
    shard: usize,
    rules: Arc<Rules>,
    slots: Vec<Slot>,
    index: HashTable<u32>,
    hasher: RandomState,
    dirty: Vec<u32>,
    followups: Vec<Followup>,
    timers: Timers,
    effects: Effects,
    lanes: Lanes,
    marks: Marks,
    states: [u64; 6],
    recorder: Recorder,
    /// Effects that found their lane full; nothing else is taken before they are gone.
    notes: VecDeque<Note>,
    orders: VecDeque<Order>,
    /// Something was ordered since the bell was rung.
    ordered: bool,
    /// False during a replay: what governors order then was ordered before.
    live: bool,
    steps: u32,
    /// Events on which the decision panicked twice.
    parked: HashSet<Seq>,
}

/// What a panic carries when deciding on an event caused it.
#[derive(Clone, Copy, Debug)]
pub struct Stumble {
    pub at: Seq,
}

/// Every so many steps one is measured.
const SAMPLE: u32 = 16;
/// Receipts that wait for the scribe before it is woken.
const NOTES_RING: usize = DRAFTS_LANE / 8;
/// Events taken in one turn, so that timers and operators get theirs.
const TURN_EVENTS: usize = 1024;

impl Stage {
    #[must_use]
    pub fn new(
        shard: usize,
        rules: Arc<Rules>,
        governors: Vec<Governor>,
        lanes: Lanes,
        marks: Marks,
        recorder: Recorder,
    ) -> Self {
        let mut stage = Self {
            shard,
            rules,
            slots: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            dirty: Vec::new(),
            followups: Vec::new(),
            timers: Timers::default(),
            effects: Effects::default(),
            lanes,
            marks,
            states: [0; 6],
            recorder,
            notes: VecDeque::new(),
            orders: VecDeque::new(),
            ordered: false,
            live: false,
            steps: 0,
            parked: HashSet::new(),
        };
        for governor in governors {
            stage.admit(governor);
        }
        stage
    }

    /// Gives up on these events: their signals become dead letters.
    #[must_use]
    pub fn parking(mut self, parked: HashSet<Seq>) -> Self {
        self.parked = parked;
        self
    }

    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.lanes.events.is_empty() || !self.lanes.queries.is_empty()
    }

    /// Nothing waits: neither to be taken nor to be handed on.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.has_work() && !self.is_blocked()
    }

    /// Whether a lane has no room for what was decided; nothing is taken before it has.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.notes.is_empty() || !self.orders.is_empty()
    }

    /// When a timer is due next.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        self.timers.next_due()
    }

    /// Takes what waits. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Instant, wall: UnixMillis) -> bool {
        self.recorder.flush_if_due(now);
        self.answer_queries();
        if !self.hand_on() {
            return false;
        }
        let mut took = false;
        for _ in 0..TURN_EVENTS {
            let Some(feed) = self.lanes.events.pop() else { break };
            took = true;
            match feed {
                Feed::Event(event) => self.step(event),
                Feed::Through(seq) => self.commit(seq),
                Feed::Live => self.go_live(),
            }
            if !(self.notes.is_empty() && self.orders.is_empty()) {
                break;
            }
        }
        self.hand_on();
        // The scribe looks by itself, and closes a batch by its age: it is woken only so that the lane does not fill.
        if self.lanes.notes.depth() >= NOTES_RING {
            self.lanes.notes.ring();
        }
        if std::mem::take(&mut self.ordered) {
            self.lanes.orders.ring();
        }
        if took {
            for (mark, count) in self.marks.states.iter().zip(self.states) {
                mark.publish(count);
            }
        }
        if self.live {
            self.fire(wall);
        }
        took
    }

    fn step(&mut self, event: Event) {
        self.steps = self.steps.wrapping_add(1);
        let begun = self.steps.is_multiple_of(SAMPLE).then(clock::now);
        let seq = event.seq;
        let Some(subject) = event.subject() else { return };
        let at = self.find_or_admit(&event, subject);
        let Some(slot) = self.slots.get_mut(at as usize) else { return };
        let before = slot.governor.state();
        crate::fault::point("K11");
        if !self.parked.is_empty() && self.parked.contains(&seq) {
            slot.governor.park(event, &self.rules, &mut self.effects);
        } else {
            let decided = catch_unwind(AssertUnwindSafe(|| {
                crate::fault::stumble("shard", seq.0);
                slot.governor.step(event, &self.rules, &mut self.effects);
            }));
            if decided.is_err() {
                // The governor may be half changed: the whole shard is taken up again from the journal.
                resume_unwind(Box::new(Stumble { at: seq }));
            }
        }
        let after = slot.governor.state();
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push(at);
        }
        if before != after {
            self.states[before as usize] -= 1;
            self.states[after as usize] += 1;
        }
        self.route();
        self.marks.decided.publish(seq.0);
        if let Some(begun) = begun {
            self.recorder.record(Measured::Decide, clock::now() - begun);
        }
    }

    fn find(&self, tenant: &str, sku: &str) -> Option<u32> {
        let wanted = |at: &u32| {
            let governor = self.slots.get(*at as usize).map(|slot| &slot.governor);
            governor.is_some_and(|governor| governor.tenant() == tenant && governor.sku() == sku)
        };
        self.index.find(hash(&self.hasher, tenant, sku), wanted).copied()
    }

    fn find_or_admit(&mut self, event: &Event, (tenant, sku): (&str, &str)) -> u32 {
        if let Some(at) = self.find(tenant, sku) {
            return at;
        }
        let subject = Subject { tenant: tenant.into(), sku: sku.into() };
        let governor = Governor::new(&subject, event.seq, event.time, &self.rules, &mut self.effects);
        self.admit(governor)
    }

    fn admit(&mut self, governor: Governor) -> u32 {
        let at = u32::try_from(self.slots.len());
        assert!(at.is_ok(), "a node has fewer than 2^32 governors");
        let at = at.unwrap_or(u32::MAX);
        let hashed = hash(&self.hasher, governor.tenant(), governor.sku());
        self.states[governor.state() as usize] += 1;
        self.slots.push(Slot { governor, dirty: false });
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.index.insert_unique(hashed, at, |at| {
            let governor = slots.get(*at as usize).map(|slot| &slot.governor);
            governor.map_or(0, |governor| hash(hasher, governor.tenant(), governor.sku()))
        });
        at
    }

    /// Receipts to the scribe, orders to the outbound runtime, timers to the queue.
    fn route(&mut self) {
        for arm in self.effects.timers.drain(..) {
            self.timers.arm(arm);
        }
        for draft in self.effects.drafts.drain(..) {
            self.followups.extend(Followup::of(&draft));
            if !self.notes.is_empty() {
                self.notes.push_back(Note::Draft(draft));
            } else if let Err(Full(note)) = self.lanes.notes.push(Note::Draft(draft)) {
                self.notes.push_back(note);
            }
        }
        for intent in self.effects.intents.drain(..) {
            if self.live {
                crate::fault::point("K12");
                self.orders.push_back(Order { intent, maybe_twice: false });
            }
        }
    }

    /// False while a lane is full.
    fn hand_on(&mut self) -> bool {
        while let Some(note) = self.notes.pop_front() {
            if let Err(Full(note)) = self.lanes.notes.push(note) {
                self.notes.push_front(note);
                self.lanes.notes.ring();
                return false;
            }
        }
        while let Some(order) = self.orders.pop_front() {
            if let Err(Full(order)) = self.lanes.orders.push(order) {
                self.orders.push_front(order);
                self.lanes.orders.ring();
                return false;
            }
            self.ordered = true;
        }
        true
    }

    /// Hands what changed to the store, and tells the scribe how far this shard has come. While the store is busy
    /// the changes stay dirty and go with the next commit.
    fn commit(&mut self, through: Seq) {
        self.marks.decided.publish(through.0);
        self.notes.push_back(Note::Through(through));
        self.hand_on();
        if self.lanes.commits.room() == 0 {
            return;
        }
        let mut changes = Changes::default();
        for at in self.dirty.drain(..) {
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.dirty = false;
                changes.governor(&slot.governor);
            }
        }
        for followup in self.followups.drain(..) {
            changes.followup(followup);
        }
        let pushed = self.lanes.commits.push(Commit { shard: self.shard, changes, through });
        assert!(pushed.is_ok(), "there was room, and only this thread pushes");
        self.lanes.commits.ring();
    }

    /// The replay is over: arm every timer, and carry out again what was ordered and has no outcome.
    fn go_live(&mut self) {
        self.live = true;
        for Slot { governor, .. } in &self.slots {
            for arm in governor.timers() {
                self.timers.arm(arm);
            }
            let unsettled = governor.in_flight().cloned();
            self.orders.extend(unsettled.map(|intent| Order { intent, maybe_twice: true }));
        }
    }

    fn fire(&mut self, wall: UnixMillis) {
        let mut rang = false;
        while self.lanes.arrivals.room() > 0
            && let Some(timer) = self.timers.due(wall)
        {
            let pushed = self.lanes.arrivals.push(Arrival::Timer(Box::new(timer)));
            assert!(pushed.is_ok(), "there was room, and only this thread pushes");
            rang = true;
        }
        if rang {
            self.lanes.arrivals.ring();
        }
    }

    fn answer_queries(&mut self) {
        while let Some(query) = self.lanes.queries.pop() {
            // Who asked may have gone; then nobody wants the answer.
            match query {
                Query::One { subject, answer } => {
                    let at = self.find(&subject.tenant, &subject.sku);
                    let slot = at.and_then(|at| self.slots.get(at as usize));
                    let _gone = answer.send(slot.map(|slot| self.view(&slot.governor)));
                }
                Query::Many { page, answer } => {
                    let _gone = answer.send(self.list(&page));
                }
            }
        }
    }

    fn list(&self, page: &Page) -> Vec<GovernorView> {
        let after = page.after.as_ref().map(|(tenant, sku)| (&**tenant, &**sku));
        let mut found: Vec<&Governor> = self
            .slots
            .iter()
            .map(|slot| &slot.governor)
            .filter(|governor| page.tenant.as_deref().is_none_or(|tenant| governor.tenant() == tenant))
            .filter(|governor| after.is_none_or(|after| (governor.tenant(), governor.sku()) > after))
            .collect();
        found.sort_unstable_by_key(|governor| (governor.tenant(), governor.sku()));
        found.truncate(page.limit.min(GOVERNORS_LISTED_MAX));
        found.into_iter().map(|governor| self.view(governor)).collect()
    }

    fn view(&self, governor: &Governor) -> GovernorView {
        GovernorView {
            tenant: governor.tenant().into(),
            sku: governor.sku().into(),
            state: governor.state().as_str(),
            quota_remaining: governor.quota_remaining(&self.rules),
            in_flight_action: governor.in_flight().map(|intent| intent.action.to_string()),
            breaker: match governor.breaker() {
                Breaker::Closed { .. } => "healthy",
                Breaker::Open => "halted",
                Breaker::HalfOpen => "testing",
            },
            mailbox_depth: governor.waiting(),
            last_seq: governor.last_seq().0,
        }
    }

    /// The governors, for the comparison of a replay with the live line.
    pub fn governors(&self) -> impl Iterator<Item = &Governor> {
        self.slots.iter().map(|slot| &slot.governor)
    }
}

fn hash(hasher: &RandomState, tenant: &str, sku: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(tenant.as_bytes());
    hasher.write_u8(0);
    hasher.write(sku.as_bytes());
    hasher.finish()
}

const _: () = assert!(StateName::ALL.len() == 6);

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("shard", &self.shard).finish_non_exhaustive()
    }
}
