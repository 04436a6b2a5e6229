//! Which signals of a unit are new: the known are told from the new before any is numbered (promise P2). What is known is
//! in the memory of identities, in the positions of edges, and, of partitions whose state is shared, in the tenure.

#[cfg(test)]
mod tests;

use hashbrown::HashMap;

use super::dedup::{ArchiveError, Dedup, Known};
use super::journal::Writer;
use super::outlet::Frame;
use super::positions::Positions;
use super::recent::Seen;
use super::tenure::Tenure;
use crate::event::{
    Ack, Astray, EdgeName, Forwarded, Kind, Part, Position, Seq, Shed, Stray, Timer, TimerKind, UnixMillis,
};
use crate::sharing::{Adopted, Cut, Shared, Taken};
use crate::signal::{Fingerprint, Signal, Signals};

/// What the journal knows, and takes in what is new by.
pub struct Admission {
    dedup: Dedup,
    positions: Positions,
    /// Of a node that shares the state of partitions.
    tenure: Option<Tenure>,
    within_unit: HashMap<Fingerprint, u64>,
    /// What was known of each signal of a unit before its first was numbered.
    known: Vec<Known>,
}

impl Admission {
    /// Knows these identities.
    #[must_use]
    pub fn new(dedup: Dedup) -> Self {
        let (within_unit, known) = (HashMap::new(), Vec::new());
        Self { dedup, positions: Positions::default(), tenure: None, within_unit, known }
    }

    /// Goes on from where the edges' signals were taken through.
    pub fn go_on_after(&mut self, positions: Positions) {
        self.positions = positions;
    }

    /// Shares the state of partitions; what earlier runs held is held no more.
    pub fn share(&mut self, tenure: Tenure) {
        self.tenure = Some(tenure);
        self.positions = Positions::default();
    }

    /// Once a turn: lets the memory of identities do its work.
    pub fn turn(&mut self, last: Seq, lived: UnixMillis) -> Result<(), ArchiveError> {
        self.dedup.turn(last, lived)
    }

    /// Writes the edges' positions down where the segment has none of them.
    pub fn write_positions(&mut self, writer: &mut Writer) {
        self.positions.write(writer);
    }

    /// Up to where segments may go, of what is `settled`.
    #[must_use]
    pub fn kept_elsewhere(&self, writer: &Writer, settled: Seq) -> Option<Seq> {
        self.positions.are_kept(writer).then(|| settled.min(self.dedup.archived_through()))
    }

    /// The number of each signal that is known by one of these identities, in their order.
    pub fn find(&mut self, identities: &[Fingerprint]) -> Result<Vec<Option<Seq>>, ArchiveError> {
        let mut find = |identity| {
            Ok(match self.dedup.look(identity, 0)? {
                // No digest is asked for, so a conflict is as good as a repeat.
                Known::Repeat { seq } | Known::Conflict { seq } => Some(seq),
                Known::Fresh => None,
            })
        };
        identities.iter().map(&mut find).collect()
    }

    /// Why nothing is taken: as others see it, or because so many signals would not be known again.
    fn refuse(&self, shed: Option<Shed>, signals: usize) -> Option<Ack> {
        shed.or_else(|| self.dedup.is_full(signals).then_some(Shed::DedupFull)).map(Ack::Refused)
    }

    /// Takes what an ingress thread accepted.
    pub fn take_unit(
        &mut self,
        signals: Signals,
        shed: Option<Shed>,
        frame: &mut Frame<'_>,
    ) -> Result<Ack, ArchiveError> {
        if let Some(refused) = self.refuse(shed, signals.as_slice().len()) {
            return Ok(refused);
        }
        let signal = match signals {
            Signals::One(signal) => signal,
            Signals::Batch(signals) => return self.take_batch(signals, frame),
        };
        Ok(match self.dedup.look(&signal.identity, signal.digest)? {
            Known::Fresh => {
                let seq = self.take_fresh(signal, frame);
                Ack::Durable { first: seq, last: seq, duplicates: 0 }
            }
            Known::Repeat { seq } => Ack::Durable { first: seq, last: seq, duplicates: 1 },
            Known::Conflict { seq } => Ack::Conflict { index: 0, seq },
        })
    }

    /// All or none: looks at every signal of the unit before the first is numbered.
    fn take_batch(&mut self, signals: Vec<Signal>, frame: &mut Frame<'_>) -> Result<Ack, ArchiveError> {
        self.within_unit.clear();
        self.known.clear();
        for (index, signal) in signals.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let known = self.dedup.look(&signal.identity, signal.digest)?;
            if let Known::Conflict { seq } = known {
                return Ok(Ack::Conflict { index, seq });
            }
            let first = *self.within_unit.entry(signal.identity).or_insert(signal.digest);
            if first != signal.digest {
                return Ok(Ack::Conflict { index, seq: Seq(0) });
            }
            self.known.push(known);
        }
        let (mut first, mut last, mut duplicates) = (Seq(u64::MAX), Seq(0), 0);
        for (index, signal) in signals.into_iter().enumerate() {
            // What was fresh may have come once already in this unit.
            let known = match self.known[index] {
                Known::Fresh => self.dedup.look_recent(&signal.identity, signal.digest),
                known @ (Known::Repeat { .. } | Known::Conflict { .. }) => known,
            };
            let seq = match known {
                Known::Repeat { seq } | Known::Conflict { seq } => {
                    duplicates += 1;
                    seq
                }
                Known::Fresh => self.take_fresh(signal, frame),
            };
            (first, last) = (first.min(seq), last.max(seq));
        }
        Ok(Ack::Durable { first, last, duplicates })
    }

    /// What another node accepted is never refused for what it says: what was known before is passed over, and what does
    /// not fit what was known before is a dead letter.
    pub fn take_forwarded(
        &mut self,
        forwarded: Forwarded,
        shed: Option<Shed>,
        frame: &mut Frame<'_>,
    ) -> Result<Ack, ArchiveError> {
        let Forwarded { signals, astray, part } = forwarded;
        if let Some(refused) = self.refuse(shed, signals.len()) {
            return Ok(refused);
        }
        let taken = match &part {
            Some(part) => {
                let taken = self.positions.of(&part.position).unwrap_or_default();
                let elsewhere =
                    self.tenure.as_ref().is_some_and(|tenure| !tenure.holds(part.position.partition));
                if elsewhere {
                    return Ok(Ack::NotOwned);
                }
                if taken < part.behind && !part.skips {
                    return Ok(Ack::OutOfOrder);
                }
                Some(taken)
            }
            None => None,
        };
        let (mut first, mut last, mut duplicates) = (None, Seq(0), 0);
        for (number, signal) in signals {
            if taken.is_some_and(|taken| number <= taken) {
                duplicates += 1;
                continue;
            }
            let partition = part.as_ref().map(|part| part.position.partition);
            let seq = match (self.seen(partition, &signal)?, astray) {
                (Seen::Before, _) => {
                    duplicates += 1;
                    continue;
                }
                (Seen::Never, None) => {
                    crate::fault::poison(signal.id());
                    self.take_known(partition, &signal);
                    self.take_fresh(signal, frame)
                }
                (Seen::Never, Some(astray)) => {
                    self.take_known(partition, &signal);
                    self.take_stray(signal, astray, frame)
                }
                (Seen::Otherwise, _) => self.take_stray(signal, Astray::Conflict, frame),
            };
            first.get_or_insert(seq);
            last = seq;
        }
        if let Some(Part { position, .. }) = part
            && taken.is_some_and(|taken| taken < position.through)
        {
            last = self.positions.advance(frame.writer(), position);
        }
        Ok(Ack::Durable { first: first.unwrap_or(last), last, duplicates })
    }

    /// A node that shares the state of partitions asks what the shared store knows, any other its own memory.
    fn seen(&mut self, partition: Option<u16>, signal: &Signal) -> Result<Seen, ArchiveError> {
        if let (Some(tenure), Some(partition)) = (&self.tenure, partition) {
            return Ok(tenure.seen(partition, signal));
        }
        Ok(match self.dedup.look(&signal.identity, signal.digest)? {
            Known::Fresh => Seen::Never,
            Known::Repeat { .. } => Seen::Before,
            Known::Conflict { .. } => Seen::Otherwise,
        })
    }

    fn take_known(&mut self, partition: Option<u16>, signal: &Signal) {
        if let (Some(tenure), Some(partition)) = (&mut self.tenure, partition) {
            tenure.take(partition, signal);
        }
    }

    fn take_stray(&mut self, signal: Signal, why: Astray, frame: &mut Frame<'_>) -> Seq {
        let (identity, digest) = (signal.identity, signal.digest);
        let seq = frame.append(Kind::Stray(Box::new(Stray { signal, why })));
        if why != Astray::Conflict {
            self.dedup.insert(identity, digest, seq, frame.time());
        }
        seq
    }

    fn take_fresh(&mut self, signal: Signal, frame: &mut Frame<'_>) -> Seq {
        let (identity, digest) = (signal.identity, signal.digest);
        let seq = frame.append(Kind::Signal(signal));
        self.dedup.insert(identity, digest, seq, frame.time());
        seq
    }

    /// Takes a partition.
    pub fn hold(&mut self, taken: Taken, frame: &mut Frame<'_>) -> Ack {
        let Taken { hold, positions, recent } = taken;
        let Some(tenure) = &mut self.tenure else { return Ack::NotOwned };
        tenure.hold(hold.partition, hold.term, recent);
        self.positions.forget(hold.partition);
        let seq = frame.append(Kind::Hold(hold));
        for position in positions {
            self.positions.advance(frame.writer(), position);
        }
        Ack::Durable { first: seq, last: seq, duplicates: 0 }
    }

    /// Takes a governor from the shared store. What is over of its timers comes before what waits, and both before anything
    /// new.
    pub fn adopt(&mut self, adopted: Adopted, frame: &mut Frame<'_>) -> Ack {
        let Adopted { term, adopt, timers, waiting } = adopted;
        // What was read in an earlier term may have changed since.
        if self.tenure.as_ref().and_then(|tenure| tenure.term(&adopt.subject)) != Some(term) {
            return Ack::NotOwned;
        }
        let subject = adopt.subject.clone();
        let seq = frame.append(Kind::Adopt(Box::new(adopt)));
        let over = |timer: &(TimerKind, UnixMillis)| timer.1 <= frame.time();
        let over: Vec<TimerKind> = timers.into_iter().filter(over).map(|(kind, _)| kind).collect();
        for kind in over {
            frame.append(Kind::Timer(Box::new(Timer { subject: subject.clone(), kind, armed: seq })));
        }
        for signal in waiting {
            self.take_fresh(signal, frame);
        }
        Ack::Durable { first: seq, last: frame.given(), duplicates: 0 }
    }

    /// What was decided up to a number is shared; partitions that were lost are held no more.
    pub fn settle(&mut self, shared: Shared, frame: &mut Frame<'_>) -> Ack {
        let Some(tenure) = &mut self.tenure else { return Ack::NotOwned };
        tenure.lose(&shared.lost);
        for lost in &shared.lost {
            self.positions.forget(*lost);
        }
        let seq = frame.append(Kind::Shared(Box::new(shared)));
        Ack::Durable { first: seq, last: seq, duplicates: 0 }
    }

    /// What is new of the partitions that are held, since the last cut.
    pub fn cut(&mut self, frame: &mut Frame<'_>) -> Ack {
        let Some(tenure) = &mut self.tenure else { return Ack::NotOwned };
        let through = frame.cut();
        let identities = tenure.cut();
        let held = self.positions.iter().filter(|(_, partition, _)| tenure.holds(*partition));
        let position = |(edge, partition, through): (&EdgeName, _, _)| Position {
            edge: edge.clone(),
            partition,
            through,
        };
        Ack::Cut(Box::new(Cut { through, positions: held.map(position).collect(), identities }))
    }
}
