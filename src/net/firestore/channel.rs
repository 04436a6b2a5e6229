//! One call of gRPC over HTTP/2: the request's only message out, the answer's messages and its status in.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use secrecy::ExposeSecret as _;

use super::endpoint::{Endpoint, Unusable};
use super::frame::{Malformed, Unframer};
use super::status::{Presumed, Status, Trouble};
use super::token::Bearer;
use crate::limits::{FIRESTORE_CONNECT, FIRESTORE_PING};
use crate::net::client::{ConnectError, Connector};
use crate::net::tls;

/// A connection without a call is closed after so long; it is not asked for signs of life meanwhile.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of an answer's header fields.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// The way to one database.
pub(super) struct Channel {
    http: legacy::Client<Connector, Full<Bytes>>,
    base: Uri,
    /// Which database is meant, for whoever passes calls on by their headers.
    prefix: HeaderValue,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request was not sent.
    NotSent(String),
    /// Firestore takes no request of so many bytes.
    TooLarge {
        bytes: usize,
    },
    /// An answer that is not read to its end.
    TooMuch,
    /// It may have arrived; what came of it is not known.
    Broken(String),
    Status(Status),
}

impl Failure {
    pub fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Status(status) if status.is_unauthenticated())
    }

    pub fn trouble(self, presumed: Presumed) -> Trouble {
        match self {
            Self::NotSent(why) => Trouble::Unreachable(why),
            Self::TooLarge { bytes } => Trouble::Refused(format!("a request of {bytes} bytes is too large")),
            Self::TooMuch => Trouble::Refused(Malformed::TooLong.to_string()),
            Self::Broken(why) => Trouble::Unknown(why),
            Self::Status(status) => status.trouble(presumed),
        }
    }
}

impl Channel {
    pub fn new(endpoint: &Endpoint, database: &str) -> Result<Self, Unusable> {
        let base = endpoint.base()?;
        let secure = base.scheme_str() == Some("https");
        let connector = Connector {
            tls: if secure { Some(tls::client(None, &[tls::H2])?) } else { None },
            // A private endpoint of Google's has a private address. Who is there is proven by TLS.
            allow_private: true,
            deadline: FIRESTORE_CONNECT,
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http2_only(true)
            .http2_keep_alive_interval(FIRESTORE_PING)
            .http2_keep_alive_timeout(FIRESTORE_PING)
            .http2_max_header_list_size(HEAD_BYTES_MAX)
            .build(connector);
        Ok(Self { http, base, prefix: HeaderValue::try_from(database)? })
    }

    /// Calls a method; `left` is told to the server. The caller keeps the time.
    pub async fn call(
        &self,
        method: &'static str,
        frame: Bytes,
        token: &Bearer,
        left: Duration,
    ) -> Result<Vec<Bytes>, Failure> {
        let request = self
            .request(method, frame, token, left)
            .map_err(|_| Failure::NotSent("no request can be made".to_owned()))?;
        let response = self.http.request(request).await.map_err(|error| failed(&error))?;
        answered(response).await
    }

    fn request(
        &self,
        method: &'static str,
        frame: Bytes,
        token: &Bearer,
        left: Duration,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let uri = Uri::builder()
            .scheme(self.base.scheme_str().unwrap_or_default())
            .authority(self.base.authority().map_or("", |authority| authority.as_str()))
            .path_and_query(format!("/google.firestore.v1.Firestore/{method}"))
            .build()?;
        let mut authorization = HeaderValue::try_from(token.expose_secret())?;
        authorization.set_sensitive(true);
        Request::post(uri)
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, concat!("gemba/", env!("CARGO_PKG_VERSION")))
            .header(header::AUTHORIZATION, authorization)
            .header("google-cloud-resource-prefix", self.prefix.clone())
            .header("grpc-timeout", format!("{}m", left.as_millis()))
            .body(Full::new(frame))
    }
}

async fn answered(response: Response<Incoming>) -> Result<Vec<Bytes>, Failure> {
    let (head, mut body) = response.into_parts();
    // An answer that is nothing but trailers.
    if let Some(status) = status(&head.headers) {
        return if status.is_ok() { Ok(Vec::new()) } else { Err(Failure::Status(status)) };
    }
    if head.status != StatusCode::OK {
        return Err(Failure::Status(Status::of_http(head.status.as_u16())));
    }
    let mut unframer = Unframer::default();
    let mut messages = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Broken(broken(&error)))?;
        if let Some(data) = frame.data_ref() {
            unframer.push(data, &mut messages).map_err(|error| match error {
                Malformed::TooLong => Failure::TooMuch,
                Malformed::Compressed => Failure::Broken(error.to_string()),
            })?;
        } else if let Some(status) = frame.trailers_ref().and_then(status) {
            if !status.is_ok() {
                return Err(Failure::Status(status));
            }
            if !unframer.is_between() {
                return Err(Failure::Broken("the answer ended within a message".to_owned()));
            }
            return Ok(messages);
        }
    }
    Err(Failure::Broken("the answer ended without a status".to_owned()))
}

fn status(headers: &HeaderMap) -> Option<Status> {
    let code = headers.get("grpc-status")?;
    Some(Status::read(code.as_bytes(), headers.get("grpc-message").map(HeaderValue::as_bytes)))
}

fn failed(error: &legacy::Error) -> Failure {
    match ConnectError::behind(error) {
        Some(error) => Failure::NotSent(error.to_string()),
        // Whose call waited for another's connection is not told why there is none.
        None if error.is_connect() => Failure::NotSent("no connection".to_owned()),
        None => Failure::Broken(match error.source().and_then(|error| error.downcast_ref()) {
            Some(error) => broken(error),
            None => "the connection broke".to_owned(),
        }),
    }
}

fn broken(error: &hyper::Error) -> String {
    if error.is_timeout() {
        return format!("the connection gave no sign of life for {FIRESTORE_PING:?}");
    }
    "the connection broke before the answer's end".to_owned()
}
