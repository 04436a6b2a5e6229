//! The way of a message that may be what ends this process: alone, and noted before; see [`super::suspect`].

use super::consumer::Consumer;
use super::intake::{Brought, Gathered, Taking, in_disk};
use super::message::Origin;
use super::suspect::Care;
use crate::event::{Astray, Forwarded, Part, Position, Seq};
use crate::signal::Signal;

impl Consumer {
    /// What may be what ends this process.
    pub(super) fn hand_on_with_care(
        &mut self,
        taking: &mut Taking,
        brought: Brought,
        behind: Seq,
    ) -> Result<(), String> {
        let Brought { ticket, origin, signals, astray, .. } = brought;
        let care = self.suspect.begin(&origin, signals.len()).map_err(|error| in_disk(&error))?;
        let Origin { edge, partition, span } = origin;
        let skips = taking.skips.remove(&(edge.clone(), partition));
        let position = |through| Position { edge: edge.clone(), partition, through };
        let piece = |signals, astray, behind, through, skips, tickets| {
            let part = Some(Part { position: position(through), behind, skips });
            Gathered { forwarded: Forwarded { signals, astray, part }, tickets, bytes: 0 }
        };
        let mut fresh: Vec<(Seq, Signal)> = signals.into_iter().filter(|(seq, _)| *seq > behind).collect();
        let last = fresh.pop();
        if let (Care::OneByOne, Some(last)) = (care, last.clone()) {
            let mut behind = (behind, skips);
            for (seq, signal) in fresh {
                let one = piece(vec![(seq, signal)], astray, behind.0, seq, behind.1, Vec::new());
                taking.pieces.push_back(one);
                behind = (seq, false);
            }
            let end = piece(vec![last], astray, behind.0, span.through, behind.1, vec![ticket]);
            taking.pieces.push_back(end);
            return self.next_piece(taking);
        }
        fresh.extend(last);
        let astray = astray.or((care == Care::DeadLetter).then_some(Astray::Poison));
        Self::hand_on(taking);
        taking.gathered = Some(piece(fresh, astray, behind, span.through, skips, vec![ticket]));
        taking.alone = true;
        Self::hand_on(taking);
        Ok(())
    }

    /// Hands on one signal of a message that is taken signal by signal.
    pub(super) fn next_piece(&mut self, taking: &mut Taking) -> Result<(), String> {
        let Some(mut piece) = taking.pieces.pop_front() else { return Ok(()) };
        Self::hand_on(taking);
        if let (Some(part), Some((seq, _))) = (&piece.forwarded.part, piece.forwarded.signals.first()) {
            let Position { edge, partition, .. } = &part.position;
            let care = self.suspect.begin_signal(edge, *partition, *seq).map_err(|error| in_disk(&error))?;
            let poison = (care == Care::DeadLetter).then_some(Astray::Poison);
            piece.forwarded.astray = piece.forwarded.astray.or(poison);
        }
        taking.gathered = Some(piece);
        taking.alone = true;
        Self::hand_on(taking);
        Ok(())
    }
}
