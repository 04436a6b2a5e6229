//! How often the line may start again (blueprint: 5 restarts in 60 s), and what is not decided a third time.
//!
//! Restart is recovery: behind the journal nothing is certain but the journal, so a stage that panics takes the line
//! down to it and the line is taken up from there, as after a crash, within the same process. Ingress stands last in the
//! order and shares nothing but its lanes, which outlive it; it starts again alone. The journal's own panic ends the
//! process.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Instant;
use crate::disk::{self, Disk};
use crate::event::Seq;

/// Restarts allowed in one [`RESTART_WINDOW`]; the one after ends the process.
pub const RESTARTS_MAX: usize = 5;
pub const RESTART_WINDOW: Duration = Duration::from_mins(1);
/// Times that one event may panic before it is parked.
const PANICS_MAX: u32 = 2;
/// The list of parked events has at most so many bytes: about 100,000 of them.
const PARKED_BYTES_MAX: usize = 2 << 20;

/// A stage panicked too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften;

/// Counts restarts.
#[derive(Debug, Default)]
pub struct Restarts {
    recent: VecDeque<Instant>,
    total: u64,
}

impl Restarts {
    /// Allows a restart, or not.
    pub fn allow(&mut self, now: Instant) -> Result<(), TooOften> {
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) >= RESTART_WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.len() >= RESTARTS_MAX {
            return Err(TooOften);
        }
        self.recent.push_back(now);
        self.total += 1;
        Ok(())
    }

    /// Restarts since the process began.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// Events whose decision panics. They are kept beside the journal, since with them the same journal gives the same
/// receipts (promise P8).
#[derive(Debug)]
pub struct Parked {
    path: PathBuf,
    events: HashSet<Seq>,
    panics: HashMap<Seq, u32>,
}

impl Parked {
    /// Reads the list beside the journal in `dir`; it is empty while there is none.
    pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Self> {
        let path = dir.join("parked");
        let text = match disk::read(disk, &path, PARKED_BYTES_MAX) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_else(|_| "not text".into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let number = |line: &str| line.parse().map(Seq).map_err(|_| not_a_list(&path));
        let events = text.lines().map(number).collect::<io::Result<_>>()?;
        Ok(Self { path, events, panics: HashMap::new() })
    }

    #[must_use]
    pub fn events(&self) -> &HashSet<Seq> {
        &self.events
    }

    /// Notes that deciding on `seq` panicked. The second time it is parked; returns whether it is.
    pub fn panicked(&mut self, disk: &dyn Disk, seq: Seq) -> io::Result<bool> {
        let panics = self.panics.entry(seq).or_insert(0);
        *panics += 1;
        if *panics < PANICS_MAX {
            return Ok(false);
        }
        self.events.insert(seq);
        let mut events: Vec<u64> = self.events.iter().map(|seq| seq.0).collect();
        events.sort_unstable();
        let mut text = String::new();
        for seq in events {
            text.push_str(&format!("{seq}\n"));
        }
        disk::replace(disk, &self.path, text.as_bytes())?;
        Ok(true)
    }
}

fn not_a_list(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a list of event numbers", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::disk::RealDisk;

    #[test]
    fn the_sixth_restart_within_a_minute_is_refused() {
        let begun = clock::now();
        let mut restarts = Restarts::default();
        for second in 0..5 {
            assert_eq!(restarts.allow(begun + Duration::from_secs(second)), Ok(()));
        }
        assert_eq!(restarts.allow(begun + Duration::from_millis(59_900)), Err(TooOften));
        assert_eq!(
            restarts.allow(begun + Duration::from_millis(60_100)),
            Ok(()),
            "the first is a minute old"
        );
        assert_eq!(restarts.allow(begun + Duration::from_millis(60_200)), Err(TooOften));
        assert_eq!(restarts.total(), 6);
    }

    #[test]
    fn an_event_that_panics_twice_is_parked_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let mut parked = Parked::read(&RealDisk, dir.path()).unwrap();
        assert!(!parked.panicked(&RealDisk, Seq(7)).unwrap());
        assert!(!parked.panicked(&RealDisk, Seq(9)).unwrap());
        assert!(parked.panicked(&RealDisk, Seq(7)).unwrap());
        let parked = Parked::read(&RealDisk, dir.path()).unwrap();
        assert_eq!(parked.events(), &HashSet::from([Seq(7)]));
        std::fs::write(dir.path().join("parked"), "seven\n").unwrap();
        assert!(Parked::read(&RealDisk, dir.path()).unwrap_err().to_string().contains("not a list"));
    }
}
