//! Connections to others. A name is resolved once, every address it has is judged by [`super::egress`], and the
//! connection goes to exactly one of those: an IP literal takes the same way. hyper's own connector passes literals
//! around its resolver, which is why this one is written.

use std::error::Error as StdError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::Answer;
use super::retry::Miss;
use super::{Duplex, egress, tls};

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("its URL has no host")]
    NoHost,
    #[error("its name cannot be resolved")]
    NoSuchName,
    #[error("its address {address} is not called: {kind}; `allow_private` is not set")]
    Refused { address: IpAddr, kind: &'static str },
    #[error("no connection: {0}")]
    NoConnection(io::ErrorKind),
    #[error("no connection within {0:?}")]
    Slow(Duration),
    #[error("its certificate is not trusted: {}", plainly(.0))]
    Untrusted(rustls::CertificateError),
    #[error("TLS failed: {0}")]
    Tls(io::ErrorKind),
}

impl ConnectError {
    /// What lies behind an error of the HTTP client.
    #[must_use]
    pub fn behind<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut error = error;
        loop {
            match error.downcast_ref() {
                Some(found) => return Some(found),
                None => error = error.source()?,
            }
        }
    }

    /// It would be the same the next time.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::NoHost | Self::Refused { .. } | Self::Untrusted(_) => true,
            Self::NoSuchName | Self::NoConnection(_) | Self::Slow(_) | Self::Tls(_) => false,
        }
    }

    /// What it is to a request that may be made hours later: a certificate may be mended by then, a URL is not.
    #[must_use]
    pub fn for_later(&self) -> Miss {
        let why = self.to_string();
        match self {
            Self::NoHost | Self::Refused { .. } => Miss::r#final(why),
            Self::Untrusted(_) | Self::NoSuchName | Self::NoConnection(_) | Self::Slow(_) | Self::Tls(_) => {
                Miss::unsent(why)
            }
        }
    }
}

/// Connects for one client.
#[derive(Clone, Debug)]
pub struct Connector {
    /// For `https`; without it, only `http` is spoken.
    pub tls: Option<Arc<ClientConfig>>,
    /// Addresses that [`egress`] refuses may be called.
    pub allow_private: bool,
    /// For resolving, connecting and TLS together.
    pub deadline: Duration,
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Stream, ConnectError> {
        let deadline = self.deadline;
        let connecting = self.connect_by(Instant::now() + deadline, &uri);
        tokio::time::timeout(deadline, connecting).await.unwrap_or(Err(ConnectError::Slow(deadline)))
    }

    async fn connect_by(self, until: Instant, uri: &Uri) -> Result<Stream, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = connect((host, port), self.allow_private, until).await?;
        if !secure {
            return Ok(Stream::new(Box::new(stream), false));
        }
        let config = self.tls.ok_or(ConnectError::Tls(io::ErrorKind::Unsupported))?;
        let stream = encrypt(config, host, stream).await?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
        Ok(Stream::new(Box::new(stream), h2))
    }
}

/// A connection to one address of a host, each of which may be called.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(
    (host, port): (&str, u16),
    allow_private: bool,
    until: Instant,
) -> Result<TcpStream, ConnectError> {
    let addresses = resolve(host, port).await?;
    if !allow_private {
        // A name that leads inside and outside is a mistake or an attack: nothing of it is called.
        for address in &addresses {
            let address = address.ip();
            if let Some(kind) = egress::refused(address) {
                return Err(ConnectError::Refused { address, kind });
            }
        }
    }
    let stream = first_of(&addresses, until).await?;
    // A body follows its head at once.
    let _as_it_is = stream.set_nodelay(true);
    Ok(stream)
}

/// TLS over a connection to `host`, whose certificate must name it.
///
/// # Errors
/// [`ConnectError`].
pub async fn encrypt(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::NoHost)?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|error| {
        tls::tell_of_failure(host, &error);
        untrusted(&error)
    })?;
    tls::tell_of_handshake(host, stream.get_ref().1);
    Ok(stream)
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| ConnectError::NoSuchName)?;
    Ok(found.collect())
}

/// Tries each address in turn, an equal share of the time each.
async fn first_of(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, ConnectError> {
    let mut last = ConnectError::NoSuchName;
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = until.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = ConnectError::NoConnection(error.kind()),
            Err(_) => last = ConnectError::Slow(share),
        }
    }
    Err(last)
}

/// What is wrong with a certificate, in words for people.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn plainly(error: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Wrong;
    let date = |time: &UnixTime| {
        let time =
            i64::try_from(time.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        time.unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let told = error.to_string();
    let words = match error {
        Wrong::UnknownIssuer => "no authority that is trusted here has signed it",
        Wrong::ExpiredContext { not_after, .. } => return format!("it ended at {}", date(not_after)),
        Wrong::NotValidYetContext { not_before, .. } => return format!("it begins at {}", date(not_before)),
        Wrong::NotValidForNameContext { expected, presented } => {
            // Each is shown as `DnsName("a.b")`, or as an address.
            let names: Vec<&str> =
                presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
            let names = if names.is_empty() { "no host".into() } else { names.join(", ") };
            return format!("it names {names}, and not {}", expected.to_str());
        }
        Wrong::Revoked => "it was revoked",
        Wrong::BadSignature | Wrong::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its signature is not by the key of the trusted authority that it names"
        }
        Wrong::BadEncoding => "it cannot be read",
        Wrong::InvalidPurpose | Wrong::InvalidPurposeContext { .. } => "it is not one of a server",
        // What rustls has no name for is an error of webpki, whose type it hides.
        _ if told.contains("CaUsedAsEndEntity") => {
            "it is that of an authority; the server needs one that the authority has signed"
        }
        _ if told.contains("UnsupportedCertVersion") => "it is of an old version; X.509 version 3 is needed",
        _ => return told,
    };
    words.into()
}

fn untrusted(error: &io::Error) -> ConnectError {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => ConnectError::Untrusted(why.clone()),
        _ => ConnectError::Tls(error.kind()),
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Bytes of HTTP/1.1 that are read at once.
const LISTEN_BYTES: usize = 4096;

/// A connection, with or without TLS. One that speaks HTTP/1.1 has an [`Answer`] among its extras.
pub struct Stream {
    io: TokioIo<Box<dyn Duplex>>,
    /// What is said over it, where that is HTTP/1.1.
    answer: Option<Answer>,
}

impl Stream {
    fn new(io: Box<dyn Duplex>, h2: bool) -> Self {
        Self { io: TokioIo::new(io), answer: (!h2).then(Answer::default) }
    }

    /// Reads at most what `bytes` has room for; its status line is noted.
    fn listen<'b>(
        &mut self,
        cx: &mut Context<'_>,
        answer: &Answer,
        bytes: &'b mut [u8],
    ) -> Poll<io::Result<&'b [u8]>> {
        let mut buffer = ReadBuf::new(bytes);
        ready!(Pin::new(self.io.inner_mut()).poll_read(cx, &mut buffer))?;
        let filled = buffer.filled().len();
        let said = &bytes[..filled];
        answer.read(said);
        Poll::Ready(Ok(said))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match &self.answer {
            Some(answer) => Connected::new().extra(answer.clone()),
            None => Connected::new().negotiated_h2(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(answer) = self.answer.clone() else { return Pin::new(&mut self.io).poll_read(cx, buffer) };
        let mut bytes = [0; LISTEN_BYTES];
        let room = buffer.remaining().min(LISTEN_BYTES);
        let said = ready!(self.listen(cx, &answer, &mut bytes[..room]))?;
        buffer.put_slice(said);
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        // Whoever can send no more may have been answered before the other side hung up.
        if let (Poll::Ready(Err(_)), Some(answer)) = (&written, self.answer.clone()) {
            let _answered_or_not = self.listen(cx, &answer, &mut [0; LISTEN_BYTES]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    const LATER: (i32, u8, u8) = (2096, 2, 29);

    fn pair(
        name: &str,
        is_authority: bool,
        end: (i32, u8, u8),
    ) -> (CertificateDer<'static>, Vec<u8>, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("a test of {name}"));
        params.not_after = date_time_ymd(end.0, end.1, end.2);
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let text = data_encoding::BASE64.encode(&certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        (certificate, key.serialize_der(), pem)
    }

    /// What a client that trusts `trusted` says of a server.
    async fn said_of(
        (certificate, key, own): (CertificateDer<'static>, Vec<u8>, String),
        trusted: Option<&str>,
    ) -> String {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key).unwrap();
        let server = Arc::new(server.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(server).unwrap(), socket);
            let _refused = std::io::Read::read(&mut stream, &mut [0]);
        });
        let client = tls::client(Some(trusted.unwrap_or(&own).as_bytes()), &[]).unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        let error = encrypt(client, "localhost", stream).await.unwrap_err();
        serving.join().unwrap();
        assert!(matches!(error.for_later(), Miss::Again { is_unsent: true, .. }), "it may be mended");
        assert!(error.is_final());
        error.to_string()
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_in_words() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_, _, other) = pair("other", true, LATER);
            for (server, trusted, expected) in [
                (
                    pair("localhost", true, LATER),
                    None,
                    "it is that of an authority; the server needs one that",
                ),
                (pair("localhost", false, (2020, 2, 29)), None, "it ended at 2020-02-29T00:00:00Z"),
                (pair("elsewhere", false, LATER), None, "it names elsewhere, and not localhost"),
                (
                    pair("localhost", false, LATER),
                    Some(&*other),
                    "no authority that is trusted here has signed it",
                ),
            ] {
                let said = said_of(server, trusted).await;
                assert!(said.starts_with(&format!("its certificate is not trusted: {expected}")), "{said}");
            }
        });
    }
}
