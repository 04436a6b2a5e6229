//! The governor: one state machine per tenant and SKU (promises P3 and P8; blueprint 3A, its holes filled in
//! [`table`]). Pure: [`Governor::step`] reads its event's own stamp and nothing else, and says in [`Effects`] what
//! should happen; the shard's stage makes it happen. What a governor knows survives in `codec`'s bytes.
//!
//! Every accepted signal gets exactly one final receipt, named by the signal's own number and ordinal 0, whether it
//! is decided at once or after it waited. What outcomes, timers and operators cause is named by their own number.

mod adopt;
mod bare;
mod codec;
mod effects;
mod forget;
mod mailbox;
mod quota;
mod state;
mod step;
pub mod table;
#[cfg(test)]
mod tests;
mod turn;

use std::time::Duration;

pub use bare::Bare;
pub use codec::{Damage, decode_signal, encode_signal};
pub use effects::{Arm, Effects, Intent};
pub use step::reason;

use self::mailbox::Held;
use self::quota::Quota;
use self::state::{HaltedBy, State};
use super::breaker::Breaker;
use super::policy::Memory;
use super::rules::{EntitlementDefault, Rules};
use crate::event::{Seq, Subject, TimerKind, UnixMillis};
use crate::limits::WAITING_BYTES;
use crate::receipt::StateName;

/// One governed thing of one tenant. An idle one is [`size_of`] this and its key.
#[derive(Debug)]
pub struct Governor {
    /// `tenant NUL sku`: neither name can contain a NUL, so no two governors share a key.
    key: Box<str>,
    /// Length of the tenant in `key`.
    split: u8,
    entitled: bool,
    /// It is a new one at its next event.
    forgotten: bool,
    breaker: Breaker,
    state: State,
    quota: Quota,
    /// The last event applied; an older one changes nothing (a replay may offer it again).
    last_seq: Seq,
    last_signal: UnixMillis,
    /// What the packs ask to be remembered; there is none before a signal that one counts.
    memory: Option<Box<Memory>>,
}

/// A timer that runs: which event armed it, and when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Armed {
    by: Seq,
    due: UnixMillis,
}

impl Armed {
    fn after(by: Seq, time: UnixMillis, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self { by, due: UnixMillis(time.0.saturating_add(wait)) }
    }
}

impl Governor {
    /// A governor that the event `seq` at `time` is about to reach as its first.
    #[must_use]
    pub fn new(subject: &Subject, seq: Seq, time: UnixMillis, rules: &Rules, effects: &mut Effects) -> Self {
        let entitled = rules.entitlement == EntitlementDefault::Active;
        let boot = (!entitled).then(|| Armed::after(seq, time, rules.boot_timeout));
        let governor = Self {
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
        };
        effects.timers.extend(boot.map(|timer| governor.arm(TimerKind::Boot, timer)));
        governor
    }

    /// What the store files this governor under.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    #[must_use]
    pub fn tenant(&self) -> &str {
        self.key.get(..usize::from(self.split)).unwrap_or_default()
    }

    #[must_use]
    pub fn sku(&self) -> &str {
        self.key.get(usize::from(self.split) + 1..).unwrap_or_default()
    }

    #[must_use]
    pub fn state(&self) -> StateName {
        self.state.name()
    }

    #[must_use]
    pub fn entitled(&self) -> bool {
        self.entitled
    }

    #[must_use]
    pub fn breaker(&self) -> Breaker {
        self.breaker
    }

    #[must_use]
    pub fn quota_remaining(&self, rules: &Rules) -> u32 {
        self.quota.remaining(rules)
    }

    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    #[must_use]
    pub fn last_signal_time(&self) -> UnixMillis {
        self.last_signal
    }

    /// Since when the line stands still here.
    #[must_use]
    pub fn halted_since(&self) -> Option<UnixMillis> {
        match &self.state {
            State::Halted(halted) => Some(halted.since),
            State::Boot(_)
            | State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded => None,
        }
    }

    /// The action that waits for its outcome. After a recovery it must be taken again: whether it had begun is
    /// not known, hence its stable number (promise P2).
    #[must_use]
    pub fn in_flight(&self) -> Option<&Intent> {
        self.state.flight().map(|flight| &flight.intent)
    }

    /// How many signals wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.state.mailbox().map_or(0, mailbox::Mailbox::len)
    }

    /// What the signals take that wait for something here: in the mailbox, or for the outcome of their action.
    #[must_use]
    pub fn bytes_waiting(&self) -> usize {
        let flying = self.in_flight().map_or(0, |intent| intent.signal.body().len() + WAITING_BYTES);
        let mailbox =
            self.state.mailbox().map_or(0, |mailbox| mailbox.bytes() + mailbox.len() * WAITING_BYTES);
        flying + mailbox
    }

    /// Signals that wait, those that came after `seq`; all without one.
    pub(in crate::jidoka) fn held_after(&self, seq: Option<Seq>) -> impl Iterator<Item = &Held> {
        self.state.mailbox().into_iter().flat_map(move |mailbox| mailbox.after(seq))
    }

    /// The number of the signal that waits longest. Its receipt is still to come and will carry this number,
    /// although the event that brings it is a later one: who looks for receipts of a replay must look from here.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Seq> {
        self.state.mailbox().and_then(mailbox::Mailbox::oldest)
    }

    /// The timers that run, at most [`crate::limits::TIMERS_PER_GOVERNOR`]; the shard arms them anew after a recovery.
    pub fn timers(&self) -> impl Iterator<Item = Arm> {
        let boot = match &self.state {
            State::Boot(boot) => Some(boot.timer),
            State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded
            | State::Halted(_) => None,
        };
        let reset = match &self.state {
            State::Halted(halted) => match &halted.by {
                HaltedBy::Breaker { reset } => Some(*reset),
                HaltedBy::Operator { .. } => None,
            },
            State::Boot(_)
            | State::Stable
            | State::ActionPending(_)
            | State::QuotaExhausted
            | State::Degraded => None,
        };
        let running = [
            (TimerKind::Boot, boot),
            (TimerKind::QuotaWindow, self.quota.window()),
            (TimerKind::BreakerReset, reset),
            (TimerKind::ActionDeadline, self.state.flight().map(|flight| flight.deadline)),
        ];
        running.into_iter().filter_map(|(kind, timer)| timer.map(|timer| self.arm(kind, timer)))
    }

    fn arm(&self, kind: TimerKind, timer: Armed) -> Arm {
        Arm { subject: self.subject(), kind, armed: timer.by, due: timer.due }
    }

    /// Its tenant and SKU.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let read = Subject::read(self.tenant(), self.sku());
        read.unwrap_or_else(|illegal| unreachable!("its names were checked when it was made: {illegal}"))
    }

    /// The state of a governor that nothing holds up.
    fn at_rest(&self) -> State {
        if self.entitled { State::Stable } else { State::Degraded }
    }

    /// What must hold between two events, beyond what the types say.
    fn consistent(&self) -> bool {
        if self.forgotten && !self.is_at_first() {
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
                HaltedBy::Operator { flight } => {
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
const _: () = assert!(size_of::<Governor>() <= 128);
