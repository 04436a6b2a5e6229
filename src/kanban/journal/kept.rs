//! The segments that are kept, and the files for the next ones.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::scan::Segment;
use super::segment::{self, Spares};
use crate::disk::Disk;
use crate::event::Seq;
use crate::framed_log::chain_end::ChainEnd;

/// From the oldest on; the last one is written.
pub struct KeptSegments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Size of each.
    bytes: u64,
    segments: Vec<Segment>,
    spares: Spares,
}

impl KeptSegments {
    #[must_use]
    pub fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        (bytes, spares): (u64, Spares),
        segments: Vec<Segment>,
    ) -> Self {
        Self { disk, dir: dir.to_owned(), bytes, segments, spares }
    }

    /// Size of a segment.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.len() as u64 * self.bytes
    }

    #[must_use]
    pub fn path(&self, index: u64) -> PathBuf {
        segment::path(&self.dir, index)
    }

    /// Begins the next segment; it is durable under its name when this returns.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn begin(&mut self, header: segment::Header) -> io::Result<ChainEnd> {
        let spare = self.spares.take()?;
        let file = segment::create(&*self.disk, &self.dir, &spare, header)?;
        let segment::Header { index, first, .. } = header;
        self.segments.push(Segment { index, first, path: self.path(index) });
        Ok(segment::chain_end(file, &header))
    }

    /// Recycles the segments whose events are all numbered `through` or below. Returns how many these are.
    ///
    /// # Errors
    /// Whatever the file system says, and of which segment.
    pub fn release(&mut self, through: Seq) -> Result<usize, (PathBuf, io::Error)> {
        let free = self.segments.windows(2).take_while(|pair| pair[1].first.0 <= through.0 + 1).count();
        for segment in self.segments.drain(..free) {
            crate::fault::point("K17");
            self.spares.give_back(&segment.path).map_err(|source| (segment.path, source))?;
        }
        Ok(free)
    }
}
