//! The transparency log on disk: frames of receipts in segments, one signed checkpoint and one sync per frame
//! (promise P4). A checkpoint leaves this module only after its frame is synced.
//!
//! Recovery reads the last segment, since each segment begins with the tree's right edge: drops a torn last frame,
//! recomputes the root, compares it with the last signed checkpoint, and refuses to go on where they differ. The last
//! frame may be in the page cache only, after a failed sync or a kill; it is written again before anything builds on it.

pub mod frame;
mod reader;
mod recent;
pub mod segment;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

pub use reader::{Index, Reader};
pub use segment::{Open, Scanned};

use crate::disk::{Disk, File, make_dir, write_beside};
use crate::event::UnixMillis;
use crate::framed_log::{FrameOffset, FrameSeed, Header as _};
use crate::proof::note::{Signer, checkpoint};
use crate::proof::tree::{Tree, leaf_hash};
use crate::receipt::canonical::{Fields, context, store};
use crate::receipt::commitment::{control_entry, receipt_entry};
use crate::receipt::{Draft, ReceiptId};

/// Why the log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: the last frame cannot be made durable: {source}")]
    Uncertain { path: PathBuf, source: io::Error },
    #[error("{path}:{offset}: the transparency log is damaged: {what}")]
    Damaged { path: PathBuf, offset: u64, what: &'static str },
    #[error(
        "{path} belongs to another log: `node.name` or `node.origin` was changed, or its format is of another version"
    )]
    Foreign { path: PathBuf },
    #[error("{path} was signed with a different key than the configured one")]
    OtherKey { path: PathBuf },
    #[error("{path}: an earlier write failed; restart to recover")]
    Broken { path: PathBuf },
    #[error("the system gives no randomness")]
    Random,
}

impl LogError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// The HMAC key of receipts, with its name.
pub struct ReceiptKey {
    key: hmac::Key,
    /// First bytes of a hash of the secret: names it without telling it.
    id: [u8; 8],
}

impl ReceiptKey {
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut id = [0; 8];
        id.copy_from_slice(&hmac::sign(&key, b"gemba/receipt-key-id").as_ref()[..8]);
        Self { key, id }
    }
}

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiptKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What one commit made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Entries in the log.
    pub size: u64,
    pub bytes_written: u64,
}

/// Where the next frame goes.
#[derive(Clone)]
struct Tail {
    file: Arc<dyn File>,
    path: PathBuf,
    place: FrameOffset,
    before: u32,
}

/// The one writer.
pub struct Log {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u64,
    signer: Box<dyn Signer>,
    key: ReceiptKey,
    tree: Tree,
    /// The tree without the open batch.
    sealed: Tree,
    tail: Tail,
    seed: FrameSeed,
    index: Arc<RwLock<Index>>,
    salts: Salts,
    frame: Vec<u8>,
    /// The buffer of the batch before, to be used again.
    spare: Vec<u8>,
    context: Vec<u8>,
    count: u32,
    lowest: u64,
    highest: u64,
    /// A batch was sealed and is not in the log yet; after an error it never is.
    unsettled: bool,
}

/// A signed batch on its way to the disk.
pub struct Sealed {
    tail: Tail,
    header: frame::Header,
    note: String,
    size: u64,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Sealed {
    /// Writes the batch and makes it durable.
    pub fn write(&self) -> Result<(), LogError> {
        let Tail { file, path, place, .. } = &self.tail;
        write_beside(&**file, &self.bytes, place.offset).map_err(LogError::io(path))
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("dir", &self.dir).field("size", &self.tree.size()).finish_non_exhaustive()
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
        let open = segment::open(&*disk, dir, &*signer)?;
        let index = Arc::new(RwLock::new(open.index));
        let seed = open.seed.map_or_else(FrameSeed::random, Ok).map_err(LogError::io(dir))?;
        let tail = if let Some(tail) = open.tail {
            tail
        } else {
            let of = (seed, signer.name());
            let header = segment::Header::begin(of, &open.tree, 0, 0, (u64::MAX, 0));
            segment::create(&*disk, dir, &header)?
        };
        let mut log = Self {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            signer,
            key,
            sealed: open.tree.clone(),
            tree: open.tree,
            tail,
            seed,
            index,
            salts: Salts::default(),
            frame: Vec::new(),
            spare: Vec::new(),
            context: Vec::new(),
            count: 0,
            lowest: u64::MAX,
            highest: 0,
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
        let entry = control_entry(text.as_bytes());
        self.open_frame();
        let at = frame::push_record(&mut self.frame, &entry, &[0; 16], &[0; 32]);
        self.frame.extend_from_slice(text.as_bytes());
        frame::close_record(&mut self.frame, at);
        self.tree.append(leaf_hash(&entry));
        self.count += 1;
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
        let (disk, dir) = (Arc::clone(&self.disk), self.dir.clone());
        Reader::new(disk, dir, self.seed, Arc::clone(&self.index), &*self.signer)
    }

    fn open_frame(&mut self) {
        if self.frame.is_empty() {
            self.frame.resize(frame::HEADER_BYTES, 0);
        }
    }

    /// Adds a receipt to the open batch. Returns its index in the log.
    pub fn append(&mut self, draft: &Draft) -> Result<u64, LogError> {
        let fields = Fields::from(draft);
        self.context.clear();
        context(&fields, &mut self.context);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.context).as_ref());
        let mut signature = [0; 32];
        signature.copy_from_slice(hmac::sign(&self.key.key, &hash).as_ref());
        let salt = self.salts.next()?;
        let entry = receipt_entry(&salt, &hash, &signature);
        self.open_frame();
        let at = frame::push_record(&mut self.frame, &entry, &salt, &signature);
        store(&fields, &mut self.frame);
        frame::close_record(&mut self.frame, at);
        let index = self.tree.size();
        self.tree.append(leaf_hash(&entry));
        self.count += 1;
        self.lowest = self.lowest.min(draft.gist.id.seq.0);
        self.highest = self.highest.max(draft.gist.id.seq.0);
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
            return Err(LogError::Broken { path: self.tail.path.clone() });
        }
        if self.count == 0 {
            return Ok(None);
        }
        self.unsettled = true;
        if self.tail.place.offset + self.frame.len() as u64 > self.segment_bytes {
            self.rotate()?;
        }
        let root = self.tree.root();
        let note = checkpoint(&*self.signer, self.tree.size(), &root);
        self.frame.extend_from_slice(note.as_bytes());
        let mut header = frame::Header {
            crc: 0,
            before: self.tail.before,
            length: 0,
            count: self.count,
            note: u32::try_from(note.len()).unwrap_or(0),
            first: self.tree.size() - u64::from(self.count),
            lowest: self.lowest,
            highest: self.highest,
            key: self.key.id,
            root,
        };
        header.seal(&mut self.frame, self.tail.place, self.seed);
        let bytes = std::mem::replace(&mut self.frame, std::mem::take(&mut self.spare));
        let sealed = Sealed { tail: self.tail.clone(), header, note, size: self.tree.size(), bytes };
        self.tail.place = self.tail.place.plus(sealed.bytes.len());
        self.tail.before = header.crc;
        self.sealed.clone_from(&self.tree);
        (self.count, self.lowest, self.highest) = (0, u64::MAX, 0);
        Ok(Some(sealed))
    }

    /// Shows a batch that was written.
    pub fn settle(&mut self, sealed: Sealed) -> Committed {
        let Sealed { tail, header, note, size, mut bytes } = sealed;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.committed(tail.place.segment, tail.place.offset, &header, note);
        drop(index);
        let bytes_written = bytes.len() as u64;
        bytes.clear();
        self.spare = bytes;
        self.unsettled = false;
        Committed { size, bytes_written }
    }

    fn rotate(&mut self) -> Result<(), LogError> {
        let bounds =
            self.index.read().unwrap_or_else(PoisonError::into_inner).bounds(self.tail.place.segment);
        let header = segment::Header::begin(
            (self.seed, self.signer.name()),
            &self.sealed,
            self.tail.place.segment + 1,
            self.tail.before,
            bounds,
        );
        self.tail = segment::create(&*self.disk, &self.dir, &header)?;
        Ok(())
    }

    /// Receipts that are in the log for events numbered above `after`: a replay makes them again, and they must not be
    /// logged twice.
    pub fn logged_after(&self, after: u64) -> Result<std::collections::HashSet<ReceiptId>, LogError> {
        self.reader().logged_after(after)
    }
}

/// Salts in stock: the system is asked once per 256.
struct Salts {
    stock: Box<[u8; 4096]>,
    used: usize,
}

impl Default for Salts {
    fn default() -> Self {
        Self { stock: Box::new([0; 4096]), used: 4096 }
    }
}

impl Salts {
    fn next(&mut self) -> Result<[u8; 16], LogError> {
        if self.used == self.stock.len() {
            SystemRandom::new().fill(&mut *self.stock).map_err(|_| LogError::Random)?;
            self.used = 0;
        }
        let mut salt = [0; 16];
        let fresh = &mut self.stock[self.used..self.used + 16];
        salt.copy_from_slice(fresh);
        // A salt is kept only beside its receipt: deleting it there must delete it.
        fresh.fill(0);
        self.used += 16;
        Ok(salt)
    }
}
