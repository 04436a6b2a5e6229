//! The six states, each with exactly what that moment knows. Only `boot` and `action_pending` have a mailbox, so
//! nothing can wait where nothing will come to free it.

use super::armed::Armed;
use super::effects::Intent;
use super::mailbox::Mailbox;
use crate::event::UnixMillis;
use crate::halt::HaltOrder;
use crate::receipt::StateName;

#[derive(Debug)]
pub enum State {
    /// Waits for its entitlement.
    Boot(Box<Boot>),
    /// Decides on each signal.
    Stable,
    /// One action is out; further signals wait.
    ActionPending(Box<Pending>),
    /// No action is left in this window.
    QuotaExhausted,
    /// Not entitled: decides on critical signals only.
    Degraded,
    /// Stopped.
    Halted(Halted),
}

#[derive(Debug)]
pub struct Boot {
    pub timer: Armed,
    pub mailbox: Mailbox,
}

#[derive(Debug)]
pub struct Pending {
    pub flight: Flight,
    pub mailbox: Mailbox,
}

/// An action between its intent and its outcome.
#[derive(Debug)]
pub struct Flight {
    pub intent: Intent,
    pub deadline: Armed,
}

#[derive(Debug)]
pub struct Halted {
    pub since: UnixMillis,
    pub by: HaltedBy,
}

/// Who stopped it decides what ends it.
#[derive(Debug)]
pub enum HaltedBy {
    /// Its timer, or an operator.
    Breaker { reset: Armed },
    /// An operator only.
    Operator {
        /// An action that was out when it stopped.
        flight: Option<Box<Flight>>,
        /// Unknown of a governor that was halted before this was kept.
        order: Option<Box<HaltOrder>>,
    },
}

impl State {
    pub fn boot(timer: Armed) -> Self {
        Self::Boot(Box::new(Boot { timer, mailbox: Mailbox::default() }))
    }

    pub fn pending(flight: Flight) -> Self {
        Self::ActionPending(Box::new(Pending { flight, mailbox: Mailbox::default() }))
    }

    pub fn name(&self) -> StateName {
        match self {
            Self::Boot(_) => StateName::Boot,
            Self::Stable => StateName::Stable,
            Self::ActionPending(_) => StateName::ActionPending,
            Self::QuotaExhausted => StateName::QuotaExhausted,
            Self::Degraded => StateName::Degraded,
            Self::Halted(_) => StateName::Halted,
        }
    }

    pub fn flight(&self) -> Option<&Flight> {
        match self {
            Self::ActionPending(pending) => Some(&pending.flight),
            Self::Halted(Halted { by: HaltedBy::Operator { flight, .. }, .. }) => flight.as_deref(),
            Self::Boot(_) | Self::Stable | Self::QuotaExhausted | Self::Degraded | Self::Halted(_) => None,
        }
    }

    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Boot(boot) => Some(&boot.mailbox),
            Self::ActionPending(pending) => Some(&pending.mailbox),
            Self::Stable | Self::QuotaExhausted | Self::Degraded | Self::Halted(_) => None,
        }
    }

    pub fn mailbox_mut(&mut self) -> Option<&mut Mailbox> {
        match self {
            Self::Boot(boot) => Some(&mut boot.mailbox),
            Self::ActionPending(pending) => Some(&mut pending.mailbox),
            Self::Stable | Self::QuotaExhausted | Self::Degraded | Self::Halted(_) => None,
        }
    }

    /// What a state that is left behind still owes: its action's outcome, and its waiting signals.
    pub fn into_parts(self) -> (Option<Flight>, Mailbox) {
        match self {
            Self::Boot(boot) => (None, boot.mailbox),
            Self::ActionPending(pending) => (Some(pending.flight), pending.mailbox),
            Self::Halted(Halted { by: HaltedBy::Operator { flight, .. }, .. }) => {
                (flight.map(|flight| *flight), Mailbox::default())
            }
            Self::Stable | Self::QuotaExhausted | Self::Degraded | Self::Halted(_) => {
                (None, Mailbox::default())
            }
        }
    }
}
