//! Why a request carries no signals.

use std::fmt;

use crate::limits::BATCH_SIGNALS_MAX;
use crate::names::Illegal;

/// Why something is not a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// What is wrong with the JSON.
    #[error("not strict JSON: {0}")]
    Json(String),
    /// The kind of value that stands in place of the object.
    #[error("a signal is a JSON object, and this is {0}")]
    Object(&'static str),
    /// A field, and the kind of value that it has.
    #[error("`{0}` must be a string, and is {1}")]
    Type(&'static str, &'static str),
    /// A field that every signal has.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field breaks its rule.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The field `tenant` or `sku`.
    #[error("`{0}` differs from the one that this source fixes")]
    Fixed(&'static str),
    /// There is no such severity.
    #[error("`severity` must be info, warning or critical")]
    Severity,
    /// The time cannot be read.
    #[error("`time` must be an RFC 3339 time")]
    Time,
    /// Another version of CloudEvents.
    #[error("`specversion` must be 1.0")]
    SpecVersion,
    /// The source has no `control`.
    #[error("the types gemba.* are reserved; this source may not send them")]
    Reserved,
    /// The source has `control`, and there is no such type.
    #[error("no such gemba.* type; there are gemba.entitlement.active and gemba.entitlement.revoked")]
    UnknownReserved,
    /// A header of binary mode.
    #[error("the header `{0}` is not percent-encoded UTF-8")]
    Header(&'static str),
}

/// Why a request's content was refused. Nothing of it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The body is not UTF-8.
    NotUtf8,
    /// An empty batch.
    Empty,
    /// More items than a batch may have.
    TooMany,
    /// Not an array of objects, or not one object a line.
    Frame(String),
    /// What is wrong, by index; of a single signal, index 0. At most [`Unfit::ITEMS_MAX`].
    Items {
        /// They came as a batch.
        batch: bool,
        /// Index and reason, in the order of the batch.
        items: Vec<(usize, Reason)>,
    },
}

impl Unfit {
    /// Items that one answer lists.
    pub const ITEMS_MAX: usize = 32;

    /// 400 where no items can be told apart, 422 where one is no signal.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Frame(_) => 400,
            Self::NotUtf8 | Self::Empty | Self::TooMany | Self::Items { .. } => 422,
        }
    }

    /// What is wrong with each item of a batch.
    pub fn items(&self) -> impl Iterator<Item = (usize, &Reason)> {
        let items = match self {
            Self::Items { batch: true, items } => items.as_slice(),
            Self::NotUtf8 | Self::Empty | Self::TooMany | Self::Frame(_) | Self::Items { .. } => &[],
        };
        items.iter().map(|(index, why)| (*index, why))
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 => f.write_str("the body is not UTF-8"),
            Self::Empty => f.write_str("the batch is empty"),
            Self::TooMany => write!(f, "the batch has more than {BATCH_SIGNALS_MAX} signals"),
            Self::Frame(why) => f.write_str(why),
            Self::Items { batch: false, items } => match items.first() {
                Some((_, why)) => why.fmt(f),
                None => f.write_str("not a signal"),
            },
            Self::Items { batch: true, .. } => f.write_str("some items are no signals; nothing was taken"),
        }
    }
}
