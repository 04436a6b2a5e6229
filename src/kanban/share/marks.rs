//! What others see of the sharing.

use std::sync::Arc;

use crate::clock;
use crate::kanban::broker::trouble::Trouble;
use crate::ring::{Mark, Tide};

/// What others see of the sharing.
#[derive(Clone, Debug)]
pub struct Marks {
    /// Everything up to here is shared.
    pub through: Tide,
    /// The newest event that changes a governor; the journal tells it.
    pub changed: Mark,
    /// When the last round ended, by [`clock::millis`].
    pub shared_at: Mark,
    /// Rounds that were written.
    pub rounds: Mark,
    /// Calls of Firestore that did not end well.
    pub failed: Mark,
    /// Partitions that another processor took while this one decided on them.
    pub lost: Mark,
    /// The term in which each partition is held, 0 where it is not.
    pub terms: Arc<[Mark]>,
    pub trouble: Trouble,
}

impl Marks {
    #[must_use]
    pub fn new(partitions: u16, trouble: Trouble) -> Self {
        let zero = || Mark::new(0);
        Self {
            through: Tide::of(zero()),
            changed: zero(),
            shared_at: Mark::new(clock::millis()),
            rounds: zero(),
            failed: zero(),
            lost: zero(),
            terms: (0..partitions).map(|_| zero()).collect(),
            trouble,
        }
    }

    /// The term in which a partition is held.
    #[must_use]
    pub fn term(&self, partition: u16) -> Option<u64> {
        let term = self.terms.get(usize::from(partition)).map_or(0, Mark::read);
        (term > 0).then_some(term)
    }
}
