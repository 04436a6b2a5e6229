//! A shard's turn: take events, step governors, route the effects, commit what changed.
//!
//! One thread owns the governors of its tenants, so a governor has no lock. The step itself is pure; this file joins
//! it to lanes, timers and the store. A commit costs what changed since the last one, however many governors there
//! are.

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};

use super::governor::{self, Effects, Governor, Intent, Rules};
use super::store::Commit;
use super::timers::Timers;
use crate::clock::{self, Instant};
use crate::event::{Arrival, Event, Feed, Note, Seq, UnixMillis};
use crate::kaizen::{Recorder, Stage as Measured};
use crate::limits;
use crate::ring::{Full, Receiver, Sender};
use crate::view::GovernorView;

/// What an operator asks.
#[derive(Debug)]
pub enum Query {
    One { key: Box<str>, answer: tokio::sync::oneshot::Sender<Option<GovernorView>> },
    /// At most `limit` whose keys follow `after`, in the order of tenant and SKU.
    Many {
        tenant: Option<Box<str>>,
        after: Box<str>,
        limit: usize,
        answer: tokio::sync::oneshot::Sender<Vec<GovernorView>>,
    },
}

/// What a shard is connected to.
#[derive(Debug)]
pub struct Lanes {
    pub events: Receiver<Feed>,
    pub notes: Sender<Note>,
    pub intents: Sender<Intent>,
    /// Timers that fired, to the journal.
    pub arrivals: Sender<Arrival>,
    /// What changed, to the store.
    pub commits: Sender<Commit>,
    pub queries: Receiver<Query>,
}

pub struct Stage {
    shard: usize,
    rules: Rules,
    /// By [`governor::key`].
    governors: HashMap<Box<str>, Governor, foldhash::quality::RandomState>,
    dirty: HashSet<Box<str>, foldhash::quality::RandomState>,
    timers: Timers,
    effects: Effects,
    lanes: Lanes,
    recorder: Recorder,
    /// Effects of one step that found their lane full; nothing else is taken before they are gone.
    notes: VecDeque<Note>,
    intents: VecDeque<Intent>,
    /// False during a replay: what governors order then was ordered before.
    live: bool,
    key: String,
    steps: u32,
}

/// Every so many steps one is measured.
const SAMPLE: u32 = 16;
/// Events taken in one turn, so that timers and operators get theirs.
const TURN_EVENTS: usize = 1024;

impl Stage {
    #[must_use]
    pub fn new(shard: usize, rules: Rules, governors: Vec<Governor>, lanes: Lanes, recorder: Recorder) -> Self {
        let governors = governors
            .into_iter()
            .map(|governor| (governor::key(governor.tenant(), governor.sku()), governor))
            .collect();
        Self {
            shard,
            rules,
            governors,
            dirty: HashSet::default(),
            timers: Timers::default(),
            effects: Effects::default(),
            lanes,
            recorder,
            notes: VecDeque::new(),
            intents: VecDeque::new(),
            live: false,
            key: String::new(),
            steps: 0,
        }
    }

    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.lanes.events.is_empty() || !self.lanes.queries.is_empty()
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
            if !(self.notes.is_empty() && self.intents.is_empty()) {
                break;
            }
        }
        self.lanes.notes.ring();
        self.lanes.intents.ring();
        if self.live {
            self.fire(wall);
        }
        took
    }

    fn step(&mut self, event: Event) {
        self.steps = self.steps.wrapping_add(1);
        let begun = (self.steps % SAMPLE == 0).then(clock::now);
        let (tenant, sku) = event.subject();
        governor::key_into(&mut self.key, tenant, sku);
        let governor = match self.governors.get_mut(self.key.as_str()) {
            Some(governor) => governor,
            None => {
                let made = Governor::new(tenant, sku, &self.rules, &event, &mut self.effects);
                self.governors.entry(self.key.as_str().into()).or_insert(made)
            }
        };
        governor::step(governor, event, &self.rules, &mut self.effects);
        if !self.dirty.contains(self.key.as_str()) {
            self.dirty.insert(self.key.as_str().into());
        }
        self.route();
        if let Some(begun) = begun {
            self.recorder.record(Measured::Decide, clock::now() - begun);
        }
    }

    /// Receipts to the scribe, orders to the outbound runtime, timers to the queue.
    fn route(&mut self) {
        for arm in self.effects.timers.drain(..) {
            self.timers.arm(&self.key, arm);
        }
        for draft in self.effects.drafts.drain(..) {
            if !self.notes.is_empty() {
                self.notes.push_back(Note::Draft(draft));
            } else if let Err(Full(note)) = self.lanes.notes.push(Note::Draft(draft)) {
                self.notes.push_back(note);
            }
        }
        for intent in self.effects.intents.drain(..) {
            if self.live {
                self.intents.push_back(intent);
            }
        }
        if !self.intents.is_empty() {
            self.hand_on();
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
        while let Some(intent) = self.intents.pop_front() {
            if let Err(Full(intent)) = self.lanes.intents.push(intent) {
                self.intents.push_front(intent);
                self.lanes.intents.ring();
                return false;
            }
        }
        true
    }

    /// Hands what changed to the store, and tells the scribe how far this shard has come. While the store is busy
    /// the changes stay dirty and go with the next commit.
    fn commit(&mut self, through: Seq) {
        self.notes.push_back(Note::Through(through));
        self.hand_on();
        if self.lanes.commits.room() == 0 {
            return;
        }
        let rows = self
            .dirty
            .drain()
            .filter_map(|key| {
                let mut row = Vec::with_capacity(128);
                governor::encode(self.governors.get(&key)?, &mut row);
                Some((key, row))
            })
            .collect();
        let pushed = self.lanes.commits.push(Commit { shard: self.shard, rows, through });
        assert!(pushed.is_ok(), "there was room, and only this thread pushes");
        self.lanes.commits.ring();
    }

    /// The replay is over: arm every timer, and carry out again what was ordered and has no outcome.
    fn go_live(&mut self) {
        self.live = true;
        for (key, governor) in &self.governors {
            for arm in governor.timers() {
                self.timers.arm(key, arm);
            }
            self.intents.extend(governor.unsettled());
        }
        self.hand_on();
    }

    fn fire(&mut self, wall: UnixMillis) {
        let mut rang = false;
        while let Some(timer) = self.timers.due(wall) {
            match self.lanes.arrivals.push(Arrival::Timer(Box::new(timer))) {
                Ok(()) => rang = true,
                Err(Full(Arrival::Timer(timer))) => {
                    self.timers.again(*timer, wall);
                    break;
                }
                Err(Full(_)) => break,
            }
        }
        if rang {
            self.lanes.arrivals.ring();
        }
    }

    fn answer_queries(&mut self) {
        while let Some(query) = self.lanes.queries.pop() {
            // Who asked may have gone; then nobody wants the answer.
            match query {
                Query::One { key, answer } => {
                    let _gone = answer.send(self.governors.get(&key).map(Governor::view));
                }
                Query::Many { tenant, after, limit, answer } => {
                    let wanted = |key: &str| {
                        *key > *after
                            && tenant.as_deref().is_none_or(|tenant| governor::tenant_of(key) == tenant)
                    };
                    let mut keys: Vec<&str> =
                        self.governors.keys().map(AsRef::as_ref).filter(|key| wanted(key)).collect();
                    keys.sort_unstable();
                    keys.truncate(limit.min(limits::GOVERNORS_LISTED_MAX));
                    let views = keys.iter().filter_map(|key| self.governors.get(*key)).map(Governor::view);
                    let _gone = answer.send(views.collect());
                }
            }
        }
    }

    /// Hashes of all states, for the comparison of a replay with the live line.
    #[must_use]
    pub fn governors(&self) -> impl Iterator<Item = &Governor> {
        self.governors.values()
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("shard", &self.shard).finish_non_exhaustive()
    }
}
