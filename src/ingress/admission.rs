//! Which connections one thread takes: so many in all, so many of one address. When all are taken, a connection that
//! has no request makes room for a new one, so that silent ones keep nobody out.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use hashbrown::HashMap;
use hyper::header::HeaderMap;

use super::client_address::TrustedProxies;
use super::connection::{Order, Watch};
use super::memory_budget::MemoryBudget;
use crate::limits::{self, CONNECTIONS_CLOSING_MAX};
use crate::net::address;

/// The connections of one thread.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: u32,
    idle_seconds: u32,
    age_seconds: u32,
    trusted: TrustedProxies,
    budget: Rc<MemoryBudget>,
    /// The thread's clock, in coarse seconds.
    now: Rc<Cell<u32>>,
    open: Cell<usize>,
    admitted: Cell<u32>,
    /// Where the next look for a connection that makes room begins.
    look: Cell<usize>,
    watches: RefCell<Vec<Weak<Watch>>>,
    per_address: RefCell<HashMap<IpAddr, u32>>,
}

/// Connections of one address where there may be `connections_max`: never most of them.
fn share_of(connections_max: usize) -> u32 {
    let quarter = u32::try_from(connections_max / 4).unwrap_or(u32::MAX);
    limits::CONNECTIONS_PER_ADDRESS_MAX.min(quarter).max(1)
}

/// Connections that are looked at to find one that makes room.
const LOOKED_AT: usize = 32;
/// A connection without a request makes room only after this time, so that a new one can send its first.
const GRACE_SECONDS: u32 = 2;

impl Admission {
    #[must_use]
    pub fn new(
        connections_max: usize,
        (idle_seconds, age_seconds): (u32, u32),
        trusted: TrustedProxies,
        budget: Rc<MemoryBudget>,
        now: Rc<Cell<u32>>,
    ) -> Self {
        Self {
            connections_max,
            per_address_max: share_of(connections_max),
            idle_seconds,
            age_seconds,
            trusted,
            budget,
            now,
            open: Cell::new(0),
            admitted: Cell::new(0),
            look: Cell::new(0),
            watches: RefCell::default(),
            per_address: RefCell::default(),
        }
    }

    /// Takes a connection, or not.
    pub fn admit(&self, peer: IpAddr) -> Option<Rc<Watch>> {
        let peer = address::canonical(peer);
        let number = self.admitted.get();
        self.admitted.set(number.wrapping_add(1));
        // Up to a tenth earlier, so that connections that came together do not all go together.
        let lifetime = self.age_seconds - self.age_seconds / 160 * (number % 16);
        let expires = self.now.get().saturating_add(lifetime);
        let is_proxy = self.trusted.trusts(peer);
        let watch = Watch::new(peer, is_proxy, Rc::clone(&self.now), expires, &self.budget);
        // A proxy speaks for many. Who is over its share makes nobody else go.
        if !is_proxy && !self.count(&watch, peer) {
            return None;
        }
        let full = self.open.get() >= self.connections_max;
        if full && (self.open.get() >= self.connections_max + CONNECTIONS_CLOSING_MAX || !self.make_room()) {
            self.count_no_more(&watch);
            return None;
        }
        self.open.set(self.open.get() + 1);
        self.watches.borrow_mut().push(Rc::downgrade(&watch));
        Some(watch)
    }

    /// A proxy said for whom it opened the connection.
    pub fn admit_behind_proxy(&self, watch: &Watch, source: IpAddr) -> bool {
        let is_proxy = self.trusted.trusts(source);
        watch.set_client(source, is_proxy);
        is_proxy || self.count(watch, source)
    }

    fn count(&self, watch: &Watch, client: IpAddr) -> bool {
        // A proxy or a generator on the same host speaks for many.
        if address::is_loopback(client) {
            return true;
        }
        let client = address::client(client);
        let mut per_address = self.per_address.borrow_mut();
        let count = per_address.entry(client).or_insert(0);
        if *count >= self.per_address_max {
            return false;
        }
        *count += 1;
        watch.counted.set(Some(client));
        true
    }

    /// A connection has ended.
    pub fn leave(&self, watch: &Watch) {
        self.open.set(self.open.get() - 1);
        self.count_no_more(watch);
    }

    fn count_no_more(&self, watch: &Watch) {
        let Some(client) = watch.counted.take() else { return };
        let mut per_address = self.per_address.borrow_mut();
        if let Some(count) = per_address.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                per_address.remove(&client);
            }
        }
    }

    /// Whose request it is.
    #[must_use]
    pub fn client(&self, watch: &Watch, headers: &HeaderMap) -> IpAddr {
        let named =
            if watch.is_proxy() { self.trusted.client_of(watch.client(), headers) } else { watch.client() };
        address::client(named)
    }

    /// Closes a connection without a request: of some, one that rests because it was refused too much before one that
    /// never had a request, that before one that had, and then the one that has been so the longest.
    fn make_room(&self) -> bool {
        let watches = self.watches.borrow();
        let looked_at = LOOKED_AT.min(watches.len());
        // Spread over all of them: those that came together are alike.
        let step = watches.len() / looked_at.max(1);
        let from = self.look.replace(self.look.get().wrapping_add(1));
        let some =
            (0..looked_at).filter_map(|at| watches[from.wrapping_add(at * step) % watches.len()].upgrade());
        let quiet = some.filter_map(|watch| {
            let rests = watch.rests_alone();
            let seconds = if rests { GRACE_SECONDS } else { watch.seconds_without_request()? };
            let may_go = seconds >= GRACE_SECONDS && watch.current_order() < Order::Close;
            may_go.then(|| ((rests, watch.is_unused(), seconds), watch))
        });
        let Some((_, longest)) = quiet.max_by_key(|(rank, _)| *rank) else { return false };
        // There is nothing to answer, or an answer on its way that has to leave first.
        longest.order(if longest.is_unused() { Order::End } else { Order::Close });
        true
    }

    /// Once a second: closes connections that overstay.
    pub fn sweep(&self) {
        self.watches.borrow_mut().retain(|watch| {
            let Some(watch) = watch.upgrade() else { return false };
            watch.sweep(self.idle_seconds);
            true
        });
    }

    /// Every connection closes once the requests that it has are answered.
    pub fn close_all(&self) {
        for watch in self.watches.borrow().iter().filter_map(Weak::upgrade) {
            watch.order(Order::Close);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.get() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections_max: usize) -> (Admission, Rc<Cell<u32>>) {
        let now = Rc::new(Cell::new(0));
        let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        let budget = MemoryBudget::new(1 << 20);
        (Admission::new(connections_max, (75, 3600), trusted, budget, Rc::clone(&now)), now)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_its_share_and_a_proxy_those_of_its_clients() {
        let (admission, _) = admission(10_000);
        let max = limits::CONNECTIONS_PER_ADDRESS_MAX;
        let held: Vec<_> = (0..max).map(|_| admission.admit(address("192.0.2.1")).unwrap()).collect();
        assert!(admission.admit(address("192.0.2.1")).is_none());
        assert!(admission.admit(address("::ffff:192.0.2.1")).is_none(), "the same address in another form");
        assert!(admission.admit(address("192.0.2.2")).is_some());
        let behind: Vec<_> = (0..=max).map(|_| admission.admit(address("10.0.0.1")).unwrap()).collect();
        for watch in &behind[..max as usize] {
            assert!(admission.admit_behind_proxy(watch, address("2001:db8::1")));
        }
        assert!(
            !admission.admit_behind_proxy(&behind[max as usize], address("2001:db8::2")),
            "one /64 is one client"
        );
        admission.leave(&held[0]);
        assert!(admission.admit(address("192.0.2.1")).is_some());
    }

    #[test]
    fn silent_connections_make_room_and_busy_ones_do_not() {
        let (admission, now) = admission(4);
        let busy = admission.admit(address("192.0.2.1")).unwrap();
        busy.request_began();
        let idle = admission.admit(address("192.0.2.2")).unwrap();
        idle.request_began();
        idle.request_ended();
        let silent: Vec<_> =
            ["192.0.2.3", "192.0.2.4"].map(|from| admission.admit(address(from)).unwrap()).into();
        assert!(admission.admit(address("192.0.2.5")).is_none(), "none has been silent for long");
        now.set(GRACE_SECONDS);
        for from in ["192.0.2.5", "192.0.2.6", "192.0.2.7"] {
            assert!(admission.admit(address(from)).is_some());
        }
        assert!(admission.admit(address("192.0.2.8")).is_none());
        assert!(silent.iter().all(|watch| watch.current_order() == Order::End));
        assert_eq!((idle.current_order(), busy.current_order()), (Order::Close, Order::GoOn));
    }

    #[test]
    fn where_all_places_are_taken_the_silent_go_and_not_those_who_were_served() {
        let (admission, now) = admission(400);
        let from = |group: u8, number: u8| IpAddr::from([192, 0, group, number]);
        let served: Vec<_> = (0..100).map(|number| admission.admit(from(1, number)).unwrap()).collect();
        for watch in &served {
            watch.request_began();
            watch.request_ended();
        }
        let silent = (2..5).flat_map(|group| (0..100).map(move |number| from(group, number)));
        let _silent: Vec<_> = silent.map(|from| admission.admit(from).unwrap()).collect();
        assert!((0..10).all(|number| admission.admit(from(5, number)).is_none()), "all are young");
        now.set(GRACE_SECONDS);
        let flood: Vec<_> = (0..30).filter_map(|number| admission.admit(from(6, number))).collect();
        assert_eq!(flood.len(), 30);
        let newcomers = (0..30).filter(|number| admission.admit(from(7, *number)).is_some()).count();
        assert_eq!(newcomers, 30, "a look that finds the young does not repeat itself");
        assert!(served.iter().all(|watch| watch.current_order() == Order::GoOn));
    }

    #[test]
    fn who_rests_because_it_was_refused_too_much_makes_room_first() {
        let (admission, _) = admission(3);
        let [alone, shared, idle] =
            ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|from| admission.admit(address(from)).unwrap());
        alone.carries(Some(1));
        shared.carries(Some(1));
        shared.carries(Some(2));
        for watch in [&alone, &shared] {
            watch.request_began();
            watch.rest(1_000_000_000, crate::clock::nanos());
        }
        assert!(shared.rests().is_some_and(|rest| rest <= 5_000_000), "its others would wait with it");
        assert!(admission.admit(address("192.0.2.4")).is_some());
        assert_eq!(alone.current_order(), Order::Close);
        assert!(alone.rests().is_none(), "one that closes does not rest");
        assert_eq!((shared.current_order(), idle.current_order()), (Order::GoOn, Order::GoOn));
        assert!(admission.admit(address("192.0.2.5")).is_none());
    }

    #[test]
    fn one_address_never_has_most_of_the_connections() {
        let (admission, _) = admission(100);
        let held: Vec<_> = (0..100).filter_map(|_| admission.admit(address("192.0.2.1"))).collect();
        assert_eq!(held.len(), 25);
    }
}
