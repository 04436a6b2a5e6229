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
//! So the innocent are decided, and nothing ends the process for ever.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::message::Origin;
use crate::disk::{self, Disk};
use crate::event::{EdgeName, Seq};

/// From so many deliveries on a message is taken alone.
pub const DELIVERIES: u64 = 3;
/// Or after so many processes that ended with redelivered messages in hand.
const RUNS: u32 = 2;
/// Without a delivery for so long, the broker has given all that it had.
pub const QUIET: Duration = Duration::from_secs(1);
/// So many ends of the process are enough.
const ENDS: u32 = 3;
/// A longer file is no note: it has three lines.
const NOTE_BYTES_MAX: usize = 512;

/// What is begun: a whole message, or one signal of it, by its edge, partition and last number.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Begun {
    edge: EdgeName,
    partition: u16,
    through: Seq,
    one: bool,
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

    /// This process has not begun it; whether it had.
    fn forget(line: &mut Option<Self>) -> bool {
        let was_here = line.as_mut().is_some_and(|line| std::mem::take(&mut line.here));
        line.take_if(|line| line.ends == 0);
        was_here
    }

    /// The line of `what`, begun here; whether it is to be written.
    fn begin(line: Option<Self>, what: T) -> (Self, bool) {
        match line.filter(|line| line.what == what) {
            Some(line) if line.here => (line, false),
            Some(line) => (Self { here: true, ..line }, true),
            None => (Self { what, ends: 0, here: true }, true),
        }
    }
}

/// The note beside the journal.
pub struct Suspect {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Redelivered messages are in hand.
    run: Option<Line<()>>,
    /// What is being read, by its digest.
    reading: Option<Line<u64>>,
    /// What was begun last and is not durable.
    begun: Option<Line<Begun>>,
}

impl Suspect {
    /// Reads the note; nothing is suspected where nothing readable is.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> io::Result<Self> {
        let text = match disk::read(&*disk, path, NOTE_BYTES_MAX) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut suspect = Self { disk, path: path.to_owned(), run: None, reading: None, begun: None };
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
                self.reading = Some(Line::of_file(digest, processes.parse().ok()?));
            }
            [what @ ("message" | "signal"), edge, partition, through, processes] => {
                let (partition, through) = (partition.parse().ok()?, Seq(through.parse().ok()?));
                let begun =
                    Begun { edge: EdgeName::read(edge).ok()?, partition, through, one: *what == "signal" };
                self.begun = Some(Line::of_file(begun, processes.parse().ok()?));
            }
            _ => {}
        }
        Some(())
    }

    fn write(&self) -> io::Result<()> {
        let mut text = String::new();
        // Writing to a string does not fail.
        if let Some(line) = &self.run {
            let _ = writeln!(text, "run {}", line.processes());
        }
        if let Some(line) = &self.reading {
            let _ = writeln!(text, "reading {:016x} {}", line.what, line.processes());
        }
        if let Some(line) = &self.begun {
            let Begun { edge, partition, through, one } = &line.what;
            let what = if *one { "signal" } else { "message" };
            let _ = writeln!(text, "{what} {edge} {partition} {through} {}", line.processes());
        }
        disk::replace(&*self.disk, &self.path, text.as_bytes())
    }

    /// A message comes that was delivered before; returns whether such a one is to be taken alone.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be begun.
    pub fn redelivered(&mut self) -> io::Result<bool> {
        let (line, is_new) = Line::begin(self.run.take(), ());
        let alone = line.ends >= RUNS;
        self.run = Some(line);
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
        if self.run.take_if(|line| line.here).is_none() {
            return Ok(());
        }
        if self.reading.is_none() && self.begun.is_none() {
            return self.disk.remove(&self.path);
        }
        self.write()
    }

    /// The process ends in order: that is none of the ends that count.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn end(&mut self) -> io::Result<()> {
        let begun_here =
            [Line::forget(&mut self.run), Line::forget(&mut self.reading), Line::forget(&mut self.begun)];
        if !begun_here.contains(&true) {
            return Ok(());
        }
        let is_empty = self.run.is_none() && self.reading.is_none() && self.begun.is_none();
        if is_empty { self.disk.remove(&self.path) } else { self.write() }
    }

    /// A message that may be what ends the process is about to be read; returns whether it must not be.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be read.
    pub fn begin_reading(&mut self, digest: u64) -> io::Result<bool> {
        let (line, is_new) = Line::begin(self.reading.take(), digest);
        let enough = line.ends >= ENDS;
        self.reading = Some(line);
        if is_new {
            self.write()?;
        }
        Ok(enough)
    }

    /// How a whole message is to be taken that was read; it is noted where it is taken as a whole.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be begun.
    pub fn begin(&mut self, origin: &Origin, signals: usize) -> io::Result<Care> {
        let Origin { edge, partition, span } = origin;
        let inside = |begun: &Begun| {
            begun.one
                && begun.edge == *edge
                && begun.partition == *partition
                && (span.after < begun.through && begun.through <= span.through)
        };
        if self.begun.as_ref().is_some_and(|line| inside(&line.what)) {
            return Ok(Care::OneByOne);
        }
        let whole =
            Begun { edge: edge.clone(), partition: *partition, through: span.through, one: signals == 1 };
        if signals == 1 {
            return self.begin_one(whole);
        }
        let enough = self.note(whole)?;
        Ok(if enough { Care::OneByOne } else { Care::Alone })
    }

    /// The same for one signal of a message.
    ///
    /// # Errors
    /// Whatever the disk says; then it must not be begun.
    pub fn begin_signal(&mut self, edge: &EdgeName, partition: u16, number: Seq) -> io::Result<Care> {
        self.begin_one(Begun { edge: edge.clone(), partition, through: number, one: true })
    }

    fn begin_one(&mut self, one: Begun) -> io::Result<Care> {
        let enough = self.note(one)?;
        Ok(if enough { Care::DeadLetter } else { Care::Alone })
    }

    /// Notes what is begun, in the place of its being read; returns whether it has ended this process often enough.
    fn note(&mut self, begins: Begun) -> io::Result<bool> {
        let (line, is_new) = Line::begin(self.begun.take(), begins);
        let enough = line.ends >= ENDS;
        self.begun = Some(line);
        if self.reading.take().is_some() || is_new {
            self.write()?;
        }
        Ok(enough)
    }

    /// What was begun is durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn clear(&mut self) -> io::Result<()> {
        let (reading, begun) = (self.reading.take(), self.begun.take());
        if reading.is_none() && begun.is_none() {
            return Ok(());
        }
        if self.run.is_none() { self.disk.remove(&self.path) } else { self.write() }
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
        // Another one begins anew, a broken connection is no end, and what was taken is no suspect.
        assert_eq!(open().begin(&message(9, 12), 3).unwrap(), Care::Alone);
        let mut suspect = open();
        for _ in 0..9 {
            assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
        suspect.clear().unwrap();
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
        std::fs::write(&path, "anything").unwrap();
        assert_eq!(open().begin(&message(1, 9), 5).unwrap(), Care::Alone);
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
        // An innocent one is read, begun and durable; the next one is never more than being read.
        for end in 0..5 {
            let mut suspect = open();
            assert!(suspect.redelivered().unwrap());
            assert!(!suspect.begin_reading(7).unwrap());
            assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::Alone);
            suspect.clear().unwrap();
            let enough = suspect.begin_reading(8).unwrap();
            assert!(!enough, "an innocent one was read in between, {end}");
        }
        for end in 0..4 {
            assert_eq!(open().begin_reading(9).unwrap(), end == 3);
        }
        let mut suspect = open();
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

    #[test]
    fn being_read_and_being_begun_are_counted_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let open = || Suspect::open(Arc::new(RealDisk), &path).unwrap();
        for _ in 0..3 {
            let mut suspect = open();
            assert!(!suspect.begin_reading(7).unwrap());
            assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::Alone);
        }
        let mut suspect = open();
        assert!(!suspect.begin_reading(7).unwrap(), "it is read each time");
        assert_eq!(suspect.begin(&message(1, 9), 5).unwrap(), Care::OneByOne);
    }
}
