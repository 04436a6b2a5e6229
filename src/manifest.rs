//! What one source sent within one hour of the journal's time: how many signals, from which number to which, and, where the sender
//! numbers its signals itself, which of its numbers are missing. Pure.
//!
//! An hour is counted in the order of the journal and written into the journal, so every replay finds the same (promise P8). A
//! [`Manifest`] either ends its hour, and then is receipted, or says how far it is counted, so that no segment is kept for it alone.

mod numbers;
mod ranges;

pub use numbers::{SequenceFindings, SequenceNumbers, SequenceRestart};
pub use ranges::{NumberRange, is_sequence};

use crate::codec::Reader;
use crate::ids::{Seq, UnixMillis};
use crate::limits::SOURCE_FORGOTTEN_HOURS;
use crate::names::is_name;

const HOUR_MILLIS: u64 = 3_600_000;
/// Before the end of an hour, from then on: what is missing there may be on its way, and is told with the next hour.
const LAST_MINUTE_MILLIS: u64 = 60_000;

/// One source, and what it sent within the hour that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHour {
    source: Box<str>,
    /// When the hour begins.
    from: UnixMillis,
    count: u64,
    /// Numbers of the first and the last signal; 0 where there is none.
    first: Seq,
    last: Seq,
    /// When the newest signal was accepted, in this hour or before; where there was none ever, when the source was first named.
    seen_at: UnixMillis,
    has_sent: bool,
    /// Its heartbeat was missed within the hour.
    is_missed: bool,
    /// It was missed, and nothing came since.
    is_silent: bool,
    /// Signals whose number counts; `None` in an hour that an older version began.
    numbered: Option<u64>,
    /// Hours before this one in which nothing came, one after the other.
    idle_hours: u16,
    /// `None` where they are not compared: other nodes take signals of the source, too.
    numbers: Option<SequenceNumbers>,
}

/// An hour of a source, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub hour: SourceHour,
    /// The hour is over.
    pub ends: bool,
}

impl SourceHour {
    /// A source that is named for the first time.
    #[must_use]
    pub fn new(source: &str, now: UnixMillis) -> Self {
        Self {
            source: source.into(),
            from: hour_of(now),
            count: 0,
            first: Seq(0),
            last: Seq(0),
            seen_at: now,
            has_sent: false,
            is_missed: false,
            is_silent: false,
            numbered: Some(0),
            idle_hours: 0,
            numbers: Some(SequenceNumbers::default()),
        }
    }

    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When the hour ends.
    #[must_use]
    pub fn until(&self) -> UnixMillis {
        UnixMillis(self.from.0.saturating_add(HOUR_MILLIS))
    }

    /// When its newest signal was accepted, if there was one.
    #[must_use]
    pub fn newest_at(&self) -> Option<UnixMillis> {
        self.has_sent.then_some(self.seen_at)
    }

    /// Counts a signal; `sequence` is the sender's own number of it.
    pub fn count_signal(&mut self, seq: Seq, now: UnixMillis, sequence: Option<u64>) {
        if self.count == 0 {
            self.first = seq;
        }
        (self.count, self.last, self.seen_at) = (self.count + 1, seq, now);
        (self.has_sent, self.is_silent) = (true, false);
        let Some(number) = sequence else { return };
        self.numbered = self.numbered.map(|numbered| numbered + 1);
        let is_last_minute = now.0.saturating_add(LAST_MINUTE_MILLIS) >= self.until().0;
        if let Some(numbers) = &mut self.numbers {
            if is_last_minute {
                numbers.begin_last_minute();
            }
            numbers.insert(number);
        }
    }

    /// Its heartbeat was missed.
    pub fn miss_heartbeat(&mut self) {
        (self.is_missed, self.is_silent) = (true, true);
    }

    /// From here on the numbers are not compared, and those before are forgotten.
    pub fn stop_comparing(&mut self) {
        self.numbers = None;
    }

    /// What there is to tell of the numbers at the end of the hour.
    #[must_use]
    pub fn findings(&self) -> SequenceFindings {
        self.numbers.clone().unwrap_or_default().end_hour()
    }

    /// What is counted once this hour is over; `None` where the source was silent for so long that it is forgotten.
    #[must_use]
    pub fn next(mut self, now: UnixMillis) -> Option<Self> {
        self.idle_hours = if self.count == 0 { self.idle_hours.saturating_add(1) } else { 0 };
        if self.idle_hours >= SOURCE_FORGOTTEN_HOURS {
            return None;
        }
        let mut numbers = self.numbers.unwrap_or_default();
        let _told = numbers.end_hour();
        self.from = hour_of(now);
        (self.count, self.first, self.last) = (0, Seq(0), Seq(0));
        self.is_missed = self.is_silent;
        (self.numbered, self.numbers) = (Some(0), Some(numbers));
        Some(self)
    }

    /// What its receipt tells, as canonical JSON.
    #[must_use]
    pub fn facts(&self) -> serde_json::Value {
        let SequenceFindings { gaps, more_gaps, restarts, more_restarts, behind, ahead, newest_ahead: _ } =
            self.findings();
        let gaps: Vec<[u64; 2]> = gaps.iter().map(|gap| [gap.first, gap.last]).collect();
        let number = |seq: Seq| (self.count > 0).then_some(seq.0);
        let mut facts = serde_json::json!({
            "count": self.count,
            "first_seq": number(self.first),
            "from_ms": self.from.0,
            "gaps": gaps,
            "heartbeat_missed": self.is_missed,
            "last_seq": number(self.last),
            "source": self.source,
            "to_ms": self.until().0,
        });
        // The receipt of an hour that an older version counted stays as it was.
        if let Some(numbered) = self.numbered {
            facts["numbered"] = numbered.into();
            facts["behind"] = behind.into();
            facts["compared"] = self.numbers.is_some().into();
        }
        if !restarts.is_empty() {
            let pairs: Vec<[u64; 2]> = restarts.iter().map(|row| [row.after, row.first]).collect();
            facts["begun_anew"] = serde_json::json!(pairs);
        }
        for (name, count) in [("ahead", ahead), ("more_gaps", more_gaps), ("more_begun_anew", more_restarts)]
        {
            if count > 0 {
                facts[name] = count.into();
            }
        }
        facts
    }
}

fn hour_of(time: UnixMillis) -> UnixMillis {
    UnixMillis(time.0 - time.0 % HOUR_MILLIS)
}

// Flags of the stored form.
const ENDS: u8 = 1;
const MISSED: u8 = 2;
const SILENT: u8 = 4;
const SENT: u8 = 8;
/// An extension follows.
const EXTENDED: u8 = 16;
const NOT_COMPARED: u8 = 32;

impl Manifest {
    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { hour, ends } = self;
        let SourceHour { source, from, count, first, last, seen_at, .. } = hour;
        let SourceHour { has_sent, is_missed, is_silent, .. } = hour;
        let SourceHour { numbered, idle_hours, numbers, .. } = hour;
        let is_compared = numbers.is_some();
        let numbers = numbers.clone().unwrap_or_default();
        let extended = numbered.is_some() || *idle_hours > 0 || numbers.has_extension();
        let flags = [(*ends, ENDS), (*is_missed, MISSED), (*is_silent, SILENT), (*has_sent, SENT)];
        let flags = flags.into_iter().chain([(extended, EXTENDED), (!is_compared, NOT_COMPARED)]);
        out.push(flags.filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum());
        let len =
            u8::try_from(source.len()).unwrap_or_else(|_| unreachable!("a name is bounded by its rule"));
        out.push(len);
        out.extend_from_slice(source.as_bytes());
        for number in [from.0, *count, first.0, last.0, seen_at.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        numbers.write(out);
        if extended {
            out.extend_from_slice(&numbered.unwrap_or(u64::MAX).to_le_bytes());
            out.extend_from_slice(&idle_hours.to_le_bytes());
            numbers.write_extension(out);
        }
    }

    /// Reads the stored form; `None` where the bytes are not one of this version.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8()?;
        if flags & !(ENDS | MISSED | SILENT | SENT | EXTENDED | NOT_COMPARED) != 0 {
            return None;
        }
        let len = reader.u8()?;
        let source = reader.text(len.into()).filter(|source| is_name(source))?;
        let from = UnixMillis(reader.u64()?);
        let (count, first, last) = (reader.u64()?, Seq(reader.u64()?), Seq(reader.u64()?));
        let seen_at = UnixMillis(reader.u64()?);
        let mut numbers = SequenceNumbers::read(reader)?;
        let (mut numbered, mut idle_hours) = (None, 0);
        if flags & EXTENDED != 0 {
            numbered = Some(reader.u64()?).filter(|numbered| *numbered != u64::MAX);
            idle_hours = reader.u16()?;
            numbers = numbers.read_extension(reader)?;
        }
        let hour = SourceHour {
            source: source.into(),
            from: Some(from).filter(|from| *from == hour_of(*from))?,
            count,
            first,
            last,
            seen_at,
            has_sent: flags & SENT != 0,
            is_missed: flags & MISSED != 0,
            is_silent: flags & SILENT != 0,
            numbered,
            idle_hours,
            numbers: (flags & NOT_COMPARED == 0).then_some(numbers),
        };
        Some(Self { hour, ends: flags & ENDS != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::limits::SEQUENCE_ANEW_AFTER;

    const NOON: UnixMillis = UnixMillis(1_800_000_000_000 - 1_800_000_000_000 % HOUR_MILLIS);

    fn at(minute: u64) -> UnixMillis {
        UnixMillis(NOON.0 + minute * 60_000)
    }

    #[test]
    fn an_hour_counts_what_came_and_the_next_begins_with_nothing() {
        let mut hour = SourceHour::new("erp", at(1));
        assert_eq!((hour.newest_at(), hour.until()), (None, at(60)));
        hour.count_signal(Seq(7), at(2), None);
        hour.count_signal(Seq(9), at(3), None);
        let facts = hour.facts();
        assert_eq!(
            (&facts["count"], &facts["first_seq"], &facts["last_seq"]),
            (&2.into(), &7.into(), &9.into())
        );
        assert_eq!((&facts["from_ms"], &facts["to_ms"]), (&NOON.0.into(), &at(60).0.into()));
        let next = hour.next(at(61)).unwrap();
        let facts = next.facts();
        assert_eq!((&facts["count"], &facts["first_seq"]), (&0.into(), &serde_json::Value::Null));
        assert_eq!((next.newest_at(), next.until()), (Some(at(3)), at(120)));
    }

    #[test]
    fn a_heartbeat_is_missed_until_something_comes_and_in_each_hour_between() {
        let mut hour = SourceHour::new("erp", at(1));
        hour.miss_heartbeat();
        assert_eq!(hour.facts()["heartbeat_missed"], true);
        let mut next = hour.next(at(61)).unwrap();
        assert_eq!(next.facts()["heartbeat_missed"], true, "nothing came yet");
        next.count_signal(Seq(1), at(62), None);
        assert_eq!(next.facts()["heartbeat_missed"], true, "it was missed when the hour began");
        assert_eq!(next.next(at(121)).unwrap().facts()["heartbeat_missed"], false);
    }

    #[test]
    fn what_is_missing_in_the_last_minute_is_told_with_the_next_hour() {
        let mut hour = SourceHour::new("erp", at(1));
        for (number, minute) in [(5, 10), (8, 20), (10, 59), (12, 59)] {
            hour.count_signal(Seq(number), at(minute), Some(number));
        }
        assert_eq!(hour.facts()["gaps"], serde_json::json!([[6, 7]]));
        let mut next = hour.next(at(60)).unwrap();
        next.count_signal(Seq(20), at(60), Some(9));
        next.count_signal(Seq(21), at(61), Some(6));
        assert_eq!(next.facts()["gaps"], serde_json::json!([[11, 11]]), "9 came, 6 was told of");
    }

    #[test]
    fn a_source_is_forgotten_after_so_many_silent_hours_whatever_the_clock_says() {
        let mut hour = SourceHour::new("erp", at(1));
        hour.count_signal(Seq(1), at(1), Some(7));
        // The clock stepped by a month.
        let mut hour = hour.next(at(30 * 24 * 60)).unwrap();
        hour.count_signal(Seq(2), at(30 * 24 * 60), Some(9));
        assert_eq!(hour.facts()["gaps"], serde_json::json!([[8, 8]]));
        let mut hours = 0;
        while let Some(next) = hour.clone().next(at(31 * 24 * 60)) {
            (hour, hours) = (next, hours + 1);
        }
        assert_eq!(hours, u64::from(SOURCE_FORGOTTEN_HOURS), "the one in which it sent, and silent ones");
    }

    #[test]
    fn a_manifest_says_what_was_compared() {
        let facts = |numbers: &[Option<u64>], compares: bool| {
            let mut hour = SourceHour::new("erp", at(1));
            if !compares {
                hour.stop_comparing();
            }
            for number in numbers {
                hour.count_signal(Seq(1), at(2), *number);
            }
            let facts = hour.facts();
            ["count", "numbered", "behind", "compared"].map(|name| facts[name].to_string()).join(" ")
        };
        assert_eq!(facts(&[Some(1), Some(2), Some(2)], true), "3 3 1 true");
        assert_eq!(facts(&[None, None], true), "2 0 0 true");
        assert_eq!(facts(&[Some(1), Some(9)], false), "2 2 0 false");
        assert_eq!(facts(&[], true), "0 0 0 true");
    }

    #[test]
    fn an_hour_of_an_older_version_is_read_and_told_as_it_was() {
        let mut hour = SourceHour::new("erp", at(1));
        hour.count_signal(Seq(7), at(2), Some(1));
        hour.numbered = None;
        let mut stored = Vec::new();
        Manifest { hour, ends: false }.write(&mut stored);
        assert_eq!(stored[0], SENT, "it has no extension");
        let mut hour = Manifest::read(&mut Reader::new(&stored)).unwrap().hour;
        hour.count_signal(Seq(8), at(3), Some(3));
        let facts = hour.facts();
        assert_eq!(
            (&facts["gaps"], &facts["numbered"]),
            (&serde_json::json!([[2, 2]]), &serde_json::Value::Null)
        );
        assert_eq!(hour.next(at(61)).unwrap().facts()["numbered"], 0);
    }

    #[test]
    fn the_facts_of_the_longest_manifest_fit_into_a_receipt() {
        let mut hour = SourceHour::new(&"a".repeat(crate::limits::NAME_BYTES_MAX), UnixMillis(0));
        hour.miss_heartbeat();
        for number in 0..200 {
            hour.count_signal(Seq(1 << 52), UnixMillis(0), Some((1 << 52) + 3 * number));
        }
        for row in 1..=10 * SEQUENCE_ANEW_AFTER as u64 {
            let number = (1 << 52) - 10_000 * row.div_ceil(SEQUENCE_ANEW_AFTER as u64) + row;
            hour.count_signal(Seq(1 << 52), UnixMillis(0), Some(number));
        }
        hour.count_signal(Seq(1 << 52), UnixMillis(0), Some(crate::limits::SEQUENCE_MAX));
        let facts = hour.facts();
        let named = facts["begun_anew"].as_array().unwrap().len();
        assert_eq!((named, &facts["more_begun_anew"], &facts["ahead"]), (8, &2.into(), &1.into()));
        assert_eq!((facts["gaps"].as_array().unwrap().len(), &facts["more_gaps"]), (32, &167.into()));
        assert!(facts.to_string().len() <= crate::limits::FACTS_BYTES_MAX, "{}", facts.to_string().len());
    }
}
