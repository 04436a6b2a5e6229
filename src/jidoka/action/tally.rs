//! What became of the actions of one target, since the node started.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Counts, and how long each try took.
#[derive(Clone, Debug, Default)]
pub struct TargetTally {
    pub successes: u64,
    /// With those that were turned away.
    pub failures: u64,
    pub turned_away: u64,
    pub tries: u64,
    pub failed_tries: u64,
    took: Option<Histogram<u64>>,
}

/// Two digits, as every other histogram of a node.
const DIGITS: u8 = 2;
/// A try ends sooner.
const MICROSECONDS_MAX: u64 = 120_000_000;

impl TargetTally {
    /// A try ended after so long.
    pub fn tried(&mut self, took: Duration, succeeded: bool) {
        self.tries += 1;
        self.failed_tries += u64::from(!succeeded);
        let histogram =
            self.took.take().or_else(|| Histogram::new_with_bounds(1, MICROSECONDS_MAX, DIGITS).ok());
        self.took = histogram.map(|mut histogram| {
            histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(MICROSECONDS_MAX));
            histogram
        });
    }

    /// An action ended.
    pub fn ended(&mut self, succeeded: bool) {
        *(if succeeded { &mut self.successes } else { &mut self.failures }) += 1;
    }

    /// Occupied buckets: nanoseconds, and how many tries took them.
    pub fn took(&self) -> impl Iterator<Item = (u64, u64)> {
        let recorded = self.took.iter().flat_map(Histogram::iter_recorded);
        recorded.map(|bucket| (bucket.value_iterated_to() * 1000, bucket.count_at_value()))
    }
}
