//! The memory of identities (promise P2): exact, bounded, rebuilt from the journal.
//!
//! Two tiers. The newest identities are in memory, in a few blocks; a full block is handed to the background, which sorts
//! it into a file, a run, and merges runs into larger ones (`worker`). A block stays until its run can be asked, so the
//! answer is exact at every moment. A question looks into the blocks and asks the filter of each run; only where a
//! filter says yes, once in a thousand times without cause, is a page read.
//!
//! Nothing is forgotten before the horizon: when the background is behind and the blocks are full, the line sheds.
//! Beyond the horizon runs are removed as a whole, so an identity may be remembered up to half as long again.
//!
//! A block is handed over only when the journal is durable through it: the archive must not know what a power cut can
//! take from the journal. The journal is kept from the end of the archive on, and a restart reads the rest from there.

mod archive;
mod block;
mod build;
mod filter;
mod run;
mod worker;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use block::Block;
use filter::Question;
pub use run::ArchiveError;
use run::Run;
use worker::{Published, Worker};

use crate::disk::{self, Disk};
use crate::event::{Seq, UnixMillis};
use crate::limits::DEDUP_BLOCKS;
use crate::ring::{Mark, Switch};
use crate::signal::Fingerprint;

/// How the memory is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Identities in memory at most.
    pub capacity: usize,
    /// An identity is remembered at least so long.
    pub horizon_millis: u64,
}

impl Settings {
    /// An identity is remembered at least so long.
    #[must_use]
    pub fn horizon(&self) -> Duration {
        Duration::from_millis(self.horizon_millis)
    }
}

/// Who does the work of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Background {
    /// A thread of its own.
    Thread,
    /// Each [`Dedup::turn`] does one piece of it: a simulation has no threads.
    #[cfg(feature = "inside")]
    Inline,
}

/// Whether a signal was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Fresh,
    /// Seen, with the same content.
    Repeat {
        seq: Seq,
    },
    /// Seen, with another content.
    Conflict {
        seq: Seq,
    },
}

impl Known {
    fn of(digest: u64, (known, seq): (u64, Seq)) -> Self {
        if known == digest { Self::Repeat { seq } } else { Self::Conflict { seq } }
    }
}

/// The background, as the journal's thread sees it.
#[derive(Debug)]
enum Hands {
    Thread {
        blocks: mpsc::SyncSender<Arc<Block>>,
        published: mpsc::Receiver<Result<Published, ArchiveError>>,
        now: Mark,
        stop: Switch,
        thread: JoinHandle<()>,
    },
    #[cfg(feature = "inside")]
    Inline(Box<Worker>),
    /// The thread has been waited for.
    Ended,
}

pub struct Dedup {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    block_len: usize,
    /// Takes the next identity.
    active: Block,
    /// Full, from the oldest to the newest; the first `handed` are with the background.
    full: VecDeque<Arc<Block>>,
    handed: usize,
    /// From the newest to the oldest.
    runs: Vec<Arc<Run>>,
    archived: Seq,
    hands: Hands,
    /// What [`Dedup::begin_after`] decides on.
    surplus: Vec<PathBuf>,
    damage: Option<ArchiveError>,
    archive_memory: Mark,
}

impl std::fmt::Debug for Dedup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dedup")
            .field("archived", &self.archived)
            .field("full", &self.full.len())
            .field("runs", &self.runs.len())
            .finish_non_exhaustive()
    }
}

impl Dedup {
    /// Opens the archive in `dir`. Before the journal is replayed into it, [`Dedup::begin_after`] must agree.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: Settings,
        background: Background,
    ) -> Result<Self, ArchiveError> {
        // Its names are durable then, and the journal is released on their word. What they name was synced before.
        disk::make_dir(&*disk, dir).map_err(run::at(dir))?;
        let found = archive::find(&*disk, dir)?;
        let block_len = settings.capacity.div_ceil(DEDUP_BLOCKS).max(1);
        let worker = Worker::new(Arc::clone(&disk), dir, settings.horizon_millis, &found);
        let Published { runs, through: archived } = worker.published();
        let archive_memory = worker.memory().clone();
        let hands = match background {
            #[cfg(feature = "inside")]
            Background::Inline => Hands::Inline(Box::new(worker)),
            Background::Thread => spawn(worker).map_err(run::at(dir))?,
        };
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            block_len,
            active: Block::new(block_len, archived),
            full: VecDeque::new(),
            handed: 0,
            runs,
            archived,
            hands,
            surplus: found.surplus,
            damage: found.damage,
            archive_memory,
        })
    }

    /// Bytes of memory that the identities on disk take, from now on.
    #[must_use]
    pub fn archive_memory(&self) -> Mark {
        self.archive_memory.clone()
    }

    /// Whether archive and a journal that begins with event `first` hold every identity between them.
    pub fn begin_after(&mut self, first: Seq) -> Result<(), ArchiveError> {
        if first > self.archived.next() {
            let (path, from) = (self.dir.clone(), self.archived.next());
            let missing = ArchiveError::Missing { path, from, before: first };
            return Err(self.damage.take().unwrap_or(missing));
        }
        self.damage = None;
        // In the order of their events and each durably, so that what a crash leaves has no new gap.
        for path in self.surplus.drain(..).rev() {
            disk::set_aside(&*self.disk, &path).map_err(run::at(&path))?;
            self.disk.sync_dir(&self.dir).map_err(run::at(&self.dir))?;
        }
        Ok(())
    }

    /// Whether the identity was seen. Fails only where a page cannot be read.
    pub fn look(&self, identity: &Fingerprint, digest: u64) -> Result<Known, ArchiveError> {
        if crate::fault::planted("dedup-off") {
            return Ok(Known::Fresh);
        }
        let recent = self.look_recent(identity, digest);
        if recent != Known::Fresh {
            return Ok(recent);
        }
        let key = block::key(identity);
        let question = Question::new(key);
        for run in self.runs.iter().filter(|run| run.may_hold(&question)) {
            if let Some(entry) = run.look(key)? {
                return Ok(Known::of(digest, (entry.digest, entry.seq)));
            }
        }
        Ok(Known::Fresh)
    }

    /// The same for an identity of which the archive is known to have nothing.
    #[must_use]
    pub fn look_recent(&self, identity: &Fingerprint, digest: u64) -> Known {
        let mut blocks = std::iter::once(&self.active).chain(self.full.iter().rev().map(|block| &**block));
        let found = blocks.find_map(|block| block.get(identity));
        found.map_or(Known::Fresh, |known| Known::of(digest, known))
    }

    /// Remembers a fresh identity. What the archive holds already is passed over: the journal is replayed from before
    /// its end.
    pub fn insert(&mut self, identity: Fingerprint, digest: u64, seq: Seq, time: UnixMillis) {
        if seq <= self.archived {
            return;
        }
        if self.active.ends_before(seq) {
            let next = Block::new(self.block_len, self.active.through);
            self.full.push_back(Arc::new(std::mem::replace(&mut self.active, next)));
        }
        self.active.insert(identity, digest, seq, time);
    }

    /// Whether there is no room for `more` identities until the background has caught up.
    #[must_use]
    pub fn is_full(&self, more: usize) -> bool {
        let free = (DEDUP_BLOCKS - 1).saturating_sub(self.full.len()) * self.block_len;
        free + self.active.room() < more || self.full.len() >= DEDUP_BLOCKS
    }

    /// Identities of the events up to here need the journal no more.
    #[must_use]
    pub fn archived_through(&self) -> Seq {
        self.archived
    }

    /// Hands over what is full and `durable`, and takes up what the background has done. Waits for nothing.
    pub fn turn(&mut self, durable: Seq, now: UnixMillis) -> Result<(), ArchiveError> {
        self.hand_over(durable, now);
        let news = match &mut self.hands {
            #[cfg(feature = "inside")]
            Hands::Inline(worker) => match worker.step(now)? {
                worker::Step::Published(published) => Some(published),
                worker::Step::Idle | worker::Step::Worked => None,
            },
            Hands::Thread { published, .. } => match published.try_recv() {
                Ok(published) => Some(published?),
                Err(mpsc::TryRecvError::Empty) => None,
                Err(mpsc::TryRecvError::Disconnected) => return Err(ArchiveError::Gone),
            },
            Hands::Ended => return Err(ArchiveError::Gone),
        };
        if let Some(published) = news {
            self.take_up(published);
        }
        Ok(())
    }

    /// As [`Dedup::turn`], and waits for room: a replay is faster than the background.
    pub fn make_room(&mut self, durable: Seq, now: UnixMillis) -> Result<(), ArchiveError> {
        self.turn(durable, now)?;
        while self.full.len() >= DEDUP_BLOCKS - 1 && self.handed > 0 {
            if let Hands::Thread { published, .. } = &self.hands {
                let news = published.recv().map_err(|_| ArchiveError::Gone)??;
                self.take_up(news);
            }
            self.turn(durable, now)?;
        }
        Ok(())
    }

    fn hand_over(&mut self, durable: Seq, now: UnixMillis) {
        if let Hands::Thread { now: mark, .. } = &self.hands {
            mark.publish(now.0);
        }
        while let Some(block) = self.full.get(self.handed).filter(|block| block.through <= durable) {
            match &mut self.hands {
                #[cfg(feature = "inside")]
                Hands::Inline(worker) => worker.take(Arc::clone(block)),
                // A thread that has ended is noticed where its news are missing.
                Hands::Thread { blocks, .. } if blocks.try_send(Arc::clone(block)).is_err() => return,
                Hands::Thread { .. } | Hands::Ended => {}
            }
            self.handed += 1;
        }
    }

    fn take_up(&mut self, Published { runs, through }: Published) {
        self.runs = runs;
        self.archived = through;
        while self.full.front().is_some_and(|block| block.through <= through) {
            self.full.pop_front();
            self.handed -= 1;
        }
    }
}

fn spawn(worker: Worker) -> std::io::Result<Hands> {
    let (blocks, taken) = mpsc::sync_channel(DEDUP_BLOCKS);
    let (news, published) = mpsc::channel();
    let (now, stop) = (Mark::new(0), Switch::new());
    let (clock, stopped) = (now.clone(), stop.clone());
    let thread = std::thread::Builder::new()
        .name("dedup".into())
        .spawn(move || worker::work(worker, &taken, &news, &clock, &stopped))?;
    Ok(Hands::Thread { blocks, published, now, stop, thread })
}

/// The line may be taken up again in the same process, and a directory has one worker.
impl Drop for Dedup {
    fn drop(&mut self) {
        if let Hands::Thread { blocks, stop, thread, .. } = std::mem::replace(&mut self.hands, Hands::Ended) {
            stop.turn_on();
            drop(blocks);
            // If it panicked, that was heard where its news were missing.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
