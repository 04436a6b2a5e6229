//! The journal's turn: take what waits, tell the known from the new, number, write, sync, answer, hand on.
//!
//! One thread, so there is one order for the whole node (promise P3). The busier the line, the larger the frame:
//! everything that came while the last frame was synced goes into the next one. Nothing is answered and nothing is
//! handed on before its frame is durable (promise P1).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::dedup::{ArchiveError, Dedup, Known};
use super::journal::{WriteError, Writer};
use super::journal_clock::{self, JournalClock};
use super::positions::Positions;
use super::tenure::Tenure;
use crate::clock::{Instant, Look};
use crate::disk::Disk;
use crate::event::{Ack, Arrival, Event, Feed, Kind, Order, Seq, Shed};
use crate::kaizen::{Recorder, Stage as Measured};
use crate::limits::JOURNAL_SEAL_AFTER;
use crate::ring::{Bell, Crowd, Mark, Receiver, Sender, Spent, Switch, Weigh, WeighedSender};
use crate::signal::Fingerprint;

/// Why the line must stop: restart is recovery.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("{path}: cannot see how much disk space is free: {source}")]
    Space { path: PathBuf, source: std::io::Error },
}

/// The two lanes between one ingress thread and the journal.
#[derive(Debug)]
pub struct Port {
    pub arrivals: Receiver<Arrival>,
    pub acks: Sender<Ack>,
}

/// Asks which number a signal has.
#[derive(Debug)]
pub struct Query {
    /// One per source that may have sent it.
    pub identities: Vec<Fingerprint>,
    pub answer: tokio::sync::oneshot::Sender<Option<Seq>>,
}

/// An operator's order, and whom to tell its number once it is durable.
#[derive(Debug)]
pub struct Ordered {
    pub order: Order,
    pub answer: tokio::sync::oneshot::Sender<Seq>,
}

/// What the journal is connected to.
#[derive(Debug)]
pub struct Lanes {
    pub ports: Vec<Port>,
    /// Timers and outcomes.
    pub inner: Vec<Receiver<Arrival>>,
    pub orders: Receiver<Ordered>,
    /// None at an edge: whoever follows the journal is rung instead.
    pub shards: Vec<WeighedSender<Feed>>,
    pub follower: Option<Arc<Bell>>,
    pub queries: Receiver<Query>,
}

/// What others read and set.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Last durable number.
    pub durable: Mark,
    /// Bytes written since the start.
    pub written: Mark,
    /// States of all events up to here are in the store, and their receipts in the log.
    pub settled: Mark,
    /// 1 while free space is below the low-water mark.
    pub disk_low: Mark,
    /// 1 while as much is kept as may be.
    pub backlog_full: Mark,
    /// What waits in memory, and how many governors there are.
    pub crowd: Crowd,
    pub clock: journal_clock::Marks,
    /// Signals are refused from here on; what was taken is finished.
    pub drain: Switch,
}

impl Marks {
    /// Why nothing is taken now, as far as others can see.
    #[must_use]
    pub fn shed(&self) -> Option<Shed> {
        if self.disk_low.read() == 1 {
            return Some(Shed::DiskLow);
        }
        if self.backlog_full.read() == 1 {
            return Some(Shed::BacklogFull);
        }
        self.crowd.spent().map(|spent| match spent {
            Spent::Waiting => Shed::WaitingFull,
            Spent::Governors => Shed::GovernorsFull,
        })
    }
}

impl Weigh for Feed {
    fn weight(&self) -> usize {
        match self {
            Self::Event(event) => event.kind.body_bytes(),
            Self::Through(_) | Self::Live | Self::Cut(_) => 0,
        }
    }
}

/// How a turn went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Worked,
    /// Nothing waits.
    Idle,
    /// A shard has no room; what is durable waits for it.
    Blocked,
}

/// The shard that owns a tenant's governors. Part of no stored format, but of the order of work: the same on every
/// machine and in every run.
#[must_use]
pub fn shard_of(tenant: &str, shards: usize) -> usize {
    usize::try_from(xxh3_64(tenant.as_bytes()) % shards as u64).unwrap_or(0)
}

/// Whose free space is watched.
pub struct Place {
    pub disk: Arc<dyn Disk>,
    pub data_dir: PathBuf,
    /// Below this, signals are refused.
    pub low_water_bytes: u64,
    /// Segments that are kept may take so much before signals are refused.
    pub backlog_bytes: Option<u64>,
}

pub struct Stage {
    place: Place,
    clock: JournalClock,
    pub(super) writer: Writer,
    pub(super) dedup: Dedup,
    lanes: Lanes,
    marks: Marks,
    recorder: Recorder,
    /// Durable; waits for room in its shard's lane. At most one frame's events.
    staged: VecDeque<(usize, Feed)>,
    /// Answers of the frame that is being written: port and answer.
    acks: Vec<(usize, Ack)>,
    /// Orders of the frame that is being written.
    ordered: Vec<(Seq, tokio::sync::oneshot::Sender<Seq>)>,
    /// Written before anything that arrives.
    begins_with: Option<Order>,
    pub(super) positions: Positions,
    /// Of a node that shares the state of partitions.
    pub(super) tenure: Option<Tenure>,
    next_port: usize,
    announced: Seq,
    last_frame: Instant,
    last_look: Option<Instant>,
    pub(super) within_unit: HashMap<Fingerprint, u64>,
    /// What was known of each signal of a unit before its first was numbered.
    pub(super) known: Vec<Known>,
}

impl Stage {
    #[must_use]
    pub fn new(
        place: Place,
        (writer, clock): (Writer, JournalClock),
        dedup: Dedup,
        lanes: Lanes,
        marks: Marks,
        recorder: Recorder,
        now: Instant,
    ) -> Self {
        let announced = writer.last();
        marks.durable.publish(announced.0);
        Self {
            place,
            clock,
            writer,
            dedup,
            lanes,
            marks,
            recorder,
            staged: VecDeque::new(),
            acks: Vec::new(),
            ordered: Vec::new(),
            begins_with: None,
            positions: Positions::default(),
            tenure: None,
            next_port: 0,
            announced,
            last_frame: now,
            last_look: None,
            within_unit: HashMap::new(),
            known: Vec::new(),
        }
    }

    /// Writes `order` before anything that arrives.
    pub fn begin_with(&mut self, order: Order) {
        self.begins_with = Some(order);
    }

    /// Goes on from where the edges' signals were taken through.
    #[must_use]
    pub fn after(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Shares the state of partitions; what earlier runs held is held no more.
    #[must_use]
    pub fn sharing(mut self, tenure: Tenure) -> Self {
        self.tenure = Some(tenure);
        self.positions = Positions::default();
        self
    }

    /// Whether something waits for a turn.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.lanes.ports.iter().any(|port| !port.arrivals.is_empty())
            || self.lanes.inner.iter().any(|lane| !lane.is_empty())
            || !self.lanes.orders.is_empty()
            || !self.lanes.queries.is_empty()
    }

    /// One group commit, at most.
    pub fn turn(&mut self, now: Instant, look: Look) -> Result<Turn, Fatal> {
        // All that was written before this turn was synced.
        let stamp = self.clock.stamp(look);
        self.dedup.turn(self.writer.last(), self.clock.lived())?;
        self.housekeep(now)?;
        self.answer_queries()?;
        if !self.hand_on() {
            return Ok(Turn::Blocked);
        }
        self.writer.begin(stamp);
        self.take()?;
        let (count, units) = (self.writer.count(), self.acks.len());
        if count == 0 {
            self.writer.write()?;
            if units == 0 {
                return self.quiet(now);
            }
        } else {
            self.commit(count, now)?;
        }
        self.answer();
        self.hand_on();
        if let Some(follower) = &self.lanes.follower {
            follower.ring();
        }
        Ok(Turn::Worked)
    }

    /// Tells the shards that this is all; false while they have no room to hear it.
    pub fn finish(&mut self) -> bool {
        self.announce();
        self.hand_on()
    }

    /// Ends in order: everything that waits is durable and handed on.
    pub fn close(self) -> Result<(), WriteError> {
        assert!(self.staged.is_empty(), "drained before it is closed");
        self.writer.close()
    }

    fn commit(&mut self, count: u32, now: Instant) -> Result<(), Fatal> {
        crate::fault::point("K7");
        let begun = crate::clock::now();
        self.writer.write()?;
        let written = crate::clock::now();
        if crate::fault::planted("ack-before-sync") {
            self.answer();
        }
        self.writer.sync()?;
        let synced = crate::clock::now();
        self.recorder.record(Measured::JournalWrite, written - begun);
        self.recorder.record(Measured::Fsync, synced - written);
        self.recorder.record_batch(u64::from(count));
        self.last_frame = now;
        self.marks.durable.publish(self.writer.last().0);
        self.marks.written.publish(self.writer.written());
        Ok(())
    }

    fn take(&mut self) -> Result<(), Fatal> {
        for lane in 0..self.lanes.inner.len() {
            while self.writer.takes(1) {
                let Some(arrival) = self.lanes.inner[lane].pop() else { break };
                self.take_inner(arrival);
            }
        }
        if let Some(order) = self.begins_with.take() {
            self.take_order(order);
        }
        self.positions.write(&mut self.writer);
        while self.writer.takes(1)
            && let Some(Ordered { order, answer }) = self.lanes.orders.pop()
        {
            let seq = self.take_order(order);
            self.ordered.push((seq, answer));
        }
        let ports = self.lanes.ports.len();
        let mut empty = 0;
        while empty < ports && self.writer.takes(crate::limits::BATCH_SIGNALS_MAX) {
            let port = self.next_port % ports;
            self.next_port = port + 1;
            match self.lanes.ports[port].arrivals.pop() {
                Some(Arrival::Signals(signals, offered)) => {
                    empty = 0;
                    if let Some(offered) = offered {
                        let waited = crate::clock::nanos().saturating_sub(offered);
                        self.recorder.record(Measured::LaneWait, Duration::from_nanos(waited));
                    }
                    let ack = self.take_unit(signals)?;
                    self.acks.push((port, ack));
                }
                Some(Arrival::Forwarded(forwarded)) => {
                    empty = 0;
                    let ack = self.take_forwarded(*forwarded)?;
                    self.acks.push((port, ack));
                }
                Some(inner @ (Arrival::Outcome(_) | Arrival::Timer(_))) => self.take_inner(inner),
                Some(sharing) => {
                    empty = 0;
                    let ack = self.take_tenure(sharing);
                    self.acks.push((port, ack));
                }
                None => empty += 1,
            }
        }
        Ok(())
    }

    fn take_order(&mut self, order: Order) -> Seq {
        let seq = self.writer.order(&order);
        let kind = match order {
            Order::Command(command) => Kind::Command(command),
            Order::Replay(replay) => Kind::Replay(replay),
            Order::Rules(rules) => Kind::Rules(rules),
        };
        self.stage(seq, kind);
        seq
    }

    fn take_inner(&mut self, arrival: Arrival) {
        let (seq, kind) = match arrival {
            Arrival::Outcome(outcome) => (self.writer.outcome(&outcome), Kind::Outcome(outcome)),
            Arrival::Timer(timer) => (self.writer.timer(&timer), Kind::Timer(timer)),
            Arrival::Signals(..)
            | Arrival::Forwarded(_)
            | Arrival::Taken(_)
            | Arrival::Adopted(_)
            | Arrival::Shared(_)
            | Arrival::Cut => {
                unreachable!("what is answered arrives through a port, which has a lane for the answer")
            }
        };
        self.stage(seq, kind);
    }

    pub(super) fn stage(&mut self, seq: Seq, kind: Kind) {
        let event = Event { seq, time: self.writer.time(), kind };
        let shards = self.lanes.shards.len();
        if shards == 0 {
            return;
        }
        if let Some(tenure) = &self.tenure
            && event.subject().is_some()
        {
            tenure.changes(seq);
        }
        match event.subject() {
            Some((tenant, _)) => self.staged.push_back((shard_of(tenant, shards), Feed::Event(event))),
            None => self.staged.extend((0..shards).map(|shard| (shard, Feed::Event(event.clone())))),
        }
        if crate::fault::planted("order-swapped") && self.staged.len() > 1 && seq.0.is_multiple_of(5) {
            let last = self.staged.len() - 1;
            self.staged.swap(last - 1, last);
        }
    }

    /// Tells every shard, behind what it was handed before.
    pub(super) fn stage_cut(&mut self, through: Seq) {
        self.staged.extend((0..self.lanes.shards.len()).map(|shard| (shard, Feed::Cut(through))));
    }

    pub(super) fn shed(&self, signals: usize) -> Option<Shed> {
        self.marks.shed().or_else(|| self.dedup.is_full(signals).then_some(Shed::DedupFull))
    }

    fn answer(&mut self) {
        crate::fault::point("K9");
        for (port, ack) in self.acks.drain(..) {
            let pushed = self.lanes.ports[port].acks.push(ack);
            assert!(
                pushed.is_ok(),
                "an ingress thread has at most as many units under way as its lane has places"
            );
        }
        for port in &self.lanes.ports {
            port.acks.ring();
        }
        for (seq, answer) in self.ordered.drain(..) {
            // Who ordered may have gone; the order stands.
            let _gone = answer.send(seq);
        }
    }

    /// Hands staged events to their shards in order; false while a shard has no room.
    fn hand_on(&mut self) -> bool {
        if self.staged.is_empty() {
            return true;
        }
        crate::fault::point("K10");
        while let Some((shard, feed)) = self.staged.pop_front() {
            if let Err(crate::ring::Full(feed)) = self.lanes.shards[shard].push(feed) {
                self.staged.push_front((shard, feed));
                break;
            }
        }
        for shard in &self.lanes.shards {
            shard.ring();
        }
        self.staged.is_empty()
    }

    fn quiet(&mut self, now: Instant) -> Result<Turn, Fatal> {
        if now.saturating_duration_since(self.last_frame) >= JOURNAL_SEAL_AFTER {
            self.writer.seal()?;
        }
        Ok(Turn::Idle)
    }

    /// Once a second: free space, progress to the shards, segments that nobody needs.
    fn housekeep(&mut self, now: Instant) -> Result<(), Fatal> {
        const EVERY: Duration = Duration::from_secs(1);
        self.recorder.flush_if_due(now);
        if self.last_look.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            return Ok(());
        }
        self.last_look = Some(now);
        self.clock.keep();
        let free = self.place.disk.free_bytes(&self.place.data_dir);
        let free = free.map_err(|source| Fatal::Space { path: self.place.data_dir.clone(), source })?;
        self.marks.disk_low.publish(u64::from(free < self.place.low_water_bytes));
        let through = Seq(self.marks.settled.read()).min(self.dedup.archived_through());
        if self.positions.are_kept(&self.writer) {
            self.writer.release(through)?;
        }
        let full = self.place.backlog_bytes.is_some_and(|most| self.writer.kept() > most);
        self.marks.backlog_full.publish(full.into());
        self.announce();
        self.hand_on();
        Ok(())
    }

    fn announce(&mut self) {
        if self.staged.is_empty() && self.announced < self.writer.last() {
            self.announced = self.writer.last();
            let through = self.announced;
            self.staged.extend((0..self.lanes.shards.len()).map(|shard| (shard, Feed::Through(through))));
        }
    }

    fn answer_queries(&mut self) -> Result<(), Fatal> {
        while let Some(query) = self.lanes.queries.pop() {
            let mut found = None;
            for identity in &query.identities {
                // No digest is asked for, so a conflict is as good as a repeat.
                if let Known::Repeat { seq } | Known::Conflict { seq } = self.dedup.look(identity, 0)? {
                    found = Some(seq);
                    break;
                }
            }
            // Who asked may have gone; then nobody wants the answer.
            let _gone = query.answer.send(found);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage").field("writer", &self.writer).finish_non_exhaustive()
    }
}
