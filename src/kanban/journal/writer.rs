//! The one writer of the journal: group commit.
//!
//! A frame is begun, events are appended and numbered, the frame is written and synced; only then may anybody hear
//! of it (promise P1). Numbers are spent before the write: if it fails they stay unused. After a failed write or
//! sync the writer refuses everything; the page cache can no longer be trusted (fsyncgate), and restart is recovery.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, Mark};
use super::record::Encoder;
use super::scan::{End, Segment};
use super::segment::{self, Lineage, Spares};
use crate::disk::{Disk, File};
use crate::event::{Epoch, Kind, Seq, UnixMillis};
use crate::framed_log::{FrameOffset, Header as _};
use crate::limits::{
    BATCH_SIGNALS_MAX, BODY_BYTES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_SOFT, FRAME_EVENTS_MAX, NAME_BYTES_MAX,
};

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
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    spares: Spares,
    /// Segments from the oldest on; the last one is written.
    segments: Vec<Segment>,
    lineage: Lineage,
    file: Arc<dyn File>,
    place: FrameOffset,
    before: u32,
    epoch: Epoch,
    next: Seq,
    time: UnixMillis,
    frame: Vec<u8>,
    count: u32,
    encoder: Encoder,
    /// The last frame has events and nothing vouches for it yet.
    unsealed: bool,
    /// Written and not yet synced; a frame vouches for all before it, so none is written in this state.
    unsynced: bool,
    written: u64,
    broken: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("place", &self.place).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Writer {
    /// Continues after `end`, under its lineage or a new one: trims what is torn, syncs the trim, and opens a new epoch.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        mut spares: Spares,
        end: End,
        now: UnixMillis,
    ) -> Result<Self, WriteError> {
        let fail = |act: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| WriteError { path, act, source }
        };
        let next = end.next();
        let epoch = Epoch(end.epoch.0 + 1);
        let lineage = end.lineage.map_or_else(Lineage::random, Ok).map_err(fail("named", dir))?;
        let mut segments = end.segments;
        let file = if let Some(last) = segments.last() {
            let file = disk.open(&last.path).map_err(fail("opened", &last.path))?;
            trim(&*file, end.place.offset).map_err(fail("trimmed", &last.path))?;
            file
        } else {
            let header = segment::Header { lineage, index: 0, first: next, before: 0, epoch };
            let spare = spares.take().map_err(fail("started", dir))?;
            let path = segment::path(dir, 0);
            let file = segment::create(&*disk, dir, &spare, header).map_err(fail("started", &path))?;
            segments.push(Segment { index: 0, first: next, path });
            file
        };
        let mut writer = Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            spares,
            segments,
            lineage,
            file,
            place: end.place,
            before: end.before,
            epoch,
            next,
            time: end.time.max(now),
            frame: Vec::with_capacity(FRAME_BYTES_MAX),
            count: 0,
            encoder: Encoder::default(),
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
        assert!(self.frame.is_empty(), "the frame before was written");
        self.time = self.time.max(now);
        self.frame.resize(frame::HEADER_BYTES, 0);
        self.encoder = Encoder::default();
    }

    /// The stamp of the frame that was begun.
    #[must_use]
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// Whether the frame takes one more unit of `events`.
    #[must_use]
    pub fn takes(&self, events: usize) -> bool {
        self.frame.len() < FRAME_BYTES_SOFT && self.count as usize + events <= FRAME_EVENTS_MAX
    }

    /// Adds an event to the frame that was begun.
    pub fn append(&mut self, kind: &Kind) -> Seq {
        self.encoder.append(&mut self.frame, kind);
        assert!(self.frame.len() <= FRAME_BYTES_MAX, "a unit is bounded by the body limit");
        let seq = Seq(self.next.0 + u64::from(self.count));
        self.count += 1;
        seq
    }

    /// The number that was given last, be it durable or not.
    #[must_use]
    pub fn given(&self) -> Seq {
        Seq(self.next.0 + u64::from(self.count) - 1)
    }

    /// Index of the segment that is written.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.place.segment
    }

    /// Bytes of all segments that are kept.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.segments.len() as u64 * self.segment_bytes
    }

    /// Events in the frame that was begun.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Writes the frame. It is not durable before [`Writer::sync`] returned; a frame without events is dropped.
    pub fn write(&mut self) -> Result<(), WriteError> {
        if self.count == 0 {
            self.frame.clear();
            return Ok(());
        }
        self.write_frame()?;
        self.unsealed = true;
        Ok(())
    }

    fn write_frame(&mut self) -> Result<(), WriteError> {
        self.check()?;
        assert!(!self.unsynced, "the frame before was synced");
        if self.place.offset + self.frame.len() as u64 > self.segment_bytes {
            self.rotate()?;
        }
        let mut header = frame::Header {
            crc: 0,
            before: self.before,
            epoch: self.epoch,
            length: 0,
            count: self.count,
            first: self.next,
            time: self.time,
        };
        let crc = header.seal(&mut self.frame, self.place, self.lineage.seed);
        let wrote = self.file.write_all_at(&self.frame, self.place.offset);
        wrote.map_err(|source| self.fail("written", source))?;
        self.unsynced = true;
        self.before = crc;
        self.place.offset += self.frame.len() as u64;
        self.written += self.frame.len() as u64;
        self.next = Seq(self.next.0 + u64::from(self.count));
        self.count = 0;
        self.frame.clear();
        Ok(())
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.check()?;
        crate::fault::point("K8");
        let mut synced = self.file.sync_data();
        if crate::fault::planted("retry-failed-sync") && synced.is_err() {
            synced = self.file.sync_data();
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
        assert!(self.frame.is_empty(), "no frame is begun");
        self.frame.resize(frame::HEADER_BYTES, 0);
        self.frame.push(mark as u8);
        self.write_frame()?;
        self.sync()?;
        self.unsealed = false;
        Ok(())
    }

    /// Number of the last event that was written; 0 when there is none.
    #[must_use]
    pub fn last(&self) -> Seq {
        Seq(self.next.0.saturating_sub(1))
    }

    /// Bytes written since it was opened.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Recycles the segments whose events are all numbered `through` or below.
    pub fn release(&mut self, through: Seq) -> Result<usize, WriteError> {
        let free = self.segments.windows(2).take_while(|pair| pair[1].first.0 <= through.0 + 1).count();
        for segment in self.segments.drain(..free) {
            crate::fault::point("K17");
            let gave = self.spares.give_back(&segment.path);
            gave.map_err(|source| WriteError { path: segment.path, act: "released", source })?;
        }
        Ok(free)
    }

    fn rotate(&mut self) -> Result<(), WriteError> {
        let index = self.place.segment + 1;
        let header = segment::Header {
            lineage: self.lineage,
            index,
            first: self.next,
            before: self.before,
            epoch: self.epoch,
        };
        let path = segment::path(&self.dir, index);
        let made =
            self.spares.take().and_then(|spare| segment::create(&*self.disk, &self.dir, &spare, header));
        self.file = made.map_err(|source| self.fail("continued in a new segment", source))?;
        self.segments.push(Segment { index, first: self.next, path });
        self.place = segment::begin(index);
        Ok(())
    }

    fn check(&self) -> Result<(), WriteError> {
        if self.broken {
            let source = io::Error::other("an earlier write or sync failed");
            return Err(WriteError {
                path: segment::path(&self.dir, self.place.segment),
                act: "used",
                source,
            });
        }
        Ok(())
    }

    fn fail(&mut self, act: &'static str, source: io::Error) -> WriteError {
        self.broken = true;
        WriteError { path: segment::path(&self.dir, self.place.segment), act, source }
    }
}

// A unit is never split: whatever one request can bring fits behind a frame that is not yet full. In a record, a
// name that the sender escaped stands twice; a source's fixed names stand in every record.
const _: () = assert!(
    2 * BODY_BYTES_MAX + BATCH_SIGNALS_MAX * (2 * NAME_BYTES_MAX + 128) + 1024 + frame::HEADER_BYTES
        <= FRAME_BYTES_MAX - FRAME_BYTES_SOFT
);

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
