//! How much a channel may send. Pure: the time is given.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What a channel may send, at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// So many calls within each of these times.
    pub windows: Vec<(u32, Duration)>,
    /// Messages of a calendar month in UTC. Beyond them notices fail at once.
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

    pub fn sent(&mut self, calls: u32, messages: u32, now: Instant, month: u32) {
        let most = self.limit.windows.iter().map(|(calls, _)| *calls).max().unwrap_or_default();
        for _ in 0..calls.min(most) {
            self.sent.push_back(now);
        }
        while self.sent.len() > most as usize {
            self.sent.pop_front();
        }
        if self.month.0 != month {
            self.month = (month, 0);
        }
        self.month.1 = self.month.1.saturating_add(messages);
    }
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
            rate.sent(1, 3, now, 1);
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
        let now = Instant::now();
        rate.sent(1, 2, now, 7);
        assert!(rate.has_month(7));
        rate.sent(1, 2, now, 7);
        assert!(!rate.has_month(7) && rate.has_month(8));
        rate.sent(1, 1, now, 8);
        assert!(rate.has_month(8));
        assert!(Rate::new(RateLimit::slack()).has_month(1));
    }
}
