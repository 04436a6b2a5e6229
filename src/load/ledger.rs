//! What the server promised. Accepted units are remembered in 16 bytes each, for duplicates and for `--verify`; all
//! else about them follows from their number. `--accepted-log` writes the same as text, for a harness that kills
//! the server and asks it afterwards what it still knows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::LoadError;
use super::plan::Plan;
use super::request::Template;
use crate::config::file;

/// Units that a run remembers, all threads together: 512 MiB. Further ones are counted and not verified.
pub const UNITS_MAX: usize = 32 * 1024 * 1024;
/// Units in one piece of the memory, so that it grows without a long copy.
const PIECE_UNITS: usize = 64 * 1024;
/// Accepted requests that duplicates are drawn from.
const RECENT_MAX: usize = 4096;
/// The log goes to the file when it has so many bytes, and at every tick.
const LOG_BYTES: usize = 256 * 1024;

/// One accepted request: its number and the seq of its first signal. The signals of a unit have successive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub request: u64,
    pub seq: u64,
}

/// Accepted units.
#[derive(Debug)]
pub struct Ledger {
    pieces: Vec<Vec<Unit>>,
    max: usize,
    count: usize,
    /// Units beyond the cap.
    pub forgotten: u64,
}

impl Ledger {
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { pieces: Vec::new(), max, count: 0, forgotten: 0 }
    }

    pub fn push(&mut self, unit: Unit) {
        if self.count >= self.max {
            self.forgotten += 1;
            return;
        }
        self.count += 1;
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE_UNITS => piece.push(unit),
            _ => {
                let mut piece = Vec::with_capacity(PIECE_UNITS.min(self.max));
                piece.push(unit);
                self.pieces.push(piece);
            }
        }
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn add(&mut self, other: Self) {
        self.pieces.extend(other.pieces);
        self.count += other.count;
        self.forgotten += other.forgotten;
    }

    /// All units, in the order of the answers, thread by thread.
    pub fn into_units(self) -> impl Iterator<Item = Unit> {
        self.pieces.into_iter().flatten()
    }
}

/// The newest accepted units, for duplicates.
#[derive(Debug, Default)]
pub struct Recent {
    units: Vec<Unit>,
    next: usize,
}

impl Recent {
    pub fn push(&mut self, unit: Unit) {
        if self.units.len() < RECENT_MAX {
            self.units.push(unit);
        } else if let Some(oldest) = self.units.get_mut(self.next) {
            *oldest = unit;
            self.next = (self.next + 1) % RECENT_MAX;
        }
    }

    /// One of them, chosen by the plan.
    #[must_use]
    pub fn pick(&self, plan: &Plan, request: u64) -> Option<Unit> {
        self.units.get(plan.repeat(request, self.units.len())).copied()
    }
}

/// How a request ended, for the log.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Acked { seq: u64, duplicate: bool },
    Unknown,
    Refused { status: u16 },
}

/// The client's own log: one line for each signal.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    lines: Vec<u8>,
}

impl Log {
    /// Begins a new log. A pipe is refused: a slow reader would slow the run.
    pub fn create(path: &Path) -> Result<(), LoadError> {
        file::open_to_write(path).and_then(|file| file.set_len(0)).map_err(|source| failed(path, source))
    }

    /// One thread's handle; each writes whole lines at the file's end.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let file = OpenOptions::new().append(true).open(path).map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_owned(), file, lines: Vec::with_capacity(2 * LOG_BYTES) })
    }

    pub fn note(
        &mut self,
        plan: &Plan,
        template: &Template,
        request: u64,
        ending: Ending,
    ) -> Result<(), LoadError> {
        self.append(plan, template, request, ending).map_err(|source| failed(&self.path, source))?;
        if self.lines.len() >= LOG_BYTES { self.flush() } else { Ok(()) }
    }

    fn append(&mut self, plan: &Plan, template: &Template, request: u64, ending: Ending) -> io::Result<()> {
        for (index, signal) in (0..).zip(plan.signals(request)) {
            let lines = &mut self.lines;
            match ending {
                Ending::Acked { .. } => lines.extend_from_slice(b"acked "),
                Ending::Unknown => lines.extend_from_slice(b"unknown "),
                Ending::Refused { status } => write!(lines, "refused {status} ")?,
            }
            template.tenant(lines, plan.tenant(signal));
            lines.push(b' ');
            template.id(lines, signal);
            if let Ending::Acked { seq, duplicate } = ending {
                write!(lines, " {} {}", seq + index, u8::from(duplicate))?;
            }
            lines.push(b'\n');
        }
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), LoadError> {
        if !self.lines.is_empty() {
            self.file.write_all(&self.lines).map_err(|source| failed(&self.path, source))?;
            self.lines.clear();
        }
        Ok(())
    }
}

fn failed(path: &Path, source: io::Error) -> LoadError {
    LoadError::Log { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_says_what_it_forgot() {
        let mut ledger = Ledger::new(3);
        (0..5).for_each(|request| ledger.push(Unit { request, seq: 10 + request }));
        assert_eq!((ledger.count(), ledger.forgotten), (3, 2));
        assert_eq!(ledger.into_units().map(|unit| unit.seq).collect::<Vec<_>>(), [10, 11, 12]);
    }

    #[test]
    fn pieces_follow_one_another() {
        let mut ledger = Ledger::new(usize::MAX);
        let count = PIECE_UNITS as u64 * 2 + 5;
        (0..count).for_each(|request| ledger.push(Unit { request, seq: request }));
        assert!(ledger.into_units().map(|unit| unit.request).eq(0..count));
    }
}
