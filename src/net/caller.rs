//! Calls of targets that others run: actions and notifications. A caller keeps its connections; where they may lead, its
//! [`Connector`] judges.
//!
//! The status decides, as soon as it is said: a request that the target carried out is not sent again because of what
//! stands behind its status line, be it no header, endless or cut off. Only HTTP/2 has no status without its whole head.
//! What the target writes behind the head is read up to a bound and for a moment; where it is longer or broken the connection
//! is given up.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::{Request, Response, Uri, header};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::client::{ConnectError, Connector};
use super::retry::{Miss, judge};
use crate::limits::{ACTION_CONNECT, REPLY_BYTES_MAX, REPLY_KEPT_BYTES_MAX, TARGET_CALLS_MAX};

/// A connection without a call is closed after so long.
const IDLE: Duration = Duration::from_secs(30);
/// Time for what stands behind the status.
const REST: Duration = Duration::from_secs(1);
/// Bytes of a reply's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Where requests go. It prints nothing: a URL may be a secret.
#[derive(Clone)]
pub struct CallTarget {
    pub url: Uri,
    /// `None` where the URL says `http`.
    pub tls: Option<Arc<ClientConfig>>,
    /// Addresses that [`egress`](super::egress) refuses may be called.
    pub allow_private: bool,
}

impl std::fmt::Debug for CallTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallTarget").finish_non_exhaustive()
    }
}

/// What a target answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replied {
    pub status: u16,
    pub retry_after: Option<String>,
    /// Its beginning, at most [`REPLY_KEPT_BYTES_MAX`].
    pub body: Bytes,
}

impl Replied {
    /// What it means, by its status.
    ///
    /// # Errors
    /// [`Miss`], of every status that is not a success.
    pub fn judge(&self) -> Result<(), Miss> {
        judge(self.status, self.retry_after.as_deref(), SystemTime::now())
    }
}

/// There is no answer.
#[derive(Clone, Debug)]
pub enum NoReply {
    /// Nothing was sent.
    NoConnection(ConnectError),
    /// The target may have carried the request out.
    Broken,
}

impl NoReply {
    /// What it is to a request that is made now or not at all.
    #[must_use]
    pub fn for_now(self) -> Miss {
        match self {
            Self::NoConnection(error) if error.is_final() => Miss::r#final(error.to_string()),
            Self::NoConnection(error) => Miss::unsent(error.to_string()),
            Self::Broken => Miss::again("the connection broke before an answer came"),
        }
    }

    /// What it is to a request that may be made hours later.
    #[must_use]
    pub fn for_later(self) -> Miss {
        match self {
            Self::NoConnection(error) => error.for_later(),
            Self::Broken => self.for_now(),
        }
    }
}

/// Calls one target, over connections that are kept.
pub struct Caller {
    http: legacy::Client<Connector, Full<Bytes>>,
}

impl Caller {
    #[must_use]
    pub fn new(target: &CallTarget) -> Self {
        let connector = Connector {
            tls: target.tls.clone(),
            allow_private: target.allow_private,
            deadline: ACTION_CONNECT,
        };
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(TARGET_CALLS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http2_max_header_list_size(16 * 1024)
            .build(connector);
        Self { http }
    }

    /// What a target answers by `until`. Without an answer by then it waits on, and so leaves the verdict to its caller, who has
    /// the same deadline.
    ///
    /// # Errors
    /// [`NoReply`], if something else became of the request.
    pub async fn ask(&self, mut request: Request<Full<Bytes>>, until: Instant) -> Result<Replied, NoReply> {
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
        let only = |status| Replied { status, retry_after: None, body: Bytes::new() };
        match asked {
            Ok(Ok(reply)) => {
                let after = reply.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let mut replied = only(reply.status().as_u16());
                replied.retry_after = after.map(str::to_owned);
                let mut body = BytesMut::new();
                // Longer than that, and its connection is dropped with it.
                let _read_or_not = timeout_at(until.min(Instant::now() + REST), rest(reply, &mut body)).await;
                replied.body = body.freeze();
                Ok(replied)
            }
            Ok(Err(error)) => said().map(only).ok_or_else(|| missed(&error)),
            Err(_) => match said() {
                Some(status) => Ok(only(status)),
                None => std::future::pending().await,
            },
        }
    }
}

/// Reads a reply to its end, or to the bound, and keeps its beginning.
async fn rest(reply: Response<Incoming>, kept: &mut BytesMut) {
    let mut body = reply.into_body();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        bytes += data.len();
        let room = REPLY_KEPT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if bytes > REPLY_BYTES_MAX {
            return;
        }
    }
}

/// Why there was no reply.
fn missed(error: &legacy::Error) -> NoReply {
    match ConnectError::behind(error) {
        Some(error) => NoReply::NoConnection(error.clone()),
        None => NoReply::Broken,
    }
}
