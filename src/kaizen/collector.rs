//! Merges what the threads recorded, and writes the page.

use std::sync::Arc;

use hdrhistogram::Histogram;

use super::exposition::{Bucket, Format, Page, Show};
use super::heartbeat::{Heartbeat, HeartbeatView};
use super::metric::{Kind, Metric, Recorded, Stage};
use super::readings::Readings;
use super::recorder::{Counter, Exchange, Recorder, Set};
use super::registry::{self, Registry};
use super::span::{Sampling, Span, SpanLane, Tracer};

/// Merges and shows.
#[derive(Debug)]
pub struct Collector {
    exchanges: Vec<Arc<Exchange>>,
    total: Box<Set>,
    sampling: Option<Sampling>,
    lanes: Vec<Arc<SpanLane>>,
    beats: Vec<Arc<HeartbeatView>>,
}

/// Sets per thread: one in use, one on its way, one being merged.
const SPARE_SETS: usize = 2;

impl Collector {
    /// `None` only if the histograms' constants are impossible.
    #[must_use]
    pub fn new() -> Option<Self> {
        // Who counts from here on is counted.
        let _installed = registry::global();
        Some(Self {
            exchanges: Vec::new(),
            total: Set::empty()?,
            sampling: None,
            lanes: Vec::new(),
            beats: Vec::new(),
        })
    }

    /// Has signals traced by those who are given a recorder from here on.
    #[must_use]
    pub fn tracing(mut self, sampling: Option<Sampling>) -> Self {
        self.sampling = sampling;
        self
    }

    /// A recorder for one thread.
    #[must_use]
    pub fn recorder(&mut self) -> Option<Recorder> {
        let exchange = Arc::new(Exchange::of(SPARE_SETS)?);
        self.exchanges.push(Arc::clone(&exchange));
        let (tracer, heartbeat) = (self.tracer(), self.heartbeat());
        Some(Recorder::new(Set::empty()?, exchange, tracer, heartbeat))
    }

    /// Where one thread tells of traced signals; `None` where none are.
    #[must_use]
    pub fn tracer(&mut self) -> Option<Tracer> {
        let sampling = self.sampling?;
        let lane = SpanLane::new();
        self.lanes.push(Arc::clone(&lane));
        Some(Tracer::new(sampling, lane))
    }

    /// For one thread that has no recorder.
    #[must_use]
    pub fn heartbeat(&mut self) -> Heartbeat {
        let heartbeat = Heartbeat::new();
        self.beats.push(heartbeat.beat());
        heartbeat
    }

    /// Of every thread that was given a recorder or a heartbeat.
    #[must_use]
    pub fn beats(&self) -> Vec<Arc<HeartbeatView>> {
        self.beats.clone()
    }

    /// Takes the spans that were told.
    pub fn take_spans(&self, mut take: impl FnMut(Span)) {
        for lane in &self.lanes {
            while let Some(span) = lane.pop() {
                take(span);
            }
        }
    }

    /// Merges what was handed over.
    pub fn collect(&mut self) {
        for exchange in &self.exchanges {
            exchange.collect(|set| self.total.add(set));
        }
    }

    /// Everything that was collected.
    #[cfg(test)]
    pub(super) fn total(&self) -> &Set {
        &self.total
    }

    /// Counts for those who have no recorder of their own.
    pub fn add(&mut self, counter: Counter, by: u64) {
        self.total.counters[counter as usize] += by;
    }

    /// How often `counter` was counted.
    #[must_use]
    pub fn counted(&self, counter: Counter) -> u64 {
        self.total.counters[counter as usize]
    }

    /// The page: what was collected, what is counted through the `metrics` crate, and what was read for it.
    #[must_use]
    pub fn page(&self, readings: &Readings, format: Format) -> String {
        self.page_with(registry::global(), readings, format)
    }

    pub(super) fn page_with(&self, registry: &Registry, readings: &Readings, format: Format) -> String {
        let mut page = Page::new(format);
        self.show_with(registry, readings, &mut page);
        page.finish()
    }

    /// Shows the same to somebody else.
    pub fn show(&self, readings: &Readings, to: &mut impl Show) {
        self.show_with(registry::global(), readings, to);
    }

    fn show_with(&self, registry: &Registry, readings: &Readings, page: &mut impl Show) {
        let mut read = readings.clone();
        for counter in Counter::ALL {
            let (metric, labels) = counter.series();
            read.count(metric, labels, self.counted(counter));
        }
        registry.visit(|metric, labels, count| {
            let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
            read.count(metric, &labels, count);
        });
        for metric in Metric::ALL {
            if let Kind::Histogram(recorded, bounds) = metric.declared().kind {
                page.head(metric);
                self.histograms(page, metric, recorded, bounds);
                continue;
            }
            let mut samples = read.of(metric).peekable();
            // What is not known, or not of this role, is not shown.
            if samples.peek().is_some() {
                page.head(metric);
                samples.for_each(|reading| page.sample(metric, &reading.labels, reading.value));
            }
        }
    }

    /// Shows a histogram, by stage where it has that label.
    fn histograms(&self, page: &mut impl Show, metric: Metric, recorded: Recorded, bounds: &[f64]) {
        let of = |stage: Stage| &self.total.stages[stage as usize];
        match recorded {
            Recorded::Stage(stage) => histogram(page, metric, &[], of(stage), bounds),
            Recorded::Batch => histogram(page, metric, &[], &self.total.batch, bounds),
            Recorded::EachStage => {
                for stage in Stage::ALL {
                    histogram(page, metric, &[stage.into_str().into()], of(stage), bounds);
                }
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounds are small and positive, and a metric is a float"
)]
fn histogram(
    page: &mut impl Show,
    metric: Metric,
    labels: &[Box<str>],
    values: &Histogram<u64>,
    bounds: &[f64],
) {
    let per_unit = metric.declared().unit.recorded();
    let upto = |bound: f64| values.count_between(0, (bound * per_unit).round() as u64);
    let buckets: Vec<Bucket> =
        bounds.iter().map(|bound| Bucket { bound: *bound, count: upto(*bound) }).collect();
    let sum: f64 =
        values.iter_recorded().map(|v| v.value_iterated_to() as f64 * v.count_at_value() as f64).sum();
    // Of no numbers the sum is -0.
    page.histogram(metric, labels, &buckets, values.len(), sum / per_unit + 0.0);
}
