//! What the tests of several parts begin with.

use super::staging::{Batch, Staged, Staging};
use super::subscription::DeliveryTag;
use crate::event::{EdgeName, Part, Position, Seq};
use crate::kanban::journal::tests::named;

/// The `number`th delivery of partition 0.
pub fn tag(number: u64) -> DeliveryTag {
    DeliveryTag { partition: 0, subscription: 0, number }
}

pub fn part(after: u64, through: u64) -> Part {
    let edge = EdgeName::read("edge-1").unwrap();
    let position = Position { edge, partition: 0, through: Seq(through) };
    Part { position, behind: Seq(after), skips: false }
}

/// One signal for each number.
pub fn batch(after: u64, through: u64) -> Batch {
    let signals = (after + 1..=through).map(|number| (Seq(number), named(&format!("s-{number}"))));
    Batch::of_edge(signals.collect(), None, part(after, through), Some(tag(through)))
}

/// The tags of each unit.
pub fn units(staging: &mut Staging) -> Vec<Vec<u64>> {
    staging.seal();
    let tags = |staged| match staged {
        Staged::Batch(batch) => batch.into_parts().1,
        Staged::Repeat(tag) => vec![tag],
    };
    let units = std::iter::from_fn(|| staging.pop());
    units.map(|staged| tags(staged).iter().map(|tag| tag.number).collect()).collect()
}
