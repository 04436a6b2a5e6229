//! How values are spread: the occupied buckets of a histogram, so that two looks subtract to a window.

use serde::{Deserialize, Serialize};

use super::numbers::float;

/// Pairs of a value, in nanoseconds, and how many there were; by value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread(Vec<(u64, u64)>);

impl Spread {
    /// Of pairs that come in the order of their values.
    pub fn new(pairs: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Sum of all values, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.0.iter().map(|(value, count)| float(*value) * float(*count)).sum::<f64>() / 1e9
    }

    /// Mean value, in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        super::numbers::share(self.seconds(), float(self.count()))
    }

    /// The value below which `per_mille` thousandths of all are, in nanoseconds; 0 of nothing.
    #[must_use]
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (self.count() * per_mille).div_ceil(1000).max(1);
        let mut passed = 0;
        let found = self.0.iter().find(|(_, count)| {
            passed += count;
            passed >= rank
        });
        found.map_or(0, |(value, _)| *value)
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |value: u64| {
            let found = earlier.0.binary_search_by_key(&value, |(value, _)| *value);
            found.ok().and_then(|at| earlier.0.get(at)).map_or(0, |(_, count)| *count)
        };
        let later = self.0.iter().map(|(value, count)| (*value, count.saturating_sub(before(*value))));
        Self(later.filter(|(_, count)| *count > 0).collect())
    }
}
