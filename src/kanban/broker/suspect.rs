//! Which signal may be what ends this process. The broker counts deliveries and cannot tell the message that kills from
//! those that were held beside it; so from some deliveries on a message is taken alone, and noted on disk before. If the
//! note is still there after a start, this very message was under way when the process ended. After some such ends its
//! signals are taken one by one, each noted; and the one that ends the process again is not decided on but becomes a dead
//! letter, long before the broker would set it and its neighbours aside.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::message::Origin;
use crate::disk::{self, Disk};
use crate::event::{EdgeName, Seq};

/// From so many deliveries on a message is taken alone.
pub const DELIVERIES: u64 = 3;
/// So many ends of the process are enough.
const ENDS: u32 = 3;
/// A longer file is no note.
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

/// The note beside the journal.
pub struct Suspect {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// What was begun last and is not durable, and by how many processes.
    noted: Option<(Begun, u32)>,
    /// This process is one of them.
    here: bool,
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
        Ok(Self { disk, path: path.to_owned(), noted: read(&text), here: false })
    }

    /// How a whole message is to be taken; it is noted where it is taken as a whole.
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
        if self.noted.as_ref().is_some_and(|(begun, _)| inside(begun)) {
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

    /// Notes what is begun; returns whether it has ended this process often enough.
    fn note(&mut self, begins: Begun) -> io::Result<bool> {
        let begun = self.noted.as_ref().filter(|(noted, _)| *noted == begins).map_or(0, |(_, begun)| *begun);
        // A connection that broke in between is no end of the process.
        if begun > 0 && self.here {
            return Ok(begun > ENDS);
        }
        let Begun { edge, partition, through, one } = &begins;
        let what = if *one { "signal" } else { "message" };
        let text = format!("{what} {edge} {partition} {through} {}\n", begun + 1);
        disk::replace(&*self.disk, &self.path, text.as_bytes())?;
        self.noted = Some((begins, begun + 1));
        self.here = true;
        Ok(begun >= ENDS)
    }

    /// What was begun is durable.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn clear(&mut self) -> io::Result<()> {
        if self.noted.take().is_some() {
            self.disk.remove(&self.path)?;
        }
        Ok(())
    }
}

fn read(text: &str) -> Option<(Begun, u32)> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [what, edge, partition, through, begun] = words.as_slice() else { return None };
    let one = match *what {
        "signal" => true,
        "message" => false,
        _ => return None,
    };
    let (partition, through) = (partition.parse().ok()?, Seq(through.parse().ok()?));
    Some((Begun { edge: EdgeName::read(edge).ok()?, partition, through, one }, begun.parse().ok()?))
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
}
