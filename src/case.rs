//! Dead letters as cases, in the words that stages, store and operators share: what could not be processed, whose it is
//! to mend, and what became of it. A case is named by the number under which its signal was accepted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use strum::{EnumCount, EnumString, IntoStaticStr, VariantArray};

use crate::event::{ActionId, Resend, Seq};
use crate::variants::array;

/// Whose it is to mend. The numbers are stored.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumCount,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Cause {
    /// More signals of one tenant and SKU than may wait behind one action, or two of one id.
    Sender = 0,
    /// A rule or a memory could not be evaluated on the signal.
    Policy = 1,
    /// The action's target failed, or has failed so often that the breaker stands open.
    Target = 2,
    /// An operator halted the governor, deciding on the signal panicked, or the broker set it aside.
    Us = 3,
}

impl Cause {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);
}

/// The name of a case: `d-<seq>`, by the number under which its signal was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(pub Seq);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d-{:016x}", self.0.0)
    }
}

impl FromStr for CaseId {
    type Err = NotACaseId;

    fn from_str(text: &str) -> Result<Self, NotACaseId> {
        let digits = text.strip_prefix("d-").filter(|digits| digits.len() == 16).ok_or(NotACaseId)?;
        let plain = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let seq = plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten();
        seq.map(|seq| Self(Seq(seq))).ok_or(NotACaseId)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a dead letter's id; one looks like d-000000000000002a")]
pub struct NotACaseId;

/// Where a case stands. The numbers are stored.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumCount,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Status {
    Open = 0,
    Replayed = 1,
    Discarded = 2,
}

impl Status {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);
}

/// Why it could not be processed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub cause: Cause,
    pub detail: Box<str>,
    /// Where the governor stood.
    pub state: Box<str>,
    /// The event that settled it, and the journal's time of it.
    pub event: u64,
    pub time: u64,
}

/// An action that its target did not take, as it was decided; it can be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// Its idempotency key.
    pub id: Box<str>,
    pub name: Box<str>,
    pub pack: Box<str>,
    pub rule: Box<str>,
    /// SHA-256 of the pack's text, in hex.
    pub content_hash: Box<str>,
    pub reason: Box<str>,
    /// Its target was halted before it was ordered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_ordered: bool,
}

impl From<&Resend> for Undone {
    fn from(resend: &Resend) -> Self {
        Self {
            id: resend.action.to_string().into(),
            name: resend.name.clone().into(),
            pack: resend.pack.clone().into(),
            rule: resend.rule.clone().into(),
            content_hash: faster_hex::hex_string(&resend.content_hash).into(),
            reason: resend.because.clone().into(),
            never_ordered: resend.never_ordered,
        }
    }
}

impl Undone {
    /// As an order says it; `None` where it is not what was written.
    #[must_use]
    pub fn resend(&self) -> Option<Resend> {
        let mut content_hash = [0; 32];
        faster_hex::hex_decode(self.content_hash.as_bytes(), &mut content_hash).ok()?;
        let Self { name, pack, rule, reason, never_ordered, .. } = self.clone();
        let (name, pack, rule, because) = (name.into(), pack.into(), rule.into(), reason.into());
        let action = ActionId::read(&self.id)?;
        Some(Resend { action, name, pack, rule, content_hash, because, never_ordered })
    }
}

/// One case, as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub id: Box<str>,
    /// The number under which the signal was accepted.
    pub seq: u64,
    pub tenant: Box<str>,
    pub sku: Box<str>,
    pub signal_id: Box<str>,
    pub r#type: Box<str>,
    pub source: Box<str>,
    pub status: Status,
    /// The journal's time when it was closed; `None` while it is open.
    pub closed: Option<u64>,
    /// The first cause.
    #[serde(flatten)]
    pub first: Reason,
    /// What it failed for after its last replay.
    pub last: Option<Reason>,
    /// What failed last, where that was an action.
    #[serde(default)]
    pub action: Option<Undone>,
    /// How often it was sent through the line again.
    pub replays: u32,
    /// The last event that changed it.
    pub changed_by: u64,
}

impl Case {
    /// The action that its replay sends again.
    #[must_use]
    pub fn resend(&self) -> Option<Box<Resend>> {
        self.action.as_ref().and_then(Undone::resend).map(Box::new)
    }
}

/// Which cases are wanted; what is not set does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaseFilter {
    pub cause: Option<Cause>,
    pub tenant: Option<Box<str>>,
    pub sku: Option<Box<str>>,
    pub r#type: Option<Box<str>>,
    pub status: Option<Status>,
}

impl CaseFilter {
    /// Whether it takes this case.
    #[must_use]
    pub fn takes(&self, case: &Case) -> bool {
        let fits =
            |wanted: &Option<Box<str>>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        self.cause.is_none_or(|cause| cause == case.first.cause)
            && fits(&self.tenant, &case.tenant)
            && fits(&self.sku, &case.sku)
            && fits(&self.r#type, &case.r#type)
            && self.status.is_none_or(|status| status == case.status)
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All that the filter takes; `None` where nothing counts them and there are too many to look at.
    pub count: Option<u64>,
    /// Those of the page, in the order of acceptance.
    pub page: Vec<Case>,
    /// Where the next page begins: after this case. `None` at the end.
    pub next: Option<CaseId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_were_written() {
        let id = CaseId(Seq(42));
        assert_eq!(id.to_string(), "d-000000000000002a");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "d-", "42", "d-000000000000002A", "d-0000000000000002a", "d-+00000000000002a"] {
            assert_eq!(wrong.parse::<CaseId>(), Err(NotACaseId), "{wrong}");
        }
    }
}
