//! A connection to RabbitMQ, with what the client library leaves out: it waits for ever where the broker says nothing,
//! and what was given to it stays in its queue. So connecting has deadlines of its own, hosts are tried in their order,
//! and whoever gives up shuts the socket, which tells everyone who waits on the connection.

mod reactor;

use std::io;
use std::net::Shutdown;
use std::sync::Arc;

use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::{ACTION_CONNECT, BROKER_CONNECT};

/// How the broker is reached.
#[derive(Clone)]
pub struct Broker {
    /// Host and port of each node, in the order in which they are tried.
    pub hosts: Vec<(String, u16)>,
    pub vhost: String,
    pub username: String,
    pub password: SecretString,
    /// `None`: the connection is not encrypted.
    pub tls: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// A connection and its socket.
pub struct Open {
    pub connection: Connection,
    socket: Socket,
}

impl Open {
    /// Ends the connection without a word to the broker; whoever waits on it is told at once.
    pub fn shut(&self) {
        self.socket.shut();
    }
}

/// Shuts the socket, whoever else holds it.
struct Socket(std::net::TcpStream);

impl Socket {
    fn shut(&self) {
        // It may be shut already.
        let _shut = self.0.shutdown(Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Seconds after which a peer that says nothing is taken for gone.
const HEARTBEAT_SECONDS: u16 = 10;

impl Broker {
    /// Connects to the first node that takes it.
    ///
    /// # Errors
    /// What the last node said, in words without secrets.
    pub async fn connect(&self, name: &str) -> Result<Open, String> {
        let mut last = "no broker is named".to_owned();
        for (host, port) in &self.hosts {
            last = match timeout(BROKER_CONNECT, self.connect_to(host, *port, name)).await {
                Ok(Ok(open)) => return Ok(open),
                Ok(Err(why)) => format!("the broker cannot be reached: {why}"),
                Err(_) => format!("the broker does not connect within {BROKER_CONNECT:?}"),
            };
        }
        Err(last)
    }

    async fn connect_to(&self, host: &str, port: u16, name: &str) -> Result<Open, String> {
        let in_socket = |error: io::Error| error.kind().to_string();
        let stream = timeout(ACTION_CONNECT, TcpStream::connect((host, port))).await;
        let stream = stream.map_err(|_| format!("no connection within {ACTION_CONNECT:?}"))?;
        let stream = stream.and_then(TcpStream::into_std).map_err(in_socket)?;
        stream.set_nodelay(true).map_err(in_socket)?;
        let socket = Socket(stream.try_clone().map_err(in_socket)?);
        let uri = AMQPUri {
            // The stream is given, encrypted or not: the scheme decides nothing.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: self.username.clone(),
                    password: self.password.expose_secret().to_owned(),
                },
                host: host.to_owned(),
                port,
            },
            vhost: self.vhost.clone(),
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
        };
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (tls, host) = (self.tls.clone(), host.to_owned());
        let wrap = async move |_, _| {
            let stream = stream.try_clone().and_then(TcpStream::from_std)?;
            Ok(AsyncTcpStream::Plain(reactor::encrypted(stream, &host, tls.as_ref()).await?))
        };
        let connection = Connection::connector(uri, reactor::runtime(), wrap, properties);
        let connection = connection.await.map_err(|error| said(&error))?;
        Ok(Open { connection, socket })
    }
}

/// The library's error without the broker's own words.
#[must_use]
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
pub fn said(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => format!("the broker answered {}", error.get_id()),
        ErrorKind::IOError(error) if error.kind() == io::ErrorKind::InvalidData => {
            format!("no encrypted connection: {error}")
        }
        ErrorKind::IOError(error) => error.kind().to_string(),
        ErrorKind::MissingHeartbeatError => "the broker has gone silent".into(),
        _ => "the connection to the broker broke".into(),
    }
}
