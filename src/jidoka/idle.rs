//! Governors that nothing distinguishes from new ones: the shard finds them, the journal says that they are forgotten, and
//! once no event before that is read again they go, from memory and from the store.

use super::roster::Visit;
use super::stage::Stage;
use crate::clock::Instant;
use crate::event::{Arrival, Seq, Timer, TimerKind, UnixMillis};
use crate::limits::{GOVERNOR_IDLE, GOVERNORS_LOOK, GOVERNORS_LOOKED_AT, GOVERNORS_ROUND};

impl Stage {
    /// Looks at a few governors, in a round over all of them.
    pub(super) fn look_for_idle(&mut self, now: Instant, time: UnixMillis) {
        if self.looks_at.is_some_and(|at| now < at) {
            return;
        }
        self.looks_at = Some(now + GOVERNORS_LOOK);
        let mut rang = false;
        for _ in 0..GOVERNORS_LOOKED_AT {
            match self.roster.visit() {
                Visit::Governor(at) => rang |= self.look_at(at, time),
                Visit::Vacant => {}
                Visit::RoundOver => {
                    self.looks_at = Some(now + GOVERNORS_ROUND);
                    break;
                }
            }
        }
        if rang {
            self.lanes.arrivals.ring();
        }
    }

    /// Returns whether the journal was told.
    fn look_at(&mut self, at: u32, time: UnixMillis) -> bool {
        let Some(slot) = self.roster.slot(at) else { return false };
        if self.roster.is_needed(at) || !self.roster.tenants.is_quiet(slot.tenant) {
            return false;
        }
        let governor = &slot.governor;
        if governor.is_forgotten() {
            if governor.last_seq() <= Seq(self.marks.settled.read())
                && let Some(gone) = self.roster.remove(at)
            {
                self.forgotten.insert(gone.key().into());
            }
            return false;
        }
        let idle = time.0.saturating_sub(governor.last_signal_time().0);
        let is_long = u128::from(idle) >= GOVERNOR_IDLE.as_millis() || self.roster.tenants.is_tight();
        if !is_long || !governor.is_as_new(time, &self.rules) || self.lanes.arrivals.room() == 0 {
            return false;
        }
        let timer = Timer { subject: governor.subject(), kind: TimerKind::Idle, armed: governor.last_seq() };
        let pushed = self.lanes.arrivals.push(Arrival::Timer(Box::new(timer)));
        assert!(pushed.is_ok(), "there was room, and only this thread pushes");
        true
    }
}
