//! What the names in expressions mean, and the slot of each.

use super::kinds::{Shape, Type};
use super::read::Reader;
use super::slot::{Slot, Source};

/// The names that expressions may use. All expressions that were compiled with it share its slots.
#[derive(Clone, Debug, Default)]
pub struct Names {
    slots: Vec<Named>,
    documents: Vec<Document>,
}

#[derive(Clone, Debug)]
pub(super) struct Named {
    /// As it is written: `memory.spend_24h`, `signal.data.owner.team`.
    pub path: Box<str>,
    pub source: Source,
    pub shape: Shape,
}

#[derive(Clone, Debug)]
struct Document {
    name: Box<str>,
    field: Box<str>,
}

/// What a dotted path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub slot: Slot,
    pub shape: Shape,
    /// Parts of the path that this slot has taken.
    pub parts: usize,
    /// The path is in a document, where anything may be absent at any depth.
    pub document: bool,
}

impl Names {
    pub fn new() -> Self {
        Self::default()
    }

    /// A name of two parts, `governor.state`, that the one who evaluates sets.
    pub fn declare(&mut self, name: &str, of: Type) -> Slot {
        self.add(name, Source::Given, Shape::of(of))
    }

    /// A field at the top of the signal's body: timestamps in RFC 3339, text, or as JSON has it.
    pub fn field(&mut self, name: &str, field: &str, of: Type) -> Slot {
        self.add(name, Source::Field(field.into(), of), Shape::of(of))
    }

    /// A name of two parts, `signal.data`, below which any path may be asked for. Its second part is the field of the
    /// body that holds the document.
    pub fn document(&mut self, name: &str) {
        let field = name.split_once('.').map_or(name, |(_, field)| field);
        assert!(!self.documents.iter().any(|each| &*each.field != field), "one document per signal");
        self.documents.push(Document { name: name.into(), field: field.into() });
    }

    /// How the slot's name is written.
    pub fn path(&self, slot: Slot) -> &str {
        self.slots.get(slot.index()).map_or("", |named| &named.path)
    }

    /// What reads these slots, as far as they are in the body; one per set of expressions.
    pub fn reader(&self, slots: impl IntoIterator<Item = Slot>) -> Reader {
        let mut reader = Reader::default();
        for slot in slots {
            if let Some(named) = self.slots.get(slot.index()) {
                reader.add(slot, &named.source);
            }
        }
        reader
    }

    /// The slot that a path leads to, made if it is a new one in a document.
    pub(super) fn find(&mut self, parts: &[&str]) -> Option<Found> {
        let name = parts.get(..2)?.join(".");
        if let Some(document) = self.documents.iter().find(|document| *document.name == name) {
            let field = document.field.clone();
            let path = parts.join(".");
            let source = Source::Path { field, keys: parts[2..].iter().map(|part| (*part).into()).collect() };
            let slot = self.add(&path, source, Shape::JSON);
            return Some(Found { slot, shape: Shape::JSON, parts: parts.len(), document: true });
        }
        let at = self.slots.iter().position(|named| *named.path == name && !named.is_path())?;
        let slot = Slot::at(at);
        Some(Found { slot, shape: self.slots[at].shape, parts: 2, document: false })
    }

    /// The names that may be written, for hints.
    pub(super) fn valid(&self) -> impl Iterator<Item = &str> {
        let declared = self.slots.iter().filter(|named| !named.is_path()).map(|named| &*named.path);
        declared.chain(self.documents.iter().map(|document| &*document.name))
    }

    fn add(&mut self, path: &str, source: Source, shape: Shape) -> Slot {
        let same = |named: &Named| match (&named.source, &source) {
            // Keys may hold dots, so the text alone does not tell paths apart.
            (Source::Path { keys: ours, .. }, Source::Path { keys, .. }) => ours == keys,
            (Source::Path { .. }, _) | (_, Source::Path { .. }) => false,
            _ => *named.path == *path,
        };
        let at = self.slots.iter().position(same).unwrap_or_else(|| {
            self.slots.push(Named { path: path.into(), source, shape });
            self.slots.len() - 1
        });
        Slot::at(at)
    }
}

impl Named {
    fn is_path(&self) -> bool {
        matches!(self.source, Source::Path { .. })
    }
}
