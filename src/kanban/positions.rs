//! Through which numbers a processor has taken the signals of its edges. Kept in the journal with the signals, so that
//! both are durable together or not at all; and written again in each segment, so that no segment is kept for them alone.

use std::collections::BTreeMap;

use super::journal::Writer;
use crate::event::{EdgeName, Kind, Position, Seq};

/// The newest number of each edge and partition.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    held: BTreeMap<(EdgeName, u16), Seq>,
    /// The segment in which all of them were written last.
    written: Option<u64>,
}

impl Positions {
    /// Takes in what the journal says of an earlier run.
    pub fn recover(&mut self, position: &Position) {
        let held = self.held.entry((position.edge.clone(), position.partition)).or_default();
        *held = position.through.max(*held);
    }

    /// Forgets those of a partition that is no longer held.
    pub fn forget(&mut self, partition: u16) {
        self.held.retain(|(_, of), _| *of != partition);
    }

    /// Through which number the signals of its edge and partition were taken.
    #[must_use]
    pub fn of(&self, position: &Position) -> Option<Seq> {
        self.held.get(&(position.edge.clone(), position.partition)).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&EdgeName, u16, Seq)> {
        self.held.iter().map(|((edge, partition), through)| (edge, *partition, *through))
    }

    /// Writes one down, with the signals that the frame holds.
    pub fn advance(&mut self, writer: &mut Writer, position: Position) -> Seq {
        self.recover(&position);
        writer.append(&Kind::Position(position))
    }

    /// Writes all of them down, where the segment has none of them.
    pub fn write(&mut self, writer: &mut Writer) {
        if self.are_kept(writer) {
            return;
        }
        for ((edge, partition), through) in &self.held {
            let position = Position { edge: edge.clone(), partition: *partition, through: *through };
            writer.append(&Kind::Position(position));
        }
        self.written = Some(writer.segment());
    }

    /// Whether older segments may go.
    #[must_use]
    pub fn are_kept(&self, writer: &Writer) -> bool {
        self.held.is_empty() || self.written == Some(writer.segment())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::kanban::journal::record::Decoder;
    use crate::kanban::journal::tests::{DIR, NOW, named, reopen};
    use crate::kanban::journal::{Damage, scan};
    use crate::kanban::memory::Memory;

    fn recovered(disk: &Memory) -> Positions {
        let mut positions = Positions::default();
        let scanned = scan(disk, Path::new(DIR), |_, records, _, _| -> Result<(), Damage> {
            let mut decoder = Decoder::new(records);
            while let Ok(Some(kind)) = decoder.next_kind() {
                if let Kind::Position(position) = kind {
                    positions.recover(&position);
                }
            }
            Ok(())
        });
        scanned.unwrap();
        positions
    }

    proptest! {
        /// Segments go as soon as they may, and no position goes with them.
        #[test]
        fn no_segment_takes_a_position_with_it(frames in prop::collection::vec((0u8..4, 0u8..30, any::<bool>()), 1..80)) {
            let disk = Memory::default();
            let mut writer = reopen(&disk, 16_384);
            let mut positions = Positions::default();
            let mut released = 0;
            for (at, (edge, signals, restarts)) in frames.into_iter().enumerate() {
                writer.begin(NOW);
                positions.write(&mut writer);
                for signal in 0..signals {
                    writer.append(&Kind::Signal(named(&format!("id-{at}-{signal}"))));
                }
                let through = Seq(at as u64 + 1);
                positions.advance(&mut writer, Position { edge: EdgeName::read(&format!("edge-{edge}")).unwrap(), partition: 0, through });
                writer.write().unwrap();
                writer.sync().unwrap();
                if positions.are_kept(&writer) {
                    released += writer.release(writer.last()).unwrap();
                }
                let found = recovered(&disk);
                prop_assert_eq!(&found.held, &positions.held);
                if restarts {
                    drop(writer);
                    (writer, positions) = (reopen(&disk, 16_384), found);
                }
            }
            prop_assert!(released > 0 || writer.segment() < 4);
        }
    }
}
