//! What storage does for everybody who keeps something in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory tree to keep files in.
pub trait Disk: Send + Sync + 'static {
    /// Creates an empty file that must not exist, and syncs it. The name is durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the file system says; `AlreadyExists` when the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Whatever the file system says; `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes one directory, for its owner alone, unless it is there; returns whether it was made. The name is durable
    /// after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// Whatever the file system says; `NotFound` when the directory above it is missing.
    fn create_dir(&self, dir: &Path) -> io::Result<bool>;
    /// Atomically gives `from` the name `to`, replacing what was there.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// # Errors
    /// Whatever the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes free to this process in the file system of `dir`.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. Offsets are explicit, so that readers and the one writer never share a cursor.
#[allow(clippy::len_without_is_empty, reason = "nobody asks whether a file is empty")]
pub trait File: Send + Sync {
    /// Writes all of `bytes` at `at`, extending the file where needed.
    ///
    /// # Errors
    /// Whatever the file system says; part of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Fills `buffer` from `at` as far as the file reaches; returns how many bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Makes all written bytes durable.
    ///
    /// # Errors
    /// Whatever the file system says. The file must not be synced again afterwards.
    fn sync_data(&self) -> io::Result<()>;
    /// # Errors
    /// Whatever the file system says.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn truncate(&self, len: u64) -> io::Result<()>;
}
