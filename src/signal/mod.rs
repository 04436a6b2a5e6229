//! A signal: who it concerns, what it says, and how far its origin is proven.
//!
//! Made by [`parse`], which takes only what [`crate::signature`] verified (promise P6), and read back from journal, broker
//! and stores; all of them build it by [`Unchecked::check`]. The text stays where it arrived: names are spans of the body, so a
//! signal moves through the line without a copy.
//!
//! Names keep one rule, wherever they come from:
//!
//! ```
//! use gemba::signal::Name;
//!
//! assert_eq!(&*Name::read("tenant", "acme-1")?, "acme-1");
//! assert!(Name::read("tenant", "Acme").is_err());
//! # Ok::<(), gemba::signal::Illegal>(())
//! ```

mod attributes;
pub mod identity;
mod json;
pub mod names;
mod parse;
pub mod rules;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use strum::{FromRepr, VariantArray};

pub use identity::Fingerprint;
pub use json::is_strict;
pub use names::{Identified, Provenance, Text};
pub use parse::{Fixed, Form, Reason, Unfit, UnsupportedForm, parse};
pub use rules::{Illegal, Name, Rule, is_name};

/// How urgent the sender says it is; a degraded governor decides only on `Critical`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromRepr, VariantArray)]
#[repr(u8)]
pub enum Severity {
    #[default]
    Info = 0,
    Warning = 1,
    Critical = 2,
}

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

/// One signal. Cheap to move; cloning shares the body. Its names lie where they say and keep their rules.
#[derive(Clone, Debug)]
pub struct Signal {
    body: Bytes,
    id: Text,
    tenant: Text,
    sku: Text,
    kind: Text,
    pub severity: Severity,
    pub provenance: &'static Provenance,
    /// Which signal this is, for the memory of identities.
    pub identity: Fingerprint,
    /// xxh3 of everything that was said, to tell a repeat from a conflict.
    pub digest: u64,
}

/// What somebody says of a signal.
#[derive(Clone, Debug)]
pub struct Unchecked {
    /// The signal's own text, exactly as signed (one item of a batch). In binary mode: the data.
    pub body: Bytes,
    pub id: Text,
    pub tenant: Text,
    pub sku: Text,
    /// The CloudEvents `type`.
    pub kind: Text,
    pub severity: Severity,
    pub provenance: &'static Provenance,
    pub digest: u64,
}

impl Unchecked {
    /// The signal, if every part of it keeps its rule. The only way to build one.
    ///
    /// # Errors
    /// [`Illegal`]: the first field that does not.
    pub fn check(self) -> Result<Signal, Illegal> {
        let Self { body, id, tenant, sku, kind, severity, provenance, digest } = self;
        rules::check_body(body.len())?;
        let own_id = id.check(&body, "id", Rule::Printable)?;
        kind.check(&body, "type", Rule::Printable)?;
        let own_tenant = tenant.check(&body, "tenant", Rule::Name)?;
        sku.check(&body, "sku", Rule::Name)?;
        let identity = Fingerprint::of(provenance, own_tenant, own_id, &body);
        Ok(Signal { body, id, tenant, sku, kind, severity, provenance, identity, digest })
    }
}

impl From<Signal> for Unchecked {
    fn from(signal: Signal) -> Self {
        let Signal { body, id, tenant, sku, kind, severity, provenance, identity: _, digest } = signal;
        Self { body, id, tenant, sku, kind, severity, provenance, digest }
    }
}

impl Signal {
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.of(&self.body)
    }
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.tenant.of(&self.body)
    }
    #[must_use]
    pub fn sku(&self) -> &str {
        self.sku.of(&self.body)
    }
    #[must_use]
    pub fn kind(&self) -> &str {
        self.kind.of(&self.body)
    }
    /// Tenant and SKU, as names of their own.
    #[must_use]
    pub fn names(&self) -> (Name, Name) {
        (Name::checked(self.tenant()), Name::checked(self.sku()))
    }
    /// Where id, tenant, SKU and type stand.
    #[must_use]
    pub fn texts(&self) -> [&Text; 4] {
        [&self.id, &self.tenant, &self.sku, &self.kind]
    }
    /// The same with a body of its own, which keeps nothing else alive.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.body = Bytes::copy_from_slice(&self.body);
        self
    }
    /// SHA-256 of the body.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.body).as_ref());
        hash
    }
}

/// What one request brought: accepted or refused as one unit.
#[derive(Debug)]
pub enum Signals {
    One(Signal),
    /// Never empty.
    Batch(Vec<Signal>),
}

impl Signals {
    #[must_use]
    pub fn as_slice(&self) -> &[Signal] {
        match self {
            Self::One(signal) => std::slice::from_ref(signal),
            Self::Batch(signals) => signals,
        }
    }
}

#[cfg(test)]
mod tests;
