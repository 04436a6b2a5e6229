//! Slack in both styles: an incoming webhook answers in plain text, the API answers 200 whatever happened.

use gemba::alert::NoticeKind::{Firing, Resolved};
use gemba::andon::channel::{ChannelKind, Slack};

use crate::fake::Fake;
use crate::{deliver, notice, target};

#[test]
fn a_webhook_that_refuses_sections_gets_plain_text_once() {
    let fake = Fake::start(|asked| {
        let message = asked.json();
        assert!(message["text"].as_str().unwrap().contains("&lt;&amp;&gt;"));
        if message["blocks"].is_array() {
            (400, "", "msg_blocks_too_long".into())
        } else {
            (200, "", "ok".into())
        }
    });
    let kind = || ChannelKind::Slack(Slack::Webhook(target(&fake.url("/services/T0/B0/verysecretpart"))));
    assert_eq!(deliver(kind(), vec![notice("a", "chat", Firing, 1)]), [(None, None, 1)]);
    assert_eq!(fake.asked().len(), 2);
    let refuses = Fake::start(|asked| (404, "", format!("no_service {}", asked.path)));
    let kind = ChannelKind::Slack(Slack::Webhook(target(&refuses.url("/services/T0/B0/verysecretpart"))));
    let shown = format!("{kind:?}");
    let ends = deliver(kind, vec![notice("a", "chat", Firing, 1)]);
    let failed = ends[0].0.clone().unwrap();
    assert!(failed.contains("no_service"), "{failed}");
    assert!(!failed.contains("verysecretpart") && !shown.contains("verysecretpart"), "{failed} {shown}");
}

/// The API: messages that may be edited, 429 first.
fn api() -> Fake {
    let mut asked_before = 0;
    Fake::start(move |asked| {
        asked_before += 1;
        assert_eq!(asked.header("authorization"), "Bearer xoxb-secret");
        let message = asked.json();
        let answer = match (asked_before, asked.path.as_str()) {
            (1, _) => return (429, "retry-after: 1\r\n", r#"{"ok":false,"error":"ratelimited"}"#.into()),
            (_, "/api/chat.update") if message["ts"] == "17.5" => r#"{"ok":true,"channel":"C1","ts":"17.5"}"#,
            (_, "/api/chat.update") => r#"{"ok":false,"error":"message_not_found"}"#,
            (_, "/api/chat.postMessage") if message["channel"] == "archived" => {
                r#"{"ok":false,"error":"is_archived"}"#
            }
            (_, "/api/chat.postMessage") => r#"{"ok":true,"channel":"C1","ts":"17.5"}"#,
            _ => r#"{"ok":false,"error":"unknown_method"}"#,
        };
        (200, "", answer.into())
    })
}

fn bot(fake: &Fake, channel: &str) -> ChannelKind {
    let api = target(&fake.url("/api"));
    ChannelKind::Slack(Slack::Bot { api, token: "xoxb-secret".into(), channel: channel.into() })
}

#[test]
fn a_bot_edits_its_message_and_tells_the_change_in_a_thread() {
    let fake = api();
    let ends = deliver(bot(&fake, "alerts"), vec![notice("a", "chat", Firing, 1)]);
    assert_eq!(ends, [(None, Some("C1:17.5:alerts".into()), 2)]);
    let mut end = notice("a", "chat", Resolved, 2);
    end.reference = Some("C1:17.5:alerts".into());
    assert_eq!(deliver(bot(&fake, "alerts"), vec![end.clone()])[0].1, ends[0].1);
    let asked = fake.asked();
    let blocks = asked.iter().map(|asked| asked.json()["blocks"].as_array().cloned().unwrap_or_default());
    let buttons = blocks.map(|blocks| blocks.iter().filter(|block| block["type"] == "actions").count());
    assert_eq!(buttons.collect::<Vec<_>>(), [1, 1, 0, 0], "what is over needs nobody");
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    let (post, update) = ("/api/chat.postMessage", "/api/chat.update");
    assert_eq!(paths, [post, post, update, post]);
    assert_eq!(asked[3].json()["thread_ts"], "17.5");
}

#[test]
fn a_first_message_that_is_gone_has_a_new_one_where_the_channel_is_now() {
    let (post, update) = ("/api/chat.postMessage", "/api/chat.update");
    for (reference, channel, expected) in [
        // Deleted; also as earlier versions kept it.
        ("C1:gone", "alerts", &[update, post][..]),
        ("C1:gone:alerts", "alerts", &[update, post]),
        // Its channel is archived.
        ("C0:17.5:alerts", "alerts", &[update, post]),
        // It was edited, and has no thread any more.
        ("C2:17.5:alerts", "alerts", &[update, post, post]),
        // A different channel is configured since.
        ("C1:17.5:alerts", "new", &[post]),
        ("C1:17.5:alerts", "C1", &[update, post]),
    ] {
        let fake = Fake::start(|asked| {
            let message = asked.json();
            let is_thread = message["thread_ts"].is_string();
            let answer = match asked.path.as_str() {
                "/api/chat.update" if message["ts"] == "gone" => {
                    r#"{"ok":false,"error":"message_not_found"}"#
                }
                "/api/chat.update" if message["channel"] == "C0" => r#"{"ok":false,"error":"is_archived"}"#,
                _ if is_thread && message["channel"] == "C2" => r#"{"ok":false,"error":"not_in_channel"}"#,
                _ => r#"{"ok":true,"channel":"C9","ts":"18.1"}"#,
            };
            (200, "", answer.into())
        });
        let mut end = notice("a", "chat", Resolved, 2);
        end.reference = Some(reference.into());
        let ends = deliver(bot(&fake, channel), vec![end]);
        let asked = fake.asked();
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(paths, expected, "{reference}");
        let last = asked.last().unwrap().json();
        let is_new = last["thread_ts"].is_null();
        let told = if is_new { format!("C9:18.1:{channel}") } else { reference.into() };
        assert_eq!(ends, [(None, Some(told), 1)], "{reference}");
        assert!(!is_new || last["channel"] == channel, "{last:#}");
    }
}

#[test]
fn a_200_may_be_a_failure() {
    let fake = api();
    let ends = deliver(bot(&fake, "archived"), vec![notice("a", "chat", Firing, 1)]);
    assert_eq!(ends, [(Some("Slack answered `is_archived`".into()), None, 2)]);
}
