//! The memory of identities (promise P2): exact, bounded, rebuilt from the journal.
//!
//! One table of fixed size, allocated once: 64 bytes an identity, and 32 for its turn to be forgotten. What is forgotten is the oldest, and never before it
//! is old enough that its signature would be refused anyway; when young ones fill the table, the line sheds.
//! The journal is kept as far back as this memory reaches, so a restart finds the same memory.

mod table;

use std::collections::VecDeque;

use table::Table;

use crate::event::{Seq, UnixMillis};
use crate::signal::Fingerprint;

/// How the memory is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Identities remembered at most.
    pub capacity: usize,
    /// An identity is remembered so long, if the capacity allows.
    pub horizon_millis: u64,
    /// And at least so long: twice the clock tolerance of a signature.
    pub floor_millis: u64,
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

#[derive(Debug)]
pub struct Dedup {
    settings: Settings,
    table: Table,
    /// In the order of arrival, for forgetting.
    order: VecDeque<(Fingerprint, Seq, UnixMillis)>,
}

impl Dedup {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        // One more than the capacity: a new one comes before the oldest goes.
        let places = settings.capacity + 1;
        Self { settings, table: Table::new(places), order: VecDeque::with_capacity(places) }
    }

    #[must_use]
    pub fn look(&self, identity: &Fingerprint, digest: u64) -> Known {
        match self.table.get(identity).filter(|_| !crate::fault::planted("dedup-off")) {
            None => Known::Fresh,
            Some((same, seq)) if same == digest => Known::Repeat { seq },
            Some((_, seq)) => Known::Conflict { seq },
        }
    }

    /// Remembers a fresh identity; makes room by forgetting the oldest.
    pub fn insert(&mut self, identity: Fingerprint, digest: u64, seq: Seq, time: UnixMillis) {
        if self.table.insert(&identity, digest, seq) {
            self.order.push_back((identity, seq, time));
        }
        let horizon = time.0.saturating_sub(self.settings.horizon_millis);
        while let Some((oldest, _, at)) = self.order.front()
            && (self.order.len() > self.settings.capacity || at.0 < horizon)
        {
            self.table.remove(oldest);
            self.order.pop_front();
        }
    }

    /// Whether `more` identities would push out one that is too young to be forgotten.
    #[must_use]
    pub fn is_full(&self, more: usize, now: UnixMillis) -> bool {
        let over = (self.order.len() + more).saturating_sub(self.settings.capacity);
        let Some(last) = over.checked_sub(1) else { return false };
        let young = now.0.saturating_sub(self.settings.floor_millis);
        self.order.get(last).is_none_or(|(_, _, at)| at.0 > young)
    }

    /// Events up to here are not needed to rebuild the memory.
    #[must_use]
    pub fn sealed_through(&self) -> Seq {
        self.order.front().map_or(Seq(u64::MAX), |(_, seq, _)| Seq(seq.0 - 1))
    }
}

#[cfg(test)]
mod tests;
