//! Where a chain of frames grows: the file that is written, the place in it, and the frame before.

use std::io;
use std::sync::Arc;

use super::frame;
use super::segment;
use crate::disk::File;
use crate::framed_log::{FrameOffset, FrameSeed, Header as _};

pub struct ChainEnd {
    file: Arc<dyn File>,
    /// Where the next frame goes.
    place: FrameOffset,
    /// Checksum of the frame before.
    before: u32,
}

impl ChainEnd {
    #[must_use]
    pub fn new(file: Arc<dyn File>, place: FrameOffset, before: u32) -> Self {
        Self { file, place, before }
    }

    /// In a new segment that has its header.
    #[must_use]
    pub fn begin(file: Arc<dyn File>, header: &segment::Header) -> Self {
        Self::new(file, segment::begin(header.index), header.before)
    }

    #[must_use]
    pub fn place(&self) -> FrameOffset {
        self.place
    }

    /// Checksum of the last frame.
    #[must_use]
    pub fn before(&self) -> u32 {
        self.before
    }

    /// Whether a frame of so many bytes ends within a segment of this size.
    #[must_use]
    pub fn has_room(&self, bytes: usize, segment_bytes: u64) -> bool {
        self.place.offset + bytes as u64 <= segment_bytes
    }

    /// Seals the frame as the one that follows, and writes it. It is not durable before [`ChainEnd::sync`] returned.
    ///
    /// # Errors
    /// Whatever the file system says; then nothing more may be written.
    pub fn append(&mut self, header: frame::Header, bytes: &mut [u8], seed: FrameSeed) -> io::Result<()> {
        let mut header = frame::Header { before: self.before, ..header };
        let crc = header.seal(bytes, self.place, seed);
        self.file.write_all_at(bytes, self.place.offset)?;
        self.before = crc;
        self.place = self.place.plus(bytes.len());
        Ok(())
    }

    /// # Errors
    /// Whatever the file system says.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
