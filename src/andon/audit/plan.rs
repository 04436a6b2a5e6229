//! What an audit file has, and where it is.

use std::path::PathBuf;

use crate::receipt::ReceiptType;

/// One audit file, and those that it wraps through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPlan {
    pub path: PathBuf,
    pub max_bytes: u64,
    /// With the open one.
    pub max_files: u32,
    pub selection: AuditSelection,
}

/// Which receipts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditSelection {
    All,
    /// Of what people, rules and configuration changed.
    Acts,
}

impl AuditSelection {
    #[must_use]
    pub fn takes(self, kind: ReceiptType) -> bool {
        match self {
            Self::All => true,
            Self::Acts => is_act(kind),
        }
    }
}

/// Whether it tells of a change of what is decided from there on: by an operator, by entitlements, rules and keys, and by the
/// breaker, which halts the line and lets it go. The others tell of one signal, or of a clock that ran out.
fn is_act(kind: ReceiptType) -> bool {
    match kind {
        ReceiptType::JidokaHalt
        | ReceiptType::BreakerTesting
        | ReceiptType::Entitlement
        | ReceiptType::Operator
        | ReceiptType::PolicyChange
        | ReceiptType::ConfigChange
        | ReceiptType::KeyChange => true,
        ReceiptType::BootstrapTimeout
        | ReceiptType::ActionGenerated
        | ReceiptType::PolicyDenied
        | ReceiptType::ActionSuccessful
        | ReceiptType::ActionFailed
        | ReceiptType::DeadletterSignal
        | ReceiptType::Observed
        | ReceiptType::QuotaExceeded
        | ReceiptType::DeferredDropped
        | ReceiptType::QuotaRestored => false,
    }
}
