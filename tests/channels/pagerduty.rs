//! PagerDuty: one incident for a group, whatever is sent twice; its end by the key that opened it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use gemba::alert::NoticeKind::{Acknowledged, Firing, Resolved};
use gemba::andon::channel::{ChannelKind, PagerDuty};

use crate::fake::{Answer, Fake};
use crate::{deliver, notice, target};

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

#[test]
fn a_refusal_says_why_without_the_key() {
    let (fake, _) = fake(Vec::new());
    let ends = deliver(kind(&fake, "secretsecret"), vec![notice("a", "page", Firing, 1)]);
    assert_eq!(ends, [(Some("it answered 400: bad key (secret)".into()), None, 1)]);
    let kind = kind(&fake, "secretsecret");
    assert!(!format!("{kind:?}").contains("secretsecret") && !format!("{kind:?}").contains("127.0.0.1"));
}
