//! HTTP/2 by prior knowledge, on the `h2` crate. Its streams are answered in whatever order the journal speaks, so each
//! waits in a task of its own; an answer that the client does not take ends after a deadline, alone.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::connection::{Order, Watch};
use super::frames::FrameTracker;
use super::intake::answer_alone;
use super::memory_budget::Charge;
use super::stage::Ingress;
use crate::clock;
use crate::limits;

/// The socket, with what was read of it before it was known that this is HTTP/2.
struct Io {
    socket: TcpStream,
    first: Bytes,
    watch: Rc<Watch>,
    frames: FrameTracker,
    /// The end of the connection's rest.
    rested: Option<Pin<Box<Sleep>>>,
}

impl Io {
    /// Waits until the connection has rested.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(nanos) = self.watch.rests() else { return Poll::Ready(()) };
        let until = Instant::now() + Duration::from_nanos(nanos);
        let rested = self.rested.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        rested.as_mut().reset(until);
        rested.as_mut().poll(cx)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_rest(cx));
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.first.is_empty() {
            ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        } else {
            let part = this.first.len().min(buffer.remaining());
            buffer.put_slice(&this.first[..part]);
            this.first.advance(part);
        }
        this.watch.holds_part(this.frames.read(&buffer.filled()[before..]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch.answers_wait(if wrote.is_pending() { bytes.len() } else { 0 });
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
        let wrote = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        let waits = || pieces.iter().map(|piece| piece.len()).sum();
        self.watch.answers_wait(if wrote.is_pending() { waits() } else { 0 });
        wrote
    }
}

/// Serves one connection of which `first` has been read.
pub async fn serve(socket: TcpStream, first: Bytes, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let io = Io { socket, first, watch: Rc::clone(&watch), frames: FrameTracker::default(), rested: None };
    let mut handshake = Box::pin(
        h2::server::Builder::new()
            .max_concurrent_streams(limits::H2_STREAMS_MAX)
            .initial_window_size(limits::H2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
            .max_frame_size(limits::H2_FRAME_BYTES)
            .max_header_list_size(limits::HEADER_BYTES_MAX)
            .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(Some(limits::H2_LOCAL_RESETS_MAX))
            .handshake(io),
    );
    let shaken = std::future::poll_fn(|cx| {
        if watch.poll_order(cx) == Order::End {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Result::ok)
    });
    let Some(mut connection) = shaken.await else { return };
    let blocked = Rc::default();
    let mut leaving = None;
    std::future::poll_fn(|cx| poll_serve(&mut connection, &mut leaving, &blocked, &watch, &ingress, cx))
        .await;
}

/// Takes streams until the connection is over. `leaving` is since when it has been leaving.
fn poll_serve(
    connection: &mut Connection<Io, Bytes>,
    leaving: &mut Option<u32>,
    blocked: &Rc<Cell<usize>>,
    watch: &Rc<Watch>,
    ingress: &Rc<Ingress>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let order = watch.poll_order(cx);
    if order == Order::End {
        return Poll::Ready(());
    }
    if order >= Order::Finish && leaving.is_none() {
        *leaving = Some(ingress.seconds());
        connection.graceful_shutdown();
    }
    loop {
        match connection.poll_accept(cx) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                watch.request_began();
                let (watch, ingress, blocked) = (Rc::clone(watch), Rc::clone(ingress), Rc::clone(blocked));
                tokio::task::spawn_local(async move {
                    answer_stream(&ingress, &watch, request, respond, &blocked).await;
                    watch.request_ended();
                });
            }
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            Poll::Pending => break,
        }
    }
    // The client has a moment to hear of it; one that does not confirm it is not waited for.
    let heard = leaving.is_some_and(|since| ingress.seconds() > since);
    if heard && watch.is_quiet() { Poll::Ready(()) } else { Poll::Pending }
}

/// Answers one stream.
async fn answer_stream(
    ingress: &Ingress,
    watch: &Watch,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    blocked: &Cell<usize>,
) {
    let bodiless = request.method() == Method::HEAD;
    let (head, stream) = request.into_parts();
    let declared = head.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut body = StreamBody { stream, declared };
    let (answer, client) = answer_alone(ingress, watch, &head, &mut body).await;
    let (mut parts, mut body) = answer.into_parts();
    parts.headers.remove(CONNECTION);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Ok(date) = HeaderValue::from_str(&ingress.date()) {
        parts.headers.insert(DATE, date);
    }
    if bodiless {
        body = Bytes::new();
    }
    // An error is a client that has left or reset the stream.
    let Ok(mut stream) = respond.send_response(Response::from_parts(parts, ()), body.is_empty()) else {
        return;
    };
    if body.is_empty() || send_what_fits(&mut stream, &mut body).is_none_or(|()| body.is_empty()) {
        return;
    }
    // The client's window is too small for an answer of some hundred bytes.
    let charge = ingress.memory.open(client, clock::nanos());
    let held = charge.grow(body.len() + STREAM_BYTES, clock::nanos());
    let waiting = blocked.replace(blocked.get() + 1);
    let limit = Duration::from_secs(limits::RESPONSE_WRITE_SECONDS.into());
    let all = waiting < limits::H2_BLOCKED_ANSWERS_MAX
        && held.is_ok()
        && tokio::time::timeout(limit, send_rest(&mut stream, &mut body, &charge)).await == Ok(true);
    blocked.set(blocked.get() - 1);
    if !all {
        stream.send_reset(Reason::CANCEL);
    }
}

/// What a stream costs beside its answer, about.
const STREAM_BYTES: usize = 2 * 1024;

/// Sends as much as the client's windows allow; `None` when the stream is over.
fn send_what_fits(stream: &mut SendStream<Bytes>, body: &mut Bytes) -> Option<()> {
    stream.reserve_capacity(body.len());
    let part = body.split_to(stream.capacity().min(body.len()));
    if part.is_empty() {
        return Some(());
    }
    stream.send_data(part, body.is_empty()).ok()
}

/// Sends the rest as the client opens its windows; whether all of it went.
async fn send_rest(stream: &mut SendStream<Bytes>, body: &mut Bytes, charge: &Charge) -> bool {
    std::future::poll_fn(|cx| {
        loop {
            if charge.poll_revoked(cx).is_ready() || stream.poll_reset(cx).is_ready() {
                return Poll::Ready(false);
            }
            match stream.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(false),
            }
            if send_what_fits(stream, body).is_none() {
                return Poll::Ready(false);
            }
            if body.is_empty() {
                return Poll::Ready(true);
            }
        }
    })
    .await
}

/// A request's body, which gives the window back as it is read.
struct StreamBody {
    stream: RecvStream,
    /// What is to come of it, if the head says so; h2 holds the client to it.
    declared: Option<u64>,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Some(data) = ready!(self.stream.poll_data(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(data.and_then(|data| {
            self.stream.flow_control().release_capacity(data.len())?;
            self.declared = self.declared.map(|left| left.saturating_sub(data.len() as u64));
            Ok(Frame::data(data))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
