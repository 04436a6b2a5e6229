//! What one source sent within one hour of the journal's time: how many signals, from which number to which, and, where the sender
//! numbers its signals itself, which of its numbers are missing. Pure.
//!
//! An hour is counted in the order of the journal and written into the journal, so every replay finds the same (promise P8). A
//! [`Manifest`] either ends its hour, and then is receipted, or says how far it is counted, so that no segment is kept for it alone.

mod numbers;

pub use numbers::{NumberRange, SequenceGaps, SequenceNumbers, is_sequence};

use crate::codec::Reader;
use crate::ids::{Seq, UnixMillis};
use crate::limits::SOURCE_FORGOTTEN_AFTER;
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
    numbers: SequenceNumbers,
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
            numbers: SequenceNumbers::default(),
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
        if let Some(number) = sequence {
            if now.0.saturating_add(LAST_MINUTE_MILLIS) >= self.until().0 {
                self.numbers.begin_last_minute();
            }
            self.numbers.insert(number);
        }
    }

    /// Its heartbeat was missed.
    pub fn miss_heartbeat(&mut self) {
        (self.is_missed, self.is_silent) = (true, true);
    }

    /// Forgets the sender's own numbers.
    pub fn forget_numbers(&mut self) {
        self.numbers = SequenceNumbers::default();
    }

    /// Numbers that are missing at the end of the hour.
    #[must_use]
    pub fn gaps(&self) -> SequenceGaps {
        self.numbers.clone().end_hour()
    }

    /// What is counted once this hour is over; `None` where the source was silent for so long that it is forgotten.
    #[must_use]
    pub fn next(mut self, now: UnixMillis) -> Option<Self> {
        let forgotten = u64::try_from(SOURCE_FORGOTTEN_AFTER.as_millis()).unwrap_or(u64::MAX);
        if now.0.saturating_sub(self.seen_at.0) >= forgotten {
            return None;
        }
        let _told = self.numbers.end_hour();
        self.from = hour_of(now);
        (self.count, self.first, self.last) = (0, Seq(0), Seq(0));
        self.is_missed = self.is_silent;
        Some(self)
    }

    /// What its receipt tells, as canonical JSON.
    #[must_use]
    pub fn facts(&self) -> serde_json::Value {
        let SequenceGaps { gaps, more } = self.gaps();
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
        if more > 0 {
            facts["more_gaps"] = more.into();
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

impl Manifest {
    /// Appends the stored form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { hour, ends } = self;
        let SourceHour { source, from, count, first, last, seen_at, has_sent, is_missed, is_silent, numbers } =
            hour;
        let flags = [(*ends, ENDS), (*is_missed, MISSED), (*is_silent, SILENT), (*has_sent, SENT)];
        out.push(flags.into_iter().filter(|(holds, _)| *holds).map(|(_, flag)| flag).sum());
        let len =
            u8::try_from(source.len()).unwrap_or_else(|_| unreachable!("a name is bounded by its rule"));
        out.push(len);
        out.extend_from_slice(source.as_bytes());
        for number in [from.0, *count, first.0, last.0, seen_at.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        numbers.write(out);
    }

    /// Reads the stored form; `None` where the bytes are not one of this version.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.u8()?;
        if flags & !(ENDS | MISSED | SILENT | SENT) != 0 {
            return None;
        }
        let len = reader.u8()?;
        let source = reader.text(len.into()).filter(|source| is_name(source))?;
        let from = UnixMillis(reader.u64()?);
        let (count, first, last) = (reader.u64()?, Seq(reader.u64()?), Seq(reader.u64()?));
        let seen_at = UnixMillis(reader.u64()?);
        let numbers = SequenceNumbers::read(reader)?;
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
            numbers,
        };
        Some(Self { hour, ends: flags & ENDS != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_source_that_is_silent_for_long_is_forgotten() {
        let hour = SourceHour::new("erp", at(1));
        let days = |days: u64| at(1 + days * 24 * 60);
        assert!(hour.clone().next(days(7)).is_some(), "as long as the longest heartbeat");
        assert!(hour.next(days(8)).is_none());
    }

    #[test]
    fn the_facts_of_the_longest_manifest_fit_into_a_receipt() {
        let mut hour = SourceHour::new(&"a".repeat(crate::limits::NAME_BYTES_MAX), UnixMillis(0));
        hour.miss_heartbeat();
        for number in 0..200 {
            hour.count_signal(Seq(1 << 52), UnixMillis(0), Some((1 << 52) + 3 * number));
        }
        let facts = hour.facts();
        assert_eq!((facts["gaps"].as_array().unwrap().len(), &facts["more_gaps"]), (32, &167.into()));
        assert!(facts.to_string().len() <= crate::limits::FACTS_BYTES_MAX, "{}", facts.to_string().len());
    }
}
