//! One request: route, guard, read, verify, parse, rate, offer, wait, answer. The order is the promise: nothing is
//! parsed before its signature held (P6), and a tenant's quota is not touched by what nobody signed.

use std::rc::Rc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode, Uri};

use super::answer::{Promised, Refused};
use super::body;
use super::connection::{Answer, Watch};
use super::outbox::{self, SharedOutbox};
use super::stage::{Ingress, Source};
use crate::clock::{self, Instant};
use crate::kaizen::Stage as Measured;
use crate::limits;
use crate::signal::{self, Form, Signals};

/// Answers one request of a connection that answers them one after the other: what the journal has to say comes
/// later, through the outbox. Never fails, since every failure has an answer.
pub async fn answer_in_order(
    ingress: Rc<Ingress>,
    watch: Rc<Watch>,
    outbox: SharedOutbox,
    request: Request<Incoming>,
) -> Result<Answer, std::convert::Infallible> {
    outbox::room(&outbox).await;
    let begun = clock::now();
    let (closes, bodiless) = (begin(&watch, &request), request.method() == Method::HEAD);
    let offered = match check(&ingress, &watch, request, begun).await {
        Ok(signals) => {
            let promised = Promised::of(&signals, begun);
            ingress.offer(signals).map(|()| ingress.await_in(&outbox, promised))
        }
        Err(refused) => Err(refused),
    };
    let mut answer = match offered {
        // Only its framing will be used.
        Ok(()) => accepted(),
        Err(refused) => {
            let answer = refuse(&ingress, &refused, begun);
            let bytes = answer.body().size_hint().exact().filter(|_| !bodiless).unwrap_or(0);
            outbox.borrow_mut().speaks(usize::try_from(bytes).unwrap_or(usize::MAX));
            answer
        }
    };
    if closes {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    watch.request_ended();
    Ok(answer)
}

/// Answers one request that waits for the journal by itself.
pub async fn answer_by_itself(
    ingress: Rc<Ingress>,
    watch: Rc<Watch>,
    request: Request<Incoming>,
) -> Result<Answer, std::convert::Infallible> {
    let begun = clock::now();
    begin(&watch, &request);
    let answer = match check(&ingress, &watch, request, begun).await {
        Ok(signals) => {
            let promised = Promised::of(&signals, begun);
            match ingress.offer(signals) {
                Ok(()) => {
                    let told = ingress.wait(promised).await;
                    ingress.count_told(&told, begun);
                    told.answer()
                }
                Err(refused) => refuse(&ingress, &refused, begun),
            }
        }
        Err(refused) => refuse(&ingress, &refused, begun),
    };
    watch.request_ended();
    Ok(answer)
}

/// Says whether the connection closes behind this request: it had enough of them, or where the length of a body was a
/// matter of interpretation, the next request would be too.
fn begin(watch: &Watch, request: &Request<Incoming>) -> bool {
    let last = watch.request_began();
    last || request.headers().contains_key(TRANSFER_ENCODING)
}

fn accepted() -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer
}

fn refuse(ingress: &Ingress, refused: &Refused, begun: Instant) -> Answer {
    ingress.count(refused.counter(), 1);
    ingress.record(Measured::Whole, clock::now() - begun);
    refused.answer()
}

/// Everything before the journal.
async fn check(
    ingress: &Ingress,
    watch: &Watch,
    request: Request<Incoming>,
    begun: Instant,
) -> Result<Signals, Refused> {
    crate::fault::point("K2");
    let (head, incoming) = request.into_parts();
    let source = route(ingress, &head.method, &head.uri)?;
    check_head(&head.headers)?;
    if !ingress.guard_allows(watch.peer, begun) {
        return Err(Refused::Guarded);
    }
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let form = Form::of(content_type, &head.headers).map_err(|_| Refused::ContentType)?;
    let body = read_body(ingress, incoming).await?;
    crate::fault::point("K3");
    check_body(ingress, watch, source, &head.headers, form, body)
}

fn route<'a>(ingress: &'a Ingress, method: &Method, uri: &Uri) -> Result<&'a Source, Refused> {
    let path = uri.path();
    if path.len() + uri.query().map_or(0, str::len) > limits::URL_BYTES_MAX {
        return Err(Refused::Url);
    }
    let name = match path {
        "/v1/signals" => "signals",
        _ => path.strip_prefix("/v1/sources/").ok_or(Refused::NoSuchPath)?,
    };
    if method != Method::POST {
        return Err(Refused::Method);
    }
    ingress.source(name).ok_or(Refused::NoSuchSource)
}

fn check_head(headers: &HeaderMap) -> Result<(), Refused> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    // HTTP/1.1 counts them while it reads, HTTP/2 does not.
    if bytes > limits::HEADER_BYTES_MAX as usize || headers.len() > limits::HEADERS_MAX {
        return Err(Refused::Headers);
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refused::ContentEncoding);
    }
    Ok(())
}

async fn read_body(ingress: &Ingress, incoming: Incoming) -> Result<Bytes, Refused> {
    let declared = incoming.size_hint().exact();
    let bytes = declared.map_or(limits::BODY_BYTES_MAX, |exact| usize::try_from(exact).unwrap_or(usize::MAX));
    if bytes > limits::BODY_BYTES_MAX {
        return Err(Refused::TooLarge);
    }
    let _held = ingress.unverified.reserve(bytes).ok_or(Refused::BodyBudget)?;
    body::read(incoming).await
}

/// Signature, then content, then rate: nothing here waits.
fn check_body(
    ingress: &Ingress,
    watch: &Watch,
    source: &Source,
    headers: &HeaderMap,
    form: Form<'_>,
    body: Bytes,
) -> Result<Signals, Refused> {
    crate::fault::point("K4");
    let sampled = ingress.samples();
    let before = sampled.then(clock::now);
    let verified = source.keyring.verify(headers, body, ingress.unix_seconds()).map_err(|_| {
        ingress.guard_bad(watch.peer);
        Refused::Signature
    })?;
    let verified_at = sampled.then(clock::now);
    let signals = signal::parse(verified, form, &source.fixed).map_err(Refused::Unfit)?;
    let parsed_at = sampled.then(clock::now);
    crate::fault::point("K5");
    ingress.take_rate(&signals)?;
    if let (Some(before), Some(verified_at), Some(parsed_at)) = (before, verified_at, parsed_at) {
        ingress.record(Measured::Verify, verified_at - before);
        ingress.record(Measured::Parse, parsed_at - verified_at);
        ingress.record(Measured::Rate, clock::now() - parsed_at);
    }
    Ok(signals)
}
