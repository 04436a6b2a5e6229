//! The board: what stopped, why, and since when, for a browser or a terminal.
//!
//! Everybody may have its page, which is empty. What it shows needs a token, or the cookie of a session that was opened with one.

mod feed;
mod origin;
mod page;
mod route;
mod sessions;
mod text;

use std::rc::Rc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::answers::{Answer, Content, again, body, list, problem, takes_gzip, unauthorized};
use super::operations::Line;
use super::token::{Token, Tokens};
use crate::clock;
use crate::limits::{BOARD_LOOK, BOARD_SESSION, BODY_READ_SECONDS, ORDER_BYTES_MAX};
use crate::ring::Current;
use feed::{BoardFeed, TooManyViewers};
pub use page::BoardFile;
pub use route::BoardRoute;
pub use sessions::{BoardSessions, Credential};

/// Who asks, and with what.
pub struct BoardAsker<'a> {
    pub headers: &'a HeaderMap,
    pub token: Option<&'a Token>,
    pub credential: Option<Credential>,
}

/// What the plane has of the board.
pub struct Board {
    tokens: Current<Tokens>,
    sessions: BoardSessions,
    feed: BoardFeed,
    /// Cookies do not tell ports apart: each node of a machine has a name of its own.
    cookie: String,
}

/// The field of a browser that says where its stream ended.
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const POLICY: HeaderName = HeaderName::from_static("content-security-policy");
const NO_TOKEN: &str = "what the board shows needs a token: `authorization: Bearer TOKEN`";
const TOO_MANY: &str = "as many viewers watch the board as may; ask again, or use `gemba top`";
const TOO_MANY_OF_ONE: &str =
    "this token watches the board as often as one may; close a board, or use a token of your own";

/// One look in so many is made while nobody watches.
const UNWATCHED: u64 = 4;

/// The body of a request for a session.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

impl Board {
    /// `port` is the plane's, `life` another number with each board.
    pub fn new(tokens: Current<Tokens>, sessions: BoardSessions, port: u16, life: u64) -> Self {
        Self { tokens, sessions, feed: BoardFeed::new(life), cookie: format!("gemba_board_{port}") }
    }

    /// Looks at the line and tells viewers. Without any it looks once a second, to know since when things are as they are.
    pub async fn run(self: Rc<Self>, line: Rc<dyn Line>) {
        let mut look = tokio::time::interval(BOARD_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for looks in 0u64.. {
            look.tick().await;
            if self.feed.is_unwatched() {
                if looks % UNWATCHED == 0 {
                    line.board();
                }
                continue;
            }
            let (tokens, now) = (self.tokens.get(), clock::now());
            self.feed.end_unless(|credential| self.sessions.holds(credential, &tokens, now));
            self.feed.tell(&line.board(), now);
        }
    }

    /// The token of the session whose cookie stands in these headers.
    pub fn token<'t>(&self, headers: &HeaderMap, tokens: &'t Tokens) -> Option<(&'t Token, Credential)> {
        self.sessions.find(self.cookie(headers)?.as_bytes(), tokens, clock::now())
    }

    /// Answers; `taken` is called whenever something of a stream is taken.
    pub async fn answer(
        &self,
        route: BoardRoute,
        line: &dyn Line,
        asker: BoardAsker<'_>,
        sent: &mut Incoming,
        taken: Box<dyn Fn()>,
    ) -> Answer {
        let headers = asker.headers;
        let is_compressed = takes_gzip(&list(headers, ACCEPT_ENCODING));
        let mut answer = match route {
            BoardRoute::Board => board(line, &asker, is_compressed),
            BoardRoute::File(file) => file.answer(headers, is_compressed),
            BoardRoute::Events => self.events(line, &asker, taken),
            BoardRoute::Session => session(asker.token),
            BoardRoute::OpenSession => self.open(headers, sent).await,
            BoardRoute::EndSession => self.end(headers),
        };
        let fields = answer.headers_mut();
        for (name, value) in [
            (POLICY, "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            fields.insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    fn events(&self, line: &dyn Line, asker: &BoardAsker<'_>, taken: Box<dyn Fn()>) -> Answer {
        let Some(shown) = asker.token.zip(asker.credential) else { return unauthorized(NO_TOKEN, "Bearer") };
        if self.feed.is_unwatched() {
            // Nobody looked meanwhile.
            self.feed.tell(&line.board(), clock::now());
        }
        let last = asker.headers.get(LAST_EVENT).and_then(|last| last.to_str().ok());
        let stream = match self.feed.watch(shown, last, taken) {
            Ok(stream) => stream,
            Err(TooManyViewers::OfOne) => return again(TOO_MANY_OF_ONE),
            Err(TooManyViewers::OfAll) => return again(TOO_MANY),
        };
        let mut answer = Response::new(Content::Stream(Box::pin(stream)));
        let fields = answer.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        fields.insert(BUFFERING, HeaderValue::from_static("no"));
        answer
    }

    /// A token for a cookie.
    async fn open(&self, headers: &HeaderMap, sent: &mut Incoming) -> Answer {
        // A browser names the page that asks; nobody else's page opens a session in it.
        if headers.contains_key(ORIGIN)
            && let Err(foreign) = origin::check(headers)
        {
            return problem(StatusCode::FORBIDDEN, &foreign.to_string());
        }
        let login = match login(sent).await {
            Ok(login) => login,
            Err(refused) => return refused,
        };
        let tokens = self.tokens.get();
        let Some(token) = tokens.find(login.token.trim().as_bytes()) else {
            return unauthorized("this token is not one of this node's", "Bearer error=\"invalid_token\"");
        };
        // Who opens one session after another in a browser has one.
        if let Some(before) = self.cookie(headers) {
            self.sessions.end(before.as_bytes());
        }
        let Ok(secret) = self.sessions.open(token, clock::now()) else {
            return again("the system gives no random bytes");
        };
        tracing::info!(target: "gemba::operator", actor = %token.name, "a session of the board was opened");
        let mut answer = session(Some(token));
        self.set_cookie(&mut answer, headers, &secret, BOARD_SESSION.as_secs());
        answer
    }

    fn end(&self, headers: &HeaderMap) -> Answer {
        if let Some(secret) = self.cookie(headers) {
            if let Err(foreign) = origin::check(headers) {
                return problem(StatusCode::FORBIDDEN, &foreign.to_string());
            }
            self.sessions.end(secret.as_bytes());
        }
        let mut answer = uncached(json!({"status": "ended"}).to_string());
        self.set_cookie(&mut answer, headers, "", 0);
        answer
    }

    fn set_cookie(&self, answer: &mut Answer, headers: &HeaderMap, secret: &str, seconds: u64) {
        let secure = if origin::is_over_tls(headers) { "; Secure" } else { "" };
        let cookie =
            format!("{}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}", self.cookie);
        if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
            cookie.set_sensitive(true);
            answer.headers_mut().insert(SET_COOKIE, cookie);
        }
    }

    fn cookie(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = list(headers, COOKIE).replace(',', ";");
        let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, secret)| secret.into())
    }
}

/// Refuses a request that rests on a cookie and may not be the board's own. Nobody else's page can read an answer, so reading is free.
pub fn refuse_foreign(method: &Method, headers: &HeaderMap) -> Option<Answer> {
    let is_order = *method != Method::GET && *method != Method::HEAD;
    let foreign = if is_order { origin::check(headers).err() } else { None };
    foreign.map(|foreign| problem(StatusCode::FORBIDDEN, &foreign.to_string()))
}

/// The page, the same as text, or as JSON.
fn board(line: &dyn Line, asker: &BoardAsker<'_>, is_compressed: bool) -> Answer {
    let accept = list(asker.headers, ACCEPT);
    let wants = |kind: &str| accept.split(',').any(|one| one.trim().starts_with(kind));
    if wants("text/html") {
        let mut answer = BoardFile::Page.answer(asker.headers, is_compressed);
        answer.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        return answer;
    }
    if asker.token.is_none() {
        return unauthorized(NO_TOKEN, "Bearer");
    }
    let view = line.board();
    let mut answer = if wants("application/json") {
        uncached(json!(view).to_string())
    } else {
        body(StatusCode::OK, "text/plain; charset=utf-8", text::text(&view).into())
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Who somebody is here.
fn session(token: Option<&Token>) -> Answer {
    let Some(token) = token else { return unauthorized(NO_TOKEN, "Bearer") };
    uncached(json!({"name": token.name, "role": token.role.into_str()}).to_string())
}

fn uncached(json: String) -> Answer {
    let mut answer = body(StatusCode::OK, "application/json", json.into());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

async fn login(sent: &mut Incoming) -> Result<Login, Answer> {
    let limit = Duration::from_secs(u64::from(BODY_READ_SECONDS));
    let read = tokio::time::timeout(limit, Limited::new(sent, ORDER_BYTES_MAX).collect()).await;
    let late = |_| problem(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
    // What stands in the body is a token: no error repeats it.
    let wrong = || problem(StatusCode::BAD_REQUEST, "the body must be {\"token\": \"…\"}");
    let bytes = read.map_err(late)?.map_err(|_| wrong())?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|_| wrong())
}
