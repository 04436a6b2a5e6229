//! Where a signal came from, and what its signature is worth.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use strum::{FromRepr, VariantArray};

use super::rules::{Illegal, Rule};

/// How much of a signal its signature proves, best first. It stands on every receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromRepr, VariantArray)]
#[repr(u8)]
pub enum Assurance {
    /// Asymmetric signature over body, id and time: only the sender can have made it.
    A = 0,
    /// Shared secret over body, id and time.
    B = 1,
    /// Shared secret over the body alone: a copy is kept out by the memory of identities only.
    C = 2,
    /// Attributes that decide came beside the signed body (binary-mode CloudEvents): one signed body counts once.
    D = 3,
}

impl Assurance {
    /// Its letter, as receipts have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

/// What makes a source's signals the same signal. Its number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromRepr, VariantArray)]
#[repr(u8)]
pub enum Identified {
    /// The tenant and the sender's id, which the signature covers.
    ById = 0,
    /// The signed body: attributes may come in headers, which no signature covers.
    ByBody = 1,
}

impl Identified {
    /// That of a source which takes no binary mode, and of what came beside a body.
    #[must_use]
    pub fn usual(assurance: Assurance) -> Self {
        match assurance {
            Assurance::A | Assurance::B | Assurance::C => Self::ById,
            Assurance::D => Self::ByBody,
        }
    }
}

/// Where a signal came from and what its signature is worth. Interned: there are as many as there are sources
/// and keys, all named in the configuration or in the journal, so a signal carries one pointer.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Provenance {
    /// The configured source's name.
    pub source: Box<str>,
    /// The id of the key that verified; never the key.
    pub key: Box<str>,
    /// How much of a signal its signature proves.
    pub assurance: Assurance,
    /// What makes its signals the same signal.
    pub identified: Identified,
}

/// All that there is.
static KNOWN: Mutex<Option<HashSet<&'static Provenance>>> = Mutex::new(None);

impl Provenance {
    /// Those that were seen so far, in no order.
    #[must_use]
    pub fn known() -> Vec<&'static Self> {
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().copied().collect()
    }

    /// The one instance with these values. Takes a lock: call it when configuration is loaded or, in a replay,
    /// when the value differs from the record before.
    ///
    /// # Errors
    /// [`Illegal`]: source and key are names.
    pub fn intern(source: &str, key: &str, assurance: Assurance) -> Result<&'static Self, Illegal> {
        Self::intern_known(source, key, assurance, Identified::usual(assurance))
    }

    /// As [`Provenance::intern`], of signals that are known in this way.
    ///
    /// # Errors
    /// [`Illegal`].
    pub fn intern_known(
        source: &str,
        key: &str,
        assurance: Assurance,
        identified: Identified,
    ) -> Result<&'static Self, Illegal> {
        Rule::Name.check("source", source.as_bytes())?;
        Rule::Name.check("key", key.as_bytes())?;
        Ok(Self::held(source, key, assurance, identified))
    }

    /// The same, of signals that are known by their bodies.
    #[must_use]
    pub fn knowing_bodies(&self) -> &'static Self {
        Self::held(&self.source, &self.key, self.assurance, Identified::ByBody)
    }

    fn held(source: &str, key: &str, assurance: Assurance, identified: Identified) -> &'static Self {
        let wanted = Self { source: source.into(), key: key.into(), assurance, identified };
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(found) = known.get(&wanted) {
            return found;
        }
        let made: &'static Self = Box::leak(Box::new(wanted));
        known.insert(made);
        made
    }
}
