//! A target's breaker with its clock (promise P7): calls that fail in a row shut the gate, after a while one probe may
//! pass, and only the probe decides. Pure: time and randomness are given.
//!
//! A call is an action with all its tries. A single try that fails is no reason to halt a target: the tries that follow
//! are there to bridge it. Calls that began before the gate last moved do not move it again.

use std::time::Duration;

use tokio::time::Instant;

use super::super::breaker::Breaker;
use crate::net::retry::part;

/// When a gate shuts, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Failures in a row.
    pub failures: u32,
    pub reset: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct Gate {
    bounds: Bounds,
    breaker: Breaker,
    /// When the next probe may pass, of a shut gate.
    probe_at: Instant,
    /// Counts the gate's moves.
    era: u64,
}

/// Leave to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    era: u64,
    /// Its outcome decides: one try is enough.
    pub probe: bool,
}

/// Why there is no leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The next probe may pass in this time.
    For(Duration),
    /// A probe is under way.
    Testing,
}

impl Gate {
    pub fn new(bounds: Bounds, now: Instant) -> Self {
        Self { bounds, breaker: Breaker::HEALTHY, probe_at: now, era: 0 }
    }

    /// Other bounds hold from here on; a gate that is shut stays so until its time.
    pub fn rebound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Whether a call would pass.
    pub fn look(&self, now: Instant) -> Result<(), Shut> {
        match self.breaker {
            Breaker::Closed { .. } => Ok(()),
            Breaker::Open if now >= self.probe_at => Ok(()),
            Breaker::Open => Err(Shut::For(self.probe_at - now)),
            Breaker::HalfOpen => Err(Shut::Testing),
        }
    }

    /// Lets a call pass; through a gate that was shut long enough, as its probe.
    pub fn enter(&mut self, now: Instant) -> Result<Pass, Shut> {
        self.look(now)?;
        let probe = self.breaker == Breaker::Open;
        if probe {
            self.breaker.test();
            self.era += 1;
        }
        Ok(Pass { era: self.era, probe })
    }

    /// A call ended; true when that shut the gate. The reset is up to a tenth longer, so that the nodes which
    /// saw a target fail together do not probe it together.
    pub fn leave(&mut self, pass: Pass, succeeded: bool, now: Instant, random: u64) -> bool {
        if !self.holds(pass) {
            return false;
        }
        if succeeded {
            self.breaker.success();
            self.era += u64::from(pass.probe);
            return false;
        }
        let shut = self.breaker.failure(self.bounds.failures);
        if shut {
            self.era += 1;
            self.probe_at = now + self.bounds.reset + part(self.bounds.reset / 10, random);
        }
        shut
    }

    /// Whether the gate has not moved since.
    pub fn holds(&self, pass: Pass) -> bool {
        self.era == pass.era
    }

    /// Where it stands: 0 healthy, 1 testing or ready to, 2 halted.
    pub fn state(&self, now: Instant) -> u8 {
        match (self.breaker, self.look(now)) {
            (Breaker::Closed { .. }, _) => 0,
            (_, Err(Shut::For(_))) => 2,
            _ => 1,
        }
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { failures: 5, reset: Duration::from_mins(1) };

    fn shut(at: Instant) -> Gate {
        let mut gate = Gate::new(BOUNDS, at);
        for number in 1..=5 {
            let pass = gate.enter(at).unwrap();
            assert_eq!(gate.leave(pass, false, at, 0), number == 5);
        }
        gate
    }

    #[test]
    fn five_failures_in_a_row_shut_it_and_one_probe_opens_it() {
        let at = Instant::now();
        let mut gate = shut(at);
        assert_eq!((gate.enter(at), gate.state(at)), (Err(Shut::For(BOUNDS.reset)), 2));
        let later = at + BOUNDS.reset;
        let probe = gate.enter(later).unwrap();
        assert!(probe.probe);
        assert_eq!((gate.enter(later), gate.state(later)), (Err(Shut::Testing), 1));
        assert!(!gate.leave(probe, true, later, 0));
        assert_eq!((gate.look(later), gate.state(later)), (Ok(()), 0));
        assert!(!gate.enter(later).unwrap().probe);
    }

    #[test]
    fn a_probe_that_fails_shuts_it_again() {
        let at = Instant::now();
        let mut gate = shut(at);
        let later = at + BOUNDS.reset;
        let probe = gate.enter(later).unwrap();
        assert!(gate.leave(probe, false, later, 0));
        assert_eq!(gate.look(later), Err(Shut::For(BOUNDS.reset)));
    }

    #[test]
    fn calls_from_before_decide_nothing() {
        let at = Instant::now();
        let mut gate = Gate::new(BOUNDS, at);
        let old: Vec<Pass> = (0..8).map(|_| gate.enter(at).unwrap()).collect();
        for pass in &old[..5] {
            gate.leave(*pass, false, at, 0);
        }
        assert!(!gate.holds(old[7]));
        assert!(!gate.leave(old[5], true, at, 0), "late success");
        assert_eq!(gate.look(at), Err(Shut::For(BOUNDS.reset)));
        let later = at + BOUNDS.reset;
        let probe = gate.enter(later).unwrap();
        gate.leave(old[6], true, later, 0);
        assert_eq!(gate.look(later), Err(Shut::Testing), "only the probe decides");
        gate.leave(probe, true, later, 0);
        assert!(!gate.leave(old[7], false, later, 0));
        assert_eq!(gate.state(later), 0);
    }

    #[test]
    fn successes_in_between_keep_it_open() {
        let at = Instant::now();
        let mut gate = Gate::new(BOUNDS, at);
        for _ in 0..10 {
            for succeeded in [false, false, false, false, true] {
                let pass = gate.enter(at).unwrap();
                assert!(!gate.leave(pass, succeeded, at, 0));
            }
        }
    }

    #[test]
    fn the_reset_is_at_most_a_tenth_longer() {
        let at = Instant::now();
        for random in [0, 1, 5_999, 6_000, u64::MAX] {
            let mut gate = Gate::new(Bounds { failures: 1, ..BOUNDS }, at);
            let pass = gate.enter(at).unwrap();
            assert!(gate.leave(pass, false, at, random));
            assert!(gate.look(at + Duration::from_secs(59)).is_err());
            assert_eq!(gate.look(at + Duration::from_secs(66)), Ok(()));
        }
    }
}
