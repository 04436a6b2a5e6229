//! Why a signature is refused, and what decides on it beside the keys: headers and clocks.

use hyper::HeaderMap;
use strum::{EnumCount, IntoStaticStr, VariantArray};

use crate::variants::array;

/// Every way to be wrong. The sender sees one answer for all; operators and tests see the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The scheme needs a header that the request does not have.
    #[error("a signature header is missing")]
    Missing,
    /// One of several values would have to be chosen.
    #[error("a signature header stands twice")]
    Twice,
    /// A header is not of the scheme's form.
    #[error("a signature header cannot be read")]
    Malformed,
    /// More signatures than are looked at.
    #[error("too many signatures are listed")]
    TooMany,
    /// It was signed longer ago than the source tolerates.
    #[error("the timestamp is {by_seconds} s too old")]
    TooOld {
        /// Past the tolerance.
        by_seconds: u64,
    },
    /// It was signed later than the source tolerates.
    #[error("the timestamp is {by_seconds} s in the future")]
    TooNew {
        /// Past the tolerance.
        by_seconds: u64,
    },
    /// No key of the source made one of the signatures.
    #[error("no signature fits any key")]
    NoMatch,
}

/// The name of a [`Refusal`], as metrics have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum RefusalName {
    /// [`Refusal::Missing`].
    Missing,
    /// [`Refusal::Twice`].
    Twice,
    /// [`Refusal::Malformed`].
    Malformed,
    /// [`Refusal::TooMany`].
    TooMany,
    /// [`Refusal::TooOld`].
    TooOld,
    /// [`Refusal::TooNew`].
    TooNew,
    /// [`Refusal::NoMatch`].
    NoMatch,
}

impl RefusalName {
    /// In the order of their declaration.
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// As a label has it: `too_old`.
    #[must_use]
    pub fn into_str(self) -> &'static str {
        self.into()
    }
}

impl Refusal {
    /// Its name, without what it says of this one.
    #[must_use]
    pub fn name(self) -> RefusalName {
        match self {
            Self::Missing => RefusalName::Missing,
            Self::Twice => RefusalName::Twice,
            Self::Malformed => RefusalName::Malformed,
            Self::TooMany => RefusalName::TooMany,
            Self::TooOld { .. } => RefusalName::TooOld,
            Self::TooNew { .. } => RefusalName::TooNew,
            Self::NoMatch => RefusalName::NoMatch,
        }
    }
}

/// What a signature's age is judged by, in seconds since 1970. A signature is fresh that is fresh by either: a wall clock
/// that is wrong for a while must not turn honest senders away, and neither must a journal that waits for it to be
/// confirmed. A repeat is known by its identity, whatever the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Of the wall clock.
    pub wall: u64,
    /// Of the journal's clock, which never goes back.
    pub journal: u64,
}

impl From<u64> for Now {
    fn from(seconds: u64) -> Self {
        Self { wall: seconds, journal: seconds }
    }
}

impl Now {
    /// Whether what was signed then is neither too old nor too new.
    pub(super) fn is_fresh(self, signed_at: u64, tolerance: u64) -> Result<(), Refusal> {
        is_fresh(signed_at, self.wall, tolerance)
            .or_else(|stale| is_fresh(signed_at, self.journal, tolerance).map_err(|_| stale))
    }
}

fn is_fresh(signed_at: u64, now: u64, tolerance: u64) -> Result<(), Refusal> {
    if now > signed_at.saturating_add(tolerance) {
        return Err(Refusal::TooOld { by_seconds: now - signed_at - tolerance });
    }
    if signed_at > now.saturating_add(tolerance) {
        return Err(Refusal::TooNew { by_seconds: signed_at - now - tolerance });
    }
    Ok(())
}

/// A timestamp as it stands in a header.
pub fn seconds(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.len() <= 12 && text.iter().all(u8::is_ascii_digit);
    plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// The one value of a header.
pub fn only<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Twice);
    }
    Ok(Some(value.as_bytes()))
}
