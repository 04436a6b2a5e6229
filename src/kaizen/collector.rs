//! Merges what the threads recorded and writes it as Prometheus text. Counters and gauges go through the `metrics`
//! crate; histograms are written here from the merged HDR recorders, since the crate's own grow until they are read.

use std::fmt::Write as _;
use std::sync::Arc;

use hdrhistogram::Histogram;
use metrics::{Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::recorder::{Counter, Exchange, Recorder, Set, Stage};
use super::series::Series;

/// Values that are read when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    values: Vec<(Series, f64)>,
    counts: Vec<(Series, u64)>,
}

impl Gauges {
    /// `help` says what it is, in words for people.
    pub fn set(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.values.push((Series::new(name, help, labels), value));
    }

    /// The same for what only grows.
    pub fn count(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: u64,
    ) {
        self.counts.push((Series::new(name, help, labels), value));
    }
}

/// Merges and shows.
#[derive(Debug)]
pub struct Collector {
    exchanges: Vec<Arc<Exchange>>,
    total: Box<Set>,
}

/// Sets per thread: one in use, one on its way, one being merged.
const SPARE_SETS: usize = 2;
const LATENCY_BUCKETS_US: [u64; 7] = [100, 500, 1000, 5000, 10_000, 50_000, 100_000];
const SECONDS_BUCKETS: [f64; 13] =
    [1e-7, 1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0];
const BATCH_BUCKETS: [u64; 9] = [1, 4, 16, 64, 256, 1024, 4096, 8192, 16_384];
const METADATA: Metadata<'static> = Metadata::new("gemba", Level::INFO, None);

impl Collector {
    /// `None` only if the histograms' constants are impossible.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self { exchanges: Vec::new(), total: Set::empty()? })
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

    /// The Prometheus text, format 0.0.4.
    #[must_use]
    pub fn render(&self, gauges: &Gauges) -> String {
        // A recorder shows whatever it was ever told. With one for each page, a value that is not known any more is gone.
        let recorder = PrometheusBuilder::new().build_recorder();
        for counter in Counter::ALL {
            let series = counter.series();
            recorder.describe_counter(series.name.into(), None, series.help.into());
            recorder.register_counter(&series.key(), &METADATA).absolute(self.counted(counter));
        }
        for (series, value) in &gauges.counts {
            recorder.describe_counter(series.name.into(), None, series.help.into());
            recorder.register_counter(&series.key(), &METADATA).absolute(*value);
        }
        for (series, value) in &gauges.values {
            recorder.describe_gauge(series.name.into(), None, series.help.into());
            recorder.register_gauge(&series.key(), &METADATA).set(*value);
        }
        let mut text = recorder.handle().render();
        self.histograms(&mut text);
        text
    }

    fn histograms(&self, text: &mut String) {
        let whole = &self.total.stages[Stage::Whole as usize];
        head(text, "signal_processing_latency_us", "Signal processing duration in microseconds");
        let buckets = LATENCY_BUCKETS_US.map(|us| (us.to_string(), us * 1000));
        histogram(text, "signal_processing_latency_us", "", whole, &buckets, 1e3);
        let seconds = SECONDS_BUCKETS.map(|s| (s.to_string(), nanos(s)));
        head(text, "gemba_stage_seconds", "Time spent in a stage");
        for stage in Stage::ALL {
            let label = format!("stage=\"{}\"", stage.into_str());
            histogram(text, "gemba_stage_seconds", &label, &self.total.stages[stage as usize], &seconds, 1e9);
        }
        head(text, "gemba_fsync_seconds", "Time to make one journal frame durable");
        let fsync = &self.total.stages[Stage::Fsync as usize];
        histogram(text, "gemba_fsync_seconds", "", fsync, &seconds, 1e9);
        head(text, "gemba_batch_signals", "Events in one journal frame");
        let buckets = BATCH_BUCKETS.map(|count| (count.to_string(), count));
        histogram(text, "gemba_batch_signals", "", &self.total.batch, &buckets, 1.0);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bucket bounds are small and positive"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

fn head(text: &mut String, name: &str, help: &str) {
    // Writing to a string cannot fail.
    let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} histogram\n");
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn histogram(
    text: &mut String,
    name: &str,
    label: &str,
    values: &Histogram<u64>,
    buckets: &[(String, u64)],
    scale: f64,
) {
    let comma = if label.is_empty() { "" } else { "," };
    for (bound, upto) in buckets {
        let count = values.count_between(0, *upto);
        let _infallible = writeln!(text, "{name}_bucket{{{label}{comma}le=\"{bound}\"}} {count}");
    }
    let braces = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
    let sum: f64 =
        values.iter_recorded().map(|v| v.value_iterated_to() as f64 * v.count_at_value() as f64).sum();
    let _infallible = write!(
        text,
        "{name}_bucket{{{label}{comma}le=\"+Inf\"}} {count}\n{name}_sum{braces} {sum}\n{name}_count{braces} {count}\n",
        count = values.len(),
        // Of no numbers the sum is -0.
        sum = sum / scale + 0.0,
    );
}
