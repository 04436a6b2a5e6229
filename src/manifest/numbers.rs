//! The numbers that a sender gives its signals (the CloudEvents extension `sequence`), and which of them are missing. They come in
//! any order, so a number is missing only when its hour is over. What is kept is bounded, whatever a sender writes.
//!
//! The numbers of a source are one row. A number goes on with the row where it fills a hole, or lies beyond the largest by
//! [`SEQUENCE_JUMP_MAX`] at most. Any other is set aside: it moves nothing, and is never told as missing within its hour. The row
//! begins anew with a 0 or 1 that came before, or where [`SEQUENCE_ANEW_AFTER`] numbers in a row were set aside. Either is told.

mod stored;

use std::collections::VecDeque;

use super::ranges::{self, NumberRange, is_sequence};
use crate::limits::{
    MANIFEST_GAPS_MAX, MANIFEST_RESTARTS_MAX, SEQUENCE_ANEW_AFTER, SEQUENCE_ASIDE_MAX, SEQUENCE_JUMP_MAX,
    SEQUENCE_LATE_MAX, SEQUENCE_RUNS_MAX,
};

/// A row that went on elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceRestart {
    /// The largest number that the row had.
    pub after: u64,
    /// The smallest with which it began anew.
    pub first: u64,
}

/// What an hour has to tell of the numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceFindings {
    /// Numbers that are missing: those of each row in order, at most [`MANIFEST_GAPS_MAX`].
    pub gaps: Vec<NumberRange>,
    /// Gaps beside them.
    pub more_gaps: u64,
    /// In their order, at most [`MANIFEST_RESTARTS_MAX`].
    pub restarts: Vec<SequenceRestart>,
    /// Restarts beside them.
    pub more_restarts: u64,
    /// Signals whose number was decided already: it came before, or was told as missing, or lies below the row.
    pub behind: u64,
    /// Signals whose number was too far beyond the largest to go on with the row.
    pub ahead: u64,
    /// The newest number of those.
    pub newest_ahead: Option<u64>,
}

/// The numbers of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceNumbers {
    /// Up to here it is decided what is missing.
    settled: Option<u64>,
    /// What came beyond it, in order; between two of them something is missing.
    runs: Vec<NumberRange>,
    /// What this hour tells so far.
    found: SequenceFindings,
    last_minute: Option<LastMinute>,
    /// The smallest number of the row, once something is settled. Rows of an older version have none.
    first: Option<u64>,
    /// The largest number of the row before this one, and that of all rows before it.
    before: Option<u64>,
    highest: Option<u64>,
    /// What earlier hours told as missing, as far as it did not come since; the oldest first.
    told: Vec<NumberRange>,
    /// What did not come as the largest, as it came: with a row that begins anew, some of it may be of the new one.
    aside: VecDeque<NumberRange>,
    /// Where the row may have gone: numbers that were set aside since it went on, at or below the largest, and beyond it.
    below: Streak,
    beyond: Streak,
}

/// When the last minute of the hour began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastMinute {
    /// The largest number then.
    largest: u64,
    /// How much of what is set aside came before.
    aside: usize,
}

/// Different numbers near one another that were set aside in a row: fewer than [`SEQUENCE_ANEW_AFTER`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Streak(Vec<u64>);

impl Streak {
    /// Adds a number. Where there are enough of them, they are a row.
    fn add(&mut self, number: u64) -> Option<Vec<u64>> {
        if self.0.contains(&number) {
            return None;
        }
        if self.0.last().is_some_and(|last| last.abs_diff(number) > SEQUENCE_JUMP_MAX) {
            self.0.clear();
        }
        self.0.push(number);
        (self.0.len() >= SEQUENCE_ANEW_AFTER).then(|| std::mem::take(&mut self.0))
    }
}

/// What a number is to the row.
enum Place {
    /// The row goes on.
    Largest,
    /// Below the largest, and not known yet.
    Hole,
    /// It was told as missing.
    Told,
    /// 0 or 1 that came before.
    Begin,
    /// It came before, or lies below the row.
    Below,
    /// Too far beyond the largest.
    Ahead,
}

impl SequenceNumbers {
    /// Takes a number in.
    pub fn insert(&mut self, number: u64) {
        if !is_sequence(number) {
            return;
        }
        if let Some(newest) = self.runs.last_mut()
            && newest.last + 1 == number
        {
            newest.last = number;
            self.go_on(number);
            return;
        }
        match self.place(number) {
            Place::Largest => {
                self.go_on(number);
                self.put(number);
            }
            Place::Hole => {
                self.set_aside(number);
                self.put(number);
            }
            Place::Told => {
                self.set_aside(number);
                self.found.behind += 1;
                // It may as well be the first after a gap.
                if self.largest().is_some_and(|largest| number > largest)
                    && let Some(row) = self.beyond.add(number)
                {
                    for number in row {
                        self.put(number);
                    }
                    self.go_on(number);
                }
            }
            Place::Begin => self.begin_anew(&[number]),
            Place::Below => {
                self.set_aside(number);
                self.found.behind += 1;
                if let Some(row) = self.below.add(number) {
                    self.begin_anew(&row);
                }
            }
            Place::Ahead => {
                self.set_aside(number);
                self.found.ahead += 1;
                self.found.newest_ahead = Some(number);
                if let Some(row) = self.beyond.add(number) {
                    self.begin_anew(&row);
                }
            }
        }
    }

    fn place(&mut self, number: u64) -> Place {
        let Some(largest) = self.largest() else { return Place::Largest };
        if number > largest {
            return match number - largest {
                1 => Place::Largest,
                _ if self.take_out(number) => Place::Told,
                ..=SEQUENCE_JUMP_MAX => Place::Largest,
                _ => Place::Ahead,
            };
        }
        let smallest =
            if self.settled.is_some() { self.first } else { self.runs.first().map(|run| run.first) };
        let is_known = self.settled.is_some_and(|settled| number <= settled)
            || self.runs.iter().any(|run| run.has(number));
        let was_told = self.take_out(number);
        let late = if self.before.is_some() { 0 } else { SEQUENCE_LATE_MAX };
        match is_known {
            true if was_told => Place::Told,
            true if number <= 1 && smallest.is_none_or(|smallest| smallest <= number) => Place::Begin,
            true => Place::Below,
            // Before a row that began anew is the row before.
            false if smallest.is_some_and(|smallest| number + late < smallest) => Place::Below,
            false => Place::Hole,
        }
    }

    fn largest(&self) -> Option<u64> {
        self.runs.last().map(|run| run.last).or(self.settled)
    }

    /// The row goes on, so what was set aside is none. What lies below the new number is of this one.
    fn go_on(&mut self, number: u64) {
        self.below.0.clear();
        if !self.beyond.0.is_empty() {
            let beyond = std::mem::take(&mut self.beyond.0);
            for beyond in beyond.into_iter().filter(|beyond| *beyond < number) {
                self.put(beyond);
            }
        }
    }

    fn put(&mut self, number: u64) {
        self.insert_between(number);
        if self.runs.len() > SEQUENCE_RUNS_MAX {
            self.settle_first();
        }
    }

    fn insert_between(&mut self, number: u64) {
        let at = self.runs.partition_point(|run| run.last < number);
        let (before, behind) = self.runs.split_at_mut(at);
        let before = before.last_mut().filter(|run| run.last + 1 == number);
        match (before, behind.first_mut()) {
            (_, Some(run)) if run.first <= number => {}
            (Some(before), Some(run)) if run.first == number + 1 => {
                before.last = run.last;
                self.runs.remove(at);
            }
            (Some(before), _) => before.last = number,
            (None, Some(run)) if run.first == number + 1 => run.first = number,
            (None, _) => self.runs.insert(at, NumberRange::one(number)),
        }
    }

    /// It came, so nobody is told that it is missing; whether it had been.
    fn take_out(&mut self, number: u64) -> bool {
        let SequenceFindings { gaps, more_gaps, .. } = &mut self.found;
        let is_missing = ranges::take_out(gaps, number);
        if gaps.len() > MANIFEST_GAPS_MAX {
            gaps.pop();
            *more_gaps = more_gaps.saturating_add(1);
        }
        let was_told = ranges::take_out(&mut self.told, number);
        self.bound_told();
        is_missing || was_told
    }

    fn bound_told(&mut self) {
        let more = self.told.len().saturating_sub(MANIFEST_GAPS_MAX);
        self.told.drain(..more);
    }

    fn set_aside(&mut self, number: u64) {
        // What came before the last minute is one run, and what came in it another.
        let begins = self.last_minute.is_some_and(|minute| minute.aside == self.aside.len());
        match self.aside.back_mut().filter(|run| run.last + 1 == number && !begins) {
            Some(run) => run.last = number,
            None => self.aside.push_back(NumberRange::one(number)),
        }
        if self.aside.len() > SEQUENCE_ASIDE_MAX {
            self.aside.pop_front();
            if let Some(minute) = &mut self.last_minute {
                minute.aside = minute.aside.saturating_sub(1);
            }
        }
    }

    /// From here on, what is missing is not told before the next hour ends.
    pub fn begin_last_minute(&mut self) {
        if self.last_minute.is_none() {
            let largest = self.largest().unwrap_or(0);
            self.last_minute = Some(LastMinute { largest, aside: self.aside.len() });
        }
    }

    /// The hour is over: what it has to tell.
    pub fn end_hour(&mut self) -> SequenceFindings {
        let minute = self.last_minute.take();
        let minute = minute.unwrap_or(LastMinute { largest: u64::MAX, aside: self.aside.len() });
        while self.runs.first().is_some_and(|run| run.first <= minute.largest) {
            self.settle_first();
        }
        // What lies beyond may fill a hole that the next hour tells.
        let (settled, mut at) = (self.settled, 0);
        self.aside.retain(|run| {
            at += 1;
            at > minute.aside || settled.is_none_or(|settled| run.last > settled)
        });
        let found = std::mem::take(&mut self.found);
        // Those of rows before this one are known for an hour.
        self.told.retain(|gap| self.settled.is_some_and(|settled| gap.last <= settled));
        self.told.extend_from_slice(&found.gaps);
        self.bound_told();
        found
    }

    fn begin_anew(&mut self, numbers: &[u64]) {
        let largest = self.largest();
        while !self.runs.is_empty() {
            self.settle_first();
        }
        if let (Some(after), Some(first)) = (largest, numbers.iter().min()) {
            self.tell_restart(SequenceRestart { after, first: *first });
        }
        (self.before, self.highest) = (largest, self.highest.max(largest));
        (self.settled, self.first) = (None, None);
        (self.below, self.beyond) = (Streak::default(), Streak::default());
        if let Some(minute) = &mut self.last_minute {
            // All of the new row is told with the next hour, and may have begun before the last minute.
            *minute = LastMinute { largest: 0, aside: 0 };
        }
        for number in numbers {
            self.put(*number);
        }
    }

    fn tell_restart(&mut self, restart: SequenceRestart) {
        let SequenceFindings { restarts, more_restarts, .. } = &mut self.found;
        if restarts.len() < MANIFEST_RESTARTS_MAX {
            restarts.push(restart);
        } else {
            *more_restarts = more_restarts.saturating_add(1);
        }
    }

    fn settle_first(&mut self) {
        let run = self.runs.remove(0);
        match self.settled {
            None => self.first = Some(run.first),
            Some(settled) if settled + 1 < run.first => {
                self.tell_gap(NumberRange { first: settled + 1, last: run.first - 1 });
            }
            Some(_) => {}
        }
        self.settled = Some(run.last);
    }

    /// Nothing came between two numbers of the row.
    fn tell_gap(&mut self, mut gap: NumberRange) {
        let before =
            [self.before, self.highest].into_iter().flatten().filter(|before| gap.has(*before)).max();
        if let Some(before) = before {
            // Behind it the row before may have gone on: what is missing in which of them is not known.
            self.tell_restart(SequenceRestart { after: gap.first - 1, first: gap.last + 1 });
            gap.first = before + 1;
        }
        if gap.first > gap.last {
            return;
        }
        for gap in ranges::without(gap, self.aside.iter()) {
            if self.found.gaps.len() < MANIFEST_GAPS_MAX {
                self.found.gaps.push(gap);
            } else {
                self.found.more_gaps = self.found.more_gaps.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests;
