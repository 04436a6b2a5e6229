//! The timers of one shard, in the order in which they are due. Pure: the caller brings the time and offers what is
//! due to the journal, which alone decides when a timer fired (promise P8). A cancelled timer is not taken out: the
//! governor knows it by the event that armed it. So the queue holds at most [`limits::TIMERS_PER_GOVERNOR`] for each
//! governor, and is not durable: after a recovery the governors say which timers run.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::{HashMap, HashMapExt};

use super::governor::Arm;
use crate::event::{Seq, Subject, Timer, TimerKind, UnixMillis};
use crate::limits;

/// No two timers share a place: one event concerns one governor and arms each kind at most once.
type Place = (UnixMillis, Seq, TimerKind);

/// Armed timers of many governors.
#[derive(Debug)]
pub struct Timers {
    queue: BTreeMap<Place, Arc<Subject>>,
    running: HashMap<Arc<Subject>, [Option<Place>; limits::TIMERS_PER_GOVERNOR]>,
}

impl Default for Timers {
    fn default() -> Self {
        Self { queue: BTreeMap::new(), running: HashMap::new() }
    }
}

impl Timers {
    /// Arms a timer, in place of the one of the same kind that the governor may have had.
    pub fn arm(&mut self, arm: Arm) {
        let place = (arm.due, arm.armed, arm.kind);
        let subject = match self.running.get_key_value(&arm.subject) {
            Some((subject, _)) => Arc::clone(subject),
            None => Arc::new(arm.subject),
        };
        let slots = self.running.entry(Arc::clone(&subject)).or_default();
        if let Some(replaced) = slots[slot(arm.kind)].replace(place) {
            self.queue.remove(&replaced);
        }
        self.queue.insert(place, subject);
    }

    /// Takes out the earliest timer that is due. It fired when the journal says so: offer it there.
    pub fn due(&mut self, now: UnixMillis) -> Option<Timer> {
        let first = self.queue.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, armed, kind), subject) = first.remove_entry();
        if let Some(slots) = self.running.get_mut(&subject) {
            slots[slot(kind)] = None;
            if slots.iter().all(Option::is_none) {
                self.running.remove(&subject);
            }
        }
        Some(Timer { subject: Arc::unwrap_or_clone(subject), kind, armed })
    }
}

fn slot(kind: TimerKind) -> usize {
    match kind {
        TimerKind::Boot => 0,
        TimerKind::QuotaWindow => 1,
        TimerKind::BreakerReset => 2,
        TimerKind::ActionDeadline => 3,
        TimerKind::Idle => 4,
        TimerKind::Delivery => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [TimerKind; 4] =
        [TimerKind::Boot, TimerKind::QuotaWindow, TimerKind::BreakerReset, TimerKind::ActionDeadline];

    fn arm(sku: u8, kind: TimerKind, armed: u64, due: u64) -> Arm {
        let subject = Subject::read("acme", &format!("s{sku}")).unwrap();
        Arm { subject, kind, armed: Seq(armed), due: UnixMillis(due) }
    }

    #[test]
    fn nothing_is_due_before_its_time_and_everything_at_it() {
        let mut timers = Timers::default();
        timers.arm(arm(0, TimerKind::Boot, 1, 100));
        assert_eq!(timers.due(UnixMillis(99)), None);
        assert_eq!(timers.due(UnixMillis(100)), Some(arm(0, TimerKind::Boot, 1, 100).into_timer()));
        assert!(timers.queue.is_empty());
    }

    #[test]
    fn what_fired_leaves_nothing_behind() {
        let mut timers = Timers::default();
        for armed in 1..100 {
            timers.arm(arm(0, TimerKind::ActionDeadline, armed, armed + 1000));
            assert_eq!(timers.queue.len(), 1);
        }
        assert_eq!(timers.due(UnixMillis(u64::MAX)).map(|timer| timer.armed), Some(Seq(99)));
        assert!(timers.queue.is_empty() && timers.running.is_empty());
    }

    proptest! {
        #[test]
        fn fires_as_a_sorted_list_would(
            ops in prop::collection::vec((0u8..4, 0usize..4, 0u64..500, any::<bool>()), 1..200)
        ) {
            let mut timers = Timers::default();
            let mut model: Vec<Arm> = Vec::new();
            for (index, (sku, kind, due, look)) in ops.into_iter().enumerate() {
                let arm = arm(sku, KINDS[kind], index as u64 + 1, due);
                model.retain(|old| old.subject != arm.subject || old.kind != arm.kind);
                model.push(arm.clone());
                timers.arm(arm);
                prop_assert_eq!(timers.queue.len(), model.len());
                prop_assert!(timers.queue.len() <= 4 * limits::TIMERS_PER_GOVERNOR);
                if look {
                    model.sort_by_key(|arm| (arm.due, arm.armed));
                    while let Some(timer) = timers.due(UnixMillis(250)) {
                        prop_assert!(model[0].due <= UnixMillis(250));
                        prop_assert_eq!(timer, model.remove(0).into_timer());
                    }
                    prop_assert!(model.first().is_none_or(|arm| arm.due > UnixMillis(250)));
                }
            }
        }
    }
}
