//! What a decision leaves behind. A shard makes [`Draft`]s; the scribe turns each into a canonical body, its hash,
//! its HMAC and the 33-byte leaf of the transparency log.
//!
//! ```
//! use gemba::receipt::{ReceiptId, Seq};
//!
//! let id: ReceiptId = "r-000000000000002a-00".parse()?;
//! assert_eq!((id.seq, id.ordinal), (Seq(42), 0));
//! assert_eq!(id.to_string(), "r-000000000000002a-00");
//! # Ok::<(), gemba::receipt::NotAReceiptId>(())
//! ```

pub mod canonical;
pub mod commitment;
pub mod filter;

use std::fmt;
use std::sync::Arc;

use strum::{EnumCount, EnumString, FromRepr, IntoStaticStr, VariantArray};

pub use crate::ids::{ActionId, JournalId, Seq, UnixMillis};
use crate::signal::Signal;
use crate::trace::TraceContext;
use crate::variants::array;

/// `r-<seq>-<ordinal>`: the event that caused the receipt and its place among that event's receipts. Derived, not
/// drawn, so that a replay names the same receipt the same (promise P8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId {
    /// The event's number.
    pub seq: Seq,
    /// From 0; that of a signal's own receipt.
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

/// The text is no receipt id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a receipt id; one looks like r-000000000000002a-00")]
pub struct NotAReceiptId;

/// The states of a governor, in the reference architecture's words.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumCount, FromRepr, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum StateName {
    /// It waits for its entitlement; signals wait.
    Boot = 0,
    /// It decides.
    Stable = 1,
    /// An action is out; signals wait for its outcome.
    ActionPending = 2,
    /// No action is left in the window of its quota.
    QuotaExhausted = 3,
    /// It is not entitled, and decides on critical signals alone.
    Degraded = 4,
    /// The line stands still, by its breaker or an operator; signals become dead letters.
    Halted = 5,
}

impl StateName {
    /// In the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// Its name in receipts: `action_pending`.
    #[must_use]
    pub fn into_str(self) -> &'static str {
        self.into()
    }
}

/// What kind of decision a receipt proves. The numbers are part of the stored format and never change.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumCount,
    EnumString,
    FromRepr,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum ReceiptType {
    /// No entitlement came in time: the governor left `boot` without one.
    BootstrapTimeout = 0,
    /// A rule asked for an action, which was ordered.
    ActionGenerated = 1,
    /// A rule denied.
    PolicyDenied = 2,
    /// The target carried the action out.
    ActionSuccessful = 3,
    /// The target refused, did not answer in time, or was not asked.
    ActionFailed = 4,
    /// The governor halted, by its breaker or an operator.
    JidokaHalt = 5,
    /// The signal cannot be decided on and became a dead letter.
    DeadletterSignal = 6,
    /// No rule asked for anything.
    Observed = 7,
    /// The quota had no action left; no rule was tried.
    QuotaExceeded = 8,
    /// The governor was degraded and the signal not critical.
    DeferredDropped = 9,
    /// A signal gave or took the entitlement.
    Entitlement = 10,
    /// An operator's order, but for a halt.
    Operator = 11,
    /// Another version of a policy pack holds.
    PolicyChange = 12,
    /// The key of the log or of the receipts changed. Reserved: nothing leaves it.
    KeyChange = 13,
    /// The quota window is over and `quota_exhausted` left.
    QuotaRestored = 14,
    /// The breaker's time is over and `halted` left: one probe may pass.
    BreakerTesting = 15,
    /// The configuration of the node was changed while it ran.
    ConfigChange = 16,
    /// A cause holds that people are to know of.
    AlertOpened = 17,
    /// A channel took a notification.
    AlertNotified = 18,
    /// A channel did not take a notification, and is not asked again.
    AlertFailed = 19,
    /// Somebody takes care of it.
    AlertAcknowledged = 20,
    /// A silence began, ended, or held a notification back.
    AlertSilenced = 21,
    /// Nobody acknowledged it in time, and others were called.
    AlertEscalated = 22,
    /// Its cause is over, or somebody says so.
    AlertResolved = 23,
    /// What a source sent within an hour: how many signals, and which of its numbers are missing.
    Manifest = 24,
}

impl ReceiptType {
    /// In the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// Its name in receipts: `action_generated`.
    #[must_use]
    pub fn into_str(self) -> &'static str {
        self.into()
    }

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
            | Self::DeferredDropped
            | Self::AlertFailed => false,
            Self::ActionGenerated
            | Self::ActionSuccessful
            | Self::Observed
            | Self::Entitlement
            | Self::Operator
            | Self::PolicyChange
            | Self::KeyChange
            | Self::QuotaRestored
            | Self::BreakerTesting
            | Self::ConfigChange
            | Self::AlertOpened
            | Self::AlertNotified
            | Self::AlertAcknowledged
            | Self::AlertSilenced
            | Self::AlertEscalated
            | Self::AlertResolved
            | Self::Manifest => true,
        }
    }

    /// Whether it tells of an alert. Such a receipt shows no states, since nothing is decided on.
    #[must_use]
    pub fn is_of_alert(self) -> bool {
        match self {
            Self::AlertOpened
            | Self::AlertNotified
            | Self::AlertFailed
            | Self::AlertAcknowledged
            | Self::AlertSilenced
            | Self::AlertEscalated
            | Self::AlertResolved => true,
            Self::BootstrapTimeout
            | Self::ActionGenerated
            | Self::PolicyDenied
            | Self::ActionSuccessful
            | Self::ActionFailed
            | Self::JidokaHalt
            | Self::DeadletterSignal
            | Self::Observed
            | Self::QuotaExceeded
            | Self::DeferredDropped
            | Self::Entitlement
            | Self::Operator
            | Self::PolicyChange
            | Self::KeyChange
            | Self::QuotaRestored
            | Self::BreakerTesting
            | Self::ConfigChange
            | Self::Manifest => false,
        }
    }
}

/// What every receipt says, whatever it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gist {
    /// Its name.
    pub id: ReceiptId,
    /// The journal's stamp of the causing event.
    pub time: UnixMillis,
    /// What was decided.
    pub kind: ReceiptType,
    /// The governor's state before the decision.
    pub before: StateName,
    /// Its state afterwards.
    pub after: StateName,
    /// Whether what was asked was done.
    pub success: bool,
    /// The action that was ordered, or whose outcome this is.
    pub action: Option<ActionId>,
    /// The signal's own number; differs from `id.seq` where an outcome or a timer settled the signal later.
    pub signal_seq: Option<Seq>,
}

/// Which rule decided, where one did. Of a changed pack, every rule of it: `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy<Text = Box<str>> {
    /// The name of the pack.
    pub pack: Text,
    /// The rule's id in it.
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
    Governor {
        /// Whose it is.
        tenant: Box<str>,
        /// What of the tenant's it governs.
        sku: Box<str>,
        /// The signal that the event settles, if it settles one.
        signal: Option<Earlier>,
        /// The trace of that signal; no part of the receipt.
        trace: Option<TraceContext>,
    },
    /// The node itself; such a receipt names no tenant, no SKU and no states.
    Node,
}

/// A signal that an earlier event brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier<Text = Box<str>> {
    /// The sender's id of it.
    pub id: Text,
    /// As [`Signal::hash`].
    pub hash: [u8; 32],
}

impl Earlier {
    /// What a later receipt says of `signal`.
    #[must_use]
    pub fn new(signal: &Signal) -> Self {
        Self { id: signal.id().into(), hash: signal.hash() }
    }
}

/// One decision on its way to the scribe.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What every receipt says.
    pub gist: Gist,
    /// The rule that decided.
    pub policy: Option<Arc<Policy>>,
    /// What the rule that decided has read, as canonical JSON: a small object.
    pub facts: Option<Box<str>>,
    /// Cause or reason, in words; what the operator or the failing part said.
    pub reason: Option<Arc<str>>,
    /// Signal, governor or node.
    pub about: About,
}

// A draft is moved some ten times on its way, and a longer one at twice the cost.
const _: () = assert!(size_of::<Draft>() <= 256);

impl Draft {
    /// The trace of the signal that it settles; no part of the receipt.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        match &self.about {
            About::Signal(signal) => signal.trace(),
            About::Governor { trace, .. } => *trace,
            About::Node => None,
        }
    }

    /// From here on the signal that it settles belongs to this one.
    pub fn set_trace(&mut self, new: Option<TraceContext>) {
        match &mut self.about {
            About::Signal(signal) => signal.set_trace(new),
            About::Governor { trace, .. } => *trace = new,
            About::Node => {}
        }
    }
}

#[cfg(test)]
mod tests;
