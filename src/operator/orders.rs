//! What stands in the body of an order: a reason, without which nothing is done.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;

use super::operations::{Asked, Body};
use super::terms::Said;
use crate::limits::{BODY_READ_SECONDS, ORDER_BYTES_MAX, REASON_BYTES_MAX};

/// What an order says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    reason: Option<Value>,
    /// Of `quota` only.
    quota_remaining: Option<Value>,
    /// Of levels of the log only.
    level: Option<Value>,
    /// Of silences only.
    when: Option<Value>,
    minutes: Option<Value>,
    /// Of tests of alerts only.
    severity: Option<Value>,
    name: Option<Value>,
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

const NOT_TEXT: &str = "`reason` must be text";

fn not_a_count() -> String {
    format!("`quota_remaining` must be a whole number from 0 to {}", u32::MAX)
}

/// Adds to what is asked what the body says; who says it is not known yet.
pub async fn read(asked: &mut Asked, is: Body, body: &mut Incoming) -> Result<(), NoOrder> {
    let limit = Duration::from_secs(u64::from(BODY_READ_SECONDS));
    let read = tokio::time::timeout(limit, Limited::new(body, ORDER_BYTES_MAX).collect()).await;
    let bytes = read.map_err(|_| NoOrder::TooSlow)?;
    let unread =
        |_| NoOrder::Wrong(format!("the body cannot be read; it has at most {ORDER_BYTES_MAX} bytes"));
    let bytes = bytes.map_err(unread)?.to_bytes();
    let order: Order = if bytes.is_empty() {
        Order::default()
    } else if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(NoOrder::Wrong("the body is not a JSON object".into()));
    } else {
        let unfit = |error| NoOrder::Wrong(format!("the body is not as it should be: {error}"));
        serde_json::from_slice(&bytes).map_err(unfit)?
    };
    let of_silence = order.when.is_some() || order.minutes.is_some();
    let of_test = order.severity.is_some() || order.name.is_some();
    let says = order.reason.is_some()
        || order.quota_remaining.is_some()
        || order.level.is_some()
        || of_silence
        || of_test;
    if is == Body::Nothing && says {
        return Err(NoOrder::Wrong("this request has no body".into()));
    }
    let reason = order.reason.as_ref().map(|reason| reason.as_str().ok_or(NOT_TEXT)).transpose();
    let reason = reason.map_err(|what| NoOrder::Wrong(what.into()))?;
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(NoOrder::Wrong(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    if order.quota_remaining.is_some() && is != Body::ReasonAndQuota {
        return Err(NoOrder::Wrong("`quota_remaining` belongs to an order of quota".into()));
    }
    if order.level.is_some() && is != Body::ReasonAndLevel {
        return Err(NoOrder::Wrong("`level` belongs to a change of the log's levels".into()));
    }
    if of_silence && is != Body::Silence {
        return Err(NoOrder::Wrong("`when` and `minutes` belong to a silence".into()));
    }
    if of_test && is != Body::TestAlert {
        return Err(NoOrder::Wrong("`severity` and `name` belong to a test of alerts".into()));
    }
    let text = |value: Option<Value>, name: &str| {
        let text = value.map(|value| value.as_str().map(str::to_owned).ok_or(()));
        let text = text.transpose().map_err(|()| NoOrder::Wrong(format!("`{name}` must be text")))?;
        match text {
            Some(text) if text.len() > REASON_BYTES_MAX => {
                Err(NoOrder::Wrong(format!("`{name}` has at most {REASON_BYTES_MAX} bytes")))
            }
            text => Ok(text),
        }
    };
    asked.when = text(order.when, "when")?;
    asked.severity = text(order.severity, "severity")?;
    asked.name = text(order.name, "name")?;
    let minutes = order.minutes.map(|value| value.as_u64().ok_or("`minutes` must be a whole number"));
    asked.minutes = minutes.transpose().map_err(|what| NoOrder::Wrong(what.into()))?;
    let level = order.level.map(|level| level.as_str().map(str::to_owned).ok_or("`level` must be text"));
    asked.level = level.transpose().map_err(|what| NoOrder::Wrong(what.into()))?;
    asked.said = reason.map(|reason| Said { actor: "".into(), reason: reason.into() });
    let count = |value: Value| value.as_u64().and_then(|count| count.try_into().ok());
    let quota = order.quota_remaining.map(|value| count(value).ok_or_else(not_a_count)).transpose();
    asked.quota_remaining = quota.map_err(NoOrder::Wrong)?;
    Ok(())
}
