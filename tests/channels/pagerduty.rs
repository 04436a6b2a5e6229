//! PagerDuty: one incident for a group, whatever is sent twice; its end by the key that opened it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gemba::alert::NoticeKind::{Acknowledged, Firing, Resolved};
use gemba::alert::{
    Alarm, AlertCause, AlertEffects, AlertLabels, Alerts, CauseKind, Importance, Raise, Routes, RoutesSource,
};
use gemba::andon::channel::{ChannelKind, Dispatcher, PagerDuty};
use gemba::clock;
use gemba::ids::{Seq, UnixMillis};

use crate::fake::{Answer, Fake};
use crate::{channel, deliver, dispatcher, notice, on_runtime, target};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// Open incidents by routing key and dedup key: what is told of them.
type Incidents = Arc<Mutex<BTreeMap<(String, String), String>>>;

/// Keeps incidents as PagerDuty does; each of `first` is answered before that.
fn fake(mut first: Vec<Answer>) -> (Fake, Incidents) {
    let incidents = Incidents::default();
    let open = Arc::clone(&incidents);
    let fake = Fake::start(move |asked| {
        if !first.is_empty() {
            return first.remove(0);
        }
        let event = asked.json();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let key = (text("routing_key"), text("dedup_key"));
        if key.0.len() != 32 {
            let errors = format!(r#"{{"message":"invalid","errors":["bad key {}"]}}"#, key.0);
            return (400, "", errors);
        }
        let mut open = open.lock().unwrap();
        match text("event_action").as_str() {
            "trigger"
                if event["payload"]["summary"].as_str().is_some_and(|text| text.chars().count() <= 1024) =>
            {
                open.insert(key, "triggered".into());
            }
            // Of a key that is not open they are dropped without a word.
            "acknowledge" => {
                open.entry(key).and_modify(|state| *state = "acknowledged".into());
            }
            "resolve" => {
                open.remove(&key);
            }
            _ => return (400, "", r#"{"message":"invalid"}"#.into()),
        }
        (202, "", r#"{"status":"success"}"#.into())
    });
    (fake, incidents)
}

fn kind(fake: &Fake, key: &str) -> ChannelKind {
    ChannelKind::PagerDuty(PagerDuty { to: target(&fake.url("/v2/enqueue")), routing_key: key.into() })
}

#[test]
fn a_group_is_one_incident_from_trigger_to_resolve() {
    let (fake, open) = fake(vec![(429, "retry-after: 1\r\n", String::new()), (500, "", String::new())]);
    // Killed and submitted again: the same incident.
    let ends = deliver(kind(&fake, KEY), vec![notice("a", "page", Firing, 1)]);
    assert_eq!(ends, [(None, None, 3)]);
    deliver(kind(&fake, KEY), vec![notice("a", "page", Firing, 1), notice("b", "page", Firing, 1)]);
    assert_eq!(open.lock().unwrap().len(), 2);
    deliver(kind(&fake, KEY), vec![notice("a", "page", Acknowledged, 2)]);
    assert_eq!(open.lock().unwrap().values().filter(|state| *state == "acknowledged").count(), 1);
    // By a different key the end is dropped.
    deliver(kind(&fake, &KEY.to_uppercase()), vec![notice("a", "page", Resolved, 3)]);
    assert_eq!(open.lock().unwrap().len(), 2);
    deliver(kind(&fake, KEY), vec![notice("a", "page", Resolved, 3), notice("b", "page", Resolved, 2)]);
    assert!(open.lock().unwrap().is_empty());
}

/// The machine of alerts with this channel: a hundred groups that begin while PagerDuty asks for a pause are some incidents, and when
/// all of them are over none is open.
#[test]
fn a_digest_is_an_incident_that_closes_with_its_last_group() {
    let (fake, open) = fake(vec![(429, "retry-after: 1\r\n", String::new())]);
    let channels = vec!["page".to_owned()];
    let source = RoutesSource { critical: channels.clone(), channels, ..RoutesSource::default() };
    let routes = Routes::compile(source).unwrap();
    let cause = |number: usize| AlertCause {
        kind: CauseKind::TargetBreaker,
        subject: None,
        name: format!("target-{number}").into(),
        told_by: None,
    };
    let raise = |number| {
        let (cause, importance, labels) = (cause(number), Importance::Critical, AlertLabels::default());
        Alarm::Raise(Box::new(Raise {
            cause,
            importance,
            message: "m".into(),
            member: None,
            labels,
            minutes: 0,
        }))
    };
    let began = clock::wall().0;
    on_runtime(async {
        let mut dispatcher = dispatcher(vec![channel("page", kind(&fake, KEY))]);
        let mut alerts = Alerts::new("example.com/gemba/", "n-1");
        let (mut seq, mut now) = (0, began);
        let mut step = |alarm: &Alarm, alerts: &mut Alerts, dispatcher: &mut Dispatcher| {
            let mut effects = AlertEffects::default();
            (seq, now) = (seq + 1, now + 200);
            alerts.step((Seq(seq), UnixMillis(now)), alarm, &routes, &mut effects);
            effects.notices.into_iter().for_each(|notice| dispatcher.submit(notice));
        };
        for number in 0..100 {
            step(&raise(number), &mut alerts, &mut dispatcher);
        }
        let settle = async |step: &mut dyn FnMut(&Alarm, &mut Alerts, &mut Dispatcher),
                            alerts: &mut Alerts,
                            dispatcher: &mut Dispatcher| {
            for _ in 0..100 {
                step(&Alarm::Tick, alerts, dispatcher);
            }
            while dispatcher.under_way() > 0 {
                let ended = dispatcher.next().await;
                step(&ended, alerts, dispatcher);
            }
        };
        settle(&mut step, &mut alerts, &mut dispatcher).await;
        let incidents = open.lock().unwrap().len();
        assert!((2..100).contains(&incidents), "{incidents} incidents");
        for number in 0..99 {
            step(&Alarm::End(cause(number)), &mut alerts, &mut dispatcher);
        }
        for _ in 0..10 {
            settle(&mut step, &mut alerts, &mut dispatcher).await;
        }
        assert!(
            (1..=2).contains(&open.lock().unwrap().len()),
            "what fires still has its incident: {:?}",
            open.lock().unwrap()
        );
        step(&Alarm::End(cause(99)), &mut alerts, &mut dispatcher);
        for _ in 0..10 {
            settle(&mut step, &mut alerts, &mut dispatcher).await;
        }
        assert!(open.lock().unwrap().is_empty(), "{:?}", open.lock().unwrap());
    });
}

#[test]
fn a_refusal_says_why_without_the_key() {
    let (fake, _) = fake(Vec::new());
    let ends = deliver(kind(&fake, "secretsecret"), vec![notice("a", "page", Firing, 1)]);
    assert_eq!(ends, [(Some("it answered 400: bad key (secret)".into()), None, 1)]);
    let kind = kind(&fake, "secretsecret");
    assert!(!format!("{kind:?}").contains("secretsecret") && !format!("{kind:?}").contains("127.0.0.1"));
}
