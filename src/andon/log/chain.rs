//! The segments as they are written, one behind the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::LogError;
use super::frame;
use super::segment;
use super::tail::Tail;
use crate::disk::Disk;
use crate::framed_log::FrameSeed;
use crate::proof::tree::Tree;

pub struct Chain {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// A segment is closed at this size.
    segment_bytes: u64,
    seed: FrameSeed,
    tail: Tail,
}

impl Chain {
    /// Goes on at the tail that was found, or begins the first segment.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        segment_bytes: u64,
        (seed, tail): (FrameSeed, Option<Tail>),
        (origin, tree): (&str, &Tree),
    ) -> Result<Self, LogError> {
        let tail = if let Some(tail) = tail {
            tail
        } else {
            let header = segment::Header::begin((seed, origin), tree, 0, 0, (u64::MAX, 0));
            segment::create(&*disk, dir, &header)?
        };
        Ok(Self { disk, dir: dir.to_owned(), segment_bytes, seed, tail })
    }

    #[must_use]
    pub fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn seed(&self) -> FrameSeed {
        self.seed
    }

    /// The segment that is written.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.tail.end.place().segment
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        self.tail.path()
    }

    /// Whether a frame of `bytes` fits into the rest of the segment.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.tail.end.has_room(bytes, self.segment_bytes)
    }

    /// Goes on in a new segment, which begins with the tree as it is without the open batch. `bounds` are those of the
    /// segment that ends.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn rotate(&mut self, origin: &str, tree: &Tree, bounds: (u64, u64)) -> Result<(), LogError> {
        let (index, before) = (self.segment() + 1, self.tail.end.before());
        let header = segment::Header::begin((self.seed, origin), tree, index, before, bounds);
        self.tail = segment::create(&*self.disk, &self.dir, &header)?;
        Ok(())
    }

    /// Seals a frame as the one that follows. Returns where it is to be written, and its header.
    pub fn seal(&mut self, header: frame::Header, frame: &mut [u8]) -> (Tail, frame::Header) {
        let at = self.tail.clone();
        (at, self.tail.end.seal(header, frame, self.seed))
    }
}
