//! Who may have a connection to the operator plane. Pure.
//!
//! There are general seats, with a share for each token, and for each address of connections without one, and some seats
//! that are for health alone. Through a proxy everybody has one address: a token has a share of its own there. A connection
//! that has not shown a token yet is in nobody's way: when there is no room, the next one takes the place of the oldest such
//! one. So silent connections hold neither the plane nor a share of it, however many they are and wherever they come
//! from. A connection that was given a seat for health shows its token later: then it takes the place of one with a lesser
//! role, so viewers keep no operator out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::Notify;

use super::token::{Role, Token};
use crate::limits::{HEALTH_CONNECTIONS_MAX, OPERATOR_CONNECTIONS_MAX, OPERATOR_CONNECTIONS_OF_ONE};

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

/// Who has a share of the seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Holder {
    /// Of connections that have shown no token.
    Address(IpAddr),
    /// By its digest.
    Token([u8; 32]),
}

struct Held {
    seat: Seat,
    holder: Holder,
    /// Of the token that it has shown.
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
        let holder = Holder::Address(client);
        let kind = self.make_room(holder);
        self.given += 1;
        let seat = Seat { id: self.given, kind, taken: Rc::default() };
        self.held.push(Held { seat: seat.clone(), holder, role: None });
        seat
    }

    /// The connection has shown this token; says which kind of seat it has now.
    pub fn trust(&mut self, id: u64, token: &Token) -> Kind {
        let (holder, role) = (Holder::Token(token.digest), Some(token.role));
        let Some(at) = self.held.iter().position(|held| held.seat.id == id) else { return Kind::Health };
        let held = &self.held[at];
        if held.seat.kind == Kind::Board || held.seat.kind == Kind::General && held.holder == holder {
            return held.seat.kind;
        }
        // Outside while room is made for it: it evicts others, and does not count against itself.
        let mut held = self.held.remove(at);
        held.seat.kind = if self.has_room(holder, role) { Kind::General } else { Kind::Health };
        (held.holder, held.role) = (holder, role);
        let kind = held.seat.kind;
        self.held.push(held);
        self.held.sort_by_key(|held| held.seat.id);
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

    /// Whether there is a general seat for a connection of this holder with this role, if need be another's.
    fn has_room(&mut self, holder: Holder, role: Option<Role>) -> bool {
        let general = |held: &Held| held.seat.kind == Kind::General;
        let own = |held: &Held| general(held) && held.holder == holder;
        // Who has shown nothing gives way to everybody.
        let lesser = |held: &Held| held.role.is_none() || held.role < role;
        if self.count(own) >= OPERATOR_CONNECTIONS_OF_ONE {
            self.evict(|held| own(held) && lesser(held))
        } else {
            self.count(general) < OPERATOR_CONNECTIONS_MAX || self.evict(|held| general(held) && lesser(held))
        }
    }

    fn make_room(&mut self, holder: Holder) -> Kind {
        if self.has_room(holder, None) {
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

    /// Takes the oldest seat of those, of the least role, from the holder that has most of them.
    fn evict(&mut self, which: impl Fn(&Held) -> bool) -> bool {
        let mut by_holder: HashMap<Holder, usize> = HashMap::new();
        for held in self.held.iter().filter(|held| which(held)) {
            *by_holder.entry(held.holder).or_default() += 1;
        }
        let most = by_holder.values().copied().max();
        let of_most = |held: &Held| which(held) && by_holder.get(&held.holder).copied() == most;
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

    /// A connection of that client with a token of this name.
    fn shown(seats: &mut Seats, number: usize, token: &Token) -> (Seat, Kind) {
        let seat = seats.admit(client(number));
        let kind = seats.trust(seat.id, token);
        (seat, kind)
    }

    fn token(name: &str, role: Role) -> Token {
        Token::new(name, role, name.as_bytes())
    }

    fn viewer(number: usize) -> Token {
        token(&format!("viewer {number}"), Role::Viewer)
    }

    #[test]
    fn silent_connections_give_way_to_the_next() {
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
    fn one_token_holds_its_share_wherever_it_comes_from() {
        let mut seats = Seats::default();
        let held: Vec<(Seat, Kind)> =
            (0..200).map(|number| shown(&mut seats, number % 5, &viewer(1))).collect();
        let general = held.iter().filter(|(_, kind)| *kind == Kind::General).count();
        assert_eq!(general, OPERATOR_CONNECTIONS_OF_ONE);
        assert!(held.iter().all(|(seat, kind)| *kind == Kind::Health || !was_taken(seat)));
        seats.leave(held[0].0.id);
        assert_eq!(shown(&mut seats, 1, &viewer(1)).1, Kind::General, "a place became free");
    }

    #[test]
    fn others_of_the_same_address_have_places_beside_a_token_that_holds_all_of_its_own() {
        let mut seats = Seats::default();
        for _ in 0..3 * OPERATOR_CONNECTIONS_OF_ONE {
            shown(&mut seats, 1, &viewer(1));
        }
        assert_eq!(seats.admit(client(1)).kind, Kind::General, "a scrape without a token");
        assert_eq!(shown(&mut seats, 1, &viewer(2)).1, Kind::General);
        assert_eq!(shown(&mut seats, 1, &token("root", Role::Admin)).1, Kind::General);
    }

    #[test]
    fn a_connection_counts_for_the_token_that_it_showed_last() {
        let mut seats = Seats::default();
        let shared = seats.admit(client(1));
        assert_eq!(seats.trust(shared.id, &token("root", Role::Admin)), Kind::General);
        for _ in 0..OPERATOR_CONNECTIONS_OF_ONE {
            assert_eq!(shown(&mut seats, 2, &viewer(1)).1, Kind::General);
        }
        assert_eq!(seats.trust(shared.id, &viewer(1)), Kind::Health, "the share of this token is taken");
        assert_eq!(seats.trust(shared.id, &viewer(2)), Kind::General);
    }

    #[test]
    fn viewers_keep_no_operator_out_and_equals_keep_their_seats() {
        let mut seats = Seats::default();
        for number in 0..4 {
            for _ in 0..OPERATOR_CONNECTIONS_OF_ONE {
                assert_eq!(shown(&mut seats, number, &viewer(number)).1, Kind::General);
            }
        }
        for (number, above) in [
            (0, token("op", Role::Operator)),
            (9, token("op", Role::Operator)),
            (0, token("root", Role::Admin)),
        ] {
            let seat = seats.admit(client(number));
            assert_eq!(seat.kind, Kind::Health, "who it is, nobody knows yet");
            assert_eq!(seats.trust(seat.id, &viewer(number)), Kind::Health);
            assert_eq!(seats.trust(seat.id, &above), Kind::General, "{above:?}");
        }
        let general = seats.held.iter().filter(|held| held.seat.kind == Kind::General);
        assert_eq!(general.clone().count(), OPERATOR_CONNECTIONS_MAX);
        assert_eq!(
            general.filter(|held| held.role > Some(Role::Viewer)).count(),
            3,
            "no operator was evicted"
        );
        assert_eq!(shown(&mut seats, 9, &viewer(9)).1, Kind::Health);
    }

    #[test]
    fn when_all_seats_are_taken_by_right_health_is_still_served() {
        let mut seats = Seats::default();
        for number in 0..OPERATOR_CONNECTIONS_MAX {
            assert_eq!(shown(&mut seats, number, &viewer(number)).1, Kind::General);
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
