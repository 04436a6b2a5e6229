//! Signals that wait while a governor boots or acts: the WIP limit of one governor (promise P5), in the order of
//! acceptance (promise P3).

use std::collections::VecDeque;

use crate::event::Seq;
use crate::jidoka::rules::Rules;
use crate::signal::Signal;

/// A signal whose turn is to come, or has come.
#[derive(Clone, Debug)]
pub struct Held {
    /// The event that brought it; its receipt and its action are named by this number.
    pub seq: Seq,
    /// The number under which it was accepted: an earlier one only after a replay.
    pub accepted: Seq,
    pub signal: Signal,
}

#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: VecDeque<Held>,
    /// Sum of the bodies that wait.
    bytes: usize,
}

impl Mailbox {
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn oldest(&self) -> Option<Seq> {
        self.waiting.front().map(|held| held.seq)
    }

    /// Everything that waits came before `seq`, each after the one before it.
    pub fn is_older_than(&self, seq: Seq) -> bool {
        self.waiting.iter().is_sorted_by(|a, b| a.seq < b.seq)
            && self.waiting.back().is_none_or(|last| last.seq < seq)
    }

    /// Those that came after `seq`; all without one.
    pub fn after(&self, seq: Option<Seq>) -> impl Iterator<Item = &Held> {
        let from = seq.map_or(0, |seq| self.waiting.partition_point(|held| held.seq <= seq));
        self.waiting.range(from..)
    }

    /// Sum of the bodies that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the signal in, or gives it back when the mailbox is full.
    pub fn offer(&mut self, held: Held, rules: &Rules) -> Option<Held> {
        let bytes = self.bytes + held.signal.body().len();
        if self.waiting.len() >= rules.mailbox || bytes > rules.mailbox_bytes {
            return Some(held);
        }
        // What is counted is what is held.
        self.put(Held { signal: held.signal.alone(), ..held });
        None
    }

    /// Takes the signal in without asking: what the store gives back was counted when it came.
    pub fn put(&mut self, held: Held) {
        self.bytes += held.signal.body().len();
        self.waiting.push_back(held);
    }

    pub fn take(&mut self) -> Option<Held> {
        let held = self.waiting.pop_front()?;
        self.bytes -= held.signal.body().len();
        Some(held)
    }
}
