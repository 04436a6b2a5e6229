//! Files that a user names: opened without waiting, and read as far as they may reach.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::limits::PIPE_WAIT;

/// What tells a file from another one, or from another version of it. A symbolic link is followed: the files of a `ConfigMap` are
/// replaced by changing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    file: (u64, u64),
    bytes: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// Of a file that is there.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            bytes: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// Opens a regular file; what is known of it is of the file that was opened, whatever its name stands for by now. A pipe or
/// a device is refused, and not waited for.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(not_regular()) }
}

/// Reads the rest of an open file, of at most `max` bytes.
pub fn read(file: &File, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it from the beginning: what a growing buffer leaves behind would not be wiped.
    let len = file.metadata()?.len().min(max);
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or_default() + 1));
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        return Err(too_long(max));
    }
    Ok(content)
}

/// Why nothing came of a file. Of one that is not there, where it was looked for: a configuration may be read from anywhere.
#[must_use]
pub fn failure(path: &Path, error: &io::Error) -> String {
    let directory = std::env::current_dir().ok();
    match directory.filter(|_| error.kind() == io::ErrorKind::NotFound && path.is_relative()) {
        Some(directory) => format!("{} in {}: {error}", path.display(), directory.display()),
        None => format!("{}: {error}", path.display()),
    }
}

/// Opens and reads a regular file of at most `max` bytes.
pub fn content(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    open(path).and_then(|(file, _)| read(&file, max)).map(|mut content| std::mem::take(&mut *content))
}

/// The same, of UTF-8.
pub fn text(path: &Path, max: u64) -> io::Result<String> {
    content(path, max).and_then(utf8)
}

/// Reads at most `max` bytes of a file, or of a pipe into which somebody writes: `<(…)` in a shell. One into which
/// nobody writes is waited for [`PIPE_WAIT`].
pub fn streamed(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let (mut content, mut piece) = (Vec::new(), [0; 16 * 1024]);
    let mut wrote = false;
    loop {
        match file.read(&mut piece) {
            // A pipe ends when its writers leave; before the first of them came it reads the same.
            Ok(0) if !is_pipe || wrote => return Ok(content),
            Ok(0) => wrote = !wait(&file)?.contains(PollFlags::IN),
            Ok(count) => {
                wrote = true;
                content.extend_from_slice(&piece[..count]);
                if content.len() as u64 > max {
                    return Err(too_long(max));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait(&file)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same, of UTF-8.
pub fn streamed_text(path: &Path, max: u64) -> io::Result<String> {
    streamed(path, max).and_then(utf8)
}

/// Waits until there is something to read, or the end.
fn wait(file: &File) -> io::Result<PollFlags> {
    let limit = Timespec { tv_sec: PIPE_WAIT.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut polled = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut polled, Some(&limit)) {
        Ok(0) => {
            let why =
                format!("nothing came through this pipe for {PIPE_WAIT:?}; does anybody write into it?");
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        }
        Ok(_) => Ok(polled[0].revents()),
        // The caller reads again.
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::IN),
        Err(error) => Err(error.into()),
    }
}

/// Opens a regular file to write it, and makes it where it is missing. A pipe is refused, and its reader not waited for.
pub fn open_to_write(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(path);
    match file {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        // A pipe without a reader.
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NXIO.raw_os_error()) => Err(error),
        Ok(_) | Err(_) => Err(not_regular()),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

fn too_long(max: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is longer than {max} bytes"))
}

fn utf8(content: Vec<u8>) -> io::Result<String> {
    String::from_utf8(content).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
