//! What was read goes to the journal, and is acknowledged when the journal has it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use lapin::options::BasicAckOptions;

use super::consumer::{Consumer, with_deadline};
use super::intake::{Gathered, Ready, Taking, Unit, in_disk};
use crate::event::{Ack, Arrival, Position, Subject};
use crate::limits::{ACK_AFTER, ACK_MESSAGES};
use crate::ring::Full;

/// Whose signals these are, by partition.
fn subjects(ready: &VecDeque<Ready>) -> BTreeMap<u16, HashSet<Subject>> {
    let mut subjects: BTreeMap<u16, HashSet<Subject>> = BTreeMap::new();
    for ready in ready {
        let Ready::Unit(Gathered { forwarded, .. }) = ready else { continue };
        let Some(part) = &forwarded.part else { continue };
        let of = forwarded.signals.iter().map(|(_, signal)| Subject::from(signal));
        subjects.entry(part.position.partition).or_default().extend(of);
    }
    subjects
}

impl Consumer {
    /// Gives the journal what is ready, its governors first where they are shared.
    pub(super) async fn push_ready(&mut self, taking: &mut Taking) -> Result<(), String> {
        if taking.ready.is_empty() {
            return Ok(());
        }
        if let Some(sharer) = &taking.sharer {
            for (partition, subjects) in subjects(&taking.ready) {
                let subjects: Vec<Subject> = subjects.into_iter().collect();
                sharer.load(partition, &subjects).await.map_err(|error| error.to_string())?;
            }
        }
        for ready in taking.ready.drain(..) {
            let Gathered { forwarded, tickets, .. } = match ready {
                Ready::Unit(gathered) => gathered,
                Ready::Repeat(ticket) => {
                    taking.units.push_back(Unit { tickets: vec![ticket], handed: false, through: None });
                    continue;
                }
            };
            let through = forwarded.part.as_ref().map(|part| part.position.clone());
            match self.lanes.arrivals.push(Arrival::Forwarded(Box::new(forwarded))) {
                Ok(()) => taking.units.push_back(Unit { tickets, handed: true, through }),
                // Prefetch bounds what is under way, and the lane has more places than that.
                Err(Full(_)) => return Err("the journal has no room".into()),
            }
        }
        self.lanes.arrivals.ring();
        Ok(())
    }

    /// Hears what the journal says.
    pub(super) fn answered(&mut self, taking: &mut Taking) -> Result<(), String> {
        while let Some(unit) = taking.units.front() {
            // What repeats something may be acknowledged when that may be.
            let mut last = taking.sharer.as_ref().map(|sharer| sharer.changed());
            if unit.handed {
                match self.lanes.acks.pop() {
                    None => break,
                    Some(Ack::Durable { last: own, duplicates: 0, .. }) => last = last.map(|_| own),
                    Some(Ack::Durable { .. }) => {}
                    Some(Ack::Refused(shed)) => {
                        taking.units.pop_front();
                        return Err(format!("the journal takes nothing now: {}", shed.as_str()));
                    }
                    Some(Ack::OutOfOrder) => {
                        taking.units.pop_front();
                        return Err("a message before this one was not taken".into());
                    }
                    Some(Ack::NotOwned) => {
                        taking.units.pop_front();
                        return Err("the partition of a message is no longer decided on here".into());
                    }
                    Some(Ack::Conflict { .. } | Ack::Cut(_)) => {
                        unreachable!("what an edge accepted is taken, in whatever form")
                    }
                }
            }
            let Some(Unit { tickets, through, .. }) = taking.units.pop_front() else { break };
            if let Some(Position { edge, partition, through }) = through {
                let taken = self.taken.entry((edge, partition)).or_default();
                *taken = through.max(*taken);
            }
            match last {
                Some(_) if crate::fault::planted("ack-before-shared") => taking.done(&tickets),
                Some(last) => taking.unshared.push_back((last, tickets)),
                None => taking.done(&tickets),
            }
        }
        taking.shared();
        if taking.units.is_empty() && std::mem::take(&mut taking.alone) {
            self.suspect.clear().map_err(|error| in_disk(&error))?;
            self.next_piece(taking)?;
        }
        Ok(())
    }

    /// Acknowledges, of each channel, everything up to the first that is not durable: many at once, since each acknowledgement is
    /// work for all replicas of the queue; with `at_once` whatever there is.
    pub(super) async fn acknowledge(&mut self, taking: &mut Taking, at_once: bool) -> Result<(), String> {
        let many = usize::from(self.prefetch / 2).clamp(1, ACK_MESSAGES);
        let mut unacked = 0;
        for intake in &mut taking.intakes {
            intake.count_ready();
            let waited = intake.ready_since.is_some_and(|since| since.elapsed() >= ACK_AFTER);
            if intake.ready >= many || waited || (at_once && intake.ready > 0) {
                let (last, count) =
                    (intake.outstanding.drain(..intake.ready).next_back(), intake.ready as u64);
                (intake.ready, intake.ready_since) = (0, None);
                if let Some((tag, _)) = last {
                    intake.redelivered = intake.redelivered.filter(|redelivered| *redelivered > tag);
                    let ack = intake.channel.basic_ack(tag, BasicAckOptions { multiple: true });
                    with_deadline("takes no acknowledgement", ack).await?;
                    self.marks.messages.publish(self.marks.messages.read() + count);
                }
            }
            unacked += intake.outstanding.len();
        }
        self.marks.unacked.publish(unacked as u64);
        if taking.is_calm() {
            self.suspect.calm().map_err(|error| in_disk(&error))?;
        }
        Ok(())
    }
}
