//! Slack's interactivity: a form whose `payload` is JSON, of the type `block_actions` where a button was pressed
//! (docs.slack.dev/reference/interaction-payloads/block_actions-payload).

use serde::Deserialize;

use super::{NotACallback, Pressed, strict, unfit};
use crate::alert::{CallbackVerb, GroupNamed, SLACK_ACKNOWLEDGE};
use crate::event::UnixMillis;
use crate::percent;

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Pushed {
    user: User,
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    username: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    value: Option<String>,
}

pub(super) fn read(body: &[u8], pressed: UnixMillis) -> Result<Option<Pressed>, NotACallback> {
    let payload = payload(body)?;
    let payload = strict(payload.as_bytes())?;
    let Kind { kind } = serde_json::from_slice(payload).map_err(|why| unfit(&why))?;
    if kind != "block_actions" {
        return Ok(None);
    }
    let Pushed { user, actions } = serde_json::from_slice(payload).map_err(|why| unfit(&why))?;
    let Some(action) = actions.into_iter().find(|action| action.action_id == SLACK_ACKNOWLEDGE) else {
        return Ok(None);
    };
    let key = action.value.and_then(|value| value.parse().ok());
    let key = key.ok_or_else(|| NotACallback("the button's `value` is not the key of a group".into()))?;
    let person = super::person([user.username, user.name, Some(user.id)]);
    let (group, verb) = (GroupNamed::Key(key), CallbackVerb::Acknowledge);
    Ok(Some(Pressed { group, verb, person, reason: "acknowledged in Slack".into(), pressed }))
}

/// The one `payload` of a form.
fn payload(body: &[u8]) -> Result<String, NotACallback> {
    let fields = body.split(|byte| *byte == b'&');
    let mut found = fields.filter_map(|field| field.strip_prefix(b"payload="));
    let (Some(encoded), None) = (found.next(), found.next()) else {
        return Err(NotACallback("the body is not a form with one `payload`".into()));
    };
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent::decode(&spaced).ok_or_else(|| NotACallback("`payload` is not percent-encoded UTF-8".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alert::{AlertId, GroupKey};

    const KEY: GroupKey = GroupKey { group: AlertId([0xab; 16]), since: 0x19a_c2f8_b1d0 };
    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn pushed() -> Value {
        json!({
            "type": "block_actions", "api_app_id": "A1", "token": "x", "trigger_id": "1.2.a",
            "user": {"id": "U1", "username": "jane", "name": "jane", "team_id": "T1"},
            "message": {"type": "message", "text": "Critical: a & b = 100 % + 1", "ts": "17.5"},
            "actions": [
                {"action_id": "board", "type": "button", "block_id": "a"},
                {"action_id": "gemba_acknowledge", "type": "button", "block_id": "b", "value": KEY.to_string(),
                    "action_ts": "1700000000.000001"},
            ],
        })
    }

    fn form(json: &str) -> Vec<u8> {
        format!("payload={}", percent::encode(json).replace("%20", "+")).into_bytes()
    }

    fn read(payload: &Value) -> Result<Option<Pressed>, NotACallback> {
        super::read(&form(&payload.to_string()), NOW)
    }

    #[test]
    fn a_pressed_button_is_read() {
        let said = read(&pushed()).unwrap().unwrap();
        let reason = "acknowledged in Slack".to_owned();
        let (group, verb) = (GroupNamed::Key(KEY), CallbackVerb::Acknowledge);
        assert_eq!(said, Pressed { group, verb, person: "jane".into(), reason, pressed: NOW });
        let mut unnamed = pushed();
        unnamed["user"] = json!({"id": "U1"});
        assert_eq!(read(&unnamed).unwrap().unwrap().person, "U1");
    }

    #[test]
    fn what_concerns_something_else_changes_nothing() {
        for kind in ["view_submission", "message_action", "shortcut"] {
            assert_eq!(read(&json!({"type": kind})), Ok(None), "{kind}");
        }
        let mut other = pushed();
        other["actions"] = json!([{"action_id": "other", "value": "x"}]);
        assert_eq!(read(&other), Ok(None));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let text = pushed().to_string();
        let twin = text.replacen("\"type\"", "\"type\":\"block_actions\",\"type\"", 1);
        let deep = text.replacen("\"17.5\"", &format!("{}{}", "[".repeat(40), "]".repeat(40)), 1);
        for json in ["", "null", "[]", "{}", &twin, &deep, &text[1..], &format!("{text}x")] {
            assert!(super::read(&form(json), NOW).is_err(), "{json}");
        }
        let right = form(&text);
        let doubled = [&right[..], b"&", &right].concat();
        for body in
            [&b""[..], b"payload", b"ssl_check=1", text.as_bytes(), &doubled, b"payload=%zz", b"payload=%ff"]
        {
            assert!(super::read(body, NOW).is_err(), "{}", String::from_utf8_lossy(body));
        }
        for (pointer, value) in [
            ("/type", json!(1)),
            ("/user", Value::Null),
            ("/user/id", json!(1)),
            ("/user/username", json!(["jane"])),
            ("/actions", json!({})),
            ("/actions/0", json!("x")),
            ("/actions/1/action_id", json!(1)),
            ("/actions/1/value", json!(1)),
            ("/actions/1/value", Value::Null),
            ("/actions/1/value", json!("another's")),
        ] {
            let mut wrong = pushed();
            *wrong.pointer_mut(pointer).unwrap() = value.clone();
            assert!(read(&wrong).is_err(), "{pointer} {value}");
        }
    }
}
