//! Orders of operators: a reason in, a receipt out. Without a reason nothing is done.

use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::routes::{Order, Route};
use super::{Again, Line, Refused, Said};
use crate::case::CaseId;
use crate::event::{Subject, Verb};
use crate::limits::{BODY_READ_SECONDS, ORDER_BYTES_MAX, REASON_BYTES_MAX};

/// What an order says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
    /// Of `quota` only.
    quota_remaining: Option<u32>,
}

/// Why an order was not carried out.
pub enum Failed {
    /// It cannot be read, with this status.
    Unread(StatusCode, String),
    Refused(Refused),
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

fn bad(what: impl Into<String>) -> Failed {
    Failed::Unread(StatusCode::BAD_REQUEST, what.into())
}

/// Carries out the order of `actor`.
pub async fn carry_out(
    line: &dyn Line,
    route: Route,
    actor: &str,
    body: &mut Incoming,
) -> Result<Value, Failed> {
    let limit = Duration::from_secs(u64::from(BODY_READ_SECONDS));
    let read = tokio::time::timeout(limit, Limited::new(body, ORDER_BYTES_MAX).collect()).await;
    let slow = |_| Failed::Unread(StatusCode::REQUEST_TIMEOUT, "the body came too slowly".into());
    let bytes = read
        .map_err(slow)?
        .map_err(|_| bad(format!("the body cannot be read; it has at most {ORDER_BYTES_MAX} bytes")))?;
    let bytes = bytes.to_bytes();
    if let Route::DryRun { id } = &route {
        let done = line.dry_run(case(id)?).await?;
        return Ok(json!(done));
    }
    let body: Body = if bytes.is_empty() {
        Body::default()
    } else {
        serde_json::from_slice(&bytes)
            .map_err(|error| bad(format!("the body is not as it should be: {error}")))?
    };
    let reason = body.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    let reason = reason.ok_or_else(|| bad("a reason is required: {\"reason\":\"…\"}"))?;
    if reason.len() > REASON_BYTES_MAX {
        return Err(bad(format!("a reason has at most {REASON_BYTES_MAX} bytes")));
    }
    let said = Said { actor: actor.into(), reason: reason.into() };
    let for_quota = matches!(route, Route::Govern { order: Order::Quota, .. });
    if body.quota_remaining.is_some() && !for_quota {
        return Err(bad("`quota_remaining` belongs to an order of quota"));
    }
    Ok(match route {
        Route::Govern { tenant, sku, order } => {
            let subject = Subject::read(&tenant, &sku).map_err(|illegal| bad(illegal.to_string()))?;
            let verb = match order {
                Order::Halt => Verb::Halt,
                Order::Resume => Verb::Resume,
                Order::Entitle => Verb::Entitle,
                Order::Revoke => Verb::Revoke,
                Order::Quota => {
                    let missing = || bad("`quota_remaining` is missing: the actions left in this window");
                    Verb::Quota(body.quota_remaining.ok_or_else(missing)?)
                }
            };
            let (ordered, governor) = line.command(subject, verb, said).await?;
            json!({"seq": ordered.seq, "receipt_id": ordered.receipt_id, "governor": governor})
        }
        Route::Replay { id } => json!(line.replay(case(&id)?, said, Again::Replay).await?),
        Route::Resend { id } => json!(line.replay(case(&id)?, said, Again::Resend).await?),
        Route::Discard { id } => json!(line.discard(case(&id)?, said).await?),
        Route::PolicyReload => match line.reload(said).await? {
            None => json!({"changed": false}),
            Some((ordered, rules)) => json!({
                "changed": true, "seq": ordered.seq, "receipt_id": ordered.receipt_id, "policy": rules,
            }),
        },
        Route::Live
        | Route::Ready
        | Route::Metrics
        | Route::Status
        | Route::Signal { .. }
        | Route::Receipt { .. }
        | Route::Governors
        | Route::Governor { .. }
        | Route::DeadLetters
        | Route::DeadLetter { .. }
        | Route::DryRun { .. }
        | Route::Policy => return Err(bad("this path is only read")),
    })
}

fn case(id: &str) -> Result<CaseId, Failed> {
    id.parse().map_err(|error| bad(format!("{error}")))
}
