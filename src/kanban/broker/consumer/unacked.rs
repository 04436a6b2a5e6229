//! The deliveries of one channel that are not acknowledged, in their order. Pure.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::kanban::broker::suspect::QUIET;
use crate::limits::ACK_AFTER;

/// What one channel delivered and is not yet acknowledged. The broker acknowledges up to a delivery, so the first that
/// is not durable holds back those after it.
#[derive(Debug)]
pub struct Unacked {
    /// By the broker's tag, which grows by one; true once it may be acknowledged.
    deliveries: VecDeque<(u64, bool)>,
    /// So many of them, from the first, may be acknowledged.
    ready: usize,
    /// Since when.
    ready_since: Option<Instant>,
    /// The last that was delivered before.
    redelivered: Option<u64>,
    /// Until when the broker may give more that was delivered before: it gives such ones first.
    more_until: Option<Instant>,
}

impl Unacked {
    /// Nothing was delivered yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let more_until = Some(now + QUIET);
        Self { deliveries: VecDeque::new(), ready: 0, ready_since: None, redelivered: None, more_until }
    }

    /// Takes in a delivery.
    pub fn add(&mut self, tag: u64, redelivered: bool, now: Instant) {
        self.more_until = redelivered.then(|| now + QUIET);
        if redelivered {
            self.redelivered = Some(tag);
        }
        self.deliveries.push_back((tag, false));
    }

    /// This one may be acknowledged.
    pub fn settle(&mut self, tag: u64) {
        // A channel numbers its deliveries one by one.
        let first = self.deliveries.front().map_or(tag, |(first, _)| *first);
        let at = usize::try_from(tag - first).unwrap_or(usize::MAX);
        if let Some((held, durable)) = self.deliveries.get_mut(at) {
            assert_eq!(*held, tag, "deliveries are numbered without a gap");
            *durable = true;
        }
    }

    /// The last of those to be acknowledged now, and how many they are: `many` at once, or whatever has waited for
    /// [`ACK_AFTER`]; with `at_once` whatever there is.
    pub fn take_ready(&mut self, now: Instant, many: usize, at_once: bool) -> Option<(u64, u64)> {
        while self.deliveries.get(self.ready).is_some_and(|(_, durable)| *durable) {
            self.ready += 1;
            self.ready_since.get_or_insert(now);
        }
        let waited = self.ready_since.is_some_and(|since| now.saturating_duration_since(since) >= ACK_AFTER);
        if self.ready < many && !waited && !at_once {
            return None;
        }
        let count = self.ready as u64;
        let (last, _) = self.deliveries.drain(..self.ready).next_back()?;
        (self.ready, self.ready_since) = (0, None);
        self.redelivered = self.redelivered.filter(|redelivered| *redelivered > last);
        Some((last, count))
    }

    /// Whether some may be acknowledged and wait for more.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.ready > 0
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Nothing that was delivered before is in hand, nor on its way here.
    #[must_use]
    pub fn is_calm(&self, now: Instant) -> bool {
        self.redelivered.is_none() && self.more_until.is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_that_is_not_durable_holds_back_those_after_it() {
        let now = Instant::now();
        let mut unacked = Unacked::new(now);
        (1..=4).for_each(|tag| unacked.add(tag, false, now));
        unacked.settle(2);
        assert_eq!(unacked.take_ready(now, 1, true), None);
        unacked.settle(1);
        assert_eq!(unacked.take_ready(now, 2, false), Some((2, 2)));
        unacked.settle(4);
        assert_eq!((unacked.take_ready(now, 1, true), unacked.len()), (None, 2));
        unacked.settle(3);
        assert_eq!(unacked.take_ready(now, 8, true), Some((4, 2)));
        assert!(unacked.is_empty());
    }

    #[test]
    fn few_wait_a_while_for_more() {
        let now = Instant::now();
        let mut unacked = Unacked::new(now);
        unacked.add(7, false, now);
        unacked.settle(7);
        assert!(!unacked.waits());
        assert_eq!(unacked.take_ready(now, 2, false), None);
        assert!(unacked.waits());
        assert_eq!(unacked.take_ready(now + ACK_AFTER, 2, false), Some((7, 1)));
        assert!(!unacked.waits());
        // The next one begins to wait anew.
        unacked.add(8, false, now);
        unacked.settle(8);
        assert_eq!(unacked.take_ready(now + ACK_AFTER * 2, 2, false), None);
    }

    #[test]
    fn calm_is_what_has_no_redelivered_message_in_hand_or_on_its_way() {
        let now = Instant::now();
        let mut unacked = Unacked::new(now);
        assert!(!unacked.is_calm(now), "some may come");
        assert!(unacked.is_calm(now + QUIET));
        let now = now + QUIET * 2;
        unacked.add(1, true, now);
        assert!(!unacked.is_calm(now + QUIET), "it is in hand");
        unacked.settle(1);
        assert_eq!(unacked.take_ready(now, 1, false), Some((1, 1)));
        assert!(!unacked.is_calm(now), "more may come");
        assert!(unacked.is_calm(now + QUIET));
        unacked.add(2, false, now);
        assert!(unacked.is_calm(now));
    }

    proptest! {
        #[test]
        fn nothing_is_acknowledged_that_is_not_durable(
            settled in prop::collection::vec(1u64..40, 0..80),
            at_once: bool,
        ) {
            let now = Instant::now();
            let mut unacked = Unacked::new(now);
            (1..40).for_each(|tag| unacked.add(tag, false, now));
            let (mut durable, mut through) = (std::collections::BTreeSet::new(), 0);
            for tag in settled {
                // What is acknowledged is settled no more.
                if tag > through && durable.insert(tag) {
                    unacked.settle(tag);
                }
                if let Some((last, count)) = unacked.take_ready(now, 3, at_once) {
                    prop_assert_eq!(last, through + count);
                    prop_assert!((1..=last).all(|tag| durable.contains(&tag)));
                    through = last;
                }
            }
        }
    }
}
