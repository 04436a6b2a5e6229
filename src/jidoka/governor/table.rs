//! What each event means in each state: the whole machine on one page, as data that [`Governor::step`] follows
//! and that `docs/governor-table.md` is held against by a test. Where the reference architecture is silent this table decides.
//!
//! A timer counts only if it is the one that runs (known by the event that armed it), and an outcome is `other`
//! unless it belongs to the action in flight. So some cells cannot be met; they are defined all the same.
//!
//! [`Governor::step`]: super::Governor::step

use crate::receipt::StateName;

/// A signal arrives, or has waited and its turn has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSignal {
    /// `observed`, or `action_generated` and on to `action_pending`; with no action left `quota_exceeded`, and
    /// from `stable` on to `quota_exhausted`.
    Decide,
    /// Into the mailbox; `deadletter_signal` when it is full.
    Wait,
    /// `deferred_dropped`.
    Drop,
    /// `quota_exceeded`.
    Exceed,
    /// `deadletter_signal`.
    DeadLetter,
}

/// The entitlement changes: by signal (receipt `entitlement`) or by operator (receipt `operator`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEntitlement {
    /// Remembered; counts when the state is left.
    Remember,
    /// To `stable`; what waits is decided.
    Admit,
    /// To `degraded`; what waits is decided.
    Degrade,
}

/// A timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTimer {
    Ignore,
    /// `bootstrap_timeout`, to `degraded`; what waits is decided.
    GiveUp,
    /// The quota is full again; no receipt, since nothing else changes.
    Refill,
    /// The quota is full again: `quota_restored`, to `stable`.
    Reopen,
    /// If the breaker halted it: `breaker_testing`, to `stable` or `degraded`.
    Test,
    /// As an outcome that failed.
    Fail,
    /// As an outcome that failed while halted.
    Note,
    /// If nothing distinguishes it from a new one, it is a new one at its next event; no receipt.
    Forget,
}

/// An outcome arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOutcome {
    /// `action_successful`, to `stable` or `degraded`; the breaker closes; what waits is decided.
    Succeed,
    /// `action_failed`, to `stable` or `degraded`; when the breaker opens also `jidoka_halt`, on to `halted`;
    /// what waits is decided.
    Fail,
    /// `action_successful` or `action_failed`; stays; the breaker does not count it.
    Note,
    /// The same with the reason `late`: an action that is not, or no longer, in flight.
    Late,
}

/// An operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOrder {
    /// `jidoka_halt`, to `halted` by operator; what waits becomes dead letters; an action in flight stays known.
    Halt,
    /// `operator`; back to the action in flight, else to `stable` or `degraded`; the breaker closes.
    Resume,
    /// `operator`; the new number holds for this window.
    Quota,
    /// The same, and to `stable` unless the number is 0.
    Reopen,
    /// `operator`; nothing changes.
    Note,
}

/// One state's answers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub signal: OnSignal,
    pub critical: OnSignal,
    pub active: OnEntitlement,
    pub revoked: OnEntitlement,
    pub boot: OnTimer,
    pub quota_window: OnTimer,
    pub breaker_reset: OnTimer,
    pub action_deadline: OnTimer,
    pub idle: OnTimer,
    pub ok: OnOutcome,
    pub error: OnOutcome,
    pub other: OnOutcome,
    pub halt: OnOrder,
    pub resume: OnOrder,
    pub quota: OnOrder,
}

/// The answers of `state`.
#[must_use]
pub fn row(state: StateName) -> &'static Row {
    match state {
        StateName::Boot => &BOOT,
        StateName::Stable => &STABLE,
        StateName::ActionPending => &ACTION_PENDING,
        StateName::QuotaExhausted => &QUOTA_EXHAUSTED,
        StateName::Degraded => &DEGRADED,
        StateName::Halted => &HALTED,
    }
}

const BOOT: Row = Row {
    signal: OnSignal::Wait,
    critical: OnSignal::Wait,
    active: OnEntitlement::Admit,
    revoked: OnEntitlement::Degrade,
    boot: OnTimer::GiveUp,
    idle: OnTimer::Ignore,
    ..STABLE
};

const STABLE: Row = Row {
    signal: OnSignal::Decide,
    critical: OnSignal::Decide,
    active: OnEntitlement::Remember,
    revoked: OnEntitlement::Degrade,
    boot: OnTimer::Ignore,
    quota_window: OnTimer::Refill,
    breaker_reset: OnTimer::Ignore,
    action_deadline: OnTimer::Ignore,
    idle: OnTimer::Forget,
    ok: OnOutcome::Late,
    error: OnOutcome::Late,
    other: OnOutcome::Late,
    halt: OnOrder::Halt,
    resume: OnOrder::Note,
    quota: OnOrder::Quota,
};

const ACTION_PENDING: Row = Row {
    signal: OnSignal::Wait,
    critical: OnSignal::Wait,
    active: OnEntitlement::Remember,
    revoked: OnEntitlement::Remember,
    action_deadline: OnTimer::Fail,
    idle: OnTimer::Ignore,
    ok: OnOutcome::Succeed,
    error: OnOutcome::Fail,
    ..STABLE
};

const QUOTA_EXHAUSTED: Row = Row {
    signal: OnSignal::Exceed,
    critical: OnSignal::Exceed,
    quota_window: OnTimer::Reopen,
    idle: OnTimer::Ignore,
    quota: OnOrder::Reopen,
    ..STABLE
};

const DEGRADED: Row = Row {
    signal: OnSignal::Drop,
    active: OnEntitlement::Admit,
    revoked: OnEntitlement::Remember,
    idle: OnTimer::Ignore,
    ..STABLE
};

const HALTED: Row = Row {
    signal: OnSignal::DeadLetter,
    critical: OnSignal::DeadLetter,
    active: OnEntitlement::Remember,
    revoked: OnEntitlement::Remember,
    breaker_reset: OnTimer::Test,
    action_deadline: OnTimer::Note,
    idle: OnTimer::Ignore,
    ok: OnOutcome::Note,
    error: OnOutcome::Note,
    resume: OnOrder::Resume,
    ..STABLE
};
