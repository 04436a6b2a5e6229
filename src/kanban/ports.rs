//! The lanes between whoever accepts signals and the journal: one after the other is looked at, and each is answered in the
//! order in which it brought something.

use crate::event::{Ack, Arrival};
use crate::ring::{Receiver, Sender};

/// The two lanes between one ingress thread and the journal.
#[derive(Debug)]
pub struct Port {
    pub arrivals: Receiver<Arrival>,
    pub acks: Sender<Ack>,
}

/// All of them.
#[derive(Debug)]
pub struct Ports {
    ports: Vec<Port>,
    /// The one that is looked at first.
    next: usize,
    /// Answers of the frame that is being written, by port.
    acks: Vec<(usize, Ack)>,
}

impl Ports {
    #[must_use]
    pub fn new(ports: Vec<Port>) -> Self {
        Self { ports, next: 0, acks: Vec::new() }
    }

    /// Whether something waits.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.ports.iter().any(|port| !port.arrivals.is_empty())
    }

    /// What arrived, one from each port that has something in turn; with the port that it came through.
    pub fn pop(&mut self) -> Option<(usize, Arrival)> {
        let count = self.ports.len();
        for _ in 0..count {
            let port = self.next % count;
            self.next = port + 1;
            if let Some(arrival) = self.ports[port].arrivals.pop() {
                return Some((port, arrival));
            }
        }
        None
    }

    /// What is to be answered through a port once the frame is durable.
    pub fn add_ack(&mut self, port: usize, ack: Ack) {
        self.acks.push((port, ack));
    }

    /// Whether nothing is to be answered.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.acks.is_empty()
    }

    /// Answers everything.
    pub fn answer(&mut self) {
        for (port, ack) in self.acks.drain(..) {
            let pushed = self.ports[port].acks.push(ack);
            assert!(
                pushed.is_ok(),
                "an ingress thread has at most as many units under way as its lane has places"
            );
        }
        for port in &self.ports {
            port.acks.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Seq;
    use crate::ring::{Bell, lane};

    #[test]
    fn each_port_has_its_turn_and_its_own_answers() {
        let bell = || Arc::new(Bell::new(|| {}));
        let (mut senders, mut answers, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let (sender, arrivals) = lane(4, bell());
            let (acks, answer) = lane(4, bell());
            senders.push(sender);
            answers.push(answer);
            all.push(Port { arrivals, acks });
        }
        let mut ports = Ports::new(all);
        assert!(!ports.has_work() && ports.pop().is_none());
        for port in [0, 0, 0, 2] {
            senders[port].push(Arrival::Cut).unwrap();
        }
        assert!(ports.has_work());
        let order: Vec<usize> = std::iter::from_fn(|| ports.pop()).map(|(port, _)| port).collect();
        assert_eq!(order, [0, 2, 0, 0]);
        for (number, port) in (1..).zip(order) {
            ports.add_ack(port, Ack::Durable { first: Seq(number), last: Seq(number), duplicates: 0 });
        }
        assert!(!ports.is_answered());
        ports.answer();
        assert!(ports.is_answered());
        let mut answered = |port: usize| -> Vec<u64> {
            let acks = std::iter::from_fn(|| answers[port].pop());
            acks.map(|ack| if let Ack::Durable { first, .. } = ack { first.0 } else { 0 }).collect()
        };
        assert_eq!([answered(0), answered(1), answered(2)], [vec![1, 3, 4], vec![], vec![2]]);
    }
}
