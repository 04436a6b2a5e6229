//! Files that the configuration names: opened without waiting, and read as far as they may reach.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

/// Opens a regular file; what is known of it is of the file that was opened, whatever its name stands for by now. A pipe or
/// a device is refused, and not waited for.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// Reads the rest of an open file, of at most `max` bytes.
pub fn read(file: &File, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it from the beginning: what a growing buffer leaves behind would not be wiped.
    let len = file.metadata()?.len().min(max);
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or_default() + 1));
    file.take(max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max {
        let why = format!("it is longer than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(content)
}

/// Opens and reads a regular file of at most `max` bytes.
pub fn content(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    open(path).and_then(|(file, _)| read(&file, max)).map(|mut content| std::mem::take(&mut *content))
}

/// The same, of UTF-8.
pub fn text(path: &Path, max: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(content(path, max)?).map_err(not_text)
}
