//! Telemetry on its way to a receiver: one POST, and what is answered. Redirects are not followed. The operator has chosen the
//! address, so private ones are called.

use std::cell::RefCell;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::client::{ConnectError, Connector};
use super::client_tls::ClientTls;
use crate::limits::{ACTION_CONNECT, REPLY_BYTES_MAX};

/// A connection without a request is closed after so long.
const IDLE: Duration = Duration::from_secs(90);
/// Bytes of an answer's header fields.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// What both sides know, and 1.1 without TLS.
    Any,
    /// 2, also without TLS: what gRPC needs.
    Two,
}

/// What a receiver answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    /// Trailers stand behind the header fields.
    pub headers: HeaderMap,
    /// Its beginning.
    pub body: Bytes,
}

/// Posts to one receiver, over connections that are kept.
pub struct Poster {
    http: Http,
    tls: Option<Arc<ClientTls>>,
    client: RefCell<Option<Client>>,
}

/// Made for one configuration of TLS.
#[derive(Clone)]
struct Client {
    tls: Option<Arc<ClientConfig>>,
    http: legacy::Client<Connector, Full<Bytes>>,
}

impl std::fmt::Debug for Poster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poster").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Poster {
    /// `tls` is for URLs that say `https`.
    #[must_use]
    pub fn new(http: Http, tls: Option<Arc<ClientTls>>) -> Self {
        Self { http, tls, client: RefCell::new(None) }
    }

    /// Posts, and reads the answer, within `limit`.
    ///
    /// # Errors
    /// Why there is no whole answer, in words without secrets.
    pub async fn post(
        &self,
        url: &Uri,
        headers: HeaderMap,
        body: Bytes,
        limit: Duration,
    ) -> Result<Reply, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = url.clone();
        *request.headers_mut() = headers;
        let agent = HeaderValue::from_static(concat!("gemba/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(header::USER_AGENT, agent);
        let until = Instant::now() + limit;
        let http = self.client();
        let asked = timeout_at(until, http.request(request)).await;
        let response = asked.map_err(|_| format!("no answer within {limit:?}"))?;
        let response = response.map_err(|error| failed(&error))?;
        let (head, mut body) = response.into_parts();
        let mut reply = Reply { status: head.status, headers: head.headers, body: Bytes::new() };
        let is_whole = timeout_at(until, read(&mut body, &mut reply)).await.unwrap_or(false);
        // The status says what became of the request, whatever becomes of what stands behind it; but for gRPC, whose status is
        // in the trailers.
        match self.http {
            Http::Two if !is_whole => Err("the answer broke off".into()),
            Http::Any | Http::Two => Ok(reply),
        }
    }

    /// Another configuration of TLS needs connections of its own.
    fn client(&self) -> legacy::Client<Connector, Full<Bytes>> {
        let tls = self.tls.as_ref().map(|tls| tls.current());
        let mut held = self.client.borrow_mut();
        let same = |client: &&Client| match (&client.tls, &tls) {
            (Some(held), Some(current)) => Arc::ptr_eq(held, current),
            (held, current) => held.is_none() && current.is_none(),
        };
        if let Some(client) = held.as_ref().filter(same) {
            return client.http.clone();
        }
        let connector = Connector { tls: tls.clone(), allow_private: true, deadline: ACTION_CONNECT };
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .http2_only(self.http == Http::Two)
            .http1_max_buf_size(HEAD_BYTES_MAX as usize)
            .http2_max_header_list_size(HEAD_BYTES_MAX)
            .build(connector);
        *held = Some(Client { tls, http: http.clone() });
        http
    }
}

/// Reads what stands behind the head; whether all of it, as far as it is wanted, came.
async fn read(incoming: &mut Incoming, reply: &mut Reply) -> bool {
    let mut body = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let Ok(frame) = frame else { return false };
        match frame.into_data() {
            Ok(data) => {
                let room = REPLY_BYTES_MAX - body.len();
                body.extend_from_slice(&data[..data.len().min(room)]);
                reply.body = body.clone().freeze();
                // What is longer is not read; the connection goes with it.
                if body.len() == REPLY_BYTES_MAX {
                    return true;
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    reply.headers.extend(trailers);
                }
            }
        }
    }
    true
}

fn failed(error: &legacy::Error) -> String {
    if let Some(error) = ConnectError::behind(error) {
        return error.to_string();
    }
    let broken = error.source().and_then(|error| error.downcast_ref::<hyper::Error>());
    match broken {
        Some(error) if error.is_timeout() => "the connection gave no sign of life".into(),
        Some(_) | None => "the connection broke before an answer came".into(),
    }
}
