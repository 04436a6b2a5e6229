//! Why an evaluation has no result. The words tell names and types, never a value of a signal.

use std::fmt;

use super::kinds::{One, Type};

/// Why a run ended without a result. Every text in it is of the expression, so its length is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This field was read and is not there.
    Missing {
        path: String,
    },
    /// This field of the signal does not read as the type it is declared with.
    Unfit {
        path: String,
    },
    /// This operator, function or field has a value of a type that does not go there.
    Mismatch {
        what: String,
        found: Type,
    },
    /// A result beyond what its type can hold.
    Overflow {
        what: String,
    },
    DivisionByZero {
        what: String,
    },
    /// Comparing with what is not a number has no answer.
    NotANumber {
        what: String,
    },
    /// The list has no such item.
    NoItem,
    /// The map has no such key.
    NoKey,
    /// This function cannot read what it was given.
    Unreadable {
        function: String,
    },
    /// A map was written with one key twice.
    TwinKey,
    /// The body is not the JSON it was taken for.
    Body,
    /// The evaluation has used up its steps.
    Steps,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "`{path}` is not there"),
            Self::Unfit { path } => write!(f, "`{path}` cannot be read as its type"),
            Self::Mismatch { what, found } => write!(f, "`{what}`: {} does not go here", One(found)),
            Self::Overflow { what } => write!(f, "`{what}`: the result is out of range"),
            Self::DivisionByZero { what } => write!(f, "`{what}`: division by zero"),
            Self::NotANumber { what } => write!(f, "`{what}`: not a number cannot be ordered"),
            Self::NoItem => f.write_str("the list has no such item"),
            Self::NoKey => f.write_str("the map has no such key"),
            Self::Unreadable { function } => write!(f, "`{function}` cannot read what it was given"),
            Self::TwinKey => f.write_str("a map has one key twice"),
            Self::Body => f.write_str("the body is not the JSON it should be"),
            Self::Steps => f.write_str("the evaluation takes too many steps"),
        }
    }
}

impl std::error::Error for Fault {}

/// The text of an operator, function or path, kept beside the tree.
pub(super) type Label = u32;

/// A fault before its words are looked up: plain data, so that an error inside `&&` costs nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trip {
    Missing(Label),
    Unfit(Label),
    Mismatch(Label, Type),
    Overflow(Label),
    DivisionByZero(Label),
    NotANumber(Label),
    Unreadable(Label),
    NoItem,
    NoKey,
    TwinKey,
    Body,
    Steps,
}

impl Trip {
    #[cold]
    pub(super) fn fault(self, labels: &[Box<str>]) -> Fault {
        let text = |label: Label| labels.get(label as usize).map_or_else(String::new, ToString::to_string);
        match self {
            Self::Missing(label) => Fault::Missing { path: text(label) },
            Self::Unfit(label) => Fault::Unfit { path: text(label) },
            Self::Mismatch(label, found) => Fault::Mismatch { what: text(label), found },
            Self::Overflow(label) => Fault::Overflow { what: text(label) },
            Self::DivisionByZero(label) => Fault::DivisionByZero { what: text(label) },
            Self::NotANumber(label) => Fault::NotANumber { what: text(label) },
            Self::Unreadable(label) => Fault::Unreadable { function: text(label) },
            Self::NoItem => Fault::NoItem,
            Self::NoKey => Fault::NoKey,
            Self::TwinKey => Fault::TwinKey,
            Self::Body => Fault::Body,
            Self::Steps => Fault::Steps,
        }
    }
}
