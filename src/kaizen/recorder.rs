//! One thread's measurements.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;
use strum::{EnumCount, VariantArray};

use super::heartbeat::Heartbeat;
use super::metric::{Metric, Stage};
use super::span::{Sampling, Tracer};
use super::tenants::Tally;
use crate::case::Cause;
use crate::clock::{self, Instant};
use crate::variants::array;

/// What is counted: the results of `gemba_signals_total`, then the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, VariantArray)]
#[repr(usize)]
pub enum Counter {
    Accepted,
    Duplicate,
    BadSignature,
    Malformed,
    Unsupported,
    TooLarge,
    RateLimited,
    Conflict,
    NotFound,
    Shed,
    AnswersDelayed,
    Receipts,
    ActionsSuccessful,
    ActionsFailed,
    /// Cases opened, by whose it is to mend.
    DeadSender,
    DeadPolicy,
    DeadTarget,
    DeadUs,
    AlertsRefused,
}

impl Counter {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// Cases opened, by whose they are to mend.
    #[must_use]
    pub fn dead(cause: Cause) -> Self {
        match cause {
            Cause::Sender => Self::DeadSender,
            Cause::Policy => Self::DeadPolicy,
            Cause::Target => Self::DeadTarget,
            Cause::Us => Self::DeadUs,
        }
    }

    /// Its metric, and its labels in the order of the table.
    #[must_use]
    pub fn series(self) -> (Metric, &'static [&'static str]) {
        match self {
            Self::Accepted => (Metric::Signals, &["accepted"]),
            Self::Duplicate => (Metric::Signals, &["duplicate"]),
            Self::BadSignature => (Metric::Signals, &["bad_signature"]),
            Self::Malformed => (Metric::Signals, &["malformed"]),
            Self::Unsupported => (Metric::Signals, &["unsupported"]),
            Self::TooLarge => (Metric::Signals, &["too_large"]),
            Self::RateLimited => (Metric::Signals, &["rate_limited"]),
            Self::Conflict => (Metric::Signals, &["conflict"]),
            Self::NotFound => (Metric::Signals, &["not_found"]),
            Self::Shed => (Metric::Signals, &["shed"]),
            Self::AnswersDelayed => (Metric::AnswersDelayed, &[]),
            Self::Receipts => (Metric::Receipts, &[]),
            Self::ActionsSuccessful => (Metric::ActionsSuccessful, &[]),
            Self::ActionsFailed => (Metric::ActionsFailed, &[]),
            Self::DeadSender => (Metric::DeadLetters, &["sender"]),
            Self::DeadPolicy => (Metric::DeadLetters, &["policy"]),
            Self::DeadTarget => (Metric::DeadLetters, &["target"]),
            Self::DeadUs => (Metric::DeadLetters, &["us"]),
            Self::AlertsRefused => (Metric::AlertsRefused, &[]),
        }
    }
}

/// Longest time that is told apart.
pub(super) const NANOS_MAX: u64 = 60_000_000_000;
/// Two digits: 1 % of the value, 30 KB a histogram.
const DIGITS: u8 = 2;
const EVERY: Duration = Duration::from_secs(1);

/// What a thread measured since it handed over last.
#[derive(Debug)]
pub struct Set {
    pub stages: [Histogram<u64>; Stage::ALL.len()],
    pub batch: Histogram<u64>,
    pub counters: [u64; Counter::ALL.len()],
    /// What tenants took; at most [`Set::TENANTS`].
    pub tenants: Vec<(Box<str>, Tally)>,
}

impl Set {
    /// Tenants that a thread tells of at once.
    const TENANTS: usize = 1024;

    pub fn empty() -> Option<Box<Self>> {
        let histogram = || Histogram::new_with_bounds(1, NANOS_MAX, DIGITS).ok();
        let mut stages = Vec::with_capacity(Stage::ALL.len());
        for _ in Stage::ALL {
            stages.push(histogram()?);
        }
        let stages = stages.try_into().ok()?;
        let counters = [0; Counter::ALL.len()];
        Some(Box::new(Self { stages, batch: histogram()?, counters, tenants: Vec::new() }))
    }

    /// Adds what a thread measured.
    pub fn add(&mut self, other: &Self) {
        for (total, part) in self.stages.iter_mut().zip(&other.stages) {
            // Same bounds and digits, so nothing can be out of range.
            let _same_shape = total.add(part);
        }
        let _same_shape = self.batch.add(&other.batch);
        for (total, by) in self.counters.iter_mut().zip(other.counters) {
            *total += by;
        }
    }

    pub fn clear(&mut self) {
        self.stages.iter_mut().for_each(Histogram::reset);
        self.batch.reset();
        self.counters.fill(0);
        self.tenants.clear();
    }
}

/// Where sets are handed over: full ones to the collector, emptied ones back.
#[derive(Debug)]
pub(super) struct Exchange {
    full: ArrayQueue<Box<Set>>,
    emptied: ArrayQueue<Box<Set>>,
}

impl Exchange {
    /// With this many sets beside the one in use.
    pub fn of(sets: usize) -> Option<Self> {
        let exchange = Self { full: ArrayQueue::new(sets), emptied: ArrayQueue::new(sets) };
        for _ in 0..sets {
            exchange.emptied.push(Set::empty()?).ok()?;
        }
        Some(exchange)
    }

    /// Shows what was handed over, and gives it back emptied.
    pub fn collect(&self, mut take: impl FnMut(&Set)) {
        while let Some(mut set) = self.full.pop() {
            take(&set);
            set.clear();
            drop(self.emptied.push(set));
        }
    }

    /// Hands over what was measured, unless no set is emptied.
    fn hand_over(&self, set: &mut Box<Set>) {
        let Some(empty) = self.emptied.pop() else { return };
        let full = std::mem::replace(set, empty);
        if let Err(full) = self.full.push(full) {
            let empty = std::mem::replace(set, full);
            // There are as many places as sets, so this one has room; were it lost, only a spare would be.
            drop(self.emptied.push(empty));
        }
    }
}

/// One thread's own measurements; not shared.
#[derive(Debug)]
pub struct Recorder {
    set: Box<Set>,
    exchange: Arc<Exchange>,
    handed: Instant,
    tracer: Tracer,
    heartbeat: Heartbeat,
}

impl Recorder {
    pub(super) fn new(set: Box<Set>, exchange: Arc<Exchange>, tracer: Tracer, heartbeat: Heartbeat) -> Self {
        Self { set, exchange, handed: clock::now(), tracer, heartbeat }
    }

    /// Where traced signals are told of; `None` while none are.
    #[must_use]
    pub fn tracer(&self) -> Option<&Tracer> {
        self.tracing().map(|(tracer, _)| tracer)
    }

    /// The same, and which are.
    #[must_use]
    pub fn tracing(&self) -> Option<(&Tracer, Sampling)> {
        Some(&self.tracer).zip(self.tracer.sampling())
    }

    pub fn record(&mut self, stage: Stage, took: Duration) {
        self.set.stages[stage as usize].saturating_record(nanos(took));
    }

    /// `count` values of `took / count` each.
    pub fn record_n(&mut self, stage: Stage, took: Duration, count: u64) {
        self.set.stages[stage as usize].saturating_record_n(nanos(took) / count.max(1), count);
    }

    /// Events of one frame.
    pub fn record_batch(&mut self, events: u64) {
        self.set.batch.saturating_record(events);
    }

    pub fn count(&mut self, counter: Counter, by: u64) {
        self.set.counters[counter as usize] += by;
    }

    /// Counts what a tenant took. False where no more are told of before the next hand-over.
    pub fn tenant(&mut self, name: &str, tally: Tally) -> bool {
        let has_room = self.set.tenants.len() < Set::TENANTS;
        if has_room {
            self.set.tenants.push((name.into(), tally));
        }
        has_room
    }

    /// Turns, hands over once a second, and says whether it did. When the collector is behind, the set goes on filling.
    pub fn flush_if_due(&mut self, now: Instant) -> bool {
        let is_due = self.turn(now);
        if is_due {
            self.handed = now;
            self.flush();
        }
        is_due
    }

    /// The thread comes round. Says whether the next flush hands over.
    pub fn turn(&mut self, now: Instant) -> bool {
        self.heartbeat.turn(now);
        now.saturating_duration_since(self.handed) >= EVERY
    }

    pub fn flush(&mut self) {
        self.exchange.hand_over(&mut self.set);
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(NANOS_MAX)
}
