//! What is to go to the journal: small messages that follow one another go as one batch. Pure.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::subscription::DeliveryTag;
use crate::event::{Astray, Forwarded, Part, Position, Seq, Subject};
use crate::limits::{MESSAGE_BYTES_MAX, MESSAGE_SIGNALS_MAX};
use crate::signal::Signal;

/// Messages that go to the journal as one unit, and the deliveries that they came with.
#[derive(Debug)]
pub struct Batch {
    forwarded: Forwarded,
    tags: Vec<DeliveryTag>,
    /// Of the bodies.
    bytes: usize,
}

impl Batch {
    /// Signals of one edge and partition.
    #[must_use]
    pub fn of_edge(
        signals: Vec<(Seq, Signal)>,
        astray: Option<Astray>,
        part: Part,
        tag: Option<DeliveryTag>,
    ) -> Self {
        let bytes = signals.iter().map(|(_, signal)| signal.body().len()).sum();
        let forwarded = Forwarded { signals, astray, part: Some(part) };
        Self { forwarded, tags: tag.into_iter().collect(), bytes }
    }

    /// What no edge wrote.
    #[must_use]
    pub fn of_nobody(signal: Signal, why: Astray, tag: DeliveryTag) -> Self {
        let bytes = signal.body().len();
        let forwarded = Forwarded { signals: vec![(Seq(0), signal)], astray: Some(why), part: None };
        Self { forwarded, tags: vec![tag], bytes }
    }

    /// Where its first signal comes from; `None` for what no edge wrote.
    #[must_use]
    pub fn first(&self) -> Option<(&Position, Seq)> {
        let (number, _) = self.forwarded.signals.first()?;
        self.forwarded.part.as_ref().map(|part| (&part.position, *number))
    }

    /// None of it is to be decided on, for this reason if there was none before.
    pub fn set_aside(&mut self, why: Astray) {
        self.forwarded.astray.get_or_insert(why);
    }

    /// Whether a delivery of a partition is answered for with it.
    #[must_use]
    pub fn has(&self, partition: u16) -> bool {
        self.tags.iter().any(|tag| tag.partition == partition)
    }

    /// What the journal is given, and which deliveries its answer is for.
    #[must_use]
    pub fn into_parts(self) -> (Forwarded, Vec<DeliveryTag>) {
        (self.forwarded, self.tags)
    }

    /// Takes in what stands behind it, where it belongs to the same unit and there is room; gives it back otherwise.
    fn join(&mut self, next: Self) -> Result<(), Self> {
        let (Some(part), Some(after)) = (&mut self.forwarded.part, &next.forwarded.part) else {
            return Err(next);
        };
        let (at, then) = (&part.position, &after.position);
        let follows = at.edge == then.edge
            && at.partition == then.partition
            && self.forwarded.astray == next.forwarded.astray
            && !after.skips;
        let fits = self.forwarded.signals.len() + next.forwarded.signals.len() <= MESSAGE_SIGNALS_MAX
            && self.bytes + next.bytes <= MESSAGE_BYTES_MAX;
        if !follows || !fits {
            return Err(next);
        }
        part.position.through = then.through;
        self.forwarded.signals.extend(next.forwarded.signals);
        self.tags.extend(next.tags);
        self.bytes += next.bytes;
        Ok(())
    }
}

/// What is to be handed to the journal, or counts when everything handed before it is answered.
#[derive(Debug)]
pub enum Staged {
    Batch(Batch),
    Repeat(DeliveryTag),
}

impl Staged {
    fn has(&self, partition: u16) -> bool {
        match self {
            Self::Batch(batch) => batch.has(partition),
            Self::Repeat(tag) => tag.partition == partition,
        }
    }
}

/// What is to go to the journal, in that order.
#[derive(Debug, Default)]
pub struct Staging {
    /// Others may join it.
    open: Option<Batch>,
    sealed: VecDeque<Staged>,
}

impl Staging {
    /// Puts a batch behind what is there; small ones that follow one another become one.
    pub fn add(&mut self, batch: Batch) {
        let alone = match &mut self.open {
            Some(open) => open.join(batch).err(),
            None => Some(batch),
        };
        if let Some(batch) = alone {
            self.seal();
            self.open = Some(batch);
        }
    }

    /// Puts a batch behind what is there, as a unit of its own.
    pub fn add_alone(&mut self, batch: Batch) {
        self.seal();
        self.sealed.push_back(Staged::Batch(batch));
    }

    /// All of this delivery was taken before; it is durable once everything before it is.
    pub fn add_repeat(&mut self, tag: DeliveryTag) {
        self.seal();
        self.sealed.push_back(Staged::Repeat(tag));
    }

    /// Nothing more joins what is there.
    pub fn seal(&mut self) {
        self.sealed.extend(self.open.take().map(Staged::Batch));
    }

    /// Units that are ready for the journal.
    #[must_use]
    pub fn units(&self) -> usize {
        self.sealed.len()
    }

    /// Whether nothing is there, not even what others may join.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_none()
    }

    /// Whose signals are ready, by partition.
    #[must_use]
    pub fn subjects(&self) -> BTreeMap<u16, HashSet<Subject>> {
        let mut subjects: BTreeMap<u16, HashSet<Subject>> = BTreeMap::new();
        for staged in &self.sealed {
            let Staged::Batch(Batch { forwarded, .. }) = staged else { continue };
            let Some(part) = &forwarded.part else { continue };
            let of = forwarded.signals.iter().map(|(_, signal)| Subject::from(signal));
            subjects.entry(part.position.partition).or_default().extend(of);
        }
        subjects
    }

    /// The next unit that is ready.
    pub fn pop(&mut self) -> Option<Staged> {
        self.sealed.pop_front()
    }

    /// Whether anything of a partition is there.
    #[must_use]
    pub fn has(&self, partition: u16) -> bool {
        let open = self.open.iter().any(|batch| batch.has(partition));
        open || self.sealed.iter().any(|staged| staged.has(partition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EdgeName;
    use crate::kanban::broker::consumer::tests::{batch, part, tag, units};
    use crate::kanban::journal::tests::named;

    #[test]
    fn what_follows_one_another_is_one_unit() {
        let mut staging = Staging::default();
        staging.add(batch(0, 3));
        staging.add(batch(3, 4));
        assert_eq!(
            (staging.units(), staging.is_empty(), staging.has(0), staging.has(1)),
            (0, false, true, false)
        );
        staging.seal();
        assert_eq!(staging.subjects().keys().copied().collect::<Vec<u16>>(), [0]);
        let Some(Staged::Batch(batch)) = staging.pop() else { panic!("one unit") };
        let (forwarded, tags) = batch.into_parts();
        assert_eq!(tags, [tag(3), tag(4)]);
        let numbers: Vec<u64> = forwarded.signals.iter().map(|(number, _)| number.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        let part = forwarded.part.unwrap();
        assert_eq!((part.behind, part.position.through), (Seq(0), Seq(4)));
        assert!(staging.is_empty());
    }

    #[test]
    fn what_does_not_belong_together_is_a_unit_of_its_own() {
        let mut other_edge = part(3, 4);
        other_edge.position.edge = EdgeName::read("edge-2").unwrap();
        let mut other_partition = part(3, 4);
        other_partition.position.partition = 1;
        let skips = Part { skips: true, ..part(3, 4) };
        let signals = || vec![(Seq(4), named("s-4"))];
        for next in [
            Batch::of_edge(signals(), None, other_edge, Some(tag(4))),
            Batch::of_edge(signals(), None, other_partition, Some(tag(4))),
            Batch::of_edge(signals(), None, skips, Some(tag(4))),
            Batch::of_edge(signals(), Some(Astray::SetAside), part(3, 4), Some(tag(4))),
            Batch::of_nobody(named("s-4"), Astray::Foreign, tag(4)),
            batch(3, 4 + MESSAGE_SIGNALS_MAX as u64),
        ] {
            let mut staging = Staging::default();
            staging.add(batch(0, 3));
            staging.add(next);
            assert_eq!(units(&mut staging).len(), 2);
        }
        let mut staging = Staging::default();
        staging.add(batch(0, 1));
        staging.add_alone(batch(1, 2));
        staging.add(batch(2, 3));
        staging.add_repeat(tag(9));
        staging.add(batch(3, 4));
        assert_eq!(units(&mut staging), [[1], [2], [3], [9], [4]]);
    }
}
