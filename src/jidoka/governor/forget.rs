//! A governor that nothing distinguishes from a new one is forgotten: it begins anew with its next event.

use super::effects::Effects;
use super::state::State;
use super::table::{self, OnTimer};
use super::turn::Turn;
use super::{Governor, Quota};
use crate::event::{Event, Kind, Seq, Timer, TimerKind, UnixMillis};
use crate::jidoka::breaker::Breaker;
use crate::jidoka::policy::Memory;
use crate::jidoka::rules::{EntitlementDefault, Rules};

impl Governor {
    /// Whether nothing distinguishes it from a new one.
    #[must_use]
    pub fn is_as_new(&self, time: UnixMillis, rules: &Rules) -> bool {
        let is_blank = |memory: &Memory| rules.policies.of(self.tenant()).is_blank(memory, time);
        self.is_at_first()
            && rules.entitlement == EntitlementDefault::Active
            && self.memory.as_deref().is_none_or(is_blank)
    }

    pub(super) fn is_at_first(&self) -> bool {
        matches!(self.state, State::Stable) && self.breaker == Breaker::HEALTHY && self.quota == Quota::Full
    }

    /// Whether it is a new one at its next event; then it need not be kept, once no event before that is read again.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Whether the event is a new one, and then which was the last one before it.
    pub(super) fn begin(&mut self, event: &Event, rules: &Rules, effects: &mut Effects) -> Option<Seq> {
        let before = self.last_seq;
        if event.seq <= before {
            return None;
        }
        let looks = matches!(&event.kind, Kind::Timer(timer) if timer.kind == TimerKind::Idle);
        if self.forgotten && !looks {
            *self = Self::new(&self.subject(), event.seq, event.time, rules, effects);
        }
        self.last_seq = event.seq;
        Some(before)
    }

    /// The shard found it idle after the event `timer.armed`. It is new again, if nothing has come since.
    pub(super) fn on_idle(&mut self, timer: &Timer, before: Seq, turn: &Turn) {
        let answer = table::row(self.state()).idle;
        self.forgotten |=
            answer == OnTimer::Forget && timer.armed == before && self.is_as_new(turn.time, turn.rules);
    }
}
