//! Answers of the plane: their bodies, and what several of them need.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use crate::net::problem::Problem;

pub type Answer = Response<Content>;

/// What is answered.
pub enum Content {
    Whole(Option<Bytes>),
    /// Goes on until one of the two ends it.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Infallible>>>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(stream) => stream.size_hint(),
        }
    }
}

/// RFC 6750, section 3.1: only a token that is wrong has an error code.
pub fn unauthorized(detail: &str, challenge: &'static str) -> Answer {
    let mut answer = problem(StatusCode::UNAUTHORIZED, detail);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    answer
}

pub fn again(detail: &str) -> Answer {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, detail);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// The values of a field that may stand several times (RFC 9110, section 5.3); what is not text is left out.
pub fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Whether an `Accept-Encoding` field names gzip (RFC 9110, section 12.5.3).
pub fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_some_and(|weight| weight > 0.0)
    })
}

/// Text in the form that was asked for.
pub fn compressed(content_type: &'static str, text: Vec<u8>, takes_gzip: bool) -> Answer {
    let gzipped = takes_gzip.then(|| gzip(&text)).and_then(Result::ok);
    let is_gzipped = gzipped.is_some();
    let mut answer = body(StatusCode::OK, content_type, gzipped.unwrap_or(text).into());
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if is_gzipped {
        answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    answer
}

pub fn gzip(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish()
}

pub fn problem(status: StatusCode, detail: &str) -> Answer {
    body(status, "application/problem+json", Problem::new(status, detail).to_json())
}

pub fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Content::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
