//! Listening sockets. Several threads may listen on one port; the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

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

/// Listens on `address`; `shared` lets other sockets of this user listen there too.
pub fn listen(address: SocketAddr, shared: bool, key: &'static str) -> Result<TcpListener, ListenError> {
    open(address, shared).map_err(|source| ListenError { address, key, source })
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
