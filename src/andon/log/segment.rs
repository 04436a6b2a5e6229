//! The files of the log, and what opening them finds out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;

use super::frame::{self, records};
use super::reader::Index;
use super::{LogError, Tail};

use crate::codec::Reader;
use crate::disk::{Disk, File, FrameSeed, write_again};
use crate::proof::note::{Signer, names_key, verify_checkpoint};
use crate::proof::tree::{Hash, Tree, leaf_hash};

const MAGIC: [u8; 8] = *b"GEMBALG1";
const VERSION: u32 = 2;
/// Room for the fields and 64 hashes of a tree's edge.
pub const HEADER_BYTES: usize = 4096;
const EDGE_AT: usize = 1024;
const ORIGIN_AT: usize = 64 + FrameSeed::BYTES;
const ORIGIN_BYTES_MAX: usize = EDGE_AT - 128;

/// The first bytes of a segment: what it continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub seed: FrameSeed,
    pub index: u64,
    pub before: u32,
    pub size: u64,
    pub edge: Vec<Hash>,
    pub origin: String,
    /// Lowest and highest event number in the segment before.
    pub bounds_before: (u64, u64),
}

impl Header {
    /// That of the segment which follows a tree.
    pub fn begin(
        (seed, origin): (FrameSeed, &str),
        tree: &Tree,
        index: u64,
        before: u32,
        bounds_before: (u64, u64),
    ) -> Self {
        let origin = origin.chars().take(ORIGIN_BYTES_MAX / 4).collect();
        Self { seed, index, before, size: tree.size(), edge: tree.edge().to_vec(), origin, bounds_before }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let numbers =
            [self.index, self.size, self.bounds_before.0, self.bounds_before.1, u64::from(self.before)];
        bytes[16..56].copy_from_slice(numbers.map(u64::to_le_bytes).as_flattened());
        bytes[56..60].copy_from_slice(&u32::try_from(self.origin.len()).unwrap_or(0).to_le_bytes());
        bytes[60..64].copy_from_slice(&u32::try_from(self.edge.len()).unwrap_or(0).to_le_bytes());
        bytes[64..ORIGIN_AT].copy_from_slice(&self.seed.to_bytes());
        bytes[ORIGIN_AT..ORIGIN_AT + self.origin.len()].copy_from_slice(self.origin.as_bytes());
        let edge = self.edge.as_flattened();
        bytes[EDGE_AT..EDGE_AT + edge.len()].copy_from_slice(edge);
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn read(mut bytes: Vec<u8>) -> Option<Self> {
        if bytes.len() != HEADER_BYTES || bytes[..8] != MAGIC {
            return None;
        }
        let crc = Reader::new(&bytes[12..]).u32()?;
        bytes[12..16].fill(0);
        if crc32c::crc32c(&bytes) != crc {
            return None;
        }
        let mut header = Reader::new(&bytes[8..]);
        let (version, _crc) = (header.u32()?, header.u32()?);
        if version != VERSION {
            return None;
        }
        let (index, size) = (header.u64()?, header.u64()?);
        let bounds_before = (header.u64()?, header.u64()?);
        let before = u32::try_from(header.u64()?).ok()?;
        let (origin_bytes, hashes) = (header.u32()? as usize, header.u32()? as usize);
        let seed = FrameSeed::from_bytes(header.array()?);
        let origin = Reader::new(&bytes[ORIGIN_AT..]).text(origin_bytes)?.to_owned();
        let edge = Reader::new(&bytes[EDGE_AT..]).bytes(hashes.checked_mul(32)?)?;
        Some(Self { seed, index, size, bounds_before, before, origin, edge: edge.as_chunks().0.to_vec() })
    }
}

#[must_use]
pub fn path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:016x}.log"))
}

fn index_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

/// Begins a segment, durable under its name when this returns.
pub(super) fn create(disk: &dyn Disk, dir: &Path, header: &Header) -> Result<Tail, LogError> {
    let path = path(dir, header.index);
    let temporary = path.with_extension("new");
    let made = || -> std::io::Result<Arc<dyn File>> {
        match disk.remove(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(&temporary)?;
        file.write_all_at(&header.to_bytes(), 0)?;
        file.sync_data()?;
        disk.rename(&temporary, &path)?;
        disk.sync_dir(dir)?;
        Ok(file)
    };
    let file = made().map_err(LogError::io(&path))?;
    Ok(Tail { file, path, segment: header.index, offset: HEADER_BYTES as u64, before: header.before })
}

/// What was found in a directory.
pub struct Open {
    /// `None` where there is no segment yet.
    pub seed: Option<FrameSeed>,
    pub tree: Tree,
    pub(super) tail: Option<Tail>,
    pub index: Index,
}

pub fn header(file: &dyn File, path: &Path) -> Result<Header, LogError> {
    let mut bytes = vec![0; HEADER_BYTES];
    let got = file.read_at(&mut bytes, 0).map_err(LogError::io(path))?;
    bytes.truncate(got);
    let damaged =
        LogError::Damaged { path: path.to_owned(), offset: 0, what: "the segment's header is not whole" };
    Header::read(bytes).ok_or(damaged)
}

/// Segments that are there, by index.
pub fn list(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<u64, PathBuf>, LogError> {
    let paths = disk.list(dir).map_err(LogError::io(dir))?;
    let found: BTreeMap<u64, PathBuf> =
        paths.into_iter().filter_map(|path| Some((index_of(&path)?, path))).collect();
    for (expected, (index, path)) in (found.keys().next().copied().unwrap_or(0)..).zip(&found) {
        if expected != *index {
            let what = "the segment before it is missing";
            return Err(LogError::Damaged { path: path.clone(), offset: 0, what });
        }
    }
    Ok(found)
}

/// Opens what is in `dir`: the tree at its last checkpoint, and where to go on. A torn last frame is cut off.
pub(super) fn open(disk: &dyn Disk, dir: &Path, signer: &dyn Signer) -> Result<Open, LogError> {
    disk.sync_dir(dir).map_err(LogError::io(dir))?;
    let segments = list(disk, dir)?;
    let mut index = Index::default();
    let mut seed = None;
    for path in segments.values() {
        let header = header(&*disk.open(path).map_err(LogError::io(path))?, path)?;
        if header.origin != signer.name() {
            return Err(LogError::Foreign { path: path.clone() });
        }
        if *seed.get_or_insert(header.seed) != header.seed {
            let what = "it belongs to a different log than the segments before it";
            return Err(LogError::Damaged { path: path.clone(), offset: 0, what });
        }
        index.segment_begins(header.index, header.size, header.bounds_before);
    }
    let Some((last, path)) = segments.last_key_value() else {
        return Ok(Open { seed: None, tree: Tree::default(), tail: None, index });
    };
    let file = disk.open(path).map_err(LogError::io(path))?;
    let scanned = scan(&*file, path, |offset, header, records| {
        let note = frame::note(header, records).unwrap_or_default();
        index.committed(*last, offset, header, note.to_owned());
    })?;
    if index.checkpoint().is_empty()
        && let Some((number, path)) = segments.range(..*last).next_back()
    {
        // The writer ended between a rotation and the first frame: the last checkpoint stands in the segment before.
        let file = disk.open(path).map_err(LogError::io(path))?;
        scan(&*file, path, |offset, header, records| {
            let note = frame::note(header, records).unwrap_or_default();
            index.committed(*number, offset, header, note.to_owned());
        })?;
    }
    if let Some(size) = index.size() {
        let checked = verify_checkpoint(signer.name(), &signer.public_key(), index.checkpoint());
        if !names_key(signer.name(), &signer.public_key(), index.checkpoint()) {
            return Err(LogError::OtherKey { path: path.clone() });
        }
        if checked != Some((size, scanned.tree.root())) || size != scanned.tree.size() {
            let what = "the last checkpoint is not signed by this log's key for this tree";
            return Err(LogError::Damaged { path: path.clone(), offset: scanned.end, what });
        }
    }
    let len = file.len().map_err(LogError::io(path))?;
    if len > scanned.end {
        file.truncate(scanned.end).map_err(LogError::io(path))?;
    }
    // The last frame may be in the page cache only; the state must not pass it before it lasts (decision 16).
    make_certain(&*file, &scanned).map_err(|source| LogError::Uncertain { path: path.clone(), source })?;
    let tail = Tail { file, path: path.clone(), segment: *last, offset: scanned.end, before: scanned.before };
    Ok(Open { seed, tree: scanned.tree, tail: Some(tail), index })
}

/// The bytes that were checked are written, not what the file says now: clean pages may have been dropped since.
fn make_certain(file: &dyn File, scanned: &Scanned) -> std::io::Result<()> {
    if crate::fault::planted("log-trusts-cache") {
        return file.sync_data();
    }
    write_again(file, &scanned.newest, scanned.end - scanned.newest.len() as u64)
}

/// The whole part of a segment.
#[derive(Debug)]
pub struct Scanned {
    pub tree: Tree,
    pub end: u64,
    pub before: u32,
    /// The last frame; empty where there is none.
    pub newest: Vec<u8>,
}

/// Walks the frames of a segment, growing the tree and comparing each root.
pub fn scan(
    file: &dyn File,
    path: &Path,
    mut visit: impl FnMut(u64, &frame::Header, &[u8]),
) -> Result<Scanned, LogError> {
    let begin = header(file, path)?;
    let damaged = |offset, what| LogError::Damaged { path: path.to_owned(), offset, what };
    let tree = Tree::resume(begin.size, begin.edge.clone());
    let mut tree = tree.ok_or_else(|| damaged(0, "the tree's edge does not fit its size"))?;
    let (mut offset, mut before, mut newest) = (HEADER_BYTES as u64, begin.before, Vec::new());
    while let Some((header, bytes)) = read_frame(file, path, begin.seed, (begin.index, offset))? {
        let records_bytes = bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
        if header.before != before || header.first != tree.size() {
            return Err(damaged(offset, "a frame does not continue the one before"));
        }
        let mut count = 0;
        for record in records(&header, records_bytes) {
            tree.append(leaf_hash(record.entry));
            count += 1;
        }
        if count != header.count || tree.root() != header.root {
            return Err(damaged(offset, "a frame's entries do not give its root"));
        }
        visit(offset, &header, records_bytes);
        before = header.crc;
        offset += header.frame_bytes() as u64;
        newest = bytes;
    }
    if whole_frame_behind(file, path, begin.seed, (begin.index, offset))? {
        return Err(damaged(offset, "whole frames stand behind the damage"));
    }
    Ok(Scanned { tree, end: offset, before, newest })
}

/// The frame at `offset`, if a whole one stands there.
pub fn read_frame(
    file: &dyn File,
    path: &Path,
    seed: FrameSeed,
    (segment, offset): (u64, u64),
) -> Result<Option<(frame::Header, Vec<u8>)>, LogError> {
    let mut head = vec![0; frame::HEADER_BYTES];
    let got = file.read_at(&mut head, offset).map_err(LogError::io(path))?;
    let Some(header) = frame::Header::read(&head[..got], seed) else { return Ok(None) };
    let len = file.len().map_err(LogError::io(path))?;
    if offset + header.frame_bytes() as u64 > len {
        return Ok(None);
    }
    let mut bytes = vec![0; header.frame_bytes()];
    let got = file.read_at(&mut bytes, offset).map_err(LogError::io(path))?;
    bytes.truncate(got);
    Ok(header.holds(&bytes, segment, offset, seed).then_some((header, bytes)))
}

fn whole_frame_behind(
    file: &dyn File,
    path: &Path,
    seed: FrameSeed,
    (segment, end): (u64, u64),
) -> Result<bool, LogError> {
    let len = file.len().map_err(LogError::io(path))?;
    let mut rest = vec![0; usize::try_from(len.saturating_sub(end)).unwrap_or(0)];
    let got = file.read_at(&mut rest, end).map_err(LogError::io(path))?;
    rest.truncate(got);
    Ok(memmem::find_iter(&rest, &seed.magic()).filter(|shift| *shift > 0).any(|shift| {
        let Some(header) = frame::Header::read(&rest[shift..], seed) else { return false };
        let bytes = rest.get(shift..shift.saturating_add(header.frame_bytes()));
        bytes.is_some_and(|bytes| header.holds(bytes, segment, end + shift as u64, seed))
    }))
}
