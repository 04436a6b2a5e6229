//! What a decision leaves behind. A shard makes [`Draft`]s; the scribe turns each into a canonical body, its hash,
//! its HMAC and the 33-byte leaf of the transparency log.
//!
//! ```
//! use gemba::event::Seq;
//! use gemba::receipt::ReceiptId;
//!
//! let id: ReceiptId = "r-000000000000002a-00".parse()?;
//! assert_eq!((id.seq, id.ordinal), (Seq(42), 0));
//! assert_eq!(id.to_string(), "r-000000000000002a-00");
//! # Ok::<(), gemba::receipt::NotAReceiptId>(())
//! ```

pub mod canonical;
pub mod commitment;

use std::fmt;
use std::sync::Arc;

use strum::{EnumCount, FromRepr, IntoStaticStr, VariantArray};

pub use crate::event::{ActionId, Seq, UnixMillis};
use crate::signal::Signal;
use crate::variants::array;

/// `r-<seq>-<ordinal>`: the event that caused the receipt and its place among that event's receipts. Derived, not
/// drawn, so that a replay names the same receipt the same (promise P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId {
    pub seq: Seq,
    pub ordinal: u8,
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{:016x}-{:02x}", self.seq.0, self.ordinal)
    }
}

impl std::str::FromStr for ReceiptId {
    type Err = NotAReceiptId;

    fn from_str(text: &str) -> Result<Self, NotAReceiptId> {
        let (seq, ordinal) =
            text.strip_prefix("r-").and_then(|rest| rest.split_once('-')).ok_or(NotAReceiptId)?;
        let hex = |part: &str, digits: usize| {
            let plain = part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(part, 16).ok()).flatten().ok_or(NotAReceiptId)
        };
        let ordinal = u8::try_from(hex(ordinal, 2)?).map_err(|_| NotAReceiptId)?;
        Ok(Self { seq: Seq(hex(seq, 16)?), ordinal })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a receipt id; one looks like r-000000000000002a-00")]
pub struct NotAReceiptId;

/// The states of a governor, in the reference architecture's words.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumCount, FromRepr, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(u8)]
pub enum StateName {
    Boot = 0,
    Stable = 1,
    ActionPending = 2,
    QuotaExhausted = 3,
    Degraded = 4,
    Halted = 5,
}

impl StateName {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);
}

/// What kind of decision a receipt proves. The numbers are part of the stored format and never change.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumCount, FromRepr, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[repr(u8)]
pub enum ReceiptType {
    BootstrapTimeout = 0,
    ActionGenerated = 1,
    PolicyDenied = 2,
    ActionSuccessful = 3,
    ActionFailed = 4,
    JidokaHalt = 5,
    DeadletterSignal = 6,
    Observed = 7,
    QuotaExceeded = 8,
    DeferredDropped = 9,
    Entitlement = 10,
    Operator = 11,
    PolicyChange = 12,
    KeyChange = 13,
    /// The quota window is over and `quota_exhausted` left.
    QuotaRestored = 14,
    /// The breaker's time is over and `halted` left: one probe may pass.
    BreakerTesting = 15,
}

impl ReceiptType {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// Whether what was asked was done.
    #[must_use]
    pub fn is_success(self) -> bool {
        match self {
            Self::BootstrapTimeout
            | Self::PolicyDenied
            | Self::ActionFailed
            | Self::JidokaHalt
            | Self::DeadletterSignal
            | Self::QuotaExceeded
            | Self::DeferredDropped => false,
            Self::ActionGenerated
            | Self::ActionSuccessful
            | Self::Observed
            | Self::Entitlement
            | Self::Operator
            | Self::PolicyChange
            | Self::KeyChange
            | Self::QuotaRestored
            | Self::BreakerTesting => true,
        }
    }
}

/// What every receipt says, whatever it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gist {
    pub id: ReceiptId,
    /// The journal's stamp of the causing event.
    pub time: UnixMillis,
    pub kind: ReceiptType,
    pub before: StateName,
    pub after: StateName,
    pub success: bool,
    pub action: Option<ActionId>,
    /// The signal's own number; differs from `id.seq` where an outcome or a timer settled the signal later.
    pub signal_seq: Option<Seq>,
}

/// Which rule decided, where one did. Of a changed pack, every rule of it: `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy<Text = Box<str>> {
    pub pack: Text,
    pub rule: Text,
    /// SHA-256 of the pack's text.
    pub content_hash: [u8; 32],
}

/// What a receipt is about.
#[derive(Clone, Debug)]
pub enum About {
    /// The signal that was decided; moved, not copied.
    Signal(Signal),
    /// A governor, by an event that is not a signal of the sender's (timer, outcome, operator).
    Governor { tenant: Box<str>, sku: Box<str>, signal: Option<Earlier> },
    /// The node itself; such a receipt names no tenant, no SKU and no states.
    Node,
}

/// A signal that an earlier event brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier<Text = Box<str>> {
    pub id: Text,
    /// As [`Signal::hash`].
    pub hash: [u8; 32],
}

impl Earlier {
    #[must_use]
    pub fn new(signal: &Signal) -> Self {
        Self { id: signal.id().into(), hash: signal.hash() }
    }
}

/// One decision on its way to the scribe.
#[derive(Clone, Debug)]
pub struct Draft {
    pub gist: Gist,
    pub policy: Option<Arc<Policy>>,
    /// What the rule that decided has read, as canonical JSON: a small object.
    pub facts: Option<Box<str>>,
    /// Cause or reason, in words; what the operator or the failing part said.
    pub reason: Option<Arc<str>>,
    pub about: About,
}

#[cfg(test)]
mod tests;
