//! `pagerduty`: events of its API, version 2. A group of alerts is an incident; its key is the group's name and its beginning, so
//! that one which begins again is a new incident. Acknowledgements and ends go by the same routing key, without which PagerDuty
//! drops them.
//! Where PagerDuty calls back, the group stands at the end of the title, too: webhooks tell of an incident's title, but of no key of an
//! incident that alerts made.
//!
//! A digest of several groups is an incident of its own, which is closed when all of them are over.

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::http::{ChannelCaller, JSON, judge};
use super::meter::CallMeter;
use super::text::{cut_in_the_middle, key, line, link, link_of, plain, time, unlisted};
use crate::alert::{GroupTag, Importance, Notice, NoticeKind};
use crate::limits::{PAGERDUTY_DETAILS_BYTES, PAGERDUTY_SUMMARY_CHARS};
use crate::net::caller::CallTarget;
use crate::net::retry::Miss;

/// An integration of PagerDuty.
#[derive(Clone, Debug)]
pub struct PagerDuty {
    /// `https://events.pagerduty.com/v2/enqueue`, or that of the EU.
    pub to: CallTarget,
    pub routing_key: SecretString,
}

pub struct PagerDutyChannel {
    caller: ChannelCaller,
    routing_key: SecretString,
    board: Option<Box<str>>,
    calls_back: bool,
}

impl PagerDutyChannel {
    pub fn new(configured: &PagerDuty, board: Option<Box<str>>, calls_back: bool) -> Self {
        let caller = ChannelCaller::new(&configured.to);
        Self { caller, routing_key: configured.routing_key.clone(), board, calls_back }
    }

    async fn send(&self, event: &Value, until: Instant) -> Result<(), Miss> {
        let body = serde_json::to_vec(event).unwrap_or_default();
        let replied = self.caller.post(None, JSON, Vec::new(), body, until).await?;
        judge(&replied, &errors(&replied.body), &[self.routing_key.expose_secret()])
    }
}

impl Deliver for PagerDutyChannel {
    fn deliver<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        meter: &'a CallMeter,
        until: Instant,
    ) -> Delivering<'a> {
        Box::pin(async move {
            let routing_key = self.routing_key.expose_secret();
            if delivery.notice.tells == NoticeKind::Firing {
                let event = trigger(&delivery.notice, routing_key, self.board.as_deref(), self.calls_back);
                self.send(&event, until).await?;
                return Ok(Delivered { reference: None, opens: true });
            }
            let groups = delivery.covers.iter().map(key);
            let mut keys: Vec<String> =
                groups.chain(delivery.notice.closes.iter().copied()).map(|key| key.to_string()).collect();
            keys.dedup();
            for key in keys {
                if !delivery.is_finished(&key) {
                    meter.call();
                    self.send(&change(delivery.notice.tells, routing_key, &key), until).await?;
                    delivery.finish(&key);
                }
            }
            Ok(Delivered::default())
        })
    }
}

fn change(tells: NoticeKind, routing_key: &str, key: &str) -> Value {
    let action = match tells {
        NoticeKind::Firing => "trigger",
        NoticeKind::Acknowledged => "acknowledge",
        NoticeKind::Resolved => "resolve",
    };
    json!({ "routing_key": routing_key, "event_action": action, "dedup_key": key })
}

fn trigger(notice: &Notice, routing_key: &str, board: Option<&str>, is_tagged: bool) -> Value {
    let severity = match notice.importance {
        Importance::Critical => "critical",
        Importance::Warning => "warning",
        Importance::Info => "info",
    };
    let key = key(&notice.id);
    let mut event = change(NoticeKind::Firing, routing_key, &key.to_string());
    let summary = plain(&notice.summary);
    let summary = if is_tagged {
        let room = PAGERDUTY_SUMMARY_CHARS - GroupTag::CHARS - 1;
        format!("{} {}", cut_in_the_middle(&summary, room), key.tag())
    } else {
        cut_in_the_middle(&summary, PAGERDUTY_SUMMARY_CHARS)
    };
    event["payload"] = json!({
        "summary": summary,
        "source": &*notice.node,
        "severity": severity,
        "timestamp": time(notice.time),
        "component": &*notice.name,
        "class": <&str>::from(notice.kind),
        "custom_details": details(notice, board),
    });
    event["client"] = "gemba".into();
    if let Some(url) = link_of(board, notice) {
        event["client_url"] = url.as_str().into();
        event["links"] = json!([{ "href": url, "text": "the alert on the board" }]);
    }
    event
}

/// The alerts that have room.
fn details(notice: &Notice, board: Option<&str>) -> Value {
    let mut alerts = Vec::new();
    let mut bytes = 1024;
    for alert in &notice.alerts {
        let shown = json!({
            "id": alert.id.to_string(),
            "message": plain(&alert.message),
            "line": line(alert),
            "severity": <&str>::from(alert.importance),
            "kind": <&str>::from(alert.kind),
            "name": &*alert.name,
            "tenant": alert.tenant.as_deref(),
            "sku": alert.sku.as_deref(),
            "source": alert.source.as_deref(),
            "assurance": alert.assurance.as_deref(),
            "owner": alert.owner.as_deref(),
            "target": alert.target.as_deref(),
            "signal": alert.signal.as_deref(),
            "receipt": &*alert.receipt,
            "since": time(alert.since),
            "link": link(board, alert.id),
        });
        bytes += shown.to_string().len() + 1;
        if bytes > PAGERDUTY_DETAILS_BYTES {
            break;
        }
        alerts.push(shown);
    }
    let more = unlisted(notice, alerts.len());
    json!({
        "firing": notice.firing,
        "resolved": notice.resolved,
        "reason": <&str>::from(notice.reason),
        "maybe_twice": notice.maybe_twice,
        "alerts": alerts,
        "more": more,
    })
}

/// What it says is wrong with an event.
fn errors(body: &[u8]) -> String {
    let Ok(said) = serde_json::from_slice::<Value>(body) else { return String::new() };
    let errors = said["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let errors: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
    if errors.is_empty() {
        said["message"].as_str().unwrap_or_default().to_owned()
    } else {
        errors.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::notice;
    use super::*;

    #[test]
    fn a_summary_and_its_details_stay_within_the_limits() {
        for text in ["x", "ü", "\u{1f525}", "\"", "\n"] {
            for (count, expected) in [(1, 1), (1023, 1023), (1024, 1024), (1025, 1024), (400_000, 1024)] {
                let mut notice = notice("disk", 1);
                notice.summary = format!("{}!", text.repeat(count - 1)).into();
                for alert in &mut notice.alerts {
                    alert.message = text.repeat(count).into();
                }
                let event = trigger(&notice, "key", Some("https://gemba.example.com/"), false);
                let summary = event["payload"]["summary"].as_str().unwrap();
                assert_eq!(summary.chars().count(), expected, "{text:?}");
                assert!(summary.ends_with('!') && !summary.contains('\n'));
                let details = &event["payload"]["custom_details"];
                assert!(details.to_string().len() <= PAGERDUTY_DETAILS_BYTES);
                assert!(event.to_string().len() < 512_000);
                let tagged = trigger(&notice, "key", None, true);
                let tagged = tagged["payload"]["summary"].as_str().unwrap();
                assert!(tagged.chars().count() <= PAGERDUTY_SUMMARY_CHARS, "{tagged}");
                assert_eq!(GroupTag::at_end(tagged), Some(key(&notice.id).tag()));
            }
        }
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let mut notice = notice("disk", 20);
        notice.firing = 400;
        for alert in &mut notice.alerts {
            alert.message = "m".repeat(20_000).into();
        }
        let details = details(&notice, None);
        assert_eq!((details["alerts"].as_array().unwrap().len(), &details["more"]), (1, &json!(399)));
    }

    #[test]
    fn an_event_has_the_form_of_version_2() {
        let event = trigger(&notice("disk", 1), "key", Some("https://gemba.example.com"), false);
        let golden = include_str!("golden/pagerduty.json");
        assert_eq!(event, serde_json::from_str::<Value>(golden).unwrap(), "{event:#}");
        let change = change(NoticeKind::Resolved, "key", "k");
        assert_eq!(change, json!({"routing_key": "key", "event_action": "resolve", "dedup_key": "k"}));
    }
}
