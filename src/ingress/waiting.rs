//! Requests that wait for the journal. One ingress thread's units are answered in the order in which it offered
//! them, so an answer needs no name: it belongs to whoever has waited longest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::answer::Promised;
use super::outbox::SharedOutbox;
use crate::event::Ack;

/// Who waits, longest first.
#[derive(Debug, Default)]
pub struct Waiting {
    places: Vec<Place>,
    free: Vec<usize>,
    order: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    who: Who,
    /// Coarse seconds at which the unit was offered.
    since: u32,
}

#[derive(Debug)]
enum Who {
    /// A task, at its place.
    Task(usize),
    Slot(Held),
    /// It was told that it takes too long; the journal's answer is still to come.
    Nobody,
}

/// A request whose answer goes to a slot of its connection's outbox.
#[derive(Debug)]
pub struct Held {
    pub outbox: SharedOutbox,
    pub slot: u64,
    pub promised: Promised,
}

#[derive(Debug, Default)]
struct Place {
    state: State,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waits,
    Answered(Ack),
    /// Took too long; the journal's answer is still to come.
    Overdue,
    /// The client went away; the journal's answer is still to come.
    Abandoned,
}

impl Waiting {
    /// Units under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Takes the next turn for a slot; call it right after the unit was offered.
    pub fn hold(&mut self, held: Held, since: u32) {
        self.order.push_back(Waiter { who: Who::Slot(held), since });
    }

    fn enter(&mut self, since: u32) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        self.places[index] = Place::default();
        self.order.push_back(Waiter { who: Who::Task(index), since });
        index
    }

    /// Gives the journal's next answer to the one that has waited longest: to a task here, to a slot by the caller.
    pub fn answer(&mut self, ack: Ack) -> Option<(Held, Ack)> {
        let longest = self.order.pop_front();
        assert!(longest.is_some(), "the journal answers only what was offered");
        let index = match longest?.who {
            Who::Slot(held) => return Some((held, ack)),
            Who::Nobody => return None,
            Who::Task(index) => index,
        };
        let place = self.places.get_mut(index)?;
        match place.state {
            State::Waits => {
                place.state = State::Answered(ack);
                if let Some(waker) = place.waker.take() {
                    waker.wake();
                }
            }
            State::Abandoned => self.free.push(index),
            // Its request was told 503 and left; it frees the place when it sees the state.
            State::Overdue | State::Answered(_) => place.state = State::Answered(ack),
        }
        None
    }

    /// Those who were offered before `limit` have waited too long: tasks hear it here, slots from the caller.
    pub fn give_up(&mut self, limit: u32) -> Vec<Held> {
        let mut given_up = Vec::new();
        for waiter in &mut self.order {
            if waiter.since >= limit {
                break;
            }
            match std::mem::replace(&mut waiter.who, Who::Nobody) {
                Who::Nobody => {}
                Who::Slot(held) => given_up.push(held),
                Who::Task(index) => {
                    waiter.who = Who::Task(index);
                    let Some(place) = self.places.get_mut(index) else { continue };
                    if matches!(place.state, State::Waits) {
                        place.state = State::Overdue;
                        if let Some(waker) = place.waker.take() {
                            waker.wake();
                        }
                    }
                }
            }
        }
        given_up
    }
}

/// The journal did not answer in time. The signal may or may not be taken: the sender must repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue;

/// Waits for the journal's answer to one unit.
#[derive(Debug)]
pub struct Wait {
    waiting: Rc<RefCell<Waiting>>,
    index: usize,
    done: bool,
}

impl Wait {
    /// Takes the next place; call it right after the unit was offered.
    #[must_use]
    pub fn new(waiting: &Rc<RefCell<Waiting>>, since: u32) -> Self {
        let index = waiting.borrow_mut().enter(since);
        Self { waiting: Rc::clone(waiting), index, done: false }
    }
}

impl Future for Wait {
    type Output = Result<Ack, Overdue>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut waiting = this.waiting.borrow_mut();
        let Some(place) = waiting.places.get_mut(this.index) else { return Poll::Ready(Err(Overdue)) };
        match std::mem::take(&mut place.state) {
            State::Answered(ack) => {
                waiting.free.push(this.index);
                this.done = true;
                Poll::Ready(Ok(ack))
            }
            State::Overdue => {
                place.state = State::Abandoned;
                this.done = true;
                Poll::Ready(Err(Overdue))
            }
            state @ (State::Waits | State::Abandoned) => {
                place.state = state;
                if !place.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    place.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        let Some(place) = waiting.places.get_mut(self.index) else { return };
        if matches!(place.state, State::Answered(_)) {
            waiting.free.push(self.index);
        } else {
            place.state = State::Abandoned;
            place.waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Seq;

    fn durable(seq: u64) -> Ack {
        Ack::Durable { first: Seq(seq), last: Seq(seq), duplicates: 0 }
    }

    fn poll(wait: &mut Wait) -> Poll<Result<Ack, Overdue>> {
        Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn answers_go_to_whoever_waited_longest() {
        let waiting = Rc::default();
        let (mut first, mut second) = (Wait::new(&waiting, 0), Wait::new(&waiting, 0));
        assert!(poll(&mut first).is_pending());
        waiting.borrow_mut().answer(durable(1));
        assert!(poll(&mut second).is_pending());
        assert_eq!(poll(&mut first), Poll::Ready(Ok(durable(1))));
        waiting.borrow_mut().answer(durable(2));
        assert_eq!(poll(&mut second), Poll::Ready(Ok(durable(2))));
    }

    #[test]
    fn a_client_that_left_does_not_shift_the_answers() {
        let waiting = Rc::default();
        let (first, mut second) = (Wait::new(&waiting, 0), Wait::new(&waiting, 0));
        drop(first);
        waiting.borrow_mut().answer(durable(1));
        waiting.borrow_mut().answer(durable(2));
        assert_eq!(poll(&mut second), Poll::Ready(Ok(durable(2))));
        assert_eq!(waiting.borrow().free.len(), 2, "both places are free again");
    }

    #[test]
    fn overdue_is_told_and_the_late_answer_frees_the_place() {
        let waiting = Rc::default();
        let mut late = Wait::new(&waiting, 5);
        let mut young = Wait::new(&waiting, 9);
        assert!(waiting.borrow_mut().give_up(9).is_empty());
        assert_eq!(poll(&mut late), Poll::Ready(Err(Overdue)));
        assert!(poll(&mut young).is_pending());
        drop(late);
        waiting.borrow_mut().answer(durable(1));
        waiting.borrow_mut().answer(durable(2));
        assert_eq!(poll(&mut young), Poll::Ready(Ok(durable(2))));
        assert_eq!(waiting.borrow().free.len(), 2);
    }
}
