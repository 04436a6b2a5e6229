//! Which signals of a unit are new: the known are told from the new before any is numbered (promise P2).

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
                known => known,
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
                if elsewhere || (taken < part.behind && !part.skips) {
                    return Ok(Ack::Behind);
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

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::{self, Instant};
    use crate::event::{Arrival, Position, UnixMillis};
    use crate::kaizen::Collector;
    use crate::kanban::dedup::{self, Background, Dedup};
    use crate::kanban::journal::record::Decoder;
    use crate::kanban::journal::tests::{NOW, named};
    use crate::kanban::journal::{Damage, scan};
    use crate::kanban::memory::Memory;
    use crate::kanban::stage::{Lanes, Marks, Place, Port};
    use crate::line::recovery;
    use crate::ring::{Bell, Mark, Receiver, Sender, Switch, lane};
    use crate::signal::Fingerprint;

    const DATA: &str = "data";
    const SIGNALS: u64 = 900;
    /// Signals that one message brings.
    const MESSAGE: u64 = 30;

    /// A processor's journal, and the two lanes of its consumer.
    pub struct Node {
        pub stage: Stage,
        pub arrivals: Sender<Arrival>,
        pub acks: Receiver<Ack>,
        settled: Mark,
    }

    pub fn start(disk: &Memory, now: Instant) -> Node {
        let (shared, data_dir) = (disk.shared(), Path::new(DATA));
        let settings = dedup::Settings { capacity: 2000, horizon_millis: 1000 };
        let dir = recovery::dedup_dir(data_dir);
        let mut dedup = Dedup::open(Arc::clone(&shared), &dir, settings, Background::Inline).unwrap();
        let nobody = &mut |_, _| {};
        let replayed = recovery::replay(&shared, data_dir, Seq(0), &mut dedup, 0, None, nobody).unwrap();
        let writer = recovery::write_on(&shared, data_dir, 1 << 16, false, replayed.end, NOW).unwrap();
        let bell = || Arc::new(Bell::new(|| {}));
        let (arrivals, taken) = lane(8, bell());
        let (answers, acks) = lane(8, bell());
        let lanes = Lanes {
            ports: vec![Port { arrivals: taken, acks: answers }],
            inner: Vec::new(),
            orders: lane(1, bell()).1,
            shards: Vec::new(),
            follower: None,
            queries: lane(1, bell()).1,
        };
        let zero = || Mark::new(0);
        let settled = zero();
        let marks = Marks {
            durable: zero(),
            written: zero(),
            settled: settled.clone(),
            disk_low: zero(),
            backlog_full: zero(),
            drain: Switch::new(),
        };
        let place = Place { disk: shared, data_dir: DATA.into(), low_water_bytes: 0, backlog_bytes: None };
        let recorder = Collector::new().unwrap().recorder().unwrap();
        let stage = Stage::new(place, writer, dedup, lanes, marks, recorder, now).after(replayed.positions);
        Node { stage, arrivals, acks, settled }
    }

    fn positions(disk: &Memory) -> crate::kanban::positions::Positions {
        let settings = dedup::Settings { capacity: 2000, horizon_millis: 1000 };
        let dir = recovery::dedup_dir(Path::new(DATA));
        let mut dedup = Dedup::open(disk.copy().shared(), &dir, settings, Background::Inline).unwrap();
        let (shared, data_dir, nobody) = (disk.copy().shared(), Path::new(DATA), &mut |_, _| {});
        recovery::replay(&shared, data_dir, Seq(0), &mut dedup, 0, None, nobody).unwrap().positions
    }

    /// The numbers of each edge that are in the journal, in its order.
    fn taken(disk: &Memory) -> HashMap<String, Vec<u64>> {
        let mut taken: HashMap<String, Vec<u64>> = HashMap::new();
        let read =
            scan(disk, &recovery::journal_dir(Path::new(DATA)), |_, records, _, _| -> Result<(), Damage> {
                let mut decoder = Decoder::new(records);
                while let Some(kind) = decoder.next_kind().unwrap() {
                    if let Kind::Signal(signal) = kind {
                        let (edge, number) = signal.id().split_once('/').unwrap();
                        taken.entry(edge.to_owned()).or_default().push(number.parse().unwrap());
                    }
                }
                Ok(())
            });
        read.unwrap();
        taken
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Messages of two edges in any order, again and again, cut anywhere, with kills in between: each number is
        /// taken once and in order, though no identity tells a repeat.
        #[test]
        fn whatever_is_handed_over_each_number_is_taken_once_and_in_order(
            deliveries in prop::collection::vec((0u8..2, 0..SIGNALS / MESSAGE, 1..=MESSAGE, 0u8..12), 1..200)
        ) {
            let disk = Memory::default();
            let mut now = clock::now();
            let mut node = start(&disk, now);
            let mut identities = 0_u64;
            let in_the_end = (0..SIGNALS / MESSAGE).flat_map(|at| [(0, at, MESSAGE, 1), (1, at, MESSAGE, 1)]);
            for (edge, at, length, then) in deliveries.into_iter().chain(in_the_end) {
                let edge = format!("edge-{edge}");
                let (after, through) = (Seq(at * MESSAGE), Seq(at * MESSAGE + length));
                let signals = (after.0 + 1..=through.0).map(|number| {
                    identities += 1;
                    let mut signal = named(&format!("{edge}/{number}"));
                    signal.identity = Fingerprint(u128::from(identities).to_le_bytes());
                    (Seq(number), signal)
                });
                let position = Position { edge: edge.as_str().into(), partition: 0, through };
                let part = Some(Part { position, behind: after, skips: false });
                let forwarded = Forwarded { signals: signals.collect(), astray: None, part };
                node.arrivals.push(Arrival::Forwarded(Box::new(forwarded))).unwrap();
                now += Duration::from_millis(400);
                node.stage.turn(now, UnixMillis(NOW.0 + identities)).unwrap();
                let answered = matches!(node.acks.pop(), Some(Ack::Durable { .. } | Ack::Behind));
                prop_assert!(answered);
                match then {
                    // Killed: only what is durable is left.
                    0 => node = start(&disk, now),
                    // Everything is decided; segments that nobody needs may go.
                    2 => node.settled.publish(u64::MAX),
                    _ => {}
                }
            }
            let taken = taken(&disk);
            let ends: Vec<(String, Seq)> =
                positions(&disk).iter().map(|(edge, _, through)| (edge.to_owned(), through)).collect();
            prop_assert_eq!(ends, ["edge-0", "edge-1"].map(|edge| (edge.to_owned(), Seq(SIGNALS))));
            // Segments with the first ones may be gone.
            for (edge, numbers) in taken {
                prop_assert_eq!(*numbers.last().unwrap(), SIGNALS);
                let all: Vec<u64> = (numbers[0]..=SIGNALS).collect();
                prop_assert_eq!(numbers, all, "{}: once, in order, without a gap", edge);
            }
        }
    }
}
