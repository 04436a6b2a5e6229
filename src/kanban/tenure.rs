//! The journal of a node that shares the state of partitions: which of them it holds, and what of them is new since the
//! last cut. What is not held is not taken. The journal's own memory does not know what became void with a lost partition,
//! so signals are known again by what the shared store says of their partition.

use std::collections::BTreeMap;

use super::recent::{Recent, Seen};
use crate::event::Subject;
use crate::ring::Mark;
use crate::sharing::partition_of;
use crate::signal::{Fingerprint, Signal};

/// What the journal of such a node knows beside its positions.
#[derive(Debug)]
pub struct Tenure {
    partitions: u16,
    /// Each for a term, with its newest signals.
    held: BTreeMap<u16, (u64, Recent)>,
    /// Signals since the last cut.
    fresh: Vec<(u16, Fingerprint, u64)>,
    /// The newest event that changes a governor.
    changed: Mark,
}

impl Tenure {
    /// Holds nothing. What changed last is told on `changed`.
    #[must_use]
    pub fn new(partitions: u16, changed: Mark) -> Self {
        Self { partitions, held: BTreeMap::new(), fresh: Vec::new(), changed }
    }

    #[must_use]
    pub fn holds(&self, partition: u16) -> bool {
        self.held.contains_key(&partition)
    }

    /// What is known of a signal of a partition; of one that is not held, nothing.
    #[must_use]
    pub fn seen(&self, partition: u16, signal: &Signal) -> Seen {
        let recent = self.held.get(&partition);
        recent.map_or(Seen::Never, |(_, recent)| recent.look(&signal.identity, signal.digest))
    }

    pub fn take(&mut self, partition: u16, signal: &Signal) {
        if let Some((_, recent)) = self.held.get_mut(&partition) {
            recent.insert(signal.identity, signal.digest);
            self.fresh.push((partition, signal.identity, signal.digest));
        }
    }

    /// Where the newest event that changes a governor is told.
    #[must_use]
    pub fn changed(&self) -> &Mark {
        &self.changed
    }

    /// Holds a partition from here on, for a term; these are its newest signals.
    pub fn hold(&mut self, partition: u16, term: u64, recent: impl IntoIterator<Item = (Fingerprint, u64)>) {
        self.held.insert(partition, (term, recent.into_iter().collect()));
        self.fresh.retain(|(of, ..)| *of != partition);
    }

    /// The term for which a governor's partition is held.
    #[must_use]
    pub fn term(&self, subject: &Subject) -> Option<u64> {
        let partition = partition_of(&subject.tenant, self.partitions);
        self.held.get(&partition).map(|(term, _)| *term)
    }

    /// Holds these no more.
    pub fn lose(&mut self, lost: &[u16]) {
        self.held.retain(|partition, _| !lost.contains(partition));
        self.fresh.retain(|(partition, ..)| !lost.contains(partition));
    }

    /// Signals since the last cut: partition, identity and digest of each.
    pub fn cut(&mut self) -> Vec<(u16, Fingerprint, u64)> {
        std::mem::take(&mut self.fresh)
    }
}
