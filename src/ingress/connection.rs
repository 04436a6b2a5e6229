//! One connection: HTTP/1.1 or HTTP/2 by prior knowledge, with every limit set by hand.
//!
//! hyper's own time-outs arm a timer per request. Here a connection only notes, in a few plain cells, since when it
//! has been in its phase, and the thread's sweep, once a second, ends those that overstay; a request costs no timer.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use tokio::net::TcpStream;

use super::stage::Ingress;
use super::{http1, http2};
use crate::limits;

/// What the sweep looks at. Times are coarse seconds of the thread's clock.
#[derive(Debug)]
pub struct Watch {
    pub peer: IpAddr,
    phase: Cell<Phase>,
    since: Cell<u32>,
    now: Rc<Cell<u32>>,
    write_stuck: Cell<bool>,
    ended: Cell<bool>,
    requests: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Connected, nothing has come yet.
    Fresh,
    /// Part of a request's head has come.
    Head,
    /// The request is with us; its body and the journal have deadlines of their own.
    Ours,
    /// Answered; waits for the next request.
    Idle,
}

impl Watch {
    /// `now` is the thread's clock.
    pub fn new(peer: IpAddr, now: Rc<Cell<u32>>) -> Rc<Self> {
        Rc::new(Self {
            peer,
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now.get()),
            now,
            write_stuck: Cell::new(false),
            ended: Cell::new(false),
            requests: Cell::new(0),
            waker: RefCell::new(None),
        })
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// A request's head is complete. Says whether it is the last that this connection may bring.
    pub fn request_began(&self) -> bool {
        self.enter(Phase::Ours);
        self.requests.set(self.requests.get() + 1);
        self.requests.get() >= limits::CONNECTION_REQUESTS_MAX
    }

    pub fn request_ended(&self) {
        self.enter(Phase::Idle);
    }

    /// Ends the connection if it overstayed its phase.
    pub fn sweep(&self) {
        let stayed = self.now.get().saturating_sub(self.since.get());
        let allowed = match self.phase.get() {
            _ if self.write_stuck.get() => limits::RESPONSE_WRITE_SECONDS,
            Phase::Fresh | Phase::Head => limits::HEADER_READ_SECONDS,
            Phase::Idle => limits::IDLE_SECONDS,
            Phase::Ours => return,
        };
        if stayed > allowed {
            self.ended.set(true);
            self.wake();
        }
    }

    /// The client takes, or does not take, what is written to it.
    pub fn write_is_stuck(&self, stuck: bool) {
        if stuck && !self.write_stuck.get() {
            self.since.set(self.now.get());
        }
        self.write_stuck.set(stuck);
    }

    /// Something of a request came.
    pub fn read_something(&self) {
        if matches!(self.phase.get(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// Whether the connection overstayed; it is to be dropped.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Who polls the connection, to be woken for its orders.
    pub fn watch_with(&self, polled: &Waker) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(polled)) {
            *waker = Some(polled.clone());
        }
    }

    /// Lets the connection look at its orders.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Serves one connection until it ends, overstays, or the line drains.
pub async fn serve(socket: TcpStream, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let limit = Duration::from_secs(u64::from(limits::HEADER_READ_SECONDS));
    let spoken = tokio::time::timeout(limit, speaks_http2(&socket)).await;
    crate::fault::point("K1");
    match spoken {
        Ok(Ok(true)) => http2::serve(socket, watch, ingress).await,
        Ok(Ok(false)) => http1::serve(socket, watch, ingress).await,
        // Nothing came, or the client left.
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Looks at the first bytes without taking them.
async fn speaks_http2(socket: &TcpStream) -> io::Result<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut first = [0; PREFACE.len()];
    loop {
        let got = socket.peek(&mut first).await?;
        let same = first.iter().take(got).zip(PREFACE).all(|(a, b)| a == b);
        if got == 0 || !same {
            return Ok(false);
        }
        if got == PREFACE.len() {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The response type of the data plane.
pub type Answer = Response<Full<Bytes>>;
