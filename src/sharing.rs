//! Words of processors that share the state of partitions (`state.store = "firestore"`). Several processors may take from
//! one partition, one after the other: what one decided counts for the next when it is in the shared store.
//!
//! A processor holds a partition for a term. Every so often the journal makes a cut: everything decided up to it goes to the
//! store in one write, and only when that is [`Shared`] do receipts and actions leave the shards. What was decided and
//! is not shared when another processor takes the partition is void; the broker gives its signals to that one.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{Position, Seq, Subject, TimerKind, UnixMillis};
use crate::limits::{ADOPTED_BYTES_MAX, PARTITIONS_MAX};
use crate::signal::{Fingerprint, Illegal, Rule, Signal};

/// A partition stands for the same tenants on every edge and processor, so this never changes. Seeded, since a
/// processor spreads the tenants of its partitions over shards by the same hash.
#[must_use]
pub fn partition_of(tenant: &str, partitions: u16) -> u16 {
    const SEED: u64 = 0x6765_6d62_6170_6172;
    let partition = xxh3_64_with_seed(tenant.as_bytes(), SEED) % u64::from(partitions.max(1));
    u16::try_from(partition).unwrap_or_default()
}

/// The partitions that a node decides on, in the order of its journal.
#[derive(Clone, Debug)]
pub struct HeldPartitions(Box<[bool]>);

impl HeldPartitions {
    /// `partitions` there are; `held` of them are this node's.
    #[must_use]
    pub fn new(partitions: u16, held: &[u16]) -> Self {
        Self((0..partitions).map(|partition| held.contains(&partition)).collect())
    }

    /// The partition of a tenant.
    #[must_use]
    pub fn of(&self, tenant: &str) -> u16 {
        partition_of(tenant, u16::try_from(self.0.len()).unwrap_or(PARTITIONS_MAX))
    }

    /// Whether this node decides on this tenant.
    #[must_use]
    pub fn holds(&self, tenant: &str) -> bool {
        self.0.get(usize::from(self.of(tenant))).copied().unwrap_or_default()
    }

    /// Their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = u16> {
        (0..).zip(&self.0).filter(|(_, held)| **held).map(|(partition, _)| partition)
    }

    /// Takes one.
    pub fn take(&mut self, partition: u16) {
        self.set(partition, true);
    }

    /// Gives up one.
    pub fn lose(&mut self, partition: u16) {
        self.set(partition, false);
    }

    fn set(&mut self, partition: u16, holds: bool) {
        if let Some(held) = self.0.get_mut(usize::from(partition)) {
            *held = holds;
        }
    }
}

/// The number of a partition, if there can be one of it.
///
/// # Errors
/// [`Illegal`].
pub fn partition_number(number: u16) -> Result<u16, Illegal> {
    let rule = Rule::Below(PARTITIONS_MAX.into());
    if number < PARTITIONS_MAX {
        Ok(number)
    } else {
        Err(Illegal { field: "partition", rule, found: number.into() })
    }
}

/// An event: from here on this node decides on a partition, by what the shared store has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub partition: u16,
    /// Grows by one whenever somebody takes the partition.
    pub term: u64,
}

/// An event: a governor is what the shared store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopt {
    pub subject: Subject,
    row: Bytes,
}

impl Adopt {
    /// # Errors
    /// [`Illegal`], when the row is longer than one unit of the journal may be.
    pub fn new(subject: Subject, row: Bytes) -> Result<Self, Illegal> {
        let (rule, found) = (Rule::AtMost(ADOPTED_BYTES_MAX), row.len());
        if found > ADOPTED_BYTES_MAX {
            return Err(Illegal { field: "row", rule, found });
        }
        Ok(Self { subject, row })
    }

    /// Its stored form, without signals that wait: they come behind it as signals.
    #[must_use]
    pub fn row(&self) -> &Bytes {
        &self.row
    }
}

/// An event: what was decided up to here is in the shared store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    pub through: Seq,
    /// But not that of these partitions, which are no longer held: what is decided of them and was not shared is void.
    pub lost: Box<[u16]>,
}

/// What the journal is told when a partition is taken.
#[derive(Clone, Debug)]
pub struct Taken {
    pub hold: Hold,
    /// Through which number its signals are decided, by edge.
    pub positions: Vec<Position>,
    /// Its newest signals: identity and digest, the oldest first.
    pub recent: Vec<(Fingerprint, u64)>,
}

/// A governor that is loaded from the shared store.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// In which term of its partition it was read.
    pub term: u64,
    pub adopt: Adopt,
    /// Its timers that may be over.
    pub timers: Vec<(TimerKind, UnixMillis)>,
    /// What waits in its mailbox, in order.
    pub waiting: Vec<Signal>,
}

/// The journal's part of a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Everything up to here is in it.
    pub through: Seq,
    /// Of all partitions that are held.
    pub positions: Vec<Position>,
    /// Signals taken since the last cut: partition, identity and digest.
    pub identities: Vec<(u16, Fingerprint, u64)>,
}

/// One shard's part of a cut.
#[derive(Debug)]
pub struct RowCut {
    pub through: Seq,
    /// What changed since the last cut.
    pub rows: Vec<Row>,
}

/// A governor that is to be shared.
#[derive(Clone, Debug)]
pub struct Row {
    pub partition: u16,
    pub subject: Subject,
    /// In words, for people who look into the store.
    pub state: &'static str,
    pub row: Bytes,
    pub timers: Vec<(TimerKind, UnixMillis)>,
    /// What waits, in order, by the number of the event that brought it.
    pub waiting: Vec<(Seq, Signal)>,
    /// Something is to happen here without a further signal.
    pub busy: bool,
}
