//! Where a name's value stands among the facts of a signal, and where it comes from.

use super::kinds::Type;

/// Where one name's value stands among the [`Facts`](super::Facts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    pub(super) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Whoever evaluates sets it.
    Given,
    /// A field at the top of the body, and what it is read as.
    Field(Box<str>, Type),
    /// A path in the document that is this field of the body.
    Path { field: Box<str>, keys: Box<[Box<str>]> },
}
