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

    /// Adds to what is published; only the one thread that publishes may.
    pub fn add(&self, more: u64) {
        self.publish(self.read() + more);
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

/// How many of something are open: whoever opens one holds a [`Seat`] of it.
#[derive(Clone, Debug)]
pub struct Occupancy(Arc<AtomicU64>);

impl Occupancy {
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// One more, until the seat is dropped.
    #[must_use]
    pub fn enter(&self) -> Seat {
        self.0.fetch_add(1, Ordering::Relaxed);
        Seat(Arc::clone(&self.0))
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Default for Occupancy {
    fn default() -> Self {
        Self::new()
    }
}

/// One of an [`Occupancy`].
#[derive(Debug)]
pub struct Seat(Arc<AtomicU64>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}
