//! Signals that wait while a governor boots or acts: the WIP limit of one governor (promise P5), in the order of
//! acceptance (promise P3).

use std::collections::VecDeque;

use bytes::Bytes;

use super::super::rules::Rules;
use crate::event::Seq;
use crate::signal::Signal;

#[derive(Debug, Default)]
pub(super) struct Mailbox {
    waiting: VecDeque<(Seq, Signal)>,
    /// Sum of the bodies that wait.
    bytes: usize,
}

impl Mailbox {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn oldest(&self) -> Option<Seq> {
        self.waiting.front().map(|(seq, _)| *seq)
    }

    /// Everything that waits came before `seq`, each after the one before it.
    pub(super) fn is_older_than(&self, seq: Seq) -> bool {
        self.waiting.iter().is_sorted_by(|a, b| a.0 < b.0)
            && self.waiting.back().is_none_or(|last| last.0 < seq)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Seq, Signal)> {
        self.waiting.iter()
    }

    /// Takes the signal in, or gives it back when the mailbox is full.
    pub(super) fn offer(&mut self, seq: Seq, signal: Signal, rules: &Rules) -> Option<Signal> {
        let bytes = self.bytes + signal.body.len();
        if self.waiting.len() >= rules.mailbox || bytes > rules.mailbox_bytes {
            return Some(signal);
        }
        self.put(seq, alone(signal));
        None
    }

    /// Takes the signal in without asking: what the store gives back was counted when it came.
    pub(super) fn put(&mut self, seq: Seq, signal: Signal) {
        self.bytes += signal.body.len();
        self.waiting.push_back((seq, signal));
    }

    pub(super) fn take(&mut self) -> Option<(Seq, Signal)> {
        let (seq, signal) = self.waiting.pop_front()?;
        self.bytes -= signal.body.len();
        Some((seq, signal))
    }
}

/// The signal with a body of its own. A body usually is a slice of a whole request or of a connection's buffer,
/// and one that waits must not keep all of that alive: what is counted is what is held.
pub(super) fn alone(mut signal: Signal) -> Signal {
    signal.body = Bytes::copy_from_slice(&signal.body);
    signal
}
