//! One connection: what its first bytes are, and its deadlines.
//!
//! hyper's own time-outs arm a timer per request. Here a connection only notes, in a few plain cells, since when it
//! has been in its phase, and the thread's sweep, once a second, ends those that overstay; a request costs no timer.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::Response;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::admission::Admission;
use super::client_address::{ProxyHeader, V2_BYTES_MAX, proxy_header};
use super::frames::PartialFrame;
use super::memory_budget::{Charge, MemoryBudget};
use super::stage::Ingress;
use super::{http1, http2};
use crate::clock;
use crate::limits;
use crate::net::address;

#[expect(clippy::cast_possible_truncation, reason = "some milliseconds")]
const REST_SHARED_NANOS: u64 = limits::REST_SHARED.as_nanos() as u64;

/// A response of the data plane.
pub type Answer = Response<Bytes>;

/// What the sweep looks at. Times are coarse seconds of the thread's clock.
#[derive(Debug)]
pub struct Watch {
    client: Cell<IpAddr>,
    /// The client is a proxy whose headers name the client of each request.
    is_proxy: Cell<bool>,
    /// The address under which this connection is counted.
    pub counted: Cell<Option<IpAddr>>,
    phase: Cell<Phase>,
    since: Cell<u32>,
    now: Rc<Cell<u32>>,
    /// When the connection is to be closed for its age.
    expires: u32,
    stuck_since: Cell<Option<u32>>,
    order: Cell<Order>,
    /// Who pays when the connection rests, and until when it does, in nanoseconds.
    carried: Cell<Carried>,
    rest_until: Cell<u64>,
    /// Wakes those who wait for its rest when it closes.
    closing: Notify,
    /// Requests whose head was complete, and those of them that are not yet answered.
    requests: Cell<u64>,
    open: Cell<u32>,
    /// Heads that were read from the socket; only HTTP/1.1 reads ahead.
    heads: Cell<u64>,
    in_head: Cell<bool>,
    budget: Rc<MemoryBudget>,
    /// A head, or a frame or header block of HTTP/2, that arrives in parts.
    part_charge: RefCell<Option<Charge>>,
    /// Since when such a part of HTTP/2 has been without its end.
    part_since: Cell<Option<u32>>,
    /// Answers that the client does not take.
    answers_charge: RefCell<Option<Charge>>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connected, nothing has come yet.
    Fresh,
    /// Part of a request's head has come.
    Head,
    /// A request is with us; its body and the journal have deadlines of their own.
    Ours,
    /// Answered; waits for the next request.
    Idle,
    /// We have closed our side and wait for the client to close its own.
    Closing,
}

/// Whose signals a connection has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carried {
    Nobody,
    /// Of one tenant, by a number of its name.
    One(u64),
    /// Of several: it is a proxy's, or a sender's for many.
    Several,
}

/// What a connection is told to do, from the mildest to the hardest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    GoOn,
    /// Answer what has been read and say that it is the last.
    Finish,
    /// Answer the requests whose heads are complete, and close.
    Close,
    /// Close now.
    End,
}

impl Watch {
    /// `now` is the thread's clock, `expires` when the connection is old.
    pub fn new(
        client: IpAddr,
        is_proxy: bool,
        now: Rc<Cell<u32>>,
        expires: u32,
        budget: &Rc<MemoryBudget>,
    ) -> Rc<Self> {
        Rc::new(Self {
            client: Cell::new(client),
            is_proxy: Cell::new(is_proxy),
            counted: Cell::new(None),
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now.get()),
            now,
            expires,
            stuck_since: Cell::new(None),
            order: Cell::new(Order::GoOn),
            carried: Cell::new(Carried::Nobody),
            rest_until: Cell::new(0),
            closing: Notify::new(),
            requests: Cell::new(0),
            open: Cell::new(0),
            heads: Cell::new(0),
            in_head: Cell::new(false),
            budget: Rc::clone(budget),
            part_charge: RefCell::new(None),
            part_since: Cell::new(None),
            answers_charge: RefCell::new(None),
            waker: RefCell::new(None),
        })
    }

    /// Whose connection it is.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client.get()
    }

    /// Whether its requests' headers say whose they are.
    #[must_use]
    pub fn is_proxy(&self) -> bool {
        self.is_proxy.get()
    }

    /// The proxy said for whom it speaks.
    pub fn set_client(&self, client: IpAddr, is_proxy: bool) {
        self.client.set(client);
        self.is_proxy.set(is_proxy);
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// A request's head is complete.
    pub fn request_began(&self) {
        self.open.set(self.open.get() + 1);
        self.requests.set(self.requests.get() + 1);
        self.enter(Phase::Ours);
        if self.requests.get() >= limits::CONNECTION_REQUESTS_MAX {
            self.order(Order::Finish);
        }
    }

    /// Whether the request that began last is the last that was read and is to be answered as the last.
    #[must_use]
    pub fn is_last_request(&self) -> bool {
        match self.order.get() {
            Order::GoOn => false,
            Order::Finish => self.requests.get() == self.heads.get() && !self.in_head.get(),
            Order::Close | Order::End => self.requests.get() == self.heads.get(),
        }
    }

    pub fn request_ended(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            self.enter(if self.in_head.get() { Phase::Head } else { Phase::Idle });
        }
    }

    /// Whether no request with a complete head waits for its answer.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.open.get() == 0 && self.requests.get() >= self.heads.get()
    }

    /// Our side is closed; the client has a moment to read what was sent.
    pub fn close_began(&self) {
        self.enter(Phase::Closing);
    }

    /// Has the connection close if it overstayed its phase or is old.
    pub fn sweep(&self, idle_seconds: u32) {
        let now = self.now.get();
        let stayed = now.saturating_sub(self.since.get());
        if self.stuck_since.get().is_some_and(|since| now - since > limits::RESPONSE_WRITE_SECONDS) {
            self.order(Order::End);
        }
        // Who is not read cannot send the rest.
        if self.part_since.get().is_some() && self.rests().is_some() {
            self.part_since.set(Some(now));
        }
        if self.part_since.get().is_some_and(|since| now - since > limits::HEADER_READ_SECONDS) {
            self.order(Order::Close);
        }
        match self.phase.get() {
            Phase::Fresh | Phase::Head if stayed > limits::HEADER_READ_SECONDS => self.order(Order::Close),
            Phase::Idle if stayed > idle_seconds => self.order(Order::Close),
            Phase::Closing if stayed > limits::CLOSE_SECONDS => self.order(Order::End),
            Phase::Fresh | Phase::Head | Phase::Ours | Phase::Idle | Phase::Closing => {}
        }
        if now >= self.expires {
            self.order(Order::Finish);
        }
        if self.order.get() != Order::GoOn {
            self.wake();
        }
    }

    /// How long the connection has been without a request, if it is.
    #[must_use]
    pub fn seconds_without_request(&self) -> Option<u32> {
        match self.phase.get() {
            Phase::Fresh | Phase::Head | Phase::Idle => Some(self.now.get().saturating_sub(self.since.get())),
            Phase::Ours | Phase::Closing => None,
        }
    }

    /// A signed unit of one tenant, or of several, has come.
    pub fn carries(&self, tenant: Option<u64>) {
        let carried = match (self.carried.get(), tenant) {
            (Carried::Nobody, Some(tenant)) => Carried::One(tenant),
            (Carried::One(known), Some(tenant)) if known == tenant => return,
            (Carried::Several, _) => return,
            (Carried::Nobody, None) | (Carried::One(_), _) => Carried::Several,
        };
        self.carried.set(carried);
        if carried == Carried::Several && self.rest_until.get() > 0 {
            let shared = clock::nanos() + REST_SHARED_NANOS;
            self.rest_until.set(self.rest_until.get().min(shared));
        }
    }

    /// A request was refused whose turn is in so many nanoseconds: until then nothing more is read. Where others' requests
    /// may stand behind it, it is a short time for each; it adds up. Returns for how long the connection rests.
    pub fn rest(&self, turn: u64, now: u64) -> u64 {
        if turn == 0 {
            return 0;
        }
        let resting = self.rest_until.get();
        let until = match self.carried.get() {
            Carried::Nobody | Carried::One(_) => resting.max(now + turn),
            Carried::Several => resting.max(now) + turn.min(REST_SHARED_NANOS),
        };
        self.rest_until.set(until);
        until - now
    }

    /// For how many nanoseconds the connection rests, if it does. One that closes has no time for it.
    #[must_use]
    pub fn rests(&self) -> Option<u64> {
        if self.rest_until.get() == 0 || self.order.get() >= Order::Close {
            return None;
        }
        let left = self.rest_until.get().saturating_sub(clock::nanos());
        if left == 0 {
            self.rest_until.set(0);
        }
        (left > 0).then_some(left)
    }

    /// Whether it rests and nobody but who is the cause of it waits.
    #[must_use]
    pub fn rests_alone(&self) -> bool {
        self.carried.get() != Carried::Several && self.rests().is_some()
    }

    /// Waits until the connection is to close.
    pub async fn closes(&self) {
        let closing = self.closing.notified();
        if self.order.get() < Order::Close {
            closing.await;
        }
    }

    /// Whether no request ever came.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.requests.get() == 0
    }

    /// The client takes, or does not take, what is written to it; so many bytes wait.
    pub fn answers_wait(&self, bytes: usize) {
        if bytes == 0 {
            if self.stuck_since.take().is_some() {
                self.answers_charge.take();
            }
            return;
        }
        if self.stuck_since.get().is_none() {
            self.stuck_since.set(Some(self.now.get()));
        }
        let now = clock::nanos();
        let mut charge = self.answers_charge.borrow_mut();
        let charge = charge.get_or_insert_with(|| self.open_charge(now));
        if charge.set(bytes, now).is_err() {
            self.order(Order::End);
        }
    }

    /// So many bytes of HTTP/1.1 came, after which so many heads are complete and one may be in part.
    pub fn read(&self, bytes: usize, heads: u64, in_head: bool) {
        self.heads.set(heads);
        self.in_head.set(in_head);
        // An empty line between requests is not the beginning of one.
        if in_head && self.open.get() == 0 && matches!(self.phase.get(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
        }
        if in_head {
            let now = clock::nanos();
            let mut charge = self.part_charge.borrow_mut();
            let charge = charge.get_or_insert_with(|| self.open_charge(now));
            if charge.grow(bytes, now).is_err() {
                self.order(Order::End);
            }
        } else if self.part_charge.borrow().is_some() {
            self.part_charge.take();
        }
    }

    /// What of HTTP/2 has come in part so far.
    pub fn holds_part(&self, part: Option<PartialFrame>) {
        if self.part_since.get().is_some() && part.is_none_or(|part| part.is_new) {
            self.part_since.set(None);
            self.part_charge.take();
        }
        let Some(part) = part else { return };
        if self.part_since.get().is_none() {
            self.part_since.set(Some(self.now.get()));
        }
        let now = clock::nanos();
        let mut charge = self.part_charge.borrow_mut();
        let charge = charge.get_or_insert_with(|| self.open_charge(now));
        if charge.set(part.bytes, now).is_err() {
            self.order(Order::End);
        }
    }

    /// A charge of this connection, which is woken when it has to go: it may be silent from now on.
    fn open_charge(&self, now: u64) -> Charge {
        let charge = self.budget.open(address::client(self.client()), now);
        if let Some(waker) = &*self.waker.borrow() {
            let _not_yet = charge.poll_revoked(&Context::from_waker(waker));
        }
        charge
    }

    /// Tells the connection to do something at least as hard as it does already.
    pub fn order(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            self.wake();
            if order >= Order::Close {
                self.closing.notify_waiters();
            }
        }
    }

    /// What the connection is to do now; it is woken when that changes, or when what it holds has to go.
    pub fn poll_order(&self, cx: &Context<'_>) -> Order {
        for charge in [&self.part_charge, &self.answers_charge] {
            if charge.borrow().as_ref().is_some_and(|charge| charge.poll_revoked(cx).is_ready()) {
                self.order.set(Order::End);
            }
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.order.get()
    }

    #[must_use]
    pub fn current_order(&self) -> Order {
        self.order.get()
    }

    /// Lets the connection look at its order.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Serves one connection until it ends, overstays, or the line drains.
pub async fn serve(socket: TcpStream, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let begun = first_bytes(&socket, &watch, &ingress.admission).await;
    crate::fault::point("K1");
    match begun {
        Some((Protocol::Http1, first)) => http1::serve(socket, first, watch, ingress).await,
        Some((Protocol::Http2, first)) => http2::serve(socket, first, watch, ingress).await,
        // Nothing came, or the client left.
        None => {}
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Reads until it is known what the connection speaks; returns what was read of that protocol.
async fn first_bytes(socket: &TcpStream, watch: &Watch, admission: &Admission) -> Option<(Protocol, Bytes)> {
    let mut first = BytesMut::new();
    let mut may_be_proxied = watch.is_proxy();
    loop {
        if may_be_proxied {
            match proxy_header(&first) {
                ProxyHeader::Incomplete => {}
                ProxyHeader::Absent => may_be_proxied = false,
                ProxyHeader::Broken => return None,
                ProxyHeader::Complete { bytes, source } => {
                    first.advance(bytes);
                    may_be_proxied = false;
                    if !source.is_none_or(|source| admission.admit_behind_proxy(watch, source)) {
                        return None;
                    }
                }
            }
        }
        if !may_be_proxied && let Some(protocol) = protocol(&first) {
            return Some((protocol, first.freeze()));
        }
        if read_more(socket, watch, &mut first).await? == 0 {
            return None;
        }
    }
}

/// The most that the first bytes of a connection hold: hyper begins with as much.
const FIRST_BYTES_MAX: usize = 8 * 1024;
const _: () = assert!(FIRST_BYTES_MAX > V2_BYTES_MAX);

/// Reads what there is; `None` when the connection is to be closed.
async fn read_more(socket: &TcpStream, watch: &Watch, first: &mut BytesMut) -> Option<usize> {
    std::future::poll_fn(|cx| {
        // Not kept while the connection is silent.
        let mut buffer = [0; FIRST_BYTES_MAX];
        let room = FIRST_BYTES_MAX - first.len();
        loop {
            if watch.poll_order(cx) >= Order::Close {
                return Poll::Ready(None);
            }
            match socket.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(())) => {}
            }
            match socket.try_read(&mut buffer[..room]) {
                Ok(got) => {
                    first.extend_from_slice(&buffer[..got]);
                    return Poll::Ready(Some(got));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    })
    .await
}

/// What is spoken, once it can be told: HTTP/2 by prior knowledge begins with a preface (RFC 9113, 3.4).
fn protocol(first: &[u8]) -> Option<Protocol> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if first.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(first) {
        None
    } else {
        Some(Protocol::Http1)
    }
}
