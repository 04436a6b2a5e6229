//! `webhook`: the body of Alertmanager's webhook, version 4, signed by Standard Webhooks as actions are. Its `webhook-id` is the
//! notice's id, the same on every try and after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::alertmanager::{annotations, labels};
use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::http::{ChannelCaller, JSON, judge, path_of};
use super::meter::CallMeter;
use super::text::{key, link, plain, time, title, unlisted};
use crate::alert::{Notice, NoticeKind};
use crate::clock;
use crate::net::caller::CallTarget;
use crate::net::retry::Miss;
use crate::signature::Signer;

/// A receiver of signed notifications.
#[derive(Clone, Debug)]
pub struct AlertWebhook {
    pub to: CallTarget,
    pub signer: Arc<Signer>,
}

pub struct WebhookChannel {
    caller: ChannelCaller,
    configured: AlertWebhook,
    board: Option<Box<str>>,
}

impl WebhookChannel {
    pub fn new(configured: &AlertWebhook, board: Option<Box<str>>) -> Self {
        Self { caller: ChannelCaller::new(&configured.to), configured: configured.clone(), board }
    }
}

impl Deliver for WebhookChannel {
    fn deliver<'a>(&'a self, delivery: &'a mut Delivery, _: &'a CallMeter, until: Instant) -> Delivering<'a> {
        Box::pin(async move {
            let body = body(&delivery.notice, self.board.as_deref()).to_string().into_bytes();
            let id = delivery.notice.id.to_string();
            let signed = self.configured.signer.sign(&body, &id, clock::wall().0 / 1000);
            let mut headers = Vec::new();
            for (name, value) in signed {
                let value = HeaderValue::from_str(&value);
                headers.push((
                    HeaderName::from_static(name),
                    value.map_err(|_| Miss::refused("the channel's name cannot be in a header"))?,
                ));
            }
            let replied = self.caller.post(None, JSON, headers, body, until).await?;
            judge(&replied, "", &path_of(&self.configured.to.url))?;
            Ok(Delivered::default())
        })
    }
}

/// Go's zero time: an alert that has not ended.
const NO_END: &str = "0001-01-01T00:00:00Z";

fn body(notice: &Notice, board: Option<&str>) -> Value {
    let all: Vec<BTreeMap<&str, String>> =
        notice.alerts.iter().map(|alert| labels(alert, &notice.node)).collect();
    let mut common = all.first().cloned().unwrap_or_default();
    common.retain(|name, value| all.iter().all(|labels| labels.get(name) == Some(value)));
    let mut common_annotations = json!({ "summary": plain(&notice.summary), "title": title(notice) });
    if let Some((by, reason)) = &notice.acknowledged {
        common_annotations["acknowledged_by"] = plain(by).into();
        common_annotations["acknowledged_reason"] = plain(reason).into();
    }
    let alerts = notice.alerts.iter().zip(&all).map(|(alert, labels)| {
        json!({
            "status": if alert.ended.is_some() { "resolved" } else { "firing" },
            "labels": labels,
            "annotations": annotations(alert),
            "startsAt": time(alert.since),
            "endsAt": alert.ended.map_or_else(|| NO_END.to_owned(), time),
            "generatorURL": link(board, alert.id).unwrap_or_default(),
            "fingerprint": alert.id.to_string().get(..16).unwrap_or_default(),
        })
    });
    let status = match notice.tells {
        NoticeKind::Firing | NoticeKind::Acknowledged => "firing",
        NoticeKind::Resolved => "resolved",
    };
    json!({
        "version": "4",
        "groupKey": key(&notice.id).to_string(),
        "truncatedAlerts": unlisted(notice, notice.alerts.len()),
        "status": status,
        "receiver": &*notice.id.channel,
        "groupLabels": { "alertname": <&str>::from(notice.kind), "name": &*notice.name },
        "commonLabels": common,
        "commonAnnotations": common_annotations,
        "externalURL": board.unwrap_or_default(),
        "notification_reason": <&str>::from(notice.reason),
        "alerts": alerts.collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, notice};
    use super::*;
    use crate::event::UnixMillis;

    #[test]
    fn a_body_is_as_it_is_documented() {
        let body = body(&notice("disk", 1), Some("https://gemba.example.com"));
        assert_eq!(body, documented("A channel `webhook` gets"), "{body:#}");
    }

    #[test]
    fn a_body_has_the_form_of_version_4() {
        let mut notice = notice("disk", 2);
        notice.firing = 40;
        notice.alerts[1].ended = Some(UnixMillis(1_800_000_060_000));
        let body = body(&notice, Some("https://gemba.example.com"));
        let golden = include_str!("golden/webhook.json");
        assert_eq!(body, serde_json::from_str::<Value>(golden).unwrap(), "{body:#}");
    }
}
