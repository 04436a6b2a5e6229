//! A bounded lane with one producer and one consumer. A full lane gives the value back (promise P5): nothing here
//! grows.

use super::bell::Bell;
use super::sync::{Arc, ArrayQueue};

/// The lane is full; here is the value back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// The producer's end.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    bell: Arc<Bell>,
}

/// The consumer's end.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<ArrayQueue<T>>,
}

/// A lane of `capacity` places whose consumer is woken by `bell`.
#[must_use]
pub fn lane<T>(capacity: usize, bell: Arc<Bell>) -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Sender { queue: Arc::clone(&queue), bell }, Receiver { queue })
}

impl<T> Sender<T> {
    /// Puts a value in; [`Sender::ring`] after the last of a batch.
    ///
    /// # Errors
    /// [`Full`] with the value.
    pub fn push(&mut self, value: T) -> Result<(), Full<T>> {
        self.queue.push(value).map_err(Full)
    }

    /// Wakes the consumer if it sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Values that wait in the lane now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.queue.len()
    }

    /// Free places. Only the consumer changes it in between, and only upwards.
    #[must_use]
    pub fn room(&self) -> usize {
        self.queue.capacity() - self.queue.len()
    }

    /// A second view of the depth, for measurement.
    pub fn gauge(&self) -> impl Fn() -> usize + Send + Sync + 'static
    where
        T: Send + 'static,
    {
        let queue = Arc::clone(&self.queue);
        move || queue.len()
    }
}

impl<T> Receiver<T> {
    pub fn pop(&mut self) -> Option<T> {
        self.queue.pop()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.len() == 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ring::{Idle, Sleeper};

    #[test]
    fn full_lane_gives_the_value_back() {
        let sleeper = Sleeper::new(Idle { spins: 0, yields: 0 });
        let (mut sender, mut receiver) = lane(2, sleeper.bell());
        sender.push(1).unwrap();
        sender.push(2).unwrap();
        assert_eq!(sender.push(3), Err(Full(3)));
        assert_eq!(receiver.pop(), Some(1));
        sender.push(3).unwrap();
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(2), Some(3), None));
    }

    #[test]
    fn every_value_arrives_once_and_in_order_through_a_sleeping_consumer() {
        const COUNT: u32 = 100_000;
        let sleeper = Sleeper::new(Idle { spins: 0, yields: 0 });
        let (mut sender, mut receiver) = lane(64, sleeper.bell());
        let producer = std::thread::spawn(move || {
            for value in 0..COUNT {
                let mut value = value;
                while let Err(Full(back)) = sender.push(value) {
                    value = back;
                    sender.ring();
                    std::thread::yield_now();
                }
                if value % 7 == 0 {
                    sender.ring();
                }
            }
            sender.ring();
        });
        let mut expected = 0;
        while expected < COUNT {
            match receiver.pop() {
                Some(value) => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                None => sleeper.wait(Duration::from_millis(100), || !receiver.is_empty()),
            }
        }
        producer.join().unwrap();
    }
}
