//! Which of several processors takes from which partition. The broker gives a partition to one of those that stand in line
//! for it, and to the next when that one goes; so whoever dies is followed at once. Whoever has more than its share, since
//! another one has joined, gives a partition up, and stands in line for it again a while later, behind the others. Pure.

use tokio::time::Instant;

use crate::limits::GIVE_UP_WAIT;

/// What is being given up.
#[derive(Debug, Default)]
pub struct Rebalance {
    /// A partition from which nothing more is taken, and since when.
    leaving: Option<(u16, Instant)>,
    /// How many processors there were when they were counted last.
    processors: u64,
}

impl Rebalance {
    /// Notes how many processors there are. Returns whether the turn at a partition may have passed on.
    pub fn count(&mut self, processors: u64) -> bool {
        let before = std::mem::replace(&mut self.processors, processors);
        // The first look compares with nothing: who had the turn when this one joined may have taken that nudge and died.
        processors < before || before == 0
    }

    /// The partition to give up, where this node holds more than its share of `partitions`: the one with the least to do.
    /// One at a time.
    pub fn give_up(
        &mut self,
        held: Vec<u16>,
        partitions: usize,
        waiting: impl Fn(u16) -> u64,
        now: Instant,
    ) -> Option<u16> {
        let share = partitions.div_ceil(usize::try_from(self.processors.max(1)).unwrap_or(usize::MAX));
        if self.leaving.is_some() || held.len() <= share {
            return None;
        }
        let partition = held.into_iter().min_by_key(|partition| waiting(*partition))?;
        self.leaving = Some((partition, now));
        Some(partition)
    }

    /// The partition that is being given up.
    #[must_use]
    pub fn leaving(&self) -> Option<u16> {
        self.leaving.map(|(partition, _)| partition)
    }

    /// Whether it has been given up for so long that it will not end well.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.leaving.is_some_and(|(_, since)| now.saturating_duration_since(since) > GIVE_UP_WAIT)
    }

    /// It is given up.
    pub fn left(&mut self) {
        self.leaving = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_turn_may_have_passed_on_where_one_is_gone_and_at_the_first_look() {
        let mut rebalance = Rebalance::default();
        let looks = [(2, true), (2, false), (3, false), (1, true), (1, false)];
        for (at, (processors, passed_on)) in looks.into_iter().enumerate() {
            assert_eq!(rebalance.count(processors), passed_on, "look {at}");
        }
    }

    #[test]
    fn more_than_the_share_is_given_up_one_at_a_time_and_the_least_busy_first() {
        let now = Instant::now();
        let waiting = |partition: u16| [5, 0, 7][usize::from(partition)];
        let mut rebalance = Rebalance::default();
        rebalance.count(1);
        assert_eq!(rebalance.give_up(vec![0, 1, 2], 3, waiting, now), None);
        rebalance.count(3);
        assert_eq!(rebalance.give_up(vec![0, 1, 2], 3, waiting, now), Some(1));
        assert_eq!((rebalance.leaving(), rebalance.is_overdue(now)), (Some(1), false));
        assert!(rebalance.is_overdue(now + GIVE_UP_WAIT + Duration::from_millis(1)));
        assert_eq!(rebalance.give_up(vec![0, 1, 2], 3, waiting, now), None, "one at a time");
        rebalance.left();
        assert_eq!(rebalance.give_up(vec![0, 2], 3, waiting, now), Some(0));
        rebalance.left();
        assert_eq!(rebalance.give_up(vec![2], 3, waiting, now), None);
        // Of three, two processors have two and one.
        rebalance.count(2);
        assert_eq!(rebalance.give_up(vec![0, 2], 3, waiting, now), None);
    }
}
