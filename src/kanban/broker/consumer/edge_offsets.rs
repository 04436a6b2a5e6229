//! How far the signals of each edge and partition have come, from one connection to the next. Pure.

use std::collections::{HashMap, HashSet};

use crate::event::{EdgeName, Position, Seq};

/// Through which number the journal has taken the signals of each edge and partition.
pub type Taken = HashMap<(EdgeName, u16), Seq>;

/// What one connection leaves to the next.
#[derive(Debug)]
pub struct EdgeOffsets {
    /// What is durable.
    taken: Taken,
    /// What was missing over one connection, by the number before it.
    missed: HashSet<((EdgeName, u16), Seq)>,
    /// What is missing may stand behind more messages than a connection takes in.
    deeper: bool,
}

impl EdgeOffsets {
    #[must_use]
    pub fn new(taken: Taken) -> Self {
        Self { taken, missed: HashSet::new(), deeper: false }
    }

    #[must_use]
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// Everything up to here is durable.
    pub fn advance(&mut self, position: Position) {
        let Position { edge, partition, through } = position;
        let taken = self.taken.entry((edge, partition)).or_default();
        *taken = through.max(*taken);
    }

    /// Forgets partitions that are not owned.
    pub fn retain(&mut self, owns: impl Fn(u16) -> bool) {
        self.taken.retain(|(_, partition), _| owns(*partition));
    }

    /// Goes on in a partition from where another node has come.
    pub fn restart(&mut self, partition: u16, from: &[(EdgeName, Seq)]) {
        self.retain(|of| of != partition);
        self.taken.extend(from.iter().map(|(edge, through)| ((edge.clone(), partition), *through)));
    }

    /// Whether what stands behind `through` was missing over an earlier connection, too; it is noted if not.
    pub fn was_missed(&mut self, edge: &(EdgeName, u16), through: Seq) -> bool {
        !self.missed.insert((edge.clone(), through))
    }

    /// The next connection is to take in more messages.
    pub fn look_deeper(&mut self) {
        self.deeper = true;
    }

    /// Whether this one is to; said once.
    pub fn looks_deeper(&mut self) -> bool {
        std::mem::take(&mut self.deeper)
    }

    /// What was missing of this one is left behind.
    pub fn forget_missed(&mut self, edge: &(EdgeName, u16)) {
        self.missed.retain(|(missed, _)| missed != edge);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str) -> EdgeName {
        EdgeName::read(name).unwrap()
    }

    fn at(partition: u16, through: u64) -> Position {
        Position { edge: edge("edge-1"), partition, through: Seq(through) }
    }

    #[test]
    fn an_offset_never_goes_back_until_its_partition_begins_anew() {
        let mut offsets = EdgeOffsets::new(Taken::new());
        for position in [at(0, 7), at(0, 5), at(1, 3)] {
            offsets.advance(position);
        }
        let all = |pairs: &[(&str, u16, u64)]| -> Taken {
            pairs.iter().map(|(name, partition, through)| ((edge(name), *partition), Seq(*through))).collect()
        };
        assert_eq!(*offsets.taken(), all(&[("edge-1", 0, 7), ("edge-1", 1, 3)]));
        offsets.restart(0, &[(edge("edge-2"), Seq(4))]);
        assert_eq!(*offsets.taken(), all(&[("edge-2", 0, 4), ("edge-1", 1, 3)]));
        offsets.retain(|partition| partition == 0);
        assert_eq!(*offsets.taken(), all(&[("edge-2", 0, 4)]));
    }

    #[test]
    fn what_is_missing_is_asked_for_once_more_and_then_left() {
        let mut offsets = EdgeOffsets::new(Taken::new());
        let key = (edge("edge-1"), 0);
        assert!(!offsets.was_missed(&key, Seq(4)));
        assert!(!offsets.was_missed(&key, Seq(5)), "another gap");
        assert!(offsets.was_missed(&key, Seq(4)));
        offsets.forget_missed(&key);
        assert!(!offsets.was_missed(&key, Seq(4)));
    }
}
