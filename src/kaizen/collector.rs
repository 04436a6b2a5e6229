//! Merges what the threads recorded, and writes the page.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::exposition::{Bucket, Format, Page};
use super::metric::{Kind, Metric, Recorded, Stage};
use super::readings::Readings;
use super::recorder::{Counter, Exchange, Recorder, Set};
use super::registry::{self, Registry};
use super::tenants::TopTenants;
use crate::clock::{self, Instant};

/// Merges and shows.
#[derive(Debug)]
pub struct Collector {
    exchanges: Vec<Arc<Exchange>>,
    total: Box<Set>,
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
        let begun = Begun { wall_milliseconds: clock::wall().0, at: clock::now() };
        Some(Self {
            exchanges: Vec::new(),
            total: Set::empty()?,
            tenants: TopTenants::default(),
            lanes: BTreeMap::new(),
            begun,
        })
    }

    /// A recorder for one thread.
    #[must_use]
    pub fn recorder(&mut self) -> Option<Recorder> {
        let exchange = Arc::new(Exchange::of(SPARE_SETS)?);
        self.exchanges.push(Arc::clone(&exchange));
        Some(Recorder::new(Set::empty()?, exchange))
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
        let mut read = readings.clone();
        for counter in Counter::ALL {
            let (metric, labels) = counter.series();
            read.count(metric, labels, self.counted(counter));
        }
        registry.visit(|metric, labels, count| {
            let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
            read.count(metric, &labels, count);
        });
        let mut page = Page::new(format);
        for metric in Metric::ALL {
            if let Kind::Histogram(recorded, bounds) = metric.declared().kind {
                page.head(metric);
                self.histograms(&mut page, metric, recorded, bounds);
                continue;
            }
            let mut samples = read.of(metric).peekable();
            // What is not known, or not of this role, is not shown.
            if samples.peek().is_some() {
                page.head(metric);
                samples.for_each(|reading| page.sample(metric, &reading.labels, reading.value));
            }
        }
        page.finish()
    }

    /// Shows a histogram, by stage where it has that label.
    fn histograms(&self, page: &mut Page, metric: Metric, recorded: Recorded, bounds: &[f64]) {
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
fn histogram(page: &mut Page, metric: Metric, labels: &[Box<str>], values: &Histogram<u64>, bounds: &[f64]) {
    let per_unit = metric.declared().unit.recorded();
    let upto = |bound: f64| values.count_between(0, (bound * per_unit).round() as u64);
    let buckets: Vec<Bucket> =
        bounds.iter().map(|bound| Bucket { bound: *bound, count: upto(*bound) }).collect();
    let sum: f64 =
        values.iter_recorded().map(|v| v.value_iterated_to() as f64 * v.count_at_value() as f64).sum();
    // Of no numbers the sum is -0.
    page.histogram(metric, labels, &buckets, values.len(), sum / per_unit + 0.0);
}
