//! The ring module under loom: every interleaving of its atomics that the memory model allows, within three
//! threads; where that ends within seconds, under preemption at every step. `tests/all` runs it with `RUSTFLAGS="--cfg loom"`.

#![cfg(loom)]
#![allow(dead_code, unused_imports)]

// Compiled anew: loom stands in for std in it.
#[path = "../../../src/ring/mod.rs"]
mod ring;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loom::sync::Arc;
    use loom::sync::{Condvar, Mutex};
    use loom::thread;

    use crate::ring::{Bell, Idle, Mark, Sender, Sleeper, Switch, lane};

    /// Every interleaving with at most five preemptions, where all of them would take minutes.
    fn explore(body: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(5);
        model.check(body);
    }


    /// Every interleaving that there is: a thread may be stopped at each of its steps, for however long.
    fn explore_all(body: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = None;
        model.check(body);
    }

    /// tokio's `Notify` as a task sees it: a permit that is kept, and one who waits for it.
    #[derive(Clone)]
    struct Notify(Arc<(Mutex<bool>, Condvar)>);

    impl Notify {
        fn new() -> Self {
            Self(Arc::new((Mutex::new(false), Condvar::new())))
        }
        fn notify_one(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }
        fn notified(&self) {
            let mut permit = self.0.0.lock().unwrap();
            while !*permit {
                permit = self.0.1.wait(permit).unwrap();
            }
            *permit = false;
        }
    }

    const ASLEEP_AT_ONCE: Idle = Idle { spins: 0, yields: 0 };

    #[test]
    fn no_wake_is_lost_and_order_holds() {
        explore_all(|| {
            let sleeper = Sleeper::new(ASLEEP_AT_ONCE);
            let (mut sender, mut receiver) = lane(2, sleeper.bell());
            let producer = thread::spawn(move || {
                for value in 0..2 {
                    sender.push(value).unwrap();
                    sender.ring();
                }
            });
            for expected in 0..2 {
                let value = loop {
                    match receiver.pop() {
                        Some(value) => break value,
                        None => sleeper.wait(Duration::MAX, || !receiver.is_empty()),
                    }
                };
                assert_eq!(value, expected);
            }
            producer.join().unwrap();
        });
    }

    #[test]
    fn two_producers_wake_one_consumer() {
        explore(|| {
            let sleeper = Sleeper::new(ASLEEP_AT_ONCE);
            let (mut left, mut from_left) = lane(1, sleeper.bell());
            let (mut right, mut from_right) = lane(1, sleeper.bell());
            let one = thread::spawn(move || {
                left.push(1).unwrap();
                left.ring();
            });
            let two = thread::spawn(move || {
                right.push(2).unwrap();
                right.ring();
            });
            let mut sum = 0;
            while sum < 3 {
                match from_left.pop().or_else(|| from_right.pop()) {
                    Some(value) => sum += value,
                    None => sleeper.wait(Duration::MAX, || !from_left.is_empty() || !from_right.is_empty()),
                }
            }
            one.join().unwrap();
            two.join().unwrap();
        });
    }

    #[test]
    fn a_full_lane_refuses_and_loses_nothing() {
        explore_all(|| {
            let sleeper = Sleeper::new(ASLEEP_AT_ONCE);
            let (mut sender, mut receiver) = lane(1, sleeper.bell());
            let producer = thread::spawn(move || {
                let sent = (0..2).filter(|value| sender.push(*value).is_ok()).count();
                sender.ring();
                sent
            });
            let mut got = 0;
            if receiver.pop().is_some() {
                got += 1;
            }
            let sent = producer.join().unwrap();
            while receiver.pop().is_some() {
                got += 1;
            }
            assert_eq!(sent, got);
        });
    }

    #[test]
    fn what_was_written_before_a_mark_is_seen_after_it() {
        explore_all(|| {
            let (data, mark) = (Mark::new(0), Mark::new(0));
            let (their_data, their_mark) = (data.clone(), mark.clone());
            let writer = thread::spawn(move || {
                their_data.publish(7);
                their_mark.publish(1);
            });
            if mark.read() == 1 {
                assert_eq!(data.read(), 7);
            }
            writer.join().unwrap();
        });
    }

    /// The journal, a shard, the store: one who brings work and one who sleeps, stopped anywhere.
    #[test]
    fn a_wake_survives_a_stop_at_every_step() {
        explore_all(|| {
            let sleeper = Sleeper::new(ASLEEP_AT_ONCE);
            let (mut sender, mut receiver) = lane(1, sleeper.bell());
            let producer = thread::spawn(move || {
                sender.push(7).unwrap();
                sender.ring();
            });
            while receiver.pop().is_none() {
                sleeper.wait(Duration::MAX, || !receiver.is_empty());
            }
            producer.join().unwrap();
        });
    }

    /// `ingress/stage/pump`, the orders of `line/actions`, the broker's consumer and publisher: a task that empties its
    /// lane, announces its sleep, looks again, and waits for its `Notify`.
    #[test]
    fn a_task_that_announces_its_sleep_and_looks_again_is_woken() {
        explore_all(|| {
            let acked = Notify::new();
            let knock = acked.clone();
            let bell = Arc::new(Bell::new(move || knock.notify_one()));
            let (mut acks, mut answers) = lane(1, bell.clone());
            let journal = thread::spawn(move || {
                acks.push(1).unwrap();
                acks.ring();
            });
            let mut told = 0;
            while told < 1 {
                while answers.pop().is_some() {
                    told += 1;
                }
                bell.announce_sleep();
                if answers.is_empty() && told < 1 {
                    acked.notified();
                }
                bell.awake();
            }
            journal.join().unwrap();
        });
    }

    /// Two batches, the second pushed while the task is on its way from the first wake back to sleep.
    #[test]
    fn a_task_is_woken_again_and_again() {
        explore(|| {
            let acked = Notify::new();
            let knock = acked.clone();
            let bell = Arc::new(Bell::new(move || knock.notify_one()));
            let (mut acks, mut answers) = lane(2, bell.clone());
            let journal = thread::spawn(move || {
                for number in 0..2 {
                    acks.push(number).unwrap();
                    acks.ring();
                }
            });
            let mut told = 0;
            while told < 2 {
                while answers.pop().is_some() {
                    told += 1;
                }
                bell.announce_sleep();
                if answers.is_empty() && told < 2 {
                    acked.notified();
                }
                bell.awake();
            }
            journal.join().unwrap();
        });
    }

    /// A request and its answer: ingress wakes the journal, the journal wakes ingress, each asleep before.
    #[test]
    fn a_request_wakes_the_journal_and_its_answer_wakes_ingress() {
        explore_all(|| {
            let sleeper = Sleeper::new(ASLEEP_AT_ONCE);
            let acked = Notify::new();
            let knock = acked.clone();
            let bell = Arc::new(Bell::new(move || knock.notify_one()));
            let (mut arrivals, mut taken) = lane(1, sleeper.bell());
            let (mut acks, mut answers) = lane(1, bell.clone());
            let journal = thread::spawn(move || {
                loop {
                    if let Some(signal) = taken.pop() {
                        acks.push(signal).unwrap();
                        acks.ring();
                        return;
                    }
                    sleeper.wait(Duration::MAX, || !taken.is_empty());
                }
            });
            arrivals.push(1).unwrap();
            arrivals.ring();
            loop {
                if answers.pop().is_some() {
                    break;
                }
                bell.announce_sleep();
                if answers.is_empty() {
                    acked.notified();
                }
                bell.awake();
            }
            journal.join().unwrap();
        });
    }

    /// `kanban/journal/segment`: whoever wants a spare says so and wakes the maker, who looks before each rest.
    #[test]
    fn a_rest_ends_when_its_result_is_wanted() {
        explore_all(|| {
            let wanted = Mark::new(0);
            let token = Notify::new();
            let (asked, unpark) = (wanted.clone(), token.clone());
            let maker = thread::spawn(move || {
                while asked.read() == 0 {
                    token.notified();
                }
            });
            wanted.publish(1);
            unpark.notify_one();
            maker.join().unwrap();
        });
    }

    /// `line/threads`: work that came before the order to finish is found after it.
    #[test]
    fn what_came_before_the_end_is_finished() {
        explore(|| {
            let sleeper = Sleeper::new(ASLEEP_AT_ONCE);
            let (mut sender, mut receiver) = lane(1, sleeper.bell());
            let (finish, bell) = (Switch::new(), sleeper.bell());
            let ended = finish.clone();
            let producer = thread::spawn(move || {
                sender.push(1).unwrap();
                sender.ring();
                ended.turn_on();
                bell.ring();
            });
            let mut taken = 0;
            loop {
                let over = finish.is_on();
                match receiver.pop() {
                    Some(_) => taken += 1,
                    None if over => break,
                    None => sleeper.wait(Duration::MAX, || finish.is_on() || !receiver.is_empty()),
                }
            }
            producer.join().unwrap();
            assert_eq!(taken, 1);
        });
    }
}
