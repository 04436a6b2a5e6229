//! The circuit breaker (promise P7; blueprint 3B): so many failures in a row open it, a timer lets it test, one
//! probe decides. Pure: the timer, and keeping calls away while it is open, are the owner's. A governor runs one
//! action at a time, so while the breaker tests, the action in flight is the only probe.

/// Where the breaker stands; the words of the field, with the reference architecture's beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// "healthy": calls pass; so many failed since the last success.
    Closed { failures: u32 },
    /// "halted": nothing passes until the timer or a person says so.
    Open,
    /// "testing": the next outcome decides.
    HalfOpen,
}

impl Breaker {
    pub const HEALTHY: Self = Self::Closed { failures: 0 };

    /// Failures since the last success, while it is closed.
    #[must_use]
    pub fn failures(self) -> u32 {
        match self {
            Self::Closed { failures } => failures,
            Self::Open | Self::HalfOpen => 0,
        }
    }

    /// A call succeeded. An open breaker let nothing through, so nothing that began before it opened closes it.
    pub fn success(&mut self) {
        if *self != Self::Open {
            *self = Self::HEALTHY;
        }
    }

    /// A call failed; true when this failure opened the breaker. `limit` failures in a row open it (0 counts
    /// as 1), a single one while it tests.
    pub fn failure(&mut self, limit: u32) -> bool {
        let failures = match *self {
            Self::Open => return false,
            Self::HalfOpen => limit,
            Self::Closed { failures } => failures.saturating_add(1),
        };
        let opens = failures >= limit;
        *self = if opens { Self::Open } else { Self::Closed { failures } };
        opens
    }

    /// The reset timer fired: one probe may pass.
    pub fn test(&mut self) {
        if *self == Self::Open {
            *self = Self::HalfOpen;
        }
    }

    /// A person answers for it.
    pub fn close(&mut self) {
        *self = Self::HEALTHY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(limit: u32, outcomes: &str) -> Breaker {
        let mut breaker = Breaker::HEALTHY;
        for outcome in outcomes.chars() {
            match outcome {
                's' => breaker.success(),
                'f' => {
                    let was = breaker;
                    let opened = breaker.failure(limit);
                    assert_eq!(opened, was != Breaker::Open && breaker == Breaker::Open);
                }
                't' => breaker.test(),
                'c' => breaker.close(),
                other => panic!("{other}"),
            }
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_and_four_do_not() {
        assert_eq!(after(5, "ffff"), Breaker::Closed { failures: 4 });
        assert_eq!(after(5, "fffff"), Breaker::Open);
        assert_eq!(after(5, "ffffsffff"), Breaker::Closed { failures: 4 });
        assert_eq!(after(1, "f"), Breaker::Open);
        assert_eq!(after(0, "f"), Breaker::Open);
    }

    #[test]
    fn one_probe_decides() {
        assert_eq!(after(5, "ffffft"), Breaker::HalfOpen);
        assert_eq!(after(5, "fffffts"), Breaker::HEALTHY);
        assert_eq!(after(5, "ffffftf"), Breaker::Open);
    }

    #[test]
    fn open_stays_open_but_for_the_timer_and_a_person() {
        assert_eq!(after(5, "fffffsf"), Breaker::Open);
        assert_eq!(after(5, "fffffc"), Breaker::HEALTHY);
        assert_eq!(after(5, "t"), Breaker::HEALTHY);
    }
}
