//! Asks the operator plane of a running node.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::{AUTHORIZATION, HOST, IF_MATCH};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretSlice};
use serde_json::{Value, json};

use super::configured::Configured;
use super::output::{Failure, cell};
use crate::config::Place;
use crate::config::secret::{Chooser, Kept, SecretRef};
use crate::diagnostics::say;
use crate::ingress::answer::{NO_SUCH_PATH, WITH_POST};
use crate::net::plane::Plane;
use crate::operator::operations::of_command;

/// How a node's operator plane is reached.
#[derive(Args, Debug)]
// `gemba halt reach` has a group of its own name.
#[group(id = "operator-plane")]
pub struct Reach {
    /// URL of the operator plane, or its host and port; by default as configured
    #[arg(long, value_name = "URL")]
    admin: Option<Plane>,
    /// File with a token; by default the first configured one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    configured: Configured,
}

/// Bounds of one answer of a node.
#[derive(Clone, Copy, Debug)]
pub struct AnswerBounds {
    pub bytes: usize,
    pub wait: Duration,
}

impl AnswerBounds {
    pub const MAX: Self = Self { bytes: 16 << 20, wait: Duration::from_secs(10) };
}

/// A node's operator plane, and the token for it.
pub struct Client {
    admin: String,
    /// The other nodes of the configuration. They have the same tokens; nothing that a node answers adds to them, so the token goes
    /// nowhere else.
    peers: Vec<Peer>,
    token: SecretSlice<u8>,
    runtime: tokio::runtime::Runtime,
}

/// Another node, and its operator plane.
#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

/// An answer, and the node that gave it where that is not the one that was asked first.
pub struct PeerAnswer {
    pub value: Value,
    pub peer: Option<Peer>,
}

impl PeerAnswer {
    /// The answer as JSON, with who gave it.
    pub fn value(self) -> Value {
        match self.peer {
            Some(peer) => answered_by(self.value, &peer),
            None => self.value,
        }
    }

    /// A line that says who answered; nothing where that is the node that was asked.
    pub fn by(&self) -> String {
        self.peer.as_ref().map_or_else(String::new, |peer| format!("answered by {peer}\n"))
    }
}

/// The same object, with the name and the address of the node that it is of.
pub fn answered_by(mut value: Value, peer: &Peer) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert("answered_by".into(), json!({"name": peer.name, "address": peer.address}));
    }
    value
}

/// Why a node has no answer.
pub struct Unanswered {
    failure: Failure,
    /// It does not know what is asked for, and another node may.
    is_elsewhere: bool,
}

impl From<Unanswered> for Failure {
    fn from(why: Unanswered) -> Self {
        why.failure
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self { failure, is_elsewhere: false }
    }
}

/// What nodes answered, each with its name where that is not the one that was asked first, and what to say of those that did not.
pub struct FromPeers<T> {
    pub answers: Vec<(Option<Peer>, T)>,
    pub missing: Vec<String>,
}

/// A node that a command asks.
#[derive(Clone, Copy)]
pub struct AskedNode<'a> {
    client: &'a Client,
    authority: &'a str,
}

impl AskedNode<'_> {
    pub fn authority(&self) -> &str {
        self.authority
    }

    /// Sends the operation of a command. Returns the answer, and its length in bytes.
    pub fn send(
        &self,
        command: &str,
        sent: &Sent<'_>,
        bounds: AnswerBounds,
    ) -> Result<(Value, usize), Unanswered> {
        let body = self.client.exchange(self.authority, command, sent, bounds)?;
        let value = serde_json::from_slice(&body).map_err(|_| no_json(self.authority, StatusCode::OK))?;
        Ok((value, body.len()))
    }
}

impl Reach {
    /// Finds address and token.
    pub fn client(&self) -> Result<Client, Failure> {
        let config = self.configured.load(None)?;
        let admin = self.admin.as_ref().map_or_else(|| config.admin_listen.to_string(), Plane::authority);
        let token = match (&self.token_file, config.tokens.first()) {
            (Some(file), _) => token_in(file).read()?,
            (None, Some(token)) => {
                SecretRef { chosen_by: Chooser::Node(TOKEN_IS), ..token.secret.clone() }.read()?
            }
            (None, None) => {
                return Err(Failure::usage("no token is configured").hint(TOKEN_IS));
            }
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::io)?;
        let planes = config.peers.iter().map(|peer| {
            Ok(Peer { name: peer.name.clone(), address: peer.url.parse::<Plane>()?.authority() })
        });
        let peers: Result<Vec<_>, &str> = planes.collect();
        let mut peers = peers.map_err(|why| Failure::usage(format!("`admin.peers.url`: {why}")))?;
        peers.retain(|peer| peer.address != admin);
        Ok(Client { admin, peers, token, runtime })
    }

    /// The data directory of the configuration.
    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        Ok(self.configured.load(None)?.data_dir)
    }

    /// Sends the operation of a command.
    pub fn send(&self, command: &str, sent: &Sent<'_>) -> Result<Value, Failure> {
        self.client()?.send(command, sent)
    }
}

/// What is sent beside the name of an operation.
#[derive(Debug, Default)]
pub struct Sent<'a> {
    /// In place of the parts of the path that vary.
    pub parts: &'a [&'a str],
    /// What stands behind the `?`.
    pub query: &'a str,
    pub order: Option<&'a Value>,
    /// What must hold for the order to be carried out.
    pub if_match: Option<&'a str>,
}

impl Client {
    /// Sends the operation of a command.
    pub fn send(&self, command: &str, sent: &Sent<'_>) -> Result<Value, Failure> {
        self.send_to(&self.admin, command, sent).map_err(|why| why.failure)
    }

    /// The same, of an operation that answers with text.
    pub fn text(&self, command: &str) -> Result<String, Failure> {
        let body = self.exchange(&self.admin, command, &Sent::default(), AnswerBounds::MAX);
        let body = body.map_err(|why| why.failure)?;
        String::from_utf8(body.into())
            .map_err(|_| Failure::io(format!("{} answered what is not UTF-8", self.admin)))
    }

    /// The node that the command was pointed at.
    pub fn node(&self) -> AskedNode<'_> {
        AskedNode { client: self, authority: &self.admin }
    }

    /// Asks for something that one node knows: where this one does not, its peers in turn. `named` are the fields by which the answer
    /// names what was asked for: an answer about something else is refused. `is_whole` says whether an answer is all that there may
    /// be; the best one is returned.
    pub fn ask_on(
        &self,
        command: &str,
        sent: &Sent<'_>,
        named: &[(&str, &str)],
        is_whole: impl Fn(&Value) -> bool,
    ) -> Result<PeerAnswer, Failure> {
        let own = |value| PeerAnswer { value, peer: None };
        let ask = |authority: &str| {
            let value = self.send_to(authority, command, sent)?;
            for (field, asked) in named {
                let found = value.get(field);
                if found.and_then(Value::as_str) != Some(asked) {
                    let told = format!("{authority} answered about another {field}: {}", cell(found));
                    return Err(Unanswered::from(Failure::io(told)));
                }
            }
            Ok(value)
        };
        let first = match ask(&self.admin) {
            Ok(value) if is_whole(&value) => return Ok(own(value)),
            Err(Unanswered { failure, is_elsewhere: false }) => return Err(failure),
            other => other,
        };
        let mut asked = Vec::new();
        let mut partial = None;
        for peer in &self.peers {
            match ask(&peer.address) {
                Ok(value) => {
                    let answered = PeerAnswer { peer: Some(peer.clone()), value };
                    if is_whole(&answered.value) {
                        return Ok(answered);
                    }
                    partial = partial.or(Some(answered));
                }
                Err(Unanswered { failure, .. }) => asked.push(format!("{}: {}", peer.name, failure.what())),
            }
        }
        match (first, partial) {
            (Ok(value), _) => Ok(own(value)),
            (Err(_), Some(answered)) => Ok(answered),
            (Err(Unanswered { failure, .. }), None) if asked.is_empty() => Err(failure),
            (Err(Unanswered { failure, .. }), None) => {
                Err(failure.hint(format!("its peers were asked, too: {}", asked.join("; "))))
            }
        }
    }

    /// The peer that knows what this node says that it does not. One that does not answer is passed over, with a warning: an order may
    /// not wait for it.
    pub fn known_elsewhere(&self, command: &str, sent: &Sent<'_>) -> Option<Peer> {
        let is_missing = |admin: &str| match self.send_to(admin, command, sent) {
            Err(Unanswered { is_elsewhere: true, .. }) => Ok(true),
            Ok(_) => Ok(false),
            Err(Unanswered { failure, .. }) => Err(failure),
        };
        // What is wrong otherwise, the order says.
        if self.peers.is_empty() || !is_missing(&self.admin).unwrap_or(false) {
            return None;
        }
        for peer in &self.peers {
            match is_missing(&peer.address) {
                Ok(false) => return Some(peer.clone()),
                Ok(true) => {}
                Err(why) => {
                    say(&format!("warning: {} may know, and cannot be asked: {}", peer.name, why.what()));
                }
            }
        }
        None
    }

    /// Asks this node, and all its peers where it is not the one that knows: each has a part.
    pub fn ask_all<T>(
        &self,
        ask: impl Fn(AskedNode<'_>) -> Result<T, Unanswered>,
    ) -> Result<FromPeers<T>, Failure> {
        let failure = match ask(self.node()) {
            Ok(value) => return Ok(FromPeers { answers: vec![(None, value)], missing: Vec::new() }),
            Err(Unanswered { failure, is_elsewhere }) if !is_elsewhere || self.peers.is_empty() => {
                return Err(failure);
            }
            Err(Unanswered { failure, .. }) => failure,
        };
        let mut all = FromPeers { answers: Vec::new(), missing: Vec::new() };
        for peer in &self.peers {
            match ask(AskedNode { client: self, authority: &peer.address }) {
                Ok(value) => all.answers.push((Some(peer.clone()), value)),
                Err(Unanswered { failure, .. }) => {
                    all.missing.push(format!("{}: {}", peer.name, failure.what()));
                }
            }
        }
        if all.answers.is_empty() {
            return Err(failure.hint(format!("its peers were asked, too: {}", all.missing.join("; "))));
        }
        Ok(all)
    }

    fn send_to(&self, authority: &str, command: &str, sent: &Sent<'_>) -> Result<Value, Unanswered> {
        let node = AskedNode { client: self, authority };
        node.send(command, sent, AnswerBounds::MAX).map(|(value, _)| value)
    }

    fn exchange(
        &self,
        admin: &str,
        command: &str,
        Sent { parts, query, order, if_match }: &Sent<'_>,
        bounds: AnswerBounds,
    ) -> Result<Bytes, Unanswered> {
        let operation = of_command(command);
        let operation =
            operation.ok_or_else(|| Failure::io(format!("{command} is no operation of a node")))?;
        let mut path = operation.path_to(parts);
        if !query.is_empty() {
            path = path + "?" + query;
        }
        let body = order.map(serde_json::to_vec).transpose().map_err(Failure::io)?.unwrap_or_default();
        let request = Request::builder().method(operation.method()).uri(path);
        let request = if_match.iter().fold(request, |request, tag| request.header(IF_MATCH, *tag));
        let Self { token, runtime, .. } = self;
        let body = Bytes::from(body);
        let AnswerBounds { bytes, wait } = bounds;
        let asked = async { tokio::time::timeout(wait, ask(admin, request, body, token, bytes)).await };
        let (status, body) = runtime
            .block_on(asked)
            .map_err(|_| Failure::io(format!("{admin} did not answer within {wait:?}")))??;
        if status == StatusCode::OK {
            return Ok(body);
        }
        let value: Value = serde_json::from_slice(&body).map_err(|_| no_json(admin, status))?;
        if status == StatusCode::ACCEPTED {
            return Err(waiting(value.get("request").unwrap_or(&Value::Null)).into());
        }
        let detail = value.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
        if [NO_SUCH_PATH, WITH_POST].contains(&detail) {
            let what = format!("{admin} looks like the data plane of a node, where signals go");
            return Err(Failure::usage(what)
                .hint("name the operator plane, as `admin.listen` of its configuration has it; by default it is port 9090")
                .into());
        }
        let told = format!("{admin} answered {}: {detail}", status.as_u16());
        // What is not so there is a failed check; what is wrong with the question, wrong use.
        let failure = match status {
            StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::UNPROCESSABLE_ENTITY => {
                let (failure, named) = (Failure::check(told), named_peers(&value));
                if named.is_empty() {
                    failure
                } else {
                    failure.hint(format!("another node may know: {named}"))
                }
            }
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Failure::usage(told),
            StatusCode::UNAUTHORIZED => Failure::io(format!(
                "{admin} answered 401: it does not know this token"
            ))
            .hint(
                "name the file of a token of this node with --token-file, or its configuration with --config",
            ),
            _ => Failure::io(told),
        };
        Err(Unanswered { failure, is_elsewhere: status == StatusCode::NOT_FOUND })
    }
}

/// An order that waits for a second person.
fn waiting(request: &Value) -> Failure {
    let [id, role, told] = ["id", "role", "request"].map(|name| cell(request.get(name)));
    let concerns =
        request.get("concerns").map_or_else(String::new, |text| "\n".to_owned() + &cell(Some(text)));
    let within = lapses_in(request);
    Failure::waiting(format!("nothing is changed yet: the order waits as request {id}\n{told}{concerns}")).hint(
        format!("somebody else with the role {role} approves it within {within}: gemba request approve {id} --reason …"),
    )
}

/// How long an order waits yet.
pub fn lapses_in(request: &Value) -> String {
    let seconds = request.get("lapses_in_seconds").and_then(Value::as_u64);
    seconds.map_or_else(|| "-".into(), |seconds| format!("{} min", seconds.div_ceil(60)))
}

fn no_json(admin: &str, status: StatusCode) -> Failure {
    Failure::io(format!("{admin} answered {status} and no JSON: is it a gemba operator plane?"))
}

/// The nodes that an answer names, for people.
fn named_peers(problem: &Value) -> String {
    let peers = problem.get("peers").and_then(Value::as_array).into_iter().flatten();
    let named = |peer: &Value| format!("{} at {}", cell(peer.get("name")), cell(peer.get("url")));
    peers.map(named).collect::<Vec<_>>().join(", ")
}

/// Where a token is that the node knows: one that is made here is of no use.
const TOKEN_IS: &str = "name the file of a token of the node with --token-file, or the node's configuration and directory \
                        with --config and --data-dir";

fn token_in(file: &Path) -> SecretRef {
    SecretRef {
        kept: Kept::File(file.to_owned()),
        what: "the token".into(),
        key: "--token-file".into(),
        place: Place::named("--token-file"),
        chosen_by: Chooser::Node(TOKEN_IS),
    }
}

async fn ask(
    admin: &str,
    request: Builder,
    body: Bytes,
    token: &SecretSlice<u8>,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), Failure> {
    let unreachable = |error: std::io::Error| {
        Failure::io(format!("{admin}: {error}"))
            .hint("is the node running? `gemba serve` says where it listens")
    };
    let socket = tokio::net::TcpStream::connect(admin).await.map_err(unreachable)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(Failure::io)?;
    let exchange = async {
        let bearer = [b"Bearer ".as_slice(), token.expose_secret()].concat();
        let request = request.header(HOST, admin).header(AUTHORIZATION, bearer);
        let request = request.body(Full::new(body)).map_err(Failure::io)?;
        let answer = sender.send_request(request).await.map_err(Failure::io)?;
        let status = answer.status();
        let too_long = |error: Box<dyn std::error::Error + Send + Sync>| {
            if error.is::<LengthLimitError>() {
                return Failure::io(format!("{admin} answered with more than {bytes_max} bytes"));
            }
            Failure::io(error)
        };
        let body = Limited::new(answer.into_body(), bytes_max).collect().await.map_err(too_long)?;
        Ok((status, body.to_bytes()))
    };
    tokio::select! {
        // The connection moves only while it is polled; its own end shows in the exchange.
        Err(error) = connection => Err(Failure::io(error)),
        answer = exchange => answer,
    }
}
