//! Which receipts somebody asks for.

use super::canonical::Fields;
use super::{Policy, ReceiptType};
use crate::ids::UnixMillis;

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
            && is(&self.tenant, fields.tenant)
            && is(&self.sku, fields.sku)
            && self.since.is_none_or(|since| fields.gist.time >= since)
            && self.until.is_none_or(|until| fields.gist.time < until)
            && self.rule.as_deref().is_none_or(|wanted| {
                fields.policy.is_some_and(|Policy { pack, rule, .. }| is_rule(wanted, pack, rule))
            })
            && self.who.as_deref().is_none_or(|wanted| {
                // Two persons stand in a receipt with a word between that no token's name has.
                actor(fields)
                    .is_some_and(|found| found.split(" and ").any(|one| one == wanted) || found == wanted)
            })
    }
}

/// Whether `wanted` names this rule, by its id, or by pack and id with a slash between.
#[must_use]
pub fn is_rule(wanted: &str, pack: &str, rule: &str) -> bool {
    match wanted.split_once('/') {
        Some((of, id)) => of == pack && id == rule,
        None => wanted == rule,
    }
}

/// Who ordered what a receipt tells of. Its reason says so: the order, ` by `, the actor and a colon. A halt by a breaker
/// has the words of its target there, so nothing else of a halt is read.
#[must_use]
pub fn actor<'a>(fields: &Fields<'a>) -> Option<&'a str> {
    let reason = fields.reason?;
    let said = match fields.gist.kind {
        ReceiptType::JidokaHalt => match reason.strip_prefix("halt by ") {
            Some(said) => said,
            None => reason.strip_prefix("halt of ")?.split_once(" by ")?.1,
        },
        ReceiptType::ConfigChange => reason.strip_prefix("by ")?,
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
