//! The rules of the vocabulary: what a tenant, a SKU, an id, a type, a source and a key may look like. There is one
//! constructor for each, and HTTP, the broker, the shared store and the journal all use it: a value that breaks its rule
//! cannot be built, so what is written can be read.

use std::fmt;
use std::ops::Deref;

use crate::limits::{BODY_BYTES_MAX, EDGE_BYTES_MAX, ID_BYTES_MAX, NAME_BYTES_MAX};

/// A value breaks the rule of its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule}; this one {} {found}{}", rule.verb(), rule.unit())]
pub struct Illegal {
    /// The field's name.
    pub field: &'static str,
    /// The rule that it breaks.
    pub rule: Rule,
    /// Bytes of the value, or the number itself.
    pub found: usize,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Tenant, SKU, source, key: `[a-z0-9][a-z0-9._-]{0,63}`.
    Name,
    /// The name of an edge: a node's name, a dot, and its journal's id.
    EdgeName,
    /// Id and type: 1 to 128 printable ASCII characters.
    Printable,
    /// A place inside the signal's own body.
    Inside,
    /// At most so many bytes.
    AtMost(usize),
    /// An object of JSON.
    Object,
    /// A number below this.
    Below(u64),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(f, "must match [a-z0-9][a-z0-9._-]{{0,{}}}", NAME_BYTES_MAX - 1),
            Self::EdgeName => {
                write!(
                    f,
                    "must match [a-z0-9][a-z0-9._-]{{0,{}}}: a node's name and its journal's id",
                    EDGE_BYTES_MAX - 1
                )
            }
            Self::Printable => write!(f, "must have 1 to {ID_BYTES_MAX} printable ASCII characters"),
            Self::Inside => f.write_str("must lie inside the signal's body"),
            Self::AtMost(bytes) => write!(f, "must have at most {bytes} bytes"),
            Self::Object => f.write_str("must be an object of JSON"),
            Self::Below(bound) => write!(f, "must be below {bound}"),
        }
    }
}

impl Rule {
    fn verb(self) -> &'static str {
        if matches!(self, Self::Below(_)) { "is" } else { "has" }
    }

    fn unit(self) -> &'static str {
        if matches!(self, Self::Below(_)) { "" } else { " bytes" }
    }

    /// The same bytes as text, if they keep the rule.
    ///
    /// # Errors
    /// [`Illegal`].
    pub fn check<'a>(self, field: &'static str, bytes: &'a [u8]) -> Result<&'a str, Illegal> {
        let fits = match self {
            Self::Name => has_name_form(bytes, NAME_BYTES_MAX),
            Self::EdgeName => has_name_form(bytes, EDGE_BYTES_MAX),
            Self::Printable => {
                (1..=ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(|b| (b' '..=b'~').contains(b))
            }
            Self::AtMost(most) => bytes.len() <= most,
            Self::Object => {
                serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes).is_ok()
            }
            Self::Inside | Self::Below(_) => false,
        };
        let text = std::str::from_utf8(bytes).ok().filter(|_| fits);
        text.ok_or(Illegal { field, rule: self, found: bytes.len() })
    }
}

/// Whether these are 1 to `most` bytes of `a-z`, `0-9`, dot, underscore and dash, and begin with a letter or digit.
fn has_name_form(bytes: &[u8], most: usize) -> bool {
    let lower = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=most).contains(&bytes.len())
        && bytes.first().is_some_and(lower)
        && bytes.iter().all(|byte| lower(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether `text` may name a tenant, a SKU, a source or a key.
#[must_use]
pub fn is_name(text: &str) -> bool {
    has_name_form(text.as_bytes(), NAME_BYTES_MAX)
}

/// The name of a tenant or a SKU.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// # Errors
    /// [`Illegal`].
    pub fn read(field: &'static str, text: &str) -> Result<Self, Illegal> {
        Rule::Name.check(field, text.as_bytes()).map(|text| Self(text.into()))
    }

    /// Of a signal, whose names were checked when it was made.
    pub(crate) fn checked(text: &str) -> Self {
        Self(text.into())
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bound of a body, whoever brings it.
///
/// # Errors
/// [`Illegal`].
pub fn check_body(bytes: usize) -> Result<(), Illegal> {
    let rule = Rule::AtMost(BODY_BYTES_MAX);
    if bytes <= BODY_BYTES_MAX { Ok(()) } else { Err(Illegal { field: "body", rule, found: bytes }) }
}
