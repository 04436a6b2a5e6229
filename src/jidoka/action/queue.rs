//! Orders that wait for one target. Tenants take turns, so that who orders much waits behind himself and not before his
//! neighbours; where there is no room, who takes most of it makes it (promise P5). Within a tenant the order stays. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::tries::Tried;
use crate::clock;
use crate::jidoka::governor::ActionRequest;
use crate::limits::{TARGET_WAITING_BYTES_MAX, TARGET_WAITING_MAX};

pub struct Waiting {
    pub order: ActionRequest,
    pub until: Instant,
    /// When it came.
    pub since: clock::Instant,
    /// The calls so far, of one in the background.
    pub tried: Tried,
    pub calls: u32,
}

#[derive(Default)]
pub struct Queue {
    /// Those who have something waiting.
    tenants: HashMap<Arc<str>, Own>,
    /// The same, in the order of their next turn.
    round: VecDeque<Arc<str>>,
    /// Every order in the order in which they came, which is that of their ends; and some that have left.
    came: VecDeque<(u64, Arc<str>)>,
    next: u64,
    len: usize,
    bytes: usize,
}

/// What one tenant has waiting, each with its number.
#[derive(Default)]
struct Own {
    orders: VecDeque<(u64, Waiting)>,
    cost: usize,
}

/// Cost of an order in addition to its bytes. A queue full of empty orders costs what a queue full of bytes costs.
const ORDER_COST: usize = TARGET_WAITING_BYTES_MAX / TARGET_WAITING_MAX;

impl Waiting {
    pub fn bytes(&self) -> usize {
        self.order.intent.signal.body().len()
    }
}

impl Queue {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an order behind its tenant's others. Returns who is turned away for it where there is no room: the newest orders of
    /// the tenant that takes most of it, or this one.
    pub fn push(&mut self, waiting: Waiting) -> Vec<Waiting> {
        let (tenant, bytes) = (waiting.order.intent.signal.tenant(), waiting.bytes());
        let cost = self.tenants.get(tenant).map_or(0, |own| own.cost) + ORDER_COST + bytes;
        let mut turned_away = Vec::new();
        while self.len >= TARGET_WAITING_MAX || self.bytes + bytes > TARGET_WAITING_BYTES_MAX {
            let most = self.tenants.iter().max_by_key(|(_, own)| own.cost);
            let most = most.filter(|(_, own)| own.cost > cost).map(|(tenant, _)| Arc::clone(tenant));
            let Some(gone) = most.and_then(|most| self.take(&most, VecDeque::pop_back)) else {
                turned_away.push(waiting);
                return turned_away;
            };
            turned_away.push(gone);
        }
        let known = self.tenants.get_key_value(tenant).map(|(tenant, _)| Arc::clone(tenant));
        let tenant = known.unwrap_or_else(|| {
            let tenant = Arc::from(tenant);
            self.round.push_back(Arc::clone(&tenant));
            tenant
        });
        self.came.push_back((self.next, Arc::clone(&tenant)));
        let own = self.tenants.entry(tenant).or_default();
        own.orders.push_back((self.next, waiting));
        own.cost = cost;
        self.next += 1;
        self.len += 1;
        self.bytes += bytes;
        if self.came.len() > 2 * TARGET_WAITING_MAX {
            let came = std::mem::take(&mut self.came);
            self.came = came.into_iter().filter(|(number, tenant)| self.has(*number, tenant)).collect();
        }
        turned_away
    }

    /// The order whose turn it is.
    pub fn pop(&mut self) -> Option<Waiting> {
        let tenant = self.round.front().map(Arc::clone)?;
        let waiting = self.take(&tenant, VecDeque::pop_front);
        if self.tenants.contains_key(&tenant) {
            self.round.rotate_left(1);
        }
        waiting
    }

    /// When the time of the first of them is over.
    pub fn first_ends(&mut self) -> Option<Instant> {
        while let Some((number, tenant)) = self.came.front() {
            if self.has(*number, tenant) {
                let own = self.tenants.get(tenant)?;
                return own.orders.front().map(|(_, waiting)| waiting.until);
            }
            self.came.pop_front();
        }
        None
    }

    /// The next order whose time is over.
    pub fn ended(&mut self, now: Instant) -> Option<Waiting> {
        self.first_ends().filter(|until| *until <= now)?;
        let (_, tenant) = self.came.pop_front()?;
        self.take(&tenant, VecDeque::pop_front)
    }

    fn has(&self, number: u64, tenant: &str) -> bool {
        let own = self.tenants.get(tenant);
        own.is_some_and(|own| own.orders.binary_search_by_key(&number, |(number, _)| *number).is_ok())
    }

    fn take(
        &mut self,
        tenant: &Arc<str>,
        one: impl Fn(&mut VecDeque<(u64, Waiting)>) -> Option<(u64, Waiting)>,
    ) -> Option<Waiting> {
        let own = self.tenants.get_mut(tenant)?;
        let (_, waiting) = one(&mut own.orders)?;
        let bytes = waiting.bytes();
        own.cost -= ORDER_COST + bytes;
        self.len -= 1;
        self.bytes -= bytes;
        if own.orders.is_empty() {
            self.tenants.remove(tenant);
            // The usual case is the one whose turn it is.
            let at = self.round.iter().position(|each| each == tenant);
            self.round.remove(at.unwrap_or(self.round.len()));
        }
        Some(waiting)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::payload::tests::order;
    use super::*;

    fn waiting(tenant: usize, number: u64, until: Instant) -> Waiting {
        let body = format!(r#"{{"id":"s","tenant":"t{tenant}","sku":"vm","type":"x"}}"#);
        let order = order("page", number, &body);
        Waiting { order, until, since: clock::now(), tried: Tried::default(), calls: 0 }
    }

    fn told(waiting: &Waiting) -> (String, u64) {
        let intent = &waiting.order.intent;
        (intent.signal.tenant().to_owned(), intent.action.seq.0)
    }

    #[test]
    fn where_there_is_no_room_who_takes_most_makes_it() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..TARGET_WAITING_MAX as u64 {
            assert!(queue.push(waiting(0, number, now)).is_empty());
        }
        let away = queue.push(waiting(0, 9000, now));
        assert_eq!(away.iter().map(told).collect::<Vec<_>>(), [("t0".to_owned(), 9000)]);
        let away = queue.push(waiting(1, 9001, now));
        assert_eq!(away.iter().map(told).collect::<Vec<_>>(), [("t0".to_owned(), 8191)]);
        assert_eq!(queue.len(), TARGET_WAITING_MAX);
        let turns: Vec<_> = (0..3).filter_map(|_| queue.pop()).map(|waiting| told(&waiting).1).collect();
        assert_eq!(turns, [0, 9001, 1]);
    }

    proptest! {
        /// Every order comes out once; a tenant's in its order, tenants in turn, and those whose time is over by its end.
        #[test]
        fn every_order_comes_once_and_nobody_has_two_turns_while_another_waits(
            steps in prop::collection::vec((0u8..4, 0usize..4), 1..200)
        ) {
            let (mut queue, begun) = (Queue::default(), Instant::now());
            let mut model: Vec<(usize, u64)> = Vec::new();
            for (number, (what, tenant)) in (0..).zip(steps) {
                let at = |number: u64| begun + Duration::from_secs(number);
                match what {
                    0 | 1 => {
                        prop_assert!(queue.push(waiting(tenant, number, at(number))).is_empty());
                        model.push((tenant, number));
                    }
                    2 => {
                        let got = queue.pop().map(|waiting| told(&waiting));
                        let Some((name, number)) = got else {
                            prop_assert!(model.is_empty());
                            continue;
                        };
                        let place = model.iter().position(|each| each.1 == number).unwrap();
                        let (tenant, _) = model.remove(place);
                        prop_assert_eq!(&name, &format!("t{tenant}"));
                        prop_assert!(!model[..place].iter().any(|each| each.0 == tenant));
                        let others = model.iter().any(|each| each.0 != tenant);
                        let next = queue.round.front().is_some_and(|next| **next == *name);
                        prop_assert!(!others || !next, "{name} has two turns");
                    }
                    _ => {
                        prop_assert_eq!(queue.first_ends(), model.first().map(|each| at(each.1)));
                        let got = queue.ended(at(number / 2)).map(|waiting| told(&waiting).1);
                        let expected = model.first().map(|each| each.1).filter(|first| *first <= number / 2);
                        prop_assert_eq!(got, expected);
                        if expected.is_some() {
                            model.remove(0);
                        }
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.bytes == 0 && queue.round.is_empty(), model.is_empty());
                prop_assert_eq!(queue.round.len(), queue.tenants.len());
            }
        }
    }
}
