//! What people and programs are shown; the field names are the public contract.

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GovernorView {
    pub tenant: Box<str>,
    pub sku: Box<str>,
    pub state: &'static str,
    pub quota_remaining: u32,
    pub in_flight_action: Option<String>,
    pub breaker: &'static str,
    pub mailbox_depth: usize,
    pub last_seq: u64,
}

/// What became of a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SignalStatus {
    /// `accepted`, `decided` or `dead_lettered`.
    pub status: &'static str,
    pub seq: u64,
    pub receipts: Vec<String>,
}

/// How one stage does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageHealth {
    pub stage: String,
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
