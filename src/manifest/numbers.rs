//! The numbers that a sender gives its signals (the CloudEvents extension `sequence`), and which of them are missing. They come in
//! any order, so a number is missing only when its hour is over. What is kept is bounded, whatever a sender writes.

use crate::codec::Reader;
use crate::limits::{MANIFEST_GAPS_MAX, SEQUENCE_MAX, SEQUENCE_RUNS_MAX};

/// Numbers from the first to the last, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberRange {
    pub first: u64,
    pub last: u64,
}

/// Numbers that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceGaps {
    /// The smallest first, at most [`MANIFEST_GAPS_MAX`].
    pub gaps: Vec<NumberRange>,
    /// Gaps beside them.
    pub more: u64,
}

/// The numbers of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceNumbers {
    /// Up to here it is decided what is missing.
    settled: Option<u64>,
    /// What came beyond it, in order; between two of them something is missing.
    runs: Vec<NumberRange>,
    missing: SequenceGaps,
    /// The largest number when the last minute of the hour began.
    early: Option<u64>,
}

/// Whether a sender's number is one that is looked at: a receipt can show it.
#[must_use]
pub fn is_sequence(number: u64) -> bool {
    number <= SEQUENCE_MAX
}

impl SequenceNumbers {
    /// One that is known already changes nothing. 0 or 1 that comes again is a sender that begins anew.
    pub fn insert(&mut self, number: u64) {
        if number <= 1 && self.has(number) {
            self.begin_anew();
        }
        if !is_sequence(number) || self.is_settled(number) {
            return;
        }
        if let Some(newest) = self.runs.last_mut()
            && newest.last + 1 == number
        {
            newest.last = number;
            return;
        }
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
            (None, _) => self.runs.insert(at, NumberRange { first: number, last: number }),
        }
    }

    /// From here on, what is missing is not told before the next hour ends.
    pub fn begin_last_minute(&mut self) {
        if self.early.is_none() {
            let largest = self.runs.last().map(|run| run.last).or(self.settled);
            self.early = Some(largest.unwrap_or(0));
        }
    }

    /// The hour is over: what is missing.
    pub fn end_hour(&mut self) -> SequenceGaps {
        let until = self.early.take().unwrap_or(u64::MAX);
        while self.runs.first().is_some_and(|run| run.first <= until) {
            self.settle_first();
        }
        std::mem::take(&mut self.missing)
    }

    fn is_settled(&self, number: u64) -> bool {
        self.settled.is_some_and(|settled| number <= settled)
    }

    fn has(&self, number: u64) -> bool {
        self.is_settled(number) || self.runs.iter().any(|run| (run.first..=run.last).contains(&number))
    }

    fn begin_anew(&mut self) {
        while !self.runs.is_empty() {
            self.settle_first();
        }
        self.settled = None;
        self.early = self.early.map(|_| 0);
    }

    fn settle_first(&mut self) {
        let run = self.runs.remove(0);
        if let Some(first) = self.settled.map(|settled| settled + 1)
            && first < run.first
        {
            if self.missing.gaps.len() < MANIFEST_GAPS_MAX {
                self.missing.gaps.push(NumberRange { first, last: run.first - 1 });
            } else {
                self.missing.more = self.missing.more.saturating_add(1);
            }
        }
        self.settled = Some(run.last);
    }

    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { settled, runs, missing, early } = self;
        // No number is as large as the one that says that there is none.
        for number in [settled.unwrap_or(u64::MAX), early.unwrap_or(u64::MAX), missing.more] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for ranges in [runs, &missing.gaps] {
            let count = u8::try_from(ranges.len()).unwrap_or_else(|_| unreachable!("they are bounded"));
            out.push(count);
            for NumberRange { first, last } in ranges {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&last.to_le_bytes());
            }
        }
    }

    /// Reads the stored form; `None` where the bytes are not one of this version.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let number = |reader: &mut Reader<'_>| match reader.u64()? {
            u64::MAX => Some(None),
            number => is_sequence(number).then_some(Some(number)),
        };
        let (settled, early, more) = (number(reader)?, number(reader)?, reader.u64()?);
        let runs = ranges(reader, SEQUENCE_RUNS_MAX)?;
        let gaps = ranges(reader, MANIFEST_GAPS_MAX)?;
        let is_beyond = |settled: u64| runs.first().is_none_or(|run| settled < run.first);
        let ordered = runs.is_sorted_by(|one, next| one.last + 1 < next.first);
        (ordered && settled.is_none_or(is_beyond)).then_some(())?;
        Some(Self { settled, runs, missing: SequenceGaps { gaps, more }, early })
    }
}

fn ranges(reader: &mut Reader<'_>, most: usize) -> Option<Vec<NumberRange>> {
    let count = usize::from(reader.u8()?);
    let range = |_| {
        let (first, last) = (reader.u64()?, reader.u64()?);
        (first <= last && is_sequence(last)).then_some(NumberRange { first, last })
    };
    if count > most { None } else { (0..count).map(range).collect() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn after(numbers: impl IntoIterator<Item = u64>) -> SequenceNumbers {
        let mut all = SequenceNumbers::default();
        numbers.into_iter().for_each(|number| all.insert(number));
        all
    }

    fn missing(numbers: &SequenceNumbers) -> Vec<(u64, u64)> {
        numbers.clone().end_hour().gaps.iter().map(|gap| (gap.first, gap.last)).collect()
    }

    #[test]
    fn what_is_missing_lies_between_the_smallest_and_the_largest() {
        type Row<'a> = (&'a [u64], &'a [(u64, u64)]);
        let table: [Row<'_>; 8] = [
            (&[], &[]),
            (&[5], &[]),
            (&[5, 6, 7], &[]),
            (&[7, 5, 6], &[]),
            (&[5, 9, 6], &[(7, 8)]),
            (&[9, 5, 7, 7], &[(6, 6), (8, 8)]),
            (&[2, 3, 1, 0], &[]),
            (&[u64::MAX, 5, SEQUENCE_MAX + 1, 7], &[(6, 6)]),
        ];
        for (numbers, expected) in table {
            assert_eq!(missing(&after(numbers.iter().copied())), expected, "{numbers:?}");
        }
    }

    #[test]
    fn an_hour_goes_on_where_the_one_before_ended() {
        let mut numbers = after([1, 2, 4]);
        assert_eq!(missing(&numbers), [(3, 3)]);
        assert_eq!(numbers.end_hour().gaps.len(), 1);
        assert_eq!(numbers.end_hour().gaps, [], "it is told once");
        numbers.insert(3);
        numbers.insert(7);
        assert_eq!(missing(&numbers), [(5, 6)]);
    }

    #[test]
    fn a_sender_that_begins_anew_misses_nothing_before_it() {
        let mut numbers = after([1, 2, 4, 1, 2, 3]);
        assert_eq!(missing(&numbers), [(3, 3)], "of what it sent first");
        numbers.end_hour();
        numbers.insert(1);
        numbers.insert(3);
        assert_eq!(missing(&numbers), [(2, 2)]);
    }

    #[test]
    fn more_holes_than_are_kept_are_told_although_they_may_be_filled() {
        let holes = SEQUENCE_RUNS_MAX as u64 + 9;
        let mut numbers = after((0..=holes).map(|at| 10 * at));
        assert_eq!(numbers.runs.len(), SEQUENCE_RUNS_MAX);
        (2..9).for_each(|late| numbers.insert(late));
        let told = numbers.end_hour();
        assert_eq!((told.gaps.len(), told.gaps.len() as u64 + told.more), (MANIFEST_GAPS_MAX, holes));
    }

    proptest! {
        /// The same as a set of all numbers, in whatever order they come.
        #[test]
        fn nothing_is_missed_and_nothing_is_made_up(mut numbers in prop::collection::vec(2u64..60, 0..80), hours in prop::collection::vec(0usize..80, 0..3)) {
            let (mut counted, mut seen, mut told_to) = (SequenceNumbers::default(), BTreeSet::new(), None::<u64>);
            let mut ends: Vec<usize> = hours.into_iter().map(|at| at.min(numbers.len())).collect();
            ends.push(numbers.len());
            ends.sort_unstable();
            let mut taken = 0;
            for end in ends {
                for number in numbers.drain(..end - taken) {
                    counted.insert(number);
                    if told_to.is_none_or(|told| number > told) {
                        seen.insert(number);
                    }
                }
                taken = end;
                let from = told_to.map(|told| told + 1).or(seen.first().copied());
                let all = from.into_iter().flat_map(|from| from..seen.last().copied().unwrap_or(from));
                let expected: Vec<u64> = all.filter(|number| !seen.contains(number)).collect();
                let told = counted.end_hour();
                prop_assert_eq!(told.more, 0);
                let told: Vec<u64> = told.gaps.iter().flat_map(|gap| gap.first..=gap.last).collect();
                prop_assert_eq!(told, expected);
                told_to = seen.last().copied().or(told_to);
                seen.clear();
            }
        }

        /// What is stored reads back, and what does not is refused.
        #[test]
        fn the_stored_form_reads_back(numbers in prop::collection::vec(0u64..2000, 0..200), last_minute: bool) {
            let mut counted = after(numbers);
            if last_minute {
                counted.begin_last_minute();
            }
            let mut stored = Vec::new();
            counted.write(&mut stored);
            let mut reader = Reader::new(&stored);
            prop_assert_eq!(SequenceNumbers::read(&mut reader), Some(counted));
            prop_assert!(reader.is_empty());
            for cut in 0..stored.len() {
                prop_assert_eq!(SequenceNumbers::read(&mut Reader::new(&stored[..cut])), None);
            }
        }
    }
}
