//! How much a channel may send. Pure: the time is given.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Datelike as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::event::UnixMillis;

/// What a channel may send, at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// So many calls within each of these times.
    pub windows: Vec<(u32, Duration)>,
    /// Messages of a calendar month in UTC. Beyond them notices fail at once. What a channel with such a bound sends is kept over a
    /// restart.
    pub month_max: Option<u32>,
}

impl RateLimit {
    /// One a second, as Slack asks for.
    #[must_use]
    pub fn slack() -> Self {
        Self { windows: vec![(1, Duration::from_secs(1))], month_max: None }
    }

    /// What a person can read, and what no carrier takes for spam.
    #[must_use]
    pub fn sms(month_max: u32) -> Self {
        let windows = [(1, 1), (5, 15), (11, 60), (21, 180)];
        let windows = windows.map(|(calls, minutes)| (calls, Duration::from_mins(minutes))).to_vec();
        Self { windows, month_max: Some(month_max) }
    }
}

/// What a channel has sent.
#[derive(Debug, Default)]
pub struct Rate {
    limit: RateLimit,
    sent: VecDeque<Instant>,
    /// A calendar month and the messages of it.
    month: (u32, u32),
}

impl Rate {
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// A different limit holds from here on.
    pub fn limit(&mut self, limit: RateLimit) {
        self.limit = limit;
    }

    /// When the next call may be made; `None`: now.
    pub fn free_at(&self, now: Instant) -> Option<Instant> {
        let ends = self.limit.windows.iter().filter_map(|(calls, span)| {
            let first = self.sent.len().checked_sub(*calls as usize)?;
            self.sent.get(first).map(|sent| *sent + *span)
        });
        ends.max().filter(|end| *end > now)
    }

    /// Whether this month has messages left.
    pub fn has_month(&self, month: u32) -> bool {
        let used = if self.month.0 == month { self.month.1 } else { 0 };
        self.limit.month_max.is_none_or(|most| used < most)
    }

    /// A call is made.
    pub fn call(&mut self, now: Instant) {
        self.sent.push_back(now);
        self.forget();
    }

    /// A message is sent; whether there was one left.
    pub fn message(&mut self, month: u32) -> bool {
        if !self.has_month(month) {
            return false;
        }
        if self.month.0 != month {
            self.month = (month, 0);
        }
        self.month.1 = self.month.1.saturating_add(1);
        true
    }

    /// The message was not sent.
    pub fn unsent(&mut self) {
        self.month.1 = self.month.1.saturating_sub(1);
    }

    /// What is kept for the next process, in the journal's time.
    pub fn sent(&self, now: Instant, time: UnixMillis) -> Sent {
        let before = |at: &Instant| {
            let ago = now.saturating_duration_since(*at);
            time.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
        };
        Sent { month: self.month.0, messages: self.month.1, calls_ms: self.sent.iter().map(before).collect() }
    }

    /// What the last process sent counts, too. What it sent after the time that it is now was sent now.
    pub fn restore(&mut self, sent: &Sent, now: Instant, time: UnixMillis) {
        self.month = (sent.month, sent.messages);
        let at = |ms: &u64| {
            let ago = Duration::from_millis(time.0.saturating_sub(*ms));
            // Longer ago than the machine is up: no window goes back that far, or it was just before.
            now.checked_sub(ago).unwrap_or(now)
        };
        let mut calls: Vec<Instant> = sent.calls_ms.iter().map(at).chain(self.sent.drain(..)).collect();
        calls.sort_unstable();
        self.sent.extend(calls);
        self.forget();
    }

    fn forget(&mut self) {
        let most = self.limit.windows.iter().map(|(calls, _)| *calls).max().unwrap_or_default();
        while self.sent.len() > most as usize {
            self.sent.pop_front();
        }
    }
}

/// What a channel has sent, as it is kept. Names of fields never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// A calendar month in UTC, counted from the year 0.
    pub month: u32,
    pub messages: u32,
    /// When the last calls were made, by the journal's time in milliseconds since 1970.
    pub calls_ms: Vec<u64>,
}

/// The calendar month in UTC.
#[must_use]
pub fn month(time: UnixMillis) -> u32 {
    let time = i64::try_from(time.0).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    time.year().unsigned_abs() * 12 + time.month0()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_of_text_messages_holds_in_every_window() {
        let mut rate = Rate::new(RateLimit::sms(1000));
        let begin = Instant::now();
        let (mut now, mut sent) = (begin, Vec::new());
        while now < begin + Duration::from_hours(9) {
            if let Some(free) = rate.free_at(now) {
                now = free;
            }
            rate.call(now);
            sent.push(now);
        }
        for (most, minutes) in [(1, 1), (5, 15), (11, 60), (21, 180)] {
            let span = Duration::from_mins(minutes);
            for from in &sent {
                let within = sent.iter().filter(|at| *at >= from && **at < *from + span).count();
                assert!(within <= most, "{within} in {minutes} minutes");
            }
        }
        let in_first = sent.iter().filter(|at| **at < begin + Duration::from_hours(3)).count();
        assert_eq!(in_first, 21, "the ladder is used in full");
    }

    #[test]
    fn a_month_has_an_end_and_a_beginning() {
        let mut rate = Rate::new(RateLimit { windows: Vec::new(), month_max: Some(3) });
        assert!(rate.message(7) && rate.message(7) && rate.message(7));
        assert!(!rate.message(7) && !rate.has_month(7) && rate.has_month(8));
        rate.unsent();
        assert!(rate.message(7) && !rate.message(7));
        assert!(rate.message(8) && rate.has_month(8));
        assert!(Rate::new(RateLimit::slack()).has_month(1));
    }

    #[test]
    fn what_was_sent_before_a_restart_counts() {
        let (now, time) = (Instant::now(), UnixMillis(1_800_000_000_000));
        let mut before = Rate::new(RateLimit::sms(2));
        assert!(before.message(7));
        before.call(now);
        let minute = Duration::from_mins(1);
        let kept = before.sent(now + minute / 3, UnixMillis(time.0 + 20_000));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(text, r#"{"month":7,"messages":1,"calls_ms":[1800000000000]}"#);
        // The next process begins forty seconds after the call, or before it by its clock.
        for (after, left) in [(40_000, minute / 3), (0, minute), (60_000, Duration::ZERO)] {
            let mut rate = Rate::new(RateLimit::sms(2));
            rate.restore(&kept, now, UnixMillis(time.0 + after));
            assert_eq!(rate.free_at(now).map_or(Duration::ZERO, |free| free - now), left);
            assert!(rate.message(7) && !rate.message(7));
        }
        let mut rate = Rate::new(RateLimit::sms(2));
        rate.restore(&kept, now, UnixMillis(time.0 - 5_000));
        assert_eq!(rate.free_at(now), Some(now + minute));
    }
}
