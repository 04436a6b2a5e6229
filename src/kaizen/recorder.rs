//! One thread's measurements.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;

use crate::clock::{self, Instant};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub const ALL: [Self; 10] = [
        Self::Verify,
        Self::Parse,
        Self::Rate,
        Self::LaneWait,
        Self::JournalWrite,
        Self::Fsync,
        Self::Decide,
        Self::Receipt,
        Self::ReceiptSync,
        Self::Whole,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Parse => "parse",
            Self::Rate => "rate",
            Self::LaneWait => "lane_wait",
            Self::JournalWrite => "journal_write",
            Self::Fsync => "fsync",
            Self::Decide => "decide",
            Self::Receipt => "receipt",
            Self::ReceiptSync => "receipt_sync",
            Self::Whole => "whole",
        }
    }
}

/// What is counted: the results of `gemba_signals_total`, then the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub const ALL: [Self; 18] = [
        Self::Accepted,
        Self::Duplicate,
        Self::BadSignature,
        Self::Malformed,
        Self::Unsupported,
        Self::TooLarge,
        Self::RateLimited,
        Self::Conflict,
        Self::NotFound,
        Self::Shed,
        Self::AnswersDelayed,
        Self::Receipts,
        Self::ActionsSuccessful,
        Self::ActionsFailed,
        Self::DeadSender,
        Self::DeadPolicy,
        Self::DeadTarget,
        Self::DeadUs,
    ];

    /// The label `result` of `gemba_signals_total`; `None` for counters with a name of their own.
    #[must_use]
    pub fn result(self) -> Option<&'static str> {
        Some(match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::BadSignature => "bad_signature",
            Self::Malformed => "malformed",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Conflict => "conflict",
            Self::NotFound => "not_found",
            Self::Shed => "shed",
            _ => return None,
        })
    }

    /// The label `cause` of `gemba_dead_letters_total`.
    #[must_use]
    pub fn cause(self) -> Option<&'static str> {
        Some(match self {
            Self::DeadSender => "sender",
            Self::DeadPolicy => "policy",
            Self::DeadTarget => "target",
            Self::DeadUs => "us",
            _ => return None,
        })
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

    pub fn clear(&mut self) {
        self.stages.iter_mut().for_each(Histogram::reset);
        self.batch.reset();
        self.counters.fill(0);
    }
}

/// Where sets are handed over: full ones to the collector, emptied ones back.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) full: ArrayQueue<Box<Set>>,
    pub(super) emptied: ArrayQueue<Box<Set>>,
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
        let Some(empty) = self.exchange.emptied.pop() else { return };
        let full = std::mem::replace(&mut self.set, empty);
        if let Err(full) = self.exchange.full.push(full) {
            let empty = std::mem::replace(&mut self.set, full);
            // There are as many places as sets, so this one has room; were it lost, only a spare would be.
            drop(self.exchange.emptied.push(empty));
        }
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(NANOS_MAX)
}
