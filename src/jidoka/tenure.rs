//! A shard of a node that shares the state of partitions. What its governors ask for is withheld until what they know is in
//! the shared store: a receipt or an action that left earlier could contradict what another node decides. What is withheld
//! of a partition that is lost is void, as are its governors.
//!
//! A cut takes down what changed; nothing of the events behind it is in it, so that the store never knows half of one.

use std::collections::{BTreeMap, VecDeque};

use super::dead_letter::CaseChange;
use super::governor::Governor;
use super::roster::Departed;
use super::stage::{Order, Stage};
use super::store::{Changes, Followup};
use super::timers::Timers;
use crate::event::{Event, Kind, Note, Seq};
use crate::receipt::Draft;
use crate::ring::Sender;
use crate::sharing::{Adopt, Hold, Row, RowCut, Shared, partition_of};

/// What such a shard knows beside its governors.
#[derive(Debug)]
pub struct Tenure {
    partitions: u16,
    /// Those that this node decides on.
    held: Vec<bool>,
    cuts: Sender<RowCut>,
    withheld: VecDeque<Withheld>,
    /// What was taken down of each partition by the cut that is being shared, as this node's own store keeps it.
    cut: BTreeMap<u16, Changes>,
    /// What this node's own store is to be told next.
    pub(super) changes: Changes,
    pub(super) through: Seq,
    /// The store knows less.
    pub(super) changed: bool,
}

/// An effect whose time has not come.
#[derive(Debug)]
struct Withheld {
    partition: u16,
    /// The event that has it.
    by: Seq,
    what: What,
}

#[derive(Debug)]
enum What {
    Draft(Box<Draft>),
    Case(CaseChange),
    Order(Box<Order>),
}

impl Tenure {
    /// Goes on with what this node held at the watermark of its own store.
    #[must_use]
    pub fn new(partitions: u16, held: &[u16], cuts: Sender<RowCut>) -> Self {
        Self {
            partitions,
            held: (0..partitions).map(|partition| held.contains(&partition)).collect(),
            cuts,
            withheld: VecDeque::new(),
            cut: BTreeMap::new(),
            changes: Changes::default(),
            through: Seq(0),
            changed: false,
        }
    }

    fn partition(&self, tenant: &str) -> u16 {
        partition_of(tenant, self.partitions)
    }

    /// Whether this node decides on this tenant.
    pub(super) fn holds(&self, tenant: &str) -> bool {
        self.held.get(usize::from(self.partition(tenant))).copied().unwrap_or_default()
    }

    /// The partitions that are held.
    pub(super) fn held(&self) -> Vec<u16> {
        (0..self.partitions).filter(|partition| self.held[usize::from(*partition)]).collect()
    }
}

impl Stage {
    /// Shares the state of partitions.
    #[must_use]
    pub fn sharing(mut self, tenure: Tenure) -> Self {
        self.tenure = Some(tenure);
        self
    }

    /// Whether another node decides on it.
    pub(super) fn is_elsewhere(&self, kind: &Kind) -> bool {
        let Some(tenure) = &self.tenure else { return false };
        kind.subject().is_some_and(|(tenant, _)| !tenure.holds(tenant))
    }

    /// Keeps what the last step asked for, where it must not leave yet. Timers run at once: what they lead to is withheld, too.
    pub(super) fn withhold(&mut self, at: u32, by: Seq) {
        if crate::fault::planted("effects-before-shared") {
            return;
        }
        let Some((tenure, governor)) = self.tenure.as_mut().zip(self.roster.get(at)) else { return };
        let partition = tenure.partition(governor.tenant());
        let mut put = |what| tenure.withheld.push_back(Withheld { partition, by, what });
        self.effects.drafts.drain(..).for_each(|draft| put(What::Draft(Box::new(draft))));
        self.effects.cases.drain(..).for_each(|change| put(What::Case(change)));
        for intent in self.effects.intents.drain(..) {
            if self.live {
                put(What::Order(Box::new(Order { intent, maybe_twice: false })));
            }
        }
    }

    /// What no partition of this node's brings, but must be seen: a dead letter whose governor is elsewhere, or nowhere.
    pub(super) fn set_apart(&mut self, event: Event) {
        let Some(subject) = event.kind.governor() else { return };
        let mut governor = Governor::new(&subject, event.seq, event.time, &self.rules, &mut self.effects);
        governor.step(event, &self.rules, &mut self.effects);
        self.effects.timers.clear();
        self.route();
    }

    /// The governor that an event brings.
    pub(super) fn adopt(&mut self, at: u32, adopt: &Adopt, event: &Event) {
        let governor = Governor::adopted(adopt.row(), event.seq, event.time, &self.rules);
        assert!(governor.is_ok(), "a row is read before it is journalled: {governor:?}");
        let (Ok(governor), Some(slot)) = (governor, self.roster.slot_mut(at)) else { return };
        slot.governor = governor;
        for arm in slot.governor.timers() {
            self.timers.arm(arm);
        }
        if self.live
            && let Some(intent) = slot.governor.in_flight().cloned()
        {
            self.orders.push_back(Order { intent, maybe_twice: true });
        }
    }

    /// Takes down what changed up to `through`, for all of which every event before it was stepped.
    pub(super) fn cut(&mut self, through: Seq) {
        let Some(tenure) = &mut self.tenure else { return };
        assert!(tenure.cut.is_empty(), "one cut is shared before the next");
        let mut rows = Vec::new();
        let Tenure { partitions, cut, .. } = tenure;
        self.roster.take_down(|governor, kept| {
            let partition = partition_of(governor.tenant(), *partitions);
            let mut row = Vec::new();
            governor.encode_bare(&mut row);
            rows.push(Row {
                partition,
                subject: governor.subject(),
                state: governor.state().into_str(),
                row: row.into(),
                timers: governor.lasting_timers().collect(),
                waiting: governor.waits().map(|(seq, signal)| (seq, signal.clone())).collect(),
                busy: governor.in_flight().is_some() || governor.waiting() > 0,
            });
            cut.entry(partition).or_default().governor(governor, kept);
        });
        let pushed = tenure.cuts.push(RowCut { through, rows });
        assert!(pushed.is_ok(), "one cut is shared before the next");
        tenure.cuts.ring();
    }

    /// What was decided up to `through` counts; what is lost is void.
    pub(super) fn release(&mut self, shared: &Shared) {
        let Some(tenure) = &mut self.tenure else { return };
        let Shared { through, lost } = shared;
        let mut later = VecDeque::new();
        for withheld in std::mem::take(&mut tenure.withheld) {
            let Withheld { partition, by, what } = withheld;
            if lost.contains(&partition) {
                continue;
            }
            if by > *through {
                later.push_back(Withheld { partition, by, what });
                continue;
            }
            match what {
                What::Draft(draft) => {
                    self.followups.extend(Followup::of(&draft));
                    self.notes.push_back(Note::Draft(*draft));
                }
                What::Case(change) => self.take_case(change),
                What::Order(order) => {
                    crate::fault::point("K12");
                    self.orders.push_back(*order);
                }
            }
        }
        let Some(tenure) = &mut self.tenure else { return };
        tenure.withheld = later;
        // Who was forgotten may be there again, as a new one: what is known of it comes behind.
        tenure.changes.forget(std::mem::take(&mut self.forgotten));
        for (partition, cut) in std::mem::take(&mut tenure.cut) {
            if !lost.contains(&partition) {
                tenure.changes.append(&cut);
            }
        }
        tenure.through = tenure.through.max(*through);
        tenure.changed = true;
        self.drop_partitions(lost);
    }

    /// Whatever was known of the partition is void: its governors are loaded as they are needed.
    pub(super) fn hold(&mut self, hold: Hold) {
        self.drop_partitions(&[hold.partition]);
        if let Some(tenure) = &mut self.tenure
            && let Some(held) = tenure.held.get_mut(usize::from(hold.partition))
        {
            *held = true;
        }
    }

    fn drop_partitions(&mut self, lost: &[u16]) {
        let waiting = self.ready();
        let Some(tenure) = &mut self.tenure else { return };
        if lost.is_empty() {
            return;
        }
        tenure.withheld.retain(|withheld| !lost.contains(&withheld.partition));
        tenure.cut.retain(|partition, _| !lost.contains(partition));
        for partition in lost {
            if let Some(held) = tenure.held.get_mut(usize::from(*partition)) {
                *held = false;
            }
        }
        assert!(waiting == 0, "events that wait know their governor by its slot");
        let left = self.roster.leave().into_iter();
        let (void, kept): (Vec<Departed>, Vec<Departed>) =
            left.partition(|left| lost.contains(&tenure.partition(left.governor.tenant())));
        tenure.changes.forget(void.iter().map(|left| left.governor.key().into()).collect());
        self.timers = Timers::default();
        for left in kept {
            for arm in left.governor.timers() {
                self.timers.arm(arm);
            }
            self.roster.admit_again(left);
        }
    }
}
