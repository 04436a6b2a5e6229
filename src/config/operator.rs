//! `[operator]`: which orders need two persons.

use super::layers::Layers;
use crate::place::Place;

/// The words of a command whose order needs two persons, and where that is written.
pub type NeedsSecond = (String, Place);

impl Layers {
    pub(super) fn needs_second(&self) -> Vec<NeedsSecond> {
        let set = self.0.iter();
        let mut set = set.filter_map(|(text, layer)| Some((text, layer.operator.needs_second.as_ref()?)));
        let Some((text, commands)) = set.next() else { return Vec::new() };
        let commands = commands.get_ref().iter();
        commands.map(|command| (command.get_ref().clone(), text.place(&command.span()))).collect()
    }
}
