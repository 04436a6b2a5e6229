//! Numbers and switches that one thread publishes and others look at: watermarks, drain orders.

use super::sync::{Arc, AtomicBool, AtomicU64, Ordering};

/// The newest value of a number that one thread publishes.
#[derive(Clone, Debug)]
pub struct Mark(Arc<AtomicU64>);

impl Mark {
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(Arc::new(AtomicU64::new(value)))
    }

    /// What was written before this call is visible to whoever reads the value.
    pub fn publish(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Off until somebody turns it on; never off again.
#[derive(Clone, Debug)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicBool::new(false)))
    }

    pub fn turn_on(&self) {
        self.0.store(true, Ordering::Release);
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}
