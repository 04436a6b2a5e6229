//! Where the signals that wait for a governor stand: those that began to wait in one round are one document, which is written
//! once and removed when the last of them has gone. The governor's document says which of them still wait. Pure.

use std::collections::VecDeque;

use crate::event::Seq;
use crate::limits::WAITING_DOCUMENTS_MAX;
use crate::signal::Signal;

/// The documents of one governor, in the order of their signals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waits(VecDeque<Batch>);

/// The signals of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    /// The partition's round in which they began to wait; it names the document.
    round: u64,
    /// Those of them that wait no more; they are the first ones.
    gone: usize,
    /// The others, by their numbers in this node's journal.
    left: VecDeque<Seq>,
}

/// What a governor's document says of one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub round: u64,
    pub gone: usize,
    pub left: usize,
}

/// What a round changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Documents that are needed no more.
    pub ended: Vec<u64>,
    /// How many signals, the newest ones, are the document of this round; 0 where there is none.
    pub begun: usize,
}

impl Waits {
    /// As the governor's document says; `seqs` are the numbers under which the signals were taken here.
    #[must_use]
    pub fn adopted(listed: &[Listed], mut seqs: impl Iterator<Item = Seq>) -> Self {
        let batch = |listed: &Listed| {
            let left = seqs.by_ref().take(listed.left).collect();
            Batch { round: listed.round, gone: listed.gone, left }
        };
        Self(listed.iter().map(batch).collect())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn listed(&self) -> impl Iterator<Item = Listed> {
        self.0.iter().map(|Batch { round, gone, left }| Listed {
            round: *round,
            gone: *gone,
            left: left.len(),
        })
    }

    /// Goes on to what waits now, in the round `round`.
    pub fn follow(&mut self, waiting: &[(Seq, Signal)], round: u64) -> Moved {
        let mut moved = Moved::default();
        let oldest = waiting.first().map(|(seq, _)| *seq);
        while let Some(batch) = self.0.front_mut() {
            while batch.left.pop_front_if(|seq| oldest.is_none_or(|oldest| *seq < oldest)).is_some() {
                batch.gone += 1;
            }
            if !batch.left.is_empty() {
                break;
            }
            moved.ended.push(batch.round);
            self.0.pop_front();
        }
        let mut known = self.0.iter().map(|batch| batch.left.len()).sum();
        let seqs = waiting.iter().map(|(seq, _)| seq);
        let is_known = seqs.clone().take(known).eq(self.0.iter().flat_map(|batch| &batch.left));
        // One that was adopted may have found no room: then it is no more in its place.
        if !is_known || (self.0.len() == WAITING_DOCUMENTS_MAX && waiting.len() > known) {
            moved.ended.extend(self.0.drain(..).map(|batch| batch.round));
            known = 0;
        }
        let left: VecDeque<Seq> = seqs.skip(known).copied().collect();
        moved.begun = left.len();
        if moved.begun > 0 {
            self.0.push_back(Batch { round, gone: 0, left });
        }
        moved
    }
}
