//! Names inside a signal: spans of its body where the sender wrote them plainly, owned text where they were
//! escaped, fixed by the source, or carried in a header.

use bytes::Bytes;

use crate::names::{Illegal, Rule};

/// Where a name of a signal stands. It means something beside the signal's body alone: [`super::Unchecked::check`] reads
/// both together, and inside a [`super::Signal`] it keeps the rule of its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// `len` bytes of the body from `at`.
    Span {
        /// Where it begins in the body, in bytes.
        at: u32,
        /// Its bytes.
        len: u8,
    },
    /// A text that does not stand in the body as it is.
    Owned(Box<str>),
}

impl Text {
    /// The text itself; `body` is the body of the signal that this name belongs to.
    #[must_use]
    pub fn of<'a>(&'a self, body: &'a Bytes) -> &'a str {
        match self {
            Self::Span { at, len } => {
                let from = *at as usize;
                body.get(from..from + usize::from(*len))
                    .and_then(|bytes| std::str::from_utf8(bytes).ok())
                    .unwrap_or_default()
            }
            Self::Owned(text) => text,
        }
    }

    /// The text, if it keeps its field's rule.
    pub(super) fn check<'a>(
        &'a self,
        body: &'a [u8],
        field: &'static str,
        rule: Rule,
    ) -> Result<&'a str, Illegal> {
        match self {
            Self::Span { at, len } => {
                let (from, bytes) = (*at as usize, usize::from(*len));
                let span = from.checked_add(bytes).and_then(|end| body.get(from..end));
                rule.check(field, span.ok_or(Illegal { field, rule: Rule::Inside, found: bytes })?)
            }
            Self::Owned(text) => rule.check(field, text.as_bytes()),
        }
    }
}
