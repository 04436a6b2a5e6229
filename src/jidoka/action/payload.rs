//! What a target is told: one JSON object in the form that Standard Webhooks advises, the same for every try. The
//! signal's own text is put in as it was signed; nothing is parsed and written again. What is not JSON by the rules of a
//! signal goes as base64, so that no sender can make a message that the target cannot read.

use serde::Serialize;

use crate::event::UnixMillis;
use crate::jidoka::governor::ActionRequest;
use crate::signal;

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    action_id: String,
    action: &'a str,
    tenant: &'a str,
    sku: &'a str,
    signal_id: &'a str,
    signal_type: &'a str,
    /// The number under which the signal was accepted.
    seq: u64,
    policy: Rule<'a>,
    reason: &'a str,
    maybe_twice: bool,
    /// Only of a body that is not strict JSON, which a binary-mode CloudEvent may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_base64: Option<String>,
}

#[derive(Serialize)]
struct Rule<'a> {
    pack: &'a str,
    rule: &'a str,
    content_hash: String,
}

/// The message about an order.
pub fn message(order: &ActionRequest) -> Vec<u8> {
    let (intent, signal) = (&order.intent, &order.intent.signal);
    let json = signal::is_strict(signal.body());
    let message = Message {
        r#type: "gemba.action",
        timestamp: rfc3339(intent.time),
        data: Data {
            action_id: intent.action.to_string(),
            action: &intent.name,
            tenant: signal.tenant(),
            sku: signal.sku(),
            signal_id: signal.id(),
            signal_type: signal.kind(),
            seq: intent.accepted.0,
            policy: Rule {
                pack: &intent.policy.pack,
                rule: &intent.policy.rule,
                content_hash: faster_hex::hex_string(&intent.policy.content_hash),
            },
            reason: &intent.reason,
            maybe_twice: order.maybe_twice,
            signal_base64: (!json).then(|| data_encoding::BASE64.encode(signal.body())),
        },
    };
    let mut text = serde_json::to_vec(&message).unwrap_or_default();
    if json && text.ends_with(b"}}") {
        text.truncate(text.len() - 2);
        text.extend_from_slice(b",\"signal\":");
        text.extend_from_slice(signal.body().trim_ascii());
        text.extend_from_slice(b"}}");
    }
    text
}

/// A line about an order: the message without its frame.
pub fn line(order: &ActionRequest) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        action_id: String,
        action: &'a str,
        tenant: &'a str,
        sku: &'a str,
        signal_id: &'a str,
        r#type: &'a str,
        time: u64,
        pack: &'a str,
        rule: &'a str,
        reason: &'a str,
    }
    let (intent, signal) = (&order.intent, &order.intent.signal);
    let line = Line {
        action_id: intent.action.to_string(),
        action: &intent.name,
        tenant: signal.tenant(),
        sku: signal.sku(),
        signal_id: signal.id(),
        r#type: signal.kind(),
        time: intent.time.0,
        pack: &intent.policy.pack,
        rule: &intent.policy.rule,
        reason: &intent.reason,
    };
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

fn rfc3339(time: UnixMillis) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::event::{ActionId, JournalId, Seq};
    use crate::jidoka::governor::Intent;
    use crate::receipt::Policy;
    use crate::signal::{self, Fixed, Form};
    use crate::signature::Verified;

    /// An order for the action `name`, caused by a signal that says `body`.
    pub fn order(name: &str, number: u64, body: &str) -> ActionRequest {
        let verified = Verified::assumed(Bytes::from(body.to_owned()));
        let signals = signal::parse(verified, Form::Single, &Fixed::default()).unwrap();
        let policy = Policy { pack: "cost".into(), rule: "spend".into(), content_hash: [0xab; 32] };
        let intent = Intent {
            action: ActionId { journal: JournalId(0), seq: Seq(number) },
            by: Seq(number),
            name: name.into(),
            policy: Arc::new(policy),
            reason: "spend is \"high\"".into(),
            time: UnixMillis(1_800_000_000_123),
            accepted: Seq(number),
            signal: signals.as_slice()[0].clone(),
        };
        ActionRequest { intent, maybe_twice: false, is_again: false, give_up: None }
    }

    pub const SIGNAL: &str =
        r#" {"id":"s-1", "tenant":"acme","sku":"vm","type":"cost.usage","data":{"n":1.50e1}}"#;

    #[test]
    fn a_message_carries_the_signal_as_it_was_signed() {
        let order = order("page", 42, SIGNAL);
        let text = String::from_utf8(message(&order)).unwrap();
        assert!(text.ends_with(&format!(",\"signal\":{}}}}}", SIGNAL.trim())), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["type"], "gemba.action");
        assert_eq!(value["timestamp"], "2027-01-15T08:00:00.123Z");
        let data = &value["data"];
        assert_eq!(
            (&data["action_id"], &data["action"], &data["seq"], &data["maybe_twice"]),
            (&"a-000000000000002a".into(), &"page".into(), &42.into(), &false.into())
        );
        assert_eq!((&data["signal_id"], &data["signal_type"]), (&"s-1".into(), &"cost.usage".into()));
        assert_eq!(data["policy"]["content_hash"], "ab".repeat(32));
        assert_eq!(data["reason"], "spend is \"high\"");
        assert_eq!(data.get("signal_base64"), None);
    }

    #[test]
    fn a_body_that_is_no_strict_json_goes_as_base64() {
        let mut order = order("page", 42, SIGNAL);
        let deep = "[".repeat(40) + &"]".repeat(40);
        let bodies: [&[u8]; 6] = [
            b"{\"data\":\xff",
            b"{\"data\":\"\xff\"}",
            b"\"\xc3\x28\"",
            b"{\"a\":1,\"a\":2}",
            b"1 2",
            deep.as_bytes(),
        ];
        for body in bodies {
            let own = |text: &str| signal::Text::Owned(text.into());
            let signal = signal::Unchecked {
                body: Bytes::copy_from_slice(body),
                id: own("s"),
                tenant: own("acme"),
                sku: own("vm"),
                kind: own("cost.usage"),
                ..order.intent.signal.clone().into()
            };
            order.intent.signal = signal.check().unwrap();
            let value: serde_json::Value = serde_json::from_slice(&message(&order)).unwrap();
            assert_eq!(value["data"]["signal_base64"], data_encoding::BASE64.encode(body), "{body:?}");
            assert_eq!(value["data"].get("signal"), None);
        }
    }

    #[test]
    fn a_line_is_one_line() {
        let text = line(&order("audit", 7, "{\"id\":\"s\",\n\"tenant\":\"a\",\"sku\":\"b\",\"type\":\"t\"}"));
        assert_eq!(memchr::memchr_iter(b'\n', &text).count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&value["pack"], &value["rule"]), (&"cost".into(), &"spend".into()));
    }
}
