//! The partitions whose state a shard shares with other nodes. What its governors ask for is withheld until what they know is in
//! the shared store: a receipt or an action that left earlier could contradict what another node decides. What is withheld
//! of a partition that is lost is void, as are its governors.
//!
//! A cut takes down what changed; nothing of the events behind it is in it, so that the store never knows half of one.

use std::collections::{BTreeMap, VecDeque};

use super::dead_letter::CaseChange;
use super::governor::ActionRequest;
use super::governor::{Effects, Governor};
use super::outlet::Outlet;
use super::roster::Roster;
use super::store::Changes;
use crate::alert::Alarm;
use crate::event::Seq;
use crate::receipt::Draft;
use crate::ring::Sender;
use crate::sharing::{HeldPartitions, Hold, Row, RowCut, Shared};

/// What such a shard knows beside its governors.
#[derive(Debug)]
pub struct PartitionOwnership {
    held: HeldPartitions,
    cuts: Sender<RowCut>,
    withheld: VecDeque<Withheld>,
    /// What was taken down of each partition by the cut that is being shared, as this node's own store keeps it.
    cut: BTreeMap<u16, Changes>,
    /// What this node's own store is to be told next.
    changes: Changes,
    through: Seq,
    /// The store knows less.
    changed: bool,
}

/// An effect whose time has not come.
#[derive(Debug)]
struct Withheld {
    partition: u16,
    /// The event that has it.
    by: Seq,
    effect: Effect,
}

#[derive(Debug)]
enum Effect {
    Draft(Box<Draft>),
    Case(CaseChange),
    Request(Box<ActionRequest>),
    Alarm(Box<Alarm>),
}

impl PartitionOwnership {
    /// Goes on with what this node held at the watermark of its own store.
    #[must_use]
    pub fn new(held: HeldPartitions, cuts: Sender<RowCut>) -> Self {
        Self {
            held,
            cuts,
            withheld: VecDeque::new(),
            cut: BTreeMap::new(),
            changes: Changes::default(),
            through: Seq(0),
            changed: false,
        }
    }

    /// Whether this node decides on this tenant.
    pub fn holds(&self, tenant: &str) -> bool {
        self.held.holds(tenant)
    }

    /// Keeps what a step asked for, but for timers: they run at once, and what they lead to is withheld, too.
    pub fn withhold(&mut self, effects: &mut Effects, tenant: &str, by: Seq, is_live: bool) {
        let partition = self.held.of(tenant);
        let mut put = |effect| self.withheld.push_back(Withheld { partition, by, effect });
        effects.drafts.drain(..).for_each(|draft| put(Effect::Draft(Box::new(draft))));
        effects.cases.drain(..).for_each(|change| put(Effect::Case(change)));
        for request in effects.requests.drain(..) {
            if is_live {
                put(Effect::Request(Box::new(request)));
            }
        }
        for alarm in effects.alarms.drain(..) {
            if is_live {
                put(Effect::Alarm(Box::new(alarm)));
            }
        }
    }

    /// Whether what was told by this event is shared.
    pub fn is_shared(&self, by: Seq) -> bool {
        by <= self.through
    }

    /// Takes down what changed up to `through`, for all of which every event before it was stepped.
    pub fn cut(&mut self, through: Seq, roster: &mut Roster) {
        assert!(self.cut.is_empty(), "one cut is shared before the next");
        let mut rows = Vec::new();
        let Self { held, cut, .. } = self;
        roster.drain_changed(|governor, kept| {
            let partition = held.of(governor.tenant());
            rows.push(row(governor, partition));
            cut.entry(partition).or_default().governor(governor, kept);
        });
        let pushed = self.cuts.push(RowCut { through, rows });
        assert!(pushed.is_ok(), "one cut is shared before the next");
        self.cuts.ring();
    }

    /// What was decided up to `through` counts; what is lost is void.
    pub fn release(&mut self, Shared { through, lost }: &Shared, roster: &mut Roster, outlet: &mut Outlet) {
        let mut later = VecDeque::new();
        for withheld in std::mem::take(&mut self.withheld) {
            if lost.contains(&withheld.partition) {
                continue;
            }
            if withheld.by > *through {
                later.push_back(withheld);
                continue;
            }
            match withheld.effect {
                Effect::Draft(draft) => outlet.draft(*draft),
                Effect::Case(change) => outlet.case(change),
                Effect::Request(request) => outlet.order(*request),
                Effect::Alarm(alarm) => outlet.alarm(*alarm),
            }
        }
        self.withheld = later;
        // Who was forgotten may be there again, as a new one: what is known of it comes behind.
        self.changes.forget(roster.drain_forgotten());
        for (partition, cut) in std::mem::take(&mut self.cut) {
            if !lost.contains(&partition) {
                self.changes.append(&cut);
            }
        }
        self.through = self.through.max(*through);
        self.changed = true;
        self.drop_partitions(lost, roster, outlet);
    }

    /// Whatever was known of the partition is void: its governors are loaded as they are needed.
    pub fn hold(&mut self, hold: Hold, roster: &mut Roster, outlet: &mut Outlet) {
        self.drop_partitions(&[hold.partition], roster, outlet);
        self.held.take(hold.partition);
    }

    /// Commits what was shared, when there is room for it.
    pub fn commit(&mut self, roster: &mut Roster, outlet: &mut Outlet) {
        if !self.changed || !outlet.can_commit() {
            return;
        }
        self.changed = false;
        self.changes.forget(roster.drain_forgotten());
        outlet.commit(std::mem::take(&mut self.changes), self.through, Some(self.held.numbers().collect()));
    }

    fn drop_partitions(&mut self, lost: &[u16], roster: &mut Roster, outlet: &mut Outlet) {
        if lost.is_empty() {
            return;
        }
        self.withheld.retain(|withheld| !lost.contains(&withheld.partition));
        self.cut.retain(|partition, _| !lost.contains(partition));
        for partition in lost {
            self.held.lose(*partition);
        }
        let removed = roster.remove_tenants(|tenant| lost.contains(&self.held.of(tenant)));
        self.changes.forget(removed);
        outlet.rearm(roster.iter().flat_map(Governor::timers));
    }
}

/// The governor as other nodes load it.
fn row(governor: &Governor, partition: u16) -> Row {
    let mut row = Vec::new();
    governor.encode_bare(&mut row);
    Row {
        partition,
        subject: governor.subject(),
        state: governor.state().into_str(),
        row: row.into(),
        timers: governor.lasting_timers().collect(),
        waiting: governor.waits().map(|(seq, signal)| (seq, signal.clone())).collect(),
        busy: governor.in_flight().is_some() || governor.waiting() > 0 || governor.has_open_alarms(),
    }
}
