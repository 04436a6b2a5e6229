//! The stored form of the numbers of a source: a part that each version has, and an extension, which is left out where it says nothing.

use std::collections::VecDeque;

use super::{
    LastMinute, NumberRange, SequenceFindings, SequenceNumbers, SequenceRestart, Streak, is_sequence, ranges,
};
use crate::codec::Reader;
use crate::limits::{
    MANIFEST_GAPS_MAX, MANIFEST_RESTARTS_MAX, SEQUENCE_ANEW_AFTER, SEQUENCE_ASIDE_MAX, SEQUENCE_RUNS_MAX,
};

/// No number is as large as the one that says that there is none.
fn push(number: Option<u64>, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.unwrap_or(u64::MAX).to_le_bytes());
}

fn number(reader: &mut Reader<'_>, into: &mut Option<u64>) -> Option<()> {
    let number = reader.u64()?;
    *into = Some(number).filter(|number| *number != u64::MAX);
    into.is_none_or(is_sequence).then_some(())
}

fn some_number(reader: &mut Reader<'_>) -> Option<u64> {
    reader.u64().filter(|number| is_sequence(*number))
}

fn push_count(count: usize, out: &mut Vec<u8>) {
    out.push(u8::try_from(count).unwrap_or_else(|_| unreachable!("they are bounded")));
}

impl SequenceNumbers {
    /// Appends the part that each version has.
    pub fn write(&self, out: &mut Vec<u8>) {
        push(self.settled, out);
        push(self.last_minute.map(|minute| minute.largest), out);
        out.extend_from_slice(&self.found.more_gaps.to_le_bytes());
        ranges::write(self.runs.iter(), out);
        ranges::write(self.found.gaps.iter(), out);
    }

    /// Reads that part; `None` where the bytes are not one of this version.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (mut settled, mut largest) = (None, None);
        number(reader, &mut settled)?;
        number(reader, &mut largest)?;
        let more_gaps = reader.u64()?;
        let runs = ranges::read(reader, SEQUENCE_RUNS_MAX)?;
        let gaps = ranges::read(reader, MANIFEST_GAPS_MAX)?;
        let is_beyond = |settled: u64| runs.first().is_none_or(|run| settled < run.first);
        let ordered = runs.is_sorted_by(|one, next| one.last + 1 < next.first);
        (ordered && settled.is_none_or(is_beyond)).then_some(())?;
        let found = SequenceFindings { gaps, more_gaps, ..SequenceFindings::default() };
        let last_minute = largest.map(|largest| LastMinute { largest, aside: 0 });
        Some(Self { settled, runs, found, last_minute, ..Self::default() })
    }

    /// Whether the extension says anything.
    pub fn has_extension(&self) -> bool {
        let Self { settled, runs, found, last_minute, .. } = self;
        let last_minute = last_minute.map(|minute| LastMinute { aside: 0, ..minute });
        let SequenceFindings { gaps, more_gaps, .. } = found;
        let found =
            SequenceFindings { gaps: gaps.clone(), more_gaps: *more_gaps, ..SequenceFindings::default() };
        let plain = Self { settled: *settled, runs: runs.clone(), found, last_minute, ..Self::default() };
        *self != plain
    }

    /// Appends the extension.
    pub fn write_extension(&self, out: &mut Vec<u8>) {
        let Self { found, last_minute, first, before, highest, told, aside, below, beyond, .. } = self;
        let SequenceFindings { gaps: _, more_gaps: _, restarts, more_restarts, behind, ahead, newest_ahead } =
            found;
        for number in [*first, *before, *highest, *newest_ahead] {
            push(number, out);
        }
        for count in [*behind, *ahead, *more_restarts] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        push_count(last_minute.map_or(0, |minute| minute.aside), out);
        push_count(restarts.len(), out);
        for SequenceRestart { after, first } in restarts {
            out.extend_from_slice(&after.to_le_bytes());
            out.extend_from_slice(&first.to_le_bytes());
        }
        ranges::write(told.iter(), out);
        ranges::write(aside.iter(), out);
        for Streak(numbers) in [below, beyond] {
            push_count(numbers.len(), out);
            for number in numbers {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    /// Reads the extension; `None` where the bytes are not one of this version.
    pub fn read_extension(mut self, reader: &mut Reader<'_>) -> Option<Self> {
        let newest = &mut self.found.newest_ahead;
        for into in [&mut self.first, &mut self.before, &mut self.highest, newest] {
            number(reader, into)?;
        }
        (self.found.behind, self.found.ahead) = (reader.u64()?, reader.u64()?);
        self.found.more_restarts = reader.u64()?;
        let early = usize::from(reader.u8()?);
        self.found.restarts = restarts(reader)?;
        self.told = ranges::read(reader, MANIFEST_GAPS_MAX)?;
        self.aside = VecDeque::<NumberRange>::from(ranges::read(reader, SEQUENCE_ASIDE_MAX)?);
        (self.below, self.beyond) = (streak(reader)?, streak(reader)?);
        match &mut self.last_minute {
            Some(minute) => minute.aside = Some(early).filter(|early| *early <= self.aside.len())?,
            None => (early == 0).then_some(())?,
        }
        Some(self)
    }
}

fn restarts(reader: &mut Reader<'_>) -> Option<Vec<SequenceRestart>> {
    let count = Some(usize::from(reader.u8()?)).filter(|count| *count <= MANIFEST_RESTARTS_MAX)?;
    let restart = |_| Some(SequenceRestart { after: some_number(reader)?, first: some_number(reader)? });
    (0..count).map(restart).collect()
}

fn streak(reader: &mut Reader<'_>) -> Option<Streak> {
    let count = Some(usize::from(reader.u8()?)).filter(|count| *count < SEQUENCE_ANEW_AFTER)?;
    (0..count).map(|_| some_number(reader)).collect::<Option<_>>().map(Streak)
}
