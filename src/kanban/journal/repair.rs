//! Mending a damaged journal: every frame that is whole is kept, also behind the damage, in a new chain of segments.
//!
//! The damaged segments are not touched until the new ones are complete and synced; then they change names, within the
//! directory, which may be a mount of its own. A note says which step of that is under way, so that a repair which was
//! interrupted can be finished, and nobody takes half of it for a journal. What a lost frame held is told by its numbers:
//! they are gaps in the new journal, and a
//! chain may skip numbers only where an epoch begins, so the frames behind a gap are written under a later epoch.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame;
use super::scan::{Damage, REPAIR_NOTE, scan};
use super::segment::{self, Lineage};
use crate::disk::{Disk, File, set_aside};
use crate::event::{Epoch, Seq};
use crate::framed_log::chain_end::ChainEnd;
use crate::framed_log::{FrameSeed, Header as _, find};

/// What a repair would keep and lose.
#[derive(Debug, Default)]
pub struct Plan {
    frames: Vec<Kept>,
    /// Events in the frames that are kept.
    pub events: u64,
    /// Last number that is kept.
    pub last: Seq,
    pub holes: Vec<Hole>,
    /// Why a start refuses the journal as it is.
    pub refused: Option<Damage>,
    lineage: Option<Lineage>,
    segment_bytes: u64,
}

/// A stretch that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    pub path: PathBuf,
    pub offset: u64,
    pub lost: Lost,
}

/// What may have been in a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The events around it follow one another.
    Nothing,
    /// These numbers, first and last.
    Events(Seq, Seq),
    /// Nothing of the journal follows it, so nobody knows.
    Unknown,
}

/// A frame that is whole.
#[derive(Clone, Debug)]
struct Kept {
    path: PathBuf,
    offset: u64,
    header: frame::Header,
}

/// A segment by its file, and what its header says, if it can be read.
struct Found {
    path: PathBuf,
    file: Arc<dyn File>,
    named: u64,
    header: Option<segment::Header>,
}

impl Found {
    /// A file that was given another name still says which one it is.
    fn index(&self) -> u64 {
        self.header.map_or(self.named, |header| header.index)
    }

    fn is_wrong(&self) -> bool {
        self.header.is_none_or(|header| header.index != self.named)
    }
}

/// The segments in their order, and what their headers say of the journal.
fn segments(disk: &dyn Disk, dir: &Path) -> io::Result<(Vec<Found>, Option<Lineage>)> {
    let mut found = Vec::new();
    let mut lineage = None;
    for path in disk.list(dir)? {
        let Some(named) = segment::KIND.index_of(&path) else { continue };
        let file = disk.open(&path)?;
        let mut header = [0; segment::HEADER_BYTES];
        let got = file.read_at(&mut header, 0)?;
        let header = segment::Header::read(&header[..got]).ok();
        if let Some(header) = &header
            && *lineage.get_or_insert(header.lineage) != header.lineage
        {
            let what = format!(
                "{} belongs to a different journal than the segments before it: move away what is not of this one",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        found.push(Found { path, file, named, header });
    }
    found.sort_by_key(|found| (found.index(), found.is_wrong(), found.named));
    Ok((found, lineage))
}

/// Looks at all of the journal in `dir` without changing it.
pub fn plan(disk: &dyn Disk, dir: &Path) -> io::Result<Plan> {
    let mut plan = Plan { last: Seq(0), ..Plan::default() };
    let mut hole: Option<(PathBuf, u64)> = None;
    let mut began = false;
    let mut before = 0;
    let (segments, lineage) = segments(disk, dir)?;
    plan.lineage = lineage;
    let Some(Lineage { seed, .. }) = lineage else {
        let hole = |found: Found| Hole { path: found.path, offset: 0, lost: Lost::Unknown };
        plan.holes = segments.into_iter().map(hole).collect();
        return Ok(plan);
    };
    // Files that are wrong as a whole, in which nothing was found.
    let mut empty = Vec::new();
    let mut begun = None;
    for found in segments {
        plan.segment_bytes = plan.segment_bytes.max(found.file.len()?);
        let bytes = read(&*found.file)?;
        if let Some(header) = &found.header
            && !std::mem::replace(&mut began, true)
        {
            plan.last = Seq(header.first.0.saturating_sub(1));
            before = header.before;
        }
        let (is_wrong, index) = (found.is_wrong(), found.index());
        let (path, kept) = (found.path, plan.frames.len());
        let mut place = segment::begin(index);
        loop {
            let rest = usize::try_from(place.offset).ok().and_then(|offset| bytes.get(offset..));
            // Whole, and its numbers are new.
            let whole = find(rest.unwrap_or_default(), place, seed, |header: &frame::Header| {
                header.first > plan.last
            });
            let Some((shift, header)) = whole else { break };
            let (hole_path, hole_offset) = hole.take().unwrap_or((path.clone(), place.offset));
            if !std::mem::replace(&mut began, true) {
                // No header says where the journal begins: it does so here, if nothing stands before it.
                plan.last = Seq(header.first.0.saturating_sub(1));
                if shift > 0 {
                    plan.holes.push(Hole { path: hole_path, offset: hole_offset, lost: Lost::Unknown });
                }
            } else if header.before != before {
                let lost = if header.first.0 > plan.last.0 + 1 {
                    Lost::Events(plan.last.next(), Seq(header.first.0 - 1))
                } else {
                    Lost::Nothing
                };
                plan.holes.push(Hole { path: hole_path, offset: hole_offset, lost });
            }
            before = header.crc;
            let at = place.plus(shift);
            plan.keep(Kept { path: path.clone(), offset: at.offset, header });
            place = at.plus(header.frame_bytes());
        }
        if is_wrong {
            // All that is new in a copy was found in it.
            let is_known = plan.frames.len() > kept || begun == Some(index);
            let lost = if is_known { Lost::Nothing } else { Lost::Unknown };
            empty.push(Hole { path: path.clone(), offset: 0, lost });
        }
        // Zeros, or what was there before the segment was used again, end every segment; only a frame behind them
        // says that they are a hole.
        hole = Some((path, place.offset));
        begun = Some(index);
    }
    plan.holes.extend(empty);
    plan.refused = match scan(disk, dir, |_, _, _, _| Ok(())) {
        Ok(_) => None,
        Err(Damage::Io { source, .. }) => return Err(source),
        Err(damage) => Some(damage),
    };
    Ok(plan)
}

fn read(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

impl Plan {
    /// Whether the journal needs no repair.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.holes.is_empty() && self.refused.is_none()
    }

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
        let Some(Lineage { id, .. }) = self.lineage else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no segment's header can be read"));
        };
        // Indexes begin anew, and frames of the old chain may stand in files that are used again: none of them is one
        // of the new chain.
        let lineage = Lineage { id, seed: FrameSeed::random()? };
        let mut taken: u32 = 0;
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
        let number = taken
            .checked_add(1)
            .ok_or_else(|| io::Error::other("no number is left for the damaged segments"))?;
        Renaming { act: Act::SetAside, number }.note(disk, dir)?;
        finish(disk, dir)?;
        Ok(number)
    }
}

/// Extension of a segment that is to come into the journal.
const MENDED: &str = "mended";
/// Beginning of the extension of a segment that a repair replaced.
const DAMAGED: &str = "damaged-";

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
        crate::disk::replace(disk, &dir.join(REPAIR_NOTE), format!("{act} {}\n", self.number).as_bytes())
    }

    fn noted(disk: &dyn Disk, dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(REPAIR_NOTE);
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
    disk.remove(&dir.join(REPAIR_NOTE))?;
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
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        assert!(plan.is_whole());
        assert_eq!(plan.events, ids.len() as u64);
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
                let lineage = || super::super::lineage(&RealDisk, &dir).unwrap().unwrap();
                let of_source = super::super::lineage(&RealDisk, &source).unwrap().unwrap();
                plan.apply(&RealDisk, &dir).unwrap();
                assert_eq!(lineage().id, of_source.id, "its id is kept");
                assert_ne!(lineage().seed, of_source.seed, "no old frame is one of the new chain");
                let held = held_in(&dir);
                assert!(held.len() + 2 >= ids.len(), "segment {number}, byte {at}: one frame at most");
                let in_order = ids.iter().filter(|id| held.contains(id)).cloned().collect::<Vec<_>>();
                assert_eq!(held, in_order, "segment {number}, byte {at}");
                let mut writer = reopen_in(&dir, SEGMENT_BYTES);
                append(&mut writer, &["new"]);
                drop(writer);
                assert_eq!(held_in(&dir).len(), held.len() + 1);
                assert!(super::plan(&RealDisk, &dir).unwrap().is_whole(), "it is whole now");
            }
        }
    }

    fn copied(source: &Path) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("journal");
        std::fs::create_dir_all(&dir).unwrap();
        for path in named_segments(source) {
            std::fs::copy(&path, dir.join(path.file_name().unwrap())).unwrap();
        }
        home
    }

    type Harm<'a> = Box<dyn Fn(&[PathBuf]) + 'a>;

    /// What a start refuses, a repair mends or names; nothing that was kept before is missing unmentioned.
    #[test]
    fn whatever_a_start_refuses_is_not_called_whole() {
        let source = tempfile::tempdir().unwrap();
        let source = source.path().join("journal");
        let ids = journal(&source);
        let count = named_segments(&source).len();
        let cut = |path: &Path, bytes: u64| {
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
        };
        let swap: Harm<'_> = Box::new(|segments| {
            let beside = segments[1].with_extension("beside");
            std::fs::rename(&segments[1], &beside).unwrap();
            std::fs::rename(&segments[2], &segments[1]).unwrap();
            std::fs::rename(&beside, &segments[2]).unwrap();
        });
        let copy: Harm<'_> = Box::new(|segments| {
            let next = segment::path(segments[0].parent().unwrap(), segments.len() as u64);
            std::fs::copy(segments.last().unwrap(), next).unwrap();
        });
        let copy_of_first: Harm<'_> = Box::new(|segments| {
            let next = segment::path(segments[0].parent().unwrap(), segments.len() as u64);
            std::fs::copy(&segments[0], next).unwrap();
            flip(&segments[0], 20);
        });
        let harms: Vec<(&str, Harm<'_>, bool)> = vec![
            ("the first header", Box::new(|segments| flip(&segments[0], 20)), true),
            ("a header between", Box::new(|segments| flip(&segments[1], 20)), true),
            ("the last header", Box::new(move |segments| flip(&segments[count - 1], 20)), true),
            ("two names exchanged", swap, true),
            ("a copy of the last one", copy, true),
            ("the first header, and a whole copy of its segment", copy_of_first, true),
            ("the last one is empty", Box::new(move |segments| cut(&segments[count - 1], 0)), false),
            ("the last one is cut", Box::new(move |segments| cut(&segments[count - 1], 10)), false),
        ];
        for (name, harm, keeps_all) in harms {
            let home = copied(&source);
            let dir = home.path().join("journal");
            harm(&named_segments(&dir));
            let refused = scan(&RealDisk, &dir, |_, _, _, _| Ok::<(), Damage>(()));
            assert!(refused.is_err(), "{name}: a start refuses it");
            let plan = plan(&RealDisk, &dir).unwrap();
            assert!(!plan.is_whole() && !plan.holes.is_empty(), "{name}: {plan:?}");
            let is_unknown = plan.holes.iter().any(|hole| hole.lost == Lost::Unknown);
            assert_eq!(is_unknown, !keeps_all, "{name}: {:?}", plan.holes);
            assert!(!keeps_all || plan.events == ids.len() as u64, "{name}: {} events", plan.events);
            plan.apply(&RealDisk, &dir).unwrap();
            let held = held_in(&dir);
            assert!(if keeps_all { held == ids } else { held.len() < ids.len() }, "{name}: {held:?}");
            let mut writer = reopen_in(&dir, SEGMENT_BYTES);
            append(&mut writer, &["new"]);
            drop(writer);
            assert_eq!(held_in(&dir).len(), held.len() + 1, "{name}");
        }
    }

    #[test]
    fn a_segment_of_another_journal_is_named_and_nothing_is_changed() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (ours.path().join("journal"), theirs.path().join("journal"));
        journal(&ours);
        journal(&theirs);
        std::fs::copy(&named_segments(&theirs)[0], &named_segments(&ours)[0]).unwrap();
        let refused = plan(&RealDisk, &ours).unwrap_err().to_string();
        assert!(refused.contains("belongs to a different journal"), "{refused}");
    }

    /// A file that was a segment before the repair becomes one of the same number after it: its old frames are void.
    #[test]
    fn a_spare_from_before_a_repair_leaves_nothing_in_the_new_journal() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("journal");
        journal(&dir);
        let segments = named_segments(&dir);
        for (number, segment) in segments.iter().enumerate().skip(1) {
            let spare = dir.join(format!("back-{number}.spare"));
            std::fs::copy(segment, spare).unwrap();
        }
        flip(&segments[2], segment::HEADER_BYTES as u64 + 50);
        plan(&RealDisk, &dir).unwrap().apply(&RealDisk, &dir).unwrap();
        for round in 0..3 {
            let mut writer = reopen_in(&dir, SEGMENT_BYTES);
            for number in 0..8 {
                append(&mut writer, &[format!("{round}-{number}").as_str()]);
            }
            drop(writer);
            let held = held_in(&dir);
            assert!(held.contains(&format!("{round}-7")), "{held:?}");
            assert!(plan(&RealDisk, &dir).unwrap().is_whole(), "round {round}");
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
            if !whole.is_whole() {
                whole.apply(&RealDisk, &dir).unwrap();
            }
            assert!(held_in(&dir).len() + 2 >= ids.len(), "change {changes}");
            assert!(plan(&RealDisk, &dir).unwrap().is_whole(), "change {changes}");
            let left = RealDisk.list(&dir).unwrap();
            let of = |end: &str| left.iter().filter(|path| path.to_string_lossy().ends_with(end)).count();
            assert_eq!(of(".damaged-1"), named_segments(&dir).len(), "change {changes}: {left:?}");
            assert_eq!(of(".mended") + of(REPAIR_NOTE), 0, "change {changes}: {left:?}");
            changes += 1;
            if !died {
                break;
            }
        }
        assert!(changes > 20, "{changes} changes of names were interrupted");
    }
}
