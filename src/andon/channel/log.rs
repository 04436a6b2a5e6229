//! `log`: one line of the node's own log.

use tokio::time::Instant;

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::text::plain;
use crate::alert::{Importance, Notice};

pub struct LogChannel;

impl Deliver for LogChannel {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, _: Instant) -> Delivering<'a> {
        Box::pin(async move {
            tell(&delivery.notice);
            Ok(Delivered::once())
        })
    }
}

fn tell(notice: &Notice) {
    let id = notice.id.to_string();
    let alert = notice.alerts.first().map(|alert| alert.id.to_string());
    let (alert, summary) = (alert.as_deref(), plain(&notice.summary));
    let summary = summary.as_str();
    let (tells, reason): (&str, &str) = (notice.tells.into(), notice.reason.into());
    let (kind, severity): (&str, &str) = (notice.kind.into(), notice.importance.into());
    let (name, firing, resolved) = (&*notice.name, notice.firing, notice.resolved);
    match notice.importance {
        Importance::Info => tracing::info!(
            target: "gemba::andon",
            notice = id, alert, tells, reason, severity, kind, name, firing, resolved, summary, "an alert to know of"
        ),
        Importance::Warning | Importance::Critical => tracing::warn!(
            target: "gemba::andon",
            notice = id, alert, tells, reason, severity, kind, name, firing, resolved, summary, "an alert"
        ),
    }
}
