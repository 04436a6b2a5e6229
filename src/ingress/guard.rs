//! A cheap guard per address: who keeps sending bad signatures is refused before its body is read. Pure; it never
//! touches a tenant's rate, so a forger cannot use up a tenant's quota.

use std::net::IpAddr;

use hashbrown::HashMap;

/// Bad signatures that one address may send per second.
const BAD_PER_SECOND: u64 = 20;
/// Addresses remembered by the node.
const ADDRESSES_MAX: usize = 65_536;
const SECOND: u64 = 1_000_000_000;
const COST: u64 = SECOND / BAD_PER_SECOND;

/// One thread's share of the guard.
#[derive(Debug)]
pub struct Guard {
    /// Until when an address has used its allowance, in nanoseconds.
    used_until: HashMap<IpAddr, u64>,
    max: usize,
}

impl Guard {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { used_until: HashMap::new(), max: (ADDRESSES_MAX / threads.max(1)).max(1) }
    }

    /// Whether a request from `address` is looked at.
    #[must_use]
    pub fn allow(&self, address: IpAddr, now_nanos: u64) -> bool {
        self.used_until.is_empty()
            || self.used_until.get(&address).is_none_or(|until| *until < now_nanos + SECOND)
    }

    /// Notes a bad signature.
    pub fn bad(&mut self, address: IpAddr, now_nanos: u64) {
        if self.used_until.len() >= self.max && !self.used_until.contains_key(&address) {
            self.used_until.retain(|_, until| *until > now_nanos);
            if self.used_until.len() >= self.max {
                // All are active: the one that is refused the shortest makes room.
                let soonest =
                    self.used_until.iter().min_by_key(|(_, until)| **until).map(|(address, _)| *address);
                soonest.map(|soonest| self.used_until.remove(&soonest));
            }
        }
        let until = self.used_until.entry(address).or_insert(now_nanos);
        *until = (*until).max(now_nanos) + COST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_bad_ones_a_second_and_no_more() {
        let mut guard = Guard::new(1);
        let (forger, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..BAD_PER_SECOND {
            assert!(guard.allow(forger, 0));
            guard.bad(forger, 0);
        }
        assert!(!guard.allow(forger, 0));
        assert!(guard.allow(other, 0), "others are not touched");
        assert!(guard.allow(forger, COST + 1), "one is forgotten after its time");
    }

    #[test]
    fn the_table_is_bounded() {
        let mut guard = Guard::new(ADDRESSES_MAX / 8);
        for host in 0..=255 {
            guard.bad(IpAddr::from([10, 0, 0, host]), 0);
        }
        assert_eq!(guard.used_until.len(), 8);
    }
}
