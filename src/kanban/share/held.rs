//! The partitions that this node decides on, and the terms that others see.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{Head, Paths};
use super::failed::Failed;
use super::holding::{Holding, Part};
use crate::event::Position;
use crate::net::firestore::Version;
use crate::ring::Mark;
use crate::sharing::{Cut, Row};
use crate::signal::Fingerprint;

pub struct Held {
    partitions: RefCell<BTreeMap<u16, Holding>>,
    /// The term in which each partition is held, 0 where it is not.
    terms: Arc<[Mark]>,
}

impl Held {
    #[must_use]
    pub fn none(terms: Arc<[Mark]>) -> Self {
        Self { partitions: RefCell::default(), terms }
    }

    #[must_use]
    pub fn all(&self) -> Vec<u16> {
        self.partitions.borrow().keys().copied().collect()
    }

    #[must_use]
    pub fn holds(&self, partition: u16) -> bool {
        self.partitions.borrow().contains_key(&partition)
    }

    pub fn insert(&self, partition: u16, holding: Holding) {
        self.partitions.borrow_mut().insert(partition, holding);
    }

    pub fn remove(&self, partition: u16) -> Option<Holding> {
        self.partitions.borrow_mut().remove(&partition)
    }

    /// Tells others in which term a partition is held.
    pub fn tell(&self, partition: u16, term: u64) {
        if let Some(mark) = self.terms.get(usize::from(partition)) {
            mark.publish(term);
        }
    }

    /// These are not held any more.
    pub fn forget(&self, lost: &[u16]) {
        for partition in lost {
            self.remove(*partition);
            self.tell(*partition, 0);
        }
    }

    /// The head of a partition as it was written last.
    #[must_use]
    pub fn head(&self, partition: u16) -> Option<Head> {
        self.see(partition, |holding| holding.head().clone())
    }

    /// When its head was written last.
    #[must_use]
    pub fn version(&self, partition: u16) -> Option<Version> {
        self.see(partition, Holding::version)
    }

    /// The head of a partition was written.
    pub fn wrote(&self, partition: u16, head: &Head, version: Version) {
        if let Some(holding) = self.partitions.borrow_mut().get_mut(&partition) {
            holding.wrote(head.clone(), version);
        }
    }

    /// The head of a partition has this version, and says what it said.
    pub fn found(&self, partition: u16, version: Version) {
        if let Some(holding) = self.partitions.borrow_mut().get_mut(&partition) {
            holding.found(version);
        }
    }

    /// Looks at a partition, if it is held.
    pub fn see<T>(&self, partition: u16, look: impl FnOnce(&Holding) -> T) -> Option<T> {
        self.partitions.borrow().get(&partition).map(look)
    }

    /// Changes a partition, if it is held in this term.
    ///
    /// # Errors
    /// [`Failed::Elsewhere`], and those of the change.
    pub fn change<T>(
        &self,
        partition: u16,
        term: u64,
        change: impl FnOnce(&mut Holding) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let mut held = self.partitions.borrow_mut();
        let holding = held.get_mut(&partition).filter(|holding| holding.head().term == term);
        change(holding.ok_or(Failed::Elsewhere { partition })?)
    }

    /// What is to be written of a cut, by partition.
    pub fn parts(&self, paths: &Paths, cut: Cut, rows: Vec<Row>) -> Vec<Part> {
        let Cut { positions, identities, .. } = cut;
        let mut by_partition: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_partition.entry(row.partition).or_default().push(row);
        }
        let mut parts = Vec::new();
        for (partition, holding) in self.partitions.borrow_mut().iter_mut() {
            let rows = by_partition.remove(partition).unwrap_or_default();
            for row in &rows {
                holding.learn(&row.subject);
            }
            let positions: Vec<Position> =
                positions.iter().filter(|position| position.partition == *partition).cloned().collect();
            let signals = identities.iter().filter(|(of, ..)| of == partition);
            let signals: Vec<(Fingerprint, u64)> =
                signals.map(|(_, identity, digest)| (*identity, *digest)).collect();
            let moved = positions
                .iter()
                .any(|position| holding.head().positions.get(&position.edge) != Some(&position.through));
            if rows.is_empty() && signals.is_empty() && !moved {
                continue;
            }
            let (positions, signals) = (positions.into_iter(), signals.into_iter());
            parts.push(holding.part(paths, &rows, positions, signals, *partition));
        }
        parts
    }
}
