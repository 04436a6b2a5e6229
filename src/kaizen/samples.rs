//! What a page shows, as series with values: for those who send it instead of showing it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::exposition::{Bucket, Show, bound_of_text};
use super::metric::Metric;

/// One series: its labels with `__name__` among them, sorted by name, none empty.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    pub labels: Vec<(Cow<'static, str>, Box<str>)>,
    pub metric: Metric,
}

/// A series and its value at one moment.
pub type Sample = (Arc<Series>, f64);

/// Series that were seen the last time, so that one that is gone is known, and labels are kept once.
#[derive(Debug, Default)]
pub struct Known(BTreeSet<Arc<Series>>);

/// Takes samples down.
#[derive(Debug)]
pub struct Taking<'a> {
    known: Known,
    now: Known,
    outer: &'a [(String, String)],
    taken: Vec<Sample>,
}

impl Known {
    /// Begins; every series has these labels beside its own. A label of its own is stronger.
    #[must_use]
    pub fn take(self, outer: &[(String, String)]) -> Taking<'_> {
        Taking { known: self, now: Self::default(), outer, taken: Vec::new() }
    }

    /// All that were seen.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.0.iter()
    }
}

impl Taking<'_> {
    /// The samples, the series that were there before and are not now, and those that are.
    #[must_use]
    pub fn end(self) -> (Vec<Sample>, Vec<Arc<Series>>, Known) {
        let gone = self.known.iter().filter(|series| !self.now.0.contains(*series)).cloned().collect();
        (self.taken, gone, self.now)
    }

    fn add(&mut self, metric: Metric, suffix: &str, labels: &[Box<str>], le: Option<&str>, value: f64) {
        let declared = metric.declared();
        let name = match suffix {
            "" => Cow::Borrowed(declared.name),
            suffix => Cow::Owned(format!("{}{suffix}", declared.name)),
        };
        let own = declared
            .labels
            .iter()
            .zip(labels)
            .map(|(label, value)| (Cow::Borrowed(label.name), value.clone()));
        let mut all: BTreeMap<Cow<'static, str>, Box<str>> = self
            .outer
            .iter()
            .map(|(name, value)| (Cow::Owned(name.clone()), value.as_str().into()))
            .collect();
        all.extend(own.filter(|(_, value)| !value.is_empty()));
        all.extend(le.map(|bound| (Cow::Borrowed("le"), bound.into())));
        all.insert(Cow::Borrowed("__name__"), name.into());
        let series = Series { labels: all.into_iter().collect(), metric };
        let series = match self.known.0.get(&series) {
            Some(known) => Arc::clone(known),
            None => Arc::new(series),
        };
        self.now.0.insert(Arc::clone(&series));
        self.taken.push((series, value));
    }
}

impl Show for Taking<'_> {
    fn head(&mut self, _: Metric) {}

    fn sample(&mut self, metric: Metric, labels: &[Box<str>], value: f64) {
        self.add(metric, "", labels, None, value);
    }

    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    fn histogram(&mut self, metric: Metric, labels: &[Box<str>], buckets: &[Bucket], sum: f64) {
        for bucket in buckets {
            let bound = bound_of_text(bucket.bound);
            self.add(metric, "_bucket", labels, Some(&bound), bucket.count as f64);
        }
        self.add(metric, "_sum", labels, None, sum);
        self.add(metric, "_count", labels, None, buckets.last().map_or(0, |all| all.count) as f64);
    }
}
