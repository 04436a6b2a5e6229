//! Writing a run, from a block or from runs that are merged, piece by piece.
//!
//! Each piece is synced before the next is written, so that the journal's own sync never waits behind more than one of
//! them; and between two pieces more urgent work can come first. The file gets its name when all of it is durable.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::block::{Block, Entry};
use super::filter::{Filter, LINE_BYTES, lines_for};
use super::run::{self, ArchiveError, FENCE_BYTES, Header, PAGE_BYTES, PAGE_ENTRIES, Run};
use crate::disk::{Disk, File, PIECE_BYTES, set_aside, write_beside};
use crate::event::{Seq, UnixMillis};

/// Pages read at once from each run that is merged.
const READ_PAGES: usize = 64;

/// Suffix of a run that is being written.
pub(super) const UNFINISHED: &str = "new";
/// Suffix of a file that was a run and can become one again: no block need be freed and found anew. What it holds does not
/// matter, since each page's checksum names its run, and the header is written last.
pub(super) const SPARE: &str = "spare";

/// The name says which events' identities it holds.
pub(super) fn path(dir: &Path, after: Seq, through: Seq) -> PathBuf {
    dir.join(format!("{:016x}-{:016x}.run", after.0, through.0))
}

/// The events that a run's name speaks of; `None` for other files.
pub(super) fn events_of(path: &Path) -> Option<(Seq, Seq)> {
    let (after, through) = path.file_name()?.to_str()?.strip_suffix(".run")?.split_once('-')?;
    let number = |hex: &str| (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten().map(Seq);
    Some((number(after)?, number(through)?))
}

/// A run that is read from its beginning.
struct Cursor {
    run: Arc<Run>,
    page: u64,
    entries: VecDeque<Entry>,
}

impl Cursor {
    fn peek(&mut self) -> Result<Option<&Entry>, ArchiveError> {
        if self.entries.is_empty() && self.page < self.run.header.pages() {
            self.run.read(self.page, READ_PAGES, &mut self.entries)?;
            self.page += READ_PAGES as u64;
        }
        Ok(self.entries.front())
    }
}

/// Where the entries come from, in order.
enum Source {
    Block(std::vec::IntoIter<Entry>),
    /// From the oldest to the newest.
    Runs(Vec<Cursor>),
}

impl Source {
    fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let cursors = match self {
            Self::Block(entries) => return Ok(entries.next()),
            Self::Runs(cursors) => cursors,
        };
        let mut least: Option<Entry> = None;
        for cursor in &mut *cursors {
            if let Some(entry) = cursor.peek()? {
                // Of two entries of one identity the newer one holds; the older was beyond the horizon when it came.
                if least.is_none_or(|least| entry.key <= least.key) {
                    least = Some(*entry);
                }
            }
        }
        if let Some(least) = least {
            for cursor in cursors {
                if cursor.entries.front().is_some_and(|entry| entry.key == least.key) {
                    cursor.entries.pop_front();
                }
            }
        }
        Ok(least)
    }
}

/// A spare as the file of a run that will have so many bytes. One that is longer is of no use: it would have to be cut.
fn reuse(disk: &dyn Disk, spare: &Path, unfinished: &Path, bytes: u64) -> io::Result<Arc<dyn File>> {
    if disk.open(spare)?.len()? > bytes {
        set_aside(disk, spare)?;
        return disk.create(unfinished);
    }
    disk.rename(spare, unfinished)?;
    disk.open(unfinished)
}

enum State {
    Entries(Source),
    /// The next page's fence.
    Fence(usize),
    /// The filter's next line.
    Filter(usize),
    Header,
}

/// A run that is being written.
pub(super) struct Build {
    disk: Arc<dyn Disk>,
    unfinished: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    written: u64,
    header: Header,
    fence: Vec<u128>,
    filter: Filter,
    state: State,
}

impl std::fmt::Debug for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Build")
            .field("path", &self.path)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Build {
    /// Written into `spare`, if there is one.
    pub(super) fn of_block(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        block: &Block,
        spare: Option<&Path>,
    ) -> Result<Self, ArchiveError> {
        let entries = block.sorted();
        let times = (block.first_time, block.last_time);
        let most = entries.len() as u64;
        let source = Source::Block(entries.into_iter());
        Self::new(disk, dir, (block.after, block.through), times, 0, most, (source, spare))
    }

    /// Of runs that follow one another, from the oldest to the newest.
    pub(super) fn of_runs(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        runs: &[Arc<Run>],
        level: u32,
    ) -> Result<Self, ArchiveError> {
        let [first, .., last] = runs else { unreachable!("at least two runs are merged") };
        assert!(
            runs.windows(2).all(|pair| pair[0].header.through == pair[1].header.after),
            "runs that are merged follow one another"
        );
        let events = (first.header.after, last.header.through);
        let times = (first.header.first_time, last.header.last_time);
        let most = runs.iter().map(|run| run.header.count).sum();
        let cursor = |run: &Arc<Run>| Cursor { run: Arc::clone(run), page: 0, entries: VecDeque::new() };
        let source = Source::Runs(runs.iter().map(cursor).collect());
        Self::new(disk, dir, events, times, level, most, (source, None))
    }

    fn new(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        (after, through): (Seq, Seq),
        (first_time, last_time): (UnixMillis, UnixMillis),
        level: u32,
        most: u64,
        (source, spare): (Source, Option<&Path>),
    ) -> Result<Self, ArchiveError> {
        let path = path(dir, after, through);
        let unfinished = path.with_extension(UNFINISHED);
        let header = Header {
            after,
            through,
            first_time,
            last_time,
            level,
            count: 0,
            lines: lines_for(most),
            fence_crc: 0,
            filter_crc: 0,
        };
        let bytes = Header { count: most, ..header }.file_bytes();
        let file = match spare {
            Some(spare) => reuse(&**disk, spare, &unfinished, bytes),
            None => disk.create(&unfinished),
        };
        let file = file.map_err(run::at(&unfinished))?;
        Ok(Self {
            disk: Arc::clone(disk),
            unfinished,
            path,
            file,
            written: PAGE_BYTES as u64,
            header,
            fence: Vec::with_capacity(usize::try_from(most).unwrap_or(0).div_ceil(PAGE_ENTRIES)),
            filter: Filter::new(usize::try_from(header.lines).unwrap_or(usize::MAX)),
            state: State::Entries(source),
        })
    }

    /// Memory that the run takes which it becomes.
    pub(super) fn memory_bytes(&self) -> usize {
        run::memory_bytes(&self.fence, &self.filter)
    }

    /// Writes the next piece; returns true when all pieces are written, and then [`Build::finish`] is due.
    pub(super) fn step(&mut self) -> Result<bool, ArchiveError> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        self.state = match std::mem::replace(&mut self.state, State::Header) {
            State::Entries(mut source) => {
                if self.pages(&mut source, &mut piece)? {
                    State::Fence(0)
                } else {
                    State::Entries(source)
                }
            }
            State::Fence(from) => {
                let upto = self.fence.len().min(from + PIECE_BYTES / FENCE_BYTES);
                piece.extend(self.fence[from..upto].iter().flat_map(|first| first.to_be_bytes()));
                self.header.fence_crc = crc32c::crc32c_append(self.header.fence_crc, &piece);
                if upto == self.fence.len() { State::Filter(0) } else { State::Fence(upto) }
            }
            State::Filter(from) => {
                let upto = self.filter.len().min(from + PIECE_BYTES / LINE_BYTES);
                (from..upto).for_each(|at| self.filter.write_line(at, &mut piece));
                self.header.filter_crc = crc32c::crc32c_append(self.header.filter_crc, &piece);
                if upto == self.filter.len() { State::Header } else { State::Filter(upto) }
            }
            State::Header => return Ok(true),
        };
        write_beside(&*self.file, &piece, self.written).map_err(run::at(&self.unfinished))?;
        self.written += piece.len() as u64;
        Ok(matches!(self.state, State::Header))
    }

    /// Adds pages to the piece; returns true when there are no more entries.
    fn pages(&mut self, source: &mut Source, piece: &mut Vec<u8>) -> Result<bool, ArchiveError> {
        let mut entries = Vec::with_capacity(PAGE_ENTRIES);
        loop {
            let entry = source.next()?;
            if let Some(entry) = entry {
                self.filter.insert(entry.key);
                self.header.count += 1;
                entries.push(entry);
            }
            let over = entry.is_none();
            if entries.len() == PAGE_ENTRIES || over && !entries.is_empty() {
                let number = self.fence.len() as u64;
                run::write_page(&entries, (self.header.after, self.header.through), number, piece);
                self.fence.push(entries[0].key);
                entries.clear();
            }
            if over {
                return Ok(true);
            }
            if piece.len() >= PIECE_BYTES {
                return Ok(false);
            }
        }
    }

    /// Gives the file its name, durably.
    pub(super) fn finish(self) -> Result<Run, ArchiveError> {
        let named = || -> io::Result<()> {
            self.file.write_all_at(&self.header.to_page(), 0)?;
            self.file.sync_data()?;
            self.disk.rename(&self.unfinished, &self.path)?;
            self.disk.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
        };
        named().map_err(run::at(&self.path))?;
        Ok(Run::new(self.header, self.path, self.file, self.fence, self.filter))
    }
}
