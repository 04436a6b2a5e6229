//! What each tenant takes of a shard's memory, and who must wait: a tenant with too much on its way, or with more than its
//! share while the node is short of room (promise P5). A share is the same for all: what those leave who use less is for
//! those who use more. Nobody is asked for it before the node has used most of what it may use.

use foldhash::quality::RandomState;
use hashbrown::HashMap;

use std::collections::VecDeque;

use crate::kaizen::Tally;
use crate::limits::TENANT_EVENTS_MAX;
use crate::ring::{Corner, Over, Used};

#[derive(Debug, Default)]
pub struct Tenants {
    numbers: HashMap<Box<str>, u32, RandomState>,
    tenants: Vec<Tenant>,
    vacant: Vec<u32>,
    used: Used,
    /// What one tenant may have; nothing is asked of it without.
    share: Option<Used>,
    /// Where is told who must wait.
    corner: Option<Corner>,
    /// Who must wait.
    crowded: Vec<u32>,
    round: Round,
    /// Tenants whose tally was not told yet, in the order in which they came.
    untold: VecDeque<u32>,
    /// What those took that have left, and was not told.
    departed: Tally,
}

/// A round over all tenants, some at each look: who uses more than the share that held when it began.
#[derive(Debug, Default)]
struct Round {
    at: usize,
    share: Option<Used>,
    bytes: Over,
    governors: Over,
}

/// Tenants that one look visits.
const VISITS: usize = 64;

#[derive(Debug)]
struct Tenant {
    name: Box<str>,
    governors: u64,
    /// Events that wait for their step.
    events: usize,
    /// What its signals take that wait.
    bytes: u64,
    is_crowded: bool,
    /// What it took and was not told yet.
    tally: Tally,
}

impl Tenants {
    pub fn tell(&mut self, corner: Corner) {
        self.corner = Some(corner);
    }

    /// One more governor of a tenant. Returns the tenant's number, which is its own while it has a governor.
    pub fn admit(&mut self, name: &str) -> u32 {
        self.used.governors += 1;
        if let Some(number) = self.numbers.get(name).copied() {
            self.tenants[number as usize].governors += 1;
            self.judge(number);
            return number;
        }
        let tenant = Tenant {
            name: name.into(),
            governors: 1,
            events: 0,
            bytes: 0,
            is_crowded: false,
            tally: Tally::default(),
        };
        self.used.tenants += 1;
        let number = if let Some(number) = self.vacant.pop() {
            self.tenants[number as usize] = tenant;
            number
        } else {
            self.tenants.push(tenant);
            u32::try_from(self.tenants.len() - 1).unwrap_or(u32::MAX)
        };
        self.numbers.insert(name.into(), number);
        number
    }

    /// One governor fewer.
    pub fn leave(&mut self, number: u32) {
        self.used.governors -= 1;
        let tenant = &mut self.tenants[number as usize];
        tenant.governors -= 1;
        if tenant.governors > 0 {
            return;
        }
        assert!(tenant.events == 0 && tenant.bytes == 0, "what waits has a governor");
        self.used.tenants -= 1;
        self.numbers.remove(&*tenant.name);
        // The next look finds it in `crowded`, before its number is another's.
        if std::mem::take(&mut tenant.is_crowded)
            && let Some(corner) = &mut self.corner
        {
            corner.leave(&tenant.name);
        }
        self.departed.add(std::mem::take(&mut tenant.tally));
        tenant.name = Box::default();
        self.vacant.push(number);
    }

    /// What signals of one of its governors take that wait for it.
    pub fn waits(&mut self, number: u32, before: usize, after: usize) {
        let tenant = &mut self.tenants[number as usize];
        tenant.bytes = tenant.bytes + after as u64 - before as u64;
        self.used.bytes = self.used.bytes + after as u64 - before as u64;
        if after > before {
            self.judge(number);
        }
    }

    /// An event waits for its step.
    pub fn event(&mut self, number: u32) {
        self.tenants[number as usize].events += 1;
        self.judge(number);
    }

    /// An event is about to be stepped.
    pub fn steps(&mut self, number: u32) {
        self.tenants[number as usize].events -= 1;
    }

    /// An event was stepped, with what it took.
    pub fn took(&mut self, number: u32, tally: Tally) {
        let known = &mut self.tenants[number as usize].tally;
        if known.events == 0 {
            self.untold.push_back(number);
        }
        known.add(tally);
    }

    /// Tells what tenants took, until `tell` takes no more; the rest is told the next time. Those that have left have no name.
    pub fn tell_tallies(&mut self, mut tell: impl FnMut(&str, Tally) -> bool) {
        if self.departed != Tally::default() && tell("", self.departed) {
            self.departed = Tally::default();
        }
        while let Some(number) = self.untold.front() {
            let tenant = &mut self.tenants[*number as usize];
            // One that has left since stands here with nothing.
            if tenant.tally != Tally::default() && !tell(&tenant.name, tenant.tally) {
                return;
            }
            tenant.tally = Tally::default();
            self.untold.pop_front();
        }
    }

    /// Whether no event of it waits.
    pub fn is_quiet(&self, number: u32) -> bool {
        self.tenants.get(number as usize).is_some_and(|tenant| tenant.events == 0)
    }

    /// Whether the node is short of room for governors.
    pub fn is_tight(&self) -> bool {
        self.share.is_some_and(|share| share.governors < u64::MAX)
    }

    /// Says what is used, and looks again who must wait.
    pub fn look(&mut self) {
        let Some(corner) = &mut self.corner else { return };
        let was_short = self.share.is_some();
        if was_short {
            self.round.go_on(&self.tenants, self.share, corner);
        }
        self.share = corner.share(self.used);
        if was_short && self.share.is_none() {
            self.round = Round::default();
            corner.tell(Over::default(), Over::default());
        }
        let mut crowded = std::mem::take(&mut self.crowded);
        crowded.retain(|number| !self.forgives(*number));
        self.crowded = crowded;
    }

    fn judge(&mut self, number: u32) {
        let tenant = &mut self.tenants[number as usize];
        let (events, share) = (tenant.events >= TENANT_EVENTS_MAX, self.share);
        if (events || tenant.exceeds(share)) && !tenant.is_crowded {
            tenant.is_crowded = true;
            self.crowded.push(number);
            if let Some(corner) = &mut self.corner {
                corner.enter(&tenant.name);
            }
        }
    }

    /// Whether it need not wait any more.
    fn forgives(&mut self, number: u32) -> bool {
        let tenant = &mut self.tenants[number as usize];
        if !tenant.is_crowded {
            return true;
        }
        if tenant.events > TENANT_EVENTS_MAX / 2 || tenant.exceeds(self.share) {
            return false;
        }
        tenant.is_crowded = false;
        if let Some(corner) = &mut self.corner {
            corner.leave(&tenant.name);
        }
        true
    }
}

impl Round {
    fn go_on(&mut self, tenants: &[Tenant], share: Option<Used>, corner: &mut Corner) {
        let visited = tenants.iter().skip(self.at).take(VISITS);
        self.at += visited.len();
        if let Some(share) = self.share {
            let count = |over: &mut Over, used: u64, share: u64| {
                if used > share {
                    over.tenants += 1;
                    over.used += used;
                }
            };
            for tenant in visited {
                count(&mut self.bytes, tenant.bytes, share.bytes);
                count(&mut self.governors, tenant.governors, share.governors);
            }
        }
        if self.at >= tenants.len() {
            corner.tell(self.bytes, self.governors);
            *self = Self { share, ..Self::default() };
        }
    }
}

impl Tenant {
    fn exceeds(&self, share: Option<Used>) -> bool {
        share.is_some_and(|share| self.bytes > share.bytes || self.governors > share.governors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ring::{Crowd, Room};

    fn tenants(room: Room) -> (Tenants, Crowd) {
        let crowd = Crowd::new(1, room);
        let mut tenants = Tenants::default();
        tenants.tell(crowd.of(0));
        (tenants, crowd)
    }

    #[test]
    fn who_has_more_than_its_share_waits_while_the_node_is_short_of_room() {
        let (mut tenants, crowd) = tenants(Room { bytes: 1000, governors: 100 });
        let (large, small) = (tenants.admit("large"), tenants.admit("small"));
        tenants.waits(large, 0, 700);
        tenants.waits(small, 0, 40);
        tenants.look();
        assert!(!crowd.holds("large") && !crowd.holds("small"), "there is room");
        tenants.waits(large, 700, 720);
        tenants.look();
        tenants.waits(large, 720, 721);
        tenants.waits(small, 40, 41);
        assert!(crowd.holds("large") && !crowd.holds("small"), "three quarters are 750, and it has 40 less");
        tenants.waits(large, 721, 300);
        tenants.look();
        assert!(!crowd.holds("large"), "there is room again");
    }

    #[test]
    fn who_has_more_governors_than_its_share_waits_while_the_node_is_short_of_room() {
        let (mut tenants, crowd) = tenants(Room { bytes: 1000, governors: 100 });
        tenants.admit("small");
        let large = (0..75).map(|_| tenants.admit("large")).last().unwrap();
        tenants.look();
        assert!(tenants.is_tight() && !crowd.holds("large"));
        tenants.admit("large");
        assert!(crowd.holds("large") && !crowd.holds("small"));
        (0..76).for_each(|_| tenants.leave(large));
        assert!(!crowd.holds("large"), "it is not known any more");
    }

    /// One that takes whatever there is does not lock out a larger one that was there before.
    #[test]
    fn what_those_leave_who_use_less_is_for_those_who_use_more() {
        let (mut tenants, crowd) = tenants(Room { bytes: 1000, governors: 100 });
        for small in 0..8 {
            tenants.admit(&format!("small-{small}"));
        }
        (0..12).for_each(|_| _ = tenants.admit("large"));
        for _ in 0..80 {
            if !crowd.holds("greedy") {
                tenants.admit("greedy");
            }
            if !crowd.holds("large") {
                let number = tenants.admit("large");
                tenants.leave(number);
            }
            tenants.look();
        }
        (0..3).for_each(|_| tenants.look());
        assert!(crowd.holds("greedy") && !crowd.holds("large"));
        assert_eq!(tenants.share.map(|share| share.governors), Some(75 - 8 - 12));
        assert!(tenants.used.governors <= 78, "{:?}", tenants.used);
    }

    /// As a source that names its tenants can have it; in steps of all of them at each turn this takes minutes.
    #[test]
    fn many_who_must_wait_cost_a_turn_no_more_than_their_number() {
        const TENANTS: u32 = 200_000;
        let (mut tenants, crowd) = tenants(Room { bytes: 1000, governors: u64::from(TENANTS) * 5 / 2 });
        let numbers: Vec<u32> = (0..TENANTS).map(|who| tenants.admit(&format!("t{who}"))).collect();
        for _ in 0..TENANTS {
            tenants.admit("t0");
        }
        tenants.look();
        for number in &numbers {
            tenants.admit(&format!("t{number}"));
        }
        let begun = std::time::Instant::now();
        (0..5).for_each(|_| tenants.look());
        assert!(crowd.holds("t7") && tenants.crowded.len() > 100_000);
        numbers[1..].iter().for_each(|number| {
            tenants.leave(*number);
            tenants.leave(*number);
        });
        tenants.look();
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
        assert!(!crowd.holds("t7") && tenants.crowded.len() <= 1);
    }

    #[test]
    fn who_has_too_many_events_on_the_way_waits_until_half_of_them_are_stepped() {
        let (mut tenants, crowd) = tenants(Room { bytes: u64::MAX, governors: u64::MAX });
        let number = tenants.admit("acme");
        (1..TENANT_EVENTS_MAX).for_each(|_| tenants.event(number));
        assert!(!crowd.holds("acme"));
        tenants.event(number);
        assert!(crowd.holds("acme"));
        (TENANT_EVENTS_MAX / 2 + 1..TENANT_EVENTS_MAX).for_each(|_| tenants.steps(number));
        tenants.look();
        assert!(crowd.holds("acme"));
        tenants.steps(number);
        tenants.look();
        assert!(!crowd.holds("acme"));
    }

    proptest! {
        /// The share fills three quarters of the room, if nobody may have more than it.
        #[test]
        fn the_share_is_the_level_to_which_the_room_can_be_filled(
            used in prop::collection::vec(1u64..60, 2..150)
        ) {
            let all: u64 = used.iter().sum();
            // So that the three quarters are used up.
            let room = all / 3 * 4 - 4;
            prop_assume!(room > 8);
            let (mut tenants, _crowd) = tenants(Room { bytes: u64::MAX, governors: room });
            for (who, governors) in used.iter().enumerate() {
                (0..*governors).for_each(|_| _ = tenants.admit(&format!("t{who}")));
            }
            (0..100).for_each(|_| tenants.look());
            let most = room / 4 * 3;
            prop_assert!(all > most);
            let share = tenants.share.map_or(u64::MAX, |share| share.governors);
            let filled = |level: u64| used.iter().map(|used| (*used).min(level)).sum::<u64>();
            prop_assert!(filled(share) <= most.max(used.len() as u64), "{share} is too much");
            prop_assert!(filled(share + 1) > most, "{share} is not all that can be given");
        }

        /// Whoever comes and goes: sums are sums, numbers are used again, and the crowd holds nobody who is not known.
        #[test]
        fn sums_are_right_and_nobody_is_left_behind(
            steps in prop::collection::vec((0usize..6, 0u8..5, 0usize..500), 1..300)
        ) {
            let (mut tenants, crowd) = tenants(Room { bytes: 800, governors: 12 });
            // Governors and bytes of each.
            let mut model: Vec<(Option<u32>, u64, usize)> = vec![(None, 0, 0); 6];
            for (who, what, bytes) in steps {
                let name = format!("t{who}");
                let (number, governors, held) = &mut model[who];
                match (what, *number) {
                    (0 | 1, _) => {
                        *number = Some(tenants.admit(&name));
                        *governors += 1;
                    }
                    (2, Some(each)) => {
                        if *governors == 1 {
                            tenants.waits(each, *held, 0);
                            (*number, *held) = (None, 0);
                        }
                        tenants.leave(each);
                        *governors -= 1;
                    }
                    (_, Some(each)) => {
                        tenants.waits(each, *held, bytes);
                        *held = bytes;
                    }
                    (_, None) => {}
                }
                tenants.look();
                prop_assert_eq!(tenants.used.governors, model.iter().map(|each| each.1).sum::<u64>());
                prop_assert_eq!(tenants.used.bytes, model.iter().map(|each| each.2 as u64).sum::<u64>());
                prop_assert_eq!(crowd.used(), tenants.used);
                prop_assert!(tenants.tenants.len() <= 6);
                for (who, each) in model.iter().enumerate() {
                    let name = format!("t{who}");
                    prop_assert!(each.0.is_some() || !crowd.holds(&name));
                }
            }
        }
    }
}
