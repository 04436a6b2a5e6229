//! One connection: HTTP/1.1 or HTTP/2 by prior knowledge, with every limit set by hand.
//!
//! hyper's own time-outs arm a timer per request. Here a connection only notes, in a few plain cells, since when it
//! has been in its phase, and the thread's sweep, once a second, ends those that overstay; a request costs no timer.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::answer::explained;
use super::intake::intake;
use super::stage::Ingress;
use super::strict::Strict;
use crate::limits;

/// What the sweep looks at. Times are coarse seconds of the thread's clock.
#[derive(Debug)]
pub struct Watch {
    pub peer: IpAddr,
    phase: Cell<Phase>,
    since: Cell<u32>,
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
    pub fn new(peer: IpAddr, now: u32) -> Rc<Self> {
        Rc::new(Self {
            peer,
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now),
            write_stuck: Cell::new(false),
            ended: Cell::new(false),
            requests: Cell::new(0),
            waker: RefCell::new(None),
        })
    }

    fn enter(&self, phase: Phase, now: u32) {
        self.phase.set(phase);
        self.since.set(now);
    }

    /// A request's head is complete. Says whether it is the last that this connection may bring.
    pub fn request_began(&self, now: u32) -> bool {
        self.enter(Phase::Ours, now);
        self.requests.set(self.requests.get() + 1);
        self.requests.get() >= limits::CONNECTION_REQUESTS_MAX
    }

    pub fn request_ended(&self, now: u32) {
        self.enter(Phase::Idle, now);
    }

    /// Ends the connection if it overstayed its phase.
    pub fn sweep(&self, now: u32) {
        let stayed = now.saturating_sub(self.since.get());
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

    /// Lets the connection look at its orders.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// The socket, which tells the watch what it sees.
struct Io {
    socket: TokioIo<TcpStream>,
    watch: Rc<Watch>,
    ingress: Rc<Ingress>,
    /// Of HTTP/1.1.
    strict: Option<Strict>,
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.read(cx, buffer);
        if read.is_ready() && matches!(self.watch.phase.get(), Phase::Fresh | Phase::Idle) {
            self.watch.enter(Phase::Head, self.ingress.seconds());
        }
        read
    }
}

impl Io {
    fn read(&mut self, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Some(strict) = &mut self.strict else { return Pin::new(&mut self.socket).poll_read(cx, buffer) };
        let mut scratch = self.ingress.scratch.borrow_mut();
        let room = buffer.remaining().min(scratch.len());
        let mut came = ReadBuf::new(&mut scratch[..room]);
        ready!(Pin::new(self.socket.inner_mut()).poll_read(cx, &mut came))?;
        strict.read(came.filled_mut());
        buffer.put_slice(came.filled());
        Poll::Ready(Ok(()))
    }

    fn note_write(&self, stuck: bool) {
        if stuck && !self.watch.write_stuck.get() {
            self.watch.since.set(self.ingress.seconds());
        }
        self.watch.write_stuck.set(stuck);
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note_write(wrote.is_pending());
        wrote
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = pieces
            && let Some(explained) = explained(only)
        {
            // The connection ends behind it; the few bytes fit where the fewer would have.
            let wrote = ready!(Pin::new(&mut self.socket).poll_write(cx, &explained))?;
            return Poll::Ready(Ok(wrote.min(only.len())));
        }
        let wrote = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        self.note_write(wrote.is_pending());
        wrote
    }
}

/// Runs futures on the thread that asks.
#[derive(Clone, Copy, Debug)]
pub struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Serves one connection until it ends, overstays, or the line drains.
pub async fn serve(socket: TcpStream, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let limit = Duration::from_secs(u64::from(limits::HEADER_READ_SECONDS));
    let Ok(Ok(http2)) = tokio::time::timeout(limit, speaks_http2(&socket)).await else { return };
    crate::fault::point("K1");
    let io = Io {
        socket: TokioIo::new(socket),
        watch: Rc::clone(&watch),
        ingress: Rc::clone(&ingress),
        strict: (!http2).then(Strict::new),
    };
    let (their_watch, their_ingress) = (Rc::clone(&watch), Rc::clone(&ingress));
    let service = service_fn(move |request: Request<Incoming>| {
        intake(Rc::clone(&their_ingress), Rc::clone(&their_watch), request)
    });
    if http2 {
        let connection = http2::Builder::new(Local)
            .max_concurrent_streams(limits::H2_STREAMS_MAX)
            .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
            .max_frame_size(limits::H2_FRAME_BYTES)
            .max_header_list_size(limits::HEADER_BYTES_MAX)
            .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(limits::H2_LOCAL_RESETS_MAX)
            .serve_connection(io, service);
        Served { connection: Box::pin(connection), watch, ingress, draining: false }.await;
    } else {
        let connection = http1::Builder::new()
            .half_close(false)
            .max_headers(limits::HEADERS_MAX)
            .max_buf_size(limits::H1_BUFFER_BYTES)
            .header_read_timeout(None)
            .serve_connection(io, service);
        Served { connection: Box::pin(connection), watch, ingress, draining: false }.await;
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
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// What both protocols' connections can do.
trait Graceful: Future {
    fn shut_down(self: Pin<&mut Self>);
}

impl<S> Graceful for http1::Connection<Io, S>
where
    S: hyper::service::HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Graceful for http2::Connection<Io, S, Local>
where
    S: hyper::service::HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Future: 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn shut_down(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A connection with its orders: end now, or after what is under way.
struct Served<C> {
    connection: Pin<Box<C>>,
    watch: Rc<Watch>,
    ingress: Rc<Ingress>,
    draining: bool,
}

impl<C: Graceful> Future for Served<C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.watch.ended.get() {
            return Poll::Ready(());
        }
        if this.ingress.is_draining() && !this.draining {
            this.draining = true;
            this.connection.as_mut().shut_down();
        }
        if this.connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut waker = this.watch.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// The response type of the data plane.
pub type Answer = Response<Full<Bytes>>;
