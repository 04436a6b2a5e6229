//! The journal's turn: take what waits, tell the known from the new, number, write, sync, answer, hand on.
//!
//! One thread, so there is one order for the whole node (promise P3). The busier the line, the larger the frame:
//! everything that came while the last frame was synced goes into the next one. Nothing is answered and nothing is
//! handed on before its frame is durable (promise P1).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::admission::Admission;
use super::dedup::{ArchiveError, Dedup};
use super::journal::{WriteError, Writer};
use super::journal_clock::{self, JournalClock};
pub use super::outlet::{ALERTS_SHARD, shard_of, shards_of};
use super::outlet::{Frame, Outlet};
pub use super::ports::Port;
use super::ports::Ports;
use super::positions::Positions;
pub use super::source_ledger::{SourceLedger, SourceTimes};
use super::tenure::Tenure;
use crate::alert::Alarm;
use crate::clock::{Instant, Look};
use crate::disk::Disk;
use crate::event::{Arrival, Feed, Kind, Order, Seq, Shed};
use crate::kaizen::{Recorder, Span, SpanName, Stage as Measured};
use crate::limits::{BATCH_SIGNALS_MAX, JOURNAL_SEAL_AFTER};
use crate::ring::{Bell, Crowd, Mark, Receiver, Spent, Switch, WeighedSender};
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

/// Asks which numbers signals have.
#[derive(Debug)]
pub struct Query {
    /// One per source that may have sent it.
    pub identities: Vec<Fingerprint>,
    /// Of each identity, in their order.
    pub answer: tokio::sync::oneshot::Sender<Vec<Option<Seq>>>,
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
    /// Free space of the data directory's disk, in bytes; [`u64::MAX`] until it is looked at.
    pub disk_free: Mark,
    /// 1 while as much is kept as may be.
    pub backlog_full: Mark,
    /// What waits in memory, and how many governors there are.
    pub crowd: Crowd,
    pub clock: journal_clock::Marks,
    /// When each source was heard of last.
    pub sources: SourceTimes,
    /// Signals are refused from here on; what was taken is finished.
    pub drain: Switch,
}

impl Marks {
    /// Free space of the data directory's disk, in bytes, where it is known.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        Some(self.disk_free.read()).filter(|free| *free < u64::MAX)
    }

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

/// How a turn went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Worked,
    /// Nothing waits.
    Idle,
    /// A shard has no room; what is durable waits for it.
    Blocked,
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
    writer: Writer,
    outlet: Outlet,
    admission: Admission,
    ports: Ports,
    /// Timers and outcomes.
    inner: Vec<Receiver<Arrival>>,
    orders: Receiver<Ordered>,
    queries: Receiver<Query>,
    marks: Marks,
    recorder: Recorder,
    /// Orders of the frame that is being written.
    ordered: Vec<(Seq, tokio::sync::oneshot::Sender<Seq>)>,
    /// Written before anything that arrives.
    begins_with: Option<Order>,
    last_frame: Instant,
    last_look: Option<Instant>,
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
        let Lanes { ports, inner, orders, shards, follower, queries } = lanes;
        marks.durable.publish(writer.last().0);
        Self {
            place,
            clock,
            outlet: Outlet::new(shards, follower, writer.last()),
            writer,
            admission: Admission::new(dedup),
            ports: Ports::new(ports),
            inner,
            orders,
            queries,
            marks,
            recorder,
            ordered: Vec::new(),
            begins_with: None,
            last_frame: now,
            last_look: None,
        }
    }

    /// Writes `order` before anything that arrives.
    pub fn begin_with(&mut self, order: Order) {
        self.begins_with = Some(order);
    }

    /// Goes on from where the edges' signals were taken through.
    #[must_use]
    pub fn after(mut self, positions: Positions) -> Self {
        self.admission.go_on_after(positions);
        self
    }

    /// Goes on counting what sources send where the journal ended.
    #[must_use]
    pub fn counting(mut self, sources: SourceLedger) -> Self {
        sources.publish(&self.marks.sources);
        self.outlet.go_on_counting(sources);
        self
    }

    /// Shares the state of partitions; what earlier runs held is held no more.
    #[must_use]
    pub fn sharing(mut self, tenure: Tenure) -> Self {
        self.outlet.tell_changes(tenure.changed().clone());
        self.admission.share(tenure);
        self
    }

    /// Whether something waits for a turn.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.ports.has_work()
            || self.inner.iter().any(|lane| !lane.is_empty())
            || !self.orders.is_empty()
            || !self.queries.is_empty()
    }

    /// One group commit, at most.
    pub fn turn(&mut self, now: Instant, look: Look) -> Result<Turn, Fatal> {
        // All that was written before this turn was synced.
        let stamp = self.clock.stamp(look);
        self.admission.turn(self.writer.last(), self.clock.lived())?;
        self.housekeep(now)?;
        self.answer_queries()?;
        if !self.outlet.hand_on() {
            return Ok(Turn::Blocked);
        }
        self.writer.begin(stamp);
        self.take()?;
        let count = self.writer.count();
        if count == 0 {
            self.writer.write()?;
            if self.ports.is_answered() {
                return self.quiet(now);
            }
        } else {
            self.commit(count, now)?;
        }
        self.answer();
        self.outlet.hand_on();
        self.outlet.ring_follower();
        Ok(Turn::Worked)
    }

    /// Tells the shards that this is all; false while they have no room to hear it.
    pub fn finish(&mut self) -> bool {
        self.outlet.announce(self.writer.last());
        self.outlet.hand_on()
    }

    /// Ends in order: everything that waits is durable and handed on.
    pub fn close(self) -> Result<(), WriteError> {
        assert!(self.outlet.is_empty(), "drained before it is closed");
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
        for (seq, trace) in self.outlet.take_traced() {
            if let Some((tracer, sampling)) = self.recorder.tracing() {
                // An edge and its processor both have one.
                let numbers = (sampling.journal, seq.0);
                let span = Span::below(trace, SpanName::Journal, numbers, (begun, synced));
                tracer.tell(span.with("gemba.seq", seq.0).with("gemba.batch", u64::from(count)));
            }
        }
        self.last_frame = now;
        self.marks.durable.publish(self.writer.last().0);
        self.marks.written.publish(self.writer.written());
        Ok(())
    }

    fn take(&mut self) -> Result<(), Fatal> {
        // What waits for a time that did not pass waits on, whatever comes next.
        let millis = self.clock.take_step();
        if millis > 0 {
            self.append(Kind::Alarm(Arc::new(Alarm::Stepped { millis })));
        }
        // An hour ends before the first event of the next.
        for event in self.outlet.sources().end_hours(self.writer.time()) {
            self.append(event);
        }
        // They alone begin no frame: where they fill a segment, each would begin the next one.
        if self.has_work() || self.begins_with.is_some() || self.writer.count() > 0 {
            self.outlet.sources().write(&mut self.writer);
        }
        if let Some(order) = self.begins_with.take() {
            self.take_order(order);
        }
        for lane in 0..self.inner.len() {
            while self.writer.takes(1) {
                let Some(arrival) = self.inner[lane].pop() else { break };
                self.take_inner(arrival);
            }
        }
        self.admission.write_positions(&mut self.writer);
        while self.writer.takes(1)
            && let Some(Ordered { order, answer }) = self.orders.pop()
        {
            let seq = self.take_order(order);
            self.ordered.push((seq, answer));
        }
        while self.writer.takes(BATCH_SIGNALS_MAX)
            && let Some((port, arrival)) = self.ports.pop()
        {
            self.take_arrival(port, arrival)?;
        }
        Ok(())
    }

    fn take_arrival(&mut self, port: usize, arrival: Arrival) -> Result<(), Fatal> {
        let mut frame = Frame::new(&mut self.writer, &mut self.outlet);
        let ack = match arrival {
            Arrival::Signals(signals, offered) => {
                if let Some(offered) = offered {
                    let waited = crate::clock::nanos().saturating_sub(offered);
                    self.recorder.record(Measured::LaneWait, Duration::from_nanos(waited));
                }
                self.admission.take_unit(signals, self.marks.shed(), &mut frame)?
            }
            Arrival::Forwarded(forwarded) => {
                self.admission.take_forwarded(*forwarded, self.marks.shed(), &mut frame)?
            }
            Arrival::Taken(taken) => self.admission.hold(*taken, &mut frame),
            Arrival::Adopted(adopted) => self.admission.adopt(*adopted, &mut frame),
            Arrival::Shared(shared) => self.admission.settle(*shared, &mut frame),
            Arrival::Cut => self.admission.cut(&mut frame),
            inner @ (Arrival::Outcome(_) | Arrival::Timer(_) | Arrival::Alarm(_)) => {
                self.take_inner(inner);
                return Ok(());
            }
        };
        self.ports.add_ack(port, ack);
        Ok(())
    }

    fn append(&mut self, kind: Kind) -> Seq {
        Frame::new(&mut self.writer, &mut self.outlet).append(kind)
    }

    fn take_order(&mut self, order: Order) -> Seq {
        self.append(match order {
            Order::Command(command) => Kind::Command(command),
            Order::Replay(replay) => Kind::Replay(replay),
            Order::Rules(rules) => Kind::Rules(rules),
            Order::Reconfigured(change) => Kind::Reconfigured(change),
            Order::Alarm(alarm) => Kind::Alarm(alarm),
        })
    }

    fn take_inner(&mut self, arrival: Arrival) {
        self.append(match arrival {
            Arrival::Outcome(outcome) => Kind::Outcome(outcome),
            Arrival::Timer(timer) => Kind::Timer(timer),
            Arrival::Alarm(alarm) => Kind::Alarm(alarm),
            Arrival::Signals(..)
            | Arrival::Forwarded(_)
            | Arrival::Taken(_)
            | Arrival::Adopted(_)
            | Arrival::Shared(_)
            | Arrival::Cut => {
                unreachable!("what is answered arrives through a port, which has a lane for the answer")
            }
        });
    }

    fn answer(&mut self) {
        crate::fault::point("K9");
        self.ports.answer();
        for (seq, answer) in self.ordered.drain(..) {
            // Who ordered may have gone; the order stands.
            let _gone = answer.send(seq);
        }
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
        self.marks.disk_free.publish(free);
        self.marks.disk_low.publish(u64::from(free < self.place.low_water_bytes));
        let settled = Seq(self.marks.settled.read());
        if self.outlet.sources().is_kept(&self.writer)
            && let Some(through) = self.admission.kept_elsewhere(&self.writer, settled)
        {
            self.writer.release(through)?;
        }
        self.outlet.sources().publish(&self.marks.sources);
        let full = self.place.backlog_bytes.is_some_and(|most| self.writer.kept() > most);
        self.marks.backlog_full.publish(full.into());
        self.outlet.announce(self.writer.last());
        self.outlet.hand_on();
        Ok(())
    }

    fn answer_queries(&mut self) -> Result<(), Fatal> {
        while let Some(query) = self.queries.pop() {
            let found = self.admission.find(&query.identities)?;
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
