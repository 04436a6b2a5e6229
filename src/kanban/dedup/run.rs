//! A run: a file of identities that never changes, sorted by fingerprint.
//!
//! ```text
//! header      one page: magic, version, checksum, which events, which times, how many
//! pages       4 KiB each: 127 entries of 32 bytes (fingerprint, digest, number), checksum
//! fence       the first fingerprint of each page, 16 bytes
//! filter      lines of 64 bytes
//! ```
//!
//! Header, fence and filter are checked and kept in memory when the run is opened: 2.1 bytes an identity, and 34.4 on
//! disk. A page is checked whenever it is read. A question costs the filter's one line, and one page where that says
//! yes. The checksum of a page covers which page of which run it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::Entry;
use super::filter::{Filter, LINE_BYTES, Question};
use crate::disk::{Disk, File};
use crate::event::{Seq, UnixMillis};

pub(super) const PAGE_BYTES: usize = 4096;
pub(super) const PAGE_ENTRIES: usize = 127;
pub(super) const ENTRY_BYTES: usize = 32;
pub(super) const FENCE_BYTES: usize = 16;
const CRC_AT: usize = PAGE_BYTES - 4;
const MAGIC: [u8; 8] = *b"GEMBADD1";
const VERSION: u32 = 1;
/// More than any disk holds, and few enough that no offset overflows.
const COUNT_MAX: u64 = 1 << 40;

const _: () = assert!(PAGE_ENTRIES * ENTRY_BYTES <= CRC_AT);

/// Why the archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: {why}")]
    Damaged { path: PathBuf, why: &'static str },
    #[error("{path} has format version {version}; this program reads version {VERSION}")]
    Version { path: PathBuf, version: u32 },
    #[error(
        "{path}: the identities of the events from {from} to {before} are neither here nor in the journal"
    )]
    Missing { path: PathBuf, from: Seq, before: Seq },
    #[error("the thread that archives identities has ended")]
    Gone,
}

impl ArchiveError {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } => Some(
                "restore the directory `dedup` from a backup; without it, signals sent again could count twice",
            ),
            Self::Io { .. } | Self::Version { .. } | Self::Gone => None,
        }
    }
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    let path = path.to_owned();
    move |source| ArchiveError::Io { path, source }
}

/// What a run says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// It holds every identity of the events behind `after` and through `through`.
    pub after: Seq,
    pub through: Seq,
    pub first_time: UnixMillis,
    pub last_time: UnixMillis,
    /// How often its entries were merged.
    pub level: u32,
    pub count: u64,
    pub lines: u64,
    pub fence_crc: u32,
    pub filter_crc: u32,
}

impl Header {
    pub(super) fn to_page(self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let numbers =
            [self.after.0, self.through.0, self.first_time.0, self.last_time.0, self.count, self.lines];
        for (place, number) in page[16..64].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let words = [self.level, self.fence_crc, self.filter_crc];
        for (place, word) in page[64..76].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(&page);
        page[12..16].copy_from_slice(&crc.to_le_bytes());
        page
    }

    fn read(mut page: [u8; PAGE_BYTES], path: &Path) -> Result<Self, ArchiveError> {
        let damaged = |why| ArchiveError::Damaged { path: path.to_owned(), why };
        if page[..8] != MAGIC {
            return Err(damaged("it does not begin with the header of a run"));
        }
        let word = |at: usize| u32::from_le_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
        let number = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let (version, crc) = (word(8), word(12));
        let header = Self {
            after: Seq(number(16)),
            through: Seq(number(24)),
            first_time: UnixMillis(number(32)),
            last_time: UnixMillis(number(40)),
            count: number(48),
            lines: number(56),
            level: word(64),
            fence_crc: word(68),
            filter_crc: word(72),
        };
        page[12..16].fill(0);
        if crc32c::crc32c(&page) != crc {
            return Err(damaged("its header is damaged"));
        }
        if version != VERSION {
            return Err(ArchiveError::Version { path: path.to_owned(), version });
        }
        if !(1..COUNT_MAX).contains(&header.count) || !(1..COUNT_MAX).contains(&header.lines) {
            return Err(damaged("its header is damaged"));
        }
        Ok(header)
    }

    pub(super) fn pages(&self) -> u64 {
        self.count.div_ceil(PAGE_ENTRIES as u64)
    }

    fn fence_at(&self) -> u64 {
        (1 + self.pages()) * PAGE_BYTES as u64
    }

    fn filter_at(&self) -> u64 {
        self.fence_at() + self.pages() * FENCE_BYTES as u64
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.filter_at() + self.lines * LINE_BYTES as u64
    }
}

/// The checksum of page `number` of the run that holds the events behind `after`, through `through`.
fn page_crc(after: Seq, through: Seq, number: u64, page: &[u8]) -> u32 {
    let seat = [after.0.to_le_bytes(), through.0.to_le_bytes(), number.to_le_bytes()];
    crc32c::crc32c_append(crc32c::crc32c(seat.as_flattened()), page)
}

/// Appends a page of at most [`PAGE_ENTRIES`] entries.
pub(super) fn write_page(entries: &[Entry], (after, through): (Seq, Seq), number: u64, out: &mut Vec<u8>) {
    assert!(!entries.is_empty() && entries.len() <= PAGE_ENTRIES, "a page is neither empty nor too full");
    let start = out.len();
    for entry in entries {
        out.extend_from_slice(&entry.key.to_be_bytes());
        out.extend_from_slice(&entry.digest.to_le_bytes());
        out.extend_from_slice(&entry.seq.0.to_le_bytes());
    }
    out.resize(start + CRC_AT, 0);
    let crc = page_crc(after, through, number, &out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

#[derive(Clone, Copy)]
struct Packed([u8; ENTRY_BYTES]);

impl Packed {
    fn key(&self) -> u128 {
        u128::from_be_bytes(*self.part())
    }

    fn entry(&self) -> Entry {
        let (words, _) = self.0[16..].as_chunks();
        let [digest, seq] = [words[0], words[1]].map(u64::from_le_bytes);
        Entry { key: self.key(), digest, seq: Seq(seq) }
    }

    fn part(&self) -> &[u8; 16] {
        self.0.as_chunks().0.first().unwrap_or(&[0; 16])
    }
}

pub(super) struct Run {
    pub header: Header,
    pub path: PathBuf,
    file: Arc<dyn File>,
    fence: Vec<u128>,
    filter: Filter,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("path", &self.path).field("header", &self.header).finish_non_exhaustive()
    }
}

impl Run {
    pub(super) fn new(
        header: Header,
        path: PathBuf,
        file: Arc<dyn File>,
        fence: Vec<u128>,
        filter: Filter,
    ) -> Self {
        Self { header, path, file, fence, filter }
    }

    /// Opens a run and checks everything but its pages.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, ArchiveError> {
        let file = disk.open(path).map_err(at(path))?;
        let damaged = |why| ArchiveError::Damaged { path: path.to_owned(), why };
        let mut page = [0; PAGE_BYTES];
        if file.read_at(&mut page, 0).map_err(at(path))? < PAGE_BYTES {
            return Err(damaged("it is shorter than the header of a run"));
        }
        let header = Header::read(page, path)?;
        let (fence_at, filter_at, len) = (header.fence_at(), header.filter_at(), header.file_bytes());
        if file.len().map_err(at(path))? != len {
            return Err(damaged("it has not the length that its header says"));
        }
        let mut fence = Vec::with_capacity(usize::try_from(header.pages()).unwrap_or(0));
        let crc = read_pieces(&*file, fence_at..filter_at, |bytes: &[u8; FENCE_BYTES]| {
            fence.push(u128::from_be_bytes(*bytes));
        });
        if crc.map_err(at(path))? != header.fence_crc {
            return Err(damaged("its fence is damaged"));
        }
        let mut filter = Filter::new(usize::try_from(header.lines).unwrap_or(usize::MAX));
        let mut line = 0;
        let crc = read_pieces(&*file, filter_at..len, |bytes| {
            filter.read_line(line, bytes);
            line += 1;
        });
        if crc.map_err(at(path))? != header.filter_crc {
            return Err(damaged("its filter is damaged"));
        }
        Ok(Self::new(header, path.to_owned(), file, fence, filter))
    }

    /// Memory that it takes as long as it can be asked.
    pub(super) fn memory_bytes(&self) -> usize {
        memory_bytes(&self.fence, &self.filter)
    }

    #[inline]
    pub(super) fn may_hold(&self, question: &Question) -> bool {
        self.filter.may_hold(question)
    }

    /// Reads the one page that would hold the key.
    #[inline(never)]
    pub(super) fn look(&self, key: u128) -> Result<Option<Entry>, ArchiveError> {
        let Some(number) = self.fence.partition_point(|first| *first <= key).checked_sub(1) else {
            return Ok(None);
        };
        let mut page = [0; PAGE_BYTES];
        let entries = self.page(number as u64, &mut page)?;
        let found = entries.binary_search_by(|packed| Packed(*packed).key().cmp(&key));
        Ok(found.ok().map(|at| Packed(entries[at]).entry()))
    }

    /// Appends the entries of `pages` pages from page `first` on.
    pub(super) fn read(
        &self,
        first: u64,
        pages: usize,
        out: &mut std::collections::VecDeque<Entry>,
    ) -> Result<(), ArchiveError> {
        let rest = usize::try_from(self.header.pages() - first).unwrap_or(usize::MAX);
        let mut bytes = vec![0; rest.min(pages) * PAGE_BYTES];
        let from = (1 + first) * PAGE_BYTES as u64;
        let got = self.file.read_at(&mut bytes, from).map_err(at(&self.path))?;
        let (whole, _) = bytes[..got].as_chunks();
        if got < bytes.len() {
            return Err(self.damaged());
        }
        for (page, number) in whole.iter().zip(first..) {
            out.extend(self.entries(number, page)?.iter().map(|packed| Packed(*packed).entry()));
        }
        Ok(())
    }

    fn page<'a>(
        &self,
        number: u64,
        page: &'a mut [u8; PAGE_BYTES],
    ) -> Result<&'a [[u8; ENTRY_BYTES]], ArchiveError> {
        let got = self.file.read_at(page, (1 + number) * PAGE_BYTES as u64).map_err(at(&self.path))?;
        if got < PAGE_BYTES {
            return Err(self.damaged());
        }
        self.entries(number, page)
    }

    fn entries<'a>(
        &self,
        number: u64,
        page: &'a [u8; PAGE_BYTES],
    ) -> Result<&'a [[u8; ENTRY_BYTES]], ArchiveError> {
        let crc = page_crc(self.header.after, self.header.through, number, &page[..CRC_AT]);
        if page[CRC_AT..] != crc.to_le_bytes() {
            return Err(self.damaged());
        }
        let before = number * PAGE_ENTRIES as u64;
        let count = usize::try_from(self.header.count - before).unwrap_or(usize::MAX).min(PAGE_ENTRIES);
        Ok(&page.as_chunks().0[..count])
    }

    fn damaged(&self) -> ArchiveError {
        ArchiveError::Damaged { path: self.path.clone(), why: "a page of identities is damaged" }
    }
}

pub(super) fn memory_bytes(fence: &[u128], filter: &Filter) -> usize {
    fence.len() * FENCE_BYTES + filter.len() * LINE_BYTES
}

/// Shows a part of a file item by item and returns its checksum; what is cut off shows in that.
fn read_pieces<const ITEM: usize>(
    file: &dyn File,
    part: std::ops::Range<u64>,
    mut visit: impl FnMut(&[u8; ITEM]),
) -> io::Result<u32> {
    let mut piece = vec![0; 1 << 20];
    let (mut at, mut crc) = (part.start, 0);
    while at < part.end {
        let wanted = usize::try_from(part.end - at).unwrap_or(usize::MAX).min(piece.len());
        let got = file.read_at(&mut piece[..wanted], at)?;
        if got < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        crc = crc32c::crc32c_append(crc, &piece[..got]);
        piece[..got].as_chunks().0.iter().for_each(&mut visit);
        at += got as u64;
    }
    Ok(crc)
}
