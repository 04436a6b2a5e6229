//! Who sends bad signatures, or signed requests that are no signals, per source and client address. It refuses nobody for that: checking a small body costs
//! about a microsecond, less than to read the request. Only the expensive work of such a client is held back: large
//! bodies are read and checked at a bounded rate, so that a forger cannot take a core, and a good sender behind the same
//! address still gets through. Pure: the caller brings the time, in nanoseconds of one scale, as it is now. It never touches a
//! tenant's rate.

use std::net::IpAddr;

use foldhash::fast::RandomState;
use std::hash::BuildHasher as _;

use super::pace::RefusedWork;

/// Bad signatures a second that one client may send to one source before it is held back.
const BAD_PER_SECOND: u64 = 20;
/// A body of at most this many bytes is always checked at once.
pub const SMALL_BODY_BYTES: u64 = 16 * 1024;
/// Bytes of large bodies a second that are checked for a client that is held back: about a hundredth of a core.
const LARGE_BYTES_PER_SECOND: u64 = 8 * 1024 * 1024;
/// Longest time that a large body waits for its turn.
const WAIT_NANOS_MAX: u64 = SECOND;
/// Entries of the node's table.
const ENTRIES_MAX: usize = 65_536;
/// Entries that compete for one place of the table, so that a flood of addresses costs no search.
const WAYS: usize = 8;
const SECOND: u64 = 1_000_000_000;
const COST: u64 = SECOND / BAD_PER_SECOND;

/// One thread's share of the guard: a table of fixed size.
#[derive(Debug)]
pub struct Guard {
    hasher: RandomState,
    sets: Box<[[Entry; WAYS]]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Of client and source; 0 is free.
    key: u64,
    /// Until when the allowance of bad signatures is used, in nanoseconds.
    bad_until: u64,
    /// Until when the allowance of large bodies is used.
    large_until: u64,
    /// Signed requests that were no signals.
    unfit: RefusedWork,
}

/// When a large body may be read and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// After this many nanoseconds.
    After(u64),
    /// Too many wait already.
    Never,
}

impl Guard {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let sets = (ENTRIES_MAX / threads.max(1) / WAYS).max(1);
        Self { hasher: RandomState::default(), sets: vec![[Entry::default(); WAYS]; sets].into() }
    }

    fn key(&self, client: IpAddr, source: &str) -> u64 {
        self.hasher.hash_one((client, source)).max(1)
    }

    fn set(&mut self, key: u64) -> &mut [Entry; WAYS] {
        let sets = self.sets.len() as u64;
        let at = usize::try_from(key % sets).unwrap_or(0);
        &mut self.sets[at]
    }

    /// The entry of `client` at `source`, new if there is none.
    fn entry(&mut self, client: IpAddr, source: &str, now_nanos: u64) -> &mut Entry {
        let key = self.key(client, source);
        let set = self.set(key);
        let known = set.iter().position(|entry| entry.key == key);
        // Where all are taken, the one that is forgotten soonest makes room.
        let at = known.unwrap_or_else(|| {
            (0..WAYS).min_by_key(|at| (set[*at].key != 0, set[*at].bad_until)).unwrap_or(0)
        });
        let entry = &mut set[at];
        if entry.key != key {
            let unfit = RefusedWork::default();
            *entry = Entry { key, bad_until: now_nanos, large_until: now_nanos, unfit };
        }
        entry
    }

    /// A signed request of `client`, with a body of so many bytes, is no signal; nanoseconds until its turn.
    pub fn unfit(&mut self, client: IpAddr, source: &str, bytes: usize, now_nanos: u64) -> u64 {
        self.entry(client, source, now_nanos).unfit.add(bytes, now_nanos)
    }

    /// Notes a bad signature of `client` at `source`.
    pub fn bad(&mut self, client: IpAddr, source: &str, now_nanos: u64) {
        let entry = self.entry(client, source, now_nanos);
        // What was long ago is forgotten; what is now is remembered for some seconds at most.
        entry.bad_until = (entry.bad_until.max(now_nanos) + COST).min(now_nanos + 10 * SECOND);
    }

    /// When a body of `bytes` of this client may be read and checked.
    pub fn turn(&mut self, client: IpAddr, source: &str, bytes: u64, now_nanos: u64) -> Turn {
        if bytes <= SMALL_BODY_BYTES {
            return Turn::Now;
        }
        let key = self.key(client, source);
        let Some(entry) = self.set(key).iter_mut().find(|entry| entry.key == key) else { return Turn::Now };
        if entry.bad_until < now_nanos + SECOND {
            return Turn::Now;
        }
        let free_at = entry.large_until.max(now_nanos);
        let wait = free_at - now_nanos;
        if wait > WAIT_NANOS_MAX {
            return Turn::Never;
        }
        entry.large_until = free_at + bytes * SECOND / LARGE_BYTES_PER_SECOND;
        if wait == 0 { Turn::Now } else { Turn::After(wait) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 256 * 1024;

    fn forger_of(guard: &mut Guard, client: IpAddr, source: &str, now: u64) {
        for _ in 0..=BAD_PER_SECOND {
            guard.bad(client, source, now);
        }
    }

    #[test]
    fn a_small_body_never_waits_and_a_large_one_only_after_many_bad_signatures() {
        let mut guard = Guard::new(1);
        let (forger, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..BAD_PER_SECOND - 1 {
            guard.bad(forger, "signals", 0);
            assert_eq!(guard.turn(forger, "signals", LARGE, 0), Turn::Now);
        }
        forger_of(&mut guard, forger, "signals", 0);
        assert_eq!(guard.turn(forger, "signals", LARGE, 0), Turn::Now, "one at a time");
        assert!(matches!(guard.turn(forger, "signals", LARGE, 0), Turn::After(_)));
        assert_eq!(guard.turn(forger, "signals", SMALL_BODY_BYTES, 0), Turn::Now);
        assert_eq!(guard.turn(other, "signals", LARGE, 0), Turn::Now, "other clients are not touched");
        assert_eq!(guard.turn(forger, "github", LARGE, 0), Turn::Now, "other sources are not touched");
        let later = 20 * SECOND;
        assert_eq!(guard.turn(forger, "signals", LARGE, later), Turn::Now, "it is forgotten after its time");
        assert_eq!(guard.turn(forger, "signals", LARGE, later), Turn::Now);
    }

    #[test]
    fn large_bodies_of_a_forger_are_bounded_by_a_rate_and_a_wait() {
        let mut guard = Guard::new(1);
        let forger = IpAddr::from([10, 0, 0, 1]);
        forger_of(&mut guard, forger, "signals", 0);
        let mut admitted = 0;
        while guard.turn(forger, "signals", LARGE, 0) != Turn::Never {
            admitted += LARGE;
        }
        assert!(admitted <= 2 * LARGE_BYTES_PER_SECOND + LARGE, "{admitted}");
    }

    #[test]
    fn a_flood_of_addresses_neither_grows_the_table_nor_forgets_the_newest() {
        let mut guard = Guard::new(ENTRIES_MAX / WAYS);
        assert_eq!(guard.sets.len(), 1);
        for host in 0..=255 {
            let client = IpAddr::from([10, 0, 0, host]);
            forger_of(&mut guard, client, "signals", u64::from(host));
            guard.turn(client, "signals", LARGE, u64::from(host));
            assert_ne!(guard.turn(client, "signals", LARGE, u64::from(host)), Turn::Now, "{host}");
        }
    }
}
