//! Events to a syslog receiver: RFC 5424 messages over a Unix socket, UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425). The
//! message is the event as JSON. A receiver that is away is connected to again after a pause.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use tracing::Level;

use super::destination::{Line, Write};
use super::format::time;
use crate::limits::{SYSLOG_BYTES_MAX, SYSLOG_PAUSE, SYSLOG_PAUSE_MAX, SYSLOG_TIMEOUT};

/// How the receiver is reached.
#[derive(Clone)]
pub enum Transport {
    /// Datagrams, or a stream where the socket is one.
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
    /// What it trusts is asked for at each connection, since its files may change.
    Tls(String, Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>),
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, address) = match self {
            Self::Unix(path) => ("unix", path.display().to_string()),
            Self::Udp(address) => ("udp", address.clone()),
            Self::Tcp(address) => ("tcp", address.clone()),
            Self::Tls(address, _) => ("tls", address.clone()),
        };
        write!(f, "{kind} {address}")
    }
}

/// How messages of a stream are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Each is led by its length.
    OctetCounting,
    /// Each ends in a line feed.
    LineFeed,
}

/// What a receiver is sent.
#[derive(Clone, Debug)]
pub struct SyslogPlan {
    pub transport: Transport,
    pub framing: Framing,
    /// By its number, 0 to 23.
    pub facility: u8,
    pub app_name: String,
    pub host: String,
}

/// An open way to the receiver.
enum Opened {
    Datagram(UnixDatagram),
    Udp(UdpSocket),
    Stream(Box<dyn io::Write + Send>),
}

/// Sends lines.
pub struct Syslog {
    plan: SyslogPlan,
    opened: Option<Opened>,
    failed: u32,
    again: Option<Instant>,
    is_told: bool,
}

impl Syslog {
    #[must_use]
    pub fn new(plan: SyslogPlan) -> Self {
        Self { plan, opened: None, failed: 0, again: None, is_told: false }
    }

    fn send(&mut self, lines: &[Line], sent: &mut usize) -> io::Result<()> {
        if self.again.is_some_and(|again| Instant::now() < again) {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let opened = match &mut self.opened {
            Some(opened) => opened,
            none => none.insert(open(&self.plan.transport)?),
        };
        let mut framed = Vec::new();
        for line in lines {
            let message = self.plan.message(line);
            match opened {
                Opened::Datagram(socket) => {
                    socket.send(message.as_bytes())?;
                }
                Opened::Udp(socket) => {
                    socket.send(message.as_bytes())?;
                }
                Opened::Stream(stream) => {
                    framed.clear();
                    self.plan.framing.frame(&message, &mut framed);
                    stream.write_all(&framed)?;
                }
            }
            *sent += 1;
        }
        if let Opened::Stream(stream) = opened {
            stream.flush()?;
        }
        Ok(())
    }
}

impl Write for Syslog {
    fn write(&mut self, lines: &[Line]) -> usize {
        let mut sent = 0;
        match self.send(lines, &mut sent) {
            Ok(()) => {
                (self.failed, self.again) = (0, None);
                if std::mem::take(&mut self.is_told) {
                    tracing::info!(target: "gemba::kaizen", "the syslog receiver takes lines again");
                }
            }
            Err(error) => {
                self.opened = None;
                if self.again.is_none_or(|again| Instant::now() >= again) {
                    self.failed += 1;
                    let pause =
                        SYSLOG_PAUSE.saturating_mul(1 << (self.failed - 1).min(10)).min(SYSLOG_PAUSE_MAX);
                    self.again = Some(Instant::now() + pause);
                }
                if !std::mem::replace(&mut self.is_told, true) {
                    tracing::warn!(target: "gemba::kaizen", %error, "the syslog receiver cannot be reached");
                }
            }
        }
        lines.len() - sent
    }

    fn reopen(&mut self) {
        self.opened = None;
        self.again = None;
    }
}

fn open(transport: &Transport) -> io::Result<Opened> {
    match transport {
        Transport::Unix(path) => {
            let socket = UnixDatagram::unbound()?;
            if socket.connect(path).is_ok() {
                socket.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
                return Ok(Opened::Datagram(socket));
            }
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
            Ok(Opened::Stream(Box::new(stream)))
        }
        Transport::Udp(address) => {
            let to = resolved(address)?;
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            Ok(Opened::Udp(socket))
        }
        Transport::Tcp(address) => Ok(Opened::Stream(Box::new(connected(address)?))),
        Transport::Tls(address, config) => {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let connection = ClientConnection::new(config(), name).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, connected(address)?);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock)?;
            }
            Ok(Opened::Stream(Box::new(stream)))
        }
    }
}

fn resolved(address: &str) -> io::Result<std::net::SocketAddr> {
    let found = address.to_socket_addrs()?.next();
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "its name has no address"))
}

fn connected(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&resolved(address)?, SYSLOG_TIMEOUT)?;
    stream.set_write_timeout(Some(SYSLOG_TIMEOUT))?;
    stream.set_read_timeout(Some(SYSLOG_TIMEOUT))?;
    Ok(stream)
}

impl Framing {
    /// RFC 6587, 3.4.1 and 3.4.2; the length counts the message alone.
    fn frame(self, message: &str, out: &mut Vec<u8>) {
        match self {
            Self::OctetCounting => {
                out.extend_from_slice(message.len().to_string().as_bytes());
                out.push(b' ');
                out.extend_from_slice(message.as_bytes());
            }
            // An object of JSON has no end of line in it.
            Self::LineFeed => {
                out.extend_from_slice(message.as_bytes());
                out.push(b'\n');
            }
        }
    }
}

impl SyslogPlan {
    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG` (RFC 5424, 6).
    fn message(&self, line: &Line) -> String {
        let severity = match line.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        let priority = u16::from(self.facility) * 8 + severity;
        let kind = line.target.rsplit_once("::").map_or(line.target, |(_, last)| last);
        let (at, pid) = (time(line.now), std::process::id());
        let mut message = String::new();
        // Writing to a string cannot fail.
        let _written = write!(
            message,
            "<{priority}>1 {at} {} {} {pid} {kind} - {}",
            self.host, self.app_name, line.json
        );
        if message.len() > SYSLOG_BYTES_MAX {
            message.truncate(message.floor_char_boundary(SYSLOG_BYTES_MAX));
        }
        message
    }
}

/// Facilities by their numbers (RFC 5424, table 1), under the names that configurations use.
pub const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::UnixMillis;

    fn plan(framing: Framing) -> SyslogPlan {
        SyslogPlan {
            transport: Transport::Udp("127.0.0.1:1".into()),
            framing,
            facility: 16,
            app_name: "gemba".into(),
            host: "n1".into(),
        }
    }

    fn line(level: Level, json: &str) -> Line {
        Line { now: UnixMillis(1_000), level, target: "gemba::kanban", json: json.into() }
    }

    #[test]
    fn a_message_has_the_form_of_rfc_5424() {
        let pid = std::process::id();
        for (level, priority) in [
            (Level::ERROR, 131),
            (Level::WARN, 132),
            (Level::INFO, 134),
            (Level::DEBUG, 135),
            (Level::TRACE, 135),
        ] {
            let message = plan(Framing::OctetCounting).message(&line(level, "{}"));
            let expected = format!("<{priority}>1 1970-01-01T00:00:01.000Z n1 gemba {pid} kanban - {{}}");
            assert_eq!(message, expected);
        }
        let long = plan(Framing::LineFeed).message(&line(Level::INFO, &"ü".repeat(SYSLOG_BYTES_MAX)));
        assert!(long.len() <= SYSLOG_BYTES_MAX && long.len() > SYSLOG_BYTES_MAX - 2);
    }

    #[test]
    fn messages_of_a_stream_are_told_apart() {
        let framed = |framing: Framing| {
            let mut out = Vec::new();
            for message in ["<134>1 a", "<134>1 ü"] {
                framing.frame(message, &mut out);
            }
            String::from_utf8(out).unwrap()
        };
        assert_eq!(framed(Framing::OctetCounting), "8 <134>1 a9 <134>1 ü");
        assert_eq!(framed(Framing::LineFeed), "<134>1 a\n<134>1 ü\n");
    }
}
