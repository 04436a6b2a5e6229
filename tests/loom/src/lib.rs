//! The ring module under loom: every interleaving of its atomics that the memory model allows, within three
//! threads and a bounded number of preemptions. `tests/all` runs it with `RUSTFLAGS="--cfg loom"`.

#![cfg(loom)]
#![allow(dead_code, unused_imports)]

#[path = "../../../src/ring/mod.rs"]
mod ring;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loom::thread;

    use crate::ring::{Idle, Mark, Sleeper, lane};

    fn explore(body: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(body);
    }

    const ASLEEP_AT_ONCE: Idle = Idle { spins: 0, yields: 0 };

    #[test]
    fn no_wake_is_lost_and_order_holds() {
        explore(|| {
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
        explore(|| {
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
        explore(|| {
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
}
