//! From the journal to the shards: what is written into a frame goes to its governors, in order, once it is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::journal::Writer;
use super::source_ledger::SourceLedger;
use crate::event::{Event, Feed, Kind, Seq, UnixMillis};
use crate::ring::{Bell, Full, Mark, Weigh, WeighedSender};
use crate::trace::TraceContext;

impl Weigh for Feed {
    fn weight(&self) -> usize {
        match self {
            Self::Event(event) => event.kind.body_bytes(),
            Self::Through(_) | Self::Live | Self::Cut(_) => 0,
        }
    }
}

/// The shard that owns a tenant's governors. Part of no stored format, but of the order of work: the same on every
/// machine and in every run.
#[must_use]
pub fn shard_of(tenant: &str, shards: usize) -> usize {
    usize::try_from(xxh3_64(tenant.as_bytes()) % shards as u64).unwrap_or(0)
}

/// The shard that has the alerts of the node.
pub const ALERTS_SHARD: usize = 0;

/// The shards that an event goes to: its governor's, that of the alerts, or all.
#[derive(Clone, Debug)]
pub enum ToShards {
    One(usize),
    Two(usize, usize),
    All(std::ops::Range<usize>),
}

impl Iterator for ToShards {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::One(shard) => {
                let shard = *shard;
                *self = Self::All(0..0);
                Some(shard)
            }
            Self::Two(first, second) => {
                let (first, second) = (*first, *second);
                *self = Self::One(second);
                Some(first)
            }
            Self::All(shards) => shards.next(),
        }
    }
}

/// Where an event goes.
#[must_use]
pub fn shards_of(event: &Event, shards: usize) -> ToShards {
    let own = event.subject().map(|(tenant, _)| shard_of(tenant, shards));
    match (&event.kind, own) {
        (Kind::Alarm(_), None | Some(ALERTS_SHARD)) | (Kind::Manifest(_), _) => ToShards::One(ALERTS_SHARD),
        (Kind::Alarm(_), Some(own)) => ToShards::Two(ALERTS_SHARD, own),
        (_, Some(own)) => ToShards::One(own),
        (_, None) => ToShards::All(0..shards),
    }
}

/// The shards' lanes, and what waits for room in them.
#[derive(Debug)]
pub struct Outlet {
    /// None at an edge: whoever follows the journal is rung instead.
    shards: Vec<WeighedSender<Feed>>,
    follower: Option<Arc<Bell>>,
    /// At most one frame's events.
    staged: VecDeque<(usize, Feed)>,
    /// The shards know that this is all up to here.
    announced: Seq,
    /// Where a node that shares the state of partitions tells the newest event that changes a governor.
    changed: Option<Mark>,
    /// Signals of the frame whose traces are recorded.
    traced: Vec<(Seq, TraceContext)>,
    /// What is counted of each source; nothing at an edge.
    sources: SourceLedger,
}

impl Outlet {
    /// Everything up to `last` is known.
    #[must_use]
    pub fn new(shards: Vec<WeighedSender<Feed>>, follower: Option<Arc<Bell>>, last: Seq) -> Self {
        Self {
            shards,
            follower,
            staged: VecDeque::new(),
            announced: last,
            changed: None,
            traced: Vec::new(),
            sources: SourceLedger::default(),
        }
    }

    /// Goes on counting where the journal ended.
    pub fn go_on_counting(&mut self, sources: SourceLedger) {
        if !self.shards.is_empty() {
            self.sources = sources;
        }
    }

    /// What is counted of each source.
    pub fn sources(&mut self) -> &mut SourceLedger {
        &mut self.sources
    }

    /// From here on, the newest event that changes a governor is told.
    pub fn tell_changes(&mut self, changed: Mark) {
        self.changed = Some(changed);
    }

    /// Signals of the frame whose traces are recorded.
    pub fn take_traced(&mut self) -> impl Iterator<Item = (Seq, TraceContext)> {
        self.traced.drain(..)
    }

    fn stage(&mut self, event: Event, segment: u64) {
        if let Kind::Signal(signal) = &event.kind
            && let Some(trace) = signal.recorded()
        {
            self.traced.push((event.seq, trace));
        }
        let shards = self.shards.len();
        if shards == 0 {
            return;
        }
        let seq = event.seq;
        self.sources.take((seq, event.time), &event.kind, segment);
        if event.subject().is_some()
            && let Some(changed) = &self.changed
        {
            changed.publish(seq.0);
        }
        match shards_of(&event, shards) {
            ToShards::One(shard) => self.staged.push_back((shard, Feed::Event(event))),
            many @ (ToShards::Two(..) | ToShards::All(_)) => {
                self.staged.extend(many.map(|shard| (shard, Feed::Event(event.clone()))));
            }
        }
        if crate::fault::planted("order-swapped") && self.staged.len() > 1 && seq.0.is_multiple_of(5) {
            let last = self.staged.len() - 1;
            self.staged.swap(last - 1, last);
        }
    }

    fn stage_for_all(&mut self, feed: impl Fn() -> Feed) {
        self.staged.extend((0..self.shards.len()).map(|shard| (shard, feed())));
    }

    /// Tells every shard of a cut, behind what it was handed before.
    pub fn stage_cut(&mut self, through: Seq) {
        self.stage_for_all(|| Feed::Cut(through));
    }

    /// Tells every shard that this is all up to `last`, where nothing waits.
    pub fn announce(&mut self, last: Seq) {
        if self.staged.is_empty() && self.announced < last {
            self.announced = last;
            self.stage_for_all(|| Feed::Through(last));
        }
    }

    /// Hands staged events to their shards in order; false while a shard has no room.
    pub fn hand_on(&mut self) -> bool {
        if self.staged.is_empty() {
            return true;
        }
        crate::fault::point("K10");
        while let Some((shard, feed)) = self.staged.pop_front() {
            if let Err(Full(feed)) = self.shards[shard].push(feed) {
                self.staged.push_front((shard, feed));
                break;
            }
        }
        for shard in &self.shards {
            shard.ring();
        }
        self.staged.is_empty()
    }

    /// Rings whoever follows the journal.
    pub fn ring_follower(&self) {
        if let Some(follower) = &self.follower {
            follower.ring();
        }
    }

    /// Whether nothing waits for room.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }
}

/// The frame that was begun: what is written into it, its governors have when it is durable.
pub struct Frame<'a> {
    writer: &'a mut Writer,
    outlet: &'a mut Outlet,
}

impl<'a> Frame<'a> {
    #[must_use]
    pub fn new(writer: &'a mut Writer, outlet: &'a mut Outlet) -> Self {
        Self { writer, outlet }
    }

    /// Writes an event, and gives it its number.
    pub fn append(&mut self, kind: Kind) -> Seq {
        let seq = self.writer.append(&kind);
        self.outlet.stage(Event { seq, time: self.writer.time(), kind }, self.writer.segment());
        seq
    }

    /// The stamp of the frame.
    #[must_use]
    pub fn time(&self) -> UnixMillis {
        self.writer.time()
    }

    /// The number that was given last.
    #[must_use]
    pub fn given(&self) -> Seq {
        self.writer.given()
    }

    /// For what concerns no governor.
    pub fn writer(&mut self) -> &mut Writer {
        self.writer
    }

    /// Tells every shard, behind everything that was written before. Returns the last number of that.
    pub fn cut(&mut self) -> Seq {
        let through = self.given();
        self.outlet.stage_cut(through);
        through
    }
}
