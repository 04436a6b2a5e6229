//! What a shard has taken from its lane and not stepped. Events wait in a levelled order; what concerns all governors is a
//! barrier, before which everything is stepped, and behind which nothing is taken.

use std::sync::Arc;

use super::fair_queue::FairQueue;
use crate::event::{Event, Feed, Reconfigured, RulesText, Seq};
use crate::limits::{FAIR_QUEUE_BYTES_MAX, FAIR_QUEUE_EVENTS_MAX};
use crate::ring::WeighedReceiver;
use crate::sharing::{Hold, Shared};

/// What concerns all governors of a shard.
#[derive(Debug)]
pub enum Barrier {
    Rules(Event, Arc<RulesText>),
    Reconfigured(Event, Arc<Reconfigured>),
    Live,
    /// A partition is held from this event on.
    Hold(Seq, Hold),
    /// What was cut is shared, or lost; so says this event.
    Shared(Seq, Box<Shared>),
    Cut(Seq),
}

/// An event and where its governor stands.
#[derive(Debug)]
pub struct Ready {
    pub at: u32,
    pub event: Event,
}

#[derive(Debug)]
pub struct Inbox {
    lane: WeighedReceiver<Feed>,
    ready: FairQueue<Ready>,
    barrier: Option<Barrier>,
    /// Every event up to here was taken from the lane.
    taken: Seq,
}

impl Inbox {
    pub fn new(lane: WeighedReceiver<Feed>) -> Self {
        Self { lane, ready: FairQueue::default(), barrier: None, taken: Seq(0) }
    }

    pub fn is_empty(&self) -> bool {
        self.lane.is_empty() && self.ready.is_empty() && self.barrier.is_none()
    }

    /// The next of the lane, where there is room and no barrier.
    #[inline]
    pub fn receive(&mut self) -> Option<Feed> {
        let has_room = self.barrier.is_none()
            && self.ready.len() < FAIR_QUEUE_EVENTS_MAX
            && self.ready.cost() < FAIR_QUEUE_BYTES_MAX;
        if has_room { self.lane.pop() } else { None }
    }

    /// Everything up to here was taken.
    pub fn taken(&mut self, through: Seq) {
        self.taken = through;
    }

    pub fn last_taken(&self) -> Seq {
        self.taken
    }

    pub fn wait_behind_all(&mut self, barrier: Barrier) {
        self.barrier = Some(barrier);
    }

    /// Puts an event behind the others of its tenant.
    #[inline]
    pub fn wait(&mut self, tenant: u32, ready: Ready) {
        self.ready.push(tenant, ready.event.kind.body_bytes(), ready);
    }

    /// The event whose turn it is, and its tenant.
    #[inline]
    pub fn next(&mut self) -> Option<(u32, Ready)> {
        self.ready.pop()
    }

    /// The barrier, once everything before it was stepped.
    pub fn pass_barrier(&mut self) -> Option<Barrier> {
        if self.ready.is_empty() { self.barrier.take() } else { None }
    }

    /// Every event of this shard up to here was stepped.
    pub fn stepped(&self) -> Seq {
        let held = match &self.barrier {
            Some(Barrier::Rules(event, _) | Barrier::Reconfigured(event, _)) => Some(event.seq),
            Some(Barrier::Hold(seq, _) | Barrier::Shared(seq, _)) => Some(*seq),
            Some(Barrier::Live | Barrier::Cut(_)) | None => None,
        };
        let oldest = self.ready.fronts().map(|ready| ready.event.seq).chain(held).min();
        oldest.map_or(self.taken, |oldest| self.taken.min(Seq(oldest.0 - 1)))
    }
}
