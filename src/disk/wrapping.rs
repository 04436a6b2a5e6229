//! Files of lines that wrap by size: the open one keeps its name, older ones are `name.1`, `name.2` and so on.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    #[must_use]
    pub fn new(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// The older file of this number.
#[must_use]
pub fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// The open file becomes the first of the older ones; with the open one there are at most `max_files`, so the oldest goes.
///
/// # Errors
/// Whatever the file system says.
pub fn wrap(path: &Path, max_files: u32) -> io::Result<()> {
    if max_files <= 1 {
        return fs::remove_file(path);
    }
    for number in (1..max_files - 1).rev() {
        match fs::rename(numbered(path, number), numbered(path, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    fs::rename(path, numbered(path, 1))
}

/// Opens a file to read it and write in it, for its owner alone where it is made; `appends`: every write goes to its end.
/// Neither waits for a pipe of this name nor follows a link.
///
/// # Errors
/// Whatever the file system says; also where it is not a regular file.
pub fn open_lines(path: &Path, appends: bool) -> io::Result<(File, Metadata)> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW).bits().cast_signed();
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).append(appends).create(true).truncate(false);
    let file = options.mode(0o600).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, found))
}
