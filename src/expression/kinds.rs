//! What an expression may be: sets of kinds, so that a check can say "a number or a text" and find what no run could
//! ever take.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use std::fmt;

/// The type of a name or a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Null,
    Bool,
    Int,
    Double,
    String,
    Timestamp,
    Duration,
    List,
    Map,
    /// Whatever JSON can say: everything but ints, timestamps and durations.
    Json,
    /// What can be the content of a message: a string as it is, a list or a map as JSON.
    Content,
    /// Anything.
    Dyn,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Map => "map",
            Self::Json => "JSON value",
            Self::Content => "string, list or map",
            Self::Dyn => "value",
        })
    }
}

/// With its article.
pub(super) struct One<T>(pub T);

impl<T: fmt::Display> fmt::Display for One<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(if text.starts_with('i') { "an " } else { "a " })?;
        f.write_str(&text)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) const NONE: Self = Self(0);
    pub(super) const NULL: Self = Self(1);
    pub(super) const BOOL: Self = Self(1 << 1);
    pub(super) const INT: Self = Self(1 << 2);
    pub(super) const DOUBLE: Self = Self(1 << 3);
    pub(super) const STRING: Self = Self(1 << 4);
    pub(super) const TIMESTAMP: Self = Self(1 << 5);
    pub(super) const DURATION: Self = Self(1 << 6);
    pub(super) const LIST: Self = Self(1 << 7);
    pub(super) const MAP: Self = Self(1 << 8);
    pub(super) const JSON: Self =
        Self(Self::NULL.0 | Self::BOOL.0 | Self::DOUBLE.0 | Self::STRING.0 | Self::LIST.0 | Self::MAP.0);
    pub(super) const ALL: Self = Self((1 << 9) - 1);

    const EACH: [(Self, Type); 9] = [
        (Self::NULL, Type::Null),
        (Self::BOOL, Type::Bool),
        (Self::INT, Type::Int),
        (Self::DOUBLE, Type::Double),
        (Self::STRING, Type::String),
        (Self::TIMESTAMP, Type::Timestamp),
        (Self::DURATION, Type::Duration),
        (Self::LIST, Type::List),
        (Self::MAP, Type::Map),
    ];

    pub(super) fn of(of: Type) -> Self {
        match of {
            Type::Json => Self::JSON,
            Type::Content => Self::STRING.or(Self::LIST).or(Self::MAP),
            Type::Dyn => Self::ALL,
            one => Self::EACH.iter().find(|(_, each)| *each == one).map_or(Self::NONE, |(kinds, _)| *kinds),
        }
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Ints and doubles can be equal.
    pub(super) const fn comparable(self) -> Self {
        let numbers = Self::INT.or(Self::DOUBLE);
        if self.meets(numbers) { self.or(numbers) } else { self }
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::JSON {
            return Type::Json.fmt(f);
        }
        if *self == Self::ALL {
            return Type::Dyn.fmt(f);
        }
        let mut first = true;
        for (kinds, each) in Self::EACH {
            if self.meets(kinds) {
                f.write_str(if first { "" } else { " or " })?;
                each.fmt(f)?;
                first = false;
            }
        }
        Ok(())
    }
}

/// What a value may be, and what may be inside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub kinds: Kinds,
    /// Of a list's items and a map's values.
    pub inner: Kinds,
    /// Whatever is inside, at any depth, is JSON.
    pub json: bool,
}

impl Shape {
    pub(super) const JSON: Self = Self { kinds: Kinds::JSON, inner: Kinds::JSON, json: true };

    pub(super) const fn new(kinds: Kinds) -> Self {
        Self { kinds, inner: Kinds::ALL, json: false }
    }

    pub(super) fn of(of: Type) -> Self {
        if of == Type::Json { Self::JSON } else { Self::new(Kinds::of(of)) }
    }

    pub(super) fn inside(self) -> Self {
        if self.json { Self::JSON } else { Self::new(self.inner) }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            kinds: self.kinds.or(other.kinds),
            inner: self.inner.or(other.inner),
            json: self.json && other.json,
        }
    }
}
