//! `webhook`: a POST signed by Standard Webhooks. Its `webhook-id` and its `Idempotency-Key` are the action's id, the
//! same on every try and after a crash.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{self, HeaderValue};
use tokio::time::Instant;

use super::carry::{Carry, Trying};
use super::payload;
use super::shape::{Shaped, WebhookShape};
use crate::clock;
use crate::jidoka::governor::ActionRequest;
use crate::net::caller::{CallTarget, Caller, NoReply};
use crate::net::retry::Miss;
use crate::signature::Signer;
use crate::trace::TraceContext;

/// Where a webhook goes, and what it is signed with. It prints neither.
#[derive(Debug)]
pub struct Endpoint {
    pub to: CallTarget,
    pub signer: Signer,
    /// By expressions; `None`: as Standard Webhooks advises.
    pub shape: Option<WebhookShape>,
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
    ) -> Result<Request<Full<Bytes>>, String> {
        let shaped = self.endpoint.shape.as_ref().map(|shape| shape.make(order)).transpose()?;
        let (content, headers) =
            shaped.map_or_else(Default::default, |Shaped { content, headers }| (content, headers));
        let (body, content_type) = content
            .unwrap_or_else(|| (payload::message(order), HeaderValue::from_static("application/json")));
        let id = order.intent.action.to_string();
        let signed = self.endpoint.signer.sign(&body, &id, clock::wall().0 / 1000);
        let mut request = Request::post(self.endpoint.to.url.clone())
            .header(header::CONTENT_TYPE, content_type)
            .header(header::USER_AGENT, concat!("gemba/", env!("CARGO_PKG_VERSION")))
            .header("idempotency-key", id);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(trace) = trace {
            request = request.header("traceparent", trace.to_string());
        }
        request.body(Full::new(body.into())).map_err(|_| "no request can be made for it".to_owned())
    }
}

impl Carry for Client {
    fn unfit(&self, order: &ActionRequest) -> Option<String> {
        self.endpoint.shape.as_ref().and_then(|shape| shape.make(order).err())
    }

    fn carry<'a>(
        &'a self,
        order: &'a ActionRequest,
        trace: Option<TraceContext>,
        until: Instant,
    ) -> Trying<'a> {
        Box::pin(async move {
            let request = self.request(order, trace).map_err(Miss::refused)?;
            let replied = self.caller.ask(request, until).await;
            replied.map_err(NoReply::for_now)?.judge()
        })
    }
}
