//! What is counted through the `metrics` crate: by those who count rarely, or under names that the configuration gives.
//! A hot thread has a [`super::Recorder`] of its own instead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, SharedString, Unit};

use super::metric::{Metric, Values};

/// The labels of a series, in the order of the table.
type Labels = Vec<Box<str>>;

/// Counters by metric and labels.
#[derive(Debug, Default)]
pub struct Registry(Mutex<BTreeMap<(Metric, Labels), Arc<AtomicU64>>>);

const METADATA: Metadata<'static> = Metadata::new("gemba", Level::INFO, None);
/// Stands for every value beyond the bound of its label.
pub const OTHER: &str = "other";

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// The process' own. From the first call on, the `metrics` crate counts here.
pub fn global() -> &'static Registry {
    let mut is_new = false;
    let registry = REGISTRY.get_or_init(|| {
        is_new = true;
        Registry::default()
    });
    if is_new {
        // Another recorder can only be a test's own.
        let _installed = metrics::set_global_recorder(registry);
    }
    registry
}

impl Metric {
    /// A counter of this metric; `labels` in the order of the table.
    pub fn counter(self, labels: &[&str]) -> Counter {
        let named = self.declared().labels.iter().zip(labels);
        let labels =
            named.map(|(label, value)| Label::new(label.name, (*value).to_owned())).collect::<Vec<_>>();
        let key = Key::from_parts(self.declared().name, labels);
        global();
        metrics::with_recorder(|recorder| recorder.register_counter(&key, &METADATA))
    }
}

impl Registry {
    /// Every series with its value.
    pub fn visit(&self, mut visit: impl FnMut(Metric, &[Box<str>], u64)) {
        let counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((metric, labels), count) in counters.iter() {
            visit(*metric, labels, count.load(Ordering::Relaxed));
        }
    }

    /// The counter of a series. Beyond the bound of the metric, those whose labels are unbounded share one.
    fn of(&self, metric: Metric, labels: Labels) -> Arc<AtomicU64> {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = counters.get(&(metric, labels.clone())) {
            return Arc::clone(known);
        }
        let first = (metric, Labels::new());
        let series = counters.range(first..).take_while(|((other, _), _)| *other == metric).count();
        let labels = if series < metric.series_max() { labels } else { Self::other(metric, &labels) };
        Arc::clone(counters.entry((metric, labels)).or_default())
    }

    fn other(metric: Metric, labels: &Labels) -> Labels {
        let labels = metric.declared().labels.iter().zip(labels);
        labels
            .map(|(label, value)| match label.values {
                Values::Of(_) => value.clone(),
                Values::Each(..) => OTHER.into(),
            })
            .collect()
    }
}

impl metrics::Recorder for Registry {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    /// What is not in the table is not counted.
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let Some(metric) = Metric::ALL.into_iter().find(|metric| metric.declared().name == key.name()) else {
            return Counter::noop();
        };
        let label = |name| key.labels().find(|label| label.key() == name).map_or("", Label::value);
        let labels = metric.declared().labels.iter().map(|declared| label(declared.name).into()).collect();
        Counter::from_arc(self.of(metric, labels))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_bound_of_a_label_is_counted_together() {
        let registry = Registry::default();
        let most = Metric::TargetBreaker.series_max();
        metrics::with_local_recorder(&registry, || {
            for number in 0..most + 10 {
                Metric::TargetBreaker.counter(&[&format!("t-{number}")]).increment(1);
            }
            Metric::TargetBreaker.counter(&["t-0"]).increment(1);
            metrics::counter!("not_in_the_table").increment(1);
        });
        let mut found = Vec::new();
        registry.visit(|_, labels, count| found.push((labels[0].to_string(), count)));
        assert_eq!(found.len(), most + 1);
        assert!(found.contains(&(OTHER.into(), 10)) && found.contains(&("t-0".into(), 2)), "{found:?}");
    }
}
