//! Mending a damaged journal: every frame that is whole is kept, also behind the damage, in a new chain of segments.
//!
//! The damaged segments are not touched until the new ones are complete and synced; then they change names, within the
//! directory, which may be a mount of its own. A note says which step of that is under way, so that a repair which was
//! interrupted can be finished, and nobody takes half of it for a journal. What a lost frame held is told by its numbers:
//! they are gaps in the new journal, and a
//! chain may skip numbers only where an epoch begins, so the frames behind a gap are written under a later epoch.

use std::io;
use std::path::{Path, PathBuf};

use super::frame;
use super::segment::{self, Lineage};
use crate::disk::{Disk, File, set_aside};
use crate::event::{Epoch, Seq};
use crate::framed_log::chain_end::ChainEnd;
use crate::framed_log::{Header as _, find};

/// What a repair would keep and lose.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    frames: Vec<Kept>,
    /// Events in the frames that are kept.
    pub events: u64,
    /// Last number that is kept.
    pub last: Seq,
    pub holes: Vec<Hole>,
    lineage: Option<Lineage>,
    segment_bytes: u64,
}

/// A stretch that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    pub path: PathBuf,
    pub offset: u64,
    /// Numbers that may have been in it, first and last; empty where nothing is missing.
    pub lost: Option<(Seq, Seq)>,
}

/// A frame that is whole.
#[derive(Clone, Debug)]
struct Kept {
    path: PathBuf,
    offset: u64,
    header: frame::Header,
}

/// Looks at all of the journal in `dir` without changing it.
pub fn plan(disk: &dyn Disk, dir: &Path) -> io::Result<Plan> {
    let mut plan = Plan { last: Seq(0), ..Plan::default() };
    let mut hole: Option<(PathBuf, u64)> = None;
    let mut began = false;
    let mut before = 0;
    let segments = disk.list(dir)?.into_iter().filter(|path| segment::KIND.index_of(path).is_some());
    let segments: Vec<PathBuf> = segments.collect();
    // Frames are known by what any one header says of the journal.
    for path in &segments {
        let mut header = [0; segment::HEADER_BYTES];
        let got = disk.open(path)?.read_at(&mut header, 0)?;
        plan.lineage =
            plan.lineage.or(segment::Header::read(&header[..got]).ok().map(|header| header.lineage));
    }
    let Some(Lineage { seed, .. }) = plan.lineage else {
        plan.holes = segments.into_iter().map(|path| Hole { path, offset: 0, lost: None }).collect();
        return Ok(plan);
    };
    for path in segments {
        let Some(index) = segment::KIND.index_of(&path) else { continue };
        let file = disk.open(&path)?;
        plan.segment_bytes = plan.segment_bytes.max(file.len()?);
        let bytes = read(&*file)?;
        if let Ok(header) = segment::Header::read(&bytes)
            && !std::mem::replace(&mut began, true)
        {
            plan.last = Seq(header.first.0.saturating_sub(1));
            before = header.before;
        }
        let mut place = segment::begin(index);
        loop {
            let rest = usize::try_from(place.offset).ok().and_then(|offset| bytes.get(offset..));
            // Whole, and its numbers are new.
            let whole = find(rest.unwrap_or_default(), place, seed, |header: &frame::Header| {
                header.first > plan.last
            });
            let Some((shift, header)) = whole else { break };
            let (hole_path, hole_offset) = hole.take().unwrap_or((path.clone(), place.offset));
            if header.before != before {
                let lost =
                    (header.first.0 > plan.last.0 + 1).then(|| (plan.last.next(), Seq(header.first.0 - 1)));
                plan.holes.push(Hole { path: hole_path, offset: hole_offset, lost });
            }
            before = header.crc;
            let at = place.plus(shift);
            plan.keep(Kept { path: path.clone(), offset: at.offset, header });
            place = at.plus(header.frame_bytes());
        }
        // Zeros, or what was there before the segment was used again, end every segment; only a frame behind them
        // says that they are a hole.
        hole = Some((path, place.offset));
    }
    Ok(plan)
}

fn read(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

impl Plan {
    fn keep(&mut self, kept: Kept) {
        self.events += u64::from(kept.header.count);
        self.last = self.last.max(kept.header.last());
        self.frames.push(kept);
    }

    /// Writes what is kept as a new journal and gives it the place of the damaged one, whose segments stay beside it as
    /// `*.damaged-N`. Returns the number.
    ///
    /// # Errors
    /// Whatever the disk says. After a failure the journal is as it was, or [`finish`] completes the repair.
    pub fn apply(&self, disk: &dyn Disk, dir: &Path) -> io::Result<u32> {
        let Some(lineage) = self.lineage else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no segment's header can be read"));
        };
        let mut taken = 0;
        for path in disk.list(dir)? {
            match path.extension().and_then(|extension| extension.to_str()) {
                // A repair ended before it changed a name.
                Some(MENDED) => set_aside(disk, &path)?,
                Some(extension) => {
                    let number = extension.strip_prefix(DAMAGED).and_then(|number| number.parse().ok());
                    taken = taken.max(number.unwrap_or(0));
                }
                None => {}
            }
        }
        let mut mended = MendedSegments { disk, dir, lineage, bytes: self.segment_bytes, end: None };
        let (mut epoch, mut before) = (Epoch(0), None);
        let mut later = 0;
        for kept in &self.frames {
            let broken = before.is_some_and(|before| before != kept.header.before);
            // Behind a hole, the old epoch may go on; the new chain needs a later one to skip numbers.
            if broken && Epoch(kept.header.epoch.0 + later) <= epoch {
                later = epoch.0 + 1 - kept.header.epoch.0;
            }
            before = Some(kept.header.crc);
            epoch = Epoch(kept.header.epoch.0 + later);
            let mut bytes = vec![0; kept.header.frame_bytes()];
            disk.open(&kept.path)?.read_at(&mut bytes, kept.offset)?;
            mended.append(frame::Header { epoch, ..kept.header }, &mut bytes)?;
        }
        mended.close()?;
        Renaming { act: Act::SetAside, number: taken + 1 }.note(disk, dir)?;
        finish(disk, dir)?;
        Ok(taken + 1)
    }
}

/// Extension of a segment that is to come into the journal.
const MENDED: &str = "mended";
/// Beginning of the extension of a segment that a repair replaced.
const DAMAGED: &str = "damaged-";
/// File that says what a repair has still to do. While it is there, nobody else reads the journal.
pub const NOTE: &str = "repair";

/// The part of a repair in which segments change their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Renaming {
    act: Act,
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// All segments of the journal are damaged ones.
    SetAside,
    /// All segments of the journal are mended ones.
    TakeIn,
}

impl Renaming {
    fn note(self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let act = match self.act {
            Act::SetAside => "set aside",
            Act::TakeIn => "take in",
        };
        crate::disk::replace(disk, &dir.join(NOTE), format!("{act} {}\n", self.number).as_bytes())
    }

    fn noted(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(NOTE);
        let text = match crate::disk::read(disk, &path, 64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => String::from_utf8(read?).unwrap_or_default(),
        };
        let noted = text.trim_end().rsplit_once(' ').and_then(|(act, number)| {
            let act = match act {
                "set aside" => Act::SetAside,
                "take in" => Act::TakeIn,
                _ => return None,
            };
            Some(Self { act, number: number.parse().ok()? })
        });
        let foreign = || {
            let what = format!("{} does not say what a repair has still to do", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        noted.map(Some).ok_or_else(foreign)
    }
}

/// Whether a repair ended while segments changed their names.
///
/// # Errors
/// Whatever the disk says.
pub fn is_interrupted(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    Renaming::noted(disk, dir).map(|noted| noted.is_some())
}

/// Completes a repair that ended while segments changed their names.
///
/// # Errors
/// Whatever the disk says; then it can be tried again.
pub fn finish(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let Some(Renaming { mut act, number }) = Renaming::noted(disk, dir)? else { return Ok(()) };
    if act == Act::SetAside {
        for path in disk.list(dir)?.into_iter().filter(|path| segment::KIND.index_of(path).is_some()) {
            disk.rename(&path, &beside(&path, &format!("{DAMAGED}{number}")))?;
        }
        disk.sync_dir(dir)?;
        act = Act::TakeIn;
        Renaming { act, number }.note(disk, dir)?;
    }
    for path in disk.list(dir)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == MENDED)) {
        disk.rename(&path, &path.with_extension(""))?;
    }
    disk.sync_dir(dir)?;
    disk.remove(&dir.join(NOTE))?;
    disk.sync_dir(dir)
}

/// The name of a segment with a further extension.
fn beside(segment: &Path, extension: &str) -> PathBuf {
    let mut name = segment.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

/// The new segments.
struct MendedSegments<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    lineage: Lineage,
    bytes: u64,
    end: Option<ChainEnd>,
}

impl MendedSegments<'_> {
    fn append(&mut self, header: frame::Header, bytes: &mut [u8]) -> io::Result<()> {
        let has_room = self.end.as_ref().is_some_and(|end| end.has_room(bytes.len(), self.bytes));
        if !has_room {
            let next = self.begin(&header)?;
            if let Some(done) = self.end.replace(next) {
                done.file().sync_data()?;
            }
        }
        match &mut self.end {
            Some(end) => end.append(header, bytes, self.lineage.seed),
            None => Ok(()),
        }
    }

    fn begin(&self, first: &frame::Header) -> io::Result<ChainEnd> {
        let (index, before) = self.end.as_ref().map_or((0, 0), |end| (end.place().segment + 1, end.before()));
        let (lineage, epoch) = (self.lineage, first.epoch);
        let header = segment::Header { lineage, index, first: first.first, before, epoch };
        let file = self.disk.create(&beside(&segment::path(self.dir, index), MENDED))?;
        segment::fill(&*file, self.bytes, |_took| {})?;
        file.write_all_at(&header.to_bytes(), 0)?;
        Ok(segment::chain_end(file, &header))
    }

    fn close(self) -> io::Result<()> {
        if let Some(end) = self.end {
            end.file().sync_data()?;
        }
        self.disk.sync_dir(self.dir)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::Damage;
    use super::super::tests::{append, held_in, named_segments, reopen_in};
    use super::*;
    use crate::disk::RealDisk;

    const SEGMENT_BYTES: u64 = 1024;

    /// Several segments of frames with two signals each; their ids in order.
    fn journal(dir: &Path) -> Vec<String> {
        std::fs::create_dir_all(dir).unwrap();
        let mut ids = Vec::new();
        for _ in 0..2 {
            let mut writer = reopen_in(dir, SEGMENT_BYTES);
            for _ in 0..12 {
                let pair = [format!("s-{}", ids.len()), format!("s-{}", ids.len() + 1)];
                append(&mut writer, &[pair[0].as_str(), pair[1].as_str()]);
                ids.extend(pair);
            }
        }
        ids
    }

    fn flip(path: &Path, at: u64) {
        let file = RealDisk.open(path).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn a_whole_journal_has_nothing_to_mend() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("journal");
        let ids = journal(&dir);
        let plan = plan(&RealDisk, &dir).unwrap();
        assert_eq!((plan.holes.len(), plan.events), (0, ids.len() as u64));
    }

    #[test]
    fn wherever_a_byte_rots_only_its_frame_is_lost_and_the_journal_opens_again() {
        let source = tempfile::tempdir().unwrap();
        let source = source.path().join("journal");
        let ids = journal(&source);
        let segments = named_segments(&source);
        assert!(segments.len() > 4, "{segments:?}");
        for (number, segment) in segments.iter().enumerate() {
            for at in [10, segment::HEADER_BYTES as u64 + 50, 400] {
                let home = tempfile::tempdir().unwrap();
                let dir = home.path().join("journal");
                std::fs::create_dir_all(&dir).unwrap();
                for path in named_segments(&source) {
                    std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
                }
                flip(&dir.join(segment.file_name().unwrap()), at);
                let plan = plan(&RealDisk, &dir).unwrap();
                let lineage = super::super::lineage(&RealDisk, &source).unwrap();
                plan.apply(&RealDisk, &dir).unwrap();
                assert_eq!(super::super::lineage(&RealDisk, &dir).unwrap(), lineage, "its id is kept");
                let held = held_in(&dir);
                assert!(held.len() + 2 >= ids.len(), "segment {number}, byte {at}: one frame at most");
                let in_order = ids.iter().filter(|id| held.contains(id)).cloned().collect::<Vec<_>>();
                assert_eq!(held, in_order, "segment {number}, byte {at}");
                let mut writer = reopen_in(&dir, SEGMENT_BYTES);
                append(&mut writer, &["new"]);
                drop(writer);
                assert_eq!(held_in(&dir).len(), held.len() + 1);
                assert!(super::plan(&RealDisk, &dir).unwrap().holes.is_empty(), "it is whole now");
            }
        }
    }

    /// A disk on which the process dies before the change of a name that has this number.
    struct Dying {
        left: AtomicUsize,
    }

    impl Dying {
        fn spend(&self) -> io::Result<()> {
            let left =
                self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            left.map(drop).map_err(|_| io::Error::other("the process is dead"))
        }
    }

    impl Disk for Dying {
        fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            self.spend()?;
            RealDisk.create(path)
        }
        fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            RealDisk.open(path)
        }
        fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
            RealDisk.list(dir)
        }
        fn create_dir(&self, dir: &Path) -> io::Result<bool> {
            RealDisk.create_dir(dir)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.spend()?;
            RealDisk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.spend()?;
            RealDisk.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            RealDisk.sync_dir(dir)
        }
        fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
            RealDisk.free_bytes(dir)
        }
    }

    #[test]
    fn a_repair_that_ends_anywhere_is_finished_by_the_next() {
        let mut changes = 0;
        loop {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("journal");
            let ids = journal(&dir);
            flip(&named_segments(&dir)[2], segment::HEADER_BYTES as u64 + 50);
            let disk = Dying { left: AtomicUsize::new(changes) };
            let died = plan(&RealDisk, &dir).unwrap().apply(&disk, &dir).is_err();
            if is_interrupted(&RealDisk, &dir).unwrap() {
                let read = super::super::segments(&RealDisk, &dir);
                assert!(matches!(read, Err(Damage::HalfMended { .. })), "change {changes}: {read:?}");
                finish(&RealDisk, &dir).unwrap();
            }
            let whole = plan(&RealDisk, &dir).unwrap();
            if !whole.holes.is_empty() {
                whole.apply(&RealDisk, &dir).unwrap();
            }
            assert!(held_in(&dir).len() + 2 >= ids.len(), "change {changes}");
            assert!(plan(&RealDisk, &dir).unwrap().holes.is_empty(), "change {changes}");
            let left = RealDisk.list(&dir).unwrap();
            let of = |end: &str| left.iter().filter(|path| path.to_string_lossy().ends_with(end)).count();
            assert_eq!(of(".damaged-1"), named_segments(&dir).len(), "change {changes}: {left:?}");
            assert_eq!(of(".mended") + of(NOTE), 0, "change {changes}: {left:?}");
            changes += 1;
            if !died {
                break;
            }
        }
        assert!(changes > 20, "{changes} changes of names were interrupted");
    }
}
