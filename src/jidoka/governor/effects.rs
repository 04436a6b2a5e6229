//! What a step asks for. The caller owns the lists, acts on them and empties them; they are not given back to the
//! allocator in between.

use std::sync::Arc;

use crate::alert::Alarm;
use crate::event::{ActionId, Seq, Subject, TimerKind, UnixMillis};
use crate::jidoka::dead_letter::CaseChange;
use crate::jidoka::policy::Room;
use crate::receipt::{Draft, Policy};
use crate::signal::Signal;

/// Filled by one or more steps.
#[derive(Debug, Default)]
pub struct Effects {
    pub drafts: Vec<Draft>,
    pub requests: Vec<ActionRequest>,
    pub timers: Vec<Arm>,
    pub cases: Vec<CaseChange>,
    /// What the alerts of the node are told.
    pub alarms: Vec<Alarm>,
    /// Alerts for which the governor has no place.
    pub refused: u64,
    /// No effect, but where rules are evaluated.
    pub room: Room,
}

impl Effects {
    /// Empties the lists and keeps their room.
    #[cfg(feature = "inside")]
    pub fn clear(&mut self) {
        self.drafts.clear();
        self.requests.clear();
        self.timers.clear();
        self.cases.clear();
        self.alarms.clear();
        self.refused = 0;
    }
}

/// What the outbound runtime is asked to do.
#[derive(Clone, Debug)]
pub struct ActionRequest {
    pub intent: Intent,
    /// An earlier call may have been carried out: its outcome is not known, or it failed after the target was asked.
    pub maybe_twice: bool,
    /// It was ordered before by the same event: of the calls until now nothing is known.
    pub is_again: bool,
    /// Of an action in the background: until then it is tried.
    pub give_up: Option<UnixMillis>,
}

/// An action to take; its outcome must come back as an event.
#[derive(Clone, Debug)]
pub struct Intent {
    pub action: ActionId,
    /// The event of this node's journal that brought it: another number than the action's where another node ordered it.
    pub by: Seq,
    /// Which of the configured actions.
    pub name: Arc<str>,
    /// The rule that asked for it, and what it says.
    pub policy: Arc<Policy>,
    pub reason: Arc<str>,
    /// When the governor decided.
    pub time: UnixMillis,
    /// The number under which the signal was accepted; another than the action's only after a replay.
    pub accepted: Seq,
    pub signal: Signal,
}

/// A timer to arm. Arming the same kind for the same governor again replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    pub subject: Subject,
    pub kind: TimerKind,
    /// The event that armed it: the governor knows the timer by this number.
    pub armed: Seq,
    pub due: UnixMillis,
}

impl Arm {
    /// The timer as the journal will bring it.
    #[cfg(test)]
    pub fn into_timer(self) -> crate::event::Timer {
        crate::event::Timer { subject: self.subject, kind: self.kind, armed: self.armed }
    }
}
