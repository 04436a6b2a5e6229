//! The way of a message that may be what ends this process: alone, and noted before; see [`Suspect`].

use std::collections::VecDeque;

use bytes::Bytes;
use lapin::message::Delivery;
use xxhash_rust::xxh3::xxh3_64;

use super::reader::Received;
use super::staging::{Batch, Staging};
use super::subscription::{DeliveryTag, Incoming};
use crate::event::{Astray, Part, Position, Seq};
use crate::kanban::broker::delivery::deliveries;
use crate::kanban::broker::message::Origin;
use crate::kanban::broker::suspect::{Care, DELIVERIES, Suspect};
use crate::signal::Signal;

/// What is taken with care over one connection.
pub struct Quarantine<'a> {
    suspect: &'a mut Suspect,
    /// A suspect that waits until nothing is under way.
    held: Option<Incoming>,
    /// A suspect is under way: nothing is taken beside it.
    alone: bool,
    /// What is left of a message that is taken signal by signal.
    pieces: VecDeque<Batch>,
}

impl<'a> Quarantine<'a> {
    #[must_use]
    pub fn new(suspect: &'a mut Suspect) -> Self {
        Self { suspect, held: None, alone: false, pieces: VecDeque::new() }
    }

    /// Whether this may be what ends this process.
    pub fn suspects(&mut self, delivery: &Delivery) -> Result<bool, String> {
        let again = delivery.redelivered && self.suspect.redelivered().map_err(|error| in_disk(&error))?;
        Ok(again || deliveries(&delivery.properties) >= DELIVERIES)
    }

    /// Lets a suspect wait until nothing is under way.
    pub fn hold(&mut self, incoming: Incoming) {
        self.held = Some(incoming);
    }

    /// The suspect that waited, once nothing is under way.
    pub fn next_held(&mut self, is_idle: bool) -> Option<Incoming> {
        if is_idle && !self.alone { self.held.take() } else { None }
    }

    /// Whether the next delivery may be taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.alone && self.held.is_none()
    }

    /// A suspect is about to be read; returns whether it must not be.
    pub fn begin_reading(&mut self, body: &Bytes) -> Result<bool, String> {
        self.suspect.begin_reading(xxh3_64(body)).map_err(|error| in_disk(&error))
    }

    /// A suspect is read, and nothing ended this process.
    pub fn end_reading(&mut self) {
        self.suspect.end_reading();
    }

    /// All of a suspect was durable before.
    pub fn repeats(&mut self, origin: &Origin) {
        self.suspect.repeats(origin);
    }

    /// Hands on a suspect: as a whole, or, where that has ended this process before, signal by signal.
    pub fn admit(
        &mut self,
        received: Received,
        (behind, skips): (Seq, bool),
        staging: &mut Staging,
    ) -> Result<(), String> {
        let Received { tag, origin, mut signals, astray, .. } = received;
        let care = if astray == Some(Astray::Poison) {
            // It was not read: its line is the one of the reading.
            Care::DeadLetter
        } else {
            self.suspect.begin(&origin, signals.len()).map_err(|error| in_disk(&error))?
        };
        signals.retain(|(number, _)| *number > behind);
        match care {
            Care::OneByOne if !signals.is_empty() => {
                self.pieces.extend(pieces(origin, signals, astray, (behind, skips), tag));
                self.next_piece(staging)
            }
            Care::Alone | Care::OneByOne | Care::DeadLetter => {
                let astray = astray.or((care == Care::DeadLetter).then_some(Astray::Poison));
                let whole = Received { tag, origin, signals, astray, suspect: true };
                staging.add_alone(whole.into_batch(behind, skips));
                self.alone = true;
                Ok(())
            }
        }
    }

    /// Everything under way is durable; so is what was taken alone, and the next signal of its message has its turn.
    pub fn settle(&mut self, staging: &mut Staging) -> Result<(), String> {
        if !std::mem::take(&mut self.alone) {
            return Ok(());
        }
        self.suspect.clear().map_err(|error| in_disk(&error))?;
        self.next_piece(staging)
    }

    fn next_piece(&mut self, staging: &mut Staging) -> Result<(), String> {
        let Some(mut piece) = self.pieces.pop_front() else { return Ok(()) };
        if let Some((Position { edge, partition, .. }, number)) = piece.first() {
            let care = self.suspect.begin_signal(edge, *partition, number);
            if care.map_err(|error| in_disk(&error))? == Care::DeadLetter {
                piece.set_aside(Astray::Poison);
            }
        }
        staging.add_alone(piece);
        self.alone = true;
        Ok(())
    }

    /// Nothing that was delivered before is in hand, nor on its way here.
    pub fn calm(&mut self) -> Result<(), String> {
        self.suspect.calm().map_err(|error| in_disk(&error))
    }

    /// Whether anything of a partition waits here.
    #[must_use]
    pub fn has(&self, partition: u16) -> bool {
        let held = self.held.iter().any(|incoming| incoming.tag.partition == partition);
        held || self.pieces.iter().any(|piece| piece.has(partition))
    }
}

/// One batch for each signal; the delivery is answered for with the last.
fn pieces(
    Origin { edge, partition, span }: Origin,
    signals: Vec<(Seq, Signal)>,
    astray: Option<Astray>,
    (mut behind, mut skips): (Seq, bool),
    tag: DeliveryTag,
) -> impl Iterator<Item = Batch> {
    let last = signals.len() - 1;
    signals.into_iter().enumerate().map(move |(at, (number, signal))| {
        let (through, tag) = if at == last { (span.through, Some(tag)) } else { (number, None) };
        let position = Position { edge: edge.clone(), partition, through };
        let part = Part { position, behind, skips };
        (behind, skips) = (number, false);
        Batch::of_edge(vec![(number, signal)], astray, part, tag)
    })
}

/// The note of what is suspected cannot be written.
fn in_disk(error: &std::io::Error) -> String {
    format!("the suspect cannot be noted: {error}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::disk::RealDisk;
    use crate::kanban::broker::consumer::staging::Staged;
    use crate::kanban::broker::consumer::tests::{part, tag, units};
    use crate::kanban::broker::message::Span;
    use crate::kanban::journal::tests::named;

    fn open(path: &Path) -> Suspect {
        Suspect::open(Arc::new(RealDisk), path).unwrap()
    }

    /// A message of the numbers 5 to 7.
    fn received() -> Received {
        let Part { position: Position { edge, partition, through }, behind, .. } = part(4, 7);
        let origin = Origin { edge, partition, span: Span { after: behind, through } };
        let signals = (5..=7).map(|number| (Seq(number), named(&format!("s-{number}"))));
        Received { tag: tag(1), origin, signals: signals.collect(), astray: None, suspect: true }
    }

    /// Numbers, why none of them is decided on, what is behind them and up to where, and whether something is left out.
    type Handed = (Vec<u64>, Option<Astray>, u64, u64, bool);

    /// What is handed on.
    fn handed(staging: &mut Staging) -> Vec<Handed> {
        let staged = std::iter::from_fn(|| staging.pop());
        let each = staged.map(|staged| {
            let Staged::Batch(batch) = staged else { panic!("nothing repeats") };
            let (forwarded, _) = batch.into_parts();
            let part = forwarded.part.unwrap();
            let numbers = forwarded.signals.iter().map(|(number, _)| number.0).collect();
            (numbers, forwarded.astray, part.behind.0, part.position.through.0, part.skips)
        });
        each.collect()
    }

    #[test]
    fn a_suspect_is_alone_until_it_is_durable() {
        let dir = tempfile::tempdir().unwrap();
        let mut suspect = open(&dir.path().join("suspect"));
        let mut quarantine = Quarantine::new(&mut suspect);
        let mut staging = Staging::default();
        assert!(quarantine.is_open());
        quarantine.admit(received(), (Seq(5), true), &mut staging).unwrap();
        assert!(!quarantine.is_open());
        // What was taken before is left out.
        assert_eq!(handed(&mut staging), [(vec![6, 7], None, 5, 7, true)]);
        quarantine.settle(&mut staging).unwrap();
        assert!(quarantine.is_open() && staging.is_empty());
    }

    #[test]
    fn what_ended_this_process_before_is_taken_signal_by_signal_and_the_one_is_a_dead_letter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("suspect");
        let mut staging = Staging::default();
        for _ in 0..3 {
            Quarantine::new(&mut open(&path)).admit(received(), (Seq(4), true), &mut staging).unwrap();
            assert_eq!(handed(&mut staging), [(vec![5, 6, 7], None, 4, 7, true)]);
        }
        // Number 6 ends the process three times more.
        for end in 0..4 {
            let mut suspect = open(&path);
            let mut quarantine = Quarantine::new(&mut suspect);
            // After the first end the journal has number 5.
            let behind = if end == 0 { (Seq(4), true) } else { (Seq(5), false) };
            quarantine.admit(received(), behind, &mut staging).unwrap();
            if end == 0 {
                assert_eq!(handed(&mut staging), [(vec![5], None, 4, 5, true)]);
                assert!(quarantine.has(0), "the delivery is answered for with its last signal");
                quarantine.settle(&mut staging).unwrap();
            }
            let poison = (end == 3).then_some(Astray::Poison);
            assert_eq!(handed(&mut staging), [(vec![6], poison, 5, 6, false)], "{end}");
            assert!(!quarantine.is_open());
            if end == 3 {
                quarantine.settle(&mut staging).unwrap();
                assert!(!quarantine.has(0));
                assert_eq!(units(&mut staging), [[1]], "the last one, with the delivery");
                quarantine.settle(&mut staging).unwrap();
                assert!(quarantine.is_open());
            }
        }
    }
}
