//! One request: route, guard, read, verify, parse, rate, offer, wait, answer. The order is the promise: nothing is
//! parsed before its signature held (P6), and a tenant's quota is not touched by what nobody signed.

use std::rc::Rc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Uri};

use super::answer::{Durable, Refused, accepted_batch, accepted_one, settle};
use super::body;
use super::connection::{Answer, Watch};
use super::stage::{Ingress, Source};
use super::waiting::Overdue;
use crate::clock::{self, Instant};
use crate::event::Arrival;
use crate::kaizen::{Counter, Stage as Measured};
use crate::limits;
use crate::signal::{self, Form, Signals};

/// Answers one request; never fails, since every failure has an answer.
pub async fn intake(
    ingress: Rc<Ingress>,
    watch: Rc<Watch>,
    request: Request<Incoming>,
) -> Result<Answer, std::convert::Infallible> {
    let begun = clock::now();
    let last = watch.request_began(ingress.seconds());
    let unframed = request.headers().contains_key(TRANSFER_ENCODING);
    let mut answer = match accept(&ingress, &watch, request, begun).await {
        Ok(answer) => answer,
        Err(refused) => {
            ingress.count(refused.counter(), 1);
            refused.answer()
        }
    };
    // Where the length of a body was a matter of interpretation, the next request on the connection would be too.
    if last || unframed {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    ingress.record(Measured::Whole, clock::now() - begun);
    watch.request_ended(ingress.seconds());
    Ok(answer)
}

async fn accept(
    ingress: &Ingress,
    watch: &Watch,
    request: Request<Incoming>,
    begun: Instant,
) -> Result<Answer, Refused> {
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
    let signals = check(ingress, watch, source, &head.headers, form, body)?;
    offer(ingress, signals).await
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
fn check(
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
    ingress.take_rate(&signals).map_err(|retry_after| Refused::Rate { retry_after })?;
    if let (Some(before), Some(verified_at), Some(parsed_at)) = (before, verified_at, parsed_at) {
        ingress.record(Measured::Verify, verified_at - before);
        ingress.record(Measured::Parse, parsed_at - verified_at);
        ingress.record(Measured::Rate, clock::now() - parsed_at);
    }
    Ok(signals)
}

async fn offer(ingress: &Ingress, signals: Signals) -> Result<Answer, Refused> {
    crate::fault::point("K6");
    let count = signals.as_slice().len();
    let one = match &signals {
        Signals::One(signal) => Some((signal.body.clone(), signal.id.clone())),
        Signals::Batch(_) => None,
    };
    let wait = ingress
        .offer(Arrival::Signals(signals))
        .ok_or_else(|| Refused::Busy { why: "the line is full", retry_after: ingress.retry_after() })?;
    let ack = wait.await.map_err(|Overdue| Refused::Busy {
        why: "the journal is slow; the signal may have been taken: send it again with the same id",
        retry_after: ingress.retry_after(),
    })?;
    let Durable { first, last, duplicates } = settle(&ack, one.is_none(), ingress.retry_after())?;
    ingress.count(Counter::Accepted, count as u64 - u64::from(duplicates));
    ingress.count(Counter::Duplicate, u64::from(duplicates));
    Ok(match one {
        Some((body, id)) => accepted_one(id.of(&body), first, duplicates > 0),
        None => accepted_batch(count, first, last, duplicates),
    })
}
