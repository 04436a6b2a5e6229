//! The bytes of a connection of the operator plane, as its parser may see them: what [`strict`](crate::net::strict) refuses
//! is answered 400 here, too.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use crate::net::strict::{self, Strict};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 4096;

/// What hyper takes for the socket.
pub struct StrictSocket {
    socket: TcpStream,
    strict: Strict,
}

impl StrictSocket {
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, strict: Strict::default() }
    }
}

impl Read for StrictSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = [0; PIECE_BYTES];
        let room = strict::room(&buffer, PIECE_BYTES);
        let mut came = ReadBuf::new(&mut piece[..room]);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut came))?;
        self.strict.pass(came.filled(), &mut buffer);
        Poll::Ready(Ok(()))
    }
}

impl Write for StrictSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
