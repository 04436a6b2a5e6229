//! A node that shares the state of partitions: what it decided counts when a later event says that it is shared, and is void
//! when the partition is lost before. Told in another way than the shards tell it: every decision is kept beside its event
//! until an event releases or voids it.

use std::collections::HashMap;

use gemba::event::Seq;
use gemba::jidoka::governor::Effects;
use gemba::receipt::Draft;
use gemba::sharing::{Shared, partition_of};

/// What is known of such a node.
#[derive(Default)]
pub struct Tenure {
    /// How many partitions there are; `None` until the first run tells.
    partitions: Option<u16>,
    held: Vec<u16>,
    withheld: Vec<Withheld>,
}

/// What an event asked for.
pub struct Withheld {
    partition: u16,
    pub by: Seq,
    pub governor: String,
    pub effects: Effects,
}

impl Tenure {
    /// Of a node that shares, the partition of this tenant, if it decides on it.
    pub fn holds(&self, tenant: &str) -> Option<u16> {
        self.partition(tenant).filter(|partition| self.held.contains(partition))
    }

    pub fn partition(&self, tenant: &str) -> Option<u16> {
        self.partitions.map(|partitions| partition_of(tenant, partitions))
    }

    pub fn is_shared(&self) -> bool {
        self.partitions.is_some()
    }

    pub fn hold(&mut self, partition: u16) {
        self.lose(&[partition]);
        self.held.push(partition);
    }

    pub fn withhold(&mut self, partition: u16, by: Seq, governor: String, effects: Effects) {
        self.withheld.push(Withheld { partition, by, governor, effects });
    }

    /// What counts from here on, in its order.
    pub fn release(&mut self, shared: &Shared) -> Vec<Withheld> {
        // A run begins by giving up all of them.
        if self.partitions.is_none() && !shared.lost.is_empty() {
            self.partitions = u16::try_from(shared.lost.len()).ok();
        }
        self.withheld.retain(|withheld| !shared.lost.contains(&withheld.partition));
        let (counts, later) = std::mem::take(&mut self.withheld)
            .into_iter()
            .partition(|withheld| withheld.by <= shared.through);
        self.withheld = later;
        self.lose(&shared.lost);
        counts
    }

    fn lose(&mut self, lost: &[u16]) {
        self.withheld.retain(|withheld| !lost.contains(&withheld.partition));
        self.held.retain(|held| !lost.contains(held));
    }

    /// Final receipts that do not count yet, by signal.
    pub fn unshared(&self) -> HashMap<Seq, &Draft> {
        let drafts = self.withheld.iter().flat_map(|withheld| &withheld.effects.drafts);
        drafts.filter(|draft| draft.gist.id.ordinal == 0).map(|draft| (draft.gist.id.seq, draft)).collect()
    }
}
