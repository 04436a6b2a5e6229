//! A disk that does what disks may do. Each file has a volatile image, which processes see, and a durable one, which a
//! power cut leaves; each name is durable only after its directory was synced.
//!
//! Fair faults: of the sectors that were written and not synced, a cut keeps any subset (tearing, reordering); of the
//! names that were not synced, any subset. A failed sync may have brought some sectors to the device; the others are
//! clean in the page cache: readable as written, for this process and for later ones until the cache drops them, and a
//! second sync of the file says that all is well without them (fsyncgate). Only writing them again makes them dirty. The
//! cache drops such sectors when it likes: then they read as the device has them. A write may fail after any part of it.
//! Not here: misdirected writes, and damage to what was synced, except the rot that the executor orders.
//!
//! The disk also watches the journal's promises at the only place where all of them pass: no frame is written over
//! unsynced bytes, no number is spent twice.

mod access;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gemba::disk::Disk;
use gemba::framed_log::Header as _;
use gemba::kanban::journal::frame;

use crate::line::LINEAGE;

use crate::rng::Rng;

const SECTOR: usize = 512;

/// How often what goes wrong; in 10,000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub write: u64,
    pub sync: u64,
    pub read: u64,
    pub sync_dir: u64,
    pub commit: u64,
    pub slow: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that differ from the durable image, or may.
    dirty: BTreeSet<usize>,
    /// Sectors of a failed sync: in the page cache only, and clean.
    ghosts: BTreeSet<usize>,
    /// The shortest length since the last sync, if it was cut.
    shrunk: Option<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, usize),
    MakeDir(PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, _, _) | Self::MakeDir(path) => {
                path.parent()
            }
        }
    }
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Debug, Default)]
struct Tree {
    names: Names,
    dirs: BTreeSet<PathBuf>,
}

impl Tree {
    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Link(path, inode) => drop(self.names.insert(path.clone(), *inode)),
            NameChange::Unlink(path) => drop(self.names.remove(path)),
            NameChange::Rename(from, to, inode) => {
                if self.names.get(from) == Some(inode) {
                    self.names.remove(from);
                }
                self.names.insert(to.clone(), *inode);
            }
            NameChange::MakeDir(path) => drop(self.dirs.insert(path.clone())),
        }
    }
}

#[derive(Debug)]
struct Inner {
    rng: Rng,
    faults: Faults,
    inodes: Vec<Inode>,
    seen: Tree,
    durable: Tree,
    pending: Vec<NameChange>,
    capacity: u64,
    filler: u64,
    fuse: Option<Fuse>,
    refusal: Option<Refusal>,
    dead: bool,
    /// Faults since the process started.
    injected: u64,
    elapsed_millis: u64,
    trace: u64,
    story: VecDeque<String>,
    /// Journal segments that were given back, as they were.
    archive: BTreeMap<PathBuf, Vec<u8>>,
    /// Checksums of the frames that were written last, by file and place.
    frames: BTreeMap<(usize, usize), u32>,
    /// Highest number that a journal frame was written with.
    spent: u64,
    broken_promise: Option<String>,
}

/// The process dies after so many more operations, of one name or of any.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    pub name: Option<&'static str>,
    pub operations: u64,
}

/// The device refuses one sync of a file that is called so, after others went well.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub extension: &'static str,
    pub after: u64,
}

/// The simulated disk; clones share it.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Inner>>);

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The machine goes on: what was written stays to be read.
    Kill,
    /// Power is lost.
    Cut,
}

const STORY_LINES: usize = 60;

impl SimDisk {
    pub fn new(rng: Rng, capacity: u64) -> Self {
        let dirs = BTreeSet::from([PathBuf::from("/")]);
        Self(Arc::new(Mutex::new(Inner {
            rng,
            faults: Faults::default(),
            inodes: Vec::new(),
            seen: Tree { names: Names::new(), dirs: dirs.clone() },
            durable: Tree { names: Names::new(), dirs },
            pending: Vec::new(),
            capacity,
            filler: 0,
            fuse: None,
            refusal: None,
            dead: false,
            injected: 0,
            elapsed_millis: 0,
            trace: 0,
            story: VecDeque::new(),
            archive: BTreeMap::new(),
            frames: BTreeMap::new(),
            spent: 0,
            broken_promise: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    pub fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// Bytes that somebody else keeps on this disk.
    pub fn set_filler(&self, bytes: u64) {
        self.inner().filler = bytes;
    }

    pub fn free(&self) -> u64 {
        self.inner().free()
    }

    /// When the process dies; `None` for never.
    pub fn set_fuse(&self, fuse: Option<Fuse>) {
        self.inner().fuse = fuse;
    }

    /// Which sync the device refuses; `None` for none.
    pub fn set_refusal(&self, refusal: Option<Refusal>) {
        self.inner().refusal = refusal;
    }

    /// Whether the fuse burnt down.
    pub fn is_dead(&self) -> bool {
        self.inner().dead
    }

    /// Faults that this process met.
    pub fn injected(&self) -> u64 {
        self.inner().injected
    }

    /// Time that operations took since this was last asked.
    pub fn take_elapsed_millis(&self) -> u64 {
        std::mem::take(&mut self.inner().elapsed_millis)
    }

    /// One operation of the state store, which keeps its files elsewhere: fails as this disk does.
    pub fn foreign_operation(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operation(name, 0)?;
        let rate = inner.faults.commit;
        inner.maybe_fail(name, rate)
    }

    /// A choice that belongs to the disk.
    pub fn coin(&self) -> bool {
        self.inner().rng.chance(5000)
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        let line = line();
        self.inner().note(line);
    }

    pub fn trace(&self) -> u64 {
        self.inner().trace
    }

    pub fn story(&self) -> Vec<String> {
        self.inner().story.iter().cloned().collect()
    }

    pub fn broken_promise(&self) -> Option<String> {
        self.inner().broken_promise.clone()
    }

    /// The process ends; the next one starts on what is left.
    pub fn end_process(&self, death: Death) {
        let mut inner = self.inner();
        inner.note(format!("{death:?}"));
        inner.drop_from_cache();
        if death == Death::Cut {
            inner.cut();
        }
        (inner.fuse, inner.refusal, inner.dead, inner.injected) = (None, None, false, 0);
    }

    /// Segments of the journal that were given back.
    pub fn recycled(&self) -> u64 {
        self.inner().archive.len() as u64
    }

    /// Names that a process sees.
    pub fn present(&self) -> BTreeSet<PathBuf> {
        self.inner().seen.names.keys().cloned().collect()
    }

    /// Flips one bit at `offset` of a file, in both images.
    pub fn rot(&self, path: &Path, offset: u64, bit: u32) {
        let mut inner = self.inner();
        let inode = inner.seen.names[path];
        let at = usize::try_from(offset).unwrap();
        for image in [0, 1] {
            let inode = &mut inner.inodes[inode];
            let image = if image == 0 { &mut inode.volatile } else { &mut inode.durable };
            if let Some(byte) = image.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }

    /// Everything that a reader of the stopped line would see, with the segments that were given back in their places.
    pub fn whole_history(&self) -> SimDisk {
        let copy = SimDisk::new(Rng::new(0), u64::MAX);
        let inner = self.inner();
        let mut target = copy.inner();
        target.seen.dirs.clone_from(&inner.seen.dirs);
        let archived = inner.archive.iter().filter(|(path, _)| !inner.seen.names.contains_key(*path));
        let archived = archived.map(|(path, content)| (path, content.clone()));
        let current = inner.seen.names.iter().map(|(path, at)| (path, inner.inodes[*at].volatile.clone()));
        for (path, volatile) in archived.chain(current) {
            let at = target.inodes.len();
            target.inodes.push(Inode { durable: volatile.clone(), volatile, ..Inode::default() });
            target.seen.names.insert(path.clone(), at);
        }
        drop(target);
        copy
    }
}

impl Inner {
    fn note(&mut self, line: String) {
        self.mix(&line, 0);
        if self.story.len() == STORY_LINES {
            self.story.pop_front();
        }
        self.story.push_back(line);
    }

    fn mix(&mut self, text: &str, number: u64) {
        let text = xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), number);
        self.trace = (self.trace ^ text).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(17);
    }

    /// Counts one operation; the one at which the fuse burns down is cut short by its caller.
    fn operation(&mut self, name: &str, number: u64) -> io::Result<()> {
        self.mix(name, number);
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        if let Some(fuse) = self.fuse.as_mut().filter(|fuse| fuse.name.is_none_or(|only| only == name)) {
            if fuse.operations == 0 {
                self.dead = true;
                self.injected += 1;
                self.note(format!("dies in {name}"));
                return Err(io::Error::other("the process dies here"));
            }
            fuse.operations -= 1;
        }
        Ok(())
    }

    fn maybe_fail(&mut self, name: &str, rate: u64) -> io::Result<()> {
        if self.rng.chance(rate) {
            self.injected += 1;
            self.note(format!("EIO in {name}"));
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    /// Counts one sync; whether the device refuses it.
    fn refuses(&mut self, inode: usize) -> bool {
        let Some(mut refusal) = self.refusal else { return false };
        let mut names = self.seen.names.iter().filter(|(_, of)| **of == inode);
        let counts = names.any(|(path, _)| path.extension().is_some_and(|of| of == refusal.extension));
        let now = counts && refusal.after == 0;
        refusal.after -= u64::from(counts && !now);
        self.refusal = (!now).then_some(refusal);
        now
    }

    fn used(&self) -> u64 {
        self.seen.names.values().map(|at| self.inodes[*at].volatile.len() as u64).sum()
    }

    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used()).saturating_sub(self.filler)
    }

    fn need(&mut self, bytes: u64) -> io::Result<()> {
        if bytes > self.free() {
            self.injected += 1;
            self.note("ENOSPC".to_owned());
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change_name(&mut self, change: NameChange) {
        self.seen.apply(&change);
        self.pending.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.seen.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The page cache drops clean sectors that the device does not hold: all, none, or some of them.
    fn drop_from_cache(&mut self) {
        let dropped = self.rng.pick(&[0, 0, 5000, 10_000]);
        for at in 0..self.inodes.len() {
            self.drop_ghosts(at, dropped);
        }
    }

    /// Drops clean sectors of one file, at this rate.
    fn drop_ghosts(&mut self, inode: usize, rate: u64) {
        for sector in self.inodes[inode].ghosts.clone() {
            if self.rng.chance(rate) {
                let inode = &mut self.inodes[inode];
                inode.ghosts.remove(&sector);
                let upto = ((sector + 1) * SECTOR).min(inode.volatile.len());
                for at in sector * SECTOR..upto {
                    inode.volatile[at] = inode.durable.get(at).copied().unwrap_or(0);
                }
            }
        }
    }

    fn cut(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let keep = self.rng.pick(&[0, 5000, 9000, 10_000]);
        let ordered = self.rng.chance(5000);
        let mut lost = 0;
        for change in &pending {
            if ordered && lost > 0 || !self.rng.chance(keep) {
                lost += 1;
            } else {
                self.durable.apply(change);
            }
        }
        // A directory whose own name, or one above it, was lost is lost with all in it; those above come first.
        let mut dirs: BTreeSet<PathBuf> = BTreeSet::new();
        for dir in &self.durable.dirs {
            if dir.parent().is_none_or(|above| dirs.contains(above)) {
                dirs.insert(dir.clone());
            }
        }
        self.durable.dirs.clone_from(&dirs);
        self.durable.names.retain(|path, _| path.parent().is_some_and(|dir| dirs.contains(dir)));
        self.seen = Tree { names: self.durable.names.clone(), dirs };
        let keep = self.rng.pick(&[0, 5000, 9000, 10_000]);
        let mut dropped = 0;
        for at in 0..self.inodes.len() {
            let mut inode = std::mem::take(&mut self.inodes[at]);
            if let Some(len) = inode.shrunk.take().filter(|_| self.rng.chance(5000)) {
                inode.durable.truncate(len);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                if self.rng.chance(keep) {
                    persist(&mut inode, sector);
                } else {
                    dropped += 1;
                }
            }
            if inode.durable.len() < inode.volatile.len() && self.rng.chance(2000) {
                // The new length came through, and its blocks did not.
                inode.durable.resize(inode.volatile.len(), 0);
            }
            inode.ghosts.clear();
            inode.volatile.clone_from(&inode.durable);
            self.inodes[at] = inode;
        }
        self.note(format!("lost {lost} of {} names, {dropped} sectors", pending.len()));
    }

    fn write(&mut self, inode: usize, bytes: &[u8], at: usize) {
        let inode = &mut self.inodes[inode];
        if inode.volatile.len() < at + bytes.len() {
            inode.volatile.resize(at + bytes.len(), 0);
        }
        inode.volatile[at..at + bytes.len()].copy_from_slice(bytes);
        if !bytes.is_empty() {
            for sector in at / SECTOR..=(at + bytes.len() - 1) / SECTOR {
                inode.dirty.insert(sector);
                inode.ghosts.remove(&sector);
            }
        }
    }

    /// What the journal's writer promises of each frame.
    fn watch(&mut self, path: &Path, inode: usize, bytes: &[u8], at: usize) {
        if path.extension().is_none_or(|extension| extension != "journal") {
            return;
        }
        let Some(header) =
            frame::Header::read(bytes, LINEAGE.seed).filter(|header| header.frame_bytes() == bytes.len())
        else {
            return;
        };
        let again = self.frames.insert((inode, at), header.crc) == Some(header.crc);
        if again {
            // Recovery writes what it read.
            return;
        }
        let mut broken = None;
        if !self.inodes[inode].dirty.is_empty() {
            broken =
                Some(format!("O1: {}: a frame is written while older bytes are unsynced", path.display()));
        }
        if header.count > 0 {
            if header.first.0 <= self.spent {
                broken = Some(format!("O4: number {} is spent again, after {}", header.first, self.spent));
            }
            self.spent = self.spent.max(header.last().0);
        }
        self.broken_promise = self.broken_promise.take().or(broken);
    }
}

/// Brings one sector of the volatile image into the durable one.
fn persist(inode: &mut Inode, sector: usize) {
    let from = sector * SECTOR;
    let upto = ((sector + 1) * SECTOR).min(inode.volatile.len());
    if from >= upto {
        return;
    }
    if inode.durable.len() < upto {
        inode.durable.resize(upto, 0);
    }
    inode.durable[from..upto].copy_from_slice(&inode.volatile[from..upto]);
}
