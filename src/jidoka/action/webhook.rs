//! `webhook`: a POST signed by Standard Webhooks. Its `webhook-id` and its `Idempotency-Key` are the action's id, the
//! same on every try and after a crash.
//!
//! The status decides, as soon as it is said: an action that the target carried out is not sent again because of what
//! stands behind its status line, be it no header, endless or cut off. Only HTTP/2 has no status without its whole head.
//! What the target writes behind the head is read, up to a bound and for a moment, only so that the connection can be
//! used again, and told to nobody; where it is longer or broken the connection is given up.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::{Request, Response, Uri, header};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::carry::{Carry, Trying};
use super::payload;
use super::retry::{self, Miss};
use crate::clock;
use crate::jidoka::governor::ActionRequest;
use crate::limits::{ACTION_CONNECT, REPLY_BYTES_MAX, TARGET_CALLS_MAX};
use crate::net::answer::Answer;
use crate::net::client::{ConnectError, Connector};
use crate::signature::Signer;
use crate::trace::TraceContext;

/// Where a webhook goes, and what it is signed with. Prints neither: a URL may be a secret.
pub struct Endpoint {
    pub url: Uri,
    pub signer: Signer,
    /// `None` where the URL says `http`.
    pub tls: Option<Arc<ClientConfig>>,
    pub allow_private: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}

/// A connection without a call is closed after so long.
const IDLE: Duration = Duration::from_secs(30);
/// Time for what stands behind the status.
const REST: Duration = Duration::from_secs(1);
/// Bytes of a reply's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Calls one endpoint, over connections that are kept.
pub struct Client {
    endpoint: Arc<Endpoint>,
    http: legacy::Client<Connector, Full<Bytes>>,
}

impl Client {
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        let connector = Connector {
            tls: endpoint.tls.clone(),
            allow_private: endpoint.allow_private,
            deadline: ACTION_CONNECT,
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(TARGET_CALLS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(16 * 1024)
            .build(connector);
        Self { endpoint, http }
    }

    fn request(
        &self,
        order: &ActionRequest,
        trace: Option<TraceContext>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let body = payload::message(order);
        let id = order.intent.action.to_string();
        let signed = self.endpoint.signer.sign(&body, &id, clock::wall().0 / 1000);
        let mut request = Request::post(self.endpoint.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("gemba/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", id);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", trace.to_string());
        }
        request.body(Full::new(body.into()))
    }
}

impl Client {
    /// What a target answers by `until`, or what else became of the request.
    async fn ask(&self, mut request: Request<Full<Bytes>>, until: Instant) -> Result<(), Miss> {
        let connection = capture_connection(&mut request);
        let mut answer: Option<Answer> = None;
        let mut asking = pin!(self.http.request(request));
        let asked = poll_fn(|cx| {
            let polled = asking.as_mut().poll(cx);
            // The client gives a connection away when all that was before on it is over. It sends the request later, in
            // a task of its own on this thread, so nothing of its answer has come yet.
            let mut extras = Extensions::new();
            if let Some(connected) = &*connection.connection_metadata() {
                connected.get_extras(&mut extras);
            }
            if let Some(of) = extras.remove::<Answer>()
                && answer.as_ref().is_none_or(|answer| !answer.is(&of))
            {
                of.begin();
                answer = Some(of);
            }
            polled
        });
        let asked = timeout_at(until, asked).await;
        let said = || answer.as_ref().and_then(Answer::status);
        match asked {
            Ok(Ok(reply)) => {
                let after = reply.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let judged = retry::judge(reply.status().as_u16(), after, SystemTime::now());
                // Longer than that, and its connection is dropped with it.
                let _read_or_not = timeout_at(until.min(Instant::now() + REST), rest(reply)).await;
                judged
            }
            Ok(Err(error)) => match said() {
                Some(status) => retry::judge(status, None, SystemTime::now()),
                None => Err(missed(&error)),
            },
            Err(_) => match said() {
                Some(status) => retry::judge(status, None, SystemTime::now()),
                // The caller's own deadline, which is the same, says so.
                None => std::future::pending().await,
            },
        }
    }
}

impl Carry for Client {
    fn carry<'a>(
        &'a self,
        order: &'a ActionRequest,
        trace: Option<TraceContext>,
        until: Instant,
    ) -> Trying<'a> {
        Box::pin(async move {
            let request =
                self.request(order, trace).map_err(|_| Miss::refused("no request can be made for it"))?;
            self.ask(request, until).await
        })
    }
}

/// Reads a reply to its end, or to the bound.
async fn rest(reply: Response<Incoming>) {
    let mut body = reply.into_body();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > REPLY_BYTES_MAX {
            return;
        }
    }
}

/// Why there was no reply.
fn missed(error: &legacy::Error) -> Miss {
    match ConnectError::behind(error) {
        Some(error) if error.is_final() => Miss::r#final(error.to_string()),
        Some(error) => Miss::again(error.to_string()),
        None => Miss::again("the connection broke before an answer came"),
    }
}
