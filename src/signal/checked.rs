//! Signals whose every part keeps its rule.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use strum::{FromRepr, VariantArray};

use super::identity::Fingerprint;
use super::names::Text;
use crate::limits::SEQUENCE_MAX;
use crate::names::{Illegal, Name, Provenance, Rule, check_body};
use crate::trace::TraceContext;

/// How urgent the sender says it is; a degraded governor decides only on `Critical`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, FromRepr, VariantArray)]
#[repr(u8)]
pub enum Severity {
    /// What is said where nothing is.
    #[default]
    Info = 0,
    /// Not urgent yet.
    Warning = 1,
    /// Decided on by a degraded governor too.
    Critical = 2,
}

impl Severity {
    /// As senders write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One signal. Cheap to move; cloning shares the body. Its names lie where they say and keep their rules.
#[derive(Clone, Debug)]
pub struct Signal {
    body: Bytes,
    id: Text,
    tenant: Text,
    sku: Text,
    kind: Text,
    /// How urgent it is.
    pub severity: Severity,
    /// Who sent it, and what its signature proves.
    pub provenance: &'static Provenance,
    /// Which signal this is, for the memory of identities.
    pub identity: Fingerprint,
    /// xxh3 of everything that was said, to tell a repeat from a conflict.
    pub digest: u64,
    /// Apart, since few signals have one and each is moved often.
    trace: Option<Box<TraceContext>>,
    /// One more than the sender's own number of it; 0 where it has none. The seven bytes take the room beside the severity: a signal
    /// is moved often.
    sequence: [u8; 7],
}

/// What somebody says of a signal.
#[derive(Clone, Debug)]
pub struct Unchecked {
    /// The signal's own text, exactly as signed (one item of a batch). In binary mode: the data.
    pub body: Bytes,
    /// The sender's id, unique for the tenant.
    pub id: Text,
    /// Whom it concerns.
    pub tenant: Text,
    /// What of the tenant's it concerns.
    pub sku: Text,
    /// The CloudEvents `type`.
    pub kind: Text,
    /// How urgent it is.
    pub severity: Severity,
    /// Who sent it, and what its signature proves.
    pub provenance: &'static Provenance,
    /// xxh3 of everything that was said.
    pub digest: u64,
}

impl Unchecked {
    /// The signal, if every part of it keeps its rule. The only way to build one.
    ///
    /// # Errors
    /// [`Illegal`]: the first field that does not.
    pub fn check(self) -> Result<Signal, Illegal> {
        let Self { body, id, tenant, sku, kind, severity, provenance, digest } = self;
        check_body(body.len())?;
        let own_id = id.check(&body, "id", Rule::Printable)?;
        kind.check(&body, "type", Rule::Printable)?;
        let own_tenant = tenant.check(&body, "tenant", Rule::Name)?;
        sku.check(&body, "sku", Rule::Name)?;
        let identity = Fingerprint::of(provenance, own_tenant, own_id, &body);
        let (trace, sequence) = (None, [0; 7]);
        Ok(Signal { body, id, tenant, sku, kind, severity, provenance, identity, digest, trace, sequence })
    }
}

impl From<Signal> for Unchecked {
    fn from(signal: Signal) -> Self {
        let Signal { body, id, tenant, sku, kind, severity, provenance, digest, .. } = signal;
        Self { body, id, tenant, sku, kind, severity, provenance, digest }
    }
}

impl Signal {
    /// Its own text, exactly as signed; in binary mode the data.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }
    /// The sender's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.of(&self.body)
    }
    /// Whom it concerns.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.tenant.of(&self.body)
    }
    /// What of the tenant's it concerns.
    #[must_use]
    pub fn sku(&self) -> &str {
        self.sku.of(&self.body)
    }
    /// The CloudEvents `type`.
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
    /// The trace that it belongs to; no part of what was said.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.trace.as_deref().copied()
    }
    /// From here on it belongs to this one.
    pub fn set_trace(&mut self, trace: Option<TraceContext>) {
        self.trace = trace.map(Box::new);
    }
    /// The sender's own number of it, where it numbers its signals.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        let mut number = [0; 8];
        number[..7].copy_from_slice(&self.sequence);
        u64::from_le_bytes(number).checked_sub(1)
    }
    /// From here on it has this number. One beyond `SEQUENCE_MAX` is none.
    pub fn set_sequence(&mut self, sequence: Option<u64>) {
        let number = sequence.filter(|number| *number <= SEQUENCE_MAX).map_or(0, |number| number + 1);
        self.sequence.copy_from_slice(&number.to_le_bytes()[..7]);
    }
    /// The trace that it belongs to, if that is recorded.
    #[must_use]
    pub fn recorded(&self) -> Option<TraceContext> {
        self.trace().filter(TraceContext::is_sampled)
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
    /// One signal, not in a batch.
    One(Signal),
    /// Never empty.
    Batch(Vec<Signal>),
}

impl Signals {
    /// As [`Signals::as_slice`].
    pub fn as_mut_slice(&mut self) -> &mut [Signal] {
        match self {
            Self::One(signal) => std::slice::from_mut(signal),
            Self::Batch(signals) => signals,
        }
    }

    /// All of them, in the order in which they stand in the request.
    #[must_use]
    pub fn as_slice(&self) -> &[Signal] {
        match self {
            Self::One(signal) => std::slice::from_ref(signal),
            Self::Batch(signals) => signals,
        }
    }
}
