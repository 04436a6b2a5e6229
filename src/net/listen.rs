//! Listening sockets. An address has one socket, which nobody shares: the kernel then refuses every other listener on
//! it, whatever its user and its options are, and whether its address is a wildcard or not.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Poll;

use socket2::{Domain, Protocol, Socket, Type};

use crate::descriptors::are_exhausted;

const BACKLOG: i32 = 1024;

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (`{key}`): {source}")]
pub struct ListenError {
    pub address: SocketAddr,
    /// The configuration key to change.
    pub key: &'static str,
    pub source: io::Error,
}

/// Listens on `address`.
pub fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, ListenError> {
    open(address).map_err(|source| ListenError { address, key, source })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process that the kernel still remembers do not hold the address; a listener does.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A descriptor that is kept for the time when there is no other. With it, a connection that cannot be served is taken
/// from the queue and closed, so that its client learns at once and the queue never stands.
#[derive(Debug)]
struct Spare(Option<File>);

impl Spare {
    fn new() -> io::Result<Self> {
        Ok(Self(Some(open_spare()?)))
    }

    /// Has `accept` take a connection, to be closed.
    ///
    /// # Errors
    /// When there is no spare one either, because others were quicker. The caller pauses.
    fn refuse_next(&mut self, accept: impl FnOnce()) -> io::Result<()> {
        if self.0.take().is_some() {
            accept();
        }
        self.0 = Some(open_spare()?);
        Ok(())
    }
}

fn open_spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// Whether the next connection may be well: the client of this one left before it was accepted.
fn concerns_one(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

/// A listener that goes on when no descriptor is free, for a thread of its own.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    spare: Spare,
}

impl Acceptor {
    /// # Errors
    /// When there is no descriptor to keep.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener, spare: Spare::new()? })
    }

    /// The next connection, or `None` when none waits.
    ///
    /// # Errors
    /// Whatever the network says, or no descriptor is free, not even to refuse with. The caller pauses.
    pub fn accept(&mut self) -> io::Result<Option<(TcpStream, SocketAddr)>> {
        let Self { listener, spare } = self;
        loop {
            match listener.accept() {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if are_exhausted(&error) => {
                    // Linux looks for a descriptor before it looks for a connection: there may be none.
                    let mut waits = true;
                    spare.refuse_next(|| {
                        waits = listener.accept().is_ok_and(|refused| {
                            drop(refused);
                            true
                        });
                    })?;
                    if !waits {
                        return Ok(None);
                    }
                }
                Err(error) if concerns_one(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// The same on a runtime.
#[derive(Debug)]
pub struct AsyncAcceptor {
    listener: tokio::net::TcpListener,
    spare: Spare,
}

impl AsyncAcceptor {
    /// # Errors
    /// When there is no descriptor to keep, or no runtime.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: tokio::net::TcpListener::from_std(listener)?, spare: Spare::new()? })
    }

    /// The next connection. May be given up at any time.
    ///
    /// # Errors
    /// As [`Acceptor::accept`].
    pub async fn accept(&mut self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        let Self { listener, spare } = self;
        loop {
            match listener.accept().await {
                Err(error) if are_exhausted(&error) => {
                    poll_fn(|cx| Poll::Ready(spare.refuse_next(|| drop(listener.poll_accept(cx))))).await?;
                }
                Err(error) if concerns_one(&error) => {}
                accepted => return accepted,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(address: &str) -> Result<TcpListener, ListenError> {
        listen(address.parse().unwrap(), "test")
    }

    /// A listener that would share its port with others of this user.
    fn sharing(address: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(1)?;
        Ok(socket)
    }

    #[test]
    fn an_address_has_one_listener_in_whatever_form_it_is_named() {
        let first = bound("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        for other in ["127.0.0.1", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]"] {
            let error = bound(&format!("{other}:{port}")).unwrap_err();
            assert!(error.to_string().contains(&format!("{port} (`test`)")), "{error}");
            assert!(sharing(format!("{other}:{port}").parse().unwrap()).is_err(), "{other} is shared");
        }
        drop(first);
        let all = bound(&format!("[::]:{port}")).unwrap();
        for other in ["127.0.0.1", "0.0.0.0", "[::1]"] {
            bound(&format!("{other}:{port}")).unwrap_err();
        }
        drop(all);
        let foreign = sharing(format!("0.0.0.0:{port}").parse().unwrap()).unwrap();
        bound(&format!("127.0.0.1:{port}")).unwrap_err();
        drop(foreign);
        bound(&format!("127.0.0.1:{port}")).unwrap();
    }

    #[test]
    fn an_address_is_free_again_at_once_though_its_connections_are_remembered() {
        let first = bound("127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap();
        let mut acceptor = Acceptor::new(first).unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (served, _) = acceptor.accept().unwrap().unwrap();
        // Who closes first is left in TIME_WAIT.
        drop((served, acceptor, client));
        listen(address, "test").unwrap();
    }
}
