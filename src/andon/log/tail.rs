//! Where the next frame goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::LogError;
use super::frame;
use crate::disk::{File, write_beside};
use crate::framed_log::{FrameOffset, FrameSeed, Header as _};

#[derive(Clone)]
pub struct Tail {
    file: Arc<dyn File>,
    path: PathBuf,
    place: FrameOffset,
    /// Checksum of the frame before.
    before: u32,
}

impl Tail {
    #[must_use]
    pub fn new(file: Arc<dyn File>, path: PathBuf, place: FrameOffset, before: u32) -> Self {
        Self { file, path, place, before }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn place(&self) -> FrameOffset {
        self.place
    }

    #[must_use]
    pub fn before(&self) -> u32 {
        self.before
    }

    /// Seals a frame that is to stand here, and goes behind it. Returns its header.
    pub fn seal(&mut self, header: frame::Header, frame: &mut [u8], seed: FrameSeed) -> frame::Header {
        let mut header = frame::Header { before: self.before, ..header };
        header.seal(frame, self.place, seed);
        self.before = header.crc;
        self.place = self.place.plus(frame.len());
        header
    }

    /// Writes a frame that was sealed here, and makes it durable.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn write(&self, frame: &[u8]) -> Result<(), LogError> {
        write_beside(&*self.file, frame, self.place.offset).map_err(LogError::io(&self.path))
    }
}
