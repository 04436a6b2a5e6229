//! The rate of a tenant: one token bucket for the whole node, leased to threads in chunks.
//!
//! A tenant's connections spread over all ingress threads, so its bucket stands in a table that they share. A thread
//! that touches the table takes credit for the next few milliseconds and spends it from a cell of its own: the table
//! is met once per chunk, not per signal. Credit is taken out of the bucket when it is leased, so the node never
//! admits more than `burst` and `per_second`; what a thread leased and does not use within a second it gives back.
//!
//! Pure: the caller brings the time, in nanoseconds of one scale for all threads.

use std::num::NonZeroU32;
use std::sync::Arc;

use dashmap::DashMap;
use hashbrown::HashMap;

const SECOND: u64 = 1_000_000_000;
/// Part of a second's rate that a thread leases at a time.
const CHUNK: u64 = 50;
/// Tenants that a thread holds credit for; the table itself forgets full buckets.
const LEASES_MAX: usize = 16_384;
/// Tenants in the shared table before full buckets are cleared away.
const TENANTS_MAX: usize = 262_144;

/// One bucket, by the generic cell rate algorithm: the time at which it would be full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: u64,
}

/// The buckets of all tenants of the node.
#[derive(Debug)]
pub struct Buckets {
    per_second: u64,
    burst: u64,
    table: DashMap<Box<str>, Bucket>,
}

/// The rate is used up; it is worth to come again after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter {
    pub nanos: u64,
}

impl RetryAfter {
    /// Whole seconds, at least one, as the header wants them.
    #[must_use]
    pub fn seconds(self) -> u32 {
        u32::try_from(self.nanos.div_ceil(SECOND)).unwrap_or(60).clamp(1, 60)
    }
}

impl Buckets {
    /// `per_second` signals in the long run, `burst` at once. `None` is no limit.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: u32) -> Arc<Self> {
        let (per_second, burst) = (u64::from(per_second.get()), u64::from(burst.max(1)));
        Arc::new(Self { per_second, burst, table: DashMap::new() })
    }

    fn cost(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(SECOND) / self.per_second
    }

    /// Takes `need` tokens and up to `want`, or nothing. A unit larger than the burst passes when the bucket is
    /// full, and is paid off before the next.
    fn take(&self, tenant: &str, need: u64, want: u64, now: u64) -> Result<u64, RetryAfter> {
        if self.table.len() >= TENANTS_MAX && !self.table.contains_key(tenant) {
            self.table.retain(|_, bucket| bucket.full_at > now);
        }
        let mut bucket = match self.table.get_mut(tenant) {
            Some(bucket) => bucket,
            None => self.table.entry(tenant.into()).or_insert(Bucket { full_at: now }),
        };
        let full_at = bucket.full_at.max(now);
        let used = full_at - now;
        let room = self.cost(self.burst).saturating_sub(used);
        let need_cost = self.cost(need);
        if need_cost > room && !(need > self.burst && used == 0) {
            let wait = need_cost.min(self.cost(self.burst)) - room;
            return Err(RetryAfter { nanos: wait });
        }
        let affordable = u128::from(room) * u128::from(self.per_second) / u128::from(SECOND);
        let affordable = u64::try_from(affordable).unwrap_or(u64::MAX);
        let granted = want.min(affordable).max(need);
        bucket.full_at = full_at + self.cost(granted);
        Ok(granted)
    }

    fn give_back(&self, tenant: &str, tokens: u64) {
        if let Some(mut bucket) = self.table.get_mut(tenant) {
            bucket.full_at = bucket.full_at.saturating_sub(self.cost(tokens));
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    credit: u64,
    /// Credit is for now: what is left after a second goes back.
    until: u64,
}

/// One thread's credit.
#[derive(Debug)]
pub struct Leases {
    buckets: Arc<Buckets>,
    chunk: u64,
    held: HashMap<Box<str>, Lease>,
}

impl Leases {
    #[must_use]
    pub fn new(buckets: Arc<Buckets>) -> Self {
        let chunk = (buckets.per_second / CHUNK).max(1);
        Self { buckets, chunk, held: HashMap::new() }
    }

    /// Spends `count` tokens of `tenant`, all or none.
    pub fn take(&mut self, tenant: &str, count: u32, now: u64) -> Result<(), RetryAfter> {
        let buckets = &self.buckets;
        let count = u64::from(count);
        let held = self.held.get_mut(tenant);
        let credit = match held {
            Some(lease) if lease.until > now => {
                if lease.credit >= count {
                    lease.credit -= count;
                    return Ok(());
                }
                std::mem::take(&mut lease.credit)
            }
            Some(lease) => {
                buckets.give_back(tenant, std::mem::take(&mut lease.credit));
                0
            }
            None => 0,
        };
        match buckets.take(tenant, count - credit, count - credit + self.chunk, now) {
            Ok(granted) => {
                let lease = Lease { credit: credit + granted - count, until: now + SECOND };
                match self.held.get_mut(tenant) {
                    Some(held) => *held = lease,
                    None => self.hold(tenant, lease),
                }
                Ok(())
            }
            Err(retry_after) => {
                if let Some(lease) = self.held.get_mut(tenant) {
                    lease.credit = credit;
                }
                Err(retry_after)
            }
        }
    }

    /// Undoes a [`Leases::take`].
    pub fn give_back(&mut self, tenant: &str, count: u32) {
        if let Some(lease) = self.held.get_mut(tenant) {
            lease.credit += u64::from(count);
        }
    }

    fn hold(&mut self, tenant: &str, lease: Lease) {
        if self.held.len() >= LEASES_MAX {
            for (tenant, lease) in self.held.drain() {
                self.buckets.give_back(&tenant, lease.credit);
            }
        }
        self.held.insert(tenant.into(), lease);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leases(per_second: u32, burst: u32) -> Leases {
        Leases::new(Buckets::new(NonZeroU32::new(per_second).unwrap(), burst))
    }

    #[test]
    fn the_burst_passes_and_the_next_is_told_when_to_come() {
        let mut leases = leases(10, 5);
        for _ in 0..5 {
            leases.take("acme", 1, 0).unwrap();
        }
        assert_eq!(leases.take("acme", 1, 0), Err(RetryAfter { nanos: SECOND / 10 }));
        leases.take("other", 1, 0).unwrap();
        leases.take("acme", 1, SECOND / 10).unwrap();
    }

    #[test]
    fn a_unit_larger_than_the_burst_passes_when_the_bucket_is_full_and_is_paid_off() {
        let mut leases = leases(10, 5);
        leases.take("acme", 20, 0).unwrap();
        assert!(leases.take("acme", 1, SECOND).is_err());
        leases.take("acme", 1, 2 * SECOND).unwrap();
    }

    proptest! {
        /// However two threads take turns, the node admits at most the burst and the rate.
        #[test]
        fn two_threads_together_never_admit_more_than_the_rate(
            steps in prop::collection::vec((any::<bool>(), 1u32..4, 0u64..40_000_000), 1..400),
        ) {
            let buckets = Buckets::new(NonZeroU32::new(100).unwrap(), 20);
            let mut threads = [Leases::new(Arc::clone(&buckets)), Leases::new(buckets)];
            let (mut now, mut admitted) = (0, 0u64);
            for (second, count, pause) in steps {
                now += pause;
                if threads[usize::from(second)].take("acme", count, now).is_ok() {
                    admitted += u64::from(count);
                }
                prop_assert!(admitted <= 20 + now * 100 / SECOND, "{admitted} after {now} ns");
            }
        }
    }
}
