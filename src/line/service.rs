//! What the service manager is told while the line runs: how far a start has come, that signals are taken, and that every thread
//! turns.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{self, Instant};
use crate::kaizen::HeartbeatView;
use crate::ring::Mark;
use crate::service_manager::ServiceManager;

/// Tells the service manager, as often as it is asked to look.
pub struct Service {
    manager: ServiceManager,
    beats: Vec<Arc<HeartbeatView>>,
    /// The last event that a start has read.
    read: Mark,
    told: u64,
    looked: Option<Instant>,
    beaten: Instant,
    /// It was said that a thread does not turn.
    is_told: bool,
    /// A thread that did not turn for so long hangs; half of a watchdog's time may be longer.
    within: Duration,
}

/// A thread that turns notes it twice a second.
const TURNS_WITHIN: Duration = Duration::from_secs(3);
/// How often a start that goes on says so, and how much longer it may take then.
const EVERY: Duration = Duration::from_secs(1);
const LONGER: Duration = Duration::from_secs(30);

impl Service {
    #[must_use]
    pub fn new(manager: ServiceManager, beats: Vec<Arc<HeartbeatView>>, read: Mark) -> Self {
        Self {
            manager,
            beats,
            read,
            told: 0,
            looked: None,
            beaten: clock::now(),
            is_told: false,
            within: TURNS_WITHIN,
        }
    }

    /// A start goes on: that is a sign of life, too.
    pub fn look_at_start(&mut self) {
        let now = clock::now();
        if !self.manager.is_there()
            || self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < EVERY)
        {
            return;
        }
        self.looked = Some(now);
        let read = self.read.read();
        if read > self.told {
            self.told = read;
            self.manager.takes_longer(LONGER, &format!("starts: read the journal up to event {read}"));
            self.manager.lives();
        }
    }

    /// Half of the watchdog's time after the last sign of life: another one, if every thread turns.
    pub fn look_at_threads(&mut self) {
        let Some(watchdog) = self.manager.watchdog() else { return };
        let now = clock::now();
        if now.saturating_duration_since(self.beaten) < watchdog / 2 {
            return;
        }
        let within = u64::try_from(self.within.max(watchdog / 2).as_millis()).unwrap_or(u64::MAX);
        match self.beats.iter().find(|beat| !beat.is_within(within)) {
            None => {
                self.beaten = now;
                self.is_told = false;
                self.manager.lives();
            }
            Some(beat) if !std::mem::replace(&mut self.is_told, true) => {
                let thread = beat.thread();
                tracing::warn!(
                    target: "gemba::line",
                    thread,
                    watchdog_seconds = watchdog.as_secs(),
                    "a thread does not turn: the service manager is not told that the node lives"
                );
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use crate::kaizen::Collector;

    fn listening(watchdog: &str) -> (UnixDatagram, ServiceManager) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = ServiceManager::of(|name| match name {
            "NOTIFY_SOCKET" => Some(path.clone().into()),
            "WATCHDOG_USEC" => Some(watchdog.into()),
            _ => None,
        });
        (socket, manager)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut bytes = [0; 256];
        let next = || {
            socket.recv(&mut bytes).ok().map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned())
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_start_that_goes_on_says_so_and_one_that_hangs_does_not() {
        let (socket, manager) = listening("1000000");
        let read = Mark::new(0);
        let mut service = Service::new(manager, Vec::new(), read.clone());
        service.look_at_start();
        assert!(heard(&socket).is_empty(), "nothing was read");
        read.publish(500);
        service.looked = None;
        service.look_at_start();
        let told = "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=starts: read the journal up to event 500";
        assert_eq!(heard(&socket), [told, "WATCHDOG=1"]);
        read.publish(501);
        service.look_at_start();
        assert!(heard(&socket).is_empty(), "once a second");
        service.told = 501;
        service.looked = None;
        service.look_at_start();
        assert!(heard(&socket).is_empty(), "it did not go on");
    }

    #[test]
    fn there_is_a_sign_of_life_only_while_every_thread_turns() {
        let (socket, manager) = listening("1");
        let mut collector = Collector::new().unwrap();
        let (mut turns, _hangs) = (collector.heartbeat(), collector.heartbeat());
        turns.turn(clock::now());
        let of = |beats: Vec<_>| Service::new(manager.clone(), beats, Mark::new(0));
        let beats = collector.beats();
        let mut well = of(beats[..1].to_vec());
        std::thread::sleep(Duration::from_millis(1));
        well.look_at_threads();
        assert_eq!(heard(&socket), ["WATCHDOG=1"]);
        // The clock of beats begins with the first look at it: a thread that never turned is late from then on.
        let mut one_hangs = of(beats);
        one_hangs.within = Duration::ZERO;
        std::thread::sleep(Duration::from_millis(2));
        one_hangs.look_at_threads();
        assert!(heard(&socket).is_empty());
    }
}
