//! Who may have a connection to the operator plane. Pure.
//!
//! There are general seats, with a share for each client, and some that are for health alone. A connection that has
//! not shown a right yet is in nobody's way: whoever comes when there is no room takes the place of the oldest such
//! one. So silent connections hold neither the plane nor a share of it, however many they are and wherever they come
//! from. A connection that was given a seat for health shows its right later: then it takes the place of one with a lesser
//! role, so viewers keep no operator out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::Notify;

use super::token::Role;
use crate::limits::{HEALTH_CONNECTIONS_MAX, OPERATOR_CONNECTIONS_MAX, OPERATOR_CONNECTIONS_PER_ADDRESS_MAX};

/// What a connection may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Everything that its tokens allow.
    General,
    /// Only whether the node lives and is ready.
    Health,
    /// It watches the board: counted there, it holds no place of those who ask and order.
    Board,
}

/// A place at the plane.
#[derive(Clone, Debug)]
pub struct Seat {
    pub id: u64,
    pub kind: Kind,
    /// Notified when the place goes to another.
    pub taken: Rc<Notify>,
}

struct Held {
    seat: Seat,
    client: IpAddr,
    /// The role that it has shown.
    role: Option<Role>,
}

/// Every seat that is held, the oldest first.
#[derive(Default)]
pub struct Seats {
    held: Vec<Held>,
    given: u64,
}

impl Seats {
    /// Gives a seat to a connection of `client`, if need be another's.
    pub fn admit(&mut self, client: IpAddr) -> Seat {
        let kind = self.make_room(client);
        self.given += 1;
        let seat = Seat { id: self.given, kind, taken: Rc::default() };
        self.held.push(Held { seat: seat.clone(), client, role: None });
        seat
    }

    /// The connection has shown its role; says which kind of seat it has now.
    pub fn trust(&mut self, id: u64, role: Role) -> Kind {
        let Some(held) = self.held.iter_mut().find(|held| held.seat.id == id) else { return Kind::Health };
        held.role = held.role.max(Some(role));
        let (kind, client) = (held.seat.kind, held.client);
        if kind == Kind::Health && self.has_room(client, Some(role)) {
            // The one that was evicted stood before it, or after it.
            if let Some(held) = self.held.iter_mut().find(|held| held.seat.id == id) {
                held.seat.kind = Kind::General;
                return Kind::General;
            }
        }
        kind
    }

    /// The connection watches the board from here on, and gives its place to others.
    pub fn watch(&mut self, id: u64) {
        if let Some(held) = self.held.iter_mut().find(|held| held.seat.id == id) {
            held.seat.kind = Kind::Board;
        }
    }

    /// The connection has ended.
    pub fn leave(&mut self, id: u64) {
        self.held.retain(|held| held.seat.id != id);
    }

    /// Whether there is a general seat for a connection of `client` with this role, if need be another's.
    fn has_room(&mut self, client: IpAddr, role: Option<Role>) -> bool {
        let general = |held: &Held| held.seat.kind == Kind::General;
        let own = |held: &Held| general(held) && held.client == client;
        // Who has shown nothing gives way to everybody.
        let lesser = |held: &Held| held.role.is_none() || held.role < role;
        if self.count(own) >= OPERATOR_CONNECTIONS_PER_ADDRESS_MAX {
            self.evict(|held| own(held) && lesser(held))
        } else {
            self.count(general) < OPERATOR_CONNECTIONS_MAX || self.evict(|held| general(held) && lesser(held))
        }
    }

    fn make_room(&mut self, client: IpAddr) -> Kind {
        if self.has_room(client, None) {
            return Kind::General;
        }
        let for_health = |held: &Held| held.seat.kind == Kind::Health;
        if self.count(for_health) >= HEALTH_CONNECTIONS_MAX {
            self.evict(for_health);
        }
        Kind::Health
    }

    fn count(&self, which: impl Fn(&Held) -> bool) -> usize {
        self.held.iter().filter(|held| which(held)).count()
    }

    /// Takes the oldest seat of those, of the least role, from the client that has most of them.
    fn evict(&mut self, which: impl Fn(&Held) -> bool) -> bool {
        let mut by_client: HashMap<IpAddr, usize> = HashMap::new();
        for held in self.held.iter().filter(|held| which(held)) {
            *by_client.entry(held.client).or_default() += 1;
        }
        let most = by_client.values().copied().max();
        let of_most = |held: &Held| which(held) && by_client.get(&held.client).copied() == most;
        // Of equals, the first is the oldest.
        let victims = self.held.iter().enumerate().filter(|(_, held)| of_most(held));
        let Some((victim, _)) = victims.min_by_key(|(_, held)| held.role) else { return false };
        self.held.remove(victim).seat.taken.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> IpAddr {
        IpAddr::from([192, 0, 2, u8::try_from(number).unwrap()])
    }

    fn was_taken(seat: &Seat) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = seat.taken.notified() => true,
                () = std::future::ready(()) => false,
            }
        })
    }

    fn trusted(seats: &mut Seats, number: usize) -> Seat {
        let seat = seats.admit(client(number));
        assert_eq!(seats.trust(seat.id, Role::Viewer), seat.kind);
        seat
    }

    #[test]
    fn silent_connections_give_way_to_whoever_comes() {
        let mut seats = Seats::default();
        let silent: Vec<Seat> = (0..10 * OPERATOR_CONNECTIONS_MAX).map(|_| seats.admit(client(1))).collect();
        assert!(silent.iter().all(|seat| seat.kind == Kind::General), "each in place of an older one");
        assert_eq!(silent.iter().filter(|seat| was_taken(seat)).count(), silent.len() - 16);
        assert_eq!(seats.admit(client(2)).kind, Kind::General);
        for number in 3..200 {
            assert_eq!(seats.admit(client(number)).kind, Kind::General);
        }
        assert_eq!(seats.held.len(), OPERATOR_CONNECTIONS_MAX);
    }

    #[test]
    fn one_client_holds_its_share_whatever_it_may_ask() {
        let mut seats = Seats::default();
        let held: Vec<Seat> = (0..200).map(|_| trusted(&mut seats, 1)).collect();
        let general = held.iter().filter(|seat| seat.kind == Kind::General).count();
        assert_eq!(general, OPERATOR_CONNECTIONS_PER_ADDRESS_MAX);
        assert!(held.iter().all(|seat| seat.kind == Kind::Health || !was_taken(seat)));
        assert_eq!(trusted(&mut seats, 2).kind, Kind::General);
        seats.leave(held[0].id);
        assert_eq!(trusted(&mut seats, 1).kind, Kind::General, "a place became free");
    }

    #[test]
    fn viewers_keep_no_operator_out_and_equals_keep_their_seats() {
        let mut seats = Seats::default();
        for number in 0..4 {
            for _ in 0..OPERATOR_CONNECTIONS_PER_ADDRESS_MAX {
                trusted(&mut seats, number);
            }
        }
        for (client_number, role) in [(0, Role::Operator), (9, Role::Operator), (0, Role::Admin)] {
            let seat = seats.admit(client(client_number));
            assert_eq!(seat.kind, Kind::Health, "who it is, nobody knows yet");
            assert_eq!(seats.trust(seat.id, Role::Viewer), Kind::Health);
            assert_eq!(seats.trust(seat.id, role), Kind::General, "{role:?}");
        }
        let general = seats.held.iter().filter(|held| held.seat.kind == Kind::General);
        assert_eq!(general.clone().count(), OPERATOR_CONNECTIONS_MAX);
        assert_eq!(
            general.filter(|held| held.role > Some(Role::Viewer)).count(),
            3,
            "no operator was evicted"
        );
        let viewer = seats.admit(client(9));
        assert_eq!(seats.trust(viewer.id, Role::Viewer), Kind::Health);
    }

    #[test]
    fn when_all_seats_are_taken_by_right_health_is_still_served() {
        let mut seats = Seats::default();
        for number in 0..OPERATOR_CONNECTIONS_MAX {
            assert_eq!(trusted(&mut seats, number).kind, Kind::General);
        }
        let crowd: Vec<Seat> = (0..HEALTH_CONNECTIONS_MAX).map(|_| seats.admit(client(100))).collect();
        assert!(crowd.iter().all(|seat| seat.kind == Kind::Health));
        let probe = seats.admit(client(101));
        for _ in 0..10 * HEALTH_CONNECTIONS_MAX {
            seats.admit(client(100));
        }
        assert_eq!(probe.kind, Kind::Health);
        assert!(was_taken(&crowd[0]) && !was_taken(&probe), "the crowd takes its own places");
    }
}
