//! PagerDuty's webhooks V3 (PagerDuty/developer-docs, docs/webhooks/01-Overview.md): one event a request.
//!
//! `data.incident_key` is the `dedup_key` of an incident that has no alerts. One that alerts made, as services do unless they are told
//! otherwise, has `null` there (REST API, "List incidents"); its title is the summary of its first alert, at whose end the group stands.

use serde::Deserialize;

use super::{NotACallback, Pressed, strict, unfit};
use crate::alert::{CallbackVerb, GroupNamed, GroupTag};
use crate::event::UnixMillis;
use crate::rfc3339;

#[derive(Deserialize)]
struct Message<T> {
    event: T,
}

#[derive(Deserialize)]
struct Kind {
    event_type: String,
}

#[derive(Deserialize)]
struct Event {
    occurred_at: String,
    agent: Option<Agent>,
    data: Incident,
}

/// Who, or what, made the event.
#[derive(Deserialize)]
struct Agent {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct Incident {
    incident_key: Option<String>,
    title: Option<String>,
    number: Option<u64>,
}

pub(super) fn read(body: &[u8]) -> Result<Option<Pressed>, NotACallback> {
    let body = strict(body)?;
    let Message { event: Kind { event_type } } = serde_json::from_slice(body).map_err(|why| unfit(&why))?;
    let (verb, done) = match event_type.as_str() {
        "incident.acknowledged" => (CallbackVerb::Acknowledge, "acknowledged"),
        "incident.resolved" => (CallbackVerb::Resolve, "resolved"),
        _ => return Ok(None),
    };
    let Message { event: Event { occurred_at, agent, data } } =
        serde_json::from_slice(body).map_err(|why| unfit(&why))?;
    let time = rfc3339::parse(&occurred_at).and_then(|time| u64::try_from(time.timestamp_millis()).ok());
    let pressed = time.ok_or_else(|| NotACallback("`event.occurred_at` is not a time of RFC 3339".into()))?;
    // What this node sent, what a timer of PagerDuty did, and what other tools did is nobody's word.
    let Some(agent) = agent.filter(|agent| matches!(agent.kind.as_str(), "user_reference" | "user")) else {
        return Ok(None);
    };
    let Incident { incident_key, title, number } = data;
    let key = incident_key.and_then(|key| key.parse().ok()).map(GroupNamed::Key);
    let tag = || title.as_deref().and_then(GroupTag::at_end).map(GroupNamed::Tag);
    let Some(group) = key.or_else(tag) else { return Ok(None) };
    let person = super::person([agent.summary, agent.id]);
    let reason = match number {
        Some(number) => format!("{done} in PagerDuty, incident {number}"),
        None => format!("{done} in PagerDuty"),
    };
    Ok(Some(Pressed { group, verb, person, reason, pressed: UnixMillis(pressed) }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alert::{AlertId, GroupKey};

    const KEY: GroupKey = GroupKey { group: AlertId([0xab; 16]), since: 0x19a_c2f8_b1d0 };

    fn event() -> Value {
        json!({"event": {
            "id": "01FKZSRAQJLP9S3OPM2VALGUPJ", "event_type": "incident.acknowledged", "resource_type": "incident",
            "occurred_at": "2026-01-02T03:04:05.678Z", "client": null,
            "agent": {"id": "PVE0ZR9", "type": "user_reference", "summary": "Jane Doe"},
            "data": {"id": "Q2CKYRLH85UNN4", "type": "incident", "number": 37, "status": "acknowledged",
                "incident_key": KEY.to_string(), "title": "the disk is full"},
        }})
    }

    /// The event, with a value elsewhere.
    fn with(pointer: &str, value: Value) -> Vec<u8> {
        let mut event = event();
        *event.pointer_mut(pointer).unwrap() = value;
        event.to_string().into_bytes()
    }

    #[test]
    fn a_persons_word_is_read() {
        let read = |body: &[u8]| super::read(body).unwrap();
        let said = Pressed {
            group: GroupNamed::Key(KEY),
            verb: CallbackVerb::Acknowledge,
            person: "Jane Doe".into(),
            reason: "acknowledged in PagerDuty, incident 37".into(),
            pressed: UnixMillis(1_767_323_045_678),
        };
        assert_eq!(read(event().to_string().as_bytes()), Some(said.clone()));
        let resolved = read(&with("/event/event_type", json!("incident.resolved"))).unwrap();
        assert_eq!(
            (resolved.verb, &*resolved.reason),
            (CallbackVerb::Resolve, "resolved in PagerDuty, incident 37")
        );

        // An incident that alerts made has no key.
        let titled = |title: &str| {
            let mut event = event();
            event["event"]["data"]["incident_key"] = Value::Null;
            event["event"]["data"]["title"] = title.into();
            read(event.to_string().as_bytes()).map(|said| said.group)
        };
        let title = format!("the disk is full {}", KEY.tag());
        assert_eq!(titled(&title), Some(GroupNamed::Tag(KEY.tag())));
        assert_eq!(titled("the disk is full"), None);
        assert_eq!(read(&with("/event/data/incident_key", json!("another tool's"))), None);
        let unnamed = json!({"type": "user_reference", "id": "PVE0ZR9"});
        assert_eq!(read(&with("/event/agent", unnamed)).unwrap().person, "PVE0ZR9");
        for empty in ["", " ", "\n:"] {
            let named = read(&with("/event/agent/summary", json!(empty))).unwrap();
            assert_eq!(named.person, "PVE0ZR9", "{empty:?}");
        }
        let nobody = json!({"type": "user_reference", "summary": "", "id": ""});
        assert_eq!(read(&with("/event/agent", nobody)).unwrap().person, "somebody");
    }

    #[test]
    fn what_is_no_persons_word_changes_nothing() {
        for (pointer, value) in [
            ("/event/event_type", json!("incident.unacknowledged")),
            ("/event/event_type", json!("incident.triggered")),
            ("/event/event_type", json!("service.updated")),
            ("/event/agent", Value::Null),
            ("/event/agent/type", json!("inbound_integration_reference")),
            ("/event/agent/type", json!("service_reference")),
        ] {
            assert_eq!(read(&with(pointer, value.clone())), Ok(None), "{pointer} {value}");
        }
        let ping =
            json!({"event": {"event_type": "pagey.ping", "data": {"type": "ping", "message": "hello"}}});
        assert_eq!(read(ping.to_string().as_bytes()), Ok(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let text = event().to_string();
        let twin = text.replacen("\"event_type\"", "\"event_type\":\"x\",\"event_type\"", 1);
        let deep = text.replacen("null", &format!("{}{}", "[".repeat(40), "]".repeat(40)), 1);
        for body in ["", "null", "[]", "{}", "{\"event\":{}}", &twin, &deep, &text[1..], &format!("{text}x")]
        {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        assert!(read(b"\xff").is_err());
        for (pointer, value) in [
            ("/event", json!("x")),
            ("/event/event_type", json!(1)),
            ("/event/occurred_at", json!("yesterday")),
            ("/event/occurred_at", json!("1900-01-01T00:00:00Z")),
            ("/event/occurred_at", Value::Null),
            ("/event/agent", json!("jane")),
            ("/event/agent/type", json!(1)),
            ("/event/agent/summary", json!(["jane"])),
            ("/event/data", Value::Null),
            ("/event/data/incident_key", json!(1)),
            ("/event/data/title", json!({})),
            ("/event/data/number", json!(-1)),
        ] {
            assert!(read(&with(pointer, value.clone())).is_err(), "{pointer} {value}");
        }
    }
}
