//! The files of the log, and what opening them finds out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes};

use super::error::LogError;
use super::frame::{self, records};
use super::index::Index;
use super::tail::Tail;
use crate::codec::Reader;
use crate::disk::{self, Disk, File};
use crate::framed_log::{
    FrameOffset, FrameSeed, Frames, NotAHeader, PIECES, SegmentKind, make_certain, whole_frame_behind,
};
use crate::proof::note::{Signer, names_key, verify_checkpoint};
use crate::proof::tree::{Hash, Tree, leaf_hash};

const KIND: SegmentKind = SegmentKind { magic: *b"GEMBALG1", version: 2, extension: "log" };
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
        let mut fields = &mut bytes[16..ORIGIN_AT];
        let numbers =
            [self.index, self.size, self.bounds_before.0, self.bounds_before.1, u64::from(self.before)];
        fields.put_slice(numbers.map(u64::to_le_bytes).as_flattened());
        fields.put_u32_le(u32::try_from(self.origin.len()).unwrap_or(0));
        fields.put_u32_le(u32::try_from(self.edge.len()).unwrap_or(0));
        fields.put_slice(&self.seed.to_bytes());
        (&mut bytes[ORIGIN_AT..]).put_slice(self.origin.as_bytes());
        (&mut bytes[EDGE_AT..]).put_slice(self.edge.as_flattened());
        KIND.seal(&mut bytes);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Self, NotAHeader> {
        let fields = KIND.open(bytes.get(..HEADER_BYTES).ok_or(NotAHeader::Damaged)?)?;
        Self::fields(bytes, fields).ok_or(NotAHeader::Damaged)
    }

    fn fields(bytes: &[u8], mut header: Reader<'_>) -> Option<Self> {
        let (index, size) = (header.u64()?, header.u64()?);
        let bounds_before = (header.u64()?, header.u64()?);
        let before = u32::try_from(header.u64()?).ok()?;
        let (origin_bytes, hashes) = (header.u32()? as usize, header.u32()? as usize);
        let seed = FrameSeed::from_bytes(header.array()?);
        let origin = header.text(origin_bytes)?.to_owned();
        let edge = Reader::new(&bytes[EDGE_AT..]).bytes(hashes.checked_mul(32)?)?;
        Some(Self { seed, index, size, bounds_before, before, origin, edge: edge.as_chunks().0.to_vec() })
    }
}

#[must_use]
pub fn path(dir: &Path, index: u64) -> PathBuf {
    KIND.path(dir, index)
}

/// Where the first frame of a segment stands.
#[must_use]
pub fn begin(index: u64) -> FrameOffset {
    FrameOffset { segment: index, offset: HEADER_BYTES as u64 }
}

/// Begins a segment, durable under its name when this returns.
pub(super) fn create(disk: &dyn Disk, dir: &Path, header: &Header) -> Result<Tail, LogError> {
    let path = path(dir, header.index);
    let file = disk::put(disk, &path, &header.to_bytes()).map_err(LogError::io(&path))?;
    Ok(Tail::new(file, path, begin(header.index), header.before))
}

/// What was found in a directory.
pub(super) struct Open {
    /// `None` where there is no segment yet.
    pub seed: Option<FrameSeed>,
    pub tree: Tree,
    pub tail: Option<Tail>,
    pub index: Index,
}

pub fn header(file: &dyn File, path: &Path) -> Result<Header, LogError> {
    let mut bytes = vec![0; HEADER_BYTES];
    let got = file.read_at(&mut bytes, 0).map_err(LogError::io(path))?;
    Header::read(&bytes[..got]).map_err(|why| match why {
        NotAHeader::Version(version) => LogError::Version { path: path.to_owned(), version },
        NotAHeader::Foreign | NotAHeader::Damaged => {
            LogError::Damaged { path: path.to_owned(), offset: 0, what: "the segment's header is not whole" }
        }
    })
}

/// Segments that are there, by index.
pub fn list(disk: &dyn Disk, dir: &Path) -> Result<BTreeMap<u64, PathBuf>, LogError> {
    let (found, missing) = KIND.list(disk, dir).map_err(LogError::io(dir))?;
    let found = BTreeMap::from_iter(found);
    if let Some((_, path)) = missing.and_then(|missing| found.range(missing..).next()) {
        let what = "the segment before it is missing";
        return Err(LogError::Damaged { path: path.clone(), offset: 0, what });
    }
    Ok(found)
}

/// Opens what is in `dir`: the tree at its last checkpoint, and where to go on. A torn last frame is cut off.
pub(super) fn open(disk: &dyn Disk, dir: &Path, signer: &dyn Signer) -> Result<Open, LogError> {
    disk.sync_dir(dir).map_err(LogError::io(dir))?;
    let segments = list(disk, dir)?;
    let mut index = Index::default();
    let mut seed = None;
    for (number, path) in &segments {
        let header = header(&*disk.open(path).map_err(LogError::io(path))?, path)?;
        if header.origin != signer.name() {
            return Err(LogError::Foreign { path: path.clone() });
        }
        if *seed.get_or_insert(header.seed) != header.seed {
            let what = "it belongs to a different log than the segments before it";
            return Err(LogError::Damaged { path: path.clone(), offset: 0, what });
        }
        if header.index != *number {
            let what = "it was a segment of a different number";
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
        index.committed((*last, offset), header, frame::types(header, records), note.to_owned());
    })?;
    if index.checkpoint().is_empty()
        && let Some((number, path)) = segments.range(..*last).next_back()
    {
        // The writer ended between a rotation and the first frame: the last checkpoint stands in the segment before.
        let file = disk.open(path).map_err(LogError::io(path))?;
        scan(&*file, path, |offset, header, records| {
            let note = frame::note(header, records).unwrap_or_default();
            index.committed((*number, offset), header, frame::types(header, records), note.to_owned());
        })?;
    }
    if let Some(size) = index.size() {
        let checked = verify_checkpoint(signer.name(), &signer.public_key(), index.checkpoint());
        if !names_key(signer.name(), &signer.public_key(), index.checkpoint()) {
            return Err(LogError::OtherKey { path: path.clone() });
        }
        if checked != Some((size, scanned.tree.root())) || size != scanned.tree.size() {
            let what = "the last checkpoint is not signed by this log's key for this tree";
            return Err(LogError::Damaged { path: path.clone(), offset: scanned.end.offset, what });
        }
    }
    let end = scanned.end;
    let len = file.len().map_err(LogError::io(path))?;
    if len > end.offset {
        file.truncate(end.offset).map_err(LogError::io(path))?;
    }
    // The last frame may be in the page cache only; the state must not pass it before it lasts (decision 16).
    let certain = make_certain(&*file, &scanned.newest, end.offset, "log-trusts-cache");
    certain.map_err(|source| LogError::Uncertain { path: path.clone(), source })?;
    let tail = Tail::new(file, path.clone(), end, scanned.before);
    Ok(Open { seed, tree: scanned.tree, tail: Some(tail), index })
}

/// The whole part of a segment.
#[derive(Debug)]
pub struct Scanned {
    pub tree: Tree,
    pub end: FrameOffset,
    pub before: u32,
    /// The last frame; empty where there is none.
    pub newest: Bytes,
}

/// Walks the frames of a segment, growing the tree and comparing each root.
pub fn scan(
    file: &dyn File,
    path: &Path,
    mut visit: impl FnMut(u64, &frame::Header, &[u8]),
) -> Result<Scanned, LogError> {
    let begun = header(file, path)?;
    let damaged = |offset, what| LogError::Damaged { path: path.to_owned(), offset, what };
    let tree = Tree::resume(begun.size, begun.edge.clone());
    let mut tree = tree.ok_or_else(|| damaged(0, "the tree's edge does not fit its size"))?;
    let mut frames = Frames::<frame::Header>::new(begun.seed, begin(begun.index), PIECES);
    let (mut before, mut newest) = (begun.before, Bytes::new());
    loop {
        let FrameOffset { offset, .. } = frames.place();
        let found = frames.next(file, |_| true).map_err(LogError::io(path))?;
        let Some((header, frame)) = found else { break };
        let records_bytes = &frame[frame::HEADER_BYTES..];
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
        newest = frame;
    }
    let end = frames.place();
    if whole_frame_behind(file, end, begun.seed, |_: &frame::Header| true).map_err(LogError::io(path))? {
        return Err(damaged(end.offset, "whole frames stand behind the damage"));
    }
    Ok(Scanned { tree, end, before, newest })
}

#[cfg(test)]
mod tests;
