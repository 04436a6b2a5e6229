//! Bytes that one thread holds for clients who have proved nothing yet, or who do not take their answers: heads, frames and
//! bodies that arrive in parts, answers that wait for the client to read, refusals that wait for their turn. Promise P5.
//!
//! Only bytes that are really held are charged: a declared length costs nothing. When the budget is used up, the client
//! address that holds the most gives back first, and of its charges the one that moves slowest: a newcomer never pays
//! for those who came before it. Pure; the caller brings the time, in nanoseconds of one scale.

use std::cell::RefCell;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use slab::Slab;

/// The budget of one thread.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes_max: usize,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    held: usize,
    charges: Slab<Entry>,
}

#[derive(Debug)]
struct Entry {
    client: IpAddr,
    bytes: usize,
    since_nanos: u64,
    revoked: bool,
    waker: Option<Waker>,
}

/// The budget is used up, and this charge is the one that has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revoked;

/// What one request or one connection holds; given back when dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Rc<MemoryBudget>,
    key: usize,
}

impl MemoryBudget {
    #[must_use]
    pub fn new(bytes_max: usize) -> Rc<Self> {
        Rc::new(Self { bytes_max, state: RefCell::default() })
    }

    /// Opens a charge of nothing for `client`.
    pub fn open(self: &Rc<Self>, client: IpAddr, now_nanos: u64) -> Charge {
        let entry = Entry { client, bytes: 0, since_nanos: now_nanos, revoked: false, waker: None };
        let key = self.state.borrow_mut().charges.insert(entry);
        Charge { budget: Rc::clone(self), key }
    }
}

impl Charge {
    /// Holds `bytes` more.
    ///
    /// # Errors
    /// [`Revoked`] when this charge has to go, now or since an earlier call. Its bytes count no more.
    pub fn grow(&self, bytes: usize, now_nanos: u64) -> Result<(), Revoked> {
        let mut state = self.budget.state.borrow_mut();
        if !state.add(self.key, bytes) {
            return Err(Revoked);
        }
        if state.held > self.budget.bytes_max {
            // An eighth at once, so that the next search is far away.
            state.relieve(self.budget.bytes_max - self.budget.bytes_max / 8, now_nanos);
        }
        if state.charges[self.key].revoked { Err(Revoked) } else { Ok(()) }
    }

    /// Holds `bytes` instead of what it held.
    ///
    /// # Errors
    /// As [`Charge::grow`].
    pub fn set(&self, bytes: usize, now_nanos: u64) -> Result<(), Revoked> {
        let held = self.budget.state.borrow().charges[self.key].bytes;
        if bytes >= held {
            return self.grow(bytes - held, now_nanos);
        }
        let mut state = self.budget.state.borrow_mut();
        state.held -= held - bytes;
        state.charges[self.key].bytes = bytes;
        if state.charges[self.key].revoked { Err(Revoked) } else { Ok(()) }
    }

    /// Ready once this charge has to go.
    pub fn poll_revoked(&self, cx: &Context<'_>) -> Poll<Revoked> {
        let entry = &mut self.budget.state.borrow_mut().charges[self.key];
        if entry.revoked {
            return Poll::Ready(Revoked);
        }
        if !entry.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            entry.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.budget.state.borrow_mut();
        let entry = state.charges.remove(self.key);
        state.held -= entry.bytes;
    }
}

impl State {
    /// Adds to a charge; false if it was revoked.
    fn add(&mut self, key: usize, bytes: usize) -> bool {
        let entry = &mut self.charges[key];
        if entry.revoked {
            return false;
        }
        entry.bytes += bytes;
        self.held += bytes;
        true
    }

    /// Revokes charges until at most `target` bytes are held.
    fn relieve(&mut self, target: usize, now_nanos: u64) {
        // Each client's charges, the slowest last.
        let mut clients: HashMap<IpAddr, (usize, Vec<(u64, usize)>)> = HashMap::new();
        for (key, entry) in &self.charges {
            if entry.bytes > 0 {
                let (total, charges) = clients.entry(entry.client).or_default();
                *total += entry.bytes;
                charges.push((entry.bytes_per_second(now_nanos), key));
            }
        }
        let mut most: BinaryHeap<(usize, IpAddr)> = BinaryHeap::new();
        for (client, (total, charges)) in &mut clients {
            charges.sort_unstable_by(|a, b| b.cmp(a));
            most.push((*total, *client));
        }
        while self.held > target {
            let Some((total, client)) = most.pop() else { return };
            let slowest = clients.get_mut(&client).and_then(|(_, charges)| charges.pop());
            if let Some((_, key)) = slowest {
                let freed = self.revoke(key);
                most.push((total - freed, client));
            }
        }
    }

    fn revoke(&mut self, key: usize) -> usize {
        let entry = &mut self.charges[key];
        let freed = std::mem::take(&mut entry.bytes);
        entry.revoked = true;
        if let Some(waker) = entry.waker.take() {
            waker.wake();
        }
        self.held -= freed;
        freed
    }
}

impl Entry {
    fn bytes_per_second(&self, now_nanos: u64) -> u64 {
        let millis = now_nanos.saturating_sub(self.since_nanos) / 1_000_000;
        self.bytes as u64 * 1000 / millis.max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    fn held(budget: &MemoryBudget) -> usize {
        budget.state.borrow().held
    }

    #[test]
    fn who_holds_the_most_gives_back_first_and_its_slowest_before_its_others() {
        let budget = MemoryBudget::new(800);
        let (slow, fast) = (budget.open(client(1), 0), budget.open(client(1), 9 * SECOND));
        slow.grow(300, 0).unwrap();
        fast.grow(300, 9 * SECOND).unwrap();
        let newcomer = budget.open(client(2), 10 * SECOND);
        newcomer.grow(250, 10 * SECOND).unwrap();
        assert_eq!(slow.grow(1, 10 * SECOND), Err(Revoked));
        fast.grow(1, 10 * SECOND).unwrap();
        assert_eq!(held(&budget), 551);
    }

    #[test]
    fn who_fills_the_budget_alone_loses_its_own() {
        let budget = MemoryBudget::new(800);
        let charges: Vec<Charge> = (0..80).map(|_| budget.open(client(1), 0)).collect();
        for charge in &charges {
            charge.grow(10, SECOND).unwrap();
        }
        assert!(charges[0].grow(10, SECOND).is_ok() || charges[0].grow(0, SECOND).is_err());
        assert!(held(&budget) <= 700);
    }

    #[test]
    fn a_revoked_charge_is_woken() {
        let budget = MemoryBudget::new(100);
        let charge = budget.open(client(1), 0);
        let cx = Context::from_waker(Waker::noop());
        charge.grow(90, 0).unwrap();
        assert!(charge.poll_revoked(&cx).is_pending());
        budget.open(client(2), 0).grow(80, SECOND).unwrap();
        assert_eq!(charge.poll_revoked(&cx), Poll::Ready(Revoked));
    }

    proptest! {
        /// Never more than the budget is held, and everything comes back.
        #[test]
        fn the_budget_is_never_exceeded(steps in prop::collection::vec((0u8..4, 0usize..300, any::<bool>()), 1..200)) {
            let budget = MemoryBudget::new(1000);
            let mut open = Vec::new();
            for (number, (who, bytes, drops)) in steps.into_iter().enumerate() {
                let now = number as u64 * 1_000_000;
                let charge = budget.open(client(who), now);
                let _revoked = charge.grow(bytes, now);
                open.push(charge);
                if drops {
                    open.remove(0);
                }
                prop_assert!(held(&budget) <= 1000);
            }
            open.clear();
            prop_assert_eq!(held(&budget), 0);
        }
    }
}
