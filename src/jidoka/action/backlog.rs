//! Orders in the background of one target. Each is called until the target takes it, or its time is over. One that the target missed
//! waits for a time of its own, and holds up no other. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::queue::{Queue, Waiting};
use crate::limits::{ACTION_PAUSE, DELIVERY_PAUSE_MAX, TARGET_WAITING_BYTES_MAX, TARGET_WAITING_MAX};
use crate::net::retry::part;

#[derive(Default)]
pub struct BackgroundOrders {
    ready: Queue,
    /// Those that were missed, by when they may be called again.
    later: BTreeMap<(Instant, u64), Waiting>,
    later_bytes: usize,
    next: u64,
}

impl BackgroundOrders {
    pub fn len(&self) -> usize {
        self.ready.len() + self.later.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes one more. Returns who is turned away for it where there is no room.
    pub fn push(&mut self, waiting: Waiting) -> Vec<Waiting> {
        let bytes = self.later_bytes + waiting.bytes();
        if self.len() >= TARGET_WAITING_MAX && self.ready.is_empty() || bytes > TARGET_WAITING_BYTES_MAX {
            return vec![waiting];
        }
        self.ready.push(waiting)
    }

    /// One that was missed is called again at `at`, or later.
    pub fn later(&mut self, at: Instant, waiting: Waiting) {
        self.later_bytes += waiting.bytes();
        self.later.insert((at, self.next), waiting);
        self.next += 1;
    }

    /// The next that may be called now.
    pub fn pop(&mut self, now: Instant) -> Option<Waiting> {
        if let Some(entry) = self.later.first_entry()
            && entry.key().0 <= now
        {
            let waiting = entry.remove();
            self.later_bytes -= waiting.bytes();
            return Some(waiting);
        }
        self.ready.pop()
    }

    /// When the next may be called, if none may now.
    pub fn wakes(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether one may be called now.
    pub fn is_due(&self, now: Instant) -> bool {
        !self.ready.is_empty() || self.wakes().is_some_and(|at| at <= now)
    }
}

/// How long to wait after so many calls that missed. It doubles, and is drawn from its upper half, so that the receiver has peace.
pub fn pause(calls: u32, after: Option<Duration>, random: u64) -> Duration {
    let doubled = ACTION_PAUSE.saturating_mul(4 << calls.saturating_sub(1).min(16)).min(DELIVERY_PAUSE_MAX);
    (doubled / 2 + part(doubled / 2, random)).max(after.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::order;
    use super::super::tries::Tried;
    use super::*;
    use crate::clock;

    fn waiting(number: u64) -> Waiting {
        let order = order("page", number, r#"{"id":"s","tenant":"t","sku":"vm","type":"x"}"#);
        let until = Instant::now() + Duration::from_hours(1);
        Waiting { order, until, since: clock::now(), tried: Tried::default(), calls: 0 }
    }

    #[test]
    fn pauses_grow_to_minutes_and_a_receiver_may_ask_for_more() {
        let seconds = |calls| pause(calls, None, u64::MAX).as_secs();
        assert_eq!([1, 2, 3, 9, 60].map(seconds), [1, 2, 4, 256, 300]);
        assert_eq!(pause(60, None, 0), Duration::from_secs(150));
        assert_eq!(pause(1, Some(Duration::from_mins(9)), 0), Duration::from_mins(9));
    }

    #[test]
    fn what_was_missed_waits_for_its_time_and_holds_up_no_other() {
        let (mut backlog, now) = (BackgroundOrders::default(), Instant::now());
        let later = now + Duration::from_secs(9);
        backlog.later(later, waiting(1));
        assert!(backlog.push(waiting(2)).is_empty());
        let number = |waiting: Option<Waiting>| waiting.map(|waiting| waiting.order.intent.action.seq.0);
        assert!(backlog.is_due(now));
        assert_eq!(number(backlog.pop(now)), Some(2));
        assert!(!backlog.is_due(now));
        assert_eq!((number(backlog.pop(now)), backlog.wakes()), (None, Some(later)));
        assert_eq!(number(backlog.pop(later)), Some(1));
        assert!(backlog.is_empty());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let (mut backlog, now) = (BackgroundOrders::default(), Instant::now());
        for number in 0..TARGET_WAITING_MAX as u64 {
            backlog.later(now, waiting(number));
        }
        assert_eq!(backlog.push(waiting(0)).len(), 1);
    }
}
