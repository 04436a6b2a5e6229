//! Ranges of numbers, a bounded list of them, and its stored form.

use crate::codec::Reader;
use crate::limits::SEQUENCE_MAX;

/// Whether a sender's number is one that is looked at: a receipt can show it.
#[must_use]
pub fn is_sequence(number: u64) -> bool {
    number <= SEQUENCE_MAX
}

/// Numbers from the first to the last, both among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberRange {
    pub first: u64,
    pub last: u64,
}

impl NumberRange {
    pub(super) fn one(number: u64) -> Self {
        Self { first: number, last: number }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        (self.first..=self.last).contains(&number)
    }
}

/// Takes a number out of the ranges. What was one range before may be two then.
pub(super) fn take_out(ranges: &mut Vec<NumberRange>, number: u64) -> bool {
    let Some(at) = ranges.iter().position(|range| range.has(number)) else { return false };
    let NumberRange { first, last } = ranges[at];
    match (first < number, number < last) {
        (false, false) => drop(ranges.remove(at)),
        (false, true) => ranges[at].first = number + 1,
        (true, false) => ranges[at].last = number - 1,
        (true, true) => {
            ranges[at].last = number - 1;
            ranges.insert(at + 1, NumberRange { first: number + 1, last });
        }
    }
    true
}

/// What is left of a range without all that is in the others, the smallest first.
pub(super) fn without<'a>(
    range: NumberRange,
    others: impl Iterator<Item = &'a NumberRange>,
) -> Vec<NumberRange> {
    let mut others: Vec<NumberRange> =
        others.filter(|other| other.first <= range.last && range.first <= other.last).copied().collect();
    others.sort_unstable_by_key(|other| other.first);
    let (mut left, mut from) = (Vec::new(), range.first);
    for other in others {
        if from < other.first {
            left.push(NumberRange { first: from, last: other.first - 1 });
        }
        from = from.max(other.last + 1);
    }
    if from <= range.last {
        left.push(NumberRange { first: from, last: range.last });
    }
    left
}

pub(super) fn write<'a>(ranges: impl ExactSizeIterator<Item = &'a NumberRange>, out: &mut Vec<u8>) {
    out.push(u8::try_from(ranges.len()).unwrap_or_else(|_| unreachable!("they are bounded")));
    for NumberRange { first, last } in ranges {
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&last.to_le_bytes());
    }
}

pub(super) fn read(reader: &mut Reader<'_>, most: usize) -> Option<Vec<NumberRange>> {
    let count = usize::from(reader.u8()?);
    let range = |_| {
        let (first, last) = (reader.u64()?, reader.u64()?);
        (first <= last && is_sequence(last)).then_some(NumberRange { first, last })
    };
    if count > most { None } else { (0..count).map(range).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(u64, u64)]) -> Vec<NumberRange> {
        of.iter().map(|&(first, last)| NumberRange { first, last }).collect()
    }

    #[test]
    fn a_number_is_taken_out_of_its_range() {
        type Row<'a> = (u64, bool, &'a [(u64, u64)]);
        let table: [Row<'_>; 5] = [
            (2, true, &[(3, 5), (9, 9)]),
            (5, true, &[(2, 4), (9, 9)]),
            (4, true, &[(2, 3), (5, 5), (9, 9)]),
            (9, true, &[(2, 5)]),
            (6, false, &[(2, 5), (9, 9)]),
        ];
        for (number, was_in, left) in table {
            let mut all = ranges(&[(2, 5), (9, 9)]);
            assert_eq!((take_out(&mut all, number), all), (was_in, ranges(left)), "{number}");
        }
    }

    #[test]
    fn what_is_in_others_is_not_left() {
        type Row<'a> = (&'a [(u64, u64)], &'a [(u64, u64)]);
        let table: [Row<'_>; 5] = [
            (&[], &[(3, 9)]),
            (&[(5, 6), (1, 3)], &[(4, 4), (7, 9)]),
            (&[(1, 20)], &[]),
            (&[(4, 6), (5, 8), (9, 9)], &[(3, 3)]),
            (&[(10, 12), (1, 2)], &[(3, 9)]),
        ];
        for (others, left) in table {
            let found = without(NumberRange { first: 3, last: 9 }, ranges(others).iter());
            assert_eq!(found, ranges(left), "{others:?}");
        }
    }
}
