//! What stands in the body of an order: a reason, without which nothing is done.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;

use super::operations::{Asked, Body};
use super::terms::Said;
use crate::limits::{BODY_READ_SECONDS, ORDER_BYTES_MAX, REASON_BYTES_MAX};

/// What an order says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    reason: Option<String>,
    /// Of `quota` only.
    quota_remaining: Option<u32>,
}

/// Why a body is no order.
pub enum NoOrder {
    TooSlow,
    Wrong(String),
}

impl NoOrder {
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
        }
    }

    #[must_use]
    pub fn what(&self) -> &str {
        match self {
            Self::TooSlow => "the body came too slowly",
            Self::Wrong(what) => what,
        }
    }
}

/// Adds to what is asked what `actor` says in the body.
pub async fn read(asked: &mut Asked, is: Body, actor: &str, body: &mut Incoming) -> Result<(), NoOrder> {
    let limit = Duration::from_secs(u64::from(BODY_READ_SECONDS));
    let read = tokio::time::timeout(limit, Limited::new(body, ORDER_BYTES_MAX).collect()).await;
    let bytes = read.map_err(|_| NoOrder::TooSlow)?;
    let unread =
        |_| NoOrder::Wrong(format!("the body cannot be read; it has at most {ORDER_BYTES_MAX} bytes"));
    let bytes = bytes.map_err(unread)?.to_bytes();
    if is == Body::Nothing {
        return Ok(());
    }
    let order: Order = if bytes.is_empty() {
        Order::default()
    } else if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(NoOrder::Wrong("the body is not a JSON object".into()));
    } else {
        let unfit = |error| NoOrder::Wrong(format!("the body is not as it should be: {error}"));
        serde_json::from_slice(&bytes).map_err(unfit)?
    };
    let reason = order.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(NoOrder::Wrong(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    if order.quota_remaining.is_some() && is != Body::ReasonAndQuota {
        return Err(NoOrder::Wrong("`quota_remaining` belongs to an order of quota".into()));
    }
    asked.said = reason.map(|reason| Said { actor: actor.into(), reason: reason.into() });
    asked.quota_remaining = order.quota_remaining;
    Ok(())
}
