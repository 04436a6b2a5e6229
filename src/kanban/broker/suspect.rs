//! Which message may be what ends this process. The broker cannot tell the message that kills from those that were held
//! beside it: a quorum queue counts deliveries for all of them, a classic queue says only that there was one. So the ends of
//! the process are counted here, on disk:
//!
//! 1. While messages that were delivered before are in hand, a line says so. After `RUNS` processes in a row that ended
//!    like that, or from [`DELIVERIES`] deliveries on, such a message is taken alone.
//! 2. Before it is read a line names it by its digest. What has ended `ENDS` processes there is not read again but
//!    becomes a dead letter as a whole.
//! 3. When it is read, a line names it by its edge and number instead. After `ENDS` more such ends its signals are taken
//!    one by one, each noted, and the one that ends the process again becomes a dead letter.
//!
//! A line stays until what it names is over, whatever is taken before that: each process begins with the messages that the
//! last one took and did not acknowledge, and with those of other partitions. So the innocent are decided, and nothing
//! ends the process for ever.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::message::Origin;
use crate::disk::{self, Disk};
use crate::event::{EdgeName, Seq};
use crate::limits::PARTITIONS_MAX;

/// From so many deliveries on a message is taken alone.
pub const DELIVERIES: u64 = 3;
/// Or after so many processes that ended with redelivered messages in hand.
const RUNS: u32 = 2;
/// Without a delivery for so long, the broker has given all that it had.
pub const QUIET: Duration = Duration::from_secs(1);
/// So many ends of the process are enough.
const ENDS: u32 = 3;
/// A process ends while one message is taken, and each partition has one that is the next. Of more lines the one with the
/// fewest ends is forgotten.
const NOTED_MAX: usize = PARTITIONS_MAX as usize;
/// A longer file is no note: an edge's name has 81 bytes at most.
const NOTE_BYTES_MAX: usize = (NOTED_MAX + 1) * 160;

/// What is begun: a whole message, or one signal of it, by its edge, partition and last number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Begun {
    edge: EdgeName,
    partition: u16,
    through: Seq,
    one: bool,
}

/// What a line names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Noted {
    /// It is being read; by its digest.
    Reading(u64),
    Begun(Begun),
}

impl Noted {
    /// What of this message was begun.
    fn begun_of(&self, origin: &Origin) -> Option<&Begun> {
        let Origin { edge, partition, span } = origin;
        match self {
            Self::Begun(begun) => {
                let inside = span.after < begun.through && begun.through <= span.through;
                (begun.edge == *edge && begun.partition == *partition && inside).then_some(begun)
            }
            Self::Reading(_) => None,
        }
    }
}

/// How what is suspected is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Alone.
    Alone,
    /// One signal after the other.
    OneByOne,
    /// As a dead letter.
    DeadLetter,
}

/// A line of the note: what was begun and is not over, and how many processes before this one ended with it.
#[derive(Clone, Debug)]
struct Line<T> {
    what: T,
    ends: u32,
    /// This process has begun it, too. A connection that broke in between is no end of the process.
    here: bool,
}

impl<T: PartialEq> Line<T> {
    fn of_file(what: T, processes: u32) -> Self {
        Self { what, ends: processes, here: false }
    }

    fn processes(&self) -> u32 {
        self.ends + u32::from(self.here)
    }

    /// This process begins it; whether that is new.
    fn begin(&mut self) -> bool {
        !std::mem::replace(&mut self.here, true)
    }

    /// This process has not begun it; whether it had.
    fn forget(&mut self) -> bool {
        std::mem::take(&mut self.here)
    }
}

/// The note beside the journal.
pub struct Suspect {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Redelivered messages are in hand.
    run: Option<Line<()>>,
    /// What was begun and is not over, the oldest first.
    noted: Vec<Line<Noted>>,
    /// The file has lines of what is over.
    is_stale: bool,
}

impl Suspect {
    /// Reads the note; nothing is suspected where nothing readable is.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let text = match disk::read(&*disk, path, NOTE_BYTES_MAX) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            // A file that is longer than any note is none.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
                String::new()
            }
            Err(error) => return Err(error),
        };
        let mut suspect = Self { disk, path: path.to_owned(), run: None, noted: Vec::new(), is_stale: false };
        for line in text.lines() {
            suspect.read(line);
        }
        Ok(suspect)
    }

    /// What is not a line of ours says nothing.
    fn read(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["run", processes] => self.run = Some(Line::of_file((), processes.parse().ok()?)),
            ["reading", digest, processes] => {
                let digest = u64::from_str_radix(digest, 16).ok()?;
                self.noted.push(Line::of_file(Noted::Reading(digest), processes.parse().ok()?));
            }
            [what @ ("message" | "signal"), edge, partition, through, processes] => {
                let (partition, through) = (partition.parse().ok()?, Seq(through.parse().ok()?));
                let begun =
                    Begun { edge: EdgeName::read(edge).ok()?, partition, through, one: *what == "signal" };
                self.noted.push(Line::of_file(Noted::Begun(begun), processes.parse().ok()?));
            }
            _ => {}
        }
        Some(())
    }

    /// Writes the note, or removes it where nothing is noted.
    fn write(&mut self) -> io::Result<()> {
        let mut text = String::new();
        // Writing to a string does not fail.
        if let Some(line) = &self.run {
            let _ = writeln!(text, "run {}", line.processes());
        }
        for line in &self.noted {
            let processes = line.processes();
            let _ = match &line.what {
                Noted::Reading(digest) => writeln!(text, "reading {digest:016x} {processes}"),
                Noted::Begun(Begun { edge, partition, through, one }) => {
                    let what = if *one { "signal" } else { "message" };
                    writeln!(text, "{what} {edge} {partition} {through} {processes}")
                }
            };
        }
        if text.is_empty() {
            match self.disk.remove(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        } else {
            disk::replace(&*self.disk, &self.path, text.as_bytes())?;
        }
        self.is_stale = false;
        Ok(())
    }

    /// Notes what is begun; returns how many processes ended with it.
    fn note(&mut self, begins: Noted) -> io::Result<u32> {
        let known = self.noted.iter().position(|line| line.what == begins);
        let at = known.unwrap_or_else(|| {
            self.make_room();
            self.noted.push(Line { what: begins, ends: 0, here: false });
            self.noted.len() - 1
        });
        let line = &mut self.noted[at];
        let (ends, is_new) = (line.ends, line.begin());
        if is_new || self.is_stale {
            self.write()?;
        }
        Ok(ends)
    }

    fn make_room(&mut self) {
        if self.noted.len() < NOTED_MAX {
            return;
        }
        let fewest = self.noted.iter().enumerate().min_by_key(|(_, line)| (line.here, line.ends));
        if let Some((at, _)) = fewest {
            self.noted.remove(at);
        }
    }

    /// These are over; the file says so with the next change, or when it is written.
    fn strike(&mut self, is_over: impl Fn(&Line<Noted>) -> bool) {
        let before = self.noted.len();
        self.noted.retain(|line| !is_over(line));
        self.is_stale |= self.noted.len() < before;
    }

    /// A message comes that was delivered before; returns whether such a one is to be taken alone.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be begun.
    pub fn redelivered(&mut self) -> io::Result<bool> {
        let line = self.run.get_or_insert(Line { what: (), ends: 0, here: false });
        let (alone, is_new) = (line.ends >= RUNS, line.begin());
        if is_new {
            self.write()?;
        }
        Ok(alone)
    }

    /// No redelivered message is in hand any more.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn calm(&mut self) -> io::Result<()> {
        // What earlier processes noted counts until this one had such messages in hand.
        if self.run.take_if(|line| line.here).is_none() { Ok(()) } else { self.write() }
    }

    /// The process ends in order: that is none of the ends that count.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn end(&mut self) -> io::Result<()> {
        let mut had_begun = self.run.as_mut().is_some_and(Line::forget);
        self.run.take_if(|line| line.ends == 0);
        for line in &mut self.noted {
            had_begun |= line.forget();
        }
        self.strike(|line| line.ends == 0);
        if had_begun || self.is_stale { self.write() } else { Ok(()) }
    }

    /// A message that may be what ends the process is about to be read; returns whether it must not be.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be read.
    pub fn begin_reading(&mut self, digest: u64) -> io::Result<bool> {
        Ok(self.note(Noted::Reading(digest))? >= ENDS)
    }

    /// What was being read is read.
    pub fn end_reading(&mut self) {
        self.strike(|line| line.here && line.ends < ENDS && matches!(line.what, Noted::Reading(_)));
    }

    /// How a whole message is to be taken that was read; it is noted where it is taken as a whole.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be begun.
    pub fn begin(&mut self, origin: &Origin, signals: usize) -> io::Result<Care> {
        let Origin { edge, partition, span } = origin;
        if self.noted.iter().any(|line| line.what.begun_of(origin).is_some_and(|begun| begun.one)) {
            return Ok(Care::OneByOne);
        }
        let whole =
            Begun { edge: edge.clone(), partition: *partition, through: span.through, one: signals == 1 };
        if signals == 1 {
            return self.begin_one(whole);
        }
        let whole = Noted::Begun(whole);
        if self.note(whole.clone())? < ENDS {
            return Ok(Care::Alone);
        }
        // From here on its signals are noted.
        self.strike(|line| line.what == whole);
        Ok(Care::OneByOne)
    }

    /// The same for one signal of a message.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be begun.
    pub fn begin_signal(&mut self, edge: &EdgeName, partition: u16, number: Seq) -> io::Result<Care> {
        self.begin_one(Begun { edge: edge.clone(), partition, through: number, one: true })
    }

    fn begin_one(&mut self, one: Begun) -> io::Result<Care> {
        let ends = self.note(Noted::Begun(one))?;
        Ok(if ends >= ENDS { Care::DeadLetter } else { Care::Alone })
    }

    /// All of a message was durable before.
    pub fn repeats(&mut self, origin: &Origin) {
        self.strike(|line| {
            line.what.begun_of(origin).is_some() || line.here && matches!(line.what, Noted::Reading(_))
        });
    }

    /// What was begun is durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn clear(&mut self) -> io::Result<()> {
        self.strike(|line| line.here);
        if self.is_stale { self.write() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::kanban::broker::message::Span;

    const EDGE: &str = "edge-1.0123456789abcdef";

    fn edge() -> EdgeName {
        EdgeName::read(EDGE).unwrap()
    }

    fn message(after: u64, through: u64) -> Origin {
        Origin { edge: edge(), partition: 2, span: Span { after: Seq(after), through: Seq(through) } }
    }

    #[test]
    fn only_what_ends_the_process_again_and_again_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
        for _ in 0..2 {
            assert_eq!(open().begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
        // A broken connection is no end, and what was taken is no suspect.
        let mut suspect = open();
        for _ in 0..9 {
            assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
        suspect.clear().unwrap();
        assert!(!path.exists());
        for _ in 0..3 {
            assert_eq!(open().begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
        assert_eq!(open().begin(&message(1, 9), 5).unwrap(), Care::OneByOne);
        // From there on it is one signal that is noted, and the message is known by it.
        for _ in 0..3 {
            let mut suspect = open();
            let _one_by_one = suspect.begin(&message(1, 9), 5).unwrap();
            assert_eq!(suspect.begin_signal(&edge(), 2, Seq(4)).unwrap(), Care::Alone);
            assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::OneByOne);
        }
        assert_eq!(open().begin_signal(&edge(), 2, Seq(4)).unwrap(), Care::DeadLetter);
        // A message of one signal is one.
        std::fs::write(&path, format!("signal {EDGE} 2 20 3\n")).unwrap();
        assert_eq!(open().begin(&message(19, 20), 1).unwrap(), Care::OneByOne);
        for no_note in [b"anything".to_vec(), vec![0xff; 9], vec![b'a'; NOTE_BYTES_MAX + 1]] {
            std::fs::write(&path, no_note).unwrap();
            assert_eq!(open().begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
    }

    #[test]
    fn what_ends_the_process_before_it_is_read_is_given_up_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
        // The first two processes take what was delivered before as ever, the next ones take it alone.
        for run in 0..3 {
            let mut suspect = open();
            assert_eq!(suspect.redelivered().unwrap(), run >= 2);
            assert_eq!(suspect.redelivered().unwrap(), run >= 2, "a broken connection is no end");
        }
        for end in 0..4 {
            assert_eq!(open().begin_reading(9).unwrap(), end == 3);
        }
        let mut suspect = open();
        assert!(suspect.begin_reading(9).unwrap());
        suspect.clear().unwrap();
        assert!(path.exists(), "others are in hand");
        assert!(suspect.redelivered().unwrap());
        suspect.calm().unwrap();
        assert!(!path.exists());
        let mut suspect = open();
        assert!(!suspect.redelivered().unwrap());
        suspect.begin_reading(1).unwrap();
        suspect.end().unwrap();
        assert!(!path.exists(), "an end in order does not count");
        assert!(!open().redelivered().unwrap());
        let mut suspect = open();
        suspect.calm().unwrap();
        assert!(path.exists(), "it counts until such messages were in hand");
    }

    /// What each process finds before it: an innocent message that the last one took and did not acknowledge, or one of
    /// another partition.
    fn innocent(suspect: &mut Suspect, number: u64, is_repeat: bool) {
        let origin = Origin { partition: 7, ..message(number, number + 1) };
        assert!(!suspect.begin_reading(number).unwrap());
        suspect.end_reading();
        if is_repeat {
            suspect.repeats(&origin);
        } else {
            assert_eq!(suspect.begin(&origin, 2).unwrap(), Care::Alone);
            suspect.clear().unwrap();
        }
    }

    #[test]
    fn what_is_taken_before_the_one_that_kills_does_not_make_its_ends_forgotten() {
        for is_repeat in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("suspect");
            let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
            for end in 0..4 {
                let mut suspect = open();
                innocent(&mut suspect, 100 + end, is_repeat);
                assert_eq!(suspect.begin_reading(8).unwrap(), end == 3);
            }
            let mut suspect = open();
            assert!(suspect.begin_reading(8).unwrap());
            suspect.clear().unwrap();
            for end in 0..4 {
                let mut suspect = open();
                innocent(&mut suspect, 200 + end, is_repeat);
                let care = if end == 3 { Care::OneByOne } else { Care::Alone };
                assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), care);
            }
            for end in 0..4 {
                let mut suspect = open();
                innocent(&mut suspect, 300 + end, is_repeat);
                let care = if end == 3 { Care::DeadLetter } else { Care::Alone };
                assert_eq!(suspect.begin_signal(&edge(), 2, Seq(4)).unwrap(), care);
            }
        }
    }

    #[test]
    fn what_was_durable_before_leaves_no_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
        assert_eq!(open().begin_signal(&edge(), 2, Seq(4)).unwrap(), Care::Alone);
        let mut suspect = open();
        suspect.repeats(&Origin { partition: 3, ..message(1, 9) });
        suspect.repeats(&message(4, 9));
        assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::OneByOne);
        suspect.repeats(&message(1, 9));
        suspect.clear().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_note_has_a_bound_and_keeps_what_ended_most_processes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
        for _ in 0..2 {
            assert!(!open().begin_reading(1).unwrap());
        }
        let name = format!("{}.{}", "e".repeat(64), "0123456789abcdef");
        let edge = EdgeName::read(&name).unwrap();
        let begin = |number| open().begin_signal(&edge, PARTITIONS_MAX - 1, Seq(u64::MAX - number)).unwrap();
        for number in 0..NOTED_MAX as u64 * 2 {
            assert_eq!(begin(number), Care::Alone);
        }
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert_eq!(lines, NOTED_MAX);
        assert!(!open().begin_reading(1).unwrap());
        assert!(open().begin_reading(1).unwrap(), "its three ends are known");
    }

    #[test]
    fn being_read_and_being_begun_are_counted_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
        for _ in 0..3 {
            let mut suspect = open();
            assert!(!suspect.begin_reading(7).unwrap());
            suspect.end_reading();
            assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
        let mut suspect = open();
        assert!(!suspect.begin_reading(7).unwrap(), "it is read each time");
        suspect.end_reading();
        assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::OneByOne);
    }
}
