//! Which receipts somebody asks for.

use super::canonical::Fields;
use super::{Policy, ReceiptType};
use crate::ids::UnixMillis;
use crate::names::Rule;

/// Types of receipts, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptTypes(u64);

const _: () = assert!(ReceiptType::ALL.len() <= u64::BITS as usize);

impl ReceiptTypes {
    /// No type.
    pub const NONE: Self = Self(0);

    /// These.
    #[must_use]
    pub fn of(kinds: impl IntoIterator<Item = ReceiptType>) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }

    /// What changes what is decided from there on, and what is told of it. The first are acts of operators, entitlements, rules,
    /// keys and configuration, and breakers, which halt the line and let it go. The second are alerts, and who was told of them, and
    /// manifests, which say that all of it was looked at.
    /// The other receipts tell of one signal, or of a clock that ran out.
    #[must_use]
    pub fn acts() -> Self {
        Self::of(ReceiptType::ALL.into_iter().filter(|kind| is_act(*kind)))
    }

    /// Without one.
    #[must_use]
    pub fn without(self, kind: ReceiptType) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// With one more.
    #[must_use]
    pub fn with(self, kind: ReceiptType) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// Those that are in one of them.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it has this one.
    #[must_use]
    pub fn has(self, kind: ReceiptType) -> bool {
        self.0 & 1 << kind as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }
}

fn is_act(kind: ReceiptType) -> bool {
    match kind {
        ReceiptType::JidokaHalt
        | ReceiptType::BreakerTesting
        | ReceiptType::Entitlement
        | ReceiptType::Operator
        | ReceiptType::PolicyChange
        | ReceiptType::ConfigChange
        | ReceiptType::KeyChange
        | ReceiptType::AlertOpened
        | ReceiptType::AlertNotified
        | ReceiptType::AlertFailed
        | ReceiptType::AlertAcknowledged
        | ReceiptType::AlertSilenced
        | ReceiptType::AlertEscalated
        | ReceiptType::AlertResolved
        | ReceiptType::Manifest => true,
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

/// What a receipt must be. What is `None` says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptFilter {
    /// One of these.
    pub types: ReceiptTypes,
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this SKU.
    pub sku: Option<String>,
    /// Decided by this rule: its id, or pack and id with a slash between.
    pub rule: Option<String>,
    /// Ordered by this actor.
    pub who: Option<String>,
    /// At this time or later.
    pub since: Option<UnixMillis>,
    /// Before this time.
    pub until: Option<UnixMillis>,
}

impl ReceiptFilter {
    /// Takes every receipt of these types.
    #[must_use]
    pub fn of(types: ReceiptTypes) -> Self {
        Self { types, tenant: None, sku: None, rule: None, who: None, since: None, until: None }
    }

    /// Whether it is one that is asked for.
    #[must_use]
    pub fn takes(&self, fields: &Fields<'_>) -> bool {
        let is =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.types.has(fields.gist.kind)
            && self.tenant.as_deref().is_none_or(|wanted| is_of_tenant(fields, wanted))
            && is(&self.sku, fields.sku)
            && self.since.is_none_or(|since| fields.gist.time >= since)
            && self.until.is_none_or(|until| fields.gist.time < until)
            && self.rule.as_deref().is_none_or(|wanted| {
                fields.policy.is_some_and(|Policy { pack, rule, .. }| is_rule(wanted, pack, rule))
            })
            && self
                .who
                .as_deref()
                .is_none_or(|wanted| actor(fields).is_some_and(|actor| is_by(actor, wanted)))
    }
}

/// Whether a receipt is about this tenant: about a governor or a signal of it, or a halt of all of it.
fn is_of_tenant(fields: &Fields<'_>, wanted: &str) -> bool {
    let halted = || ReasonTold::of(fields)?.halted()?.strip_prefix("tenant ");
    fields.tenant == wanted || halted() == Some(wanted)
}

/// Whether `wanted` is who ordered it, or one of the two who did. Two stand with a word between that no token's name has. Only names
/// of tokens are parted: what people are called elsewhere may have the word in it.
fn is_by(actor: &str, wanted: &str) -> bool {
    let is_name = |name: &str| Rule::Name.check("token", name.as_bytes()).is_ok();
    let two = actor.split_once(" and ").filter(|(first, second)| is_name(first) && is_name(second));
    actor == wanted || two.is_some_and(|(first, second)| first == wanted || second == wanted)
}

/// Whether `wanted` names this rule, by its id, or by pack and id with a slash between.
#[must_use]
pub fn is_rule(wanted: &str, pack: &str, rule: &str) -> bool {
    match wanted.split_once('/') {
        Some((of, id)) => of == pack && id == rule,
        None => wanted == rule,
    }
}

/// What the reason of a receipt tells of an order.
#[derive(Clone, Copy, Debug)]
pub struct ReasonTold<'a> {
    /// Its type.
    pub kind: ReceiptType,
    /// Its sentence.
    pub reason: &'a str,
    /// It is about no governor.
    pub of_node: bool,
    /// It is about an alert that somebody ordered to see who is reached.
    pub of_test: bool,
}

/// Who ordered what a receipt tells of.
#[must_use]
pub fn actor<'a>(fields: &Fields<'a>) -> Option<&'a str> {
    ReasonTold::of(fields)?.actor()
}

impl<'a> ReasonTold<'a> {
    fn of(fields: &Fields<'a>) -> Option<Self> {
        let kind = fields.gist.kind;
        let facts = fields.facts.filter(|_| kind == ReceiptType::AlertOpened);
        let facts = facts.and_then(|facts| serde_json::from_str::<serde_json::Value>(facts).ok());
        let of_test = facts.is_some_and(|facts| facts.get("kind").is_some_and(|kind| kind == "test"));
        Some(Self { kind, reason: fields.reason?, of_node: fields.tenant.is_empty(), of_test })
    }

    /// Who ordered it. The reason says so: the order, ` by `, the actor and a colon. A halt by a breaker has the words of its target
    /// there, and an alert those of a rule, so nothing else of these is read.
    #[must_use]
    pub fn actor(self) -> Option<&'a str> {
        let reason = self.reason;
        let said = match self.kind {
            ReceiptType::JidokaHalt if self.of_node => reason.strip_prefix("halt of ")?.split_once(" by ")?.1,
            ReceiptType::JidokaHalt => reason.strip_prefix("halt by ")?,
            ReceiptType::ConfigChange => reason.strip_prefix("by ")?,
            ReceiptType::AlertOpened if self.of_test => reason.strip_prefix("a test by ")?,
            ReceiptType::AlertAcknowledged => reason.strip_prefix("acknowledged by ")?,
            ReceiptType::AlertResolved => reason.strip_prefix("resolved by ")?,
            ReceiptType::AlertSilenced => {
                reason.strip_prefix("silenced by ").or_else(|| reason.strip_prefix("silence ended by "))?
            }
            ReceiptType::Operator | ReceiptType::PolicyChange => reason.split_once(" by ")?.1,
            ReceiptType::BootstrapTimeout
            | ReceiptType::ActionGenerated
            | ReceiptType::PolicyDenied
            | ReceiptType::ActionSuccessful
            | ReceiptType::ActionFailed
            | ReceiptType::DeadletterSignal
            | ReceiptType::Observed
            | ReceiptType::QuotaExceeded
            | ReceiptType::DeferredDropped
            | ReceiptType::Entitlement
            | ReceiptType::KeyChange
            | ReceiptType::QuotaRestored
            | ReceiptType::BreakerTesting
            | ReceiptType::AlertOpened
            | ReceiptType::AlertNotified
            | ReceiptType::AlertFailed
            | ReceiptType::AlertEscalated
            | ReceiptType::Manifest => return None,
        };
        said.split_once(": ").map(|(actor, _)| actor)
    }

    /// Of what a halt of more than one governor began or ended: `tenant acme`, `target page`, `the line`.
    #[must_use]
    pub fn halted(self) -> Option<&'a str> {
        let of = if self.kind == ReceiptType::JidokaHalt {
            self.reason.strip_prefix("halt of ")
        } else if self.kind == ReceiptType::Operator {
            self.reason.strip_prefix("resume of ")
        } else {
            None
        };
        of.filter(|_| self.of_node)?.split_once(" by ").map(|(of, _)| of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_names_of_tokens_are_two_persons() {
        for (actor, wanted, is) in [
            ("alice and bob", "alice", true),
            ("alice and bob", "bob", true),
            ("alice and bob", "alice and bob", true),
            ("alice and bob", "al", false),
            ("pagerduty oncall/x and bob", "bob", false),
            ("pagerduty oncall/x and bob", "pagerduty oncall/x", false),
            ("pagerduty oncall/x and bob", "pagerduty oncall/x and bob", true),
            ("a and b and c", "a", false),
            ("a and b and c", "b and c", false),
        ] {
            assert_eq!(is_by(actor, wanted), is, "{actor} {wanted}");
        }
    }

    #[test]
    fn only_what_an_order_wrote_names_who_ordered_it_and_of_what() {
        use ReceiptType::{AlertOpened, JidokaHalt, Operator};
        for (kind, reason, (of_node, of_test), (actor, halted)) in [
            (
                JidokaHalt,
                "halt of tenant acme by alice: a",
                (true, false),
                (Some("alice"), Some("tenant acme")),
            ),
            (JidokaHalt, "halt of the line by alice: a", (true, false), (Some("alice"), Some("the line"))),
            (Operator, "resume of target page by bob: a", (true, false), (Some("bob"), Some("target page"))),
            (JidokaHalt, "halt by bob: a", (false, false), (Some("bob"), None)),
            // A breaker: its target said so.
            (JidokaHalt, "halt of tenant acme by alice: a", (false, false), (None, None)),
            (Operator, "resume by bob: of tenant acme by eve: a", (false, false), (Some("bob"), None)),
            (AlertOpened, "a test by alice: a", (true, true), (Some("alice"), None)),
            // A rule: its message says so.
            (AlertOpened, "a test by alice: a", (false, false), (None, None)),
        ] {
            let told = ReasonTold { kind, reason, of_node, of_test };
            assert_eq!((told.actor(), told.halted()), (actor, halted), "{kind:?} {reason}");
        }
    }
}
