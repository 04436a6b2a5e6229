//! Merges what the threads recorded and writes it as Prometheus text. Counters and gauges go through the `metrics`
//! crate; histograms are written here from the merged HDR recorders, since the crate's own grow until they are read.

use std::fmt::Write as _;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;
use hdrhistogram::Histogram;
use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::recorder::{Counter, Exchange, Recorder, Set, Stage};

/// Values that are read when somebody asks.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    values: Vec<(Key, f64)>,
}

impl Gauges {
    pub fn set(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<Label> =
            labels.iter().map(|(key, value)| Label::new(*key, (*value).to_owned())).collect();
        self.values.push((Key::from_parts(name, labels), value));
    }
}

/// Merges and shows.
#[derive(Debug)]
pub struct Collector {
    exchanges: Vec<Arc<Exchange>>,
    pub(super) total: Box<Set>,
}

/// Sets per thread: one in use, one on its way, one being merged.
const SPARE_SETS: usize = 2;
const LATENCY_BUCKETS_US: [u64; 7] = [100, 500, 1000, 5000, 10_000, 50_000, 100_000];
const SECONDS_BUCKETS: [f64; 13] =
    [1e-7, 1e-6, 1e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.1, 1.0];
const BATCH_BUCKETS: [u64; 9] = [1, 4, 16, 64, 256, 1024, 4096, 8192, 16_384];
const METADATA: Metadata<'static> = Metadata::new("gemba", Level::INFO, None);

const COUNTERS: &[(&str, &str)] = &[
    ("gemba_signals_total", "Signals by what became of them at ingress"),
    ("gemba_answers_delayed_total", "Refusals that waited because their sender was refused too much"),
    ("gemba_receipts_total", "Receipts in the transparency log"),
    ("actions_successful_total", "Total successful actions"),
    ("actions_failed_total", "Total failed actions"),
    ("gemba_dead_letters_total", "Dead letters by whose they are to mend"),
];
const GAUGES: &[(&str, &str)] = &[
    ("queue_depth", "Signals taken and not yet handed to their governor"),
    ("system_status", "0 healthy, 1 degraded, 2 halted"),
    ("gemba_ring_depth", "Items that wait in a lane"),
    ("gemba_governors", "Governors by state"),
    ("gemba_waiting_bytes", "What signals take that wait for their decision or their action"),
    ("gemba_dead_letters_closed", "Closed dead letters that are still kept"),
    ("gemba_dead_letters_open", "Dead letters that nobody replayed or discarded, by whose they are to mend"),
    ("gemba_checkpoint_age_seconds", "Age of the last signed checkpoint"),
    ("gemba_rules_since_seq", "The event from which the rules hold"),
    ("gemba_policy_reload_failures", "Reloads that changed nothing, because a pack was wrong"),
    ("gemba_target_breaker", "Breaker of an action's target: 0 healthy, 1 testing, 2 halted"),
    ("gemba_target_waiting", "Actions that wait for their target"),
    ("gemba_connections", "Open connections of the data plane"),
    ("gemba_connections_max", "Connections that the data plane may hold"),
    ("gemba_diagnostics_lost", "Lines that standard error did not take"),
    ("gemba_restarts", "Restarts of stages since the process began"),
    ("gemba_disk_written_bytes", "Bytes written since the start"),
    ("gemba_clock_offset_seconds", "Wall clock minus the journal's time"),
    (
        "gemba_clock_doubted",
        "1 while the wall clock is not followed, since it is far from the journal's time",
    ),
    ("gemba_clock_doubts", "How often the wall clock began to be doubted"),
    ("gemba_broker_connected", "1 while there is a connection to the broker"),
    ("gemba_broker_reconnects", "Connections to the broker that ended"),
    ("gemba_broker_messages", "Messages that the broker confirmed, or that were acknowledged"),
    ("gemba_broker_blocked", "1 while the broker takes no messages"),
    ("gemba_broker_unconfirmed_messages", "Messages published and not confirmed"),
    ("gemba_broker_backlog_events", "Events that are durable and not confirmed"),
    ("gemba_broker_unacknowledged_messages", "Messages delivered and not yet durable"),
    ("gemba_broker_repeated_messages", "Messages that came twice and counted once"),
    ("gemba_broker_rejected_messages", "Messages that became dead letters as a whole, by cause"),
    ("gemba_broker_missing_signals", "Numbers of edges that never came"),
    ("gemba_broker_queue_messages", "Messages that wait in a partition's queue"),
    ("gemba_broker_queue_consumers", "Who takes from a partition's queue; 0 is nobody"),
    ("gemba_broker_partition_owned", "1 where a partition's messages come to this node"),
    ("gemba_state_shared_seq", "Everything up to this event is in the shared store"),
    ("gemba_state_unshared_seconds", "Time since the last round, while something is not shared"),
    ("gemba_state_rounds", "Rounds that were shared"),
    ("gemba_state_failed_calls", "Calls of the shared store that did not end well"),
    ("gemba_state_held_partitions", "Partitions that this processor decides on"),
    ("gemba_state_lost_partitions", "Partitions that another processor took from this one"),
];

impl Collector {
    /// `None` only if the histograms' constants are impossible.
    #[must_use]
    pub fn new() -> Option<Self> {
        Some(Self { exchanges: Vec::new(), total: Set::empty()? })
    }

    /// A recorder for one thread.
    #[must_use]
    pub fn recorder(&mut self) -> Option<Recorder> {
        let exchange =
            Arc::new(Exchange { full: ArrayQueue::new(SPARE_SETS), emptied: ArrayQueue::new(SPARE_SETS) });
        for _ in 0..SPARE_SETS {
            exchange.emptied.push(Set::empty()?).ok()?;
        }
        self.exchanges.push(Arc::clone(&exchange));
        Some(Recorder::new(Set::empty()?, exchange))
    }

    /// Merges what was handed over.
    pub fn collect(&mut self) {
        for exchange in &self.exchanges {
            while let Some(mut set) = exchange.full.pop() {
                for (total, part) in self.total.stages.iter_mut().zip(&set.stages) {
                    // Same bounds and digits, so nothing can be out of range.
                    let _same_shape = total.add(part);
                }
                let _same_shape = self.total.batch.add(&set.batch);
                for (counter, by) in Counter::ALL.into_iter().zip(set.counters) {
                    self.total.counters[counter as usize] += by;
                }
                set.clear();
                drop(exchange.emptied.push(set));
            }
        }
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
        for (name, help) in COUNTERS {
            recorder.describe_counter((*name).into(), None, (*help).into());
        }
        for (name, help) in GAUGES {
            recorder.describe_gauge((*name).into(), None, (*help).into());
        }
        for counter in Counter::ALL {
            let (name, labels) = match counter {
                Counter::AnswersDelayed => ("gemba_answers_delayed_total", Vec::new()),
                Counter::Receipts => ("gemba_receipts_total", Vec::new()),
                Counter::ActionsSuccessful => ("actions_successful_total", Vec::new()),
                Counter::ActionsFailed => ("actions_failed_total", Vec::new()),
                _ => match counter.cause() {
                    Some(cause) => ("gemba_dead_letters_total", vec![Label::new("cause", cause)]),
                    None => (
                        "gemba_signals_total",
                        counter.result().map(|r| Label::new("result", r)).into_iter().collect(),
                    ),
                },
            };
            recorder
                .register_counter(&Key::from_parts(name, labels), &METADATA)
                .absolute(self.counted(counter));
        }
        for (key, value) in &gauges.values {
            recorder.register_gauge(key, &METADATA).set(*value);
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
            let label = format!("stage=\"{}\"", stage.as_str());
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
