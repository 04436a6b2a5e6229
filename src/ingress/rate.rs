//! The rate of a tenant: one token bucket for the whole node, leased to threads in chunks.
//!
//! A tenant's connections spread over all ingress threads, so its bucket stands in a table that they share. A thread
//! that touches the table takes credit for the next few milliseconds and spends it from a cell of its own: the table
//! is met once per chunk, not per signal. Credit is taken out of the bucket when it is leased, so the node never
//! admits more than `burst` and `per_second`; what a thread leased and does not use within a second it gives back.
//!
//! Both tables are bounded, whatever names a source sends. A name has room in one of `WAYS` places, chosen by a hash that
//! nobody outside can compute. Where all are taken, the entry that matters least is evicted: a miss costs eight
//! comparisons.
//!
//! Pure: the caller brings the time, in nanoseconds of one scale for all threads.

use std::hash::BuildHasher;
use std::num::NonZeroU32;
use std::sync::Arc;

use dashmap::DashMap;
use hashbrown::DefaultHashBuilder;

use super::pace::RefusedWork;

const SECOND: u64 = 1_000_000_000;
/// Part of a second's rate that a thread leases at a time.
const CHUNK: u64 = 50;
/// Tenants that a thread holds credit for.
pub const LEASES_MAX: usize = 16_384;
/// Tenants that the node holds a bucket for: at most about 40 MB.
pub const TENANTS_MAX: usize = 262_144;
/// Places that a name may have.
const WAYS: usize = 8;

/// The names that fall into the same places.
#[derive(Debug)]
struct Ways<V>(Vec<(Box<str>, V)>);

impl<V> Default for Ways<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Copy> Ways<V> {
    fn get(&mut self, name: &str) -> Option<&mut V> {
        self.0.iter_mut().find(|(held, _)| **held == *name).map(|(_, value)| value)
    }

    /// Gives `name` a place; the one that `least` puts first leaves where there is none. Returns who left.
    fn put(&mut self, name: &str, value: V, least: impl Fn(&V) -> u64) -> Option<(Box<str>, V)> {
        let mut left = None;
        if self.0.len() == WAYS {
            let first = (0..WAYS).min_by_key(|at| least(&self.0[*at].1)).unwrap_or(0);
            left = Some(self.0.swap_remove(first));
        }
        self.0.push((name.into(), value));
        left
    }
}

/// Which places a name has, of tables with `names` in all.
fn places(hasher: &DefaultHashBuilder, name: &str, names: usize) -> usize {
    let hash = usize::try_from(hasher.hash_one(name) >> 32).unwrap_or(0);
    hash % (names / WAYS)
}

/// One bucket, by the generic cell rate algorithm: the time at which it would be full again.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: u64,
    refused: RefusedWork,
}

/// The buckets of all tenants of the node.
#[derive(Debug)]
pub struct Buckets {
    per_second: u64,
    burst: u64,
    hasher: DefaultHashBuilder,
    table: DashMap<usize, Ways<Bucket>>,
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
        Arc::new(Self { per_second, burst, hasher: DefaultHashBuilder::default(), table: DashMap::new() })
    }

    fn cost(&self, tokens: u64) -> u64 {
        tokens.saturating_mul(SECOND) / self.per_second
    }

    /// Takes `need` tokens and up to `want`, or nothing. A unit larger than the burst passes when the bucket is
    /// full, and is paid off before the next.
    fn take(&self, tenant: &str, need: u64, want: u64, now: u64) -> Result<u64, RetryAfter> {
        self.with(tenant, now, |bucket| self.take_from(bucket, need, want, now)).unwrap_or(Ok(need))
    }

    /// A request of so many bytes is refused; nanoseconds until its turn.
    fn refuse(&self, tenant: &str, bytes: usize, now: u64) -> u64 {
        self.with(tenant, now, |bucket| bucket.refused.add(bytes, now)).unwrap_or(0)
    }

    /// Does something with a tenant's bucket, which is full if it is new.
    fn with<T>(&self, tenant: &str, now: u64, change: impl FnOnce(&mut Bucket) -> T) -> Option<T> {
        let mut ways = self.table.entry(places(&self.hasher, tenant, TENANTS_MAX)).or_default();
        if ways.get(tenant).is_none() {
            let bucket = Bucket { full_at: now, refused: RefusedWork::default() };
            let left = ways.put(tenant, bucket, |bucket| bucket.full_at);
            // What it had used is not forgotten, so that new names buy nothing.
            if let (Some((_, left)), Some(bucket)) = (left, ways.get(tenant)) {
                bucket.full_at = left.full_at;
            }
        }
        ways.get(tenant).map(change)
    }

    fn take_from(&self, bucket: &mut Bucket, need: u64, want: u64, now: u64) -> Result<u64, RetryAfter> {
        let full_at = bucket.full_at.max(now);
        let used = full_at - now;
        let room = self.cost(self.burst).saturating_sub(used);
        let need_cost = self.cost(need);
        if need_cost > room && !(need > self.burst && used == 0) {
            // A unit larger than the burst may have left a debt.
            let wait = used + need_cost.min(self.cost(self.burst)) - self.cost(self.burst);
            return Err(RetryAfter { nanos: wait });
        }
        let affordable = u128::from(room) * u128::from(self.per_second) / u128::from(SECOND);
        let affordable = u64::try_from(affordable).unwrap_or(u64::MAX);
        let granted = want.min(affordable).max(need);
        bucket.full_at = full_at + self.cost(granted);
        Ok(granted)
    }

    fn give_back(&self, tenant: &str, tokens: u64) {
        let ways = self.table.get_mut(&places(&self.hasher, tenant, TENANTS_MAX));
        if let Some(mut ways) = ways
            && let Some(bucket) = ways.get(tenant)
        {
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
    held: Box<[Ways<Lease>]>,
}

impl Leases {
    #[must_use]
    pub fn new(buckets: Arc<Buckets>) -> Self {
        let chunk = (buckets.per_second / CHUNK).max(1);
        Self { buckets, chunk, held: (0..LEASES_MAX / WAYS).map(|_| Ways::default()).collect() }
    }

    /// Spends `count` tokens of `tenant`, all or none.
    pub fn take(&mut self, tenant: &str, count: u32, now: u64) -> Result<(), RetryAfter> {
        let buckets = &*self.buckets;
        let count = u64::from(count);
        let held = &mut self.held[places(&buckets.hasher, tenant, LEASES_MAX)];
        let credit = match held.get(tenant) {
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
                if let Some(held) = held.get(tenant) {
                    *held = lease;
                } else if let Some((other, left)) = held.put(tenant, lease, |lease| lease.until) {
                    buckets.give_back(&other, left.credit);
                }
                Ok(())
            }
            Err(retry_after) => {
                if let Some(lease) = held.get(tenant) {
                    lease.credit = credit;
                }
                Err(retry_after)
            }
        }
    }

    /// A tenant's name as a number that nobody outside can compute.
    #[must_use]
    pub fn key(&self, tenant: &str) -> u64 {
        self.buckets.hasher.hash_one(tenant)
    }

    /// A request of so many bytes is refused for its tenant's sake; nanoseconds until its turn.
    pub fn refuse(&self, tenant: &str, bytes: usize, now: u64) -> u64 {
        self.buckets.refuse(tenant, bytes, now)
    }

    /// Undoes a [`Leases::take`].
    pub fn give_back(&mut self, tenant: &str, count: u32) {
        let held = &mut self.held[places(&self.buckets.hasher, tenant, LEASES_MAX)];
        if let Some(lease) = held.get(tenant) {
            lease.credit += u64::from(count);
        }
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
        assert_eq!(leases.take("acme", 1, SECOND), Err(RetryAfter { nanos: SECOND * 6 / 10 }));
        leases.take("acme", 1, 2 * SECOND).unwrap();
    }

    #[test]
    fn any_number_of_names_keeps_both_tables_bounded_and_no_debt_is_forgotten() {
        // A signal costs a second, so no bucket is full again while this runs.
        let mut leases = leases(1, 1);
        leases.take("noisy", 1, 0).unwrap();
        let (mut admitted, names) = (0, 3 * TENANTS_MAX);
        for name in 0..names {
            admitted += usize::from(leases.take(&format!("t-{name}"), 1, 0).is_ok());
        }
        let held: usize = leases.buckets.table.iter().map(|ways| ways.0.len()).sum();
        assert!(held <= TENANTS_MAX, "{held}");
        assert!(admitted <= TENANTS_MAX, "{admitted} of {names}: each name is a new burst");
        assert!(leases.held.iter().map(|ways| ways.0.len()).sum::<usize>() <= LEASES_MAX);
        assert!(leases.take("noisy", 1, 0).is_err(), "it is not let off");
        leases.take("noisy", 1, 3 * SECOND).unwrap();
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
