//! From an edge's journal to messages: which partition a signal belongs to, and which signals go together. Pure.
//!
//! Batching is natural: what becomes durable while a partition's last message is under way goes into the next one. So
//! the busier the edge, the larger the messages, and a quiet one sends each signal at once.

use super::message::{Draft, Origin, Span};
use super::trace::Trace;
use crate::event::{EdgeName, Seq};
use crate::sharing::partition_of;
use crate::signal::Signal;
use crate::trace::TraceContext;

/// One message, ready to be published.
#[derive(Debug)]
pub struct Message {
    pub origin: Origin,
    /// The first signal in it.
    pub first: Seq,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    pub count: usize,
    pub body: Vec<u8>,
}

/// Fills one message for each partition.
#[derive(Debug)]
pub struct Batcher {
    edge: EdgeName,
    trace: Trace,
    partitions: Vec<Partition>,
}

#[derive(Debug)]
struct Partition {
    /// Everything up to here is in a message.
    after: Seq,
    draft: Draft,
    trace: Option<TraceContext>,
}

impl Batcher {
    /// Begins, in each partition, behind the signal that was sent last.
    #[must_use]
    pub fn new(edge: &EdgeName, behind: &[Seq]) -> Self {
        let partitions =
            behind.iter().map(|after| Partition { after: *after, draft: Draft::default(), trace: None });
        Self { edge: edge.clone(), trace: Trace::default(), partitions: partitions.collect() }
    }

    /// Takes a signal in; returns the message of its partition that had no room for it.
    pub fn take(&mut self, seq: Seq, signal: &Signal) -> Option<Message> {
        let count = u16::try_from(self.partitions.len()).unwrap_or(u16::MAX);
        let number = partition_of(signal.tenant(), count);
        let fits = self.partitions[usize::from(number)].draft.takes(signal);
        let full = if fits { None } else { self.seal(number) };
        let partition = &mut self.partitions[usize::from(number)];
        if partition.draft.is_empty() {
            partition.trace = self.trace.of(signal);
        }
        partition.draft.push(seq, signal);
        full
    }

    /// The next message that is begun, of a partition that `may` have one now.
    pub fn flush(&mut self, may: impl Fn(u16) -> bool) -> Option<Message> {
        let begun = (0..).zip(&self.partitions).filter(|(_, partition)| !partition.draft.is_empty());
        let number = begun.map(|(number, _)| number).find(|number| may(*number))?;
        self.seal(number)
    }

    /// The oldest signal that is in no message yet.
    #[must_use]
    pub fn oldest(&self) -> Option<Seq> {
        self.partitions.iter().filter_map(|partition| partition.draft.first()).min()
    }

    fn seal(&mut self, number: u16) -> Option<Message> {
        let partition = self.partitions.get_mut(usize::from(number))?;
        let (first, through) = (partition.draft.first()?, partition.draft.last()?);
        let count = partition.draft.count();
        let span = Span { after: partition.after, through };
        let origin = Origin { edge: self.edge.clone(), partition: number, span };
        partition.after = through;
        let trace = partition.trace.take();
        Some(Message { first, count, trace, body: partition.draft.seal(&origin), origin })
    }
}
