//! The plane's HTTP: limits, tokens, answers.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CONNECTION, ETAG, EXPECT, HeaderMap, HeaderValue,
    IF_MATCH, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::access::{Asker, Denied, Need, Presented, authorize, is_own};
use super::answers::{Answer, again, body, compressed, list, problem, takes_gzip, unauthorized};
use super::board::{Board, BoardAsker, BoardRoute, BoardSessions, Credential, refuse_foreign};
use super::operations::{Asked, Body, Failed, Line, NoOperation, Operation, Shown, carry_out, find};
use super::orders;
use super::query::Query;
use super::requests::{Approved, GivenOrder, RequestView, Requests};
use super::seats::{Kind, Seat, Seats};
use super::strict_socket::StrictSocket;
use super::terms::{Refused, RequestRoute};
use super::token::{Token, Tokens};
use crate::kaizen::Format;
use crate::limits;
use crate::net::backoff::random;
use crate::net::listen::AsyncAcceptor;
use crate::net::problem::{ItemProblem, Problem};
use crate::net::{address, host};
use crate::place::ConfigError;
use crate::ring::{Current, Switch};

/// Serves until `stop`.
///
/// # Errors
/// When the listener cannot be waited for.
pub fn serve(
    listener: TcpListener,
    (tokens, sessions): (Current<Tokens>, BoardSessions),
    line: Rc<dyn Line>,
    stop: Switch,
) -> io::Result<impl Future<Output = ()>> {
    let port = listener.local_addr()?.port();
    let listener = AsyncAcceptor::new(listener)?;
    let board = Rc::new(Board::new(tokens.clone(), sessions, port, random()));
    let requests = Rc::new(RefCell::new(Requests::new(random())));
    let plane = Plane { tokens, line, seats: Rc::default(), board, requests };
    Ok(async move {
        let telling = Rc::clone(&plane.board).run(Rc::clone(&plane.line));
        tokio::select! {
            () = accept(listener, plane, stop) => {}
            () = telling => {}
        }
    })
}

/// What all connections share.
#[derive(Clone)]
struct Plane {
    tokens: Current<Tokens>,
    line: Rc<dyn Line>,
    seats: Rc<RefCell<Seats>>,
    board: Rc<Board>,
    /// Orders that wait for a second person.
    requests: Rc<RefCell<Requests>>,
}

/// Orders to end are heard within this.
const LOOK: Duration = Duration::from_millis(200);
/// How long no connection is accepted after the network or the system refused to give one.
const PAUSE: Duration = Duration::from_millis(50);
/// A connection of an operator lives this long; then its next answer is the last.
const CONNECTION_LIFE: Duration = Duration::from_mins(10);

async fn accept(mut listener: AsyncAcceptor, plane: Plane, stop: Switch) {
    while !stop.is_on() {
        match tokio::time::timeout(LOOK, listener.accept()).await {
            Ok(Ok((socket, peer))) => connected(&plane, socket, address::canonical(peer.ip())),
            Ok(Err(_)) => tokio::time::sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}

/// Serves a connection on a task of its own.
fn connected(plane: &Plane, socket: TcpStream, peer: IpAddr) {
    let seat = plane.seats.borrow_mut().admit(address::client(peer));
    let now = Instant::now();
    let connection = Rc::new(Connection {
        plane: plane.clone(),
        peer,
        begun: now,
        until: Rc::new(Cell::new(now + seconds(patience(seat.kind)))),
        kind: Cell::new(seat.kind),
        seat,
    });
    tokio::task::spawn_local(connection.run(socket));
}

/// One connection; its seat is free again when it is dropped.
struct Connection {
    plane: Plane,
    peer: IpAddr,
    seat: Seat,
    /// Of its seat, by now.
    kind: Cell<Kind>,
    begun: Instant,
    /// It ends by then, whatever it does: each request and each answer moves this on.
    until: Rc<Cell<Instant>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.plane.seats.borrow_mut().leave(self.seat.id);
    }
}

impl Connection {
    async fn run(self: Rc<Self>, socket: TcpStream) {
        let serving = Rc::clone(&self);
        let service = service_fn(move |request: Request<Incoming>| {
            let connection = Rc::clone(&serving);
            async move { Ok::<_, Infallible>(connection.answer(request).await) }
        });
        let serving = http1::Builder::new()
            .max_headers(limits::HEADERS_MAX)
            .max_buf_size(limits::HEADER_BYTES_MAX as usize)
            .serve_connection(StrictSocket::new(socket), service);
        tokio::select! {
            // A broken connection concerns its client alone.
            _ended = serving => {}
            () = self.overstays() => {}
            () = self.seat.taken.notified() => {}
        }
    }

    async fn overstays(&self) {
        while Instant::now() < self.until.get() {
            tokio::time::sleep_until(self.until.get()).await;
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        self.until.set(Instant::now() + seconds(limits::OPERATOR_ANSWER_SECONDS));
        let mut answer = self.answer_to(request).await;
        let now = Instant::now();
        let is_last = match self.kind.get() {
            Kind::Health | Kind::Board => true,
            Kind::General => now - self.begun >= CONNECTION_LIFE,
        };
        if is_last {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // What is written has to be taken, and the next request to be here, by then.
        self.until.set(now + seconds(patience(self.kind.get())));
        answer
    }

    /// Answers, and sees to what is left of the body: the next request begins after it.
    async fn answer_to(&self, request: Request<Incoming>) -> Answer {
        let (parts, mut body) = request.into_parts();
        let mut answer = self.answer_head(&parts, &mut body).await;
        // Nobody looks at the framing of what follows a body in chunks.
        let is_last = parts.headers.contains_key(TRANSFER_ENCODING);
        if is_last || !body.is_end_stream() && !is_discarded(&parts.headers, &mut body).await {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn answer_head(&self, request: &Parts, body: &mut Incoming) -> Answer {
        if !host::is_clear(request.version, &request.uri, &request.headers) {
            return problem(StatusCode::BAD_REQUEST, "name one host, in Host, and the same in the target");
        }
        let (operation, parts) = match find(&request.method, request.uri.path()) {
            Ok(found) => found,
            Err(none) => return not_found(&none),
        };
        let tokens = self.plane.tokens.get();
        let (asker, _) = match self.admit(&tokens, operation, request) {
            Ok(admitted) => admitted,
            Err(refused) => return *refused,
        };
        // Being on this machine is no right to a seat: a token is. Who watches the board needs none.
        if let Some(token) = asker.token
            && !operation.is_watched()
        {
            self.kind.set(self.plane.seats.borrow_mut().trust(self.seat.id, token));
        }
        if self.kind.get() == Kind::Health && operation.need != Need::Nothing && !operation.is_watched() {
            let detail = "too many connections of this token, or of operators, are open; this one answers /livez and /readyz";
            return again(detail);
        }
        let query = match Query::read(request.uri.query().unwrap_or_default(), operation.parameters()) {
            Ok(query) => query,
            Err(what) => return problem(StatusCode::BAD_REQUEST, &what),
        };
        let format = Format::accepted(&list(&request.headers, ACCEPT));
        let if_match = request.headers.contains_key(IF_MATCH).then(|| list(&request.headers, IF_MATCH));
        let mut asked = Asked { parts, query, format, if_match, ..Asked::default() };
        if request.method == Method::POST
            && operation.body() != Body::Token
            && let Err(why) = orders::read(&mut asked, operation.body(), body).await
        {
            return problem(why.status(), why.what());
        }
        // The body may have come slowly: a token that was taken back meanwhile orders nothing.
        let tokens = self.plane.tokens.get();
        let (asker, credential) = match self.admit(&tokens, operation, request) {
            Ok(admitted) => admitted,
            Err(refused) => return *refused,
        };
        asked.is_trusted = asker.is_trusted;
        // Every order needs a role, so somebody is known there.
        asked.is_by(asker.token.map_or("", |token| &*token.name));
        let mut answered = if operation.command.is_some_and(|command| tokens.needs_second(command)) {
            self.put_away(operation, &asked, asker.token).await
        } else {
            operation.answer(&*self.plane.line, &asked).await
        };
        if let Ok(Shown::Requests(route)) = answered {
            answered = self.requests(route, &asked, (&tokens, asker.token)).await;
        }
        match answered {
            Ok(Shown::Board(route)) => {
                let asker = BoardAsker { headers: &request.headers, token: asker.token, credential };
                self.board(route, asker, body).await
            }
            Ok(shown) => show(shown, takes_gzip(&list(&request.headers, ACCEPT_ENCODING))),
            Err(Failed::Wrong(what)) => problem(StatusCode::BAD_REQUEST, &what),
            Err(Failed::Refused(why)) => refusal(&why, &request.method, &*self.plane.line),
        }
    }
}

impl Connection {
    /// Who asks, if they may ask this now.
    fn admit<'t>(
        &self,
        tokens: &'t Tokens,
        operation: &Operation,
        request: &Parts,
    ) -> Result<(Asker<'t>, Option<Credential>), Box<Answer>> {
        let bearer = bearer(&request.headers);
        let bearer = bearer.map_err(|Duplicated| {
            Box::new(problem(StatusCode::BAD_REQUEST, "the field `authorization` is duplicated"))
        })?;
        let (presented, credential) = self.presented(tokens, bearer, &request.headers);
        let asker = authorize(is_own(self.peer, &request.headers), operation.need, presented)
            .map_err(|denied| Box::new(denial(denied)))?;
        if let Some(Credential::Session(_)) = credential
            && let Some(refused) = refuse_foreign(&request.method, &request.headers)
        {
            return Err(Box::new(refused));
        }
        Ok((asker, credential))
    }

    /// What who asks has shown: a token, or the cookie of a session. A token comes first.
    fn presented<'t>(
        &self,
        tokens: &'t Tokens,
        bearer: Option<&[u8]>,
        headers: &HeaderMap,
    ) -> (Presented<'t>, Option<Credential>) {
        match bearer.map(|bearer| tokens.find(bearer)) {
            Some(Some(token)) => (Presented::Token(token), Some(Credential::Token(token.digest))),
            Some(None) => (Presented::Unknown, None),
            None => match self.plane.board.token(headers, tokens) {
                Some((token, credential)) => (Presented::Token(token), Some(credential)),
                None => (Presented::Nothing, None),
            },
        }
    }

    /// Has an order wait for a second person, once it is read, checked, and what it comes to is taken down. One that changes nothing
    /// waits for nobody.
    async fn put_away(
        &self,
        operation: &'static Operation,
        asked: &Asked,
        token: Option<&Token>,
    ) -> Result<Shown, Failed> {
        let first = token.ok_or_else(|| Failed::Wrong(NO_TOKEN.into()))?;
        let order = operation.order(asked).ok_or_else(|| Failed::Wrong("this orders nothing".into()))?;
        let (command, said) = order?;
        let says_all = command.says_all();
        let resolved = self.plane.line.resolve(command.clone()).await;
        let resolved = resolved.map_err(|refused| Failed::of_order(says_all, refused))?;
        if resolved.changes_nothing {
            return carry_out(&*self.plane.line, command, said, Some(resolved)).await;
        }
        let ordered = GivenOrder { command, resolved, said };
        self.plane.requests.borrow_mut().add((operation, asked), ordered, first).map(Shown::Waits)
    }

    /// What the plane itself answers on orders that wait.
    async fn requests(
        &self,
        route: RequestRoute,
        asked: &Asked,
        (tokens, token): (&Tokens, Option<&Token>),
    ) -> Result<Shown, Failed> {
        let requests = &self.plane.requests;
        let shown = match route {
            RequestRoute::List => json!({"requests": requests.borrow_mut().list()}),
            RequestRoute::Approve => {
                let second = token.ok_or_else(|| Failed::Wrong(NO_TOKEN.into()))?;
                let approved =
                    requests.borrow_mut().approve(asked.part(0), (tokens, second), &asked.said()?)?;
                // Apart: what was begun is brought to its end, and is known to have ended, when who approved has long gone.
                let carrying = tokio::task::spawn_local(carry_out_approved(self.plane.clone(), approved));
                return carrying.await.map_err(|_| Failed::Refused(Refused::Unavailable))?;
            }
            RequestRoute::Refuse => {
                let (said, by) = (asked.said()?, token.ok_or_else(|| Failed::Wrong(NO_TOKEN.into()))?);
                requests.borrow_mut().refuse(asked.part(0), (tokens, by))?;
                tracing::info!(
                    target: "gemba::operator",
                    actor = %&*said.actor,
                    reason = %&*said.reason,
                    request = asked.part(0),
                    "an order that waited for a second person was refused"
                );
                json!({"status": "refused"})
            }
        };
        Ok(Shown::Json(shown.to_string().into_bytes()))
    }

    async fn board(&self, route: BoardRoute, asker: BoardAsker<'_>, sent: &mut Incoming) -> Answer {
        let until = Rc::clone(&self.until);
        // Each event that is taken shows that somebody is there.
        let taken = Box::new(move || until.set(Instant::now() + seconds(limits::BOARD_SLOW_SECONDS)));
        let answer = self.plane.board.answer(route, &*self.plane.line, asker, sent, taken).await;
        if route == BoardRoute::Events && answer.status() == StatusCode::OK {
            self.plane.seats.borrow_mut().watch(self.seat.id);
            self.kind.set(Kind::Board);
        }
        answer
    }
}

const NO_TOKEN: &str = "a token is needed";

/// Carries out what two persons want. It waits on where it is not carried out, and where this ends with the plane or by a panic.
async fn carry_out_approved(plane: Plane, approved: Approved) -> Result<Shown, Failed> {
    let Approved { number, ordered, view } = approved;
    let mut under_way =
        UnderWay { requests: Rc::clone(&plane.requests), number, ended: Some(NOT_ENDED.into()) };
    let GivenOrder { command, resolved, said } = ordered;
    let done = carry_out(&*plane.line, command, said, Some(resolved)).await;
    under_way.ended = done.as_ref().err().map(|failed| {
        let is_unknown = matches!(failed, Failed::Refused(Refused::Unavailable));
        if is_unknown { NOT_ENDED.into() } else { failed.to_string() }
    });
    Ok(with_request(done?, &view))
}

/// The answer of an order, with what was ordered: who approves sees that it is what they meant.
fn with_request(shown: Shown, view: &RequestView) -> Shown {
    let add = |json: Vec<u8>| match serde_json::from_slice::<Value>(&json) {
        Ok(Value::Object(mut answer)) => {
            answer.insert("request".into(), json!(view));
            Value::from(answer).to_string().into_bytes()
        }
        Ok(_) | Err(_) => json,
    };
    match shown {
        Shown::Json(json) => Shown::Json(add(json)),
        Shown::Tagged(json, tag) => Shown::Tagged(add(json), tag),
        // No order is answered so.
        other @ (Shown::NotReady(_)
        | Shown::Waits(_)
        | Shown::Metrics(..)
        | Shown::Board(_)
        | Shown::Requests(_)) => other,
    }
}

const NOT_ENDED: &str = "it may have been carried out: how it ended is not known";

/// An order that is approved; how it ended is noted when this is dropped.
struct UnderWay {
    requests: Rc<RefCell<Requests>>,
    number: u64,
    /// Why it was not carried out; `None` if it was.
    ended: Option<String>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.requests.borrow_mut().end(self.number, self.ended.take());
    }
}

/// Seconds that a connection with such a seat may be without a request.
fn patience(kind: Kind) -> u32 {
    match kind {
        Kind::General => limits::OPERATOR_IDLE_SECONDS,
        Kind::Health => limits::HEALTH_SECONDS,
        Kind::Board => limits::BOARD_SLOW_SECONDS,
    }
}

/// Reads and drops the rest of a body of usual size; false where it is longer or does not come at once, or where the client
/// waits for a word before it sends any.
async fn is_discarded(headers: &HeaderMap, body: &mut Incoming) -> bool {
    let limit = seconds(limits::BODY_GRACE_SECONDS);
    let rest = Limited::new(body, limits::BODY_BYTES_MAX).collect();
    !headers.contains_key(EXPECT) && matches!(tokio::time::timeout(limit, rest).await, Ok(Ok(_)))
}

struct Duplicated;

/// The token of a request: the scheme in any case (RFC 9110, section 11.1), then spaces (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Duplicated> {
    let mut fields = headers.get_all(AUTHORIZATION).into_iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Duplicated);
    }
    Ok(first.and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii_start())
    }))
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds))
}

fn not_found(none: &NoOperation) -> Answer {
    match none {
        NoOperation::NotFound => problem(StatusCode::NOT_FOUND, "there is nothing at this path"),
        NoOperation::Encoding => problem(StatusCode::BAD_REQUEST, "the path is not percent-encoded UTF-8"),
        NoOperation::Method(allowed) => {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "this path has another method");
            // The table's methods are fit for a header.
            if let Ok(allowed) = HeaderValue::from_str(allowed) {
                answer.headers_mut().insert(ALLOW, allowed);
            }
            answer
        }
    }
}

/// What to do about an order without an answer.
const MAY_HOLD: &str =
    "an order may hold all the same: look at what it concerns, or at `gemba audit`, before you send it again";

/// An order may be in the journal although nobody saw it carried out.
fn unavailable(refused: &Refused, method: &Method) -> String {
    if method == Method::POST { format!("{refused}; {MAY_HOLD}") } else { refused.to_string() }
}

/// What another node decides on is not found here by who reads it, and is a conflict for who orders it.
fn refusal(refused: &Refused, method: &Method, line: &dyn Line) -> Answer {
    let status = match refused {
        Refused::Unavailable => return again(&unavailable(refused, method)),
        Refused::Invalid(errors) => return invalid(refused, errors),
        Refused::Forbidden(_) => StatusCode::FORBIDDEN,
        Refused::Stale(_) => StatusCode::PRECONDITION_FAILED,
        Refused::NotOwned(_) if method != Method::POST => StatusCode::NOT_FOUND,
        Refused::Missing(_) => StatusCode::NOT_FOUND,
        Refused::Conflict(_) | Refused::NotOwned(_) => StatusCode::CONFLICT,
        Refused::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let mut told = Problem::new(status, refused.to_string());
    if matches!(refused, Refused::NotOwned(_) | Refused::Missing(_)) {
        told.peers = line.peers();
    }
    body(status, "application/problem+json", told.to_json())
}

/// Names everything that is wrong.
fn invalid(refused: &Refused, errors: &[ConfigError]) -> Answer {
    let mut told = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, refused.to_string());
    told.errors = errors
        .iter()
        .map(|ConfigError { place, what, hint }| ItemProblem {
            place: Some(place.to_string()),
            detail: what.clone(),
            hint: hint.clone(),
            ..ItemProblem::default()
        })
        .collect();
    body(told.status, "application/problem+json", told.to_json())
}

fn denial(denied: Denied) -> Answer {
    match denied {
        Denied::Lesser(needed) => problem(
            StatusCode::FORBIDDEN,
            &format!("the role {} is needed: use a token that has it", needed.into_str()),
        ),
        Denied::NoToken => unauthorized("a bearer token is needed", "Bearer"),
        Denied::Unknown => {
            unauthorized("this bearer token is not one of this node's", "Bearer error=\"invalid_token\"")
        }
    }
}

fn show(shown: Shown, takes_gzip: bool) -> Answer {
    match shown {
        Shown::Json(json) => body(StatusCode::OK, "application/json", json.into()),
        Shown::Tagged(json, tag) => {
            let mut answer = body(StatusCode::OK, "application/json", json.into());
            if let Ok(tag) = HeaderValue::from_str(&tag) {
                answer.headers_mut().insert(ETAG, tag);
            }
            answer
        }
        Shown::Waits(json) => body(StatusCode::ACCEPTED, "application/json", json.into()),
        Shown::NotReady(json) => body(StatusCode::SERVICE_UNAVAILABLE, "application/json", json.into()),
        // The plane has answered that.
        Shown::Board(_) | Shown::Requests(_) => {
            problem(StatusCode::NOT_FOUND, "there is nothing at this path")
        }
        Shown::Metrics(format, text) => compressed(format.content_type(), text.into_bytes(), takes_gzip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_without_an_answer_may_hold_and_a_question_cannot() {
        let told = |method| unavailable(&Refused::Unavailable, &method);
        assert_eq!(told(Method::GET), "the line does not answer now");
        assert!(told(Method::POST).contains("may hold all the same: look at"), "{}", told(Method::POST));
    }
}
