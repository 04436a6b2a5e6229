//! What the rules say of a signal.

use std::sync::Arc;

use crate::receipt::Policy;

/// What a rule says where it holds.
#[derive(Clone, Debug)]
pub struct Ruling {
    pub policy: Arc<Policy>,
    pub reason: Arc<str>,
}

/// What the rules say.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'p> {
    /// No rule holds, or one that says so.
    Observe(Option<&'p Ruling>),
    Deny(&'p Ruling),
    /// With the name of the action.
    Act(&'p Ruling, &'p Arc<str>),
}

/// The signal does not fit a rule or a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    pub policy: Arc<Policy>,
    /// In words, without what the signal says.
    pub detail: Arc<str>,
}

impl Unfit {
    pub fn new(policy: &Arc<Policy>, why: &dyn std::fmt::Display) -> Self {
        let detail = format!("{}/{}: {why}", policy.pack, policy.rule);
        Self { policy: Arc::clone(policy), detail: detail.into() }
    }
}
