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
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;

use super::routes::{NoRoute, Route, decode, find};
use super::{Filter, Line, Tokens, Unavailable};
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
                async move { Ok::<_, Infallible>(answer(&tokens, &*line, peer, &request).await) }
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

async fn answer(tokens: &Tokens, line: &dyn Line, peer: SocketAddr, request: &Request<Incoming>) -> Answer {
    let route = match find(request.method(), request.uri().path()) {
        Ok(route) => route,
        Err(NoRoute::NotFound) => return problem(StatusCode::NOT_FOUND, "there is nothing at this path"),
        Err(NoRoute::Encoding) => {
            return problem(StatusCode::BAD_REQUEST, "the path is not percent-encoded UTF-8");
        }
        Err(NoRoute::Method(allowed)) => {
            let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "this path is only read");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return answer;
        }
    };
    if let Err(refused) = authorize(tokens, peer, &route, request.headers()) {
        return *refused;
    }
    if let Ok(answer) = reply(line, route, request.uri().query().unwrap_or_default()).await {
        answer
    } else {
        let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "the line does not answer now");
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        answer
    }
}

fn authorize(
    tokens: &Tokens,
    peer: SocketAddr,
    route: &Route,
    headers: &HeaderMap,
) -> Result<(), Box<Answer>> {
    let needed = match route.role() {
        None if peer.ip().is_loopback() => return Ok(()),
        None => super::Role::Viewer,
        Some(role) => role,
    };
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match bearer.and_then(|bearer| tokens.role(bearer)) {
        Some(role) if role >= needed => Ok(()),
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
        Route::Governors => match filter(query) {
            Ok(filter) => {
                let governors = line.governors(filter).await?;
                json(StatusCode::OK, &serde_json::json!({"governors": governors}))
            }
            Err(wrong) => problem(StatusCode::BAD_REQUEST, &wrong),
        },
    })
}

/// `tenant=`, `limit=` and `after=tenant/sku`.
fn filter(query: &str) -> Result<Filter, String> {
    let mut filter = Filter { limit: limits::GOVERNORS_LISTED_MAX, ..Filter::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value, true).ok_or_else(|| format!("`{name}` is not percent-encoded UTF-8"))?;
        match name {
            "tenant" => filter.tenant = Some(value),
            "limit" => {
                let limit =
                    value.parse().ok().filter(|limit| (1..=limits::GOVERNORS_LISTED_MAX).contains(limit));
                let wrong = || format!("`limit` must be 1 to {}", limits::GOVERNORS_LISTED_MAX);
                filter.limit = limit.ok_or_else(wrong)?;
            }
            "after" => {
                let (tenant, sku) = value.split_once('/').ok_or("`after` must be tenant/sku")?;
                filter.after = Some((tenant.into(), sku.into()));
            }
            _ => return Err(format!("`{name}` is no parameter here; there are tenant, limit and after")),
        }
    }
    Ok(filter)
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
