//! The data plane's one listener: a thread accepts connections and hands each to the ingress thread that holds the
//! fewest. One socket, so that no other process can listen on the port; one thread, so that no connection waits for a
//! busy one while another has time.

use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use crate::limits::ACCEPTED_LANE;
use crate::net::{address, listen};
use crate::ring::{Occupancy, Seat, Switch};

/// A connection on its way to an ingress thread, and its seat there.
#[derive(Debug)]
pub struct Accepted {
    pub socket: TcpStream,
    pub peer: IpAddr,
    pub seat: Seat,
}

/// The way to one ingress thread.
#[derive(Debug)]
pub struct Thread {
    accepted: mpsc::Sender<Accepted>,
    open: Occupancy,
}

impl Thread {
    /// The way to a thread, and its end there.
    #[must_use]
    pub fn new(open: Occupancy) -> (Self, mpsc::Receiver<Accepted>) {
        let (accepted, taken) = mpsc::channel(ACCEPTED_LANE);
        (Self { accepted, open }, taken)
    }
}

/// What the accepting thread is given.
#[derive(Debug)]
pub struct Acceptor {
    pub listener: TcpListener,
    pub threads: Vec<Thread>,
    /// Connections that one thread holds before one of its own has to leave for another.
    pub seats: u64,
    /// Stop accepting.
    pub drain: Switch,
    pub abandon: Switch,
}

/// Orders to end are heard within this.
const LOOK: Duration = Duration::from_millis(50);
/// How long no connection is accepted after the network or the system refused to give one.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a connection waits for room before the threads are looked at again.
const FULL: Duration = Duration::from_millis(1);
/// How often the threads are looked at before a seat that only a busy thread has is given up.
const LOOKS: u32 = 250;

impl Acceptor {
    /// Accepts until the line drains; then the port is closed.
    ///
    /// # Errors
    /// When there is no descriptor to begin with, or the listener cannot be waited for.
    pub fn run(self) -> io::Result<()> {
        let Self { listener, threads, seats, drain, abandon } = self;
        let mut listener = listen::Acceptor::new(listener)?;
        let over = || drain.is_on() || abandon.is_on();
        let mut fails = false;
        while !over() {
            match listener.accept() {
                Ok(Some((socket, peer))) => {
                    if std::mem::take(&mut fails) {
                        tracing::info!(target: "gemba::ingress", "connections are accepted again");
                    }
                    hand(&threads, seats, socket, address::canonical(peer.ip()), &over);
                }
                Ok(None) => wait(&listener)?,
                Err(error) => {
                    if !std::mem::replace(&mut fails, true) {
                        tracing::warn!(target: "gemba::ingress", %error, "connections cannot be accepted");
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
        Ok(())
    }
}

/// Waits for a connection, or a little.
fn wait(listener: &listen::Acceptor) -> io::Result<()> {
    let limit = Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
    match poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Hands a connection to the thread that has the fewest of those that have room. In a burst the threads that run first
/// have room first: a connection would take a seat that is none there, while another thread has many.
fn hand(threads: &[Thread], seats: u64, socket: TcpStream, peer: IpAddr, over: &dyn Fn() -> bool) {
    let has_seat = |thread: &Thread| thread.open.count() < seats;
    let mut looks = 0;
    while !over() {
        let with_room = threads.iter().filter(|thread| thread.accepted.capacity() > 0);
        if let Some(thread) = with_room.min_by_key(|thread| thread.open.count())
            && (has_seat(thread) || looks >= LOOKS || !threads.iter().any(has_seat))
        {
            let accepted = Accepted { socket, peer, seat: thread.open.enter() };
            // Only this thread takes up room, and a thread that has ended ends the line.
            let _ended = thread.accepted.try_send(accepted);
            return;
        }
        looks += 1;
        std::thread::sleep(FULL);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    fn connection() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn a_connection_goes_to_the_thread_that_has_the_fewest_and_room() {
        let open = [Occupancy::new(), Occupancy::new()];
        let ((first, mut to_first), (second, mut to_second)) =
            (Thread::new(open[0].clone()), Thread::new(open[1].clone()));
        let threads = [first, second];
        let peer = IpAddr::from([192, 0, 2, 7]);
        let give = || hand(&threads, u64::MAX, connection(), peer, &|| false);
        (0..4).for_each(|_| give());
        assert_eq!(open.each_ref().map(Occupancy::count), [2, 2]);
        drop((to_first.try_recv().unwrap(), to_first.try_recv().unwrap()));
        give();
        assert_eq!(open.each_ref().map(Occupancy::count), [1, 2], "who leaves is not counted");
        let held: Vec<_> = std::iter::from_fn(|| to_second.try_recv().ok()).collect();
        let _many: Vec<_> = (0..ACCEPTED_LANE).map(|_| open[1].enter()).collect();
        (1..ACCEPTED_LANE).for_each(|_| give());
        give();
        assert_eq!(to_second.len(), 1, "the first has no room");
        assert_eq!(held.len(), 2);
    }

    #[test]
    fn a_burst_takes_the_seats_of_threads_that_come_later_too() {
        const SEATS: u64 = ACCEPTED_LANE as u64 + 8;
        let open = [Occupancy::new(), Occupancy::new()];
        let ((first, mut to_first), (second, to_second)) =
            (Thread::new(open[0].clone()), Thread::new(open[1].clone()));
        let threads = [first, second];
        let peer = IpAddr::from([192, 0, 2, 7]);
        let (mut held, late) = (Vec::new(), RefCell::new((to_second, Vec::new())));
        // The first takes each at once; the second only when it is waited for.
        for _ in 0..2 * SEATS {
            let looks = Cell::new(0);
            hand(&threads, SEATS, connection(), peer, &|| {
                if looks.replace(looks.get() + 1) == 3 {
                    let (taken, held) = &mut *late.borrow_mut();
                    held.extend(std::iter::from_fn(|| taken.try_recv().ok()));
                }
                false
            });
            held.extend(std::iter::from_fn(|| to_first.try_recv().ok()));
        }
        assert_eq!(open.each_ref().map(Occupancy::count), [SEATS, SEATS]);
    }

    #[test]
    fn a_thread_that_never_looks_keeps_its_seats_from_nobody_for_long() {
        let open = [Occupancy::new(), Occupancy::new()];
        let ((first, mut to_first), (second, _never)) =
            (Thread::new(open[0].clone()), Thread::new(open[1].clone()));
        let threads = [first, second];
        let peer = IpAddr::from([192, 0, 2, 7]);
        let seats = ACCEPTED_LANE as u64 + 1;
        let mut held = Vec::new();
        for _ in 0..=2 * seats {
            hand(&threads, seats, connection(), peer, &|| false);
            held.extend(std::iter::from_fn(|| to_first.try_recv().ok()));
        }
        assert_eq!(open.each_ref().map(Occupancy::count), [seats + 2, ACCEPTED_LANE as u64]);
    }

    #[test]
    fn a_connection_that_finds_no_room_is_closed_when_the_line_ends() {
        let (thread, _taken) = Thread::new(Occupancy::new());
        let threads = [thread];
        let peer = IpAddr::from([192, 0, 2, 7]);
        (0..ACCEPTED_LANE).for_each(|_| hand(&threads, u64::MAX, connection(), peer, &|| false));
        let asked = Cell::new(0);
        hand(&threads, u64::MAX, connection(), peer, &|| asked.replace(asked.get() + 1) == 3);
        assert_eq!(threads[0].open.count(), ACCEPTED_LANE as u64);
    }
}
