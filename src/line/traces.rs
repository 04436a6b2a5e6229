//! Traces on their way out: spans that threads told wait here, bounded, and go in batches to the first receiver that takes
//! them. One request is under way at a time. A receiver that hangs costs spans, which are counted, and nothing else.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::sink_counters::SinkCounters;
use super::trace_log;
use crate::clock;
use crate::kaizen::otlp::{Answer, Moment, Teller};
use crate::kaizen::{Collector, Sampling, Span};
use crate::limits::{LOGGED_TRACES_PER_SECOND, SPANS_KEPT_FOR, SPANS_LOOK, TELEMETRY_LAST};
use crate::net::backoff::{pause, random};
use crate::net::otlp::{self, Receiver};

/// Which signals are traced, and how that is told.
#[derive(Debug)]
pub struct Plan {
    /// The share of requests that is traced, where no sender says which.
    pub ratio: f64,
    /// A sender's trace goes on; otherwise it is only linked to.
    pub trusts: bool,
    /// What takes longer is traced in any case; `None`: nothing is.
    pub slow: Option<Duration>,
    /// Each span is an event of the log, too.
    pub logs: bool,
    /// The first takes them; each later one where those before it do not. Without any, spans are in the log alone.
    pub receivers: Vec<Arc<otlp::Settings>>,
    pub teller: Teller,
    /// Spans of one request.
    pub batch_size: usize,
    /// Spans that wait at most.
    pub queue_size: usize,
    /// How long a span waits for others to fill a request.
    pub delay: Duration,
}

impl Plan {
    /// For those who choose.
    #[must_use]
    pub fn sampling(&self, journal: u64, decides: bool) -> Sampling {
        let most_per_second = self.logs.then_some(LOGGED_TRACES_PER_SECOND);
        Sampling {
            ratio: self.ratio,
            trusts: self.trusts,
            slow: self.slow,
            journal,
            decides,
            most_per_second,
        }
    }
}

/// The first receiver is tried again after so long.
const BACK_TO_FIRST: Duration = Duration::from_mins(1);

/// Spans that wait, and where they go.
pub struct Traces {
    plan: Arc<Plan>,
    receivers: Vec<Receiver>,
    waiting: RefCell<VecDeque<Span>>,
    /// When the first of them came.
    since: Cell<Option<Instant>>,
    /// Spans of the request that is under way.
    sending: RefCell<Vec<Span>>,
    /// Which receiver is asked, and since when it is not the first.
    at: Cell<usize>,
    left_first: Cell<Option<Instant>>,
    is_failing: Cell<bool>,
    counters: SinkCounters,
}

impl Traces {
    #[must_use]
    pub fn new(plan: &Arc<Plan>) -> Rc<Self> {
        Rc::new(Self {
            plan: Arc::clone(plan),
            receivers: plan.receivers.iter().map(|settings| Receiver::new(Arc::clone(settings))).collect(),
            waiting: RefCell::default(),
            since: Cell::new(None),
            sending: RefCell::default(),
            at: Cell::new(0),
            left_first: Cell::new(None),
            is_failing: Cell::new(false),
            counters: SinkCounters::of("traces"),
        })
    }

    /// Takes what threads told, for ever.
    pub async fn gather(self: Rc<Self>, collector: Rc<RefCell<Collector>>) {
        let mut look = tokio::time::interval(SPANS_LOOK);
        loop {
            look.tick().await;
            self.take(&mut collector.borrow_mut());
        }
    }

    fn take(&self, collector: &mut Collector) {
        let mut waiting = self.waiting.borrow_mut();
        let most = self.plan.queue_size.saturating_sub(self.sending.borrow().len());
        collector.take_spans(|span| {
            if self.plan.logs {
                trace_log::write(&span);
            }
            if self.receivers.is_empty() {
                return;
            }
            if waiting.len() < most {
                waiting.push_back(span);
            } else {
                self.counters.queue.increment(1);
            }
        });
        if self.since.get().is_none() && !waiting.is_empty() {
            self.since.set(Some(Instant::now()));
        }
    }

    /// Sends what was taken, for ever.
    pub async fn send(self: Rc<Self>) {
        loop {
            tokio::time::sleep(SPANS_LOOK).await;
            while self.is_due() {
                self.begin_batch();
                self.deliver().await;
            }
        }
    }

    fn is_due(&self) -> bool {
        let is_old = self.since.get().is_some_and(|since| since.elapsed() >= self.plan.delay);
        is_old || self.waiting.borrow().len() >= self.plan.batch_size
    }

    /// Moves the next batch to what is under way.
    fn begin_batch(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().min(self.plan.batch_size);
        self.sending.borrow_mut().extend(waiting.drain(..count));
        self.since.set((!waiting.is_empty()).then(Instant::now));
    }

    fn request(&self) -> Bytes {
        let moment = Moment { now: clock::now(), wall_nanos: clock::wall_nanos() };
        self.plan.teller.request(&self.sending.borrow(), moment).into()
    }

    /// Sends the batch until it is taken, refused, or too old.
    async fn deliver(&self) {
        let request = self.request();
        let begun = Instant::now();
        if self.left_first.get().is_some_and(|left| left.elapsed() >= BACK_TO_FIRST) {
            self.at.set(0);
            self.left_first.set(None);
        }
        let mut failed = 0;
        loop {
            let answer = self.receiver().send(request.clone()).await;
            let Some((why, after)) = self.settle(answer) else { return };
            failed += 1;
            self.tell_failing(&why);
            self.try_next_receiver();
            if begun.elapsed() >= SPANS_KEPT_FOR {
                self.count_lost(&self.counters.too_old);
                return;
            }
            // Every receiver was asked.
            if failed % self.receivers.len() == 0 {
                let rounds = u32::try_from(failed / self.receivers.len()).unwrap_or(u32::MAX);
                tokio::time::sleep(pause(rounds, after, random())).await;
            }
        }
    }

    fn receiver(&self) -> &Receiver {
        &self.receivers[self.at.get()]
    }

    fn try_next_receiver(&self) {
        let next = (self.at.get() + 1) % self.receivers.len();
        self.at.set(next);
        self.left_first.set((next != 0).then(Instant::now));
    }

    /// Counts what became of the batch; why it is to be sent again, if it is.
    fn settle(&self, answer: Answer) -> Option<(String, Option<Duration>)> {
        match answer {
            Answer::Taken(partial) => {
                let count = self.sending.borrow_mut().drain(..).count() as u64;
                let rejected = partial.rejected.min(count);
                self.counters.sent.increment(count - rejected);
                self.counters.rejected.increment(rejected);
                if rejected > 0 || !partial.message.is_empty() {
                    let reason = partial.message;
                    tracing::warn!(target: "gemba::kaizen", rejected, reason, "a receiver of traces took only a part");
                }
                if self.is_failing.replace(false) {
                    tracing::info!(target: "gemba::kaizen", "traces are taken again");
                }
                None
            }
            Answer::Refused { why } => {
                let receiver = self.receiver().name();
                tracing::warn!(
                    target: "gemba::kaizen",
                    receiver,
                    reason = why,
                    hint = "check its address, its protocol and what it asks of clients",
                    "a receiver refuses traces"
                );
                self.count_lost(&self.counters.refused);
                None
            }
            Answer::Again { why, after } => Some((why, after)),
        }
    }

    fn count_lost(&self, counter: &metrics::Counter) {
        counter.increment(self.sending.borrow_mut().drain(..).count() as u64);
    }

    fn tell_failing(&self, why: &str) {
        if !self.is_failing.replace(true) {
            let receiver = self.receiver().name();
            tracing::warn!(target: "gemba::kaizen", receiver, reason = why, "traces are not taken");
        }
    }

    /// The last of it, at an orderly end: what is not taken soon is lost.
    pub async fn end(&self, collector: &RefCell<Collector>) {
        self.take(&mut collector.borrow_mut());
        let last = async {
            loop {
                if self.sending.borrow().is_empty() {
                    if self.waiting.borrow().is_empty() {
                        return;
                    }
                    self.begin_batch();
                }
                let answer = self.receiver().send(self.request()).await;
                if self.settle(answer).is_some() {
                    self.try_next_receiver();
                    tokio::time::sleep(SPANS_LOOK).await;
                }
            }
        };
        let _taken_or_not = tokio::time::timeout(TELEMETRY_LAST, last).await;
        self.count_lost(&self.counters.undelivered);
        self.counters.undelivered.increment(self.waiting.borrow_mut().drain(..).count() as u64);
    }
}
