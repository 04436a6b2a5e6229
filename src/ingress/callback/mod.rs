//! Callbacks of channels: somebody presses a button at PagerDuty or Slack, which tell the node. What they say becomes a
//! [`Callback`]; the line changes the alerts. Pure but for the counters.

mod pagerduty;
mod slack;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::alert::{Callback, CallbackVerb, GroupNamed};
use crate::event::UnixMillis;
use crate::kaizen::Metric;
use crate::limits::CALLBACKS_WAITING_MAX;
use crate::printable::is_order;
use crate::signature::{CallbackKey, CallbackScheme, Refusal, RefusalName, VerifiedCallback};

/// A channel that may call back.
#[derive(Debug)]
pub struct CallbackSource {
    channel: Box<str>,
    /// For those who count by source: no source has such a name.
    counted: Box<str>,
    key: CallbackKey,
    channels: Arc<[Box<str>]>,
    /// Signatures that were refused, by [`Refusal`].
    refusals: [metrics::Counter; RefusalName::ALL.len()],
}

/// A callback on its way to the line.
#[derive(Debug)]
pub struct CallbackAsked {
    pub callback: Callback,
    /// It is told when every alert that is meant was changed, and dropped where that cannot be.
    pub answer: oneshot::Sender<()>,
}

/// The way of callbacks to the line.
#[must_use]
pub fn lane() -> (mpsc::Sender<CallbackAsked>, mpsc::Receiver<CallbackAsked>) {
    mpsc::channel(CALLBACKS_WAITING_MAX)
}

/// A signed request says nothing that could be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotACallback(Box<str>);

/// What a person said, before it is known at which channel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pressed {
    group: GroupNamed,
    verb: CallbackVerb,
    person: String,
    reason: String,
    pressed: UnixMillis,
}

impl CallbackSource {
    /// `channels` are those that are called back with the same secret, `channel` among them.
    #[must_use]
    pub fn new(channel: &str, key: CallbackKey, channels: Arc<[Box<str>]>) -> Self {
        let counted: Box<str> = format!("channels/{channel}").into();
        let refusals =
            RefusalName::ALL.map(|reason| Metric::SignatureRefusals.counter(&[&*counted, reason.into_str()]));
        Self { channel: channel.into(), counted, key, channels, refusals }
    }

    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Its name among sources.
    #[must_use]
    pub fn counted(&self) -> &str {
        &self.counted
    }

    #[must_use]
    pub fn key(&self) -> &CallbackKey {
        &self.key
    }

    /// Counts a signature that was refused.
    pub fn refused(&self, refusal: Refusal) {
        self.refusals[refusal.name() as usize].increment(1);
    }

    /// What a request says; `None` where that changes nothing.
    ///
    /// # Errors
    /// [`NotACallback`].
    pub fn read(&self, verified: &VerifiedCallback) -> Result<Option<Callback>, NotACallback> {
        let Some(Pressed { group, verb, person, reason, pressed }) = read(verified)? else { return Ok(None) };
        let kind: &str = verified.scheme().into();
        let by = format!("{kind} {}/{}", self.channel, name(&person)).into();
        let channels = Arc::clone(&self.channels);
        Ok(Some(Callback { channels, group, verb, by, reason: reason.into(), pressed }))
    }
}

/// The channel that a path names.
#[must_use]
pub fn channel_of(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/channels/")?.strip_suffix("/callback")
}

fn read(verified: &VerifiedCallback) -> Result<Option<Pressed>, NotACallback> {
    match verified.scheme() {
        CallbackScheme::PagerDuty => pagerduty::read(verified.body()),
        CallbackScheme::Slack => {
            let signed_at = verified.signed_at().unwrap_or_default();
            slack::read(verified.body(), UnixMillis(signed_at.saturating_mul(1000)))
        }
    }
}

/// JSON by the rules of a signal.
fn strict(json: &[u8]) -> Result<&[u8], NotACallback> {
    if crate::signal::is_strict(json) {
        Ok(json)
    } else {
        Err(NotACallback("the body is not one JSON value without twin keys, nested at most 32 deep".into()))
    }
}

fn unfit(error: &serde_json::Error) -> NotACallback {
    NotACallback(error.to_string().into())
}

/// The first of these that is a name; a name may be empty.
fn person(names: impl IntoIterator<Item = Option<String>>) -> String {
    let mut names = names.into_iter().flatten().filter(|text| !name(text).is_empty());
    names.next().unwrap_or_else(|| "somebody".into())
}

/// A person's name: one line, and no colon, which ends the name of who did something in a receipt's reason.
fn name(text: &str) -> String {
    let plain = |char: char| if is_order(char) || char == ':' { ' ' } else { char };
    text.chars().map(plain).collect::<String>().trim().chars().take(PERSON_CHARS).collect()
}

/// A longer name is cut.
const PERSON_CHARS: usize = 100;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_persons_name_stands_in_one_line_and_orders_nothing() {
        assert_eq!(name(" Jane\u{202e}eoD: a\u{1b}[2Jb\n"), "Jane eoD  a [2Jb");
        assert_eq!(name(&"x".repeat(PERSON_CHARS + 1)).len(), PERSON_CHARS);
    }

    #[test]
    fn a_path_names_a_channel() {
        assert_eq!(channel_of("/v1/channels/oncall/callback"), Some("oncall"));
        for wrong in [
            "/v1/channels/oncall",
            "/v1/channels/oncall/callback/",
            "/v1/sources/oncall/callback",
            "/v1/channels/callback",
        ] {
            assert_eq!(channel_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn who_it_was_cannot_be_taken_for_anybody_else() {
        let key = CallbackKey::new(CallbackScheme::PagerDuty, b"a secret of 28 bytes, enough", 300).unwrap();
        let source = CallbackSource::new("oncall", key, ["oncall".into()].into());
        let body = format!(
            r#"{{"event":{{"event_type":"incident.acknowledged","occurred_at":"2026-01-02T03:04:05Z",
            "agent":{{"type":"user_reference","summary":"admin: \n{}"}},
            "data":{{"incident_key":"{}-1"}}}}}}"#,
            "x".repeat(200),
            "ab".repeat(16)
        );
        let verified = VerifiedCallback::assumed(CallbackScheme::PagerDuty, Bytes::from(body), None);
        let by = source.read(&verified).unwrap().unwrap().by;
        assert!(by.starts_with("pagerduty oncall/admin   xxx") && by.chars().count() == 117, "{by}");
    }
}
