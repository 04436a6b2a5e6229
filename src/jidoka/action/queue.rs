//! Orders that wait for one target. Tenants take turns, so that who orders much waits behind himself and not before his
//! neighbours; where there is no room, who takes most of it makes it (promise P5). Within a tenant the order stays.
//!
//! One that the target missed waits here for a time of its own, and holds up no other. What a halted tenant ordered is kept
//! and not given out. Whatever keeps an order here, it leaves when its time is over. Pure.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::tries::Tried;
use crate::clock;
use crate::jidoka::governor::ActionRequest;
use crate::jidoka::halts::Halts;
use crate::limits::{BODY_BYTES_MAX, TARGET_WAITING_BYTES_MAX, TARGET_WAITING_MAX};

pub struct Waiting {
    pub order: ActionRequest,
    pub until: Instant,
    /// When it came.
    pub since: clock::Instant,
    /// The calls so far, of one in the background.
    pub tried: Tried,
    pub calls: u32,
    /// Its place among all that came, given by the queue; it keeps it while it is called.
    number: u64,
}

#[derive(Default)]
pub struct Queue {
    orders: HashMap<u64, KeptOrder>,
    /// Those who have something here.
    tenants: HashMap<Arc<str>, Own>,
    /// Those who have something that may be called, in the order of their next turn.
    round: VecDeque<Arc<str>>,
    /// Orders that were missed, by when they may be called again.
    later: BTreeSet<(Instant, u64)>,
    /// All orders, by when their time is over.
    ends: BTreeSet<(Instant, u64)>,
    /// Whose orders rest.
    halts: Halts,
    next: u64,
    bytes: usize,
}

struct KeptOrder {
    waiting: Waiting,
    tenant: Arc<str>,
    /// When it may be called, of one that was missed.
    later: Option<Instant>,
}

/// What one tenant has here, by number.
#[derive(Default)]
struct Own {
    all: BTreeSet<u64>,
    ready: BTreeSet<u64>,
    cost: usize,
}

/// Cost of an order in addition to its bytes. A queue full of empty orders costs what a queue full of bytes costs.
const ORDER_COST: usize = TARGET_WAITING_BYTES_MAX / TARGET_WAITING_MAX;

impl Waiting {
    pub fn new(order: ActionRequest, until: Instant) -> Self {
        let tried = Tried::new(order.is_again);
        Self { order, until, since: clock::now(), tried, calls: 0, number: 0 }
    }

    fn bytes(&self) -> usize {
        self.order.intent.signal.body().len()
    }
}

impl Queue {
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Puts an order behind its tenant's others. Returns who is turned away for it where there is no room: the newest orders of
    /// the tenant that takes most of it, or this one. `beyond`: orders that have room in addition, whatever they bring.
    pub fn push(&mut self, mut waiting: Waiting, beyond: usize) -> Vec<Waiting> {
        let (tenant, bytes) = (waiting.order.intent.signal.tenant(), waiting.bytes());
        let cost = self.tenants.get(tenant).map_or(0, |own| own.cost) + ORDER_COST + bytes;
        let (most, bytes_most) =
            (TARGET_WAITING_MAX + beyond, TARGET_WAITING_BYTES_MAX + beyond * BODY_BYTES_MAX);
        let mut turned_away = Vec::new();
        while self.len() >= most || self.bytes + bytes > bytes_most {
            let greedy = self.tenants.values().max_by_key(|own| own.cost);
            let newest = greedy.filter(|own| own.cost > cost).and_then(|own| own.all.last().copied());
            let Some(gone) = newest.and_then(|newest| self.take(newest)) else {
                turned_away.push(waiting);
                return turned_away;
            };
            turned_away.push(gone);
        }
        waiting.number = self.next;
        self.next += 1;
        self.keep(waiting, None);
        turned_away
    }

    /// Puts one back that the target missed: it is called again at `at`, or later. There is room for as many as may be called at
    /// once beyond those that wait.
    pub fn put_back(&mut self, waiting: Waiting, at: Instant) {
        self.keep(waiting, Some(at));
    }

    fn keep(&mut self, waiting: Waiting, later: Option<Instant>) {
        let (number, bytes) = (waiting.number, waiting.bytes());
        let tenant = waiting.order.intent.signal.tenant();
        let known = self.tenants.get_key_value(tenant).map(|(tenant, _)| Arc::clone(tenant));
        let tenant = known.unwrap_or_else(|| Arc::from(tenant));
        let own = self.tenants.entry(Arc::clone(&tenant)).or_default();
        own.all.insert(number);
        own.cost += ORDER_COST + bytes;
        self.bytes += bytes;
        self.ends.insert((waiting.until, number));
        let is_ready = later.is_none();
        if let Some(at) = later {
            self.later.insert((at, number));
        }
        self.orders.insert(number, KeptOrder { waiting, tenant: Arc::clone(&tenant), later });
        if is_ready {
            self.make_ready(&tenant, number);
        }
    }

    fn make_ready(&mut self, tenant: &Arc<str>, number: u64) {
        let rests = self.rests(tenant);
        let Some(own) = self.tenants.get_mut(tenant) else { return };
        let is_first = own.ready.is_empty();
        own.ready.insert(number);
        if is_first && !rests {
            self.round.push_back(Arc::clone(tenant));
        }
    }

    /// The order whose turn it is.
    pub fn pop(&mut self, now: Instant) -> Option<Waiting> {
        self.look_at_later(now);
        let tenant = self.round.front().map(Arc::clone)?;
        let first = self.tenants.get(&tenant).and_then(|own| own.ready.first().copied());
        let waiting = self.take(first?);
        if self.round.front().is_some_and(|front| *front == tenant) {
            self.round.rotate_left(1);
        }
        waiting
    }

    /// Whether one may be called now.
    pub fn is_due(&mut self, now: Instant) -> bool {
        self.look_at_later(now);
        !self.round.is_empty()
    }

    /// When the next may be called, if none may now.
    pub fn wakes(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// What waited for its time is ready.
    fn look_at_later(&mut self, now: Instant) {
        while let Some((at, number)) = self.later.first().copied()
            && at <= now
        {
            self.later.pop_first();
            if let Some(kept) = self.orders.get_mut(&number) {
                kept.later = None;
                let tenant = Arc::clone(&kept.tenant);
                self.make_ready(&tenant, number);
            }
        }
    }

    /// When the time of the first of them is over.
    pub fn first_ends(&self) -> Option<Instant> {
        self.ends.first().map(|(until, _)| *until)
    }

    /// The next order whose time is over.
    pub fn ended(&mut self, now: Instant) -> Option<Waiting> {
        let (_, number) = self.ends.first().copied().filter(|(until, _)| *until <= now)?;
        self.take(number)
    }

    /// From here on the orders of tenants that these halts hold up rest, and no others.
    pub fn rest(&mut self, halts: Halts) {
        self.halts = halts;
        let mut round = std::mem::take(&mut self.round);
        round.retain(|tenant| !self.rests(tenant));
        let known: HashSet<Arc<str>> = round.iter().cloned().collect();
        let others = self
            .tenants
            .iter()
            .filter(|(tenant, own)| !own.ready.is_empty() && !known.contains(*tenant) && !self.rests(tenant));
        round.extend(others.map(|(tenant, _)| Arc::clone(tenant)));
        self.round = round;
    }

    fn rests(&self, tenant: &str) -> bool {
        self.halts.of_tenant(tenant).is_some()
    }

    /// Each has the end that `until` says from here on.
    pub fn end_at(&mut self, until: impl Fn(&ActionRequest) -> Instant) {
        self.ends.clear();
        for (number, KeptOrder { waiting, .. }) in &mut self.orders {
            waiting.until = until(&waiting.order);
            self.ends.insert((waiting.until, *number));
        }
    }

    fn take(&mut self, number: u64) -> Option<Waiting> {
        let KeptOrder { waiting, tenant, later } = self.orders.remove(&number)?;
        self.ends.remove(&(waiting.until, number));
        if let Some(at) = later {
            self.later.remove(&(at, number));
        }
        let bytes = waiting.bytes();
        self.bytes -= bytes;
        let own = self.tenants.get_mut(&tenant)?;
        own.cost -= ORDER_COST + bytes;
        own.all.remove(&number);
        let was_ready = own.ready.remove(&number);
        if was_ready && own.ready.is_empty() {
            // The usual case is the one whose turn it is.
            let at = self.round.iter().position(|each| *each == tenant);
            self.round.remove(at.unwrap_or(self.round.len()));
        }
        if own.all.is_empty() {
            self.tenants.remove(&tenant);
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
    use crate::event::UnixMillis;
    use crate::halt::{Halt, HaltOrder, HaltScope};

    fn waiting(tenant: usize, number: u64, until: Instant) -> Waiting {
        let body = format!(r#"{{"id":"s","tenant":"t{tenant}","sku":"vm","type":"x"}}"#);
        Waiting::new(order("page", number, &body), until)
    }

    fn told(waiting: &Waiting) -> (String, u64) {
        let intent = &waiting.order.intent;
        (intent.signal.tenant().to_owned(), intent.action.seq.0)
    }

    fn all_told(waiting: &[Waiting]) -> Vec<(String, u64)> {
        waiting.iter().map(told).collect()
    }

    fn halts(scopes: impl Iterator<Item = HaltScope>) -> Halts {
        let by = HaltOrder { actor: "eve".into(), reason: "a drill".into() };
        let halts: Vec<Halt> =
            scopes.map(|scope| Halt { scope, by: by.clone(), since: UnixMillis(0) }).collect();
        Halts::new(&halts)
    }

    fn of_tenant(tenant: usize) -> HaltScope {
        HaltScope::Tenant(format!("t{tenant}").into())
    }

    #[test]
    fn where_there_is_no_room_who_takes_most_makes_it() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..TARGET_WAITING_MAX as u64 {
            assert!(queue.push(waiting(0, number, now), 0).is_empty());
        }
        assert_eq!(all_told(&queue.push(waiting(0, 9000, now), 0)), [("t0".to_owned(), 9000)]);
        assert_eq!(all_told(&queue.push(waiting(1, 9001, now), 0)), [("t0".to_owned(), 8191)]);
        assert_eq!(queue.len(), TARGET_WAITING_MAX);
        let turns: Vec<_> = (0..3).filter_map(|_| queue.pop(now)).map(|waiting| told(&waiting).1).collect();
        assert_eq!(turns, [0, 9001, 1]);
    }

    #[test]
    fn so_many_have_room_beyond_and_no_more() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in 0..TARGET_WAITING_MAX as u64 {
            assert!(queue.push(waiting(0, number, now), 2).is_empty());
        }
        assert_eq!(queue.push(waiting(0, 9000, now), 0).len(), 1);
        for number in [9001, 9002] {
            assert!(queue.push(waiting(0, number, now), 2).is_empty());
        }
        assert_eq!(all_told(&queue.push(waiting(0, 9003, now), 2)), [("t0".to_owned(), 9003)]);
    }

    /// What waits for a time of its own is counted with what is ready, and makes room as that does.
    #[test]
    fn there_is_one_room_for_what_is_ready_and_what_waits_for_a_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let end = now + Duration::from_hours(1);
        for number in 0..TARGET_WAITING_MAX as u64 {
            assert!(queue.push(waiting(0, number, end), 0).is_empty());
            if number % 2 == 0 {
                let missed = queue.pop(now).unwrap();
                queue.put_back(missed, end);
            }
        }
        assert_eq!((queue.len(), queue.later.len()), (TARGET_WAITING_MAX, TARGET_WAITING_MAX / 2));
        assert_eq!(all_told(&queue.push(waiting(0, 9000, end), 0)), [("t0".to_owned(), 9000)]);
        for number in 1..=10 {
            let away = queue.push(waiting(1, 9000 + number, end), 0);
            assert_eq!(all_told(&away), [("t0".to_owned(), TARGET_WAITING_MAX as u64 - number)]);
            assert_eq!(queue.len(), TARGET_WAITING_MAX);
        }

        // The same by bytes: halves of them wait for a time, and a small order finds room.
        let large = |number| {
            let body = format!(
                r#"{{"id":"s","tenant":"t0","sku":"vm","type":"x","data":{{"x":"{}"}}}}"#,
                "x".repeat(TARGET_WAITING_BYTES_MAX / 400)
            );
            Waiting::new(order("page", number, &body), end)
        };
        let mut queue = Queue::default();
        let mut number = 0;
        let away = loop {
            let away = queue.push(large(number), 0);
            if !away.is_empty() {
                break away;
            }
            if number % 2 == 0 {
                let missed = queue.pop(now).unwrap();
                queue.put_back(missed, end);
            }
            number += 1;
        };
        assert_eq!((number, all_told(&away)), (399, vec![("t0".to_owned(), 399)]));
        assert!(queue.bytes <= TARGET_WAITING_BYTES_MAX);
        assert!(queue.push(waiting(1, 9001, end), 0).is_empty());
        let away = queue.push(large(9002), 0);
        assert_eq!(all_told(&away), [("t0".to_owned(), 9002)], "its own takes most");
    }

    #[test]
    fn what_was_missed_waits_for_its_time_and_holds_up_no_other() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let (later, end) = (now + Duration::from_secs(9), now + Duration::from_hours(1));
        queue.push(waiting(0, 1, end), 0);
        let missed = queue.pop(now).unwrap();
        queue.put_back(missed, later);
        assert!(queue.push(waiting(0, 2, end), 0).is_empty());
        let number = |waiting: Option<Waiting>| waiting.map(|waiting| told(&waiting).1);
        assert!(queue.is_due(now));
        assert_eq!(number(queue.pop(now)), Some(2));
        assert!(!queue.is_due(now));
        assert_eq!(
            (number(queue.pop(now)), queue.wakes(), queue.first_ends()),
            (None, Some(later), Some(end))
        );
        assert_eq!(number(queue.pop(later)), Some(1));
        assert!(queue.is_empty() && queue.first_ends().is_none());
    }

    #[test]
    fn ends_may_be_moved() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for number in 0..3 {
            queue.push(waiting(0, number, at(number)), 0);
        }
        queue.end_at(|order| at(10 - order.intent.action.seq.0));
        assert_eq!(queue.first_ends(), Some(at(8)));
        let ended = queue.ended(at(9)).map(|waiting| told(&waiting).1);
        assert_eq!((ended, queue.len()), (Some(2), 2));
    }

    proptest! {
        /// Every order comes out once; a tenant's in its order, tenants in turn, those that rest never, and those whose time is over
        /// by its end, wherever they are.
        #[test]
        fn every_order_comes_once_and_nobody_has_two_turns_while_another_waits(
            steps in prop::collection::vec((0u8..7, 0usize..4), 1..200)
        ) {
            let (mut queue, begun) = (Queue::default(), Instant::now());
            let at = |number: u64| begun + Duration::from_secs(number);
            // Tenant, number, when it may be called.
            let mut model: Vec<(usize, u64, u64)> = Vec::new();
            let mut resting: BTreeSet<usize> = BTreeSet::new();
            let mut held: Vec<Waiting> = Vec::new();
            for (number, (what, tenant)) in (0..).zip(steps) {
                match what {
                    0 | 1 => {
                        prop_assert!(queue.push(waiting(tenant, number, at(number)), 0).is_empty());
                        model.push((tenant, number, 0));
                    }
                    2 => {
                        let due = |each: &(usize, u64, u64)| each.2 <= number && !resting.contains(&each.0);
                        prop_assert_eq!(queue.is_due(at(number)), model.iter().any(due));
                        let Some(popped) = queue.pop(at(number)) else {
                            prop_assert!(!model.iter().any(due));
                            continue;
                        };
                        let (name, called) = told(&popped);
                        let place = model.iter().position(|each| each.1 == called).unwrap();
                        prop_assert!(due(&model[place]));
                        let (tenant, ..) = model.remove(place);
                        prop_assert_eq!(&name, &format!("t{tenant}"));
                        prop_assert!(!model[..place].iter().any(|each| each.0 == tenant && due(each)));
                        let others = model.iter().any(|each| each.0 != tenant && due(each));
                        let next = queue.round.front().is_some_and(|next| **next == *name);
                        prop_assert!(!others || !next, "{name} has two turns");
                        held.push(popped);
                    }
                    3 => {
                        let Some(missed) = held.pop() else { continue };
                        let (name, missed_number) = told(&missed);
                        let due = number + 7 * tenant as u64;
                        queue.put_back(missed, at(due));
                        let place = model.partition_point(|each| each.1 < missed_number);
                        model.insert(place, (name[1..].parse().unwrap(), missed_number, due));
                    }
                    4 => {
                        if !resting.remove(&tenant) {
                            resting.insert(tenant);
                        }
                        queue.rest(halts(resting.iter().copied().map(of_tenant)));
                    }
                    5 => {
                        let Some(place) = model.iter().position(|each| each.0 == tenant) else { continue };
                        queue.end_at(|order| at(order.intent.action.seq.0));
                        prop_assert_eq!(queue.first_ends(), Some(at(model[0].1)));
                        prop_assert!(place < queue.len());
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
                prop_assert_eq!((queue.ends.len(), queue.bytes == 0), (model.len(), model.is_empty()));
                let all: usize = queue.tenants.values().map(|own| own.all.len()).sum();
                let ready: usize = queue.tenants.values().map(|own| own.ready.len()).sum();
                prop_assert_eq!((all, ready + queue.later.len()), (model.len(), model.len()));
                let turns = queue.tenants.iter().filter(|(tenant, own)| !own.ready.is_empty() && !queue.rests(tenant));
                prop_assert_eq!(queue.round.len(), turns.count());
            }
            queue.rest(halts(std::iter::once(HaltScope::Line)));
            prop_assert!(!queue.is_due(at(10_000)));
            prop_assert_eq!(queue.len(), model.len());
        }
    }
}
