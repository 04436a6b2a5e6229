//! Values that are read when somebody asks for a page.

use super::metric::Metric;

/// One reading: of a metric, with its labels in the order of the table.
#[derive(Clone, Debug)]
pub struct Reading {
    pub metric: Metric,
    pub labels: Vec<Box<str>>,
    pub value: f64,
}

/// What was read for one page.
#[derive(Clone, Debug, Default)]
pub struct Readings(Vec<Reading>);

impl Readings {
    /// `labels` are the values of the metric's labels, in the order of the table.
    pub fn set(&mut self, metric: Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), metric.declared().labels.len(), "{metric:?}");
        let labels = labels.iter().map(|label| (*label).into()).collect();
        self.0.push(Reading { metric, labels, value });
    }

    /// The same, for a whole number.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub fn count(&mut self, metric: Metric, labels: &[&str], value: u64) {
        self.set(metric, labels, value as f64);
    }

    pub fn of(&self, metric: Metric) -> impl Iterator<Item = &Reading> {
        self.0.iter().filter(move |reading| reading.metric == metric)
    }
}
