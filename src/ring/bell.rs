//! Waking a sleeping consumer, once per batch. The producer pays a fence and a load while the consumer is awake,
//! and a system call only when it sleeps.
//!
//! The order that loom accepts: the consumer announces its sleep by a swap, fences, looks once more, then sleeps;
//! the producer pushes, fences, then looks whether somebody sleeps. Announcing by a plain store loses wakes.

use std::fmt;
use std::time::Duration;

use super::sync::{Arc, AtomicBool, Bed, Ordering, fence};

/// How long a thread looks for work before it sleeps. Where threads share cores, looking steals the core from the
/// thread that would bring the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Looks with a pause instruction in between.
    pub spins: u32,
    /// Looks with the core offered to others in between.
    pub yields: u32,
}

impl Idle {
    /// For `threads` busy threads on `cores` cores.
    #[must_use]
    pub fn sharing(threads: usize, cores: usize) -> Self {
        if threads < cores { Self { spins: 200, yields: 8 } } else { Self { spins: 0, yields: 0 } }
    }
}

/// One consumer's bell; every producer that feeds it rings the same one.
pub struct Bell {
    asleep: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    /// A bell that calls `wake` when its consumer said that it sleeps. `wake` must keep a wake that comes before
    /// the sleep.
    #[must_use]
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { asleep: AtomicBool::new(false), wake: Box::new(wake) }
    }

    /// Called by a producer after it pushed a batch.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Called by the consumer before it sleeps: from here on a producer wakes it. Look for work once more between
    /// this call and the sleep, and say [`Bell::awake`] afterwards.
    pub fn announce_sleep(&self) {
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

/// The sleeping place of one plain thread, with its bell.
#[derive(Debug)]
pub struct Sleeper {
    bell: Arc<Bell>,
    bed: Bed,
    idle: Idle,
}

impl Sleeper {
    #[must_use]
    pub fn new(idle: Idle) -> Self {
        let bed = Bed::new();
        let knock = bed.knock();
        Self { bell: Arc::new(Bell::new(move || knock.wake())), bed, idle }
    }

    #[must_use]
    pub fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Spins, yields, then sleeps until the bell rings, `at_most` so long; returns at once when `ready` says that
    /// there is work.
    pub fn wait(&self, at_most: Duration, ready: impl Fn() -> bool) {
        for _ in 0..self.idle.spins {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..self.idle.yields {
            if ready() {
                return;
            }
            std::thread::yield_now();
        }
        self.bell.announce_sleep();
        if !ready() {
            self.bed.sleep(at_most);
        }
        self.bell.awake();
    }
}
