//! A shard's turn: take events, level them, step governors, route the effects, hand what changed to the store.
//!
//! One thread owns the governors of its tenants, so a governor has no lock. The step itself is pure; this file joins
//! it to lanes and timers. Events wait in a fair queue between lane and step; what concerns all governors (new rules,
//! the end of a replay) is a barrier, at which everything before it is stepped first. A commit costs what changed since
//! the last one, however many governors there are.

use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::barrier::Barrier;
use super::dead_letter::CaseChange;
use super::fair_queue::FairQueue;
use super::governor::{Effects, Governor, Intent};
use super::query::Query;
use super::roster::Roster;
use super::rules::{Compiled, Rules};
use super::store::{Changes, Followup, Kept};
use super::tenure::Tenure;
use super::timers::Timers;
use crate::clock::{self, Instant};
use crate::event::{Arrival, Event, Feed, Kind, Note, RulesText, Seq, UnixMillis};
use crate::kaizen::{Recorder, Stage as Measured};
use crate::limits::{CASE_BYTES_HELD_MAX, DRAFTS_LANE, FAIR_QUEUE_BYTES_MAX, FAIR_QUEUE_EVENTS_MAX};
use crate::ring::{Corner, Mark, Receiver, Sender, WeighedReceiver};

/// What changed in one shard since its last commit.
#[derive(Debug)]
pub struct Commit {
    pub shard: usize,
    /// Counts this shard's commits: its receipts are durable once the scribe has passed [`Note::Commit`] of this number.
    /// A row may hold events behind `through`, so that number would not tell.
    pub number: u64,
    pub changes: Changes,
    /// The changes hold the shard's events up to here.
    pub through: Seq,
    /// Of a node that shares the state of partitions: those that it holds.
    pub held: Option<Vec<u16>>,
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
    pub events: WeighedReceiver<Feed>,
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
    /// Governors by state, in the order of `StateName::ALL`.
    pub states: [Mark; 6],
    /// Events up to here are not read again: their states are in the store, and their receipts in the log.
    pub settled: Mark,
}

/// An event and the slot of its governor.
#[derive(Debug)]
struct Ready {
    slot: u32,
    event: Event,
}

pub struct Stage {
    pub(super) shard: usize,
    pub(super) rules: Arc<Rules>,
    pub(super) compiled: Arc<Compiled>,
    pub(super) roster: Roster,
    ready: FairQueue<Ready>,
    /// Everything before it is stepped first; nothing behind it is taken before.
    barrier: Option<Barrier>,
    /// Every event up to here was taken from the lane.
    pub(super) taken: Seq,
    /// A commit through this number is asked for.
    pub(super) wanted: Option<Seq>,
    /// The newest number that was asked for; a later one than `wanted` where that is not done yet.
    pub(super) asked: Seq,
    /// Commits so far.
    pub(super) commits: u64,
    pub(super) followups: Vec<Followup>,
    pub(super) cases: Vec<CaseChange>,
    /// Bodies held in `cases`.
    pub(super) case_bytes: usize,
    /// Rules that came since the last commit.
    pub(super) rules_changed: Vec<(Seq, Arc<RulesText>)>,
    pub(super) timers: Timers,
    pub(super) effects: Effects,
    pub(super) lanes: Lanes,
    pub(super) marks: Marks,
    pub(super) recorder: Recorder,
    /// Effects that found their lane full; nothing else is taken before they are gone.
    pub(super) notes: VecDeque<Note>,
    pub(super) orders: VecDeque<Order>,
    /// Something was ordered since the bell was rung.
    pub(super) ordered: bool,
    /// False during a replay: what governors order then was ordered before.
    pub(super) live: bool,
    steps: u32,
    /// Keys of governors that are gone and whose rows are to go.
    pub(super) forgotten: HashSet<Box<str>>,
    /// When some of the governors are looked at next.
    pub(super) looks_at: Option<Instant>,
    /// Events on which the decision panicked twice.
    parked: HashSet<Seq>,
    /// Questions that wait for an event.
    pub(super) early: Vec<Query>,
    /// Of a node that shares the state of partitions.
    pub(super) tenure: Option<Tenure>,
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
        (rules, compiled): (Arc<Rules>, Arc<Compiled>),
        governors: Vec<Governor>,
        lanes: Lanes,
        marks: Marks,
        recorder: Recorder,
    ) -> Self {
        let mut stage = Self {
            shard,
            rules,
            compiled,
            roster: Roster::default(),
            ready: FairQueue::default(),
            barrier: None,
            taken: Seq(0),
            wanted: None,
            asked: Seq(0),
            commits: 0,
            followups: Vec::new(),
            cases: Vec::new(),
            case_bytes: 0,
            rules_changed: Vec::new(),
            timers: Timers::default(),
            effects: Effects::default(),
            lanes,
            marks,
            recorder,
            notes: VecDeque::new(),
            orders: VecDeque::new(),
            ordered: false,
            live: false,
            steps: 0,
            forgotten: HashSet::new(),
            looks_at: None,
            parked: HashSet::new(),
            early: Vec::new(),
            tenure: None,
        };
        for governor in governors {
            let kept = Kept::all_of(&governor);
            stage.roster.admit(governor, kept);
        }
        stage
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
        self.roster.tenants.tell(crowd);
        self
    }

    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.lanes.events.is_empty()
            || !self.lanes.queries.is_empty()
            || self.roster.directory.listing.is_some()
            || !self.ready.is_empty()
            || self.barrier.is_some()
            || self.early.iter().any(|query| query.after <= self.taken)
    }

    /// Events that wait for their step.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Nothing waits: neither to be taken nor to be handed on.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !self.has_work() && !self.is_blocked() && self.wanted.is_none()
    }

    /// Whether a lane has no room for what was decided; nothing is taken before it has.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        !self.notes.is_empty() || !self.orders.is_empty() || self.case_bytes > CASE_BYTES_HELD_MAX
    }

    /// When a timer is due next.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        self.timers.next_due()
    }

    /// Takes what waits, and offers the timers that are due at the journal's `time`. Returns whether there was anything to do.
    pub fn turn(&mut self, now: Instant, time: UnixMillis) -> bool {
        self.recorder.flush_if_due(now);
        self.answer_queries();
        if !self.hand_on() {
            return false;
        }
        self.roster.tenants.look();
        let mut took = self.take();
        for _ in 0..TURN_EVENTS {
            let Some((tenant, ready)) = self.ready.pop() else { break };
            took = true;
            self.roster.tenants.steps(tenant);
            self.step(ready);
            if self.is_blocked() {
                break;
            }
        }
        if self.ready.is_empty()
            && let Some(barrier) = self.barrier.take()
        {
            took = true;
            self.pass(barrier);
        }
        self.commit_if_due();
        self.hand_on();
        // The scribe looks by itself, and closes a batch by its age: it is woken only so that the lane does not fill.
        if self.lanes.notes.depth() >= NOTES_RING {
            self.lanes.notes.ring();
        }
        if std::mem::take(&mut self.ordered) {
            self.lanes.orders.ring();
        }
        if took {
            for (mark, count) in self.marks.states.iter().zip(self.roster.states()) {
                mark.publish(count);
            }
        }
        if self.live {
            self.fire(time);
            self.look_for_idle(now, time);
        }
        took
    }

    /// From the lane into the levelled order, as far as there is room.
    fn take(&mut self) -> bool {
        let mut took = false;
        while self.barrier.is_none()
            && self.ready.len() < FAIR_QUEUE_EVENTS_MAX
            && self.ready.cost() < FAIR_QUEUE_BYTES_MAX
            && let Some(feed) = self.lanes.events.pop()
        {
            took = true;
            match feed {
                Feed::Event(event) => self.take_event(event),
                Feed::Through(seq) => {
                    self.taken = seq;
                    // What is shared is committed, and only that.
                    if self.tenure.is_none() {
                        self.asked = seq;
                        self.wanted.get_or_insert(seq);
                    }
                }
                Feed::Cut(through) => self.barrier = Some(Barrier::Cut(through)),
                Feed::Live => self.barrier = Some(Barrier::Live),
            }
        }
        took
    }

    fn take_event(&mut self, event: Event) {
        self.taken = event.seq;
        if self.is_elsewhere(&event.kind) {
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
                    self.barrier = Some(barrier);
                }
            }
            Kind::Hold(_) | Kind::Shared(_) => self.barrier = Some(Barrier::Tenure(event)),
            Kind::Signal(_)
            | Kind::Outcome(_)
            | Kind::Timer(_)
            | Kind::Command(_)
            | Kind::Replay(_)
            | Kind::Stray(_)
            | Kind::Position(_)
            | Kind::Adopt(_) => {
                let bytes = event.kind.body_bytes();
                let Some(slot) = self.find_or_admit(&event) else { return };
                let tenant = self.roster.slot(slot).map(|slot| slot.tenant).unwrap_or_default();
                self.ready.push(tenant, bytes, Ready { slot, event });
                self.roster.tenants.event(tenant);
            }
        }
    }

    /// Every event of this shard up to here was stepped.
    pub(super) fn stepped(&self) -> Seq {
        let held = match &self.barrier {
            Some(Barrier::Rules(event, _) | Barrier::Tenure(event)) => Some(event.seq),
            Some(Barrier::Live | Barrier::Cut(_)) | None => None,
        };
        let oldest = self.ready.fronts().map(|ready| ready.event.seq).chain(held).min();
        oldest.map_or(self.taken, |oldest| self.taken.min(Seq(oldest.0 - 1)))
    }

    fn step(&mut self, Ready { slot: at, event }: Ready) {
        self.steps = self.steps.wrapping_add(1);
        let begun = self.steps.is_multiple_of(SAMPLE).then(clock::now);
        let seq = event.seq;
        let Some(slot) = self.roster.slot_mut(at) else { return };
        let before = slot.governor.state();
        crate::fault::point("K11");
        if let Kind::Adopt(adopt) = &event.kind {
            self.adopt(at, adopt, &event);
        } else if !self.parked.is_empty() && self.parked.contains(&seq) {
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
        self.roster.stepped(at, before);
        self.route_of(at, seq);
        self.marks.decided.publish(seq.0);
        if let Some(begun) = begun {
            self.recorder.record(Measured::Decide, clock::now() - begun);
        }
    }

    fn find_or_admit(&mut self, event: &Event) -> Option<u32> {
        let (tenant, sku) = event.subject()?;
        if let Some(at) = self.roster.find(tenant, sku) {
            return Some(at);
        }
        let subject = event.kind.governor()?;
        let governor = Governor::new(&subject, event.seq, event.time, &self.rules, &mut self.effects);
        self.route();
        Some(self.roster.admit(governor, Kept::default()))
    }

    /// The replay is over: arm every timer, and carry out again what was ordered and has no outcome.
    pub(super) fn go_live(&mut self) {
        self.live = true;
        // What is shared is loaded anew when its partition is held again.
        if self.tenure.is_some() {
            return;
        }
        for governor in self.roster.iter() {
            for arm in governor.timers() {
                self.timers.arm(arm);
            }
            let unsettled = governor.in_flight().cloned();
            self.orders.extend(unsettled.map(|intent| Order { intent, maybe_twice: true }));
        }
    }

    fn fire(&mut self, time: UnixMillis) {
        let mut rang = false;
        while self.lanes.arrivals.room() > 0
            && let Some(timer) = self.timers.due(time)
        {
            let pushed = self.lanes.arrivals.push(Arrival::Timer(Box::new(timer)));
            assert!(pushed.is_ok(), "there was room, and only this thread pushes");
            rang = true;
        }
        if rang {
            self.lanes.arrivals.ring();
        }
    }

    /// The governors, for the comparison of a replay with the live line.
    pub fn governors(&self) -> impl Iterator<Item = &Governor> {
        self.roster.iter()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("shard", &self.shard).finish_non_exhaustive()
    }
}
