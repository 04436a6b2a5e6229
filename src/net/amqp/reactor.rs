//! tokio's reactor with connections that may be encrypted, as the client library wants one. The library can encrypt
//! by itself, but only together with PKCS #12 and its ciphers of the nineties; the TLS here is that of every other client.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_compat::Compat;
use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::net::{Duplex, tls};

/// The current tokio runtime, for the client library.
pub fn runtime() -> Runtime<RuntimeParts<Tokio, Sockets>> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Sockets(Tokio::current())))
}

/// A connection as the client library reads and writes it.
pub type Connection = Compat<Box<dyn Duplex>>;

/// Encrypts a connection to `host`, if there is a configuration for it.
pub async fn encrypted(
    stream: TcpStream,
    host: &str,
    config: Option<&Arc<ClientConfig>>,
) -> io::Result<Connection> {
    let Some(config) = config else { return Ok(Compat::new(Box::new(stream))) };
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "its host is no name for a certificate"))?;
    let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    let stream = stream.inspect_err(|error| tls::tell_of_failure(host, error))?;
    tls::tell_of_handshake(host, stream.get_ref().1);
    Ok(Compat::new(Box::new(stream)))
}

#[derive(Clone, Debug)]
pub struct Sockets(Tokio);

impl Reactor for Sockets {
    type TcpStream = Connection;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, time: Duration) -> Self::Sleep {
        self.0.sleep(time)
    }

    fn interval(&self, time: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(time)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Connection>> + Send + 'static {
        let connecting = TcpStream::connect(address);
        async move { encrypted(connecting.await?, "", None).await }
    }
}
