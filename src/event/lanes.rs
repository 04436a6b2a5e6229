//! What the stages hand to each other.

use std::sync::Arc;

use super::{Astray, Command, Event, Outcome, Position, Reconfigured, Replay, RulesText, Seq, Timer};
use crate::alert::Alarm;
use crate::receipt::Draft;
use crate::sharing::{Adopted, Cut, Shared, Taken};
use crate::signal::{Signal, Signals};

/// What waits for the journal: not yet numbered, not yet durable.
#[derive(Debug)]
pub enum Arrival {
    /// One request's signals, accepted or refused as one unit; the answer returns on the acks lane. Some are measured
    /// from when they were offered: monotonic nanoseconds.
    Signals(Signals, Option<u64>),
    /// What one message brought; it is acknowledged as a request is answered.
    Forwarded(Box<Forwarded>),
    Outcome(Box<Outcome>),
    Timer(Box<Timer>),
    /// Of a node that shares the state of partitions; each is answered as a request is.
    Taken(Box<Taken>),
    Adopted(Box<Adopted>),
    Shared(Box<Shared>),
    Alarm(Arc<Alarm>),
    /// Everything up to here is to be shared: the shards are told, the answer is [`Ack::Cut`].
    Cut,
}

/// What one message of the broker brought.
#[derive(Debug)]
pub struct Forwarded {
    /// Under their edge's numbers, in that order.
    pub signals: Vec<(Seq, Signal)>,
    /// None of them can be decided on.
    pub astray: Option<Astray>,
    /// Where they stand among the edge's; `None` for what no edge wrote.
    pub part: Option<Part>,
}

/// Where a message stands.
#[derive(Debug)]
pub struct Part {
    /// With this message, everything up to here was taken.
    pub position: Position,
    /// Everything up to here was handed on before it.
    pub behind: Seq,
    /// What is missing before it will not come.
    pub skips: bool,
}

/// What an operator may bring into the journal; waits for it as an [`Arrival`] does.
#[derive(Clone, Debug)]
pub enum Order {
    Command(Box<Command>),
    Replay(Box<Replay>),
    Rules(Arc<RulesText>),
    Reconfigured(Arc<Reconfigured>),
    Alarm(Arc<Alarm>),
}

/// The journal's answer to one [`Arrival::Signals`]; acks return in the order of the arrivals of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Durable. `duplicates` of the signals were known already; their first numbers count.
    Durable { first: Seq, last: Seq, duplicates: u32 },
    /// Nothing of the unit was taken: the signal at `index` has the identity of `seq` and another body.
    Conflict { index: u32, seq: Seq },
    /// Nothing was taken: the journal cannot take more now.
    Refused(Shed),
    /// Nothing was taken: something that was handed on before it was not taken either.
    OutOfOrder,
    /// Nothing was taken: this node does not own the partition now.
    NotOwned,
    /// The shards have been told of the cut.
    Cut(Box<Cut>),
}

/// Why the journal cannot take more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    /// Free disk space is below the low-water mark.
    DiskLow,
    /// The broker has not taken what was accepted before, and as much of it is kept as may be.
    BacklogFull,
    /// The memory of identities is full of young ones; forgetting one would let a replay in.
    DedupFull,
    /// As much waits for its decision, or for the outcome of its action, as may.
    WaitingFull,
    /// There are as many governors as may be.
    GovernorsFull,
}

impl Shed {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DiskLow => "free disk space is below the low-water mark",
            Self::BacklogFull => "the broker takes nothing, and no more can be kept for it",
            Self::DedupFull => "the memory of identities is full of young ones",
            Self::WaitingFull => "as many signals wait for their decision as may",
            Self::GovernorsFull => "there are as many governors as may be",
        }
    }
}

/// What the journal hands to a shard.
#[derive(Debug)]
pub enum Feed {
    Event(Event),
    /// Every event for this shard up to this number was sent before.
    Through(Seq),
    /// The replay is over: from here on, what a governor orders is carried out.
    Live,
    /// What changed up to here is to be shared.
    Cut(Seq),
}

/// What a shard hands to the scribe.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every note is a draft, and a box would be an allocation each"
)]
pub enum Note {
    Draft(Draft),
    /// Every receipt that this commit of the shard presumes was sent before.
    Commit(u64),
}
