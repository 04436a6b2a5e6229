//! What a governor goes by: the bounds that the configuration sets, and what a signal asks for. Pure. The same
//! journal under other rules is another history, so rules change only where the journal says so (promise P8).

use std::time::Duration;

use super::policy::Policies;
use crate::limits;

/// What a new governor may assume about its entitlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntitlementDefault {
    /// Entitled until revoked: starts in `stable`.
    #[default]
    Active,
    /// Waits in `boot` for `gemba.entitlement.active`.
    Required,
}

/// One set of rules for all governors of a node.
#[derive(Debug)]
pub struct Rules {
    pub policies: Policies,
    pub entitlement: EntitlementDefault,
    pub boot_timeout: Duration,
    /// Actions that one governor may generate in one window.
    pub quota: u32,
    pub quota_window: Duration,
    /// Signals that may wait in one governor, and the bytes of their bodies.
    pub mailbox: usize,
    pub mailbox_bytes: usize,
    pub breaker_failures: u32,
    pub breaker_reset: Duration,
    /// An action without an outcome by then counts as failed.
    pub action_deadline: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policies: Policies::default(),
            entitlement: EntitlementDefault::Active,
            boot_timeout: Duration::from_secs(30),
            quota: 1000,
            quota_window: Duration::from_mins(1),
            mailbox: 1024,
            mailbox_bytes: limits::MAILBOX_BYTES_MAX,
            breaker_failures: 5,
            breaker_reset: Duration::from_mins(1),
            action_deadline: limits::ACTION_DEADLINE,
        }
    }
}
