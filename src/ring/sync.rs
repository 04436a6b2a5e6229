//! The primitives, swapped for loom's when the memory model is explored.

#[cfg(not(loom))]
mod real {
    use std::time::Duration;

    pub(crate) use crossbeam::queue::ArrayQueue;
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

    /// Where one thread sleeps. A wake before the sleep is kept, so none is lost.
    #[derive(Debug)]
    pub(crate) struct Bed(crossbeam::sync::Parker);

    /// Wakes the thread that sleeps in a [`Bed`].
    #[derive(Clone, Debug)]
    pub(crate) struct Knock(crossbeam::sync::Unparker);

    impl Bed {
        pub(crate) fn new() -> Self {
            Self(crossbeam::sync::Parker::new())
        }
        pub(crate) fn knock(&self) -> Knock {
            Knock(self.0.unparker().clone())
        }
        pub(crate) fn sleep(&self, at_most: Duration) {
            self.0.park_timeout(at_most);
        }
    }

    impl Knock {
        pub(crate) fn wake(&self) {
            self.0.unpark();
        }
    }
}

/// loom knows neither crossbeam's queue nor a parker without false deadlocks: a queue of two counters and a token
/// under loom's own mutex stand in, with the same orderings as the real ones.
#[cfg(loom)]
mod real {
    use std::time::Duration;

    pub(crate) use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    pub(crate) struct ArrayQueue<T> {
        head: AtomicUsize,
        tail: AtomicUsize,
        slots: Vec<Mutex<Option<T>>>,
    }

    impl<T> ArrayQueue<T> {
        pub(crate) fn new(capacity: usize) -> Self {
            let slots = (0..capacity).map(|_| Mutex::new(None)).collect();
            Self { head: AtomicUsize::new(0), tail: AtomicUsize::new(0), slots }
        }
        pub(crate) fn push(&self, value: T) -> Result<(), T> {
            let tail = self.tail.load(Ordering::Relaxed);
            if tail - self.head.load(Ordering::Acquire) == self.slots.len() {
                return Err(value);
            }
            *self.slots[tail % self.slots.len()].lock().unwrap() = Some(value);
            self.tail.store(tail + 1, Ordering::Release);
            Ok(())
        }
        pub(crate) fn pop(&self) -> Option<T> {
            let head = self.head.load(Ordering::Relaxed);
            if head == self.tail.load(Ordering::Acquire) {
                return None;
            }
            let value = self.slots[head % self.slots.len()].lock().unwrap().take();
            self.head.store(head + 1, Ordering::Release);
            value
        }
        pub(crate) fn len(&self) -> usize {
            self.tail.load(Ordering::Acquire) - self.head.load(Ordering::Acquire)
        }
        pub(crate) fn capacity(&self) -> usize {
            self.slots.len()
        }
    }

    #[derive(Debug)]
    pub(crate) struct Bed(Arc<(Mutex<bool>, Condvar)>);

    #[derive(Clone, Debug)]
    pub(crate) struct Knock(Arc<(Mutex<bool>, Condvar)>);

    impl Bed {
        pub(crate) fn new() -> Self {
            Self(Arc::new((Mutex::new(false), Condvar::new())))
        }
        pub(crate) fn knock(&self) -> Knock {
            Knock(self.0.clone())
        }
        pub(crate) fn sleep(&self, _at_most: Duration) {
            let mut token = self.0.0.lock().unwrap();
            while !*token {
                token = self.0.1.wait(token).unwrap();
            }
            *token = false;
        }
    }

    impl Knock {
        pub(crate) fn wake(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }
    }
}

pub(crate) use real::*;
