//! HTTP/2 by prior knowledge. Here the `h2` crate does the framing on a single-threaded runtime: it costs several
//! times what [`super::h1`] costs, which is HTTP/2's own price and not what this generator is tuned for.
//!
//! The timer of the runtime is a whole millisecond wide. Requests of an open loop must start more exactly, so the
//! last moments before each are waited for by turning round and round, between looks at the sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::client::SendRequest;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_local;

use super::client::{Client, DRAIN_NANOS, Sent, TICK_NANOS, Traffic as _, Wait};
use super::h1::OPENING_NANOS;
use super::pulse::Pulse;
use super::tally::Wire;
use crate::clock;

const PAUSE: Duration = Duration::from_millis(5);
const PAUSE_DOUBLINGS_MAX: u32 = 5;
/// A longer answer is nonsense.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Flow-control windows: answers are short and must never wait for one.
const WINDOW_BYTES: u32 = 1024 * 1024;
const DRAIN: Duration = Duration::from_nanos(DRAIN_NANOS);
const OPENING: Duration = Duration::from_nanos(OPENING_NANOS);

/// Carries the client's requests over `connections`, with up to `streams` under way on each, until it is over. With
/// `spin` the thread never sleeps.
pub fn drive(
    client: Client,
    address: SocketAddr,
    uri: Uri,
    connections: usize,
    streams: usize,
    spin: bool,
) -> io::Result<(Client, Wire)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let sender = Rc::new(Sender {
            client: RefCell::new(client),
            wire: Cell::new(Wire::default()),
            again: RefCell::new(VecDeque::new()),
            bytes: RefCell::new(Vec::new()),
            due: Notify::new(),
            waiting: Cell::new(0),
            wake_at: Cell::new(u64::MAX),
            armed: Notify::new(),
            opening: Cell::new(connections),
            stand: Notify::new(),
            pulse: RefCell::new(Pulse::new(address, connections)),
            quit: watch::Sender::new(false),
            address,
            uri,
        });
        let clock = spawn_local(wake(Rc::clone(&sender)));
        let ticks = spawn_local(tick(Rc::clone(&sender)));
        let spinning = spin.then(|| spawn_local(turn_round()));
        let connections: Vec<_> =
            (0..connections).map(|index| spawn_local(connect(Rc::clone(&sender), index, streams))).collect();
        for connection in connections {
            connection.await.map_err(io::Error::other)?;
        }
        for task in [clock, ticks].into_iter().chain(spinning) {
            task.abort();
            // Either it was aborted, or it has ended already.
            let _ended = task.await;
        }
        let sender = Rc::into_inner(sender).ok_or_else(|| io::Error::other("a task goes on"))?;
        let mut client = sender.client.into_inner();
        sender.again.into_inner().into_iter().for_each(|sent| client.lost(sent));
        let mut wire = sender.wire.into_inner();
        wire.gone = sender.pulse.into_inner().was_gone(clock::nanos());
        Ok((client, wire))
    })
}

struct Sender {
    client: RefCell<Client>,
    wire: Cell<Wire>,
    /// Requests that found their connection closed before they were sent.
    again: RefCell<VecDeque<Sent>>,
    /// Room to write a request.
    bytes: RefCell<Vec<u8>>,
    /// A request is due, or nothing will be.
    due: Notify,
    waiting: Cell<usize>,
    /// When the next request is due, if somebody waits for it.
    wake_at: Cell<u64>,
    armed: Notify,
    /// Connections that were not tried yet.
    opening: Cell<usize>,
    /// None is left to try.
    stand: Notify,
    pulse: RefCell<Pulse>,
    /// Answers that are under way are waited for no longer.
    quit: watch::Sender<bool>,
    address: SocketAddr,
    uri: Uri,
}

impl Sender {
    fn count(&self, change: impl FnOnce(&mut Wire)) {
        let mut wire = self.wire.get();
        change(&mut wire);
        self.wire.set(wire);
    }

    /// Waits until every connection was tried once: the run begins with the last of them.
    async fn begin(&self) {
        let opening = self.opening.get() - 1;
        self.opening.set(opening);
        if opening == 0 {
            self.client.borrow_mut().begin(clock::nanos());
            self.stand.notify_waiters();
        } else {
            self.stand.notified().await;
        }
    }

    /// Nothing more is to be sent.
    fn is_over(&self) -> bool {
        *self.quit.borrow()
            || (self.again.borrow().is_empty() && self.client.borrow().is_over(clock::nanos()))
    }

    /// The next request, when it is due; `None` at the end.
    async fn next(&self) -> Option<Sent> {
        loop {
            if let Some(sent) = self.again.borrow_mut().pop_front() {
                return Some(sent);
            }
            if self.is_over() {
                return None;
            }
            let taken = self.client.borrow_mut().take(clock::nanos());
            match taken {
                Ok(sent) => {
                    // Perhaps the one after it is due too: whoever wakes finds out, or sets the timer.
                    if self.waiting.get() > 0 {
                        self.due.notify_one();
                    }
                    return Some(sent);
                }
                Err(Wait::Until(at)) => self.arm(at),
                Err(Wait::Answers) => {}
            }
            self.waiting.set(self.waiting.get() + 1);
            self.due.notified().await;
            self.waiting.set(self.waiting.get() - 1);
        }
    }

    fn arm(&self, at: u64) {
        self.wake_at.set(at);
        self.armed.notify_one();
    }

    fn request(&self, sent: &Sent) -> Option<(Request<()>, Bytes)> {
        let mut client = self.client.borrow_mut();
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        client.write(sent, &mut bytes);
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.uri);
        for (name, value) in client.template().fields(&bytes) {
            let value = HeaderValue::from_bytes(value).ok()?;
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        let body = Bytes::copy_from_slice(client.template().body(&bytes));
        self.count(|wire| wire.bytes_sent += body.len() as u64);
        Some((request, body))
    }
}

/// The runtime's timer is late by up to this.
const TIMER_NANOS: u64 = 2_000_000;

/// Wakes one stream whenever a request is due.
async fn wake(sender: Rc<Sender>) {
    loop {
        let left = match sender.wake_at.get() {
            u64::MAX => {
                sender.armed.notified().await;
                continue;
            }
            at => at.saturating_sub(clock::nanos()),
        };
        if left == 0 {
            sender.wake_at.set(u64::MAX);
            sender.due.notify_one();
        } else if left > TIMER_NANOS {
            tokio::time::sleep(Duration::from_nanos(left - TIMER_NANOS)).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Keeps the runtime looking at its sockets.
async fn turn_round() {
    loop {
        tokio::task::yield_now().await;
    }
}

async fn tick(sender: Rc<Sender>) {
    let mut ticks = tokio::time::interval(Duration::from_nanos(TICK_NANOS));
    let mut over_since = None;
    loop {
        ticks.tick().await;
        let now = clock::nanos();
        sender.client.borrow_mut().tick(now);
        let (over, patience) = {
            let client = sender.client.borrow();
            (client.is_over(now), client.drain_nanos())
        };
        let waited = if over { now - *over_since.get_or_insert(now) } else { 0 };
        if waited > patience || sender.pulse.borrow().is_gone(now) {
            sender.quit.send_replace(true);
        }
        if sender.is_over() {
            sender.due.notify_waiters();
        }
    }
}

/// Keeps one connection, and the streams on it, until the run is over.
async fn connect(sender: Rc<Sender>, index: usize, streams: usize) {
    let mut failures = 0;
    let mut first = true;
    while !sender.is_over() {
        let opened = tokio::time::timeout(OPENING, open(&sender)).await;
        if mem::take(&mut first) {
            sender.begin().await;
        }
        let mut answers = 0;
        if let Ok(Ok((send, connection))) = opened {
            let driver = spawn_local(connection);
            let streams: Vec<_> =
                (0..streams).map(|_| spawn_local(stream(Rc::clone(&sender), index, send.clone()))).collect();
            for stream in streams {
                answers += stream.await.unwrap_or(0);
            }
            driver.abort();
        }
        if answers == 0 {
            sender.pulse.borrow_mut().failed(index, clock::nanos());
        }
        if sender.is_over() {
            return;
        }
        sender.count(|wire| wire.breaks += 1);
        failures = if answers > 0 { 0 } else { failures + 1 };
        tokio::time::sleep(PAUSE * (1 << failures.min(PAUSE_DOUBLINGS_MAX))).await;
    }
}

/// A connection, and what must be polled for it to live.
async fn open(sender: &Sender) -> io::Result<(SendRequest<Bytes>, impl Future<Output = ()> + 'static)> {
    let socket = TcpStream::connect(sender.address).await?;
    socket.set_nodelay(true)?;
    let (send, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .enable_push(false)
        .handshake(socket)
        .await
        .map_err(io::Error::other)?;
    sender.count(|wire| wire.connections += 1);
    // How it ended shows in the streams.
    Ok((send, async move { drop(connection.await) }))
}

/// Sends one request after the other; returns the count of answers when the connection or the run ends.
async fn stream(sender: Rc<Sender>, index: usize, send: SendRequest<Bytes>) -> u64 {
    let mut answers = 0;
    let mut quit = sender.quit.subscribe();
    loop {
        let Some(sent) = sender.next().await else { return answers };
        let ready = tokio::select! {
            biased;
            ready = send.clone().ready() => ready.ok(),
            _ = quit.wait_for(|quit| *quit) => None,
        };
        let Some(ready) = ready else {
            sender.again.borrow_mut().push_back(sent);
            return answers;
        };
        let exchanged = tokio::select! {
            biased;
            exchanged = tokio::time::timeout(DRAIN, exchange(&sender, ready, &sent)) => exchanged.ok().flatten(),
            _ = quit.wait_for(|quit| *quit) => None,
        };
        let Some((status, body)) = exchanged else {
            sender.pulse.borrow_mut().failed(index, clock::nanos());
            sender.client.borrow_mut().lost(sent);
            return answers;
        };
        answers += 1;
        sender.pulse.borrow_mut().answered(index);
        sender.count(|wire| wire.bytes_received += body.len() as u64);
        sender.client.borrow_mut().answered(sent, clock::nanos(), status, &body);
    }
}

async fn exchange(sender: &Sender, mut send: SendRequest<Bytes>, sent: &Sent) -> Option<(u16, Bytes)> {
    let (request, body) = sender.request(sent)?;
    let (answer, mut upload) = send.send_request(request, false).ok()?;
    upload.send_data(body, true).ok()?;
    let (head, mut download) = answer.await.ok()?.into_parts();
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while let Some(piece) = download.data().await {
        let piece = piece.ok()?;
        download.flow_control().release_capacity(piece.len()).ok()?;
        if all.len() + piece.len() > BODY_BYTES_MAX {
            return None;
        }
        if first.is_empty() && all.is_empty() {
            first = piece;
        } else {
            all.extend_from_slice(first.chunk());
            all.extend_from_slice(&piece);
            first = Bytes::new();
        }
    }
    Some((head.status.as_u16(), if all.is_empty() { first } else { all.into() }))
}
