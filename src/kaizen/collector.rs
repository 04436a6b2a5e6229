//! Merges what the threads recorded, and writes the page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::exemplars::Exemplars;
use super::exposition::{Bucket, Exemplar, Format, Page, Show};
use super::heartbeat::{Heartbeat, HeartbeatView};
use super::metric::{Kind, Metric, Recorded, Stage};
use super::readings::Readings;
use super::recorder::{Counter, Exchange, Recorder, Set};
use super::registry::{self, OTHER, Registry};
use super::span::{Sampling, Span, SpanLane, Tracer};
use super::tenants::{Tally, TopTenants};
use crate::clock::{self, Instant};
use crate::ring::Current;

/// Merges and shows.
#[derive(Debug)]
pub struct Collector {
    exchanges: Vec<Arc<Exchange>>,
    total: Box<Set>,
    sampling: Current<Option<Sampling>>,
    span_lanes: Vec<Arc<SpanLane>>,
    beats: Vec<Arc<HeartbeatView>>,
    exemplars: Exemplars,
    tenants: TopTenants,
    lanes: BTreeMap<Box<str>, Waiting>,
    begun: Begun,
}

/// When the counts were 0.
#[derive(Clone, Copy, Debug)]
struct Begun {
    wall_milliseconds: u64,
    at: Instant,
}

/// What waits in a lane.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waiting {
    pub depth: u64,
    /// Sum of depth times milliseconds.
    pub milliseconds: u64,
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
            sampling: Current::new(Arc::new(None)),
            span_lanes: Vec::new(),
            beats: Vec::new(),
            exemplars: Exemplars::default(),
            tenants: TopTenants::default(),
            lanes: BTreeMap::new(),
            begun: Begun { wall_milliseconds: clock::wall().0, at: clock::now() },
        })
    }

    /// Has signals traced, as long as there is a sampling, by those who are given a recorder from here on.
    #[must_use]
    pub fn tracing(mut self, sampling: Current<Option<Sampling>>) -> Self {
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

    /// Where one thread tells of traced signals.
    #[must_use]
    pub fn tracer(&mut self) -> Tracer {
        let lane = SpanLane::new();
        self.span_lanes.push(Arc::clone(&lane));
        Tracer::new(&self.sampling, lane)
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
    pub fn take_spans(&mut self, mut take: impl FnMut(Span)) {
        let sampling = self.sampling.get();
        for lane in &self.span_lanes {
            while let Some(span) = lane.pop() {
                if let Some(sampling) = &*sampling {
                    self.exemplars.note(&span, sampling);
                }
                take(span);
            }
        }
    }

    /// Merges what was handed over.
    pub fn collect(&mut self) {
        for exchange in &self.exchanges {
            exchange.collect(|set| {
                self.total.add(set);
                for (name, tally) in &set.tenants {
                    self.tenants.add(name, *tally);
                }
            });
        }
    }

    /// A lane had this depth for so long.
    pub fn lane(&mut self, name: &str, depth: u64, lasted: Duration) {
        let milliseconds = depth * u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
        let known = self.lanes.get(name).copied().unwrap_or_default();
        let waiting = Waiting { depth, milliseconds: known.milliseconds.saturating_add(milliseconds) };
        self.lanes.insert(name.into(), waiting);
    }

    /// Lanes by name, as they were looked at.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, Waiting)> {
        self.lanes.iter().map(|(name, waiting)| (&**name, *waiting))
    }

    #[must_use]
    pub fn tenants(&self) -> &TopTenants {
        &self.tenants
    }

    /// Occupied buckets of a stage: nanoseconds, and how many took them.
    pub fn took(&self, stage: Stage) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.total.stages[stage as usize].iter_recorded();
        recorded.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
    }

    /// Every series that is counted under names that the configuration gives.
    pub fn counted_by_name(mut visit: impl FnMut(Metric, &[Box<str>], u64)) {
        registry::global().visit(&mut visit);
    }

    /// When it began to count, in milliseconds since 1970, and how long ago that is.
    #[must_use]
    pub fn begun(&self) -> (u64, Duration) {
        (self.begun.wall_milliseconds, clock::now().saturating_duration_since(self.begun.at))
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

    /// The page of tenants: those that are told apart by their names, then the others together.
    #[must_use]
    pub fn tenants_page(&self, format: Format) -> String {
        let mut others = self.tenants.others();
        let mut told: Vec<(&str, Tally)> = Vec::new();
        for (name, tally) in self.tenants.named() {
            // A tenant of this very name cannot be told from the others.
            if name == OTHER { others.add(tally) } else { told.push((name, tally)) }
        }
        told.sort_unstable_by_key(|(name, _)| *name);
        told.push((OTHER, others));
        let mut page = Page::new(format);
        let mut show = |metric: Metric, of: fn(&Tally) -> f64| {
            page.head(metric);
            for (name, tally) in &told {
                page.sample(metric, &[(*name).into()], of(tally));
            }
        };
        show(Metric::TenantEvents, |tally| float(tally.events));
        show(Metric::TenantWaited, |tally| float(tally.waited_milliseconds) / 1e3);
        show(Metric::TenantFailures, |tally| float(tally.failures));
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
            Recorded::Stage(stage) => histogram(page, metric, &[], of(stage), bounds, &self.exemplars),
            Recorded::Batch => {
                histogram(page, metric, &[], &self.total.batch, bounds, &self.exemplars);
            }
            Recorded::EachStage => {
                for stage in Stage::ALL {
                    let labels = [stage.into_str().into()];
                    histogram(page, metric, &labels, of(stage), bounds, &self.exemplars);
                }
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn float(count: u64) -> f64 {
    count as f64
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
    exemplars: &Exemplars,
) {
    let per_unit = metric.declared().unit.recorded();
    let upto = |bound: f64| values.count_between(0, (bound * per_unit).round() as u64);
    let counts = bounds.iter().map(|bound| (*bound, upto(*bound))).chain([(f64::INFINITY, values.len())]);
    let mut before = (f64::NEG_INFINITY, 0);
    let buckets: Vec<Bucket> = counts
        .map(|(bound, count)| {
            let (above, others) = std::mem::replace(&mut before, (bound, count));
            let is_in = |exemplar: &&Exemplar| exemplar.value > above && exemplar.value <= bound;
            // A histogram tells values apart to a hundredth: one near a bound may have been counted on its other side.
            let exemplar = exemplars.of(metric).find(is_in).filter(|_| count > others).cloned();
            Bucket { bound, count, exemplar }
        })
        .collect();
    let sum: f64 =
        values.iter_recorded().map(|v| v.value_iterated_to() as f64 * v.count_at_value() as f64).sum();
    // Of no numbers the sum is -0.
    page.histogram(metric, labels, &buckets, sum / per_unit + 0.0);
}
