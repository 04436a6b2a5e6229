//! Heijunka: what is ready in a shard is taken in a levelled order, so that a tenant who sends much waits behind
//! himself and not before his neighbours (promise P5). Deficit round robin (Shreedhar and Varghese, 1995): each tenant
//! with something ready gets the same number of bytes a round, and within a tenant the order of acceptance stays
//! (promise P3). Pure.

use std::collections::VecDeque;

/// Items of many tenants, who are known by small numbers. A tenant without items takes a few bytes: all items stand in one
/// list of places, each of which knows the next one of its tenant.
#[derive(Debug)]
pub struct FairQueue<T> {
    tenants: Vec<Tenant>,
    places: Vec<Place<T>>,
    /// The first place that is not taken.
    vacant: u32,
    /// Tenants that have something ready, in the order of their next turn.
    round: VecDeque<u32>,
    /// The tenant at the front has been given its quantum.
    begun: bool,
    len: usize,
    cost: usize,
}

#[derive(Clone, Copy, Debug)]
struct Tenant {
    first: u32,
    last: u32,
    /// Bytes that it may still take.
    deficit: u32,
}

#[derive(Debug)]
struct Place<T> {
    item: Option<T>,
    cost: u32,
    /// The next of the same tenant, or of those that are not taken.
    next: u32,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            tenants: Vec::new(),
            places: Vec::new(),
            vacant: NONE,
            round: VecDeque::new(),
            begun: false,
            len: 0,
            cost: 0,
        }
    }
}

/// No place.
const NONE: u32 = u32::MAX;
/// Bytes of a tenant's turn: about twenty usual signals, so that what they share stays in the cache.
pub const QUANTUM_BYTES: u32 = 16 * 1024;
/// What an item costs beside its bytes.
const ITEM_BYTES: u32 = 512;

impl<T> FairQueue<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all items, and what each costs beside them.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Puts an item of `bytes` behind the tenant's others.
    #[inline]
    pub fn push(&mut self, tenant: u32, bytes: usize, item: T) {
        let at = tenant as usize;
        if at >= self.tenants.len() {
            self.tenants.resize(at + 1, Tenant { first: NONE, last: NONE, deficit: 0 });
        }
        let cost = ITEM_BYTES.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        let vacant = self.vacant;
        let place = if let Some(free) = self.places.get_mut(vacant as usize) {
            // The item moves straight into its place: no copy of the old one.
            free.item = Some(item);
            free.cost = cost;
            self.vacant = std::mem::replace(&mut free.next, NONE);
            vacant
        } else {
            self.places.push(Place { item: Some(item), cost, next: NONE });
            u32::try_from(self.places.len() - 1).unwrap_or(NONE)
        };
        assert!(place < NONE, "fewer than 2^32 items wait");
        let own = &mut self.tenants[at];
        if let Some(last) = self.places.get_mut(own.last as usize) {
            last.next = place;
        } else {
            own.first = place;
            self.round.push_back(tenant);
        }
        own.last = place;
        self.len += 1;
        self.cost += cost as usize;
    }

    /// The next item in the levelled order, and whose it is.
    #[inline]
    pub fn pop(&mut self) -> Option<(u32, T)> {
        loop {
            let tenant = *self.round.front()?;
            let own = &mut self.tenants[tenant as usize];
            if !std::mem::replace(&mut self.begun, true) {
                own.deficit = own.deficit.saturating_add(QUANTUM_BYTES);
            }
            let at = own.first;
            let place = self.places.get_mut(at as usize)?;
            if place.cost > own.deficit {
                // It cannot pay for its next item in this turn; what it has counts in the next round.
                self.round.rotate_left(1);
                self.begun = false;
                continue;
            }
            let item = place.item.take()?;
            own.deficit -= place.cost;
            self.len -= 1;
            self.cost -= place.cost as usize;
            own.first = std::mem::replace(&mut place.next, self.vacant);
            self.vacant = at;
            if own.first == NONE {
                *own = Tenant { first: NONE, last: NONE, deficit: 0 };
                self.round.pop_front();
                self.begun = false;
            }
            return Some((tenant, item));
        }
    }

    /// The first item of each tenant that has one.
    pub fn fronts(&self) -> impl Iterator<Item = &T> {
        let first = |tenant: &u32| self.tenants.get(*tenant as usize).map(|own| own.first);
        let places = self.round.iter().filter_map(first);
        places.filter_map(|first| self.places.get(first as usize)?.item.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tenant_with_much_does_not_delay_one_with_little() {
        let mut queue = FairQueue::default();
        for number in 0..10_000 {
            queue.push(0, 300, number);
        }
        queue.push(1, 300, 10_000);
        let before = std::iter::from_fn(|| queue.pop()).take_while(|(tenant, _)| *tenant != 1).count();
        assert!(before <= (QUANTUM_BYTES / (300 + ITEM_BYTES)) as usize + 1, "{before} came first");
    }

    #[test]
    fn an_item_larger_than_many_turns_gets_its_turn() {
        let mut queue = FairQueue::default();
        queue.push(0, 256 * 1024, "large");
        for _ in 0..1000 {
            queue.push(1, 300, "small");
        }
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop()).map(|(_, item)| item).collect();
        let large = order.iter().position(|item| *item == "large").unwrap();
        assert!((200..500).contains(&large), "it came after {large}");
        assert_eq!(order.len(), 1001);
    }

    proptest! {
        #[test]
        fn every_item_comes_once_in_its_tenants_order_and_nobody_starves(
            steps in prop::collection::vec((0u32..5, 0usize..3000, any::<bool>()), 1..400)
        ) {
            let mut queue = FairQueue::default();
            let mut waiting: Vec<VecDeque<usize>> = vec![VecDeque::new(); 5];
            let (mut skipped, mut count, mut most_waiting) = ([0usize; 5], 0, 0);
            let most = 5 * (QUANTUM_BYTES / ITEM_BYTES) as usize + 5;
            let mut take = |queue: &mut FairQueue<usize>, waiting: &mut Vec<VecDeque<usize>>| {
                let popped = queue.pop();
                if let Some((tenant, item)) = popped {
                    assert_eq!(waiting[tenant as usize].pop_front(), Some(item));
                    for (other, skipped) in skipped.iter_mut().enumerate() {
                        let waits = other != tenant as usize && !waiting[other].is_empty();
                        *skipped = if waits { *skipped + 1 } else { 0 };
                        assert!(*skipped <= most, "tenant {other} was passed over {skipped} times");
                    }
                }
                assert_eq!(queue.len(), waiting.iter().map(VecDeque::len).sum::<usize>());
                popped.is_some()
            };
            for (tenant, bytes, pop) in steps {
                queue.push(tenant, bytes, count);
                waiting[tenant as usize].push_back(count);
                count += 1;
                most_waiting = most_waiting.max(queue.len());
                let fronts: Vec<usize> = queue.fronts().copied().collect();
                for front in waiting.iter().filter_map(VecDeque::front) {
                    prop_assert!(fronts.contains(front));
                }
                if pop {
                    take(&mut queue, &mut waiting);
                }
            }
            while take(&mut queue, &mut waiting) {}
            prop_assert!(queue.is_empty() && queue.cost() == 0);
            // Places are used again: there are as many as items ever waited at once.
            prop_assert!(queue.places.len() <= most_waiting);
        }
    }
}
