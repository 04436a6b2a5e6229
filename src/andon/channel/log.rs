//! `log`: one line of the node's own log.

use tokio::time::Instant;

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::meter::CallMeter;
use super::text::plain;
use crate::alert::{Importance, Notice};

pub struct LogChannel;

impl Deliver for LogChannel {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, _: &'a CallMeter, _: Instant) -> Delivering<'a> {
        Box::pin(async move {
            tell(&delivery.notice);
            Ok(Delivered::default())
        })
    }
}

fn tell(notice: &Notice) {
    let id = notice.id.to_string();
    // Whose it is stands with the alert that is named, the newest.
    let alert = notice.alerts.first();
    let tenant = alert.and_then(|alert| alert.tenant.as_deref());
    let sku = alert.and_then(|alert| alert.sku.as_deref());
    let owner = alert.and_then(|alert| alert.owner.as_deref());
    let (alert, summary) = (alert.map(|alert| alert.id.to_string()), plain(&notice.summary));
    let (alert, summary) = (alert.as_deref(), summary.as_str());
    let (tells, reason): (&str, &str) = (notice.tells.into(), notice.reason.into());
    let (kind, severity): (&str, &str) = (notice.kind.into(), notice.importance.into());
    let (name, firing, resolved) = (&*notice.name, notice.firing, notice.resolved);
    match notice.importance {
        Importance::Info => tracing::info!(
            target: "gemba::andon",
            notice = id, alert, tells, reason, severity, kind, name, tenant, sku, owner, firing, resolved, summary,
            "an alert to know of"
        ),
        Importance::Warning | Importance::Critical => tracing::warn!(
            target: "gemba::andon",
            notice = id, alert, tells, reason, severity, kind, name, tenant, sku, owner, firing, resolved, summary,
            "an alert"
        ),
    }
}
