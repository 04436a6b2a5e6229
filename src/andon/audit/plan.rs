//! What an audit file has, and where it is.

use std::path::PathBuf;

use crate::receipt::ReceiptType;
use crate::receipt::filter::ReceiptTypes;

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
            Self::Acts => ReceiptTypes::acts().has(kind),
        }
    }
}
