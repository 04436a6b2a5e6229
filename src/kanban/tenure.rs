//! The journal of a node that shares the state of partitions: which of them it holds, and what of them is new since the
//! last cut. What is not held is not taken. The journal's own memory does not know what became void with a lost partition,
//! so signals are known again by what the shared store says of their partition.

use std::collections::BTreeMap;

use super::recent::{Recent, Seen};
use super::stage::Stage;
use crate::event::{Ack, Arrival, EdgeName, Kind, Position, Seq, Timer, TimerKind, UnixMillis};
use crate::ring::Mark;
use crate::sharing::{Adopted, Cut, Shared, Taken, partition_of};
use crate::signal::{Fingerprint, Signal};

/// What the journal of such a node knows beside its positions.
#[derive(Debug)]
pub struct Tenure {
    partitions: u16,
    /// Each for a term, with its newest signals.
    held: BTreeMap<u16, (u64, Recent)>,
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
        recent.map_or(Seen::Never, |(_, recent)| recent.look(&signal.identity, signal.digest))
    }

    pub fn take(&mut self, partition: u16, signal: &Signal) {
        if let Some((_, recent)) = self.held.get_mut(&partition) {
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
            Arrival::Signals(..) | Arrival::Forwarded(_) | Arrival::Outcome(_) | Arrival::Timer(_) => {
                unreachable!("signals and inner events take their own way")
            }
        }
    }

    fn hold(&mut self, taken: Taken) -> Ack {
        let Taken { hold, positions, recent } = taken;
        let Some(tenure) = &mut self.tenure else { return Ack::NotOwned };
        tenure.held.insert(hold.partition, (hold.term, recent.into_iter().collect()));
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
        let Adopted { term, adopt, timers, waiting } = adopted;
        // What was read in an earlier term may have changed since.
        let now = self.tenure.as_ref().and_then(|tenure| {
            let partition = partition_of(&adopt.subject.tenant, tenure.partitions);
            tenure.held.get(&partition).map(|(term, _)| *term)
        });
        if now != Some(term) {
            return Ack::NotOwned;
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
        let Some(tenure) = &mut self.tenure else { return Ack::NotOwned };
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
        let Some(tenure) = &mut self.tenure else { return Ack::NotOwned };
        let through = self.writer.given();
        let identities = std::mem::take(&mut tenure.fresh);
        let held = self.positions.iter().filter(|(_, partition, _)| tenure.holds(*partition));
        let position = |(edge, partition, through): (&EdgeName, _, _)| Position {
            edge: edge.clone(),
            partition,
            through,
        };
        let positions = held.map(position).collect();
        self.stage_cut(through);
        Ack::Cut(Box::new(Cut { through, positions, identities }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock;
    use crate::event::{Forwarded, Part, Subject};
    use crate::kanban::journal::tests::{NOW, named};
    use crate::kanban::memory::Memory;
    use crate::kanban::take::tests::{Node, look, start};
    use crate::sharing::{Adopt, Hold};

    fn told(node: &mut Node, arrival: Arrival) -> Ack {
        node.arrivals.push(arrival).unwrap();
        node.stage.turn(clock::now(), look(NOW)).unwrap();
        node.acks.pop().unwrap()
    }

    fn taken(term: u64, through: u64, recent: Vec<(Fingerprint, u64)>) -> Arrival {
        let positions =
            vec![Position { edge: EdgeName::read("edge-1").unwrap(), partition: 0, through: Seq(through) }];
        Arrival::Taken(Box::new(Taken { hold: Hold { partition: 0, term }, positions, recent }))
    }

    fn forwarded(through: u64, id: &str) -> Arrival {
        let position =
            Position { edge: EdgeName::read("edge-1").unwrap(), partition: 0, through: Seq(through) };
        let part = Some(Part { position, behind: Seq(through - 1), skips: false });
        let signals = vec![(Seq(through), named(id))];
        Arrival::Forwarded(Box::new(Forwarded { signals, astray: None, part }))
    }

    fn lost(through: u64) -> Arrival {
        Arrival::Shared(Box::new(Shared { through: Seq(through), lost: [0].into() }))
    }

    #[test]
    fn what_is_lost_is_taken_again_and_what_was_shared_is_not() {
        let mut node = start(&Memory::default(), clock::now());
        node.stage = node.stage.sharing(Tenure::new(1, Mark::new(0)));
        assert!(matches!(told(&mut node, forwarded(1, "s-1")), Ack::NotOwned), "nothing is held");
        assert!(matches!(told(&mut node, taken(1, 0, Vec::new())), Ack::Durable { .. }));
        assert!(matches!(told(&mut node, forwarded(1, "s-1")), Ack::Durable { duplicates: 0, .. }));
        let Ack::Cut(cut) = told(&mut node, Arrival::Cut) else { panic!("a cut is answered by one") };
        assert_eq!((cut.identities.len(), cut.positions[0].through), (1, Seq(1)));
        let known = (cut.identities[0].1, cut.identities[0].2);
        assert!(matches!(told(&mut node, forwarded(2, "s-2")), Ack::Durable { duplicates: 0, .. }));
        assert!(matches!(told(&mut node, lost(cut.through.0)), Ack::Durable { .. }));
        assert!(matches!(told(&mut node, forwarded(2, "s-2")), Ack::NotOwned), "it is lost");
        // The store knows the first one; the second is void.
        told(&mut node, taken(3, 1, vec![known]));
        assert!(matches!(told(&mut node, forwarded(1, "s-1")), Ack::Durable { duplicates: 1, .. }));
        assert!(matches!(told(&mut node, forwarded(2, "s-2")), Ack::Durable { duplicates: 0, .. }));
        let other_number = told(&mut node, forwarded(3, "s-1"));
        assert!(matches!(other_number, Ack::Durable { duplicates: 1, .. }), "{other_number:?}");
    }

    #[test]
    fn a_governor_that_was_read_in_an_earlier_term_is_not_adopted() {
        let mut node = start(&Memory::default(), clock::now());
        node.stage = node.stage.sharing(Tenure::new(1, Mark::new(0)));
        let adopted = |term| {
            let subject = Subject::read("acme", "vm").unwrap();
            let adopt = Adopt::new(subject, Bytes::from_static(b"row")).unwrap();
            let timers =
                vec![(TimerKind::QuotaWindow, UnixMillis(1)), (TimerKind::QuotaWindow, UnixMillis(u64::MAX))];
            Arrival::Adopted(Box::new(Adopted { term, adopt, timers, waiting: vec![named("s-1")] }))
        };
        assert!(matches!(told(&mut node, adopted(1)), Ack::NotOwned), "nothing is held");
        told(&mut node, taken(2, 0, Vec::new()));
        assert!(matches!(told(&mut node, adopted(1)), Ack::NotOwned), "it may have changed since");
        // It comes with the timer that is over and with what waits.
        let Ack::Durable { first, last, .. } = told(&mut node, adopted(2)) else { panic!("it is adopted") };
        assert_eq!(last.0 - first.0, 2);
    }
}
