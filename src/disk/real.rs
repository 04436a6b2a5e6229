//! The real file system, through `std` and `rustix`. No memory maps: an I/O error there is a signal, not a value.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use super::storage::{Disk, File};
use crate::descriptors::patiently;

/// Files under whatever paths the callers name.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

struct RealFile(fs::File);

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let create = || fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = patiently(path, create)?;
        file.sync_all()?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let open = || fs::OpenOptions::new().read(true).write(true).open(path);
        Ok(Arc::new(RealFile(patiently(path, open)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names: Vec<PathBuf> = patiently(dir, || fs::read_dir(dir))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        names.sort();
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(_) if dir.is_dir() => Ok(false),
            made => made.map(|()| true),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        patiently(dir, || fs::File::open(dir))?.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl File for RealFile {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut got = 0;
        while got < buffer.len() {
            match self.0.read_at(&mut buffer[got..], at + got as u64) {
                Ok(0) => break,
                Ok(more) => got += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

/// What stands where a directory of our own belongs; `None` when it is one, or nothing is there.
///
/// # Errors
/// Whatever the file system says.
pub fn instead_of_a_directory(path: &Path) -> io::Result<Option<String>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    if metadata.is_symlink() {
        let target = fs::read_link(path)?;
        let is_there = if path.exists() { "" } else { ", where nothing can be found" };
        return Ok(Some(format!("a symbolic link to {}{is_there}", target.display())));
    }
    let what = if metadata.is_file() { "a file" } else { "a pipe, socket or device" };
    Ok((!metadata.is_dir()).then(|| what.to_owned()))
}

/// Keeps a second process out of a data directory for as long as it lives.
#[derive(Debug)]
pub struct DataLock {
    _file: fs::File,
}

impl DataLock {
    /// # Errors
    /// `ResourceBusy` when another process holds the directory.
    pub fn take(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join("lock");
        // Neither waits for a pipe of this name nor follows a link out of the directory.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let mut options = fs::OpenOptions::new();
        let file =
            options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags).open(&path);
        let file =
            file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!(
                    "{} is held by another gemba process: end it, or name a different directory with --data-dir",
                    path.display()
                ),
            )),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}
