//! The journal of a node that shares the state of partitions: which of them it holds, and what of them is new since the
//! last cut. What is not held is not taken. The journal's own memory does not know what became void with a lost partition,
//! so signals are known again by what the shared store says of their partition.

use std::collections::BTreeMap;

use super::recent::{Recent, Seen};
use super::stage::Stage;
use crate::event::{Ack, Arrival, Kind, Position, Seq, Timer, TimerKind, UnixMillis};
use crate::ring::Mark;
use crate::sharing::{Adopted, Cut, Shared, Taken, partition_of};
use crate::signal::{Fingerprint, Signal};

/// What the journal of such a node knows beside its positions.
#[derive(Debug)]
pub struct Tenure {
    partitions: u16,
    held: BTreeMap<u16, Recent>,
    /// Signals since the last cut.
    fresh: Vec<(u16, Fingerprint, u64)>,
    /// The newest event that changes a governor.
    changed: Mark,
}

impl Tenure {
    /// Holds nothing. What changed last is told on `changed`.
    #[must_use]
    pub fn new(partitions: u16, changed: Mark) -> Self {
        Self { partitions, held: BTreeMap::new(), fresh: Vec::new(), changed }
    }

    #[must_use]
    pub fn holds(&self, partition: u16) -> bool {
        self.held.contains_key(&partition)
    }

    /// What is known of a signal of a partition; of one that is not held, nothing.
    #[must_use]
    pub fn seen(&self, partition: u16, signal: &Signal) -> Seen {
        let recent = self.held.get(&partition);
        recent.map_or(Seen::Never, |recent| recent.look(&signal.identity, signal.digest))
    }

    pub fn take(&mut self, partition: u16, signal: &Signal) {
        if let Some(recent) = self.held.get_mut(&partition) {
            recent.insert(signal.identity, signal.digest);
            self.fresh.push((partition, signal.identity, signal.digest));
        }
    }

    pub fn changes(&self, seq: Seq) {
        self.changed.publish(seq.0);
    }
}

impl Stage {
    /// Takes what belongs to sharing; the answer is for whoever sent it.
    pub(super) fn take_tenure(&mut self, arrival: Arrival) -> Ack {
        match arrival {
            Arrival::Taken(taken) => self.hold(*taken),
            Arrival::Adopted(adopted) => self.adopt(*adopted),
            Arrival::Shared(shared) => self.share(*shared),
            Arrival::Cut => self.cut(),
            _ => unreachable!("signals and inner events take their own way"),
        }
    }

    fn hold(&mut self, taken: Taken) -> Ack {
        let Taken { hold, positions, recent } = taken;
        let Some(tenure) = &mut self.tenure else { return Ack::Behind };
        tenure.held.insert(hold.partition, recent.into_iter().collect());
        tenure.fresh.retain(|(partition, ..)| *partition != hold.partition);
        self.positions.forget(hold.partition);
        let seq = self.writer.hold(hold);
        self.stage(seq, Kind::Hold(hold));
        for position in &positions {
            self.positions.advance(&mut self.writer, position);
        }
        Ack::Durable { first: seq, last: seq, duplicates: 0 }
    }

    /// What is over of its timers comes before what waits, and both before anything new.
    fn adopt(&mut self, adopted: Adopted) -> Ack {
        let Adopted { adopt, timers, waiting } = adopted;
        let here = self.tenure.as_ref();
        if here.is_none_or(|tenure| !tenure.holds(partition_of(&adopt.subject.tenant, tenure.partitions))) {
            return Ack::Behind;
        }
        let seq = self.writer.adopt(&adopt);
        let subject = adopt.subject.clone();
        self.stage(seq, Kind::Adopt(Box::new(adopt)));
        let over = |timer: &(TimerKind, UnixMillis)| timer.1 <= self.writer.time();
        let over: Vec<TimerKind> = timers.into_iter().filter(over).map(|(kind, _)| kind).collect();
        for kind in over {
            let timer = Timer { subject: subject.clone(), kind, armed: seq };
            let seq = self.writer.timer(&timer);
            self.stage(seq, Kind::Timer(Box::new(timer)));
        }
        for signal in waiting {
            let seq = self.writer.signal(&signal);
            self.dedup.insert(signal.identity, signal.digest, seq, self.writer.time());
            self.stage(seq, Kind::Signal(signal));
        }
        Ack::Durable { first: seq, last: self.writer.given(), duplicates: 0 }
    }

    fn share(&mut self, shared: Shared) -> Ack {
        let Some(tenure) = &mut self.tenure else { return Ack::Behind };
        for lost in &shared.lost {
            tenure.held.remove(lost);
            self.positions.forget(*lost);
        }
        tenure.fresh.retain(|(partition, ..)| !shared.lost.contains(partition));
        let seq = self.writer.shared(&shared);
        self.stage(seq, Kind::Shared(Box::new(shared)));
        Ack::Durable { first: seq, last: seq, duplicates: 0 }
    }

    fn cut(&mut self) -> Ack {
        let Some(tenure) = &mut self.tenure else { return Ack::Behind };
        let through = self.writer.given();
        let identities = std::mem::take(&mut tenure.fresh);
        let held = self.positions.iter().filter(|(_, partition, _)| tenure.holds(*partition));
        let position =
            |(edge, partition, through): (&str, _, _)| Position { edge: edge.into(), partition, through };
        let positions = held.map(position).collect();
        self.stage_cut(through);
        Ack::Cut(Box::new(Cut { through, positions, identities }))
    }
}
