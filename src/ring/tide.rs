//! A mark that tasks wait for.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;

use super::Mark;

/// A number that grows: threads look at its mark, tasks wait until it has come far enough.
#[derive(Clone, Debug)]
pub struct Tide {
    mark: Mark,
    moved: Arc<Notify>,
}

impl Tide {
    #[must_use]
    pub fn of(mark: Mark) -> Self {
        Self { mark, moved: Arc::default() }
    }

    pub fn publish(&self, value: u64) {
        self.mark.publish(value);
        self.moved.notify_waiters();
    }

    #[must_use]
    pub fn read(&self) -> u64 {
        self.mark.read()
    }

    /// Waits until the number is at least `value`.
    pub async fn reaches(&self, value: u64) {
        loop {
            let mut moved = pin!(self.moved.notified());
            // Whatever is published from here on wakes.
            moved.as_mut().enable();
            if self.read() >= value {
                return;
            }
            moved.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_waits_is_woken_when_the_number_has_come_far_enough_and_not_before() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let tide = Tide::of(Mark::new(1));
        runtime.block_on(async {
            tide.reaches(1).await;
            tide.publish(2);
            let early = tokio::time::timeout(Duration::from_millis(20), tide.reaches(3)).await;
            assert!(early.is_err(), "it is at 2");
        });
        let other = tide.clone();
        let publisher = std::thread::spawn(move || (3..=1000).for_each(|value| other.publish(value)));
        runtime.block_on(async {
            for value in 3..=1000 {
                tide.reaches(value).await;
            }
        });
        publisher.join().unwrap();
    }
}
