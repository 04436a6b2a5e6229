//! The plane's HTTP: limits, tokens, answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;

use super::orders::{self, Failed};
use super::routes::{NoRoute, Route, find};
use super::{Line, Token, Tokens, Unavailable, query};
use crate::event::Subject;
use crate::limits;
use crate::net::problem::Problem;
use crate::ring::Switch;

type Answer = Response<Full<Bytes>>;

/// Serves until `stop`.
pub async fn serve(listener: tokio::net::TcpListener, tokens: Rc<Tokens>, line: Rc<dyn Line>, stop: Switch) {
    let open = Arc::new(tokio::sync::Semaphore::new(limits::OPERATOR_CONNECTIONS_MAX));
    while !stop.is_on() {
        let accepted = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        let Ok(accepted) = accepted else { continue };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&open).try_acquire_owned() else { continue };
        let (tokens, line) = (Rc::clone(&tokens), Rc::clone(&line));
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (tokens, line) = (Rc::clone(&tokens), Rc::clone(&line));
                async move { Ok::<_, Infallible>(answer(&tokens, &*line, peer, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(u64::from(limits::HEADER_READ_SECONDS)))
                .max_headers(limits::HEADERS_MAX)
                .max_buf_size(limits::HEADER_BYTES_MAX as usize)
                .serve_connection(TokioIo::new(socket), service);
            // A broken connection concerns its client alone.
            let _ended = tokio::time::timeout(CONNECTION_LIFE, connection).await;
            drop(place);
        });
    }
}

/// A connection of an operator lives at most so long.
const CONNECTION_LIFE: Duration = Duration::from_mins(10);

async fn answer(tokens: &Tokens, line: &dyn Line, peer: SocketAddr, request: Request<Incoming>) -> Answer {
    let route = match find(request.method(), request.uri().path()) {
        Ok(route) => route,
        Err(NoRoute::NotFound) => return problem(StatusCode::NOT_FOUND, "there is nothing at this path"),
        Err(NoRoute::Encoding) => {
            return problem(StatusCode::BAD_REQUEST, "the path is not percent-encoded UTF-8");
        }
        Err(NoRoute::Method(allowed)) => {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "this path has another method");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
    };
    let who = match authorize(tokens, peer, &route, request.headers()) {
        Ok(who) => who,
        Err(refused) => return *refused,
    };
    let (parts, incoming) = request.into_parts();
    let answered = if parts.method == Method::POST {
        // Every order needs a role, so somebody is known here.
        let actor = who.map_or("", |token| &*token.name);
        match orders::carry_out(line, route, actor, incoming).await {
            Ok(done) => Ok(json(StatusCode::OK, &done)),
            Err(Failed::Refused(status, what)) => Ok(problem(status, &what)),
            Err(Failed::Unavailable) => Err(Unavailable),
        }
    } else {
        reply(line, route, parts.uri.query().unwrap_or_default()).await
    };
    answered.unwrap_or_else(|Unavailable| {
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "the line does not answer now");
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer
    })
}

fn authorize<'t>(
    tokens: &'t Tokens,
    peer: SocketAddr,
    route: &Route,
    headers: &HeaderMap,
) -> Result<Option<&'t Token>, Box<Answer>> {
    let needed = match route.role() {
        None if peer.ip().is_loopback() => return Ok(None),
        None => super::Role::Viewer,
        Some(role) => role,
    };
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match bearer.and_then(|bearer| tokens.find(bearer)) {
        Some(token) if token.role >= needed => Ok(Some(token)),
        Some(_) => {
            let detail = format!("the role {} is needed", needed.as_str());
            Err(Box::new(problem(StatusCode::FORBIDDEN, &detail)))
        }
        None => {
            let mut answer = problem(StatusCode::UNAUTHORIZED, "a bearer token is needed");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            Err(Box::new(answer))
        }
    }
}

async fn reply(line: &dyn Line, route: Route, query: &str) -> Result<Answer, Unavailable> {
    Ok(match route {
        Route::Live => json(StatusCode::OK, &serde_json::json!({"status": "live"})),
        Route::Ready => {
            let stages = line.health();
            let ready = stages.iter().all(|stage| stage.ok);
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let word = if ready { "ready" } else { "not ready" };
            json(status, &serde_json::json!({"status": word, "stages": stages}))
        }
        Route::Metrics => text(line.metrics()),
        Route::Status => json(StatusCode::OK, &line.status()),
        Route::Signal { tenant, id } => {
            found(line.signal(&tenant, &id).await?.as_ref(), "no signal of this tenant and id is remembered")
        }
        Route::Receipt { id } => match id.parse() {
            Err(error) => problem(StatusCode::BAD_REQUEST, &format!("{error}")),
            Ok(id) => match line.receipt(id).await? {
                Some(receipt) => body(StatusCode::OK, "application/json", receipt.into()),
                None => problem(StatusCode::NOT_FOUND, "no receipt of this id is in the log"),
            },
        },
        Route::Governor { tenant, sku } => {
            let subject = Subject { tenant: tenant.into(), sku: sku.into() };
            found(line.governor(subject).await?.as_ref(), "there is no governor of this tenant and SKU")
        }
        Route::Governors => match query::governors(query) {
            Ok(filter) => {
                let governors = line.governors(filter).await?;
                json(StatusCode::OK, &serde_json::json!({"governors": governors}))
            }
            Err(wrong) => problem(StatusCode::BAD_REQUEST, &wrong),
        },
        Route::DeadLetters => match query::dead_letters(query) {
            Ok((filter, after, limit)) => {
                let found = line.dead_letters(filter, after, limit).await?;
                json(StatusCode::OK, &serde_json::json!({"count": found.count, "deadletters": found.page}))
            }
            Err(wrong) => problem(StatusCode::BAD_REQUEST, &wrong),
        },
        Route::DeadLetter { id } => match id.parse() {
            Err(error) => problem(StatusCode::BAD_REQUEST, &format!("{error}")),
            Ok(id) => match line.dead_letter(id).await? {
                Some((case, signal)) => {
                    let mut shown = serde_json::json!(case);
                    // In binary mode the body may be anything.
                    let text = || String::from_utf8_lossy(&signal).into();
                    shown["signal"] = serde_json::from_slice(&signal).unwrap_or_else(|_| text());
                    json(StatusCode::OK, &shown)
                }
                None => problem(StatusCode::NOT_FOUND, "there is no dead letter of this id"),
            },
        },
        Route::Policy => json(StatusCode::OK, &line.rules().await?),
        Route::Govern { .. }
        | Route::DryRun { .. }
        | Route::Replay { .. }
        | Route::Discard { .. }
        | Route::PolicyReload => problem(StatusCode::METHOD_NOT_ALLOWED, "this is an order"),
    })
}

fn found<T: Serialize>(value: Option<&T>, missing: &str) -> Answer {
    match value {
        Some(value) => json(StatusCode::OK, value),
        None => problem(StatusCode::NOT_FOUND, missing),
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    body(status, "application/json", serde_json::to_vec(value).unwrap_or_default().into())
}

fn text(text: String) -> Answer {
    body(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
}

fn problem(status: StatusCode, detail: &str) -> Answer {
    body(status, "application/problem+json", Problem::new(status, detail).to_json())
}

fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
