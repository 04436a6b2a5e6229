//! What a sender is told. The one place of the data plane where outcomes become status codes.
//!
//! Every signature failure has one body, so that nothing is learned from it. 429 is the tenant's own quota, 503 our
//! capacity; both say when to come again (promise P5).

use std::io::Write as _;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::connection::Answer;
use crate::event::{Ack, Seq, Shed};
use crate::kaizen::Counter;
use crate::net::problem::{ItemProblem, Problem};
use crate::signal::Unfit;

/// Why a request was not accepted.
#[derive(Debug)]
pub enum Refused {
    NoSuchPath,
    NoSuchSource,
    Method,
    /// The path and query are longer than allowed.
    Url,
    Headers,
    ContentEncoding,
    ContentType,
    TooLarge,
    /// The body did not come in time.
    BodySlow,
    /// The body broke off or was framed wrongly.
    BodyBroken,
    /// Too many unverified bytes are under way.
    BodyBudget,
    /// The address sent too many bad signatures.
    Guarded,
    Signature,
    Unfit(Unfit),
    /// The tenant's quota; seconds until it is worth to come again.
    Rate {
        retry_after: u32,
    },
    Conflict {
        index: Option<u32>,
        seq: Seq,
    },
    /// Our capacity.
    Busy {
        why: &'static str,
        retry_after: u32,
    },
}

impl Refused {
    #[must_use]
    pub fn shed(shed: Shed, retry_after: u32) -> Self {
        let why = match shed {
            Shed::DiskLow => "free disk space is below the low-water mark",
            Shed::DedupFull => "the memory of identities is full of young ones",
            Shed::Draining => "the node is shutting down",
        };
        Self::Busy { why, retry_after }
    }

    /// What the counters call it.
    #[must_use]
    pub fn counter(&self) -> Counter {
        match self {
            Self::NoSuchPath | Self::NoSuchSource => Counter::NotFound,
            Self::Method | Self::Url | Self::Headers | Self::BodyBroken | Self::BodySlow => {
                Counter::Malformed
            }
            Self::ContentEncoding | Self::ContentType => Counter::Unsupported,
            Self::TooLarge => Counter::TooLarge,
            Self::Guarded | Self::Signature => Counter::BadSignature,
            Self::Unfit(_) => Counter::Malformed,
            Self::Rate { .. } => Counter::RateLimited,
            Self::Conflict { .. } => Counter::Conflict,
            Self::BodyBudget | Self::Busy { .. } => Counter::Shed,
        }
    }

    fn problem(&self) -> Problem {
        let limits = crate::limits::BODY_BYTES_MAX;
        let (status, detail) = match self {
            Self::NoSuchPath => (404, "signals go to /v1/signals or /v1/sources/{source}".into()),
            Self::NoSuchSource => (404, "no source of this name is configured".into()),
            Self::Method => (405, "signals are sent with POST".into()),
            Self::Url => {
                (414, format!("path and query are longer than {} bytes", crate::limits::URL_BYTES_MAX))
            }
            Self::Headers => {
                let (count, bytes) = (crate::limits::HEADERS_MAX, crate::limits::HEADER_BYTES_MAX);
                (
                    431,
                    format!(
                        "there are more than {count} header fields, or they are longer than {bytes} bytes"
                    ),
                )
            }
            Self::ContentEncoding => (415, "send the body without Content-Encoding".into()),
            Self::ContentType => (
                415,
                "send application/json, application/cloudevents+json, application/cloudevents-batch+json, \
                 application/x-ndjson, or binary-mode CloudEvents"
                    .into(),
            ),
            Self::TooLarge => (413, format!("the body is longer than {limits} bytes")),
            Self::BodySlow => (408, "the body did not come in time".into()),
            Self::BodyBroken => (400, "the body broke off or was framed wrongly".into()),
            Self::BodyBudget => (503, "too many unverified bytes are under way".into()),
            Self::Guarded => (429, "too many bad signatures came from this address".into()),
            Self::Signature => (401, "the signature does not hold".into()),
            Self::Unfit(unfit) => (unfit.status(), unfit.to_string()),
            Self::Rate { .. } => (429, "the tenant's rate is used up".into()),
            Self::Conflict { index: None, seq: Seq(0) } => {
                (409, "the batch holds one id with two different bodies; nothing was taken".into())
            }
            Self::Conflict { seq, .. } => {
                (409, format!("this id was accepted with another body as seq {seq}; nothing was taken"))
            }
            Self::Busy { why, .. } => (503, (*why).into()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let errors = match self {
            Self::Unfit(unfit) => {
                unfit.items().map(|(index, why)| ItemProblem { index, detail: why.to_string() }).collect()
            }
            Self::Conflict { index: Some(index), seq } => vec![ItemProblem {
                index: *index as usize,
                detail: format!("this id was accepted with another body as seq {seq}"),
            }],
            _ => Vec::new(),
        };
        let retry_after = match self {
            Self::Rate { retry_after } | Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Guarded | Self::BodyBudget => Some(1),
            _ => None,
        };
        Problem { status, detail, errors, retry_after }
    }

    /// Whether the connection is closed after this answer: the rest of what was sent is not wanted.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::TooLarge | Self::BodySlow | Self::BodyBroken | Self::BodyBudget | Self::Headers | Self::Url
        )
    }

    #[must_use]
    pub fn answer(&self) -> Answer {
        let problem = self.problem();
        let mut answer = Response::new(Full::new(problem.to_json()));
        *answer.status_mut() = problem.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = problem.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::Method) {
            headers.insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if self.closes() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// What the parser cannot read it refuses by itself, without a body. Gives such an answer its problem.
#[must_use]
pub fn explained(refusal: &[u8]) -> Option<Vec<u8>> {
    const BODILESS: &[u8] = b"content-length: 0\r\n";
    let code = refusal.strip_prefix(b"HTTP/1.1 ")?.get(..3).filter(|code| code[0] == b'4')?;
    let at = memchr::memmem::find(refusal, BODILESS)?;
    let status = StatusCode::from_bytes(code).ok()?;
    let problem = match status {
        StatusCode::URI_TOO_LONG => Refused::Url.problem(),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Refused::Headers.problem(),
        _ => Problem::new(status, "this is no request of HTTP/1.1 (RFC 9112)"),
    };
    let body = problem.to_json();
    let described = format!("content-type: application/problem+json\r\ncontent-length: {}\r\n", body.len());
    Some([&refusal[..at], described.as_bytes(), &refusal[at + BODILESS.len()..], &body].concat())
}

const SIGNAL_ID: HeaderName = HeaderName::from_static("x-signal-id");

/// The 202 of one signal. `id` is printable ASCII; quotes and backslashes in it are escaped.
#[must_use]
pub fn accepted_one(id: &str, seq: Seq, duplicate: bool) -> Answer {
    let mut body = Vec::with_capacity(96 + id.len());
    body.extend_from_slice(br#"{"status":"accepted","signal_id":""#);
    for byte in id.bytes() {
        if matches!(byte, b'"' | b'\\') {
            body.push(b'\\');
        }
        body.push(byte);
    }
    body.extend_from_slice(br#"","seq":"#);
    number(&mut body, seq.0);
    if duplicate {
        body.extend_from_slice(br#","duplicate":true"#);
    }
    body.push(b'}');
    let mut answer = accepted(body);
    if let Ok(id) = HeaderValue::from_str(id) {
        answer.headers_mut().insert(SIGNAL_ID, id);
    }
    answer
}

/// The 202 of a batch.
#[must_use]
pub fn accepted_batch(count: usize, first: Seq, last: Seq, duplicates: u32) -> Answer {
    let mut body = Vec::with_capacity(128);
    body.extend_from_slice(br#"{"status":"accepted","count":"#);
    number(&mut body, count as u64);
    body.extend_from_slice(br#","first_seq":"#);
    number(&mut body, first.0);
    body.extend_from_slice(br#","last_seq":"#);
    number(&mut body, last.0);
    if duplicates > 0 {
        body.extend_from_slice(br#","duplicates":"#);
        number(&mut body, u64::from(duplicates));
    }
    body.push(b'}');
    accepted(body)
}

fn number(body: &mut Vec<u8>, number: u64) {
    // Writing to a vector cannot fail.
    let _infallible = write!(body, "{number}");
}

fn accepted(body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// What the journal took of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    pub first: Seq,
    pub last: Seq,
    pub duplicates: u32,
}

/// Reads the journal's answer.
///
/// # Errors
/// The refusal that it is.
pub fn settle(ack: &Ack, batch: bool, retry_after: u32) -> Result<Durable, Refused> {
    match *ack {
        Ack::Durable { first, last, duplicates } => Ok(Durable { first, last, duplicates }),
        Ack::Conflict { index, seq } => {
            Err(Refused::Conflict { index: (batch && seq != Seq(0)).then_some(index), seq })
        }
        Ack::Refused(shed) => Err(Refused::shed(shed, retry_after)),
    }
}
