//! How events, governors, actions, timers and edges are called, and the words that people and targets say.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{FromRepr, VariantArray};

pub use crate::ids::words::{EdgeName, Words};
use crate::names::{Illegal, Name};
use crate::signal::Signal;

mod words;

/// Position in the one order of the node. Starts at 1, grows by one per event, is never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// Of the last number there is, that number: a node never gives it, but foreign bytes may say it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which run of the journal's writer wrote a record; each recovery opens a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// Wall clock, milliseconds since 1970 (UTC). The journal's stamps never go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    #[cfg(feature = "inside")]
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(u64::from(seconds) * 1000))
    }
}

/// Which governor an event that is not a signal concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    pub tenant: Name,
    pub sku: Name,
}

impl Subject {
    /// # Errors
    /// [`Illegal`].
    pub fn read(tenant: &str, sku: &str) -> Result<Self, Illegal> {
        Ok(Self { tenant: Name::read("tenant", tenant)?, sku: Name::read("sku", sku)? })
    }
}

/// Tenant and SKU, as a list of two.
impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&*self.tenant, &*self.sku).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (tenant, sku) = <(Box<str>, Box<str>)>::deserialize(deserializer)?;
        Self::read(&tenant, &sku).map_err(serde::de::Error::custom)
    }
}

impl From<&Signal> for Subject {
    fn from(signal: &Signal) -> Self {
        let (tenant, sku) = signal.names();
        Self { tenant, sku }
    }
}

/// Which journal gave a number: its random id. 0 where the journal is not known, as in data of older versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub u64);

/// An action, named by the signal that caused it: a governor generates at most one per signal, so journal and number
/// are unique over all nodes, stable over a replay, and serve as the idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId {
    /// The journal that accepted the signal.
    pub journal: JournalId,
    /// The signal's number there.
    pub seq: Seq,
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.journal {
            JournalId(0) => write!(f, "a-{:016x}", self.seq.0),
            JournalId(journal) => write!(f, "a-{journal:016x}-{:016x}", self.seq.0),
        }
    }
}

impl ActionId {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let hex = |digits: &str| {
            let plain = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
        };
        let (journal, seq) = match text.strip_prefix("a-")?.split_once('-') {
            Some((journal, seq)) => (hex(journal).filter(|journal| *journal > 0)?, hex(seq)?),
            None => (0, hex(text.strip_prefix("a-")?)?),
        };
        Some(Self { journal: JournalId(journal), seq: Seq(seq) })
    }
}

/// The timers a governor may have armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromRepr, VariantArray)]
#[repr(u8)]
pub enum TimerKind {
    /// `boot` waited too long for its entitlement.
    Boot = 0,
    /// The quota window is over.
    QuotaWindow = 1,
    /// The breaker may try one probe.
    BreakerReset = 2,
    /// The action in flight is overdue.
    ActionDeadline = 3,
    /// Nothing has come for long, and nothing distinguishes it from a new one. No governor arms it: the shard looks.
    Idle = 4,
    /// An action in the background is overdue.
    Delivery = 5,
}

/// Through which number a processor has taken the signals of one edge and partition. It concerns no governor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    pub edge: EdgeName,
    pub partition: u16,
    pub through: Seq,
}
