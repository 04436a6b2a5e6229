//! Spans of traced signals: a stage that worked on one says so when it is done, to a bounded lane of its own from which they
//! are exported. A stage never waits for that: without room a span is lost, and counted.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use strum::IntoStaticStr;

use super::metric::Metric;
use super::per_second::PerSecond;
use crate::clock::Instant;
use crate::limits::{SPANS_LANE, UNCHOSEN_TRACES_PER_SECOND};
use crate::ring::{Current, Updates};
use crate::trace::{SpanId, TraceContext};

/// What a span is of. The numbers are part of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(const_into_str)]
#[repr(u8)]
pub enum SpanName {
    /// One request, from its head to its answer.
    #[strum(serialize = "gemba.receive")]
    Receive = 0,
    #[strum(serialize = "gemba.verify")]
    Verify = 1,
    /// Writing and syncing the frame that has the signal.
    #[strum(serialize = "gemba.journal")]
    Journal = 2,
    #[strum(serialize = "gemba.decide")]
    Decide = 3,
    /// An action, from its order to its outcome.
    #[strum(serialize = "gemba.act")]
    Act = 4,
    /// One call of an action's target.
    #[strum(serialize = "gemba.try")]
    Try = 5,
    /// A receipt, from its draft until it is durable in the log.
    #[strum(serialize = "gemba.receipt")]
    Receipt = 6,
}

/// What is said of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanValue {
    Text(Box<str>),
    Number(i64),
    Flag(bool),
}

/// Work on one signal that is done.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace: TraceContext,
    pub name: SpanName,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    /// A trace of others that it has to do with.
    pub link: Option<TraceContext>,
    pub begun: Instant,
    pub ended: Instant,
    /// Why it failed, if it did.
    pub failed: Option<Box<str>>,
    pub attributes: Vec<(&'static str, SpanValue)>,
}

impl Span {
    /// A span right below the first one; `numbers` tell it from others of its name.
    #[must_use]
    pub fn below(
        trace: TraceContext,
        name: SpanName,
        numbers: (u64, u64),
        times: (Instant, Instant),
    ) -> Self {
        let (begun, ended) = times;
        Self {
            trace,
            name,
            id: trace.child(name as u8, numbers.0, numbers.1),
            parent: Some(trace.span),
            link: None,
            begun,
            ended,
            failed: None,
            attributes: Vec::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<SpanValue>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Whom the signal concerns, and its number.
    #[must_use]
    pub fn about(self, tenant: &str, sku: &str, seq: u64) -> Self {
        self.with("gemba.tenant", tenant).with("gemba.sku", sku).with("gemba.seq", seq)
    }
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for SpanValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for SpanValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// Which signals are traced.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// The share of requests that is traced, where no sender says which.
    pub ratio: f64,
    /// A sender's trace goes on; otherwise it is only linked to.
    pub trusts: bool,
    /// What takes longer is traced, whether it was chosen or not; `None`: nothing is.
    pub slow: Option<Duration>,
    /// The journal's id, from which traces of what was not chosen are derived.
    pub journal: u64,
    /// Signals are decided on here, so that each has a receipt.
    pub decides: bool,
    /// Requests that one thread chooses in a second by itself; `None`: the ratio alone says.
    pub most_per_second: Option<u32>,
}

/// Spans on their way from one thread to their exporter. A node that traces nothing has neither room for them nor a count.
pub(super) struct SpanLane(OnceLock<(ArrayQueue<Span>, metrics::Counter)>);

impl SpanLane {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(OnceLock::new()))
    }

    fn push(&self, span: Span) {
        let made = || (ArrayQueue::new(SPANS_LANE), Metric::TelemetryLost.counter(&["traces", "queue"]));
        let (spans, lost) = self.0.get_or_init(made);
        if spans.push(span).is_err() {
            lost.increment(1);
        }
    }

    pub fn pop(&self) -> Option<Span> {
        self.0.get()?.0.pop()
    }

    fn len(&self) -> usize {
        self.0.get().map_or(0, |(spans, _)| spans.len())
    }
}

impl std::fmt::Debug for SpanLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpanLane").field("spans", &self.len()).finish_non_exhaustive()
    }
}

/// How one thread tells of traced signals.
#[derive(Debug)]
pub struct Tracer {
    updates: Updates<Option<Sampling>>,
    /// As it was looked up last.
    sampling: Cell<Option<Sampling>>,
    lane: Arc<SpanLane>,
    /// Traces that are told of and were not chosen.
    unchosen: PerSecond,
}

impl Tracer {
    pub(super) fn new(sampling: &Current<Option<Sampling>>, lane: Arc<SpanLane>) -> Self {
        let updates = sampling.updates();
        Self { updates, sampling: Cell::new(None), lane, unchosen: PerSecond::default() }
    }

    /// Which signals are traced now; `None`: nothing is.
    pub fn sampling(&self) -> Option<Sampling> {
        if let Some(changed) = self.updates.take() {
            self.sampling.set(*changed);
        }
        self.sampling.get()
    }

    /// Of a trace that was chosen.
    pub fn tell(&self, span: Span) {
        self.lane.push(span);
    }

    /// Whether what failed or was slow may be told of, too. A backlog makes every signal slow: so many in a second say what there
    /// is to say, and leave room for what was chosen.
    fn may_tell_of_unchosen(&self) -> bool {
        self.lane.len() < SPANS_LANE / 2 && self.unchosen.takes(UNCHOSEN_TRACES_PER_SECOND)
    }

    /// Whether that is slow.
    #[must_use]
    pub fn is_slow(&self, took: Duration) -> bool {
        self.sampling.get().and_then(|sampling| sampling.slow).is_some_and(|slow| took > slow)
    }

    /// The trace to record for a signal that was not chosen, and failed or was slow; `None` where enough were.
    #[must_use]
    pub fn unchosen(&self, carried: Option<TraceContext>, seq: u64) -> Option<TraceContext> {
        let trace = carried.map(TraceContext::sampled);
        let journal = self.sampling.get()?.journal;
        self.may_tell_of_unchosen().then(|| trace.unwrap_or_else(|| TraceContext::derived(journal, seq)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_in_which_everything_is_slow_is_told_of_in_part() {
        let sampling = Sampling { trusts: true, journal: 1, decides: true, ..Sampling::default() };
        let tracer = Tracer::new(&Current::new(Arc::new(Some(sampling))), SpanLane::new());
        assert_eq!(tracer.sampling(), Some(sampling));
        let told = (0..10_000).filter(|seq| tracer.unchosen(None, *seq).is_some()).count();
        let most = UNCHOSEN_TRACES_PER_SECOND as usize;
        // The second may have changed meanwhile.
        assert!((most..=2 * most).contains(&told), "{told}");
    }
}
