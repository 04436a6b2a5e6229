//! Numbers in any order, and what is told of them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::codec::Reader;
use crate::limits::SEQUENCE_MAX;

fn add(all: &mut SequenceNumbers, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        all.insert(number);
    }
}

fn after(numbers: impl IntoIterator<Item = u64>) -> SequenceNumbers {
    let mut all = SequenceNumbers::default();
    add(&mut all, numbers);
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
    add(&mut numbers, [1, 3, 4]);
    assert_eq!(missing(&numbers), [(2, 2)]);
}

#[test]
fn more_holes_than_are_kept_are_missing_until_they_are_filled() {
    let holes = SEQUENCE_RUNS_MAX as u64 + 9;
    let mut numbers = after((0..=holes).map(|at| 10 * at));
    assert_eq!(numbers.runs.len(), SEQUENCE_RUNS_MAX);
    add(&mut numbers, 2..9);
    let told = numbers.end_hour();
    let count = told.gaps.len() as u64 + told.more_gaps;
    assert_eq!((told.gaps.len(), count), (MANIFEST_GAPS_MAX, holes + 1), "1 and 9 are missing");
}

type Pairs = Vec<(u64, u64)>;

/// Ends the hour: gaps, and where the row began anew.
fn end(numbers: &mut SequenceNumbers) -> (Pairs, Pairs) {
    let found = numbers.end_hour();
    let gaps = found.gaps.iter().map(|gap| (gap.first, gap.last)).collect();
    (gaps, found.restarts.iter().map(|row| (row.after, row.first)).collect())
}

#[test]
fn one_number_far_ahead_hides_no_gap() {
    let mut numbers = after((1..=25).chain([SEQUENCE_MAX]));
    let found = numbers.clone().end_hour();
    assert_eq!((found.ahead, found.newest_ahead, found.behind), (1, Some(SEQUENCE_MAX), 0));
    assert_eq!(end(&mut numbers), (vec![], vec![]));
    add(&mut numbers, [26, 27, 28, 40, 41, 90]);
    assert_eq!(end(&mut numbers), (vec![(29, 39), (42, 89)], vec![]));
    let edge = 90 + SEQUENCE_JUMP_MAX;
    numbers.insert(edge + 1);
    numbers.insert(edge);
    assert_eq!(end(&mut numbers), (vec![(91, edge - 1)], vec![]), "as far as one signal may go");
}

#[test]
fn a_far_number_that_came_first_is_left_when_the_row_goes_on_elsewhere() {
    let mut numbers = after([SEQUENCE_MAX, 26, 27]);
    assert_eq!((numbers.clone().end_hour().behind, end(&mut numbers)), (2, (vec![], vec![])));
    add(&mut numbers, [28, 40, 41, 90]);
    assert_eq!(end(&mut numbers), (vec![(29, 39), (42, 89)], vec![(SEQUENCE_MAX, 26)]));
}

#[test]
fn a_row_that_goes_on_far_ahead_begins_anew_there_and_may_come_back() {
    let far = 1 << 40;
    let mut numbers = after((1..=25).chain([far, far + 1, far + 3, far + 2]).chain([27, 28, 29, 31]));
    let (gaps, restarts) = end(&mut numbers);
    assert_eq!(restarts, [(25, far), (far + 3, 27)]);
    assert_eq!(gaps, [(30, 30)]);
}

#[test]
fn a_sender_that_begins_anew_and_loses_its_first_number_is_watched() {
    let mut numbers = after(1..=100);
    end(&mut numbers);
    add(&mut numbers, [2, 3, 5]);
    assert_eq!(numbers.clone().end_hour().behind, 3);
    assert_eq!(end(&mut numbers), (vec![], vec![]), "a few may be late");
    add(&mut numbers, [6, 9]);
    assert_eq!(end(&mut numbers), (vec![(4, 4), (7, 8)], vec![(100, 2)]));
}

#[test]
fn a_number_that_came_before_the_one_that_begins_anew_is_not_missing() {
    for hours in [0, 1] {
        let mut numbers = after(1..=100);
        for _ in 0..hours {
            end(&mut numbers);
        }
        add(&mut numbers, [2, 1, 3, 4]);
        assert_eq!(end(&mut numbers), (vec![], vec![(100, 1)]));
    }
    let mut numbers = after(1..=100);
    numbers.begin_last_minute();
    numbers.insert(2);
    end(&mut numbers);
    add(&mut numbers, [1, 3]);
    assert_eq!(end(&mut numbers).0, [], "it came in the last minute");
    numbers.insert(2);
    numbers.begin_last_minute();
    add(&mut numbers, [1, 3]);
    end(&mut numbers);
    assert_eq!(end(&mut numbers).0, [], "all of the row is told with the next hour");
    add(&mut numbers, [1, 3]);
    assert_eq!(end(&mut numbers).0, [(2, 2)], "an hour later it is missing");
}

#[test]
fn late_signals_whose_gap_was_told_are_no_row_of_their_own() {
    let mut numbers = after((1..50).chain(81..=100));
    assert_eq!(end(&mut numbers).0, [(50, 80)]);
    add(&mut numbers, 50..=80);
    numbers.insert(102);
    assert_eq!(numbers.clone().end_hour().behind, 31);
    assert_eq!(end(&mut numbers), (vec![(101, 101)], vec![]));
}

#[test]
fn what_was_told_within_the_hour_and_came_is_not_missing() {
    let mut numbers = after([1, 2, 4, 5, 6, 1, 3]);
    assert_eq!(missing(&numbers), [], "3 came behind the restart");
    numbers.insert(2);
    numbers.insert(4);
    assert_eq!(missing(&numbers), []);
    numbers.insert(6);
    assert_eq!(missing(&numbers), [(5, 5)]);
}

#[test]
fn the_row_before_may_go_on() {
    let mut numbers = after((1..=100).chain([5, 6, 7, 8]).chain([103]));
    assert_eq!(end(&mut numbers), (vec![(101, 102)], vec![(100, 5), (8, 103)]));
}

#[test]
fn what_the_row_before_sent_last_may_come_when_the_next_has_begun() {
    let mut numbers = after((1..=31).chain(1..=30).chain([1, 31]));
    assert_eq!(end(&mut numbers), (vec![], vec![(31, 1), (30, 1), (1, 31)]));
}

#[test]
fn a_restart_is_told_however_many_there_are() {
    let mut numbers = after((0..20).map(|_| 1));
    let found = numbers.end_hour();
    assert_eq!((found.restarts.len(), found.more_restarts), (MANIFEST_RESTARTS_MAX, 19 - 8));
}

/// Some numbers of a sender's row, in their order: whether each was accepted.
type Row = Vec<bool>;

/// What comes: a number of a row, or one that is of none; each with the place that it comes at.
#[derive(Clone, Copy, Debug)]
enum Coming {
    Of(usize, u64),
    Again(u64),
    Far(u64),
}

/// A sender that begins anew with 1 after each row. Neighbours overtake one another; some come twice, and some are far.
fn comings(rows: &[Row], jitter: &[u8], seldom: &[u8]) -> Vec<Coming> {
    let mut comings = Vec::new();
    let mut at = 0;
    for (row, numbers) in rows.iter().enumerate() {
        for (number, accepted) in (1usize..).zip(numbers) {
            at += 4;
            // The last of a row come before the next begins.
            let late = usize::from(jitter[at % jitter.len()]).min(numbers.len() - number);
            // Rows are told from one another by their first numbers and their last.
            let accepted = *accepted || number == 2 || number + 4 > numbers.len();
            if accepted {
                comings.push((at + 4 * late, Coming::Of(row, number as u64)));
            }
            match seldom[at / 4 % seldom.len()] {
                0 if number > 12 => comings.push((at + 1, Coming::Far((at as u64) << 24))),
                1 if accepted && number > 12 && number + 14 < numbers.len() => {
                    comings.push((at + 40, Coming::Again(number as u64)));
                }
                _ => {}
            }
        }
    }
    comings.sort_by_key(|(at, _)| *at);
    comings.into_iter().map(|(_, coming)| coming).collect()
}

proptest! {
    /// The same as a set of all numbers, in whatever order they come, whatever comes twice or from far.
    #[test]
    fn nothing_is_missed_and_nothing_is_made_up(mut numbers in prop::collection::vec(prop_oneof![8 => 2u64..60, 1 => 1u64 << 30..1 << 50], 0..80), hours in prop::collection::vec(0usize..80, 0..3)) {
        let (mut counted, mut seen, mut told_to) = (SequenceNumbers::default(), BTreeSet::new(), None::<u64>);
        let mut known = BTreeSet::new();
        let mut ends: Vec<usize> = hours.into_iter().map(|at| at.min(numbers.len())).collect();
        ends.push(numbers.len());
        ends.sort_unstable();
        // None lies further below the first than one that was overtaken.
        numbers.insert(0, 2 + SEQUENCE_LATE_MAX);
        let (mut taken, mut aside) = (0, 0);
        for end in ends {
            for number in numbers.drain(..end - taken) {
                // Where a row begins anew is another test.
                let goes_on = known.last().is_none_or(|last| number > *last && number < 60);
                let fills = number < 60 && told_to.is_none_or(|told| number > told) && !known.contains(&number);
                aside = if goes_on { 0 } else if fills { aside } else { aside + 1 };
                if aside >= SEQUENCE_ANEW_AFTER {
                    continue;
                }
                counted.insert(number);
                if number < 60 {
                    known.insert(number);
                }
                if number < 60 && told_to.is_none_or(|told| number > told) {
                    seen.insert(number);
                }
            }
            taken = end;
            let from = told_to.map(|told| told + 1).or(seen.first().copied());
            let all = from.into_iter().flat_map(|from| from..seen.last().copied().unwrap_or(from));
            let expected: Vec<u64> = all.filter(|number| !seen.contains(number)).collect();
            let told = counted.end_hour();
            prop_assert_eq!((told.more_gaps, &told.restarts), (0, &Vec::new()));
            let told: Vec<u64> = told.gaps.iter().flat_map(|gap| gap.first..=gap.last).collect();
            prop_assert_eq!(told, expected);
            told_to = seen.last().copied().or(told_to);
            seen.clear();
        }
    }

    /// A sender begins anew, loses numbers, and its signals overtake one another, some come twice and some from far: a number that
    /// a row lost is told as missing, or the row as begun anew; a number that all rows have is told by nobody.
    #[test]
    fn a_lost_number_is_told_or_its_row_is_and_no_other(
        rows in prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.9), 8..60), 1..5),
        jitter in prop::collection::vec(0u8..4, 1..40),
        seldom in prop::collection::vec(0u8..40, 1..60),
        hours in prop::collection::vec(8usize..60, 0..8),
    ) {
        let comings = comings(&rows, &jitter, &seldom);
        let mut counted = SequenceNumbers::default();
        let mut came: Vec<BTreeSet<u64>> = rows.iter().map(|_| BTreeSet::new()).collect();
        let (mut told, mut restarts) = (BTreeSet::new(), Vec::new());
        let lost = |came: &BTreeSet<u64>, number: u64| {
            let between = came.first().is_some_and(|first| *first < number) && came.last().is_some_and(|last| number < *last);
            between && !came.contains(&number)
        };
        let mut hours = hours.into_iter();
        let mut left = hours.next();
        for (at, coming) in comings.iter().enumerate() {
            match coming {
                Coming::Of(row, number) => {
                    came[*row].insert(*number);
                    counted.insert(*number);
                }
                Coming::Again(number) | Coming::Far(number) => counted.insert(*number),
            }
            left = left.map(|left| left - 1);
            if left == Some(7) {
                counted.begin_last_minute();
            }
            let is_last = at + 1 == comings.len();
            if left == Some(0) || is_last {
                left = hours.next();
                if is_last {
                    // Another hour, in which nothing comes.
                    let found = counted.end_hour();
                    restarts.extend(found.restarts);
                    told.extend(found.gaps.iter().flat_map(|gap| gap.first..=gap.last));
                }
                let found = counted.end_hour();
                prop_assert_eq!((found.more_gaps, found.more_restarts), (0, 0));
                let gaps: BTreeSet<u64> = found.gaps.iter().flat_map(|gap| gap.first..=gap.last).collect();
                for number in &gaps {
                    prop_assert!(came.iter().any(|came| lost(came, *number)), "{} of {:?} is told after {:?}", number, gaps, &comings[..=at]);
                }
                restarts.extend(found.restarts);
                told.extend(gaps);
            }
        }
        for came in &came {
            for number in 1..60 {
                let is_told = told.contains(&number) || !restarts.is_empty();
                prop_assert!(!lost(came, number) || is_told, "{} is told by nobody: {:?}", number, comings);
            }
        }
        // What no row has is told by number, though rows began anew.
        for number in 1..60 {
            let nobody = came.iter().any(|came| lost(came, number)) && came.iter().all(|came| !came.contains(&number));
            let spans = restarts.iter().any(|row| row.after < number && number < row.first);
            prop_assert!(!nobody || told.contains(&number) || spans, "{} is told by nobody: {:?}", number, comings);
        }
    }

    /// What is stored reads back, and what does not is refused.
    #[test]
    fn the_stored_form_reads_back(numbers in prop::collection::vec(prop_oneof![9 => 0u64..3000, 1 => 0..SEQUENCE_MAX], 0..200), minute in 0usize..200, hour in 0usize..200) {
        let mut counted = SequenceNumbers::default();
        for (at, number) in numbers.into_iter().enumerate() {
            if at == hour {
                counted.end_hour();
            }
            if at == minute {
                counted.begin_last_minute();
            }
            counted.insert(number);
        }
        let mut stored = Vec::new();
        counted.write(&mut stored);
        let plain = stored.len();
        counted.write_extension(&mut stored);
        let mut reader = Reader::new(&stored);
        let read = SequenceNumbers::read(&mut reader).unwrap();
        prop_assert!(counted.has_extension() || read == counted);
        prop_assert_eq!(read.read_extension(&mut reader), Some(counted));
        prop_assert!(reader.is_empty());
        for cut in (0..stored.len()).step_by(13) {
            let mut reader = Reader::new(&stored[..cut]);
            let read = SequenceNumbers::read(&mut reader);
            prop_assert_eq!(read.is_some(), cut >= plain);
            prop_assert_eq!(read.and_then(|read| read.read_extension(&mut reader)), None);
        }
    }
}
