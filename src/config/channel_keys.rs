//! Which keys of `[[channel]]` which kinds have. One that its kind does not have is refused, so that nobody believes in one that does
//! nothing.

use toml::Spanned;

use super::layer::{Channel, ChannelKind};
use crate::place::{ConfigError, Place, Text};

use ChannelKind::{Alertmanager, Email, File, PagerDuty, Slack, Sms, Webhook};

/// Those that call somebody over the network.
const REMOTE: &[ChannelKind] = &[PagerDuty, Slack, Email, Sms, Webhook, Alertmanager];

/// Those at which people acknowledge, and which tell the node.
const CALLING_BACK: &[ChannelKind] = &[PagerDuty, Slack];

/// As it is written.
pub fn kind_name(kind: ChannelKind) -> String {
    format!("{kind:?}").to_lowercase()
}

/// # Errors
/// The first key that its kind does not have.
pub fn refuse_keys_of_others(text: &Text, channel: &Channel) -> Result<(), ConfigError> {
    let kind = *channel.kind.get_ref();
    for (key, kinds, place) in keys(text, channel) {
        if let Some(place) = place
            && !kinds.contains(&kind)
        {
            let wrong = format!("`{key}` means nothing to a channel of kind `{}`", kind_name(kind));
            let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{}`", kind_name(*kind))).collect();
            return Err(
                ConfigError::new(&place, wrong).hint(format!("it belongs to kind {}", kinds.join(", ")))
            );
        }
    }
    Ok(())
}

/// Each key that not every kind has: its kinds, and where it is set.
fn keys(text: &Text, channel: &Channel) -> [(&'static str, &'static [ChannelKind], Option<Place>); 27] {
    fn at<T>(text: &Text, key: Option<&Spanned<T>>) -> Option<Place> {
        key.map(|value| text.place(&value.span()))
    }
    [
        ("timeout_seconds", REMOTE, at(text, channel.timeout_seconds.as_ref())),
        ("give_up_after_hours", REMOTE, at(text, channel.give_up_after_hours.as_ref())),
        ("allow_private", REMOTE, at(text, channel.allow_private.as_ref())),
        ("ca_file", REMOTE, at(text, channel.ca_file.as_ref())),
        ("url", &[PagerDuty, Slack, Sms, Webhook], at(text, channel.url.as_ref())),
        ("routing_key_file", &[PagerDuty], at(text, channel.routing_key_file.as_ref())),
        ("routing_key_env", &[PagerDuty], at(text, channel.routing_key_env.as_ref())),
        ("webhook_url_file", &[Slack], at(text, channel.webhook_url_file.as_ref())),
        ("webhook_url_env", &[Slack], at(text, channel.webhook_url_env.as_ref())),
        ("callback_secret_file", CALLING_BACK, at(text, channel.callback_secret_file.as_ref())),
        ("callback_secret_env", CALLING_BACK, at(text, channel.callback_secret_env.as_ref())),
        ("token_file", &[Slack, Sms], at(text, channel.token_file.as_ref())),
        ("token_env", &[Slack, Sms], at(text, channel.token_env.as_ref())),
        ("channel", &[Slack], at(text, channel.channel.as_ref())),
        ("smtp", &[Email], at(text, channel.smtp.as_ref())),
        ("password_file", &[Email], at(text, channel.password_file.as_ref())),
        ("password_env", &[Email], at(text, channel.password_env.as_ref())),
        ("account", &[Sms], at(text, channel.account.as_ref())),
        ("from", &[Email, Sms], at(text, channel.from.as_ref())),
        ("to", &[Email, Sms], at(text, channel.to.as_ref())),
        ("monthly_max", &[Sms], at(text, channel.monthly_max.as_ref())),
        ("secret_file", &[Webhook], at(text, channel.secret_file.as_ref())),
        ("secret_env", &[Webhook], at(text, channel.secret_env.as_ref())),
        ("urls", &[Alertmanager], at(text, channel.urls.as_ref())),
        ("bearer_token_file", &[Alertmanager], at(text, channel.bearer_token_file.as_ref())),
        ("bearer_token_env", &[Alertmanager], at(text, channel.bearer_token_env.as_ref())),
        ("path", &[File], at(text, channel.path.as_ref())),
    ]
}
