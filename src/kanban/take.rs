//! Which signals of a unit are new: the known are told from the new before any is numbered (promise P2).

#[cfg(test)]
pub(super) mod tests;

use super::dedup::Known;
use super::recent::Seen;
use super::stage::{Fatal, Stage};
use crate::event::{Ack, Astray, Forwarded, Kind, Part, Seq, Stray};
use crate::signal::{Signal, Signals};

impl Stage {
    pub(super) fn take_unit(&mut self, signals: Signals) -> Result<Ack, Fatal> {
        if let Some(shed) = self.shed(signals.as_slice().len()) {
            return Ok(Ack::Refused(shed));
        }
        let signal = match signals {
            Signals::One(signal) => signal,
            Signals::Batch(signals) => return self.take_batch(signals),
        };
        Ok(match self.dedup.look(&signal.identity, signal.digest)? {
            Known::Fresh => {
                let seq = self.take_fresh(signal);
                Ack::Durable { first: seq, last: seq, duplicates: 0 }
            }
            Known::Repeat { seq } => Ack::Durable { first: seq, last: seq, duplicates: 1 },
            Known::Conflict { seq } => Ack::Conflict { index: 0, seq },
        })
    }

    /// All or none: looks at every signal of the unit before the first is numbered.
    fn take_batch(&mut self, signals: Vec<Signal>) -> Result<Ack, Fatal> {
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
                Known::Fresh => self.take_fresh(signal),
            };
            (first, last) = (first.min(seq), last.max(seq));
        }
        Ok(Ack::Durable { first, last, duplicates })
    }

    /// What another node accepted is never refused for what it says: what was known before is passed over, and what does
    /// not fit what was known before is a dead letter.
    pub(super) fn take_forwarded(&mut self, forwarded: Forwarded) -> Result<Ack, Fatal> {
        let Forwarded { signals, astray, part } = forwarded;
        if let Some(shed) = self.shed(signals.len()) {
            return Ok(Ack::Refused(shed));
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
                    self.take_fresh(signal)
                }
                (Seen::Never, Some(astray)) => {
                    self.take_known(partition, &signal);
                    self.take_stray(signal, astray)
                }
                (Seen::Otherwise, _) => self.take_stray(signal, Astray::Conflict),
            };
            first.get_or_insert(seq);
            last = seq;
        }
        if let Some(Part { position, .. }) = part
            && taken.is_some_and(|taken| taken < position.through)
        {
            last = self.positions.advance(&mut self.writer, &position);
        }
        Ok(Ack::Durable { first: first.unwrap_or(last), last, duplicates })
    }

    /// A node that shares the state of partitions asks what the shared store knows, any other its own memory.
    fn seen(&mut self, partition: Option<u16>, signal: &Signal) -> Result<Seen, Fatal> {
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

    fn take_stray(&mut self, signal: Signal, why: Astray) -> Seq {
        let seq = self.writer.stray(&signal, why);
        if why != Astray::Conflict {
            self.dedup.insert(signal.identity, signal.digest, seq, self.writer.time());
        }
        self.stage(seq, Kind::Stray(Box::new(Stray { signal, why })));
        seq
    }

    fn take_fresh(&mut self, signal: Signal) -> Seq {
        let seq = self.writer.signal(&signal);
        self.dedup.insert(signal.identity, signal.digest, seq, self.writer.time());
        self.stage(seq, Kind::Signal(signal));
        seq
    }
}
