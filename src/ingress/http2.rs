//! HTTP/2 by prior knowledge. Its streams are answered in whatever order the journal speaks, so each waits in a task of
//! its own.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::connection::Watch;
use super::intake::answer_by_itself;
use super::stage::Ingress;
use crate::limits;

/// The socket, which tells the watch what it sees.
struct Io {
    socket: TokioIo<TcpStream>,
    watch: Rc<Watch>,
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if read.is_ready() {
            self.watch.read_something();
        }
        read
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch.write_is_stuck(wrote.is_pending());
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
        self.watch.write_is_stuck(wrote.is_pending());
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

/// Serves one connection.
pub async fn serve(socket: TcpStream, watch: Rc<Watch>, ingress: Rc<Ingress>) {
    let io = Io { socket: TokioIo::new(socket), watch: Rc::clone(&watch) };
    let (their_watch, their_ingress) = (Rc::clone(&watch), Rc::clone(&ingress));
    let service = service_fn(move |request: Request<Incoming>| {
        answer_by_itself(Rc::clone(&their_ingress), Rc::clone(&their_watch), request)
    });
    let connection = http2::Builder::new(Local)
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .initial_stream_window_size(limits::H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(limits::H2_FRAME_BYTES)
        .max_header_list_size(limits::HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits::H2_LOCAL_RESETS_MAX)
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
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        watch.watch_with(cx.waker());
        Poll::Pending
    })
    .await;
}
