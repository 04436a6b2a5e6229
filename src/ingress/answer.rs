//! What a sender is told. The one place of the data plane where outcomes become status codes.
//!
//! Every signature failure has one body, so that nothing is learned from it. 429 is the tenant's own quota, 503 our
//! capacity; both say when to come again (promise P5).

use bytes::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::callback::NotACallback;
use super::connection::Answer;
use super::outbox::Framing;
use super::traced::{Answered, Taken, Traced};
use crate::clock::Instant;
use crate::event::{Ack, Seq, Shed};
use crate::kaizen::Counter;
use crate::net::problem::{ItemProblem, Problem};
use crate::signal::{Signals, Text, Unfit, UnsupportedForm};

/// What the data plane says of any path but its own.
pub const NO_SUCH_PATH: &str = "signals go to /v1/signals or /v1/sources/{source}";
/// And of its own, with a different method.
pub const WITH_POST: &str = "signals and callbacks are sent with POST";

/// Why a request was not accepted.
#[derive(Debug)]
pub enum Refused {
    NoSuchPath,
    NoSuchSource,
    /// No channel of this name takes callbacks.
    NoSuchCallback,
    Method,
    /// The path and query are longer than allowed.
    Url,
    Headers,
    /// Which host the request is for is missing, malformed, or told twice.
    Host,
    ContentEncoding,
    /// The form of the request carries no signals for this source.
    Form(UnsupportedForm),
    TooLarge,
    /// The body did not come in time.
    BodySlow,
    /// The body broke off or was framed wrongly.
    BodyBroken,
    /// Too many unverified bytes are held, and this body came slowest.
    BodyBudget,
    /// The address sent too many bad signatures for its large bodies to be looked at now.
    Guarded,
    Signature,
    Unfit(Unfit),
    NotACallback(NotACallback),
    /// The tenant's quota; seconds until it is worth to come again.
    Rate {
        retry_after: u32,
    },
    /// The tenant has more signals waiting for their decision, or more governors, than its share.
    Crowd,
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

/// A signal is known by its id; in binary mode, where its id is not signed, by its body.
fn conflict(seq: Seq) -> String {
    format!("this signal was accepted with different content as seq {seq}")
}

impl Refused {
    #[must_use]
    pub fn shed(shed: Shed, retry_after: u32) -> Self {
        Self::Busy { why: shed.as_str(), retry_after }
    }

    /// What the counters call it.
    #[must_use]
    pub fn counter(&self) -> Counter {
        match self {
            Self::NoSuchPath | Self::NoSuchSource | Self::NoSuchCallback => Counter::NotFound,
            Self::Method
            | Self::Url
            | Self::Headers
            | Self::Host
            | Self::BodyBroken
            | Self::BodySlow
            | Self::NotACallback(_)
            | Self::Unfit(_) => Counter::Malformed,
            Self::ContentEncoding | Self::Form(_) => Counter::Unsupported,
            Self::TooLarge => Counter::TooLarge,
            Self::Signature => Counter::BadSignature,
            Self::Rate { .. } => Counter::RateLimited,
            Self::Conflict { .. } => Counter::Conflict,
            Self::Guarded | Self::BodyBudget | Self::Crowd | Self::Busy { .. } => Counter::Shed,
        }
    }

    fn problem(&self) -> Problem {
        let limits = crate::limits::BODY_BYTES_MAX;
        let (status, detail) = match self {
            Self::NoSuchPath => (404, NO_SUCH_PATH.into()),
            Self::NoSuchSource => (404, "no source of this name is configured".into()),
            Self::NoSuchCallback => {
                (404, "no channel of this name takes callbacks: it needs `callback_secret_file`".into())
            }
            Self::Method => (405, WITH_POST.into()),
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
            Self::Host => (400, "name one host, in Host or :authority, and the same in both".into()),
            Self::ContentEncoding => (415, "send the body without Content-Encoding".into()),
            Self::Form(why) => (415, why.to_string()),
            Self::TooLarge => (413, format!("the body is longer than {limits} bytes")),
            Self::BodySlow => (408, "the body did not come in time".into()),
            Self::BodyBroken => (400, "the body broke off or was framed wrongly".into()),
            Self::BodyBudget => {
                (503, "too many unverified bytes are held, and this body came slowest".into())
            }
            Self::Guarded => (
                503,
                "many bad signatures come from this address, so its large bodies wait their turn".into(),
            ),
            Self::Signature => (401, "the signature does not hold".into()),
            Self::Unfit(unfit) => (unfit.status(), unfit.to_string()),
            Self::NotACallback(why) => (400, why.to_string()),
            Self::Rate { .. } => (429, "the tenant's rate is used up".into()),
            Self::Crowd => {
                let why = "this tenant has more signals waiting for their decision, or more governors, than its share";
                (503, why.into())
            }
            Self::Conflict { index: None, seq: Seq(0) } => {
                (409, "the batch holds one signal twice with different content; nothing was taken".into())
            }
            Self::Conflict { seq, .. } => (409, format!("{}; nothing was taken", conflict(*seq))),
            Self::Busy { why, .. } => (503, (*why).into()),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let errors = match self {
            Self::Unfit(unfit) => {
                unfit.items().map(|(index, why)| ItemProblem::at(index, why.to_string())).collect()
            }
            Self::Conflict { index: Some(index), seq } => {
                vec![ItemProblem::at(*index as usize, conflict(*seq))]
            }
            Self::NoSuchPath
            | Self::NoSuchSource
            | Self::NoSuchCallback
            | Self::NotACallback(_)
            | Self::Method
            | Self::Url
            | Self::Headers
            | Self::Host
            | Self::ContentEncoding
            | Self::Form(_)
            | Self::TooLarge
            | Self::BodySlow
            | Self::BodyBroken
            | Self::BodyBudget
            | Self::Guarded
            | Self::Signature
            | Self::Rate { .. }
            | Self::Crowd
            | Self::Conflict { .. }
            | Self::Busy { .. } => Vec::new(),
        };
        let retry_after = match self {
            Self::Rate { retry_after } | Self::Busy { retry_after, .. } => Some(*retry_after),
            Self::Guarded | Self::BodyBudget | Self::Crowd => Some(1),
            Self::NoSuchPath
            | Self::NoSuchSource
            | Self::NoSuchCallback
            | Self::NotACallback(_)
            | Self::Method
            | Self::Url
            | Self::Headers
            | Self::Host
            | Self::ContentEncoding
            | Self::Form(_)
            | Self::TooLarge
            | Self::BodySlow
            | Self::BodyBroken
            | Self::Signature
            | Self::Unfit(_)
            | Self::Conflict { .. } => None,
        };
        Problem { errors, retry_after, ..Problem::new(status, detail) }
    }

    /// Whether the connection is closed after this answer: the rest of what was sent is not wanted.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::TooLarge
            | Self::BodySlow
            | Self::BodyBroken
            | Self::BodyBudget
            | Self::Headers
            | Self::Host
            | Self::Url => true,
            Self::NoSuchPath
            | Self::NoSuchSource
            | Self::NoSuchCallback
            | Self::NotACallback(_)
            | Self::Method
            | Self::ContentEncoding
            | Self::Form(_)
            | Self::Guarded
            | Self::Signature
            | Self::Unfit(_)
            | Self::Rate { .. }
            | Self::Crowd
            | Self::Conflict { .. }
            | Self::Busy { .. } => false,
        }
    }

    /// Whether it is the sender's own doing, proved by its signature, so that it may have to wait for this answer.
    #[must_use]
    pub fn is_paced(&self) -> bool {
        match self {
            Self::Unfit(_) | Self::Rate { .. } | Self::Crowd => true,
            Self::NoSuchPath
            | Self::NoSuchSource
            | Self::NoSuchCallback
            | Self::NotACallback(_)
            | Self::Method
            | Self::Url
            | Self::Headers
            | Self::Host
            | Self::ContentEncoding
            | Self::Form(_)
            | Self::TooLarge
            | Self::BodySlow
            | Self::BodyBroken
            | Self::BodyBudget
            | Self::Guarded
            | Self::Signature
            | Self::Conflict { .. }
            | Self::Busy { .. } => false,
        }
    }

    fn headers(&self, problem: &Problem) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let media = HeaderValue::from_static("application/problem+json");
        let again = problem.retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
        let allow = matches!(self, Self::Method).then(|| (ALLOW, HeaderValue::from_static("POST")));
        let close = self.closes().then(|| (CONNECTION, HeaderValue::from_static("close")));
        [Some((CONTENT_TYPE, media)), again, allow, close].into_iter().flatten()
    }

    /// As a response.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let problem = self.problem();
        let mut answer = Response::new(problem.to_json());
        *answer.status_mut() = problem.status;
        answer.headers_mut().extend(self.headers(&problem));
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
        _ => Problem::new(status, "not a valid HTTP/1.1 request (RFC 9112)"),
    };
    let body = problem.to_json();
    let described = format!("content-type: application/problem+json\r\ncontent-length: {}\r\n", body.len());
    Some([&refusal[..at], described.as_bytes(), &refusal[at + BODILESS.len()..], &body].concat())
}

/// What was offered to the journal, as far as its answer needs it.
#[derive(Debug)]
pub struct Promised {
    unit: Unit,
    /// When the request's head was complete.
    pub begun: Instant,
    /// What is told of it, where it is traced.
    pub traced: Option<Box<Traced>>,
}

/// The unit that was offered.
#[derive(Debug)]
pub enum Unit {
    One { body: Bytes, id: Text },
    Batch { count: usize },
}

impl Promised {
    #[must_use]
    pub fn of(signals: &Signals, begun: Instant, traced: Option<Box<Traced>>) -> Self {
        let unit = match signals {
            Signals::One(signal) => Unit::One { body: signal.body().clone(), id: signal.texts()[0].clone() },
            Signals::Batch(batch) => Unit::Batch { count: batch.len() },
        };
        Self { unit, begun, traced }
    }

    /// Puts the journal's answer in words.
    #[must_use]
    pub fn tell(self, ack: &Ack, retry_after: u32) -> Told {
        let single = matches!(self.unit, Unit::One { .. });
        match *ack {
            Ack::Durable { first, last, duplicates } => {
                Told::Accepted { unit: self.unit, first, last, duplicates }
            }
            Ack::Conflict { index, seq } => {
                let index = (!single && seq != Seq(0)).then_some(index);
                Told::Refused(Refused::Conflict { index, seq })
            }
            Ack::Refused(shed) => Told::Refused(Refused::shed(shed, retry_after)),
            Ack::OutOfOrder | Ack::NotOwned | Ack::Cut(_) => unreachable!("only a processor asks for it"),
        }
    }
}

/// What the sender of a unit hears when the journal has spoken.
#[derive(Debug)]
pub enum Told {
    Accepted { unit: Unit, first: Seq, last: Seq, duplicates: u32 },
    Refused(Refused),
}

const SIGNAL_ID: HeaderName = HeaderName::from_static("x-signal-id");

impl Told {
    /// What its trace says of it.
    #[must_use]
    pub fn answered(&self) -> Answered {
        match self {
            Self::Accepted { first, duplicates, .. } => {
                let taken = Taken { first: first.0, duplicates: *duplicates };
                Answered { status: StatusCode::ACCEPTED.as_u16(), what: Ok(taken) }
            }
            Self::Refused(refused) => {
                let Problem { status, detail, .. } = refused.problem();
                Answered { status: status.as_u16(), what: Err(detail) }
            }
        }
    }

    /// As a response.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let unit = match self {
            Self::Refused(refused) => return refused.answer(),
            Self::Accepted { unit, .. } => unit,
        };
        let mut body = Vec::with_capacity(256);
        self.body(&mut body);
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = StatusCode::ACCEPTED;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Unit::One { body, id } = unit
            && let Ok(id) = HeaderValue::from_str(id.of(body))
        {
            headers.insert(SIGNAL_ID, id);
        }
        answer
    }

    /// The whole answer in HTTP/1.1, appended to `out`; `body` is room to work in.
    pub fn write(&self, out: &mut Vec<u8>, body: &mut Vec<u8>, framing: Framing, date: &str) {
        body.clear();
        let version = if framing.old { "HTTP/1.0" } else { "HTTP/1.1" };
        match self {
            Self::Accepted { unit, .. } => {
                self.body(body);
                for part in [version, " 202 Accepted\r\ncontent-type: application/json\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
                if let Unit::One { body, id } = unit {
                    line(out, SIGNAL_ID.as_str(), id.of(body).as_bytes());
                }
            }
            Self::Refused(refused) => {
                let problem = refused.problem();
                body.extend_from_slice(&problem.to_json());
                let reason = problem.status.canonical_reason().unwrap_or_default();
                for part in [version, " ", problem.status.as_str(), " ", reason, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
                for (name, value) in refused.headers(&problem) {
                    // hyper says itself when it closes.
                    if name != CONNECTION {
                        line(out, name.as_str(), value.as_bytes());
                    }
                }
            }
        }
        out.extend_from_slice(b"content-length: ");
        number(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
        if framing.close {
            line(out, "connection", b"close");
        } else if framing.keep_alive {
            line(out, "connection", b"keep-alive");
        }
        line(out, "date", date.as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    /// Signals that were taken, and those that were known.
    #[must_use]
    pub fn taken(&self) -> (u64, u64) {
        match self {
            Self::Refused(_) => (0, 0),
            Self::Accepted { unit: Unit::One { .. }, duplicates, .. } => {
                (1 - u64::from(*duplicates), u64::from(*duplicates))
            }
            Self::Accepted { unit: Unit::Batch { count }, duplicates, .. } => {
                (*count as u64 - u64::from(*duplicates), u64::from(*duplicates))
            }
        }
    }

    fn body(&self, out: &mut Vec<u8>) {
        let Self::Accepted { unit, first, last, duplicates } = self else { return };
        out.extend_from_slice(br#"{"status":"accepted","#);
        match unit {
            Unit::One { body, id } => {
                out.extend_from_slice(br#""signal_id":""#);
                // Printable ASCII: quotes and backslashes are all that must be escaped.
                for byte in id.of(body).bytes() {
                    if matches!(byte, b'"' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(byte);
                }
                out.extend_from_slice(br#"","seq":"#);
                number(out, first.0);
                if *duplicates > 0 {
                    out.extend_from_slice(br#","duplicate":true"#);
                }
            }
            Unit::Batch { count } => {
                out.extend_from_slice(br#""count":"#);
                number(out, *count as u64);
                out.extend_from_slice(br#","first_seq":"#);
                number(out, first.0);
                out.extend_from_slice(br#","last_seq":"#);
                number(out, last.0);
                if *duplicates > 0 {
                    out.extend_from_slice(br#","duplicates":"#);
                    number(out, u64::from(*duplicates));
                }
            }
        }
        out.push(b'}');
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
