//! `alertmanager`: alerts of a group, to every member of a cluster of Alertmanager (API version 2). It is told of all of them, in
//! parts. A member that has taken a part is not told it again when another one has to be.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{self, HeaderValue};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::http::{ChannelCaller, JSON, judge};
use super::meter::CallMeter;
use super::text::{link, plain, time};
use crate::alert::{ListedAlert, Notice};
use crate::event::UnixMillis;
use crate::limits::ALERTMANAGER_PART_ALERTS;
use crate::net::caller::CallTarget;
use crate::net::retry::Miss;

/// A cluster of Alertmanager.
#[derive(Clone)]
pub struct Alertmanager {
    /// Each member. One without a path has the API where Alertmanager has it.
    pub members: Vec<CallTarget>,
    pub authorization: Option<HeaderValue>,
    /// How often a group that is firing is told again.
    pub repeat: Duration,
}

impl std::fmt::Debug for Alertmanager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alertmanager").field("repeat", &self.repeat).finish_non_exhaustive()
    }
}

pub struct AlertmanagerChannel {
    members: Vec<ChannelCaller>,
    authorization: Option<HeaderValue>,
    repeat: Duration,
    board: Option<Box<str>>,
}

impl AlertmanagerChannel {
    pub fn new(configured: &Alertmanager, board: Option<Box<str>>) -> Self {
        let members =
            configured.members.iter().map(|member| ChannelCaller::new(&with_path(member))).collect();
        let Alertmanager { authorization, repeat, .. } = configured.clone();
        Self { members, authorization, repeat, board }
    }
}

impl AlertmanagerChannel {
    /// Tells one member what it has not taken yet.
    async fn tell(
        &self,
        (number, member): (usize, &ChannelCaller),
        delivery: &mut Delivery,
        meter: &CallMeter,
        until: Instant,
    ) -> Result<(), Miss> {
        for place in 0..delivery.notice.alerts.len().div_ceil(ALERTMANAGER_PART_ALERTS) {
            let part = format!("member {number}, part {place}");
            if delivery.is_finished(&part) {
                continue;
            }
            let notice = &delivery.notice;
            let alerts = notice.alerts.chunks(ALERTMANAGER_PART_ALERTS).nth(place).unwrap_or_default();
            let body = shown(alerts, notice, self.repeat, self.board.as_deref()).to_string().into_bytes();
            let headers = self.authorization.iter().map(|value| (header::AUTHORIZATION, value.clone()));
            meter.call();
            let replied = member.post(None, JSON, headers.collect(), body, until).await;
            judge(&replied?, "", &[])?;
            delivery.finish(&part);
        }
        Ok(())
    }
}

/// Where Alertmanager takes alerts.
const ALERTS_PATH: &str = "/api/v2/alerts";

fn with_path(member: &CallTarget) -> CallTarget {
    let mut member = member.clone();
    if matches!(member.url.path(), "" | "/") {
        let path = match member.url.query() {
            Some(query) => format!("{ALERTS_PATH}?{query}"),
            None => ALERTS_PATH.to_owned(),
        };
        let mut parts = member.url.clone().into_parts();
        parts.path_and_query = path.parse().ok();
        // A URL that had a path, if only `/`, is one with a different path.
        member.url = Uri::from_parts(parts).unwrap_or(member.url);
    }
    member
}

impl Deliver for AlertmanagerChannel {
    fn deliver<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        meter: &'a CallMeter,
        until: Instant,
    ) -> Delivering<'a> {
        Box::pin(async move {
            let mut missed = None;
            for (number, member) in self.members.iter().enumerate() {
                // A member that hangs leaves time for those after it.
                let left = until.saturating_duration_since(Instant::now());
                let share = left / u32::try_from(self.members.len() - number).unwrap_or(u32::MAX);
                let by = Instant::now() + share;
                if let Err(miss) = self.tell((number, member), delivery, meter, by).await {
                    delivery.missed(&miss);
                    // One that may take it later is asked again, whatever the others say.
                    missed = missed.filter(|before| matches!(before, Miss::Again { .. })).or(Some(miss));
                }
            }
            missed.map_or_else(|| Ok(Delivered::default()), Err)
        })
    }
}

/// The shortest time for which an alert is firing there. Alertmanager ends an alert at its `endsAt`, and a group that is acknowledged,
/// silenced or quiet is not repeated, so that time has to be longer than people leave such a group. The end itself is told.
const FIRING_MIN: Duration = Duration::from_hours(30 * 24);

fn shown(alerts: &[ListedAlert], notice: &Notice, repeat: Duration, board: Option<&str>) -> Value {
    let span = repeat.saturating_mul(2).max(FIRING_MIN);
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let end = UnixMillis(notice.time.0.saturating_add(span));
    let alerts = alerts.iter().map(|alert| {
        let mut shown = json!({
            "labels": labels(alert, &notice.node),
            "annotations": annotations(alert),
            "startsAt": time(alert.since),
            "endsAt": time(alert.ended.unwrap_or(end)),
        });
        if let Some(url) = link(board, alert.id) {
            shown["generatorURL"] = url.into();
        }
        shown
    });
    alerts.collect()
}

/// What makes it the same alert: nothing that changes while it is open, and no label without a value.
pub fn labels(alert: &ListedAlert, node: &str) -> BTreeMap<&'static str, String> {
    let mut labels = BTreeMap::new();
    let mut add = |name, value: &str| {
        if !value.is_empty() {
            labels.insert(name, plain(value));
        }
    };
    add("alertname", alert.kind.into());
    add("severity", alert.importance.into());
    add("name", &alert.name);
    if alert.tenant.is_none() {
        add("node", node);
    }
    let others = [
        ("tenant", &alert.tenant),
        ("sku", &alert.sku),
        ("source", &alert.source),
        ("assurance", &alert.assurance),
        ("owner", &alert.owner),
        ("target", &alert.target),
    ];
    for (name, value) in others {
        add(name, value.as_deref().unwrap_or_default());
    }
    labels
}

pub fn annotations(alert: &ListedAlert) -> Value {
    let mut annotations = json!({ "summary": plain(&alert.message), "receipt": &*alert.receipt });
    if alert.members > 0 {
        annotations["governors"] = alert.members.to_string().into();
    }
    if let Some(signal) = &alert.signal {
        annotations["signal"] = plain(signal).into();
    }
    annotations
}

#[cfg(test)]
mod tests {
    use super::super::tests::notice;
    use super::*;

    #[test]
    fn a_url_without_a_path_is_that_of_the_member_and_another_is_called_as_it_is() {
        for (configured, called) in [
            ("http://127.0.0.1:9093", "http://127.0.0.1:9093/api/v2/alerts"),
            ("https://am.example.com/", "https://am.example.com/api/v2/alerts"),
            ("http://[::1]:9093/?team=a", "http://[::1]:9093/api/v2/alerts?team=a"),
            ("http://a.b/api/v2/alerts", "http://a.b/api/v2/alerts"),
            ("http://a.b/am/api/v2/alerts", "http://a.b/am/api/v2/alerts"),
        ] {
            let member = CallTarget { url: configured.parse().unwrap(), tls: None, allow_private: true };
            assert_eq!(with_path(&member).url.to_string(), called);
        }
    }

    #[test]
    fn alerts_have_the_form_of_version_2() {
        let mut notice = notice("disk", 2);
        notice.alerts[1].ended = Some(UnixMillis(1_800_000_060_000));
        let alerts =
            shown(&notice.alerts, &notice, Duration::from_hours(4), Some("https://gemba.example.com"));
        let golden = include_str!("golden/alertmanager.json");
        assert_eq!(alerts, serde_json::from_str::<Value>(golden).unwrap(), "{alerts:#}");
    }

    #[test]
    fn a_firing_alert_ends_when_that_is_told_and_outlives_its_repetition() {
        let notice = notice("disk", 1);
        for (repeat, hours) in [(1, 720), (4, 720), (720, 1440)] {
            let alerts = shown(&notice.alerts, &notice, Duration::from_hours(repeat), None);
            let expected = time(UnixMillis(notice.time.0 + hours * 3_600_000));
            assert_eq!(alerts[0]["endsAt"], expected.as_str());
        }
    }
}
