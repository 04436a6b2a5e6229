//! Where a chain of frames grows: the file that is written, the place in it, and the frame before.

use std::io;
use std::sync::Arc;

use super::{FrameOffset, FrameSeed, Header};
use crate::disk::File;

#[derive(Clone)]
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

    #[must_use]
    pub fn file(&self) -> &dyn File {
        &*self.file
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

    /// Whether a frame of `bytes` fits into the rest of a segment of `segment_bytes`.
    #[must_use]
    pub fn has_room(&self, bytes: usize, segment_bytes: u64) -> bool {
        self.place.offset + bytes as u64 <= segment_bytes
    }

    /// Seals a frame that is to stand here, and goes behind it. Returns its header.
    pub fn seal<H: Header>(&mut self, header: H, frame: &mut [u8], seed: FrameSeed) -> H {
        let mut header = header.behind(self.before);
        self.before = header.seal(frame, self.place, seed);
        self.place = self.place.plus(frame.len());
        header
    }

    /// Seals a frame as the one that follows, and writes it. It is not durable before the file is synced.
    ///
    /// # Errors
    /// Whatever the file system says; then nothing more may be written.
    pub fn append<H: Header>(&mut self, header: H, frame: &mut [u8], seed: FrameSeed) -> io::Result<()> {
        let at = self.place.offset;
        self.seal(header, frame, seed);
        self.file.write_all_at(frame, at)
    }
}
