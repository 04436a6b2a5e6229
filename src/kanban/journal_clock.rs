//! The journal's clock: its time, what others see of it, and the note from which the next process of the same boot knows
//! how much time has passed since.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Doubt, Kept, Look, Timekeeper};
use crate::disk::{self, Disk};
use crate::event::UnixMillis;
use crate::ring::Mark;

/// What others see of the clock.
#[derive(Clone, Debug)]
pub struct Marks {
    /// The journal's time, in milliseconds since 1970; 0 before it begins.
    pub time: Mark,
    /// Wall time minus journal time in milliseconds, as the bits of an `i64`.
    difference: Mark,
    /// 0, 1 while the wall clock is too far ahead to be followed, 2 while it is far behind.
    doubt: Mark,
    doubts: Mark,
}

impl Default for Marks {
    fn default() -> Self {
        let zero = || Mark::new(0);
        Self { time: zero(), difference: zero(), doubt: zero(), doubts: zero() }
    }
}

impl Marks {
    /// Wall time minus journal time, in milliseconds.
    #[must_use]
    pub fn difference(&self) -> i64 {
        self.difference.read().cast_signed()
    }

    /// Why the wall clock is not followed, if it is not.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        let by = self.difference().unsigned_abs();
        match self.doubt.read() {
            0 => None,
            1 => Some(Doubt::Ahead(by)),
            _ => Some(Doubt::Behind(by)),
        }
    }

    /// How often a doubt began.
    #[must_use]
    pub fn doubts(&self) -> u64 {
        self.doubts.read()
    }
}

/// What a journal's clock begins with.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The journal's last stamp.
    pub last: UnixMillis,
    /// Which boot of the machine this is.
    pub boot_id: Option<Box<str>>,
    /// How long identities are kept.
    pub kept_for: Duration,
    pub look: Look,
}

/// The journal's clock.
pub struct JournalClock {
    keeper: Timekeeper,
    note: Option<Note>,
    marks: Marks,
}

/// What is left to the next process.
struct Note {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    boot_id: Box<str>,
    written: Option<Kept>,
}

/// A note is a line of a few numbers.
const NOTE_BYTES_MAX: usize = 1024;

impl JournalClock {
    /// Goes on where the journal in `dir` ended.
    #[must_use]
    pub fn begin(disk: &Arc<dyn Disk>, dir: &Path, begin: Begin, marks: Marks) -> Self {
        let Begin { last, boot_id, kept_for, look } = begin;
        let path = dir.join("clock");
        let note = boot_id.map(|boot_id| {
            let bytes = disk::read(&**disk, &path, NOTE_BYTES_MAX).ok();
            // A note that cannot be read is none: then the wall clock tells how much time has passed.
            let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            let written = text.and_then(|text| Kept::from_text(&text, &boot_id));
            Note { disk: Arc::clone(disk), path, boot_id, written }
        });
        let kept = note.as_ref().and_then(|note| note.written.as_ref());
        let last = (last > UnixMillis(0)).then_some(last);
        let mut clock = Self { keeper: Timekeeper::begin(last, kept, kept_for, look), note, marks };
        clock.publish();
        clock.keep();
        clock
    }

    /// See [`Timekeeper::take_step`].
    pub fn take_step(&mut self) -> u64 {
        self.keeper.take_step()
    }

    /// The journal's time at this look.
    pub fn stamp(&mut self, look: Look) -> UnixMillis {
        let stamp = self.keeper.stamp(look);
        self.publish();
        stamp
    }

    /// The journal's time at the last look.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.keeper.now()
    }

    /// The time by which things are forgotten ([`Timekeeper::lived`]).
    pub fn lived(&mut self) -> UnixMillis {
        self.keeper.lived()
    }

    fn publish(&self) {
        let doubt = match self.keeper.doubt() {
            None => 0,
            Some(Doubt::Ahead(_)) => 1,
            Some(Doubt::Behind(_)) => 2,
        };
        self.marks.time.publish(self.keeper.now().0);
        self.marks.difference.publish(self.keeper.difference().cast_unsigned());
        self.marks.doubt.publish(doubt);
        self.marks.doubts.publish(self.keeper.doubts());
    }

    /// Leaves the next process what it needs, where that has changed.
    pub fn keep(&mut self) {
        let kept = self.keeper.kept();
        let Some(note) = &mut self.note else { return };
        if note.written.as_ref().is_some_and(|written| kept.is_near(written)) {
            return;
        }
        let text = kept.to_text(&note.boot_id);
        // Tried again a second later; a process that finds an old note doubts the wall clock for longer.
        if disk::replace(&*note.disk, &note.path, text.as_bytes()).is_ok() {
            note.written = Some(kept);
        }
    }
}

impl std::fmt::Debug for JournalClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalClock").field("keeper", &self.keeper).finish_non_exhaustive()
    }
}
