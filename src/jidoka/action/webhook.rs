//! `webhook`: a POST signed by Standard Webhooks. Its `webhook-id` and its `Idempotency-Key` are the action's id, the
//! same on every try and after a crash.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use tokio::time::Instant;

use super::carry::{Carry, Trying};
use super::payload;
use crate::clock;
use crate::jidoka::governor::ActionRequest;
use crate::net::caller::{CallTarget, Caller};
use crate::net::retry::Miss;
use crate::signature::Signer;
use crate::trace::TraceContext;

/// Where a webhook goes, and what it is signed with. It prints neither.
#[derive(Debug)]
pub struct Endpoint {
    pub to: CallTarget,
    pub signer: Signer,
}

/// Calls one endpoint.
pub struct Client {
    endpoint: Arc<Endpoint>,
    caller: Caller,
}

impl Client {
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { caller: Caller::new(&endpoint.to), endpoint }
    }

    fn request(
        &self,
        order: &ActionRequest,
        trace: Option<TraceContext>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let body = payload::message(order);
        let id = order.intent.action.to_string();
        let signed = self.endpoint.signer.sign(&body, &id, clock::wall().0 / 1000);
        let mut request = Request::post(self.endpoint.to.url.clone())
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
            let replied = self.caller.ask(request, until).await;
            replied.map_err(|error| error.miss)?.judge()
        })
    }
}
