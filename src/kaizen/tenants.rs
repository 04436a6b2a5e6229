//! What tenants took of the shards: exact for those with the most events, together for all others.

use std::collections::HashMap;

/// What one tenant's events took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub events: u64,
    /// Sum over its events, from the journal's stamp to their step.
    pub waited_milliseconds: u64,
    /// Dead letters.
    pub failures: u64,
}

/// Tenants that stay apart when the smaller ones join the others: half of those that are counted, so that one pass over them
/// pays for as many newcomers.
const STAY: usize = TopTenants::MAX / 2;

/// The tenants with the most events since the node started. One that joined the others begins anew when it comes again.
#[derive(Debug, Default)]
pub struct TopTenants {
    named: HashMap<Box<str>, Tally>,
    others: Tally,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.waited_milliseconds += other.waited_milliseconds;
        self.failures += other.failures;
    }
}

impl TopTenants {
    /// Tenants that are told apart.
    pub const MAX: usize = 512;

    /// One without a name is of tenants that are not told apart.
    pub fn add(&mut self, name: &str, tally: Tally) {
        if name.is_empty() {
            return self.others.add(tally);
        }
        if let Some(known) = self.named.get_mut(name) {
            return known.add(tally);
        }
        if self.named.len() >= Self::MAX {
            self.join_smaller();
        }
        self.named.insert(name.into(), tally);
    }

    fn join_smaller(&mut self) {
        let mut events: Vec<u64> = self.named.values().map(|tally| tally.events).collect();
        events.sort_unstable_by(|a, b| b.cmp(a));
        let least = events.get(STAY).copied().unwrap_or_default();
        let mut room = STAY;
        let others = &mut self.others;
        self.named.retain(|_, tally| {
            let stays = tally.events > least && room > 0;
            if stays {
                room -= 1;
            } else {
                others.add(*tally);
            }
            stays
        });
    }

    /// Those that are told apart, in no order.
    pub fn named(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.named.iter().map(|(name, tally)| (&**name, *tally))
    }

    pub fn others(&self) -> Tally {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_told_apart_and_no_event_is_lost() {
        let mut top = TopTenants::default();
        for round in 0..5_000u64 {
            top.add(&format!("small-{round}"), Tally { events: 1, waited_milliseconds: 2, failures: 0 });
            top.add("large", Tally { events: 3, waited_milliseconds: 1, failures: 1 });
        }
        assert!(top.named().count() <= TopTenants::MAX);
        let large = top.named().find(|(name, _)| *name == "large").map(|(_, tally)| tally);
        assert_eq!(large, Some(Tally { events: 15_000, waited_milliseconds: 5_000, failures: 5_000 }));
        let mut all = top.others();
        top.named().for_each(|(_, tally)| all.add(tally));
        assert_eq!(all, Tally { events: 20_000, waited_milliseconds: 15_000, failures: 5_000 });
    }
}
