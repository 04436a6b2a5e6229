//! HTTP/1.1 by hand: one thread, nonblocking sockets, epoll, buffers that are used again. A general client spends
//! more on a request than the server under test, and then measures itself.
//!
//! A connection that breaks makes its requests unknown and is made anew after a short pause; the run goes on. One
//! that the server closes in order (`connection: close`) is no break: what was sent behind that answer was not
//! taken (RFC 9112, 9.6), so it is sent again, with its first start.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use socket2::{Domain, Protocol, Socket, Type};

use super::client::{TICK_NANOS, Traffic, Wait};
use super::pulse::Pulse;
use super::response::{Parsed, parse};
use super::tally::Wire;
use crate::clock;

/// Room for answers at first; grows where one answer is longer.
const INPUT_BYTES: usize = 16 * 1024;
/// Pause before a broken connection is made anew, doubled with each failure up to the most.
const PAUSE_NANOS: u64 = 5_000_000;
const PAUSE_DOUBLINGS_MAX: u32 = 5;
const EVENTS: usize = 256;

/// Connections that do not stand after so long are waited for no more; the run begins without them.
pub const OPENING_NANOS: u64 = 2_000_000_000;

/// Carries `traffic` over `connections` to `address`, with up to `depth` requests under way on each, until it is over.
/// With `spin` the thread never sleeps.
pub fn drive<T: Traffic>(
    traffic: &mut T,
    address: SocketAddr,
    connections: usize,
    depth: usize,
    spin: bool,
) -> io::Result<Wire> {
    // Without this the kernel rounds each wait up by 50 µs, which would be counted as the server's.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1000))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut driver = Driver {
        traffic,
        address,
        depth,
        spin,
        epoll,
        connections: Vec::new(),
        free: VecDeque::with_capacity(connections),
        again: VecDeque::new(),
        pulse: Pulse::new(address, connections),
        wire: Wire::default(),
        under_way: 0,
        down: connections,
    };
    driver.connections.resize_with(connections, Connection::new);
    driver.run()
}

struct Driver<'t, T: Traffic> {
    traffic: &'t mut T,
    address: SocketAddr,
    depth: usize,
    spin: bool,
    epoll: OwnedFd,
    connections: Vec<Connection<T::Sent>>,
    /// Connections that may have room for a request.
    free: VecDeque<usize>,
    /// Sent behind the last answer of a connection, so not taken.
    again: VecDeque<T::Sent>,
    pulse: Pulse,
    wire: Wire,
    under_way: usize,
    /// Connections without a socket.
    down: usize,
}

struct Connection<S> {
    socket: Option<TcpStream>,
    /// Connected: may send.
    ready: bool,
    /// The kernel is asked to say when it takes bytes again.
    blocked: bool,
    /// Stands in `free`.
    listed: bool,
    /// Answers of this socket.
    answers: u64,
    /// Sockets in a row that brought no answer.
    failures: u32,
    retry_at: u64,
    output: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// Bytes of `input` that were received and not yet read.
    from: usize,
    to: usize,
    waits: VecDeque<S>,
}

impl<S> Connection<S> {
    fn new() -> Self {
        Self {
            socket: None,
            ready: false,
            blocked: false,
            listed: false,
            answers: 0,
            failures: 0,
            retry_at: 0,
            output: Vec::new(),
            written: 0,
            input: vec![0; INPUT_BYTES],
            from: 0,
            to: 0,
            waits: VecDeque::new(),
        }
    }

    /// Makes room behind the bytes that were received.
    fn make_room(&mut self) {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.input.len() {
            self.input.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server said so, or nothing was under way.
    Orderly,
    Broken,
}

impl<T: Traffic> Driver<'_, T> {
    fn run(mut self) -> io::Result<Wire> {
        let mut events = Vec::with_capacity(EVENTS);
        let (mut tick_at, mut over_since) = (0, None);
        self.open_all(&mut events)?;
        self.traffic.begin(clock::nanos());
        loop {
            let now = clock::nanos();
            if now >= tick_at {
                self.traffic.tick(now);
                tick_at = now + TICK_NANOS;
            }
            if self.pulse.is_gone(now) {
                return Ok(self.finish(now));
            }
            if self.down > 0 {
                self.reopen(now)?;
            }
            let mut until = self.send().min(tick_at);
            if self.traffic.is_over(now) {
                let since = *over_since.get_or_insert(now);
                let quiet = self.under_way == 0 && self.again.is_empty();
                if quiet || now - since > self.traffic.drain_nanos() {
                    return Ok(self.finish(now));
                }
            } else {
                over_since = None;
            }
            if self.down > 0 {
                until = until.min(now + PAUSE_NANOS);
            }
            self.wait(&mut events, if self.spin { now } else { until })?;
            self.happen(&mut events);
        }
    }

    /// Opens all connections before the first request is due.
    fn open_all(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let begun = clock::nanos();
        loop {
            let now = clock::nanos();
            self.reopen(now)?;
            let stand = self.connections.iter().all(|connection| connection.ready);
            if stand || now - begun > OPENING_NANOS || self.traffic.is_over(now) {
                return Ok(());
            }
            self.wait(events, now + PAUSE_NANOS)?;
            self.happen(events);
        }
    }

    fn happen(&mut self, events: &mut Vec<epoll::Event>) {
        for event in events.drain(..) {
            let flags = event.flags;
            if let Ok(index) = usize::try_from(event.data.u64()) {
                self.happened(index, flags);
            }
        }
    }

    fn finish(mut self, now: u64) -> Wire {
        for connection in &mut self.connections {
            connection.waits.drain(..).for_each(|sent| self.traffic.lost(sent));
        }
        self.again.drain(..).for_each(|sent| self.traffic.lost(sent));
        self.traffic.tick(now);
        self.wire.gone = self.pulse.was_gone(now);
        self.wire
    }

    fn wait(&self, events: &mut Vec<epoll::Event>, until: u64) -> io::Result<()> {
        let nanos = until.saturating_sub(clock::nanos()).min(TICK_NANOS);
        let timeout = Timespec { tv_sec: 0, tv_nsec: nanos.try_into().unwrap_or(0) };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends what is due and says until when nothing more will be.
    fn send(&mut self) -> u64 {
        while let Some(index) = self.free.front().copied() {
            let waits = self.fill(index);
            self.flush(index);
            if let Some(wait) = waits {
                // The next request goes to the connection that has been free longest.
                self.free.rotate_left(1);
                return if let Wait::Until(at) = wait { at } else { u64::MAX };
            }
            self.free.pop_front();
            self.connections[index].listed = false;
        }
        u64::MAX
    }

    /// Writes requests until the connection is full, or says why there is none.
    fn fill(&mut self, index: usize) -> Option<Wait> {
        let connection = &mut self.connections[index];
        if !connection.ready || connection.waits.len() >= self.depth {
            return None;
        }
        let now = clock::nanos();
        while connection.waits.len() < self.depth {
            let sent = match self.again.pop_front() {
                Some(sent) => sent,
                None => match self.traffic.take(now) {
                    Ok(sent) => sent,
                    Err(wait) => return Some(wait),
                },
            };
            self.traffic.write(&sent, &mut connection.output);
            connection.waits.push_back(sent);
            self.under_way += 1;
        }
        None
    }

    fn flush(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(socket) = &mut connection.socket else { return };
        let blocked = loop {
            if connection.written == connection.output.len() {
                connection.output.clear();
                connection.written = 0;
                break Ok(false);
            }
            match socket.write(&connection.output[connection.written..]) {
                Ok(written) => {
                    connection.written += written;
                    self.wire.bytes_sent += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        match blocked {
            Ok(blocked) if blocked == connection.blocked => {}
            Ok(blocked) => {
                connection.blocked = blocked;
                let mut flags = epoll::EventFlags::IN;
                flags.set(epoll::EventFlags::OUT, blocked);
                let data = epoll::EventData::new_u64(index as u64);
                if epoll::modify(&self.epoll, socket, data, flags).is_err() {
                    self.end(index, End::Broken);
                }
            }
            // What the server still said can be read; the read that fails ends the connection.
            Err(_) => connection.ready = false,
        }
    }

    fn happened(&mut self, index: usize, flags: epoll::EventFlags) {
        let connection = &mut self.connections[index];
        let Some(socket) = &connection.socket else { return };
        if !connection.ready && connection.waits.is_empty() {
            if !matches!(socket.take_error(), Ok(None)) || !flags.contains(epoll::EventFlags::OUT) {
                return self.end(index, End::Broken);
            }
            connection.ready = true;
            connection.blocked = true;
            self.offer(index);
            return self.flush(index);
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(index);
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            self.receive(index);
        }
    }

    fn offer(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.ready && !connection.listed && connection.waits.len() < self.depth {
            connection.listed = true;
            self.free.push_back(index);
        }
    }

    fn receive(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let Some(socket) = &mut connection.socket else { return };
        match socket.read(&mut connection.input[connection.to..]) {
            Ok(0) => {
                let end = if connection.waits.is_empty() { End::Orderly } else { End::Broken };
                self.end(index, end);
            }
            Ok(count) => {
                connection.to += count;
                self.wire.bytes_received += count as u64;
                self.read_answers(index);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.end(index, End::Broken),
        }
    }

    fn read_answers(&mut self, index: usize) {
        let now = clock::nanos();
        let connection = &mut self.connections[index];
        loop {
            let received = &connection.input[connection.from..connection.to];
            let answer = match parse(received) {
                Parsed::Whole(answer) => answer,
                Parsed::Partial => break,
                Parsed::Broken => return self.end(index, End::Broken),
            };
            // An answer to nothing says why the server closes; the next read finds it closed.
            if let Some(sent) = connection.waits.pop_front() {
                self.under_way -= 1;
                self.traffic.answered(sent, now, answer.status, &received[answer.body.clone()]);
                connection.answers += 1;
                connection.failures = 0;
                self.pulse.answered(index);
            }
            connection.from += answer.body.end;
            if answer.close {
                return self.end(index, End::Orderly);
            }
        }
        connection.make_room();
        self.offer(index);
    }

    /// Lets go of a socket; what was under way is unknown, or is sent again.
    fn end(&mut self, index: usize, end: End) {
        let connection = &mut self.connections[index];
        if connection.socket.take().is_none() {
            return;
        }
        self.down += 1;
        self.under_way -= connection.waits.len();
        match end {
            End::Orderly => self.again.extend(connection.waits.drain(..)),
            End::Broken => {
                self.wire.breaks += 1;
                self.pulse.failed(index, clock::nanos());
                connection.waits.drain(..).for_each(|sent| self.traffic.lost(sent));
            }
        }
        if connection.answers == 0 || end == End::Broken {
            let pause = PAUSE_NANOS << connection.failures.min(PAUSE_DOUBLINGS_MAX);
            connection.failures += 1;
            connection.retry_at = clock::nanos() + pause;
        }
        connection.answers = 0;
        connection.ready = false;
        connection.output.clear();
        connection.written = 0;
        (connection.from, connection.to) = (0, 0);
    }

    fn reopen(&mut self, now: u64) -> io::Result<()> {
        if self.traffic.is_over(now) && self.again.is_empty() {
            return Ok(());
        }
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            if connection.socket.is_none() && now >= connection.retry_at {
                self.open(index)?;
            }
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let begun = socket.connect(&self.address.into());
        self.down -= 1;
        self.wire.connections += 1;
        let connection = &mut self.connections[index];
        let socket = connection.socket.insert(socket.into());
        match begun {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                self.end(index, End::Broken);
                Ok(())
            }
            Ok(()) | Err(_) => {
                let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT;
                epoll::add(&self.epoll, socket, epoll::EventData::new_u64(index as u64), flags)?;
                Ok(())
            }
        }
    }
}
