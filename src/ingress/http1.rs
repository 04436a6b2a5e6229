//! HTTP/1.1: hyper reads the requests and frames the answers, [`super::strict`] looks over its shoulder, and the
//! [`super::outbox`] keeps every answer until its signal is durable.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::connection::Watch;
use super::intake::answer_in_order;
use super::outbox::{Outbox, SharedOutbox};
use super::stage::Ingress;
use super::strict::Strict;
use crate::limits;

/// What hyper takes for the socket.
struct Io {
    socket: OwnedReadHalf,
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
        let room = buffer.remaining().min(scratch.len());
        let mut came = ReadBuf::new(&mut scratch[..room]);
        ready!(Pin::new(&mut this.socket).poll_read(cx, &mut came))?;
        this.strict.read(came.filled_mut());
        buffer.put_slice(came.filled());
        this.watch.read_something();
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

/// Serves one connection.
pub async fn serve(socket: TcpStream, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let (read, write) = socket.into_split();
    let outbox = Outbox::new(write, Rc::clone(&watch));
    let io = Io {
        socket: read,
        strict: Strict::new(),
        outbox: Rc::clone(&outbox),
        watch: Rc::clone(&watch),
        ingress: Rc::clone(&ingress),
    };
    let (their_watch, their_ingress, their_outbox) =
        (Rc::clone(&watch), Rc::clone(&ingress), Rc::clone(&outbox));
    let service = service_fn(move |request: Request<Incoming>| {
        answer_in_order(Rc::clone(&their_ingress), Rc::clone(&their_watch), Rc::clone(&their_outbox), request)
    });
    let connection = http1::Builder::new()
        .half_close(false)
        .writev(false)
        .max_headers(limits::HEADERS_MAX)
        .max_buf_size(limits::H1_BUFFER_BYTES)
        .header_read_timeout(None)
        .serve_connection(io, service);
    let mut connection = Box::pin(connection);
    let mut draining = false;
    std::future::poll_fn(|cx| {
        if watch.has_ended() {
            return Poll::Ready(());
        }
        if ingress.is_draining() && !std::mem::replace(&mut draining, true) {
            connection.as_mut().graceful_shutdown();
        }
        outbox.borrow_mut().poll_write_on(cx);
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        watch.watch_with(cx.waker());
        Poll::Pending
    })
    .await;
    // hyper is through, also when it gave up on what it could not read; earlier requests still get their answers.
    drop(connection);
    std::future::poll_fn(|cx| {
        if watch.has_ended() || outbox.borrow_mut().poll_end(cx).is_ready() {
            return Poll::Ready(());
        }
        watch.watch_with(cx.waker());
        Poll::Pending
    })
    .await;
    outbox.borrow_mut().give_up();
}
