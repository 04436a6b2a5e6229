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

/// What is halted in a few words, such as `the line, tenant acme, 2 targets`; nothing where nothing is. A halt is named by its
/// kind and by what it is of.
pub fn in_words<'a>(halts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Option<String> {
    let halts: Vec<_> = halts.into_iter().collect();
    let of_kind = |kind: &str| {
        let names: Vec<_> = halts.iter().filter(|(of, _)| *of == kind).map(|(_, name)| name).collect();
        match *names {
            [] => None,
            [Some(name)] => Some(format!("{kind} {name}")),
            [None] => Some(format!("the {kind}")),
            _ => Some(format!("{} {kind}s", names.len())),
        }
    };
    let parts: Vec<String> = ["line", "tenant", "target"].into_iter().filter_map(of_kind).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn what_is_halted_is_said_in_a_few_words() {
        assert_eq!(in_words([]), None);
        let halts = [("target", Some("a")), ("tenant", Some("acme")), ("line", None), ("target", Some("b"))];
        assert_eq!(in_words(halts).as_deref(), Some("the line, tenant acme, 2 targets"));
    }
}
