//! Submission of mail (RFC 5321, 8314): one message in one session, for each recipient what the server said of it.
//!
//! The session is encrypted before anything but greetings is said: from its first byte, or by STARTTLS (RFC 3207), which a server must
//! then offer. Only a server on this machine, where private addresses are allowed, may do without, and is told no password then.
//! The connection takes the same way as a call of HTTP: each address of the host is judged by [`super::egress`].

use std::sync::Arc;

use data_encoding::BASE64;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::{Instant, timeout_at};

use super::Duplex;
use super::address::is_loopback;
use super::client;
use super::retry::Miss;
use crate::limits::{SMTP_LINE_BYTES_MAX, SMTP_REPLY_LINES_MAX};
use crate::printable::is_order;

/// When a session is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// From its first byte (`smtps://`, port 465).
    Implicit,
    /// By STARTTLS, before anything else is said (`smtp://`, port 587).
    StartTls,
}

/// A server that takes mail. It prints no password.
#[derive(Clone)]
pub struct SmtpServer {
    pub host: String,
    pub port: u16,
    pub security: SmtpSecurity,
    pub tls: Arc<ClientConfig>,
    /// Addresses that [`egress`](super::egress) refuses may be called; one of this machine need not speak TLS.
    pub allow_private: bool,
    /// User and password.
    pub login: Option<(String, SecretString)>,
}

impl std::fmt::Debug for SmtpServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpServer").field("security", &self.security).finish_non_exhaustive()
    }
}

/// A message and for whom it is: addresses in ASCII without a line break.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    pub from: &'a str,
    pub to: &'a [&'a str],
    /// Header fields and body; its lines end in CR LF.
    pub message: &'a [u8],
    /// What this machine calls itself.
    pub own_name: &'a str,
}

/// Submits a message; for each recipient whether the server took it for him. Nothing is sent if it takes it for none.
///
/// # Errors
/// [`Miss`], if the message was not taken for anybody, or it is not known.
pub async fn submit(
    server: &SmtpServer,
    submission: Submission<'_>,
    until: Instant,
) -> Result<Vec<Result<(), Miss>>, Miss> {
    let offered = timeout_at(until, offer(server, submission, until)).await;
    let offered = offered.unwrap_or_else(|_| Err(Miss::again("the mail server gave no answer in time")));
    // Nothing of the message was sent so far.
    let (mut session, said) = offered.map_err(Miss::surely_unsent)?;
    if said.iter().any(Result::is_ok) {
        session.send(&stuffed(submission.message)).await?;
        session.hear().await?.expect(250, "the message")?;
    }
    // What was taken is taken, whatever it says to this.
    let _bye = session.send(b"QUIT\r\n").await;
    Ok(said)
}

/// Everything before the message: a session that waits for it if somebody gets it, and for each recipient whether he does.
async fn offer(
    server: &SmtpServer,
    submission: Submission<'_>,
    until: Instant,
) -> Result<(Session, Vec<Result<(), Miss>>), Miss> {
    let mut session = begin(server, submission.own_name, until).await?;
    session.log_in(server.login.as_ref()).await?;
    session.say(&format!("MAIL FROM:<{}>", submission.from)).await?.expect(250, "MAIL FROM")?;
    let mut said = Vec::new();
    for recipient in submission.to {
        let reply = session.say(&format!("RCPT TO:<{recipient}>")).await?;
        said.push(if reply.code == 251 { Ok(()) } else { reply.expect(250, "RCPT TO") });
    }
    if said.iter().any(Result::is_ok) {
        session.say("DATA").await?.expect(354, "DATA")?;
    }
    Ok((session, said))
}

/// A session that is as secret as it must be.
async fn begin(server: &SmtpServer, own_name: &str, until: Instant) -> Result<Session, Miss> {
    let host = server.host.as_str();
    let stream = client::connect((host, server.port), server.allow_private, until).await;
    let stream = stream.map_err(|error| error.for_later())?;
    let is_own = stream.peer_addr().is_ok_and(|peer| is_loopback(peer.ip()));
    let encrypt = async |stream| {
        let stream = client::encrypt(Arc::clone(&server.tls), host, stream).await;
        stream.map_err(|error| error.for_later())
    };
    if server.security == SmtpSecurity::Implicit {
        let mut session = Session::new(Box::new(encrypt(stream).await?) as Box<dyn Duplex>, true);
        session.hear().await?.expect(220, "the connection")?;
        session.greet(own_name).await?;
        return Ok(session);
    }
    let mut session = Session::new(stream, false);
    session.hear().await?.expect(220, "the connection")?;
    session.greet(own_name).await?;
    if session.offers("STARTTLS") {
        session.say("STARTTLS").await?.expect(220, "STARTTLS")?;
        // What came before TLS and was not asked for may be another's (CVE-2011-0411).
        if !session.stream.buffer().is_empty() {
            return Err(Miss::again("the mail server spoke before TLS"));
        }
        let stream = encrypt(session.stream.into_inner()).await?;
        let mut session = Session::new(Box::new(stream) as Box<dyn Duplex>, true);
        session.greet(own_name).await?;
        return Ok(session);
    }
    if is_own && server.allow_private {
        let stream: Box<dyn Duplex> = Box::new(session.stream.into_inner());
        return Ok(Session { stream: BufReader::new(stream), offers: session.offers, is_secret: false });
    }
    Err(Miss::r#final("the mail server does not offer STARTTLS; nothing is sent without TLS"))
}

/// What is said over one connection.
struct Session<S = Box<dyn Duplex>> {
    stream: BufReader<S>,
    /// Extensions that the server offered, in capitals.
    offers: Vec<String>,
    is_secret: bool,
}

/// A reply: its code, and the first line of its text.
#[derive(Debug)]
struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// A 4xx may be different the next time, everything else not.
    fn expect(&self, code: u16, to: &str) -> Result<(), Miss> {
        let class = self.code / 100;
        if self.code == code || (code == 250 && class == 2) {
            return Ok(());
        }
        let first = self.lines.first().map_or("", String::as_str);
        let said: String = first.chars().filter(|char| !is_order(*char)).take(160).collect();
        let why = format!("the mail server answered {} to {to}: {said}", self.code);
        Err(if class == 4 { Miss::unsent(why) } else { Miss::refused(why) })
    }
}

fn broken<E>(_: E) -> Miss {
    Miss::again("the connection to the mail server broke")
}

impl<S: Duplex> Session<S> {
    fn new(stream: S, is_secret: bool) -> Self {
        Self { stream: BufReader::new(stream), offers: Vec::new(), is_secret }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Miss> {
        self.stream.write_all(bytes).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    async fn say(&mut self, line: &str) -> Result<Reply, Miss> {
        if line.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(Miss::refused("an address or a name has a control character"));
        }
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.hear().await
    }

    async fn hear(&mut self) -> Result<Reply, Miss> {
        let nonsense = || Miss::again("the mail server does not speak SMTP");
        let mut lines = Vec::new();
        loop {
            let mut line = Vec::new();
            let most = SMTP_LINE_BYTES_MAX as u64;
            (&mut self.stream).take(most).read_until(b'\n', &mut line).await.map_err(broken)?;
            if line.is_empty() {
                return Err(broken(()));
            }
            let line = line.strip_suffix(b"\n").ok_or_else(nonsense)?.trim_ascii_end();
            let (code, rest) = line.split_at_checked(3).ok_or_else(nonsense)?;
            let code = std::str::from_utf8(code).ok().and_then(|code| code.parse().ok());
            let code = code.filter(|code| (200..600).contains(code)).ok_or_else(nonsense)?;
            let (is_last, text) = match rest.split_first() {
                None => (true, rest),
                Some((b' ', text)) => (true, text),
                Some((b'-', text)) => (false, text),
                Some(_) => return Err(nonsense()),
            };
            lines.push(String::from_utf8_lossy(text).into_owned());
            if is_last {
                return Ok(Reply { code, lines });
            }
            if lines.len() == SMTP_REPLY_LINES_MAX {
                return Err(nonsense());
            }
        }
    }

    async fn greet(&mut self, own_name: &str) -> Result<(), Miss> {
        let reply = self.say(&format!("EHLO {own_name}")).await?;
        reply.expect(250, "EHLO")?;
        self.offers = reply.lines.iter().skip(1).map(|line| line.to_ascii_uppercase()).collect();
        Ok(())
    }

    fn offers(&self, extension: &str) -> bool {
        self.offers.iter().any(|line| line == extension)
    }

    /// PLAIN, or LOGIN where only that is offered.
    async fn log_in(&mut self, login: Option<&(String, SecretString)>) -> Result<(), Miss> {
        let Some((user, password)) = login else { return Ok(()) };
        if !self.is_secret {
            return Err(Miss::r#final("a password is not sent without TLS"));
        }
        let ways = self.offers.iter().find_map(|line| line.strip_prefix("AUTH "));
        let has = |way: &str| ways.is_some_and(|ways| ways.split(' ').any(|offered| offered == way));
        let (plain, login) = (has("PLAIN"), has("LOGIN"));
        let reply = if plain {
            let text = format!("\0{user}\0{}", password.expose_secret());
            self.say(&format!("AUTH PLAIN {}", BASE64.encode(text.as_bytes()))).await?
        } else if login {
            self.say("AUTH LOGIN").await?.expect(334, "AUTH LOGIN")?;
            self.say(&BASE64.encode(user.as_bytes())).await?.expect(334, "the user")?;
            self.say(&BASE64.encode(password.expose_secret().as_bytes())).await?
        } else {
            return Err(Miss::r#final("the mail server offers neither AUTH PLAIN nor AUTH LOGIN"));
        };
        // Its text is not told: a server might repeat what it was told.
        let why = format!("the mail server answered {} to the password", reply.code);
        match reply.code {
            235 => Ok(()),
            400..500 => Err(Miss::again(why)),
            _ => Err(Miss::r#final(why)),
        }
    }
}

/// With a dot before each line that begins with one (RFC 5321, 4.5.2), and the line that ends it.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_message_ends_it() {
        let table = [
            (&b"a\r\n"[..], &b"a\r\n.\r\n"[..]),
            (b"a", b"a\r\n.\r\n"),
            (b".\r\n..\r\na.b\r\n", b"..\r\n...\r\na.b\r\n.\r\n"),
            (b"", b"\r\n.\r\n"),
        ];
        for (message, expected) in table {
            assert_eq!(stuffed(message), expected);
        }
    }

    #[test]
    fn a_4xx_is_tried_again_and_a_5xx_is_not() {
        let reply = |code| Reply { code, lines: vec!["no\u{7}t now".into()] };
        assert_eq!(reply(250).expect(250, "X"), Ok(()));
        assert_eq!(reply(252).expect(250, "X"), Ok(()));
        assert_eq!(
            reply(451).expect(250, "X"),
            Err(Miss::unsent("the mail server answered 451 to X: not now"))
        );
        assert_eq!(
            reply(550).expect(250, "X"),
            Err(Miss::refused("the mail server answered 550 to X: not now"))
        );
        assert!(matches!(reply(250).expect(354, "X"), Err(Miss::Refused { .. })));
    }
}
