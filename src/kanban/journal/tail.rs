//! Follows the journal while it is written. What waits for the broker waits here and nowhere else: the publisher reads
//! durable frames back at its own pace, so a broker's outage costs disk and neither memory nor answers (promise P5).
//!
//! Only frames up to a number that is known to be durable are looked at; what the writer has under way is never read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::frame;
use super::scan::{self, Damage};
use super::segment;
use crate::disk::{Disk, File};
use crate::event::{Epoch, Seq};
use crate::framed_log::{Frames, PIECES};

/// Reads frames in their order.
pub struct Tail {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn File>,
    path: PathBuf,
    frames: Frames<frame::Header>,
    before: u32,
    epoch: Epoch,
    /// Last number that was read, or that is not wanted.
    last: Seq,
}

impl Tail {
    /// Begins with the segment that holds the event behind `after`, or with the oldest one.
    ///
    /// # Errors
    /// [`Damage`], also where there is no segment yet.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, after: Seq) -> Result<Self, Damage> {
        let segments = scan::segments(&*disk, dir)?;
        let newer = segments.partition_point(|segment| segment.first.0 <= after.0 + 1);
        let begin = segments.into_iter().nth(newer.saturating_sub(1));
        let Some(segment) = begin else {
            return Err(Damage::Io { path: dir.to_owned(), source: io::ErrorKind::NotFound.into() });
        };
        let file = disk.open(&segment.path).map_err(scan::at(&segment.path))?;
        let header = scan::header(&*file, &segment.path)?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            file,
            path: segment.path,
            frames: Frames::new(header.lineage.seed, segment::begin(segment.index), PIECES),
            before: header.before,
            epoch: header.epoch,
            last: Seq(header.first.0.saturating_sub(1)),
        })
    }

    /// Where the next frame is read.
    #[must_use]
    pub fn place(&self) -> (&Path, u64) {
        (&self.path, self.frames.place().offset)
    }

    /// The next frame with events, where it ends at `durable` or before.
    ///
    /// # Errors
    /// [`Damage`]: what is durable cannot be read back.
    pub fn next(&mut self, durable: Seq) -> Result<Option<(frame::Header, Bytes)>, Damage> {
        while self.last < durable {
            let Some((header, records)) = self.frame()? else { continue };
            if header.count > 0 {
                return Ok(Some((header, records)));
            }
        }
        Ok(None)
    }

    /// The next frame of this segment; `None` where another segment follows.
    fn frame(&mut self) -> Result<Option<(frame::Header, Bytes)>, Damage> {
        let (before, epoch, last) = (self.before, self.epoch, self.last);
        let found = self.frames.next(&*self.file, |header| header.follows(before, epoch, last));
        let Some((header, frame)) = found.map_err(scan::at(&self.path))? else {
            return self.follow().map(|()| None);
        };
        self.before = header.crc;
        self.epoch = header.epoch;
        self.last = header.last();
        Ok(Some((header, frame.slice(frame::HEADER_BYTES..))))
    }

    /// Goes on in the segment behind this one.
    fn follow(&mut self) -> Result<(), Damage> {
        let end = self.frames.place();
        let index = end.segment + 1;
        let interior = || Damage::Interior { path: self.path.clone(), offset: end.offset };
        let path = segment::path(&self.dir, index);
        let file = self.disk.open(&path).map_err(|_| interior())?;
        let header = scan::header(&*file, &path)?;
        let foreign = header.index != index || header.lineage.seed != self.frames.seed();
        if header.before != self.before || foreign {
            return Err(interior());
        }
        self.file = file;
        self.path = path;
        self.frames = Frames::new(self.frames.seed(), segment::begin(index), PIECES);
        Ok(())
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail")
            .field("place", &self.frames.place())
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
