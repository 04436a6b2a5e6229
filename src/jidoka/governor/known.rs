//! What a governor knows, as data: the machine changes it, the codec writes it down.

use super::alarms::GovernorAlarms;
use super::armed::Armed;
use super::deliveries::Deliveries;
use super::quota::Quota;
use super::state::{HaltedBy, State};
use crate::event::{Seq, Subject, UnixMillis};
use crate::jidoka::breaker::Breaker;
use crate::jidoka::policy::Memory;
use crate::jidoka::rules::{EntitlementDefault, Rules};

/// An idle governor is [`size_of`] this and its key.
#[derive(Debug)]
pub struct Known {
    /// `tenant NUL sku`: neither name can contain a NUL, so no two governors share a key.
    pub key: Box<str>,
    /// Length of the tenant in `key`.
    pub split: u8,
    pub entitled: bool,
    /// It is a new one at its next event.
    pub forgotten: bool,
    pub breaker: Breaker,
    pub state: State,
    pub quota: Quota,
    /// The last event applied; an older one changes nothing (a replay may offer it again).
    pub last_seq: Seq,
    pub last_signal: UnixMillis,
    /// What the packs ask to be remembered; there is none before a signal that one counts.
    pub memory: Option<Box<Memory>>,
    /// What it told of itself; none where nothing is wrong.
    pub alarms: Option<Box<GovernorAlarms>>,
    /// Actions that are out in the background.
    pub deliveries: Option<Box<Deliveries>>,
}

impl Known {
    /// Of a governor that the event `seq` at `time` is about to reach as its first.
    pub fn new(subject: &Subject, seq: Seq, time: UnixMillis, rules: &Rules) -> Self {
        let entitled = rules.entitlement == EntitlementDefault::Active;
        let boot = (!entitled).then(|| Armed::after(seq, time, rules.boot_timeout));
        Self {
            key: key(&subject.tenant, &subject.sku),
            split: u8::try_from(subject.tenant.len()).unwrap_or(u8::MAX),
            entitled,
            forgotten: false,
            breaker: Breaker::HEALTHY,
            state: boot.map_or(State::Stable, State::boot),
            quota: Quota::Full,
            last_seq: Seq(0),
            last_signal: UnixMillis(0),
            memory: None,
            alarms: None,
            deliveries: None,
        }
    }

    pub fn tenant(&self) -> &str {
        self.key.get(..usize::from(self.split)).unwrap_or_default()
    }

    pub fn sku(&self) -> &str {
        self.key.get(usize::from(self.split) + 1..).unwrap_or_default()
    }

    /// Whether it is where a new one is that need not wait for its entitlement, but for its memory.
    pub fn is_at_first(&self) -> bool {
        matches!(self.state, State::Stable)
            && self.breaker == Breaker::HEALTHY
            && self.quota == Quota::Full
            && self.alarms.as_deref().is_none_or(GovernorAlarms::is_spent)
            && self.deliveries.is_none()
    }

    /// What must hold between two events, beyond what the types say.
    pub fn is_consistent(&self) -> bool {
        if self.forgotten && !self.is_at_first() {
            return false;
        }
        let mut deliveries = self.deliveries.iter().flat_map(|deliveries| deliveries.iter());
        if deliveries.any(|flight| flight.intent.by > self.last_seq) {
            return false;
        }
        let waits_rightly =
            self.state.mailbox().is_none_or(|mailbox| mailbox.is_older_than(self.last_seq.next()));
        match &self.state {
            State::Boot(_) => !self.entitled && self.breaker == Breaker::HEALTHY && waits_rightly,
            State::Stable => self.entitled && self.breaker != Breaker::Open,
            State::QuotaExhausted => self.entitled && self.breaker != Breaker::Open && self.quota.is_spent(),
            State::ActionPending(pending) => {
                let action = pending.flight.intent.by;
                self.breaker != Breaker::Open
                    && action <= self.last_seq
                    && pending.mailbox.oldest().is_none_or(|oldest| action < oldest)
                    && waits_rightly
            }
            State::Degraded => !self.entitled && self.breaker != Breaker::Open,
            State::Halted(halted) => match &halted.by {
                HaltedBy::Breaker { .. } => self.breaker == Breaker::Open,
                HaltedBy::Operator { flight, .. } => {
                    flight.as_ref().is_none_or(|flight| flight.intent.by <= self.last_seq)
                }
            },
        }
    }
}

/// `tenant NUL sku`.
#[must_use]
pub fn key(tenant: &str, sku: &str) -> Box<str> {
    [tenant, "\0", sku].concat().into_boxed_str()
}

// A node holds millions of these; with its key (at most 129 bytes, usually 30) and a map's slot one stays far
// below 400 bytes.
const _: () = assert!(size_of::<Known>() <= 128);
