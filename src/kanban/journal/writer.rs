//! The one writer of the journal: group commit.
//!
//! A frame is begun, events are appended and numbered, the frame is written and synced; only then may anybody hear
//! of it (promise P1). Numbers are spent before the write: if it fails they stay unused. After a failed write or
//! sync the writer refuses everything; the page cache can no longer be trusted (fsyncgate), and restart is recovery.
//!
//! The parts: `open_frame` is the frame that is built, `end` the file that grows, `kept` the segments there are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, Mark};
use super::kept::KeptSegments;
use super::open_frame::OpenFrame;
use super::scan::End;
use super::segment::{self, Lineage, Spares};
use crate::disk::{Disk, File};
use crate::event::{Epoch, Kind, Seq, UnixMillis};
use crate::framed_log::chain_end::ChainEnd;
use crate::limits::FRAME_BYTES_MAX;

/// Why nothing more can be written. The process must end: restart is recovery.
#[derive(Debug, thiserror::Error)]
#[error("{path}: the journal could not be {act}: {source}")]
pub struct WriteError {
    pub path: PathBuf,
    pub act: &'static str,
    pub source: io::Error,
}

/// The journal's writing end.
pub struct Writer {
    frame: OpenFrame,
    end: ChainEnd,
    kept: KeptSegments,
    lineage: Lineage,
    epoch: Epoch,
    /// The last frame has events and nothing vouches for it yet.
    unsealed: bool,
    /// Written and not yet synced; a frame vouches for all before it, so none is written in this state.
    unsynced: bool,
    written: u64,
    broken: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (place, next) = (self.end.place(), self.frame.first());
        f.debug_struct("Writer").field("place", &place).field("next", &next).finish_non_exhaustive()
    }
}

impl Writer {
    /// Continues after `end`, under its lineage or a new one: trims what is torn, syncs the trim, and opens a new epoch.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        spares: Spares,
        end: End,
        now: UnixMillis,
    ) -> Result<Self, WriteError> {
        let fail = |act: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| WriteError { path, act, source }
        };
        let first = end.next();
        let epoch = Epoch(end.epoch.0 + 1);
        let lineage = end.lineage.map_or_else(Lineage::random, Ok).map_err(fail("named", dir))?;
        let continued = match end.segments.last() {
            Some(last) => {
                let file = disk.open(&last.path).map_err(fail("opened", &last.path))?;
                trim(&*file, end.place.offset).map_err(fail("trimmed", &last.path))?;
                Some(ChainEnd::new(file, end.place, end.before))
            }
            None => None,
        };
        let mut kept = KeptSegments::new(disk, dir, (segment_bytes, spares), end.segments);
        let chain_end = if let Some(continued) = continued {
            continued
        } else {
            let header = segment::Header { lineage, index: 0, first, before: 0, epoch };
            kept.begin(header).map_err(fail("started", &kept.path(0)))?
        };
        let mut writer = Self {
            frame: OpenFrame::none(first, end.time.max(now)),
            end: chain_end,
            kept,
            lineage,
            epoch,
            unsealed: false,
            unsynced: false,
            written: 0,
            broken: false,
        };
        writer.mark(Mark::Open)?;
        Ok(writer)
    }

    /// Starts a frame stamped `now`, which never goes back.
    pub fn begin(&mut self, now: UnixMillis) {
        self.frame.begin(now);
    }

    /// The stamp of the frame that was begun.
    #[must_use]
    pub fn time(&self) -> UnixMillis {
        self.frame.time()
    }

    /// Whether the frame takes one more unit of `events`.
    #[must_use]
    pub fn takes(&self, events: usize) -> bool {
        self.frame.takes(events)
    }

    /// Adds an event to the frame that was begun.
    pub fn append(&mut self, kind: &Kind) -> Seq {
        self.frame.append(kind)
    }

    /// The number that was given last, be it durable or not.
    #[must_use]
    pub fn given(&self) -> Seq {
        self.frame.given()
    }

    /// Index of the segment that is written.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.end.place().segment
    }

    /// Bytes of all segments that are kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept.bytes()
    }

    /// Events in the frame that was begun.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.frame.count()
    }

    /// Writes the frame. It is not durable before [`Writer::sync`] returned; a frame without events is dropped.
    pub fn write(&mut self) -> Result<(), WriteError> {
        if self.frame.count() == 0 {
            self.frame.close();
            return Ok(());
        }
        self.write_frame()?;
        self.unsealed = true;
        Ok(())
    }

    fn write_frame(&mut self) -> Result<(), WriteError> {
        self.check()?;
        assert!(!self.unsynced, "the frame before was synced");
        if !self.end.has_room(self.frame.len(), self.kept.segment_bytes()) {
            self.rotate()?;
        }
        let (header, bytes) = self.frame.parts(self.epoch);
        let wrote = self.end.append(header, bytes, self.lineage.seed);
        wrote.map_err(|source| self.fail("written", source))?;
        self.unsynced = true;
        self.written += self.frame.len() as u64;
        self.frame.close();
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.check()?;
        crate::fault::point("K8");
        let mut synced = self.end.file().sync_data();
        if crate::fault::planted("retry-failed-sync") && synced.is_err() {
            synced = self.end.file().sync_data();
        }
        synced.map_err(|source| self.fail("synced", source))?;
        self.unsynced = false;
        Ok(())
    }

    /// Lets a quiet line vouch for its last events. Returns whether there was anything to vouch for.
    pub fn seal(&mut self) -> Result<bool, WriteError> {
        if self.unsealed {
            self.mark(Mark::Seal)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Ends in order: the next writer continues with the next number.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.mark(Mark::Close)
    }

    fn mark(&mut self, mark: Mark) -> Result<(), WriteError> {
        self.frame.mark(mark);
        self.write_frame()?;
        self.sync()?;
        self.unsealed = false;
        Ok(())
    }

    /// Number of the last event that was written; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> Seq {
        Seq(self.frame.first().0.saturating_sub(1))
    }

    /// Bytes written since it was opened.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Recycles the segments whose events are all numbered `through` or below.
    pub fn release(&mut self, through: Seq) -> Result<usize, WriteError> {
        let released = self.kept.release(through);
        released.map_err(|(path, source)| WriteError { path, act: "released", source })
    }

    fn rotate(&mut self) -> Result<(), WriteError> {
        let header = segment::Header {
            lineage: self.lineage,
            index: self.segment() + 1,
            first: self.frame.first(),
            before: self.end.before(),
            epoch: self.epoch,
        };
        let begun = self.kept.begin(header);
        self.end = begun.map_err(|source| self.fail("continued in a new segment", source))?;
        Ok(())
    }

    fn check(&self) -> Result<(), WriteError> {
        if self.broken {
            let source = io::Error::other("an earlier write or sync failed");
            return Err(WriteError { path: self.kept.path(self.segment()), act: "used", source });
        }
        Ok(())
    }

    fn fail(&mut self, act: &'static str, source: io::Error) -> WriteError {
        self.broken = true;
        WriteError { path: self.kept.path(self.segment()), act, source }
    }
}

/// Overwrites with zeros what a torn write can have left: a writer has one frame in flight.
fn trim(file: &dyn File, from: u64) -> io::Result<()> {
    let len = file.len()?;
    let upto = len.min(from + (FRAME_BYTES_MAX + frame::HEADER_BYTES) as u64);
    let zeros = vec![0; usize::try_from(upto.saturating_sub(from)).unwrap_or(0)];
    file.write_all_at(&zeros, from)?;
    if crate::fault::planted("trim-not-synced") {
        return Ok(());
    }
    file.sync_data()
}
