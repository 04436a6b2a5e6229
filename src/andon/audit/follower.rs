//! Follows the log: takes what was committed since the last look, and appends it to the file. Whatever fails is tried again from
//! what is in the file; the log keeps the rest.

use std::path::Path;
use std::sync::Arc;

use super::ending::LastLine;
use super::error::AuditError;
use super::file::{AuditFile, AuditOpened};
use super::plan::AuditPlan;
use super::position::{AuditPosition, PositionFile, WrittenEntry};
use crate::andon::log::{LogWalk, LoggedBatch, LoggedReceipt, Reader};
use crate::clock::Instant;
use crate::disk::{Disk, PIECE_BYTES};
use crate::limits::{AUDIT_ENTRIES_NOTED, AUDIT_ENTRIES_ROUND};
use crate::net::backoff;
use crate::ring::Mark;

/// Writes one audit file.
#[derive(Debug)]
pub struct AuditFollower {
    walk: LogWalk,
    file: AuditFile,
    kept: PositionFile,
    marks: AuditMarks,
    /// `None` until it was found out where to go on.
    position: Option<AuditPosition>,
    /// What is kept of it.
    noted: Option<AuditPosition>,
    lines: Lines,
    failing: Failing,
}

#[derive(Debug)]
struct AuditMarks {
    /// Entries of the log that are committed.
    size: Mark,
    /// Those that are in the file, or left out on purpose.
    through: Mark,
}

/// Lines on their way to the file.
#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    last: Option<WrittenEntry>,
}

/// Times that it failed in a row, and when it is tried again.
#[derive(Debug, Default)]
struct Failing {
    times: u32,
    again: Option<Instant>,
}

/// How far audit files are behind the log, as others see it.
#[derive(Clone, Debug)]
pub struct AuditLag {
    size: Mark,
    through: Vec<Mark>,
}

impl AuditLag {
    /// Of these files, behind a log that is committed up to `size`.
    #[must_use]
    pub fn new(size: Mark, followers: &[AuditFollower]) -> Self {
        Self { size, through: followers.iter().map(|follower| follower.marks.through.clone()).collect() }
    }

    /// Receipts that are in the log and not in each file; 0 where there is none.
    #[must_use]
    pub fn receipts(&self) -> u64 {
        let size = self.size.read();
        self.through.iter().map(|through| size.saturating_sub(through.read())).max().unwrap_or(0)
    }
}

impl AuditFollower {
    /// `size` says how far the log is committed.
    #[must_use]
    pub fn new(
        plan: AuditPlan,
        reader: Reader,
        size: Mark,
        (disk, data_dir): (Arc<dyn Disk>, &Path),
    ) -> Self {
        let kept = PositionFile::new(disk, data_dir, &plan.path);
        Self {
            walk: LogWalk::new(reader, 0),
            file: AuditFile::new(plan),
            kept,
            marks: AuditMarks { size, through: Mark::new(0) },
            position: None,
            noted: None,
            lines: Lines::default(),
            failing: Failing::default(),
        }
    }

    /// Finds out where to go on.
    ///
    /// # Errors
    /// What does not pass by itself: the file and the log contradict each other.
    pub fn resume(&mut self) -> Result<(), AuditError> {
        match self.open() {
            Err(error) if !error.passes() => Err(error),
            // It is tried again, and told, when it is written.
            Err(_) => {
                self.file.close();
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether everything that the log had at the last look is in the file.
    #[must_use]
    pub fn is_level(&self) -> bool {
        self.position.is_some_and(|position| position.through >= self.marks.size.read())
    }

    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.times > 0
    }

    /// Writes what is in the log and not in the file, up to a bound. Returns whether there was anything.
    pub fn turn(&mut self, now: Instant) -> bool {
        if self.failing.again.is_some_and(|again| now < again) {
            return false;
        }
        match self.round() {
            Ok(worked) => {
                if std::mem::take(&mut self.failing).times > 0 {
                    let path = self.file.plan().path.display();
                    tracing::info!(target: "gemba::andon", %path, "the audit file is written again");
                }
                worked
            }
            Err(error) => {
                self.give_up(&error, now);
                false
            }
        }
    }

    /// No more turns follow: what is known of the position is kept, and what is missing is told.
    pub fn end(&mut self) {
        if self.position != self.noted
            && let Err(error) = self.note()
        {
            self.tell(&error);
        }
        let lag = self.position.map_or(0, |position| self.marks.size.read().saturating_sub(position.through));
        if lag > 0 {
            let path = self.file.plan().path.display();
            tracing::warn!(
                target: "gemba::andon",
                %path,
                lag,
                "the audit file lacks receipts that the log has: the next start writes them"
            );
        }
    }

    fn give_up(&mut self, error: &AuditError, now: Instant) {
        if self.failing.times == 0 {
            self.tell(error);
        }
        self.failing.times = self.failing.times.saturating_add(1);
        self.failing.again = Some(now + backoff::pause(self.failing.times, None, backoff::random()));
        self.lines = Lines::default();
        self.file.close();
        self.walk.seek(self.position.map_or(0, |position| position.through));
    }

    fn tell(&self, error: &AuditError) {
        let path = self.file.plan().path.display();
        let hint = error.hint();
        tracing::warn!(target: "gemba::andon", %path, %error, hint, "the audit file cannot be written");
    }

    /// The position says where to go on.
    fn tell_gone(&self, position: AuditPosition) {
        let hint = "to write all of it anew, stop the node and remove the file and `kept`";
        tracing::info!(
            target: "gemba::andon",
            path = %self.file.plan().path.display(),
            kept = %self.kept.path().display(),
            log_index = position.through,
            hint,
            "the audit file was moved away, removed or emptied: it goes on after what was written"
        );
    }

    fn round(&mut self) -> Result<bool, AuditError> {
        self.open()?;
        let Some(AuditPosition { through: begun, .. }) = self.position else { return Ok(false) };
        let size = self.marks.size.read();
        let mut through = begun;
        while self.lines.text.len() < PIECE_BYTES && through - begun < AUDIT_ENTRIES_ROUND {
            let Some(batch) = self.walk.next(size)? else { break };
            self.take(&batch, through)?;
            through = batch.end();
        }
        self.flush()?;
        self.goes_through(through, None);
        let noted = self.noted.unwrap_or(AuditPosition { through: 0, last: None });
        let wrote = self.position.is_some_and(|position| position.last != noted.last);
        if wrote || through - noted.through.min(through) >= AUDIT_ENTRIES_NOTED {
            self.note()?;
        }
        Ok(through > begun)
    }

    /// Opens the file where it is not open, and finds out where to go on where that is not known.
    fn open(&mut self) -> Result<(), AuditError> {
        let Some(AuditOpened { last, is_same, is_wrapped }) = self.file.look()? else { return Ok(()) };
        let Some(position) = self.position else { return self.begin(last) };
        let Some(entry) = last.map(|line| line.entry) else {
            if position.through > 0 && !is_wrapped {
                self.tell_gone(position);
            }
            return Ok(());
        };
        if position.last == Some(entry) {
            return Ok(());
        }
        let is_older = position.last.is_some_and(|written| entry.log_index < written.log_index);
        if !is_older {
            return Err(AuditError::Shared { path: self.file.plan().path.clone() });
        }
        if is_same {
            // Somebody cut its end off: that is written again. An older file that was put in its place lacks nothing.
            let path = self.file.plan().path.clone();
            let cut = AuditPosition { through: entry.log_index + 1, last: Some(entry) };
            self.compare(&path, cut, self.walk.reader().entries())?;
            self.walk.seek(cut.through);
            self.goes_through(cut.through, cut.last);
        }
        Ok(())
    }

    /// Goes on after the last line of the file; where it has none, after the newest one that is known.
    fn begin(&mut self, last: Option<LastLine>) -> Result<(), AuditError> {
        let path = self.file.plan().path.clone();
        let (begins, size) = self.walk.reader().entries();
        let kept = self.kept.read().map_err(AuditError::io(self.kept.path()))?;
        let is_there = last.is_some();
        let line = if is_there { last } else { self.file.older()? };
        let origin = self.walk.reader().origin();
        if let Some(LastLine { log_origin, .. }) = line.as_ref().filter(|line| *line.log_origin != **origin) {
            let (found, origin) = (log_origin.clone(), origin.to_string());
            return Err(AuditError::OtherLog { path, found, origin });
        }
        let line = line.map(|line| line.entry);
        let known = line.map_or(AuditPosition { through: 0, last: None }, |entry| AuditPosition {
            through: entry.log_index + 1,
            last: Some(entry),
        });
        let kept_holds =
            |kept: &AuditPosition| kept.through >= known.through && (!is_there || kept.last == line);
        let mut position = kept.filter(kept_holds).unwrap_or(known);
        self.compare(&path, position, (begins, size))?;
        // Where the newest of the older files has all of it, it was wrapped, and nothing was written since.
        let is_wrapped = line.is_some() && line == position.last;
        if !is_there && position.through > 0 && !is_wrapped {
            self.tell_gone(position);
        }
        if position.through < begins {
            tracing::warn!(
                target: "gemba::andon",
                path = %path.display(),
                first = position.through,
                last = begins - 1,
                "the audit file lacks receipts that the log has no longer"
            );
            position.through = begins;
        }
        self.walk.seek(position.through);
        (self.position, self.noted) = (Some(position), kept);
        self.marks.through.publish(position.through);
        Ok(())
    }

    /// What was written last must be what the log has there.
    fn compare(
        &self,
        path: &Path,
        position: AuditPosition,
        (begins, size): (u64, u64),
    ) -> Result<(), AuditError> {
        let path = || path.to_owned();
        if position.through > size {
            let log_index = position.last.map_or(position.through - 1, |last| last.log_index);
            return Err(AuditError::Ahead { path: path(), log_index, size });
        }
        let Some(last) = position.last.filter(|last| last.log_index >= begins) else { return Ok(()) };
        let log_index = last.log_index;
        let batch = LogWalk::new(self.walk.reader().clone(), log_index).next(size)?;
        let found =
            batch.as_ref().and_then(|batch| batch.receipts(log_index, |_| true).next()).transpose()?;
        let is_same = found.is_some_and(|found| written(&found) == last);
        if is_same { Ok(()) } else { Err(AuditError::Differs { path: path(), log_index }) }
    }

    fn take(&mut self, batch: &LoggedBatch, from: u64) -> Result<(), AuditError> {
        let selection = self.file.plan().selection;
        for found in batch.receipts(from, |kind| selection.takes(kind)) {
            self.push(&found?)?;
        }
        Ok(())
    }

    fn push(&mut self, found: &LoggedReceipt) -> Result<(), AuditError> {
        let length = self.lines.text.len() + found.json.len() + 1;
        if !self.lines.text.is_empty() && (length > PIECE_BYTES || !self.file.fits(length)) {
            self.flush()?;
        }
        // A line that is longer than a file may be has one of its own.
        if self.lines.text.is_empty() && !self.file.is_empty() && !self.file.fits(found.json.len() + 1) {
            self.file.wrap()?;
        }
        self.lines.text.extend_from_slice(&found.json);
        self.lines.text.push(b'\n');
        self.lines.last = Some(written(found));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), AuditError> {
        let Some(last) = self.lines.last.take() else { return Ok(()) };
        self.file.append(&self.lines.text)?;
        self.lines.text.clear();
        self.goes_through(last.log_index + 1, Some(last));
        Ok(())
    }

    /// The file goes so far.
    fn goes_through(&mut self, through: u64, last: Option<WrittenEntry>) {
        if let Some(position) = &mut self.position {
            position.through = through;
            position.last = last.or(position.last);
            self.marks.through.publish(through);
        }
    }

    /// Keeps the position.
    fn note(&mut self) -> Result<(), AuditError> {
        let Some(position) = self.position else { return Ok(()) };
        self.kept.write(position).map_err(AuditError::io(self.kept.path()))?;
        self.noted = Some(position);
        Ok(())
    }
}

fn written(found: &LoggedReceipt) -> WrittenEntry {
    WrittenEntry::new(found.log_index, &found.json)
}
