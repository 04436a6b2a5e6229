//! One thread's measurements.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;
use metrics::Label;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::series::Series;
use crate::case::Cause;
use crate::clock::{self, Instant};
use crate::variants::array;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(usize)]
pub enum Stage {
    /// Checking one request's signature; one request in 16.
    Verify,
    /// Reading one request's signals; one request in 16.
    Parse,
    /// Spending the tenants' rate; one request in 16.
    Rate,
    /// From the offer to the journal until it begins to write.
    LaneWait,
    /// Writing one frame.
    JournalWrite,
    /// Making one frame durable.
    Fsync,
    /// One governor's step; one in 16.
    Decide,
    /// Making one receipt: body, hash, HMAC, leaf, tree; mean of a turn.
    Receipt,
    /// Signing, writing and syncing one batch of receipts.
    ReceiptSync,
    /// One request, from its head to its answer.
    Whole,
}

impl Stage {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);
}

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

    /// What a page says of it.
    pub(super) fn series(self) -> Series {
        let series = |name, help, label: Option<(&'static str, &'static str)>| Series {
            name,
            help,
            labels: label.map(|(key, value)| Label::new(key, value)).into_iter().collect(),
        };
        let signals = |result| {
            series(
                "gemba_signals_total",
                "Signals by what became of them at ingress",
                Some(("result", result)),
            )
        };
        let dead = |cause: Cause| {
            let help = "Dead letters by whose they are to mend";
            series("gemba_dead_letters_total", help, Some(("cause", cause.into_str())))
        };
        match self {
            Self::Accepted => signals("accepted"),
            Self::Duplicate => signals("duplicate"),
            Self::BadSignature => signals("bad_signature"),
            Self::Malformed => signals("malformed"),
            Self::Unsupported => signals("unsupported"),
            Self::TooLarge => signals("too_large"),
            Self::RateLimited => signals("rate_limited"),
            Self::Conflict => signals("conflict"),
            Self::NotFound => signals("not_found"),
            Self::Shed => signals("shed"),
            Self::AnswersDelayed => series(
                "gemba_answers_delayed_total",
                "Refusals that waited because their sender was refused too much",
                None,
            ),
            Self::Receipts => series("gemba_receipts_total", "Receipts in the transparency log", None),
            Self::ActionsSuccessful => series("actions_successful_total", "Total successful actions", None),
            Self::ActionsFailed => series("actions_failed_total", "Total failed actions", None),
            Self::DeadSender => dead(Cause::Sender),
            Self::DeadPolicy => dead(Cause::Policy),
            Self::DeadTarget => dead(Cause::Target),
            Self::DeadUs => dead(Cause::Us),
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
}

impl Set {
    pub fn empty() -> Option<Box<Self>> {
        let histogram = || Histogram::new_with_bounds(1, NANOS_MAX, DIGITS).ok();
        let mut stages = Vec::with_capacity(Stage::ALL.len());
        for _ in Stage::ALL {
            stages.push(histogram()?);
        }
        let stages = stages.try_into().ok()?;
        Some(Box::new(Self { stages, batch: histogram()?, counters: [0; Counter::ALL.len()] }))
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
}

impl Recorder {
    pub(super) fn new(set: Box<Set>, exchange: Arc<Exchange>) -> Self {
        Self { set, exchange, handed: clock::now() }
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

    /// Hands over once a second. When the collector is behind, the set goes on filling.
    pub fn flush_if_due(&mut self, now: Instant) {
        if now.saturating_duration_since(self.handed) >= EVERY {
            self.handed = now;
            self.flush();
        }
    }

    pub fn flush(&mut self) {
        self.exchange.hand_over(&mut self.set);
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(NANOS_MAX)
}
