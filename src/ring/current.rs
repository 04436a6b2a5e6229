//! A value that is replaced seldom and read all the time: of the one who reads it, a look costs one load of a number that does
//! not change.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use super::mark::Mark;

/// The value that holds. Cheap to clone, for all who read it.
#[derive(Debug)]
pub struct Current<T: ?Sized> {
    /// How often it was replaced.
    version: Mark,
    value: Arc<Mutex<Arc<T>>>,
}

impl<T: ?Sized> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self { version: self.version.clone(), value: Arc::clone(&self.value) }
    }
}

impl<T: ?Sized> Current<T> {
    #[must_use]
    pub fn new(value: Arc<T>) -> Self {
        Self { version: Mark::new(0), value: Arc::new(Mutex::new(value)) }
    }

    /// The value, and how often it was replaced.
    fn read(&self) -> (u64, Arc<T>) {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version.read(), Arc::clone(&value))
    }

    #[must_use]
    pub fn get(&self) -> Arc<T> {
        self.read().1
    }

    /// Whoever looks from here on sees `value`.
    pub fn replace(&self, value: Arc<T>) {
        let mut held = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *held = value;
        // Under the lock, so that a version always comes with its own value.
        self.version.add(1);
    }

    /// Tells one thread when another value holds.
    #[must_use]
    pub fn updates(&self) -> Updates<T> {
        Updates { current: self.clone(), seen: Cell::new(u64::MAX) }
    }
}

/// What one thread has seen of a [`Current`] value.
#[derive(Debug)]
pub struct Updates<T: ?Sized> {
    current: Current<T>,
    /// The version that it has taken; none at first.
    seen: Cell<u64>,
}

impl<T: ?Sized> Updates<T> {
    /// The value that holds now, if it was not taken before.
    pub fn take(&self) -> Option<Arc<T>> {
        if self.current.version.read() == self.seen.get() {
            return None;
        }
        let (version, value) = self.current.read();
        self.seen.set(version);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_taken_once_by_whoever_looks() {
        let current = Current::new(Arc::new(1));
        let updates = current.updates();
        assert_eq!(updates.take().as_deref(), Some(&1), "the first is new to whoever begins");
        assert_eq!(updates.take(), None);
        current.replace(Arc::new(2));
        current.replace(Arc::new(3));
        assert_eq!((updates.take().as_deref(), updates.take()), (Some(&3), None));
        assert_eq!((*current.get(), current.updates().take().as_deref()), (3, Some(&3)));
    }

    #[test]
    fn no_value_is_taken_for_an_older_one() {
        let current = Current::new(Arc::new(0u64));
        let writer = current.clone();
        let writing = std::thread::spawn(move || (1..=10_000).for_each(|n| writer.replace(Arc::new(n))));
        let updates = current.updates();
        let mut last = None;
        while last != Some(10_000) {
            let Some(value) = updates.take() else { continue };
            assert!(last < Some(*value), "{value} after {last:?}");
            assert_eq!(updates.seen.get(), *value, "a version comes with its own value");
            last = Some(*value);
        }
        writing.join().unwrap();
    }
}
