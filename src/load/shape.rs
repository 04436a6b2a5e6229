//! When the n-th request should go out. An open loop keeps to this schedule whatever the answers do, and latency
//! counts from it, so that a stalled server cannot hide its stall by being asked less (coordinated omission).
//!
//! Pure. Every shape sends the same number of requests in the whole run; it only warps their time.

use serde::Serialize;

/// How the rate moves over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The same gap before every request.
    #[default]
    Steady,
    /// A second's requests within its first fifth, at five times the rate; then silence.
    Burst,
    /// From nothing to twice the rate, linearly.
    Ramp,
}

/// Part of each second in which a burst is sent.
const BURST_PART: f64 = 0.2;
const NANOS: f64 = 1e9;

/// The intended start of every request of a run.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    shape: Shape,
    requests_per_second: f64,
    seconds: f64,
}

impl Schedule {
    #[must_use]
    pub fn new(shape: Shape, requests_per_second: f64, seconds: f64) -> Self {
        Self { shape, requests_per_second, seconds }
    }

    /// Requests of the whole run.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    pub fn requests(&self) -> u64 {
        (self.requests_per_second * self.seconds).ceil() as u64
    }

    /// Nanoseconds after the run's begin at which request `index` should start; `None` past the run's end.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "indices stay far below 2^52")]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time of the run, in nanoseconds"
    )]
    pub fn intended(&self, index: u64) -> Option<u64> {
        let steady = index as f64 / self.requests_per_second;
        if steady >= self.seconds {
            return None;
        }
        let seconds = match self.shape {
            Shape::Steady => steady,
            Shape::Burst => steady.floor() + steady.fract() * BURST_PART,
            Shape::Ramp => (steady * self.seconds).sqrt(),
        };
        Some((seconds * NANOS) as u64)
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "times of a test")]
mod tests {
    use super::*;

    fn times(shape: Shape, rate: f64, seconds: f64) -> Vec<u64> {
        let schedule = Schedule::new(shape, rate, seconds);
        (0..).map_while(|index| schedule.intended(index)).collect()
    }

    fn within(times: &[u64], from: f64, to: f64) -> usize {
        times.iter().filter(|time| (from..to).contains(&(**time as f64 / NANOS))).count()
    }

    #[test]
    fn every_shape_sends_the_rate_over_the_whole_run() {
        for shape in [Shape::Steady, Shape::Burst, Shape::Ramp] {
            let times = times(shape, 250.0, 8.0);
            assert_eq!(times.len(), 2000, "{shape:?}");
            assert!(times.is_sorted(), "{shape:?}");
            assert!(times.iter().all(|time| *time < 8_000_000_000), "{shape:?}");
        }
    }

    #[test]
    fn steady_sends_the_same_each_second() {
        let times = times(Shape::Steady, 250.0, 8.0);
        for second in 0..8 {
            assert_eq!(within(&times, f64::from(second), f64::from(second + 1)), 250);
        }
    }

    #[test]
    fn a_burst_ends_after_a_fifth_of_its_second() {
        let times = times(Shape::Burst, 250.0, 8.0);
        for second in 0..8 {
            assert_eq!(within(&times, f64::from(second), f64::from(second) + BURST_PART), 250);
        }
    }

    #[test]
    fn a_ramp_ends_at_twice_the_rate() {
        let times = times(Shape::Ramp, 1000.0, 10.0);
        let last = within(&times, 9.0, 10.0);
        assert!((1880..=1920).contains(&last), "{last}");
        let first = within(&times, 0.0, 1.0);
        assert!((90..=110).contains(&first), "{first}");
    }

    #[test]
    fn a_rate_below_one_a_second_still_sends() {
        assert_eq!(times(Shape::Steady, 0.5, 10.0).len(), 5);
    }
}
