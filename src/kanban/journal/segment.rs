//! The files of the journal: fixed-size segments, numbered without gaps, each naming what it continues.
//!
//! A segment's header is written and synced before the file gets its name, and the name before the first frame, so
//! a named segment is always readable. It names the journal, too: whichever segment is left after damage, the others
//! are read and mended with what it says. Segments that nobody needs any more become spares: writing into blocks that
//! were written before costs a third less per sync than into reserved ones.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::BufMut;

use crate::clock;
use crate::disk::{Disk, File, PIECE_BYTES, REST, set_aside, write_beside};
use crate::event::{Epoch, JournalId, Seq};
use crate::framed_log::chain_end::ChainEnd;
use crate::framed_log::{FrameOffset, FrameSeed, NotAHeader, SegmentKind};
use crate::ring::Mark;

/// Bytes before the first frame.
pub const HEADER_BYTES: usize = 64;
pub const KIND: SegmentKind = SegmentKind { magic: *b"GEMBAJN1", version: VERSION, extension: "journal" };
const VERSION: u32 = 2;

/// What all segments of a journal have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// An edge's signals and a node's actions are named by it, so that nobody takes those of a new journal for older ones.
    pub id: JournalId,
    pub seed: FrameSeed,
}

impl Lineage {
    /// That of a journal which begins.
    ///
    /// # Errors
    /// Where the system has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut id = [0; 8];
        rand::fill(&mut id).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        // None has the number 0: it is what a journal without a name is counted as.
        id[0] |= 1;
        Ok(Self { id: JournalId(u64::from_be_bytes(id)), seed: FrameSeed::random()? })
    }
}

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub lineage: Lineage,
    pub index: u64,
    /// Number that comes next when the segment begins.
    pub first: Seq,
    /// Checksum of the last frame of the segment before; of the first segment: 0.
    pub before: u32,
    pub epoch: Epoch,
}

/// Why a segment's header cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    #[error("it does not begin with a journal header")]
    Foreign,
    #[error("it has format version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("its header is damaged")]
    Damaged,
    #[error("it belongs to a different journal than the segments before it")]
    Stranger,
}

impl From<NotAHeader> for BadHeader {
    fn from(why: NotAHeader) -> Self {
        match why {
            NotAHeader::Foreign => Self::Foreign,
            NotAHeader::Version(version) => Self::Version(version),
            NotAHeader::Damaged => Self::Damaged,
        }
    }
}

impl Header {
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut fields = &mut bytes[16..];
        fields.put_u64_le(self.index);
        fields.put_u64_le(self.first.0);
        fields.put_u32_le(self.before);
        fields.put_u32_le(self.epoch.0);
        fields.put_u64_le(self.lineage.id.0);
        fields.put_slice(&self.lineage.seed.to_bytes());
        KIND.seal(&mut bytes);
        bytes
    }

    pub fn read(bytes: &[u8]) -> Result<Self, BadHeader> {
        let mut header = KIND.open(bytes.get(..HEADER_BYTES).ok_or(BadHeader::Foreign)?)?;
        let mut fields = || {
            let (index, first) = (header.u64()?, Seq(header.u64()?));
            let (before, epoch) = (header.u32()?, Epoch(header.u32()?));
            let (id, seed) = (JournalId(header.u64()?), FrameSeed::from_bytes(header.array()?));
            Some(Self { lineage: Lineage { id, seed }, index, first, before, epoch })
        };
        fields().ok_or(BadHeader::Foreign)
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

/// Where a new segment grows that has its header.
#[must_use]
pub fn chain_end(file: Arc<dyn File>, header: &Header) -> ChainEnd {
    ChainEnd::new(file, begin(header.index), header.before)
}

fn is_spare(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "spare")
}

/// Segments kept for reuse; more are set aside, to be removed slowly.
const SPARES_KEPT: usize = 4;

/// Files that are ready to become segments.
pub struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
    kept: VecDeque<PathBuf>,
    /// The highest number in a spare's name.
    made: u64,
    maker: Option<Maker>,
}

impl std::fmt::Debug for Spares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spares").field("kept", &self.kept).finish_non_exhaustive()
    }
}

impl Spares {
    /// Takes over the spares in `dir`. With `ahead`, a thread prepares new files before they are needed, so that no
    /// commit waits for it; without, they are made when asked for (simulation, repair).
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, bytes: u64, ahead: bool) -> io::Result<Self> {
        let (mut kept, mut made) = (VecDeque::new(), 0);
        for path in disk.list(dir)?.into_iter().filter(|path| is_spare(path)) {
            made = made.max(number_of(&path));
            if disk.open(&path)?.len()? == bytes && kept.len() < SPARES_KEPT {
                kept.push_back(path);
            } else {
                set_aside(&*disk, &path)?;
            }
        }
        let maker =
            if ahead { Some(Maker::start(Arc::clone(&disk), dir.to_owned(), made, bytes)?) } else { None };
        Ok(Self { disk, dir: dir.to_owned(), bytes, kept, made, maker })
    }

    /// A file of the right size whose content does not matter.
    pub fn take(&mut self) -> io::Result<PathBuf> {
        if let Some(path) = self.kept.pop_front() {
            return Ok(path);
        }
        // What could not be prepared then may be possible now.
        if let Some(Ok(path)) = self.maker.as_ref().map(Maker::take).transpose()? {
            return Ok(path);
        }
        self.made += 1;
        make(&*self.disk, &self.dir.join(format!("asked-{}.spare", self.made)), self.bytes, |_took| {})
    }

    /// Takes back a segment that nobody needs. Its name is durably gone when this returns: were a younger one's gone
    /// first after a power cut, or this one's file in use again under the old name, the journal would seem damaged.
    pub fn give_back(&mut self, segment: &Path) -> io::Result<()> {
        if self.kept.len() >= SPARES_KEPT {
            set_aside(&*self.disk, segment)?;
        } else {
            // Never a name that is kept already: after a repair, indexes of segments begin anew.
            self.made += 1;
            let spare = self.dir.join(format!("back-{}.spare", self.made));
            self.disk.rename(segment, &spare)?;
            self.kept.push_back(spare);
        }
        self.disk.sync_dir(&self.dir)
    }
}

/// The number that a spare was made with; 0 where it was a segment.
fn number_of(spare: &Path) -> u64 {
    let name = spare.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

/// The name must be new: a file that stands there may be kept, or be a segment by the time it is filled.
fn make(disk: &dyn Disk, path: &Path, bytes: u64, rest: impl FnMut(Duration)) -> io::Result<PathBuf> {
    if let Err(error) = fill(&*disk.create(path)?, bytes, rest) {
        set_aside(disk, path)?;
        return Err(error);
    }
    Ok(path.to_owned())
}

/// Writes `bytes` zeros and syncs them, piece by piece, calling `rest` after each with the time that it took.
/// Merely reserving the room would make every commit in it a third dearer.
pub fn fill(file: &dyn File, bytes: u64, mut rest: impl FnMut(Duration)) -> io::Result<()> {
    let zeros = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let begun = clock::now();
        let piece = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        write_beside(file, &zeros[..piece], at)?;
        at += piece as u64;
        rest(clock::now() - begun);
    }
    Ok(())
}

/// A thread that has the next spare ready.
struct Maker {
    spares: mpsc::Receiver<io::Result<PathBuf>>,
    /// 1 while the journal waits for it: then it does not rest.
    wanted: Mark,
    thread: thread::Thread,
}

impl Maker {
    /// Its spares have higher numbers than `made`.
    fn start(disk: Arc<dyn Disk>, dir: PathBuf, made: u64, bytes: u64) -> io::Result<Self> {
        let (sender, spares) = mpsc::sync_channel(0);
        let wanted = Mark::new(0);
        let asked = wanted.clone();
        let thread = thread::Builder::new().name("journal-spare".into()).spawn(move || {
            for number in made + 1.. {
                let path = dir.join(format!("ahead-{number}.spare"));
                if sender.send(make(&*disk, &path, bytes, |took| rest(took, &asked))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { spares, wanted, thread: thread.thread().clone() })
    }

    /// The next spare, or why it could not be made.
    fn take(&self) -> io::Result<io::Result<PathBuf>> {
        self.wanted.publish(1);
        self.thread.unpark();
        let spare = self.spares.recv();
        self.wanted.publish(0);
        spare.map_err(|_| io::Error::other("the thread that prepares segments has stopped"))
    }
}

/// Rests after a piece of work that took so long, until somebody wants its result. How long it took is bounded: a process
/// that was stopped meanwhile has not worked.
fn rest(took: Duration, wanted: &Mark) {
    let until = clock::now() + (took * REST).min(REST_MAX);
    while wanted.read() == 0 {
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// The longest rest after one piece.
const REST_MAX: Duration = Duration::from_secs(1);

/// Turns a spare into segment `header.index`, durable under its name when this returns.
pub fn create(disk: &dyn Disk, dir: &Path, spare: &Path, header: Header) -> io::Result<Arc<dyn File>> {
    let file = disk.open(spare)?;
    file.write_all_at(&header.to_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(spare, &path(dir, header.index))?;
    if !crate::fault::planted("skip-dir-sync") {
        disk.sync_dir(dir)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const BYTES: u64 = 4096;

    fn spares(dir: &Path) -> Vec<PathBuf> {
        RealDisk.list(dir).unwrap().into_iter().filter(|path| is_spare(path)).collect()
    }

    #[test]
    fn a_spare_of_an_earlier_run_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let before = spares(dir.path());
            let open = Spares::open(Arc::new(RealDisk), dir.path(), BYTES, true).unwrap();
            // Until the thread has its next one ready.
            let ready = |path: &PathBuf| !before.contains(path) && path.metadata().unwrap().len() == BYTES;
            let until = clock::now() + Duration::from_secs(30);
            while !spares(dir.path()).iter().any(ready) {
                assert!(clock::now() < until, "no file of a new name is made beside {before:?}");
                thread::yield_now();
            }
            drop(open);
        }
        let mut open = Spares::open(Arc::new(RealDisk), dir.path(), BYTES, true).unwrap();
        for index in 0..6 {
            let spare = open.take().unwrap();
            let lineage = Lineage::random().unwrap();
            let header = Header { lineage, index, first: Seq(1), before: 0, epoch: Epoch(1) };
            create(&RealDisk, dir.path(), &spare, header).unwrap();
        }
        thread::sleep(Duration::from_millis(50));
        for index in 0..6 {
            let mut bytes = [0; HEADER_BYTES];
            RealDisk.open(&path(dir.path(), index)).unwrap().read_at(&mut bytes, 0).unwrap();
            assert_eq!(Header::read(&bytes).unwrap().index, index);
        }
    }

    /// After a repair, indexes begin anew: segment 1 may be given back while the file of an earlier segment 1 is kept.
    #[test]
    fn a_segment_that_is_given_back_twice_becomes_two_spares() {
        let dir = tempfile::tempdir().unwrap();
        let mut open = Spares::open(Arc::new(RealDisk), dir.path(), BYTES, false).unwrap();
        let segment = path(dir.path(), 1);
        for _ in 0..2 {
            fill(&*RealDisk.create(&segment).unwrap(), BYTES, |_took| {}).unwrap();
            open.give_back(&segment).unwrap();
        }
        let (first, second) = (open.take().unwrap(), open.take().unwrap());
        assert_ne!(first, second);
        assert!(first.exists() && second.exists());
    }

    /// A piece during which the process was stopped for 20 s took 20 s: the rest after it must not hold up the journal.
    #[test]
    fn whoever_wants_a_spare_ends_the_rest() {
        let wanted = Mark::new(0);
        let asked = wanted.clone();
        let begun = clock::now();
        let resting = thread::spawn(move || rest(Duration::from_secs(20), &asked));
        thread::sleep(Duration::from_millis(50));
        wanted.publish(1);
        resting.thread().unpark();
        resting.join().unwrap();
        assert!(clock::now() - begun < REST_MAX, "it rested on");
        let begun = clock::now();
        rest(Duration::from_secs(20), &Mark::new(0));
        assert!(clock::now() - begun < Duration::from_secs(20), "no rest is that long");
    }
}
