//! Whether the node is still there. It is gone when every connection was refused or broke and none was answered since,
//! for a while. A node that only stalls keeps its connections, and one that is started again answers in time.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A node that is started again may take so long until it answers.
const GONE_NANOS: u64 = 5_000_000_000;
/// At the end of a run nothing is waited for: whoever was silent for so long is gone.
const GONE_AT_END_NANOS: u64 = 1_000_000_000;

/// What the connections of one thread met.
#[derive(Debug)]
pub struct Pulse {
    address: SocketAddr,
    /// By connection: it broke or was refused, and no answer came over it since.
    failing: Vec<bool>,
    count: usize,
    /// The first failure since the last answer.
    since: Option<u64>,
}

impl Pulse {
    #[must_use]
    pub fn new(address: SocketAddr, connections: usize) -> Self {
        Self { address, failing: vec![false; connections], count: 0, since: None }
    }

    pub fn answered(&mut self, connection: usize) {
        self.since = None;
        self.set(connection, false);
    }

    pub fn failed(&mut self, connection: usize, now: u64) {
        self.since.get_or_insert(now);
        self.set(connection, true);
    }

    fn set(&mut self, connection: usize, failing: bool) {
        let was = std::mem::replace(&mut self.failing[connection], failing);
        self.count = self.count + usize::from(failing) - usize::from(was);
    }

    fn silent(&self, now: u64) -> Option<u64> {
        self.since.filter(|_| self.count == self.failing.len()).map(|since| now.saturating_sub(since))
    }

    #[must_use]
    pub fn is_gone(&self, now: u64) -> bool {
        self.silent(now).is_some_and(|silent| silent > GONE_NANOS)
    }

    /// Whether the node was gone when the run ended. May try to reach it.
    #[must_use]
    pub fn was_gone(&self, now: u64) -> bool {
        self.silent(now).is_some_and(|silent| {
            let patience = Duration::from_nanos(GONE_AT_END_NANOS);
            silent > GONE_AT_END_NANOS || TcpStream::connect_timeout(&self.address, patience).is_err()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_node_is_gone_when_all_its_connections_fail_for_a_while() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut pulse = Pulse::new(listener.local_addr().unwrap(), 2);
        assert!(!pulse.is_gone(u64::MAX) && !pulse.was_gone(u64::MAX));
        pulse.failed(0, 1);
        assert!(!pulse.is_gone(u64::MAX), "the other one stands");
        pulse.failed(1, 2);
        pulse.failed(1, 3);
        assert!(!pulse.is_gone(GONE_NANOS + 1) && pulse.is_gone(GONE_NANOS + 2));
        pulse.answered(0);
        assert!(!pulse.is_gone(u64::MAX));
        pulse.failed(0, 10);
        assert!(!pulse.is_gone(GONE_NANOS + 10) && pulse.is_gone(GONE_NANOS + 11));
        assert!(!pulse.was_gone(11), "it can be reached");
        assert!(pulse.was_gone(GONE_AT_END_NANOS + 11));
        drop(listener);
        assert!(pulse.was_gone(11), "nothing listens");
    }
}
