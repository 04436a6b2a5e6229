//! The background: turns blocks into runs, merges runs, removes what is beyond the horizon.
//!
//! A value with one method, as the stages are: a thread calls it for ever, a simulation in any order. No large file is
//! removed here: what is not used again is set aside for the disposer. Its work is cut
//! into pieces, between which it rests. A block comes before a merge, since the journal waits for blocks; of merges the
//! smallest comes first, since it makes the most of the fewest bytes. Only where runs have become too many do merges
//! come first: then the journal sheds, and a question stays cheap. It does not rest while much waits for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::archive::Found;
use super::block::Block;
use super::build::{Build, SPARE};
use super::run::{self, ArchiveError, Run};
use crate::clock;
use crate::disk::{Disk, REST, set_aside};
use crate::event::{Seq, UnixMillis};
use crate::limits::{DEDUP_BLOCKS, DEDUP_RUNS_MAX, DEDUP_RUNS_MERGED};
use crate::ring::{Mark, Switch};

/// What the journal's thread looks into from now on.
#[derive(Debug)]
pub(super) struct Published {
    /// From the newest to the oldest.
    pub runs: Vec<Arc<Run>>,
    /// Identities of the events up to here are in the runs.
    pub through: Seq,
}

#[derive(Debug)]
pub(super) enum Step {
    Idle,
    Worked,
    Published(Published),
}

#[derive(Debug)]
struct Merge {
    build: Build,
    level: u32,
    after: Seq,
    through: Seq,
}

pub(super) struct Worker {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    horizon_millis: u64,
    /// From the oldest to the newest; each begins where the one before ends.
    runs: Vec<Arc<Run>>,
    through: Seq,
    blocks: VecDeque<Arc<Block>>,
    build: Option<Build>,
    /// One of each level at most, the lowest level first.
    merges: Vec<Merge>,
    /// Out of use, in the order in which they went; given up here once the journal's thread does not hold them any more.
    /// Until then it may read them, and to free a large filter takes milliseconds.
    old_runs: VecDeque<Arc<Run>>,
    /// Files of old runs for new ones.
    spares: Vec<PathBuf>,
    old_blocks: Vec<Arc<Block>>,
    /// Bytes of memory that the runs take, those that are being written included.
    memory: Mark,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("runs", &self.runs)
            .field("merges", &self.merges)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Goes on with the runs in `dir`, from the oldest to the newest.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, horizon_millis: u64, found: &Found) -> Self {
        let worker = Self {
            runs: found.runs.clone(),
            through: found.through,
            disk,
            dir: dir.to_owned(),
            horizon_millis,
            blocks: VecDeque::new(),
            build: None,
            merges: Vec::new(),
            old_runs: VecDeque::new(),
            spares: found.spares.clone(),
            old_blocks: Vec::new(),
            memory: Mark::new(0),
        };
        worker.count();
        worker
    }

    /// Bytes of memory that the runs take.
    pub(super) fn memory(&self) -> &Mark {
        &self.memory
    }

    fn count(&self) {
        let runs = self.runs.iter().chain(&self.old_runs).map(|run| run.memory_bytes());
        let merges = self.merges.iter().map(|merge| &merge.build);
        let builds = merges.chain(&self.build).map(Build::memory_bytes);
        self.memory.publish(runs.chain(builds).sum::<usize>() as u64);
    }

    pub(super) fn published(&self) -> Published {
        Published { runs: self.runs.iter().rev().map(Arc::clone).collect(), through: self.through }
    }

    /// Takes the block that follows the last one.
    pub(super) fn take(&mut self, block: Arc<Block>) {
        self.blocks.push_back(block);
    }

    /// Much waits: blocks that the journal has no room beside, or runs that make its questions dear.
    fn is_behind(&self) -> bool {
        self.blocks.len() >= DEDUP_BLOCKS / 2 || self.runs.len() >= DEDUP_RUNS_MAX / 2
    }

    /// The next piece of work.
    pub(super) fn step(&mut self, now: UnixMillis) -> Result<Step, ArchiveError> {
        let step = self.work_on(now);
        self.count();
        step
    }

    fn work_on(&mut self, now: UnixMillis) -> Result<Step, ArchiveError> {
        self.give_up_runs()?;
        self.old_blocks.retain(|block| Arc::strong_count(block) > 1);
        if self.forget(now) {
            return Ok(Step::Published(self.published()));
        }
        self.plan_merge()?;
        let merge_first = self.runs.len() >= DEDUP_RUNS_MAX && !self.merges.is_empty();
        if !merge_first && !self.blocks.is_empty() {
            self.archive()
        } else if !self.merges.is_empty() {
            self.merge()
        } else {
            Ok(Step::Idle)
        }
    }

    fn archive(&mut self) -> Result<Step, ArchiveError> {
        let Some(block) = self.blocks.front() else { return Ok(Step::Idle) };
        let build = if let Some(build) = self.build.take() {
            self.build.insert(build)
        } else {
            let spare = self.spares.pop();
            self.build.insert(Build::of_block(&self.disk, &self.dir, block, spare.as_deref())?)
        };
        if !build.step()? {
            return Ok(Step::Worked);
        }
        if let Some(build) = self.build.take() {
            let run = build.finish()?;
            assert_eq!(run.header.after, self.through, "blocks follow one another");
            self.through = run.header.through;
            self.runs.push(Arc::new(run));
        }
        self.old_blocks.extend(self.blocks.pop_front());
        Ok(Step::Published(self.published()))
    }

    fn merge(&mut self) -> Result<Step, ArchiveError> {
        let Some(merge) = self.merges.first_mut() else { return Ok(Step::Idle) };
        if !merge.build.step()? {
            return Ok(Step::Worked);
        }
        let Merge { build, after, through, .. } = self.merges.remove(0);
        let merged = build.finish()?;
        let inside = |run: &Arc<Run>| run.header.after >= after && run.header.through <= through;
        let first = self.runs.iter().position(inside).unwrap_or(0);
        let count = self.runs.iter().filter(|run| inside(run)).count();
        // Those that are still there after a crash are inside the merged one, which the next start sees.
        self.old_runs.extend(self.runs.splice(first..first + count, [Arc::new(merged)]));
        Ok(Step::Published(self.published()))
    }

    /// Begins a merge if enough runs of one level stand side by side.
    fn plan_merge(&mut self) -> Result<(), ArchiveError> {
        let mut rest = &self.runs[..];
        while let Some(first) = rest.first() {
            let level = first.header.level;
            let alike = rest.iter().take_while(|run| run.header.level == level).count();
            let (runs, behind) = rest.split_at(alike);
            rest = behind;
            if self.merges.iter().any(|merge| merge.level == level) {
                continue;
            }
            let chosen = runs.windows(DEDUP_RUNS_MERGED).find(|runs| self.is_worth_it(runs));
            let Some(chosen @ [first, .., last]) = chosen else { continue };
            let (after, through) = (first.header.after, last.header.through);
            let build = Build::of_runs(&self.disk, &self.dir, chosen, level + 1)?;
            let at = self.merges.partition_point(|merge| merge.level < level);
            self.merges.insert(at, Merge { build, level, after, through });
            return Ok(());
        }
        Ok(())
    }

    /// A run is forgotten as a whole, so none shall reach over more than half the horizon; and there must be room for it
    /// beside those it is made of.
    fn is_worth_it(&self, runs: &[Arc<Run>]) -> bool {
        let [first, .., last] = runs else { return false };
        let span = last.header.last_time.0.saturating_sub(first.header.first_time.0);
        let bytes: u64 = runs.iter().map(|run| run.header.file_bytes()).sum();
        let free = || self.disk.free_bytes(&self.dir).unwrap_or(0);
        span <= self.horizon_millis / 2 && free() / 2 >= bytes
    }

    /// Takes the oldest run out of use if all of it is beyond the horizon. The newest stays: it says how far the archive
    /// reaches.
    fn forget(&mut self, now: UnixMillis) -> bool {
        let Some([oldest, _, ..]) = self.runs.get(..2) else { return false };
        let beyond = now.0.saturating_sub(oldest.header.last_time.0) > self.horizon_millis;
        let merging = self.merges.iter().any(|merge| merge.after <= oldest.header.after);
        if !beyond || merging {
            return false;
        }
        // What a crash brings back is forgotten again.
        self.old_runs.push_back(self.runs.remove(0));
        true
    }

    /// Gives up the files of old runs that nobody reads any more: the smallest are used again, the others set aside.
    fn give_up_runs(&mut self) -> Result<(), ArchiveError> {
        while let Some(run) = self.old_runs.pop_front_if(|run| Arc::strong_count(run) == 1) {
            let given_up = if run.header.level == 0 && self.spares.len() < DEDUP_RUNS_MERGED {
                let spare = run.path.with_extension(SPARE);
                self.disk.rename(&run.path, &spare).map(|()| self.spares.push(spare))
            } else {
                set_aside(&*self.disk, &run.path)
            };
            // One durable name at a time, from the oldest on: what a crash leaves has no gap, and no file is used again
            // that still has its old name.
            let given_up = given_up.and_then(|()| self.disk.sync_dir(&self.dir));
            given_up.map_err(run::at(&run.path))?;
        }
        Ok(())
    }
}

/// A worker without work looks again after so long.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Works until the journal's end of `blocks` is gone, or `stop`.
pub(super) fn work(
    mut worker: Worker,
    blocks: &mpsc::Receiver<Arc<Block>>,
    published: &mpsc::Sender<Result<Published, ArchiveError>>,
    now: &Mark,
    stop: &Switch,
) {
    while !stop.is_on() {
        for block in blocks.try_iter() {
            worker.take(block);
        }
        let begun = clock::now();
        match worker.step(UnixMillis(now.read())) {
            Ok(Step::Worked) => {}
            Ok(Step::Published(news)) => {
                if published.send(Ok(news)).is_err() {
                    return;
                }
            }
            Ok(Step::Idle) => match blocks.recv_timeout(LOOK_AGAIN) {
                Ok(block) => {
                    worker.take(block);
                    continue;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => continue,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            },
            Err(error) => {
                // Who would hear of it may have gone; then nobody waits for this thread either.
                let _gone = published.send(Err(error));
                return;
            }
        }
        if !worker.is_behind() {
            thread::sleep(((clock::now() - begun) * REST).min(LOOK_AGAIN));
        }
    }
}
