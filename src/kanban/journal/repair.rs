//! Mending a damaged journal: every frame that is whole is kept, also behind the damage, in a new chain of segments.
//!
//! The damaged directory is not touched until the new one is complete and synced; then the two change names, and the
//! old one stays beside it. What a lost frame held is told by its numbers: they are gaps in the new journal, and a
//! chain may skip numbers only where an epoch begins, so the frames behind a gap are written under a later epoch.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;

use super::frame::{self, Place};
use super::segment;
use crate::disk::{Disk, File, make_dir};
use crate::event::{Epoch, Seq};

/// What a repair would keep and lose.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    frames: Vec<Kept>,
    /// Events in the frames that are kept.
    pub events: u64,
    /// Last number that is kept.
    pub last: Seq,
    pub holes: Vec<Hole>,
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
    for path in disk.list(dir)?.into_iter().filter(|path| segment::index_of(path).is_some()) {
        let Some(index) = segment::index_of(&path) else { continue };
        let file = disk.open(&path)?;
        plan.segment_bytes = plan.segment_bytes.max(file.len()?);
        let bytes = read(&*file)?;
        if let Ok(header) = segment::Header::read(&bytes)
            && !std::mem::replace(&mut began, true)
        {
            plan.last = Seq(header.first.0.saturating_sub(1));
            before = header.before;
        }
        let mut offset = segment::HEADER_BYTES;
        while let Some((at, header)) = next_whole(&bytes, index, offset, plan.last) {
            let (hole_path, hole_offset) = hole.take().unwrap_or((path.clone(), offset as u64));
            if header.before != before {
                let lost =
                    (header.first.0 > plan.last.0 + 1).then(|| (plan.last.next(), Seq(header.first.0 - 1)));
                plan.holes.push(Hole { path: hole_path, offset: hole_offset, lost });
            }
            before = header.crc;
            plan.keep(Kept { path: path.clone(), offset: at as u64, header });
            offset = at + header.frame_bytes();
        }
        // Zeros, or what was there before the segment was used again, end every segment; only a frame behind them
        // says that they are a hole.
        hole = Some((path, offset as u64));
    }
    Ok(plan)
}

fn read(file: &dyn File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    let got = file.read_at(&mut bytes, 0)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// The next whole frame at or behind `from` whose numbers are new.
fn next_whole(bytes: &[u8], segment: u64, from: usize, last: Seq) -> Option<(usize, frame::Header)> {
    let rest = bytes.get(from..)?;
    memmem::find_iter(rest, &frame::MAGIC_BYTES).find_map(|shift| {
        let at = from + shift;
        let header = frame::Header::read(bytes.get(at..)?)?;
        let whole = bytes.get(at..at.checked_add(header.frame_bytes())?)?;
        let fits = header.first > last && header.holds(whole, Place { segment, offset: at as u64 });
        fits.then_some((at, header))
    })
}

impl Plan {
    fn keep(&mut self, kept: Kept) {
        self.events += u64::from(kept.header.count);
        self.last = self.last.max(kept.header.last());
        self.frames.push(kept);
    }

    /// Writes what is kept as a new journal in the place of the one in `dir`, which is renamed; returns its new name.
    pub fn apply(&self, disk: &Arc<dyn Disk>, dir: &Path) -> io::Result<PathBuf> {
        let mended = beside(disk, dir, "mended")?;
        make_dir(&**disk, &mended)?;
        let mut chain = Chain { disk: &**disk, dir: &mended, bytes: self.segment_bytes, open: None };
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
            chain.append(frame::Header { epoch, ..kept.header }, &mut bytes)?;
        }
        chain.close()?;
        for path in disk.list(dir)? {
            if path.file_name().is_some_and(|name| name == "parked") {
                let content = crate::disk::read(&**disk, &path, usize::MAX)?;
                crate::disk::replace(&**disk, &mended.join("parked"), &content)?;
            }
        }
        let damaged = beside(disk, dir, "damaged")?;
        disk.rename(dir, &damaged)?;
        disk.rename(&mended, dir)?;
        disk.sync_dir(parent(dir))?;
        Ok(damaged)
    }
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name beside `dir` that is free.
fn beside(disk: &Arc<dyn Disk>, dir: &Path, what: &str) -> io::Result<PathBuf> {
    let taken = disk.list(parent(dir))?;
    let free = (1..).map(|number| dir.with_extension(format!("{what}-{number}")));
    Ok(free.into_iter().find(|path| !taken.contains(path)).unwrap_or_else(|| dir.with_extension(what)))
}

/// The new segments.
struct Chain<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    bytes: u64,
    open: Option<Open>,
}

struct Open {
    file: Arc<dyn File>,
    place: Place,
    before: u32,
}

impl Chain<'_> {
    fn append(&mut self, mut header: frame::Header, bytes: &mut [u8]) -> io::Result<()> {
        let full = self.open.as_ref().is_none_or(|open| open.place.offset + bytes.len() as u64 > self.bytes);
        if full {
            let next = self.begin(&header)?;
            if let Some(done) = self.open.replace(next) {
                done.file.sync_data()?;
            }
        }
        if let Some(open) = &mut self.open {
            header.before = open.before;
            open.before = header.seal(bytes, open.place);
            open.file.write_all_at(bytes, open.place.offset)?;
            open.place.offset += bytes.len() as u64;
        }
        Ok(())
    }

    fn begin(&self, first: &frame::Header) -> io::Result<Open> {
        let (index, before) = self.open.as_ref().map_or((0, 0), |open| (open.place.segment + 1, open.before));
        let header = segment::Header { index, first: first.first, before, epoch: first.epoch };
        let file = self.disk.create(&segment::path(self.dir, index))?;
        segment::fill(&*file, self.bytes, |_took| {})?;
        file.write_all_at(&header.to_bytes(), 0)?;
        let place = Place { segment: index, offset: segment::HEADER_BYTES as u64 };
        Ok(Open { file, place, before })
    }

    fn close(self) -> io::Result<()> {
        if let Some(open) = self.open {
            open.file.sync_data()?;
        }
        self.disk.sync_dir(self.dir)
    }
}

#[cfg(test)]
mod tests {
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
                let disk: Arc<dyn Disk> = Arc::new(RealDisk);
                plan.apply(&disk, &dir).unwrap();
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
}
