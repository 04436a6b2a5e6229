//! Halts of more than one governor: what they hold up, who ordered them, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{UnixMillis, Words};
use crate::limits::{TARGET_HALTS_MAX, TENANT_HALTS_MAX};

/// Who ordered a halt, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HaltOrder {
    pub actor: Words,
    pub reason: Words,
}

/// What a halt holds up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// Every governor of the node.
    Line,
    /// Every governor of this tenant, also those that are still to come.
    Tenant(Box<str>),
    /// Actions of this name, whichever governor asks for them.
    Target(Box<str>),
}

impl HaltScope {
    /// `line`, `tenant` or `target`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Tenant(_) => "tenant",
            Self::Target(_) => "target",
        }
    }

    /// Halts of this kind that hold at once.
    #[must_use]
    pub fn most(&self) -> usize {
        match self {
            Self::Line => 1,
            Self::Tenant(_) => TENANT_HALTS_MAX,
            Self::Target(_) => TARGET_HALTS_MAX,
        }
    }

    /// The tenant or the target.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Line => None,
            Self::Tenant(name) | Self::Target(name) => Some(name),
        }
    }
}

impl fmt::Display for HaltScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("the line"),
            Self::Tenant(name) => write!(f, "tenant {name}"),
            Self::Target(name) => write!(f, "target {name}"),
        }
    }
}

/// A halt that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halt {
    pub scope: HaltScope,
    pub by: HaltOrder,
    pub since: UnixMillis,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is halted by {}: {}", self.scope, self.by.actor, self.by.reason)
    }
}
