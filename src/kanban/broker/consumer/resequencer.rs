//! The order of numbers by edge and partition, and since when one of them waits for what is missing. Pure.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::event::{EdgeName, Seq};
use crate::kanban::broker::message::Span;
use crate::kanban::broker::order::{Order, Verdict};
use crate::limits::{GAP_WAIT, POSITIONS_MAX};

/// An edge, and one of its partitions.
pub type Key = (EdgeName, u16);

/// The order of each edge and partition.
#[derive(Debug)]
pub struct Resequencer<T> {
    edges: HashMap<Key, Sequence<T>>,
}

#[derive(Debug)]
struct Sequence<T> {
    order: Order<T>,
    /// Since when something waits for what is missing before it.
    waiting: Option<Instant>,
}

impl<T> Sequence<T> {
    fn new(through: Option<Seq>) -> Self {
        Self { order: Order::new(through), waiting: None }
    }
}

impl<T> Resequencer<T> {
    /// Goes on behind what is durable.
    pub fn new<'a>(taken: impl IntoIterator<Item = (&'a Key, &'a Seq)>) -> Self {
        let edges = taken.into_iter().map(|(key, through)| (key.clone(), Sequence::new(Some(*through))));
        Self { edges: edges.collect() }
    }

    /// Looks at a message that was delivered. After one that is taken, those that waited for it have their turn: [`Self::next`].
    ///
    /// # Errors
    /// In words, where there are too many edges and partitions.
    pub fn offer(&mut self, key: &Key, span: Span, message: T, now: Instant) -> Result<Verdict<T>, String> {
        if !self.edges.contains_key(key) && self.edges.len() >= POSITIONS_MAX {
            return Err(format!("there are more than {POSITIONS_MAX} edges and partitions"));
        }
        let sequence = self.edges.entry(key.clone()).or_insert_with(|| Sequence::new(None));
        let verdict = sequence.order.offer(span, message);
        if let Verdict::Held = verdict {
            sequence.waiting.get_or_insert(now);
        }
        Ok(verdict)
    }

    /// What waited and has its turn, or is a repeat by now. Whatever waits on does so from now on.
    pub fn next(&mut self, key: &Key, now: Instant) -> Option<Verdict<T>> {
        let Sequence { order, waiting } = self.edges.get_mut(key)?;
        if let Some((span, message)) = order.ready() {
            return Some(order.offer(span, message));
        }
        *waiting = (order.held() > 0).then_some(now);
        None
    }

    /// Takes an edge as known that another node took the signals of, up to `after`.
    pub fn adopt(&mut self, key: &Key, after: Seq) {
        if let Some(sequence) = self.edges.get_mut(key) {
            sequence.order.adopt(after);
        }
    }

    /// One that has waited for too long, and behind which number.
    #[must_use]
    pub fn late(&self, now: Instant) -> Option<(Key, Seq)> {
        let late = |since: Instant| now.saturating_duration_since(since) > GAP_WAIT;
        let (key, sequence) = self.edges.iter().find(|(_, sequence)| sequence.waiting.is_some_and(late))?;
        Some((key.clone(), sequence.order.through()))
    }

    /// Whether what is missing may stand behind what waits for it.
    #[must_use]
    pub fn is_out_of_order(&self, key: &Key) -> bool {
        self.edges.get(key).is_some_and(|sequence| sequence.order.is_out_of_order())
    }

    /// Gives up what is missing. Returns the numbers that are not there; then what waited for them has its turn.
    pub fn skip(&mut self, key: &Key) -> Option<Span> {
        self.edges.get_mut(key)?.order.skip()
    }

    /// Forgets a partition that is not owned.
    pub fn forget(&mut self, partition: u16) {
        self.edges.retain(|(_, of), _| *of != partition);
    }

    /// Goes on in a partition from where another node has come.
    pub fn restart(&mut self, partition: u16, from: &[(EdgeName, Seq)]) {
        self.forget(partition);
        let begun =
            from.iter().map(|(edge, through)| ((edge.clone(), partition), Sequence::new(Some(*through))));
        self.edges.extend(begun);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str, partition: u16) -> Key {
        (EdgeName::read(name).unwrap(), partition)
    }

    fn span(after: u64, through: u64) -> Span {
        Span { after: Seq(after), through: Seq(through) }
    }

    fn take(message: char, behind: u64, skips: bool) -> Verdict<char> {
        Verdict::Take { message, behind: Seq(behind), skips }
    }

    #[test]
    fn what_waited_has_its_turn_and_each_edge_and_partition_is_by_itself() {
        let now = Instant::now();
        let (one, other) = (key("edge-1", 0), key("edge-1", 1));
        let mut resequencer = Resequencer::new([(&one, &Seq(4))]);
        assert_eq!(resequencer.offer(&one, span(6, 9), 'b', now), Ok(Verdict::Held));
        assert_eq!(resequencer.offer(&other, span(0, 3), 'x', now), Ok(take('x', 0, false)));
        assert_eq!(resequencer.next(&other, now), None);
        assert_eq!(resequencer.offer(&one, span(4, 6), 'a', now), Ok(take('a', 4, false)));
        assert_eq!(resequencer.next(&one, now), Some(take('b', 6, false)));
        assert_eq!(resequencer.next(&one, now), None);
        assert_eq!(resequencer.late(now + GAP_WAIT * 2), None);
        assert_eq!(resequencer.offer(&one, span(6, 9), 'b', now), Ok(Verdict::Repeat('b')));
    }

    #[test]
    fn what_is_missing_for_too_long_is_skipped_once() {
        let now = Instant::now();
        let edge = key("edge-1", 0);
        let mut resequencer = Resequencer::new([(&edge, &Seq(4))]);
        assert_eq!(resequencer.offer(&edge, span(6, 9), 'b', now), Ok(Verdict::Held));
        // A repeat in between makes nobody wait longer.
        let later = now + GAP_WAIT / 2;
        assert_eq!(resequencer.offer(&edge, span(1, 3), 'r', later), Ok(Verdict::Repeat('r')));
        assert_eq!(resequencer.offer(&edge, span(12, 13), 'd', later), Ok(Verdict::Held));
        assert_eq!(resequencer.late(now + GAP_WAIT), None);
        let late = now + GAP_WAIT + Duration::from_millis(1);
        assert_eq!(resequencer.late(late), Some((edge.clone(), Seq(4))));
        assert_eq!(resequencer.skip(&edge), Some(span(4, 6)));
        assert_eq!(resequencer.next(&edge, late), Some(take('b', 6, true)));
        assert_eq!(resequencer.next(&edge, late), None);
        // What waits for the next gap begins to wait anew.
        assert_eq!(resequencer.late(late + GAP_WAIT), None);
        assert_eq!(resequencer.skip(&edge), Some(span(9, 12)));
        assert_eq!(resequencer.next(&edge, late), Some(take('d', 12, true)));
    }

    #[test]
    fn a_partition_begins_anew_where_another_node_has_come() {
        let now = Instant::now();
        let (one, other) = (key("edge-1", 0), key("edge-2", 1));
        let mut resequencer = Resequencer::new([(&one, &Seq(4)), (&other, &Seq(4))]);
        assert_eq!(resequencer.offer(&one, span(6, 9), 'b', now), Ok(Verdict::Held));
        resequencer.restart(0, &[(one.0.clone(), Seq(6))]);
        assert_eq!(resequencer.late(now + GAP_WAIT * 2), None, "what waited is forgotten");
        assert_eq!(resequencer.offer(&one, span(6, 9), 'b', now), Ok(take('b', 6, false)));
        assert_eq!(resequencer.offer(&other, span(4, 5), 'x', now), Ok(take('x', 4, false)));
        resequencer.forget(0);
        assert_eq!(resequencer.offer(&one, span(9, 10), 'c', now), Ok(Verdict::Stranger('c')));
        resequencer.adopt(&one, Seq(9));
        assert_eq!(resequencer.offer(&one, span(9, 10), 'c', now), Ok(take('c', 9, true)));
    }

    #[test]
    fn edges_are_bounded() {
        let now = Instant::now();
        let mut resequencer = Resequencer::new([]);
        for number in 0..POSITIONS_MAX {
            let edge = key(&format!("edge-{number}"), 0);
            assert!(resequencer.offer(&edge, span(0, 1), 'a', now).is_ok());
        }
        assert!(resequencer.offer(&key("edge-more", 0), span(0, 1), 'a', now).is_err());
        assert!(resequencer.offer(&key("edge-0", 0), span(1, 2), 'a', now).is_ok());
    }
}
