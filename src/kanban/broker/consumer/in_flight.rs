//! What was handed to the journal, up to where it may be acknowledged: the journal answers in order, and what it has counts
//! at once, or when it is shared. Pure, but for the lanes.

use std::collections::VecDeque;

use super::edge_offsets::EdgeOffsets;
use super::staging::{Staged, Staging};
use super::subscription::DeliveryTag;
use crate::event::{Ack, Arrival, Position, Seq};
use crate::ring::{Full, Receiver, Sender};

/// What was handed to the journal, or counts when everything handed before it is answered.
struct Unit {
    tags: Vec<DeliveryTag>,
    /// The journal answers it.
    handed: bool,
    through: Option<Position>,
}

/// What is on its way to being acknowledged.
#[derive(Default)]
pub struct InFlight {
    units: VecDeque<Unit>,
    /// Durable, and to be acknowledged when everything up to these events counts.
    durable: VecDeque<(Seq, Vec<DeliveryTag>)>,
}

impl InFlight {
    /// Gives the journal all units that are ready.
    pub fn hand_in(&mut self, staging: &mut Staging, arrivals: &mut Sender<Arrival>) -> Result<(), String> {
        while let Some(staged) = staging.pop() {
            let (forwarded, tags) = match staged {
                Staged::Batch(batch) => batch.into_parts(),
                Staged::Repeat(tag) => {
                    self.units.push_back(Unit { tags: vec![tag], handed: false, through: None });
                    continue;
                }
            };
            let through = forwarded.part.as_ref().map(|part| part.position.clone());
            match arrivals.push(Arrival::Forwarded(Box::new(forwarded))) {
                Ok(()) => self.units.push_back(Unit { tags, handed: true, through }),
                // Prefetch bounds what is under way, and the lane has more places than that.
                Err(Full(_)) => return Err("the journal has no room".into()),
            }
        }
        arrivals.ring();
        Ok(())
    }

    /// Hears what the journal says. What repeats something counts when that does: up to the newest event that `changed`
    /// anything.
    pub fn hear(
        &mut self,
        acks: &mut Receiver<Ack>,
        offsets: &mut EdgeOffsets,
        changed: impl Fn() -> Seq,
    ) -> Result<(), String> {
        while let Some(unit) = self.units.front() {
            let answer = if unit.handed { acks.pop() } else { None };
            if unit.handed && answer.is_none() {
                break;
            }
            let Some(Unit { tags, through, .. }) = self.units.pop_front() else { break };
            let last = match answer {
                Some(Ack::Durable { last, duplicates: 0, .. }) => last,
                // Looked at behind the answer: what is new of the unit has changed something by then.
                Some(Ack::Durable { .. }) | None => changed(),
                Some(Ack::Refused(shed)) => {
                    return Err(format!("the journal takes nothing now: {}", shed.as_str()));
                }
                Some(Ack::OutOfOrder) => return Err("a message before this one was not taken".into()),
                Some(Ack::NotOwned) => {
                    return Err("the partition of a message is no longer decided on here".into());
                }
                Some(Ack::Conflict { .. } | Ack::Cut(_)) => {
                    unreachable!("what an edge accepted is taken, in whatever form")
                }
            };
            if let Some(position) = through {
                offsets.advance(position);
            }
            self.durable.push_back((last, tags));
        }
        Ok(())
    }

    /// The next deliveries that may be acknowledged, where everything up to `through` counts.
    pub fn release(&mut self, through: Seq) -> Option<Vec<DeliveryTag>> {
        let released = self.durable.pop_front_if(|(last, _)| *last <= through);
        released.map(|(_, tags)| tags)
    }

    /// Units that the journal has not answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.units.len()
    }

    /// Whether everything is answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Whether anything of a partition is on its way.
    #[must_use]
    pub fn has(&self, partition: u16) -> bool {
        let units = self.units.iter().flat_map(|unit| &unit.tags);
        let durable = self.durable.iter().flat_map(|(_, tags)| tags);
        units.chain(durable).any(|tag| tag.partition == partition)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;

    use super::*;
    use crate::event::{EdgeName, Shed};
    use crate::kanban::broker::consumer::edge_offsets::Taken;
    use crate::kanban::broker::consumer::tests::{batch, tag};
    use crate::ring::{Bell, lane};

    struct Journal {
        in_flight: InFlight,
        offsets: EdgeOffsets,
        acks: Receiver<Ack>,
        answers: RefCell<Sender<Ack>>,
        taken: usize,
    }

    /// A journal that was handed these units, of one signal each, and then a repeat.
    fn journal(units: u64) -> Journal {
        let bell = || Arc::new(Bell::new(|| {}));
        let (mut arrivals, mut handed) = lane(8, bell());
        let (answers, acks) = lane(8, bell());
        let mut staging = Staging::default();
        (0..units).for_each(|after| staging.add_alone(batch(after, after + 1)));
        staging.add_repeat(tag(99));
        let mut in_flight = InFlight::default();
        in_flight.hand_in(&mut staging, &mut arrivals).unwrap();
        let taken = std::iter::from_fn(|| handed.pop()).count();
        Journal {
            in_flight,
            offsets: EdgeOffsets::new(Taken::new()),
            acks,
            answers: RefCell::new(answers),
            taken,
        }
    }

    impl Journal {
        fn answers(&self, ack: Ack) {
            self.answers.borrow_mut().push(ack).unwrap();
        }

        fn hear(&mut self, changed: u64) -> Result<(), String> {
            self.in_flight.hear(&mut self.acks, &mut self.offsets, || Seq(changed))
        }

        /// What may be acknowledged.
        fn released(&mut self, through: u64) -> Vec<u64> {
            let released = std::iter::from_fn(|| self.in_flight.release(Seq(through)));
            released.flatten().map(|tag| tag.number).collect()
        }
    }

    fn durable(last: u64, duplicates: u32) -> Ack {
        Ack::Durable { first: Seq(last), last: Seq(last), duplicates }
    }

    #[test]
    fn what_is_durable_is_released_in_order_when_it_counts() {
        let mut journal = journal(2);
        assert_eq!((journal.taken, journal.in_flight.len()), (2, 3));
        journal.hear(0).unwrap();
        assert_eq!(journal.released(u64::MAX), [0; 0], "nothing is durable");
        journal.answers(durable(10, 0));
        journal.hear(10).unwrap();
        assert_eq!(journal.released(9), [0; 0], "it does not count yet");
        assert!(journal.in_flight.has(0) && !journal.in_flight.has(1));
        assert_eq!(journal.released(10), [1]);
        journal.answers(durable(11, 0));
        // The repeat counts with what it repeats.
        journal.hear(14).unwrap();
        assert!(journal.in_flight.is_empty());
        assert_eq!(journal.released(13), [2]);
        assert_eq!(journal.released(14), [99]);
        assert!(!journal.in_flight.has(0));
        let edge = EdgeName::read("edge-1").unwrap();
        assert_eq!(journal.offsets.taken().get(&(edge, 0)), Some(&Seq(2)));
    }

    #[test]
    fn a_unit_that_is_partly_a_repeat_counts_with_what_is_new_of_it() {
        let Journal { mut in_flight, mut offsets, mut acks, answers, .. } = journal(1);
        let looks = Cell::new(0);
        // The journal answers just after somebody looked: what is new of the unit is event 12.
        let changed = || {
            let seen = if looks.replace(looks.get() + 1) == 0 { Seq(10) } else { Seq(12) };
            if seen == Seq(10) {
                answers.borrow_mut().push(durable(12, 1)).unwrap();
            }
            seen
        };
        in_flight.hear(&mut acks, &mut offsets, changed).unwrap();
        if looks.get() == 0 {
            let _before = changed();
            in_flight.hear(&mut acks, &mut offsets, changed).unwrap();
        }
        assert_eq!(in_flight.release(Seq(11)), None, "event 12 does not count yet");
        assert_eq!(in_flight.release(Seq(12)), Some(vec![tag(1)]));
    }

    #[test]
    fn what_the_journal_does_not_take_ends_the_connection_and_is_not_released() {
        for refused in [Ack::Refused(Shed::DiskLow), Ack::OutOfOrder, Ack::NotOwned] {
            let mut journal = journal(2);
            journal.answers(durable(10, 0));
            journal.answers(refused);
            assert!(journal.hear(10).is_err());
            assert_eq!(journal.released(u64::MAX), [1]);
            // What comes after it was answered as well.
            assert_eq!(journal.in_flight.len(), 1);
            let edge = EdgeName::read("edge-1").unwrap();
            assert_eq!(journal.offsets.taken().get(&(edge, 0)), Some(&Seq(1)));
        }
    }

    #[test]
    fn a_lane_without_room_ends_the_connection() {
        let bell = || Arc::new(Bell::new(|| {}));
        let (mut arrivals, _handed) = lane(1, bell());
        let mut staging = Staging::default();
        (0..9).for_each(|after| staging.add_alone(batch(after, after + 1)));
        assert!(InFlight::default().hand_in(&mut staging, &mut arrivals).is_err());
    }
}
