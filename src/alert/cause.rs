//! What an alert is about, and how it is named.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use strum::{EnumCount, EnumString, FromRepr, IntoStaticStr, VariantArray};

use crate::ids::{Seq, Subject};
use crate::variants::array;

/// How urgent an alert is. The numbers are stored.
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
    FromRepr,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Importance {
    /// Worth a line in a log.
    Info = 0,
    /// Somebody should look during the day.
    Warning = 1,
    /// Somebody must come now.
    Critical = 2,
}

impl Importance {
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);
}

/// What kind of thing went wrong. The names and numbers are stored.
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
    FromRepr,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case", const_into_str)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum CauseKind {
    /// A rule with `alert` fired. Its name is `pack/rule`.
    Rule = 0,
    /// Actions of a governor failed until its breaker opened. Over when the breaker closes.
    GovernorBreaker = 1,
    /// An operator halted a governor, a tenant, a target or the line. Over when it is resumed.
    Halt = 2,
    /// Calls of a target failed until its breaker opened. Over when the breaker closes.
    TargetBreaker = 3,
    /// A governor has no action left in its window. Over with the window.
    QuotaExhausted = 4,
    /// More dead letters a minute than `alerts.dead_letters_per_minute`. Over after a minute with fewer.
    DeadLetters = 5,
    /// A stage of the node is not ready. Over when it is.
    StageNotReady = 6,
    /// The line started again after a failure. Over ten minutes later.
    Restart = 7,
    /// Free disk space is below twice the low-water mark. Over when it is not.
    DiskLow = 8,
    /// The broker is away. Over when it is back.
    BrokerAway = 9,
    /// The shared state is away. Over when it is back.
    SharedStateAway = 10,
    /// Notifications of a channel fail. Over with the next one that arrives, or an hour after the last that did not.
    ChannelFailing = 11,
    /// An operator asked for one, to see that people are reached. Closed by hand.
    Test = 12,
    /// A certificate of this node ends within 21 days. Over when its file has one that does not.
    CertificateExpiring = 13,
    /// The node ended since the transparency log could not be written. Over ten minutes after a start that writes it.
    LogUnwritable = 14,
    /// The same of the state store.
    StoreUnwritable = 15,
    /// Nothing was accepted from a source for as long as `source.heartbeat_seconds` says. Over with the next signal.
    HeartbeatMissed = 16,
    /// Numbers that a source gave its signals did not come. Closed by hand, or over after a day without further ones.
    SequenceGap = 17,
    /// The same as [`Self::LogUnwritable`], of the journal.
    JournalUnwritable = 18,
}

impl CauseKind {
    /// In the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = array(Self::VARIANTS);

    /// How urgent it is where the configuration says nothing else.
    #[must_use]
    pub fn importance(self) -> Importance {
        match self {
            Self::TargetBreaker
            | Self::StageNotReady
            | Self::DiskLow
            | Self::SharedStateAway
            | Self::LogUnwritable
            | Self::StoreUnwritable
            | Self::JournalUnwritable => Importance::Critical,
            Self::Rule
            | Self::GovernorBreaker
            | Self::DeadLetters
            | Self::Restart
            | Self::BrokerAway
            | Self::ChannelFailing
            | Self::CertificateExpiring
            | Self::HeartbeatMissed
            | Self::SequenceGap => Importance::Warning,
            Self::Halt | Self::QuotaExhausted | Self::Test => Importance::Info,
        }
    }

    /// Whether what is said of an open one is news each time that it is different.
    #[must_use]
    pub fn is_news(self) -> bool {
        match self {
            Self::SequenceGap => true,
            Self::Rule
            | Self::GovernorBreaker
            | Self::Halt
            | Self::TargetBreaker
            | Self::QuotaExhausted
            | Self::DeadLetters
            | Self::StageNotReady
            | Self::Restart
            | Self::DiskLow
            | Self::BrokerAway
            | Self::SharedStateAway
            | Self::ChannelFailing
            | Self::Test
            | Self::CertificateExpiring
            | Self::LogUnwritable
            | Self::StoreUnwritable
            | Self::JournalUnwritable
            | Self::HeartbeatMissed => false,
        }
    }

    /// Whether the end of it is seen by itself. An alert of any other kind is closed by hand, or after a time that its rule gives.
    #[must_use]
    pub fn has_end(self) -> bool {
        match self {
            Self::GovernorBreaker
            | Self::Halt
            | Self::TargetBreaker
            | Self::QuotaExhausted
            | Self::DeadLetters
            | Self::StageNotReady
            | Self::Restart
            | Self::DiskLow
            | Self::BrokerAway
            | Self::SharedStateAway
            | Self::ChannelFailing
            | Self::CertificateExpiring
            | Self::LogUnwritable
            | Self::StoreUnwritable
            | Self::JournalUnwritable
            | Self::HeartbeatMissed => true,
            Self::Rule | Self::Test | Self::SequenceGap => false,
        }
    }
}

/// A condition, not an occurrence: what holds again is the same cause.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertCause {
    pub kind: CauseKind,
    /// The governor that it is of; `None` of what concerns the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Rule (`pack/rule`), target, stage, source, channel or what is halted; empty where the kind says all.
    #[serde(default)]
    pub name: Box<str>,
    /// The event by which a governor told of it: so it knows whether the journal has what it told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_by: Option<Seq>,
}

/// The name of the cause begins so where a tenant is halted.
const HALTED_TENANT: &str = "tenant ";

impl AlertCause {
    /// Of what concerns the node.
    #[must_use]
    pub fn of_node(kind: CauseKind, name: &str) -> Self {
        Self { kind, subject: None, name: name.into(), told_by: None }
    }

    /// Whose it is; `None` of the node's own. A halt of a tenant has no governor, and is that tenant's.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match &self.subject {
            Some(subject) => Some(&subject.tenant),
            None if self.kind == CauseKind::Halt => self.name.strip_prefix(HALTED_TENANT),
            None => None,
        }
    }

    /// Whether it is of one node, and not of a governor that another node may take over.
    #[must_use]
    pub fn is_of_node(&self) -> bool {
        self.subject.is_none()
    }
}

/// The name of an alert, and of a group of them: the first half of SHA-256 over what makes it one, each part after its length. The same
/// on every node of one origin for causes that may move from node to node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertId(pub [u8; 16]);

impl AlertId {
    /// `origin` is that of the log; `node` the name of this one.
    #[must_use]
    pub fn of(origin: &str, node: &str, cause: &AlertCause) -> Self {
        let node = if cause.is_of_node() { node } else { "" };
        let (tenant, sku) =
            cause.subject.as_ref().map_or(("", ""), |subject| (&*subject.tenant, &*subject.sku));
        Self::hash(&[origin, node, tenant, sku, cause.kind.into_str(), &cause.name])
    }

    /// No two lists of parts have the same name.
    pub(super) fn hash(parts: &[&str]) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let hash = digest(&SHA256, &text);
        let mut id = [0; 16];
        id.copy_from_slice(hash.as_ref().first_chunk::<16>().unwrap_or(&[0; 16]));
        Self(id)
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&faster_hex::hex_string(&self.0))
    }
}

impl fmt::Debug for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AlertId {
    type Err = NotAnAlertId;

    fn from_str(text: &str) -> Result<Self, NotAnAlertId> {
        let mut id = [0; 16];
        let plain = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match plain.then(|| faster_hex::hex_decode(text.as_bytes(), &mut id)) {
            Some(Ok(_)) => Ok(Self(id)),
            Some(Err(_)) | None => Err(NotAnAlertId),
        }
    }
}

impl Serialize for AlertId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AlertId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The text names no alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an alert's id; one has 32 digits of 0-9 and a-f")]
pub struct NotAnAlertId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_never_run_into_each_other() {
        let ids = [&["a", "bc"][..], &["ab", "c"], &["", "abc"], &["abc", ""], &["abc"], &["a", "b", "c"]];
        let mut hashes: Vec<AlertId> = ids.iter().map(|parts| AlertId::hash(parts)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), ids.len());
    }

    #[test]
    fn a_name_reads_back_and_nothing_else_reads() {
        let id = AlertId::hash(&["x"]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "00", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33)] {
            assert_eq!(wrong.parse::<AlertId>(), Err(NotAnAlertId), "{wrong}");
        }
    }

    #[test]
    fn a_cause_that_may_move_has_one_name_on_every_node() {
        let cause = |kind, name: &str| AlertCause {
            kind,
            subject: Subject::read("acme", "vm").ok().filter(|_| kind == CauseKind::Rule),
            name: name.into(),
            told_by: None,
        };
        let of = |node, cause: &AlertCause| AlertId::of("example.com/gemba", node, cause);
        let rule = cause(CauseKind::Rule, "cost/budget");
        assert_eq!(of("p-1", &rule), of("p-2", &rule));
        let disk = cause(CauseKind::DiskLow, "");
        assert_ne!(of("p-1", &disk), of("p-2", &disk));
    }
}
