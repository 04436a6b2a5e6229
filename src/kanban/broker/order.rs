//! Puts what comes from one edge and partition into the edge's order, and knows what came before. Pure.
//!
//! A broker gives a message again after a broken connection, and may give it late. So nothing is taken by the order of
//! delivery: a message is taken when everything behind which it stands was taken, it is a repeat when all of it was,
//! and it waits when something between is missing.

use std::collections::BTreeMap;

use super::message::Span;
use crate::event::Seq;

/// What was taken of one edge and partition, and what waits for its turn.
#[derive(Debug)]
pub struct Order<T> {
    /// `None` before the first message of an edge that is not known.
    through: Option<Seq>,
    /// By what they stand behind.
    held: BTreeMap<(Seq, Seq), T>,
    /// What is missing before the next one will not come.
    skips: bool,
    /// One of those that wait came behind one that follows it.
    is_out_of_order: bool,
}

/// What a message is now.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// To be taken: its signals behind this number; with `skips` though what is missing before it will not come.
    Take { message: T, behind: Seq, skips: bool },
    /// All of it was taken.
    Repeat(T),
    /// It was delivered again while it waits: one delivery of the two is enough. This is the earlier one.
    Twin(T),
    /// It waits for what is missing before it.
    Held,
    /// The edge is not known here, and what it sent before was taken by somebody else.
    Stranger(T),
}

impl<T> Order<T> {
    /// Goes on behind `through`.
    #[must_use]
    pub fn new(through: Option<Seq>) -> Self {
        Self { through, held: BTreeMap::new(), skips: false, is_out_of_order: false }
    }

    /// Looks at a message that was delivered.
    pub fn offer(&mut self, span: Span, message: T) -> Verdict<T> {
        let through = match self.through {
            Some(through) => through,
            None if span.after == Seq(0) => Seq(0),
            None => return Verdict::Stranger(message),
        };
        if span.through <= through {
            return Verdict::Repeat(message);
        }
        if span.after > through {
            self.is_out_of_order |=
                self.held.keys().next_back().is_some_and(|(after, _)| *after > span.after);
            return match self.held.insert((span.after, span.through), message) {
                None => Verdict::Held,
                Some(twin) => Verdict::Twin(twin),
            };
        }
        self.through = Some(span.through);
        Verdict::Take { message, behind: through, skips: std::mem::take(&mut self.skips) }
    }

    /// The next of those that waited whose turn has come.
    pub fn ready(&mut self) -> Option<(Span, T)> {
        let through = self.through?;
        let first = self.held.first_entry().filter(|first| first.key().0 <= through)?;
        let ((after, through), message) = first.remove_entry();
        self.is_out_of_order &= !self.held.is_empty();
        Some((Span { after, through }, message))
    }

    /// Everything up to here was taken.
    #[must_use]
    pub fn through(&self) -> Seq {
        self.through.unwrap_or_default()
    }

    /// How many wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether the queue has lost the edge's order, so that what is missing may stand behind what waits.
    #[must_use]
    pub fn is_out_of_order(&self) -> bool {
        self.is_out_of_order
    }

    /// Gives up what is missing before the first that waits. Returns the numbers that are not there.
    pub fn skip(&mut self) -> Option<Span> {
        let after = self.held.keys().next()?.0;
        let missing = Span { after: self.through.unwrap_or_default(), through: after };
        (self.through, self.skips) = (Some(after), true);
        Some(missing)
    }

    /// Takes an edge as known that others took the signals of, up to `after`.
    pub fn adopt(&mut self, after: Seq) {
        (self.through, self.skips) = (Some(after), true);
    }
}
