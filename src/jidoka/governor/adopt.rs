//! A governor that another node knew until now. Its numbers are that node's; here everything it has begun is named by the
//! event that brings it, so that nothing is mistaken for an event of this journal. Only its action keeps the name under
//! which the target may know it.

use super::state::{Flight, HaltedBy, State};
use super::{Armed, Bare, Damage, Governor};
use crate::event::{Seq, TimerKind, UnixMillis};
use crate::jidoka::rules::Rules;
use crate::signal::Signal;

impl Governor {
    /// The governor that `row` says, from the event `by` at `time` on. The action that it waits for has its whole time
    /// again, since it is taken again.
    ///
    /// # Errors
    /// [`Damage`] when the bytes are not what [`Governor::encode_bare`] writes.
    pub fn adopted(row: &[u8], by: Seq, time: UnixMillis, rules: &Rules) -> Result<Self, Damage> {
        let mut governor = Bare::decode(row)?.alone()?;
        governor.last_seq = by;
        governor.quota.armed_by(by);
        let renamed = |flight: &mut Flight| {
            flight.deadline = Armed::after(by, time, rules.action_deadline);
            flight.intent.by = by;
            flight.intent.accepted = by;
        };
        match &mut governor.state {
            State::Boot(boot) => boot.timer.by = by,
            State::ActionPending(pending) => renamed(&mut pending.flight),
            State::Halted(halted) => match &mut halted.by {
                HaltedBy::Breaker { reset } => reset.by = by,
                HaltedBy::Operator { flight } => flight.as_deref_mut().into_iter().for_each(renamed),
            },
            State::Stable | State::QuotaExhausted | State::Degraded => {}
        }
        Ok(governor)
    }

    /// The signals that wait, in order, by the number of the event that brought each.
    pub fn waits(&self) -> impl Iterator<Item = (Seq, &Signal)> {
        self.held_after(None).map(|held| (held.seq, &held.signal))
    }

    /// The timers that may be over when it is adopted: that of an action begins anew.
    pub fn lasting_timers(&self) -> impl Iterator<Item = (TimerKind, UnixMillis)> {
        let lasting = self.timers().filter(|arm| arm.kind != TimerKind::ActionDeadline);
        lasting.map(|arm| (arm.kind, arm.due))
    }
}
