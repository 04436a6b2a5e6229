//! A lane that is also full when what is in it weighs too much: places alone do not bound bytes.

use super::bell::Bell;
use super::lane::{Full, Receiver, Sender, lane};
use super::mark::Mark;
use super::sync::Arc;

/// What a lane can weigh.
pub trait Weigh {
    /// In bytes.
    fn weight(&self) -> usize;
}

/// The producer's end.
#[derive(Debug)]
pub struct WeighedSender<T> {
    lane: Sender<T>,
    most: u64,
    /// Weight of everything that was ever pushed.
    pushed: u64,
    /// Weight of everything that was ever taken.
    taken: Mark,
}

/// The consumer's end.
#[derive(Debug)]
pub struct WeighedReceiver<T> {
    lane: Receiver<T>,
    took: u64,
    taken: Mark,
}

/// A lane of `capacity` places that takes nothing more while `most` bytes are in it.
#[must_use]
pub fn weighed_lane<T: Weigh>(
    capacity: usize,
    most: usize,
    bell: Arc<Bell>,
) -> (WeighedSender<T>, WeighedReceiver<T>) {
    let (sender, receiver) = lane(capacity, bell);
    let taken = Mark::new(0);
    let sender = WeighedSender { lane: sender, most: most as u64, pushed: 0, taken: taken.clone() };
    (sender, WeighedReceiver { lane: receiver, took: 0, taken })
}

impl<T: Weigh> WeighedSender<T> {
    /// Puts a value in; [`WeighedSender::ring`] after the last of a batch.
    ///
    /// # Errors
    /// [`Full`] with the value.
    pub fn push(&mut self, value: T) -> Result<(), Full<T>> {
        if self.pushed - self.taken.read() >= self.most {
            return Err(Full(value));
        }
        let weight = value.weight() as u64;
        self.lane.push(value)?;
        self.pushed += weight;
        Ok(())
    }

    /// Wakes the consumer if it sleeps.
    pub fn ring(&self) {
        self.lane.ring();
    }

    /// Values that wait in the lane, for measurement.
    pub fn gauge(&self) -> impl Fn() -> usize + Send + Sync + 'static
    where
        T: Send + 'static,
    {
        self.lane.gauge()
    }
}

impl<T: Weigh> WeighedReceiver<T> {
    pub fn pop(&mut self) -> Option<T> {
        let value = self.lane.pop()?;
        self.took += value.weight() as u64;
        self.taken.publish(self.took);
        Some(value)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lane.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[test]
    fn a_lane_is_full_by_weight_or_by_places() {
        let (mut sender, mut receiver) = weighed_lane(3, 100, Arc::new(Bell::new(|| {})));
        assert_eq!(sender.push(99), Ok(()));
        assert_eq!(sender.push(1000), Ok(()), "one may come on top");
        assert_eq!(sender.push(1), Err(Full(1)));
        assert_eq!(receiver.pop(), Some(99));
        assert_eq!(sender.push(1), Err(Full(1)));
        assert_eq!(receiver.pop(), Some(1000));
        assert!((0..3).all(|_| sender.push(1).is_ok()));
        assert_eq!(sender.push(0), Err(Full(0)), "no place is left");
    }
}
