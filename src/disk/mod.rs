//! The seam to storage. Everything durable goes through [`Disk`], so that a simulation can lose, tear and reorder
//! what was not synced. Two implementations: [`RealDisk`] here, the simulated one in `tests/simulation`.
//!
//! Rules that both hold: a write is durable after `sync_data` of its file returned; a name is durable after
//! `sync_dir` of its directory returned; after a failed sync a file must not be synced again (fsyncgate): its pages
//! may be clean, readable and nowhere on the device, for this process and the next. What recovery builds on is
//! therefore written again first ([`write_again`], decision 16). Large files are never removed at once
//! ([`set_aside`], decision 17).

mod beside;
mod disposer;
pub mod mount;
mod private;
mod real;
mod storage;
mod wrapping;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use beside::{PIECE_BYTES, REST, write_beside};
pub use disposer::{Disposer, set_aside};
pub use private::{Closed, NotPrivate, keep_private};
pub use real::{DataLock, RealDisk, instead_of_a_directory};
pub use storage::{Disk, File};
pub use wrapping::{FileId, numbered, open_lines, wrap};

/// Makes bytes durable that were read from `at` and may be in the page cache only. A sync alone proves nothing: it
/// speaks of pages that are dirty, and after a failed write-back they are clean. Written again they are dirty, so the
/// sync tells the truth. A crash in between is harmless: old and new content are the same.
///
/// # Errors
/// Whatever the file system says; then nothing may be built on these bytes.
pub fn write_again(file: &dyn File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)?;
    file.sync_data()
}

/// Makes a directory and those above it, and the names of all of them and in it durable: a file is worth nothing after a
/// power cut that takes a directory above it. Directories that exist are synced too: a process that was killed may have
/// made them, or given names in them, and not come that far.
///
/// # Errors
/// Whatever the file system says.
pub fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let mut chain: Vec<&Path> = dir.ancestors().filter(|dir| dir.file_name().is_some()).collect();
    chain.reverse();
    for &dir in &chain {
        let made = disk.create_dir(dir)?;
        if crate::fault::planted("parents-unsynced") && chain.last() != Some(&dir) {
            continue;
        }
        match disk.sync_dir(parent(dir)) {
            Err(error) if !made && cannot_be_synced(&error) => {}
            synced => synced?,
        }
    }
    disk.sync_dir(dir)
}

/// A directory that this process may not look into, or that is read-only or virtual: its names are not from us.
fn cannot_be_synced(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | Unsupported | InvalidInput)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a small file so that after a crash either the old or the new content is there: temporary file, sync,
/// rename, directory sync. The one helper for all of them.
///
/// # Errors
/// Whatever the file system says; the old content is then still there.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    put(disk, path, content).map(drop)
}

/// As [`replace`], for whoever goes on writing.
///
/// # Errors
/// Whatever the file system says; the old content is then still there.
pub fn put(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<Arc<dyn File>> {
    let temporary = path.with_extension("new");
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    file.write_all_at(content, 0)?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path))?;
    Ok(file)
}

/// Reads a whole small file.
///
/// # Errors
/// Whatever the file system says; `InvalidData` when it is longer than `max` bytes.
pub fn read(disk: &dyn Disk, path: &Path, max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if len > max {
        let message = format!("{} has {len} bytes, more than {max}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut content = vec![0; len];
    let got = file.read_at(&mut content, 0)?;
    content.truncate(got);
    Ok(content)
}
