//! HTTP/1.1: hyper reads the requests and frames the answers, [`strict`](crate::net::strict) looks over its shoulder, and the
//! [`super::outbox`] keeps every answer until its signal is durable.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::connection::{Order, Watch};
use super::intake::answer_in_order;
use super::outbox::{Outbox, SharedOutbox};
use super::stage::Ingress;
use crate::limits;
use crate::net::strict::{self, Strict};

/// What hyper takes for the socket.
struct Io {
    socket: OwnedReadHalf,
    /// What was read before it was known that this is HTTP/1.1.
    first: Bytes,
    /// The client has closed its side.
    ended: bool,
    strict: Strict,
    outbox: SharedOutbox,
    watch: Rc<Watch>,
    ingress: Rc<Ingress>,
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outbox.borrow_mut().poll_room(cx));
        let mut scratch = this.ingress.scratch.borrow_mut();
        let mut room = strict::room(&buffer, scratch.len());
        if this.watch.current_order() >= Order::Finish {
            // What is read has to be answered, so no further request is.
            room = room.min(this.strict.within_request());
        }
        let mut came = ReadBuf::new(&mut scratch[..room]);
        if this.first.is_empty() {
            ready!(Pin::new(&mut this.socket).poll_read(cx, &mut came))?;
        } else {
            let part = this.first.len().min(room);
            came.put_slice(&this.first[..part]);
            this.first.advance(part);
        }
        let bytes = came.filled().len();
        this.ended |= bytes == 0;
        this.strict.pass(came.filled(), &mut buffer);
        this.watch.read(bytes, this.strict.heads(), this.strict.is_in_head());
        Poll::Ready(Ok(()))
    }
}

impl Write for Io {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outbox.borrow_mut().take(bytes, &self.ingress.date());
        Poll::Ready(Ok(bytes.len()))
    }

    /// The outbox writes by itself; hyper may go on reading meanwhile.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.borrow_mut().poll_end(cx)
    }
}

/// Serves one connection of which `first` has been read.
pub async fn serve(socket: TcpStream, first: Bytes, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let (read, write) = socket.into_split();
    let outbox = Outbox::new(write, Rc::clone(&watch));
    let io = Io {
        socket: read,
        first,
        ended: false,
        strict: Strict::default(),
        outbox: Rc::clone(&outbox),
        watch: Rc::clone(&watch),
        ingress: Rc::clone(&ingress),
    };
    let (their_watch, their_ingress, their_outbox) =
        (Rc::clone(&watch), Rc::clone(&ingress), Rc::clone(&outbox));
    let service = service_fn(move |request: Request<Incoming>| {
        let (ingress, watch, outbox) =
            (Rc::clone(&their_ingress), Rc::clone(&their_watch), Rc::clone(&their_outbox));
        async {
            Ok::<_, std::convert::Infallible>(
                answer_in_order(ingress, watch, outbox, request).await.map(Full::new),
            )
        }
    });
    let mut connection = Box::new(
        http1::Builder::new()
            .half_close(true)
            .writev(false)
            .max_headers(limits::HEADERS_MAX)
            .max_buf_size(limits::H1_BUFFER_BYTES)
            .header_read_timeout(None)
            .serve_connection(io, service),
    );
    std::future::poll_fn(|cx| {
        let order = watch.poll_order(cx);
        if order == Order::End {
            return Poll::Ready(());
        }
        outbox.borrow_mut().poll_write_on(cx);
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // hyper has looked at what was read, so what waits now is not a request.
        if order == Order::Close && watch.is_quiet() && outbox.borrow().is_empty() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    // hyper is through, also when it gave up on what it could not read; earlier requests still get their answers.
    let Io { socket, ended, .. } = connection.into_parts().io;
    std::future::poll_fn(|cx| {
        if watch.poll_order(cx) == Order::End || outbox.borrow_mut().poll_end(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    let was_answered = watch.seconds_without_request().is_none_or(|seconds| seconds < limits::CLOSE_SECONDS);
    if !ended && was_answered && watch.current_order() != Order::End {
        close_in_stages(&socket, &watch).await;
    }
    outbox.borrow_mut().give_up();
}

/// Our side is closed. Closing the socket while bytes of the client are unread would reset the connection, and the
/// client could lose the answers that are on their way to it (RFC 9112, 9.6): they are read and dropped until the client
/// closes its side, for a bounded time and number of bytes.
async fn close_in_stages(socket: &OwnedReadHalf, watch: &Watch) {
    watch.close_began();
    let mut left = limits::CLOSE_BYTES_MAX;
    std::future::poll_fn(|cx| {
        let mut dropped = [0; 4096];
        while left > 0 && watch.poll_order(cx) != Order::End {
            if socket.as_ref().poll_read_ready(cx).is_pending() {
                return Poll::Pending;
            }
            match socket.try_read(&mut dropped) {
                Ok(0) => break,
                Ok(bytes) => left = left.saturating_sub(bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        Poll::Ready(())
    })
    .await;
}
