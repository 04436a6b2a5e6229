//! How far an audit file goes, kept beside the log: where the file was moved away, as logrotate does it, the next start still
//! knows where to go on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::BufMut as _;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::Reader;
use crate::disk::{self, Disk, File};

/// A receipt that is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenEntry {
    pub log_index: u64,
    /// SHA-256 of its line.
    pub hash: [u8; 32],
}

/// How far the file goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditPosition {
    /// Entries of the log up to here are in it, or left out on purpose.
    pub through: u64,
    /// The last that is in it.
    pub last: Option<WrittenEntry>,
}

/// Where that is kept.
pub struct PositionFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Option<Arc<dyn File>>,
}

const MAGIC: [u8; 8] = *b"GEMBAAP1";
/// Less than a sector, so that it is written whole or not at all.
const BYTES: usize = 8 + 4 + 8 + 1 + 8 + 32;
/// What its checksum covers begins here.
const FIELDS_AT: usize = 12;

impl WrittenEntry {
    /// The receipt with this index in the log, and its line without the end.
    #[must_use]
    pub fn new(log_index: u64, line: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, line).as_ref());
        Self { log_index, hash }
    }
}

impl AuditPosition {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut fields = &mut bytes[FIELDS_AT..];
        fields.put_u64_le(self.through);
        fields.put_u8(self.last.is_some().into());
        if let Some(WrittenEntry { log_index, hash }) = self.last {
            fields.put_u64_le(log_index);
            fields.put_slice(&hash);
        }
        let crc = crc32c::crc32c(&bytes[FIELDS_AT..]);
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..FIELDS_AT].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = Reader::new(bytes.get(..BYTES)?);
        (fields.array()? == MAGIC).then_some(())?;
        (fields.u32()? == crc32c::crc32c(fields.rest())).then_some(())?;
        let (through, has_last) = (fields.u64()?, fields.u8()? == 1);
        let last = WrittenEntry { log_index: fields.u64()?, hash: fields.array()? };
        Some(Self { through, last: has_last.then_some(last) })
    }
}

impl PositionFile {
    /// That of the audit file at `audit`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, data_dir: &Path, audit: &Path) -> Self {
        let name = format!("audit-{:016x}.position", xxh3_64(audit.as_os_str().as_encoded_bytes()));
        Self { disk, path: data_dir.join(name), file: None }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was written last; `None` where that is not known.
    pub fn read(&self) -> io::Result<Option<AuditPosition>> {
        match disk::read(&*self.disk, &self.path, BYTES) {
            Ok(bytes) => Ok(AuditPosition::read(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Durable when this returns.
    pub fn write(&mut self, position: AuditPosition) -> io::Result<()> {
        let bytes = position.to_bytes();
        let written = match &self.file {
            Some(file) => file.write_all_at(&bytes, 0).and_then(|()| file.sync_data()),
            None => disk::put(&*self.disk, &self.path, &bytes).map(|file| self.file = Some(file)),
        };
        // After a failed sync the next one would prove nothing: a new file is made.
        written.inspect_err(|_| self.file = None)
    }
}

impl std::fmt::Debug for PositionFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PositionFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    #[test]
    fn a_position_is_read_as_it_was_written_and_a_damaged_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = PositionFile::new(Arc::new(RealDisk), dir.path(), Path::new("/var/log/audit.log"));
        assert_eq!(file.read().unwrap(), None);
        let last = Some(WrittenEntry::new(6, b"{}"));
        for position in [AuditPosition { through: 7, last }, AuditPosition { through: 1 << 40, last: None }] {
            file.write(position).unwrap();
            assert_eq!(file.read().unwrap(), Some(position));
        }
        let whole = std::fs::read(file.path()).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            assert_eq!(AuditPosition::read(&damaged), None, "byte {at}");
            assert_eq!(AuditPosition::read(&whole[..at]), None, "{at} bytes");
        }
    }
}
