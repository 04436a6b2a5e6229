//! Where the next frame goes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::LogError;
use crate::disk::{File, write_beside};
use crate::framed_log::FrameOffset;
use crate::framed_log::chain_end::ChainEnd;

#[derive(Clone)]
pub struct Tail {
    path: PathBuf,
    pub end: ChainEnd,
}

impl Tail {
    #[must_use]
    pub fn new(file: Arc<dyn File>, path: PathBuf, place: FrameOffset, before: u32) -> Self {
        Self { path, end: ChainEnd::new(file, place, before) }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a frame that was sealed here, and makes it durable.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn write(&self, frame: &[u8]) -> Result<(), LogError> {
        write_beside(self.end.file(), frame, self.end.place().offset).map_err(LogError::io(&self.path))
    }
}
