//! Files of checksummed frames, as the journal and the transparency log are kept: how a frame and a segment begin, how
//! frames are read back, and what at the end of a segment is a torn tail and what is damage. What differs between the two
//! logs is a [`Header`] and a [`SegmentKind`].
//!
//! ```text
//! segment: magic 8 | version u32 | crc u32 | fields
//! frame:   magic u32 | crc u32 | fields | content
//! ```
//!
//! A frame's checksum covers its place (segment and offset), so that a frame which once stood elsewhere is not taken for
//! one of this log. Its magic and the start of its checksum come from the log's [`FrameSeed`].
//!
//! A frame is written only after the one before it was synced, so every whole frame vouches for all that stands before it.
//! What does not hold is the torn end of the last write where nothing whole stands behind it, and damage where something
//! does ([`whole_frame_behind`]). The last whole frame may be in the page cache only: [`make_certain`] writes it again
//! before anything builds on it (decision 16).

pub mod chain_end;
mod offset;
mod seed;
#[cfg(test)]
mod tests;

use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memchr::memmem;

pub use offset::FrameOffset;
pub use seed::FrameSeed;

use crate::codec::Reader;
use crate::disk::{Disk, File, write_again};
use seed::FIELDS_AT;

/// What the frames of one log say of themselves.
pub trait Header: Copy {
    /// Bytes of a frame before its content.
    const BYTES: usize;

    fn crc(&self) -> u32;
    /// Bytes of the content.
    fn length(&self) -> u32;
    /// Behind the frame with this checksum.
    #[must_use]
    fn behind(self, before: u32) -> Self;
    #[must_use]
    fn sealed(self, length: u32, crc: u32) -> Self;
    /// Writes what stands behind magic and checksum, all of it.
    fn write_fields(&self, fields: &mut [u8]);
    /// Reads what [`Header::write_fields`] wrote.
    fn read_fields(crc: u32, fields: &mut Reader<'_>) -> Option<Self>;

    fn frame_bytes(&self) -> usize {
        Self::BYTES + self.length() as usize
    }

    /// Fills the first [`Header::BYTES`] of `frame`, whose content is complete, and returns the checksum.
    fn seal(&mut self, frame: &mut [u8], place: FrameOffset, seed: FrameSeed) -> u32 {
        let length = u32::try_from(frame.len() - Self::BYTES).unwrap_or(u32::MAX);
        assert_eq!(length as usize + Self::BYTES, frame.len(), "a frame is far below 4 GiB");
        *self = self.sealed(length, 0);
        frame[..4].copy_from_slice(&seed.magic());
        self.write_fields(&mut frame[FIELDS_AT..Self::BYTES]);
        let crc = seed.checksum(place, frame);
        frame[4..FIELDS_AT].copy_from_slice(&crc.to_le_bytes());
        *self = self.sealed(length, crc);
        crc
    }

    /// Reads a header; `None` where no frame begins.
    fn read(bytes: &[u8], seed: FrameSeed) -> Option<Self> {
        let mut fields = Reader::new(bytes);
        (fields.array()? == seed.magic()).then_some(())?;
        let crc = fields.u32()?;
        Self::read_fields(crc, &mut fields)
    }

    /// Whether these bytes, header and content, are whole and stand where they were written.
    fn holds(&self, frame: &[u8], place: FrameOffset, seed: FrameSeed) -> bool {
        frame.len() == self.frame_bytes() && seed.checksum(place, frame) == self.crc()
    }
}

/// Bytes that are read at once where frames of any length follow one another.
pub const PIECES: RangeInclusive<usize> = 16 * 1024..=1024 * 1024;

/// Reads the frames of a segment in their order.
#[derive(Debug)]
pub struct Frames<H> {
    seed: FrameSeed,
    /// Where the next frame is read.
    place: FrameOffset,
    /// What was read of the segment and is not used up; it begins at `place`.
    piece: Bytes,
    /// Bytes that are read at once; a longer frame is read by its own length.
    pieces: RangeInclusive<usize>,
    /// Bytes to read next: few behind a quiet writer, many in a backlog.
    wanted: usize,
    /// Where the piece was read.
    read_at: u64,
    header: PhantomData<H>,
}

impl<H: Header> Frames<H> {
    #[must_use]
    pub fn new(seed: FrameSeed, place: FrameOffset, pieces: RangeInclusive<usize>) -> Self {
        let wanted = *pieces.start();
        Self { seed, place, piece: Bytes::new(), pieces, wanted, read_at: place.offset, header: PhantomData }
    }

    /// Where the next frame is read.
    #[must_use]
    pub fn place(&self) -> FrameOffset {
        self.place
    }

    #[must_use]
    pub fn seed(&self) -> FrameSeed {
        self.seed
    }

    /// The next frame, header and content, where a whole one stands that `follows`; otherwise it is looked for again the
    /// next time. It is a part of what was read, and is not copied.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn next(&mut self, file: &dyn File, follows: impl Fn(&H) -> bool) -> io::Result<Option<(H, Bytes)>> {
        if let Some(found) = self.take(&follows) {
            return Ok(Some(found));
        }
        // How much of what was read last time was of use.
        let used = usize::try_from(self.place.offset - self.read_at).unwrap_or(usize::MAX);
        let wanted = if used > self.wanted / 2 { self.wanted.saturating_mul(2) } else { self.wanted / 2 };
        self.wanted = wanted.clamp(*self.pieces.start(), *self.pieces.end());
        self.fill(file, self.wanted)?;
        if let Some(found) = self.take(&follows) {
            return Ok(Some(found));
        }
        let Some(header) = H::read(&self.piece, self.seed) else { return Ok(None) };
        let bytes = header.frame_bytes();
        if bytes <= self.piece.len() || self.place.plus(bytes).offset > file.len()? {
            return Ok(None);
        }
        self.fill(file, bytes)?;
        Ok(self.take(&follows))
    }

    fn fill(&mut self, file: &dyn File, bytes: usize) -> io::Result<()> {
        let mut piece = vec![0; bytes];
        let got = file.read_at(&mut piece, self.place.offset)?;
        piece.truncate(got);
        self.piece = piece.into();
        self.read_at = self.place.offset;
        Ok(())
    }

    /// From what was read already.
    fn take(&mut self, follows: &impl Fn(&H) -> bool) -> Option<(H, Bytes)> {
        let header = H::read(&self.piece, self.seed)?;
        let bytes = self.piece.get(..header.frame_bytes())?;
        if !follows(&header) || !header.holds(bytes, self.place, self.seed) {
            return None;
        }
        let frame = self.piece.split_to(header.frame_bytes());
        self.place = self.place.plus(frame.len());
        Some((header, frame))
    }
}

/// The first whole frame of `bytes`, which stand at `place`, that is `wanted`, and where it begins in them.
pub fn find<H: Header>(
    bytes: &[u8],
    place: FrameOffset,
    seed: FrameSeed,
    wanted: impl Fn(&H) -> bool,
) -> Option<(usize, H)> {
    memmem::find_iter(bytes, &seed.magic()).find_map(|at| {
        let header = H::read(bytes.get(at..)?, seed)?;
        let frame = bytes.get(at..at.checked_add(header.frame_bytes())?)?;
        (wanted(&header) && header.holds(frame, place.plus(at), seed)).then_some((at, header))
    })
}

/// Whether a whole frame that is `wanted` follows `end`, where none begins. If so, what stands at `end` is damaged; otherwise it is a
/// torn tail, which was never synced.
///
/// # Errors
/// Whatever the file system says.
pub fn whole_frame_behind<H: Header>(
    file: &dyn File,
    end: FrameOffset,
    seed: FrameSeed,
    wanted: impl Fn(&H) -> bool,
) -> io::Result<bool> {
    let behind = end.plus(1);
    let mut rest = vec![0; usize::try_from(file.len()?.saturating_sub(behind.offset)).unwrap_or(0)];
    let got = file.read_at(&mut rest, behind.offset)?;
    rest.truncate(got);
    Ok(find(&rest, behind, seed, wanted).is_some())
}

/// Makes the last whole frame durable, which ends at `end`. The bytes that were checked are written, not what the file says
/// now: clean pages may have been dropped since. `trusting_cache` names the bug that leaves this out.
///
/// # Errors
/// Whatever the file system says; then nothing may be built on the frame.
pub fn make_certain(
    file: &dyn File,
    newest: &[u8],
    end: u64,
    trusting_cache: &'static str,
) -> io::Result<()> {
    if crate::fault::planted(trusting_cache) {
        return file.sync_data();
    }
    write_again(file, newest, end - newest.len() as u64)
}

/// What the segments of one log have in common.
#[derive(Clone, Copy, Debug)]
pub struct SegmentKind {
    pub magic: [u8; 8],
    pub version: u32,
    /// Of the files' names.
    pub extension: &'static str,
}

/// Segments by index, and the first index that is missing between them.
pub type Listed = (Vec<(u64, PathBuf)>, Option<u64>);

/// Why bytes are not the header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAHeader {
    Foreign,
    Version(u32),
    Damaged,
}

impl SegmentKind {
    #[must_use]
    pub fn path(&self, dir: &Path, index: u64) -> PathBuf {
        dir.join(format!("{index:016x}.{}", self.extension))
    }

    /// The index in a segment's file name; `None` for other files.
    #[must_use]
    pub fn index_of(&self, path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?.strip_suffix(self.extension)?.strip_suffix('.')?;
        let is_plain = name.len() == 16 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_plain.then(|| u64::from_str_radix(name, 16).ok()).flatten()
    }

    /// The segments in a directory, in their order, and the index of the first that is missing between them.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn list(&self, disk: &dyn Disk, dir: &Path) -> io::Result<Listed> {
        let paths = disk.list(dir)?.into_iter();
        let found: Vec<_> = paths.filter_map(|path| Some((self.index_of(&path)?, path))).collect();
        let next_and_found = found.windows(2).map(|pair| (pair[0].0 + 1, pair[1].0));
        let missing = next_and_found.into_iter().find(|(next, found)| next != found);
        Ok((found, missing.map(|(next, _)| next)))
    }

    /// Fills in what each header begins with; its fields are complete.
    pub fn seal(&self, header: &mut [u8]) {
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&self.version.to_le_bytes());
        header[12..16].fill(0);
        let crc = crc32c::crc32c(header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
    }

    /// The fields of a header.
    ///
    /// # Errors
    /// [`NotAHeader`].
    pub fn open<'a>(&self, header: &'a [u8]) -> Result<Reader<'a>, NotAHeader> {
        let mut fields = Reader::new(header);
        let begin = fields.array::<8>().zip(fields.u32()).zip(fields.u32());
        let Some(((_, version), crc)) = begin.filter(|((magic, _), _)| *magic == self.magic) else {
            return Err(NotAHeader::Foreign);
        };
        // Its own field is left out.
        let before = crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &[0; 4]);
        if crc32c::crc32c_append(before, fields.rest()) != crc {
            return Err(NotAHeader::Damaged);
        }
        if version != self.version {
            return Err(NotAHeader::Version(version));
        }
        Ok(fields)
    }
}
