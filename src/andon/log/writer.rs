//! The one writer of the log. The parts: `batch` is what is built, `chain` the segments as they are written, `sealed` what is
//! on its way between them, `index` what readers see.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::batch::{OpenBatch, ReceiptKey};
use super::chain::Chain;
use super::error::LogError;
use super::index::Index;
use super::reader::Reader;
use super::sealed::Sealed;
use super::segment;
use crate::disk::{Disk, make_dir};
use crate::event::UnixMillis;
use crate::framed_log::FrameSeed;
use crate::proof::note::{Signer, checkpoint};
use crate::proof::tree::Tree;
use crate::receipt::{Draft, ReceiptId};

/// What one commit made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Entries in the log.
    pub size: u64,
    pub bytes_written: u64,
}

/// The one writer.
pub struct Log {
    signer: Box<dyn Signer>,
    batch: OpenBatch,
    tree: Tree,
    /// The tree without the open batch.
    sealed: Tree,
    chain: Chain,
    index: Arc<RwLock<Index>>,
    /// A batch was sealed and is not in the log yet; after an error it never is.
    unsettled: bool,
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (dir, size) = (self.chain.dir(), self.tree.size());
        f.debug_struct("Log").field("dir", &dir).field("size", &size).finish_non_exhaustive()
    }
}

/// A segment is closed at this size.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

impl Log {
    /// Opens the log in `dir`, or begins one.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        signer: Box<dyn Signer>,
        key: ReceiptKey,
        segment_bytes: u64,
        now: UnixMillis,
    ) -> Result<Self, LogError> {
        make_dir(&*disk, dir).map_err(LogError::io(dir))?;
        let segment::Open { seed, tree, tail, index } = segment::open(&*disk, dir, &*signer)?;
        let seed = seed.map_or_else(FrameSeed::random, Ok).map_err(LogError::io(dir))?;
        let chain = Chain::open(disk, dir, segment_bytes, (seed, tail), (signer.name(), &tree))?;
        let mut log = Self {
            signer,
            batch: OpenBatch::none(key),
            sealed: tree.clone(),
            tree,
            chain,
            index: Arc::new(RwLock::new(index)),
            unsettled: false,
        };
        if log.tree.size() == 0 {
            log.begin(now)?;
        }
        Ok(log)
    }

    /// The first entry says which log this is, so that no two logs share a root.
    fn begin(&mut self, now: UnixMillis) -> Result<(), LogError> {
        let text = format!("genesis\n{}\n{}\n", self.signer.name(), now.0);
        self.tree.append(self.batch.control(text.as_bytes()));
        self.commit().map(|_| ())
    }

    /// Entries in the log, those of the open batch included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// A handle for other threads; it sees what was committed.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let (disk, dir) = (self.chain.disk(), self.chain.dir().to_owned());
        Reader::new(disk, dir, self.chain.seed(), Arc::clone(&self.index), &*self.signer)
    }

    /// Adds a receipt to the open batch. Returns its index in the log.
    pub fn append(&mut self, draft: &Draft) -> Result<u64, LogError> {
        let leaf = self.batch.append(draft)?;
        let index = self.tree.size();
        self.tree.append(leaf);
        Ok(index)
    }

    /// Signs and syncs the open batch. After an error nothing more is written: restart is recovery.
    pub fn commit(&mut self) -> Result<Committed, LogError> {
        match self.seal()? {
            Some(sealed) => {
                sealed.write()?;
                Ok(self.settle(sealed))
            }
            None => Ok(Committed { size: self.tree.size(), bytes_written: 0 }),
        }
    }

    /// Signs the open batch; `None` when it is empty. It is in the log when it was written and [`Log::settle`]d; until
    /// then nobody sees its checkpoint, and no other batch is signed.
    pub fn seal(&mut self) -> Result<Option<Sealed>, LogError> {
        if self.unsettled {
            return Err(LogError::Broken { path: self.chain.path().to_owned() });
        }
        if self.batch.is_empty() {
            return Ok(None);
        }
        self.unsettled = true;
        if !self.chain.has_room(self.batch.frame_bytes()) {
            self.rotate()?;
        }
        let (size, root) = (self.tree.size(), self.tree.root());
        let note = checkpoint(&*self.signer, size, &root);
        let (header, types, mut frame) = self.batch.close(&note, size, root);
        let (at, header) = self.chain.seal(header, &mut frame);
        self.sealed.clone_from(&self.tree);
        Ok(Some(Sealed::new(at, (header, types), note, frame)))
    }

    /// Shows a batch that was written.
    pub fn settle(&mut self, sealed: Sealed) -> Committed {
        let size = sealed.size();
        let frame = sealed.show(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
        let bytes_written = frame.len() as u64;
        self.batch.reuse(frame);
        self.unsettled = false;
        Committed { size, bytes_written }
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let bounds = index.bounds(self.chain.segment());
        drop(index);
        self.chain.rotate(self.signer.name(), &self.sealed, bounds)
    }

    /// Receipts that are in the log for events numbered above `after`: a replay makes them again, and they must not be
    /// logged twice.
    pub fn logged_after(&self, after: u64) -> Result<HashSet<ReceiptId>, LogError> {
        self.reader().logged_after(after)
    }
}
