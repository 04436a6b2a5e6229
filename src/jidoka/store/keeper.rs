//! The store's turn: commit what the shards changed, once its receipts are durable.
//!
//! A row says which events it has applied, and a replay skips those; so a row that is durable before its receipts
//! would lose them. Each shard's changes therefore wait until the scribe has passed them.

use std::collections::{BTreeSet, VecDeque};

use super::cases::Retention;
use super::changes::Commit;
use super::error::StoreError;
use super::state_store::StateStore;
use crate::event::{Seq, UnixMillis};
use crate::limits::CASES_RETIRED_EVERY;
use crate::ring::{Mark, Receiver, Tide};

/// One shard's changes, and the number of its last commit whose receipts are durable.
#[derive(Debug)]
pub struct Port {
    pub commits: Receiver<Commit>,
    pub durable: Mark,
}

/// How the closed dead letters go.
#[derive(Debug)]
pub struct Retiring {
    pub retention: Retention,
    /// The journal's time.
    pub time: Mark,
    /// When is looked again.
    due: UnixMillis,
}

impl Retiring {
    #[must_use]
    pub fn new(retention: Retention, time: Mark) -> Self {
        Self { retention, time, due: UnixMillis(0) }
    }
}

/// Commits for all shards into one store.
pub struct Keeper {
    store: Box<dyn StateStore>,
    ports: Vec<Port>,
    waiting: Vec<VecDeque<Commit>>,
    through: Vec<Seq>,
    /// Partitions that each shard says are held.
    held: Vec<Vec<u16>>,
    /// Events up to here are in the store, receipts and all.
    settled: Tide,
    /// Entries of the transparency log that are durable.
    log_size: Mark,
    retiring: Option<Retiring>,
}

impl Keeper {
    #[must_use]
    pub fn new(
        store: Box<dyn StateStore>,
        ports: Vec<Port>,
        watermark: Seq,
        held: &[u16],
        (settled, log_size): (Tide, Mark),
    ) -> Self {
        settled.publish(watermark.0);
        let waiting = ports.iter().map(|_| VecDeque::new()).collect();
        let through = vec![watermark; ports.len()];
        let held = vec![held.to_vec(); ports.len()];
        Self { store, ports, waiting, through, held, settled, log_size, retiring: None }
    }

    /// Removes closed dead letters, too.
    #[must_use]
    pub fn retiring(mut self, retiring: Retiring) -> Self {
        self.retiring = Some(retiring);
        self
    }

    /// Removes some closed dead letters that need not be kept any more, between two turns. Returns whether there may be
    /// more of them.
    pub fn retire(&mut self) -> Result<bool, StoreError> {
        let Some(retiring) = &mut self.retiring else { return Ok(false) };
        let now = UnixMillis(retiring.time.read());
        if now < retiring.due {
            return Ok(false);
        }
        let more = self.store.retire(retiring.retention, now)?;
        if !more {
            let every = u64::try_from(CASES_RETIRED_EVERY.as_millis()).unwrap_or(u64::MAX);
            retiring.due = UnixMillis(now.0.saturating_add(every));
        }
        Ok(more)
    }

    /// Whether changes wait for a turn.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.ports.iter().any(|port| !port.commits.is_empty())
    }

    /// Whether changes wait for their receipts.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Commits what may be committed. Returns whether there was anything.
    pub fn turn(&mut self) -> Result<bool, StoreError> {
        let mut worked = false;
        for shard in 0..self.ports.len() {
            let Some((port, waiting)) = self.ports.get_mut(shard).zip(self.waiting.get_mut(shard)) else {
                continue;
            };
            while waiting.len() < 2
                && let Some(commit) = port.commits.pop()
            {
                waiting.push_back(commit);
            }
            let durable = port.durable.read();
            let early = crate::fault::planted("state-before-receipt");
            let Some(mut commit) = waiting.pop_front_if(|commit| early || commit.number <= durable) else {
                continue;
            };
            worked = true;
            if let Some(through) = self.through.get_mut(shard) {
                *through = commit.through.max(*through);
            }
            if let Some((known, held)) = self.held.get_mut(shard).zip(commit.held.take()) {
                *known = held;
                // Those that a shard behind the others still knows as held are decided again up to where it lost them.
                let held: BTreeSet<u16> = self.held.iter().flatten().copied().collect();
                commit.changes.hold(held.into_iter().collect());
            }
            commit.changes.logged(self.log_size.read());
            let watermark = self.through.iter().copied().min().unwrap_or_default();
            self.store.commit(&commit.changes, watermark)?;
            self.settled.publish(watermark.0);
        }
        Ok(worked)
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("through", &self.through).finish_non_exhaustive()
    }
}
