//! Follows the journal while it is written. What waits for the broker waits here and nowhere else: the publisher reads
//! durable frames back at its own pace, so a broker's outage costs disk and neither memory nor answers (promise P5).
//!
//! Only frames up to a number that is known to be durable are looked at; what the writer has under way is never read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, Place};
use super::scan::{self, Damage};
use super::segment;
use crate::disk::{Disk, File, FrameSeed};
use crate::event::{Epoch, Seq};

/// Reads frames in their order.
pub struct Tail {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Arc<dyn File>,
    path: PathBuf,
    seed: FrameSeed,
    place: Place,
    before: u32,
    epoch: Epoch,
    /// Last number that was read, or that is not wanted.
    last: Seq,
    /// What was read of the segment and is not used up; it begins at `place`.
    piece: Bytes,
    /// Bytes to read next: few behind a quiet writer, many in a backlog.
    wanted: usize,
    /// Where the piece was read.
    read_at: u64,
}

/// Bytes read at once, at least and at most; a larger frame is read by its own length.
const PIECE_BYTES: std::ops::RangeInclusive<usize> = 16 * 1024..=1024 * 1024;

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
            seed: header.lineage.seed,
            place: Place { segment: segment.index, offset: segment::HEADER_BYTES as u64 },
            before: header.before,
            epoch: header.epoch,
            last: Seq(header.first.0.saturating_sub(1)),
            piece: Bytes::new(),
            wanted: *PIECE_BYTES.start(),
            read_at: 0,
        })
    }

    /// Where the next frame is read.
    #[must_use]
    pub fn place(&self) -> (&Path, u64) {
        (&self.path, self.place.offset)
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
        if let Some(found) = self.take() {
            return Ok(Some(found));
        }
        // What was read last time, and how much of it was of use.
        let used = usize::try_from(self.place.offset.saturating_sub(self.read_at)).unwrap_or(usize::MAX);
        let next = if used > self.wanted / 2 { self.wanted * 2 } else { self.wanted / 2 };
        self.wanted = next.clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end());
        self.read_at = self.place.offset;
        let mut wanted = self.wanted;
        loop {
            let mut piece = vec![0; wanted];
            let got = self.file.read_at(&mut piece, self.place.offset).map_err(scan::at(&self.path))?;
            piece.truncate(got);
            self.piece = piece.into();
            if let Some(found) = self.take() {
                return Ok(Some(found));
            }
            match frame::Header::read(&self.piece, self.seed).map(|header| header.frame_bytes()) {
                Some(bytes) if bytes > wanted && bytes <= scan::PIECE_BYTES => wanted = bytes,
                _ => break,
            }
        }
        self.follow().map(|()| None)
    }

    /// From what was read already.
    fn take(&mut self) -> Option<(frame::Header, Bytes)> {
        let header = frame::Header::read(&self.piece, self.seed)?;
        let bytes = self.piece.get(..header.frame_bytes())?;
        if !header.follows(self.before, self.epoch, self.last) || !header.holds(bytes, self.place, self.seed)
        {
            return None;
        }
        let records = self.piece.slice(frame::HEADER_BYTES..header.frame_bytes());
        self.piece = self.piece.slice(header.frame_bytes()..);
        self.before = header.crc;
        self.epoch = header.epoch;
        self.last = header.last();
        self.place.offset += header.frame_bytes() as u64;
        Some((header, records))
    }

    /// Goes on in the segment behind this one.
    fn follow(&mut self) -> Result<(), Damage> {
        let index = self.place.segment + 1;
        let interior = || Damage::Interior { path: self.path.clone(), offset: self.place.offset };
        let path = segment::path(&self.dir, index);
        let file = self.disk.open(&path).map_err(|_| interior())?;
        let header = scan::header(&*file, &path)?;
        let foreign = header.index != index || header.lineage.seed != self.seed;
        if header.before != self.before || foreign {
            return Err(interior());
        }
        self.file = file;
        self.path = path;
        self.place = Place { segment: index, offset: segment::HEADER_BYTES as u64 };
        self.piece = Bytes::new();
        Ok(())
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("place", &self.place).field("last", &self.last).finish_non_exhaustive()
    }
}
