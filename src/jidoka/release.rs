//! When effects leave a shard, and what is committed when. They leave at once, and a commit is made when it is asked for; or, of
//! a node that shares the state of partitions, they leave and are committed once what the governors know is shared.

use super::governor::{Effects, Governor};
use super::inbox::Inbox;
use super::outlet::Outlet;
use super::ownership::PartitionOwnership;
use super::roster::Roster;
use super::store::Changes;
use crate::alert::Alarm;
use crate::event::{Kind, Seq};
use crate::sharing::{Hold, Shared};

#[derive(Debug)]
pub enum ReleasePolicy {
    AtOnce(Requests),
    /// Once the shared store has it.
    WhenShared(Box<PartitionOwnership>),
}

/// Commits that are asked for.
#[derive(Debug, Default)]
pub struct Requests {
    /// A commit through this number is asked for.
    wanted: Option<Seq>,
    /// The newest number that was asked for; a later one than `wanted` where that is not done yet.
    asked: Seq,
}

impl Default for ReleasePolicy {
    fn default() -> Self {
        Self::AtOnce(Requests::default())
    }
}

impl ReleasePolicy {
    /// Whether a commit is asked for and not made.
    pub fn is_asked(&self) -> bool {
        match self {
            Self::AtOnce(requests) => requests.wanted.is_some(),
            Self::WhenShared(_) => false,
        }
    }

    /// Whether another node decides on it.
    pub fn is_elsewhere(&self, kind: &Kind) -> bool {
        match self {
            Self::AtOnce(_) => false,
            Self::WhenShared(ownership) => kind.subject().is_some_and(|(tenant, _)| !ownership.holds(tenant)),
        }
    }

    /// What a governor told that has not reached the journal, where it may leave.
    pub fn untold<'a>(&'a self, governor: &'a Governor) -> impl Iterator<Item = Alarm> + 'a {
        governor.untold_alarms().into_iter().filter(|alarm| match self {
            Self::AtOnce(_) => true,
            Self::WhenShared(ownership) => alarm.told_by().is_none_or(|by| ownership.is_shared(by)),
        })
    }

    /// A commit through this number is asked for. What is shared is committed, and only that.
    pub fn ask(&mut self, through: Seq) {
        match self {
            Self::AtOnce(requests) => {
                requests.asked = through;
                requests.wanted.get_or_insert(through);
            }
            Self::WhenShared(_) => {}
        }
    }

    /// What a step of this governor, by this event, asked for.
    pub fn emit(&mut self, effects: &mut Effects, governor: Option<&Governor>, by: Seq, outlet: &mut Outlet) {
        match self {
            Self::AtOnce(_) => {}
            Self::WhenShared(ownership) => {
                if let Some(governor) = governor
                    && !crate::fault::planted("effects-before-shared")
                {
                    ownership.withhold(effects, governor.tenant(), by, outlet.is_live());
                }
            }
        }
        outlet.emit(effects);
    }

    /// The replay is over: arms every timer, and orders again what was ordered and has no outcome.
    pub fn go_live(&self, roster: &Roster, outlet: &mut Outlet) {
        outlet.go_live();
        match self {
            Self::AtOnce(_) => {
                for governor in roster.iter() {
                    governor.timers().for_each(|arm| outlet.arm(arm));
                    governor.untold_alarms().into_iter().for_each(|alarm| outlet.alarm(alarm));
                    outlet.order_again(governor);
                }
            }
            // What is shared is loaded anew when its partition is held again.
            Self::WhenShared(_) => {}
        }
    }

    /// Takes down what changed up to `through`, to be shared; every event before it was stepped.
    pub fn cut(&mut self, through: Seq, roster: &mut Roster) {
        match self {
            Self::AtOnce(_) => {}
            Self::WhenShared(ownership) => ownership.cut(through, roster),
        }
    }

    /// A partition is held from here on.
    pub fn hold(&mut self, hold: Hold, roster: &mut Roster, outlet: &mut Outlet) {
        match self {
            Self::AtOnce(_) => {}
            Self::WhenShared(ownership) => ownership.hold(hold, roster, outlet),
        }
    }

    /// What was cut is shared, or lost.
    pub fn release(&mut self, shared: &Shared, roster: &mut Roster, outlet: &mut Outlet) {
        match self {
            Self::AtOnce(_) => {}
            Self::WhenShared(ownership) => ownership.release(shared, roster, outlet),
        }
    }

    /// Commits once what was taken before the request is stepped.
    pub fn commit_if_asked(&mut self, inbox: &Inbox, roster: &mut Roster, outlet: &mut Outlet) {
        match self {
            Self::AtOnce(requests) => {
                let Some(wanted) = requests.wanted else { return };
                let stepped = inbox.stepped();
                if stepped >= wanted && outlet.can_commit() {
                    commit(stepped, roster, outlet);
                    requests.wanted = Some(requests.asked).filter(|asked| *asked > stepped);
                }
            }
            Self::WhenShared(_) => {}
        }
    }

    /// Commits what need not be asked for. False while nothing may be taken before the store has room for it.
    pub fn commit_unasked(&mut self, inbox: &Inbox, roster: &mut Roster, outlet: &mut Outlet) -> bool {
        match self {
            Self::AtOnce(_) if !outlet.has_many_bodies() => true,
            Self::AtOnce(_) if !outlet.can_commit() => false,
            Self::AtOnce(_) => {
                commit(inbox.stepped(), roster, outlet);
                true
            }
            Self::WhenShared(ownership) => {
                ownership.commit(roster, outlet);
                true
            }
        }
    }
}

/// Hands on what changed, `through` the last event that was stepped.
fn commit(through: Seq, roster: &mut Roster, outlet: &mut Outlet) {
    outlet.decided(through);
    let mut changes = Changes::default();
    changes.forget(roster.drain_forgotten());
    roster.drain_changed(|governor, kept| changes.governor(governor, kept));
    outlet.commit(changes, through, None);
}
