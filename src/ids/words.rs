//! Texts of events, each bounded by its type: whatever holds one can be written to the journal as it is.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::REASON_BYTES_MAX;
use crate::names::{Illegal, Rule};

/// What a person or a target says, or calls something: an actor, a reason, a rule. At most [`REASON_BYTES_MAX`] bytes; what is longer is cut, and
/// ends in `…`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Words(Box<str>);

impl Words {
    const CUT: &str = "…";

    /// Words that were written as they stand.
    ///
    /// # Errors
    /// [`Illegal`] when they are longer than any that were written.
    pub fn read(field: &'static str, text: &str) -> Result<Self, Illegal> {
        Rule::AtMost(REASON_BYTES_MAX).check(field, text.as_bytes()).map(|text| Self(text.into()))
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        Self::read("text", &text).map_err(serde::de::Error::custom)
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        if text.len() <= REASON_BYTES_MAX {
            return Self(text.into());
        }
        let kept = text.floor_char_boundary(REASON_BYTES_MAX - Self::CUT.len());
        Self([&text[..kept], Self::CUT].concat().into())
    }
}

impl From<String> for Words {
    fn from(text: String) -> Self {
        if text.len() <= REASON_BYTES_MAX { Self(text.into()) } else { text.as_str().into() }
    }
}

impl From<Box<str>> for Words {
    fn from(text: Box<str>) -> Self {
        String::from(text).into()
    }
}

impl From<Words> for Box<str> {
    fn from(words: Words) -> Self {
        words.0
    }
}

/// Name and id of an edge's journal, `<name>.<id>`: a journal that begins anew has another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeName(Box<str>);

impl EdgeName {
    /// # Errors
    /// [`Illegal`].
    pub fn read(text: &str) -> Result<Self, Illegal> {
        Rule::EdgeName.check("edge", text.as_bytes()).map(|text| Self(text.into()))
    }
}

macro_rules! text {
    ($name:ident) => {
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

text!(Words);
text!(EdgeName);
