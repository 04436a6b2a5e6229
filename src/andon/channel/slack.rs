//! `slack`: an incoming webhook, or a bot. A bot edits the message of a group when it changes, and tells the change in its thread;
//! what was answered to the first message names it, with the channel as it was configured then: `C123:1700000000.1:#ops`. Where it is
//! gone, or a different channel is configured, there is a new one. Where Slack calls back, a message of what fires has a button.

use hyper::header;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::delivery::{Deliver, Delivered, Delivering, Delivery};
use super::http::{ChannelCaller, JSON, judge, path_of, secret_header, told};
use super::meter::CallMeter;
use super::text::{cut, key, line_below, link, link_of, title, unlisted};
use crate::alert::{Notice, NoticeKind, SLACK_ACKNOWLEDGE};
use crate::limits::{SLACK_CHARS, SLACK_SECTION_CHARS, SLACK_SECTIONS, SLACK_TEXT_CHARS};
use crate::net::caller::{CallTarget, Replied};
use crate::net::retry::Miss;

/// A workspace of Slack.
#[derive(Clone, Debug)]
pub enum Slack {
    /// An incoming webhook; its URL is a secret.
    Webhook(CallTarget),
    Bot {
        /// `https://slack.com/api`.
        api: CallTarget,
        token: SecretString,
        /// A channel's name or id.
        channel: String,
    },
}

/// The first message was deleted, is too old to be edited, or its channel is gone: there is a new one.
const GONE: &str = "gone";

pub struct SlackChannel {
    caller: ChannelCaller,
    configured: Slack,
    board: Option<Box<str>>,
    calls_back: bool,
}

impl SlackChannel {
    pub fn new(configured: &Slack, board: Option<Box<str>>, calls_back: bool) -> Self {
        let (Slack::Webhook(to) | Slack::Bot { api: to, .. }) = configured;
        Self { caller: ChannelCaller::new(to), configured: configured.clone(), board, calls_back }
    }

    /// The whole message, or its text alone.
    fn message(&self, delivery: &Delivery, with_blocks: bool) -> Value {
        let mut message = message(&delivery.notice, self.board.as_deref(), with_blocks);
        let has_button = self.calls_back && delivery.notice.tells == NoticeKind::Firing;
        if has_button && let Some(blocks) = message["blocks"].as_array_mut() {
            blocks.push(button(&key(&delivery.notice.id).to_string()));
        }
        message
    }

    async fn by_webhook(
        &self,
        to: &CallTarget,
        delivery: &Delivery,
        meter: &CallMeter,
        until: Instant,
    ) -> Result<Delivered, Miss> {
        for with_blocks in [true, false] {
            meter.call();
            let body = self.message(delivery, with_blocks).to_string().into_bytes();
            let replied = self.caller.post(None, JSON, Vec::new(), body, until).await?;
            let said = String::from_utf8_lossy(&replied.body);
            if with_blocks && replied.status == 400 && is_about_blocks(&said) {
                continue;
            }
            judge(&replied, &said, &path_of(&to.url))?;
            break;
        }
        Ok(Delivered::default())
    }

    /// Calls a method of the API; what it answered, or its error.
    async fn call(
        &self,
        method: &str,
        token: &SecretString,
        body: &Value,
        (meter, until): (&CallMeter, Instant),
    ) -> Result<Result<Value, String>, Miss> {
        meter.call();
        let token = token.expose_secret();
        let bearer = secret_header(&format!("Bearer {token}"))?;
        let headers = vec![(header::AUTHORIZATION, bearer)];
        let (url, body) = (self.caller.below(method)?, body.to_string().into_bytes());
        let replied =
            self.caller.post(Some(url), "application/json; charset=utf-8", headers, body, until).await?;
        judge(&replied, "", &[])?;
        answer(&replied, token)
    }

    async fn by_bot(
        &self,
        (token, channel): (&SecretString, &str),
        delivery: &mut Delivery,
        within: (&CallMeter, Instant),
    ) -> Result<Delivered, Miss> {
        let notice = delivery.notice.clone();
        let first = notice.reference.as_deref().and_then(|text| first_message(text, channel));
        if let Some((channel, ts)) = first.filter(|_| !delivery.is_finished(GONE)) {
            if !delivery.is_finished("edit") {
                let to = [("channel", channel), ("ts", ts)];
                match self.say("chat.update", token, &to, delivery, within).await? {
                    Ok(_) => delivery.finish("edit"),
                    Err(_) => delivery.pass_over(GONE),
                }
            }
            if !delivery.is_finished(GONE) {
                let mut body = text_alone(&title(&notice));
                (body["channel"], body["thread_ts"]) = (channel.into(), ts.into());
                match self.call("chat.postMessage", token, &body, within).await? {
                    Ok(_) => {
                        return Ok(Delivered { reference: notice.reference.map(Into::into), opens: false });
                    }
                    Err(_) => delivery.pass_over(GONE),
                }
            }
        }
        let answered = self.say("chat.postMessage", token, &[("channel", channel)], delivery, within).await?;
        let answered = answered.map_err(|error| refused(&error))?;
        let named = answered["channel"].as_str().zip(answered["ts"].as_str());
        let reference = named.map(|(id, ts)| format!("{id}:{ts}:{channel}"));
        Ok(Delivered { reference, opens: false })
    }

    /// The whole message; as plain text where its sections are refused. What was answered, or the error.
    async fn say(
        &self,
        method: &str,
        token: &SecretString,
        to: &[(&str, &str)],
        delivery: &Delivery,
        within: (&CallMeter, Instant),
    ) -> Result<Result<Value, String>, Miss> {
        let with = |with_blocks| {
            let mut body = self.message(delivery, with_blocks);
            for (name, value) in to {
                body[*name] = (*value).into();
            }
            body
        };
        match self.call(method, token, &with(true), within).await? {
            Err(error) if is_about_blocks(&error) => self.call(method, token, &with(false), within).await,
            answered => Ok(answered),
        }
    }
}

impl Deliver for SlackChannel {
    fn deliver<'a>(
        &'a self,
        delivery: &'a mut Delivery,
        meter: &'a CallMeter,
        until: Instant,
    ) -> Delivering<'a> {
        Box::pin(async move {
            match &self.configured {
                Slack::Webhook(to) => self.by_webhook(to, delivery, meter, until).await,
                Slack::Bot { token, channel, .. } => {
                    self.by_bot((token, channel), delivery, (meter, until)).await
                }
            }
        })
    }
}

/// Channel and time of the first message of a group, unless a different channel was configured then.
fn first_message<'a>(reference: &'a str, configured: &str) -> Option<(&'a str, &'a str)> {
    let mut parts = reference.splitn(3, ':');
    let (id, ts) = (parts.next()?, parts.next()?);
    // Earlier versions kept no name.
    let is_same = parts.next().is_none_or(|name| name == configured || id == configured);
    is_same.then_some((id, ts))
}

/// What becomes of a new message that Slack refused: no other one passes where its channel cannot be used.
fn refused(error: &str) -> Miss {
    let why = format!("Slack answered `{error}`");
    match error {
        "channel_not_found" | "not_in_channel" | "is_archived" => Miss::r#final(why),
        _ => Miss::refused(why),
    }
}

fn is_about_blocks(said: &str) -> bool {
    ["msg_blocks_too_long", "invalid_blocks"].iter().any(|error| said.contains(error))
}

/// A 200 may be an error: one of this message, unless it is of the workspace or passes.
fn answer(replied: &Replied, token: &str) -> Result<Result<Value, String>, Miss> {
    let Ok(answered) = serde_json::from_slice::<Value>(&replied.body) else {
        // What is longer than what is kept of a reply was a success: errors are short.
        return if replied.body.first() == Some(&b'{') && replied.body.starts_with(b"{\"ok\":true") {
            Ok(Ok(Value::Null))
        } else {
            Err(Miss::again("Slack answered 200 without JSON"))
        };
    };
    if answered["ok"] == true {
        return Ok(Ok(answered));
    }
    let error = told(answered["error"].as_str().unwrap_or("no error"), &[token]);
    let why = format!("Slack answered `{error}`");
    match error.as_str() {
        "ratelimited" | "rate_limited" => Err(Miss::unsent(why)),
        "fatal_error"
        | "internal_error"
        | "request_timeout"
        | "service_unavailable"
        | "team_added_to_org" => Err(Miss::again(why)),
        "invalid_auth"
        | "not_authed"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "missing_scope"
        | "not_allowed_token_type" => Err(Miss::r#final(why)),
        _ => Ok(Err(error)),
    }
}

/// As Slack wants text, cut where what is escaped has more characters than that.
fn escape(text: &str, chars: usize) -> String {
    let mut out = String::new();
    let (mut count, mut fits) = (0, 0);
    for char in text.chars() {
        let escaped = match char {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        count += escaped.len().max(1);
        if count > chars {
            out.truncate(fits);
            out.push('…');
            return out;
        }
        if escaped.is_empty() {
            out.push(char);
        } else {
            out.push_str(escaped);
        }
        // The sign of the cut has room after this.
        if count < chars {
            fits = out.len();
        }
    }
    out
}

fn message(notice: &Notice, board: Option<&str>, with_blocks: bool) -> Value {
    let title = title(notice);
    let mut message = text_alone(&title);
    if with_blocks {
        message["blocks"] =
            sections(notice, &title, board).iter().map(|text| section(text)).collect::<Vec<Value>>().into();
    }
    message
}

/// A message without sections, or what is shown where those are not. Slack is to make nothing of its text: no mention, link or bold.
fn text_alone(text: &str) -> Value {
    json!({
        "text": escape(text, SLACK_TEXT_CHARS),
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Says who takes care of it; its value comes back.
fn button(key: &str) -> Value {
    let text = json!({ "type": "plain_text", "text": "Acknowledge" });
    let button = json!({ "type": "button", "action_id": SLACK_ACKNOWLEDGE, "text": text, "value": key });
    json!({ "type": "actions", "elements": [button] })
}

fn section(text: &str) -> Value {
    // Without `verbatim` Slack makes links and mentions of what looks like some.
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

/// Texts of the sections: the title, the alerts that have room, and how many more there are.
fn sections(notice: &Notice, title: &str, board: Option<&str>) -> Vec<String> {
    const MORE: usize = 200;
    let mut sections = vec![format!("*{}*", escape(title, SLACK_SECTION_CHARS - 2))];
    if let (NoticeKind::Acknowledged, Some((_, reason))) = (notice.tells, &notice.acknowledged) {
        sections.push(escape(&super::text::plain(reason), SLACK_SECTION_CHARS));
    }
    let mut chars: usize = sections.iter().map(|section| section.chars().count()).sum();
    let mut current = String::new();
    let mut listed = 0;
    for alert in &notice.alerts {
        let row = escape(&cut(&line_below(alert, notice), 500), 600);
        let link = link(board, alert.id).filter(|link| !link.contains(['<', '>', '|']));
        let row = link
            .map_or_else(|| format!("• {row}\n"), |link| format!("• {row} <{}|board>\n", escape(&link, 400)));
        let count = row.chars().count();
        if chars + count + MORE > SLACK_CHARS {
            break;
        }
        if current.chars().count() + count > SLACK_SECTION_CHARS {
            // One section is left for the last alerts, and one for what has no room.
            if sections.len() + 2 >= SLACK_SECTIONS {
                break;
            }
            sections.push(std::mem::take(&mut current));
        }
        chars += count;
        current.push_str(&row);
        listed += 1;
    }
    if !current.is_empty() {
        sections.push(current);
    }
    let more = unlisted(notice, listed);
    if more > 0 {
        let board = link_of(board, notice).filter(|link| link.chars().count() < MORE / 2);
        sections.push(match board.filter(|link| !link.contains(['<', '>', '|'])) {
            Some(link) => format!("and {more} more on the <{}|board>", escape(&link, MORE - 60)),
            None => format!("and {more} more"),
        });
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::super::digest::merged;
    use super::super::tests::notice;
    use super::*;

    #[test]
    fn a_message_stays_within_the_limits_whatever_the_texts_are() {
        for text in ["x", "&", "<", "ü", "\u{1f525}", "a b "] {
            for (alerts, length) in [(0, 1), (1, 10), (20, 100), (20, 1000), (20, 20_000)] {
                let mut notice = notice("disk", alerts);
                notice.firing = 1000;
                notice.summary = text.repeat(length).into();
                for alert in &mut notice.alerts {
                    alert.message = text.repeat(length).into();
                }
                let body = message(&notice, Some("https://gemba.example.com"), true);
                let blocks = body["blocks"].as_array().unwrap();
                assert!(blocks.len() <= SLACK_SECTIONS, "{} sections", blocks.len());
                let mut all = 0;
                for block in blocks {
                    let text = block["text"]["text"].as_str().unwrap();
                    assert!(!text.is_empty() && text.chars().count() <= SLACK_SECTION_CHARS);
                    all += text.chars().count();
                }
                assert!(all <= SLACK_CHARS, "{all}");
                assert!(body["text"].as_str().unwrap().chars().count() <= SLACK_TEXT_CHARS);
                let last = blocks.last().unwrap()["text"]["text"].as_str().unwrap();
                assert!(last.starts_with("and ") && last.contains(" more"), "{last}");
            }
        }
    }

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escape("<!channel> & <@U1>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(escape("<<", 8), "&lt;&lt;");
        assert_eq!(escape("<<<", 8), "&lt;…");
        assert_eq!(escape("abc", 3), "abc");
        assert_eq!(escape("abcd", 3), "ab…");
        let message = message(&notice("@channel *a* https://example.com", 1), None, true);
        assert_eq!((&message["mrkdwn"], &message["parse"]), (&json!(false), &json!("none")));
        let sections = message["blocks"].as_array().unwrap();
        assert!(sections.iter().all(|section| section["text"]["verbatim"] == true), "{message:#}");
    }

    #[test]
    fn a_digest_has_a_button_that_means_all_its_groups() {
        let [first, second] = ["a", "b"].map(|name| Delivery::new(notice(name, 1)));
        let digest = merged(first, second, false);
        let url = "http://hooks.example.com/services/x".parse().unwrap();
        let to = CallTarget { url, tls: None, allow_private: false };
        let chat = SlackChannel::new(&Slack::Webhook(to), None, true);
        let message = chat.message(&digest, true);
        let button = &message["blocks"].as_array().unwrap().last().unwrap()["elements"][0];
        assert_eq!(button["value"], key(&digest.notice.id).to_string());
    }

    #[test]
    fn a_200_may_be_an_error_of_three_kinds() {
        let said = |body: &str| {
            let replied = Replied { status: 200, retry_after: None, body: body.to_owned().into() };
            answer(&replied, "xoxb-secret")
        };
        assert!(matches!(said(r#"{"ok":true,"ts":"1.2"}"#), Ok(Ok(_))));
        assert_eq!(said(r#"{"ok":false,"error":"message_not_found"}"#), Ok(Err("message_not_found".into())));
        assert!(matches!(said(r#"{"ok":false,"error":"ratelimited"}"#), Err(Miss::Again { .. })));
        assert!(matches!(said(r#"{"ok":false,"error":"invalid_auth"}"#), Err(Miss::Final { .. })));
        assert!(matches!(said("<html>"), Err(Miss::Again { .. })));
        let repeated = said(r#"{"ok":false,"error":"bad xoxb-secret"}"#);
        assert_eq!(repeated, Ok(Err("bad (secret)".into())));
    }
}
