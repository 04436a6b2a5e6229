//! `[[action]]`: where actions go. A key that its kind does not have is refused, so that nobody
//! believes in one that does nothing.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use toml::Spanned;

use super::layer;
use super::layers::{Layers, name, optional, place_of, set, twice};
use super::secret::{SecretRef, Written};
use super::shape::{ShapeText, shape_text};
use crate::limits::ACTION_TRY_SECONDS;
use crate::place::{ConfigError, Place, Text};

/// One configured action.
#[derive(Clone, Debug)]
pub struct Action {
    pub name: String,
    pub kind: ActionKind,
    /// For one try.
    pub timeout: Duration,
    /// No governor waits for it, and it is given up after this time.
    pub background: Option<Duration>,
    pub place: Place,
}

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few, made once at the start")]
pub enum ActionKind {
    Log,
    Webhook(Webhook),
    Amqp { exchange: String, routing_key: String },
}

impl ActionKind {
    /// With which it signs.
    pub(super) fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::Webhook(webhook) => Some(&webhook.secret),
            Self::Log | Self::Amqp { .. } => None,
        }
    }
}

#[derive(Clone)]
pub struct Webhook {
    pub url: Uri,
    pub secret: SecretRef,
    pub allow_private: bool,
    /// Roots beside the system's, in PEM.
    pub ca_file: Option<(PathBuf, Place)>,
    /// By expressions; `None`: it is sent as Standard Webhooks advises.
    pub shape: Option<ShapeText>,
}

impl std::fmt::Debug for Webhook {
    /// A URL may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// Hours after which an action in the background is given up.
const GIVE_UP_HOURS: u32 = 24;
/// AMQP's short strings.
const SHORT_BYTES_MAX: usize = 255;

impl Layers {
    pub(super) fn actions(
        &self,
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Vec<Action>, ConfigError> {
        let mut actions: Vec<Action> = Vec::new();
        for (text, table) in self.tables(|layer| &layer.action) {
            let action = self.action(text, table, default_file)?;
            if actions.iter().any(|other| other.name == action.name) {
                return Err(twice(text, &table.get_ref().name));
            }
            actions.push(action);
        }
        Ok(actions)
    }

    fn action(
        &self,
        text: &Text,
        table: &Spanned<layer::Action>,
        default_file: &dyn Fn(&str) -> Option<PathBuf>,
    ) -> Result<Action, ConfigError> {
        let action = table.get_ref();
        let name = set(text, &action.name).map(name)?;
        let kind = *action.kind.get_ref();
        refuse_keys_of_others(text, action)?;
        let place = place_of(text, table);
        let timeout = optional(text, action.timeout_seconds.as_ref());
        let timeout = timeout.map_or(ACTION_TRY_SECONDS, |timeout| timeout.value.0);
        let kind = match kind {
            layer::ActionKind::Log => ActionKind::Log,
            layer::ActionKind::Webhook => {
                let default = default_file(&format!("{name}.secret"));
                ActionKind::Webhook(self.webhook(text, action, &name, default, &place)?)
            }
            layer::ActionKind::Amqp => {
                let exchange = optional(text, action.exchange.as_ref());
                let routing_key = optional(text, action.routing_key.as_ref()).ok_or_else(|| {
                    ConfigError::new(&place, format!("action `{name}` has no `routing_key`"))
                        .hint("with the default exchange it is the queue's name")
                })?;
                ActionKind::Amqp {
                    exchange: exchange.map_or(Ok(String::new()), |exchange| exchange.map(short))?,
                    routing_key: routing_key.map(short)?,
                }
            }
        };
        let background = background(text, action)?;
        Ok(Action { name, kind, timeout: Duration::from_secs(timeout.into()), background, place })
    }

    fn webhook(
        &self,
        text: &Text,
        action: &layer::Action,
        name: &str,
        default: Option<PathBuf>,
        place: &Place,
    ) -> Result<Webhook, ConfigError> {
        let url = optional(text, action.url.as_ref())
            .ok_or_else(|| ConfigError::new(place, format!("action `{name}` has no `url`")))?;
        let at = url.place.clone();
        let url = url.map(|text| url_of(&text))?;
        let allow_private = action.allow_private.as_ref().is_some_and(|allow| *allow.get_ref());
        if url.scheme_str() == Some("http") && !allow_private {
            return Err(ConfigError::new(&at, format!("action `{name}` would be sent without TLS"))
                .hint("write https://, or set `allow_private = true` for a target on your own network"));
        }
        let what = format!("the secret of action `{name}`");
        let kept = (optional(text, action.secret_file.as_ref()), optional(text, action.secret_env.as_ref()));
        let secret = self.secret(kept, None, default, (&what, "action.secret_file", Written::Whsec));
        let secret = secret.map_err(|error| ConfigError { place: place.clone(), ..error })?;
        let ca_file = optional(text, action.ca_file.as_ref()).map(|file| (file.value.0, file.place));
        if let Some((_, place)) = ca_file.as_ref().filter(|_| url.scheme_str() == Some("http")) {
            return Err(ConfigError::new(place, "`ca_file` means nothing to a URL without TLS"));
        }
        let shape = shape_text(text, action)?;
        Ok(Webhook { url, secret, allow_private, ca_file, shape })
    }
}

/// For how long an action is tried for which no governor waits.
fn background(text: &Text, action: &layer::Action) -> Result<Option<Duration>, ConfigError> {
    let delivery = action.delivery.as_ref().map_or(layer::Delivery::Await, |delivery| *delivery.get_ref());
    let hours = optional(text, action.give_up_after_hours.as_ref());
    match (delivery, hours) {
        (layer::Delivery::Await, Some(hours)) => Err(ConfigError::new(
            &hours.place,
            "`give_up_after_hours` means nothing to an action for which its governor waits",
        )
        .hint("set `delivery = \"background\"`")),
        (layer::Delivery::Await, None) => Ok(None),
        (layer::Delivery::Background, hours) => {
            let hours = hours.map_or(GIVE_UP_HOURS, |hours| hours.value.0);
            Ok(Some(Duration::from_secs(u64::from(hours) * 3600)))
        }
    }
}

fn refuse_keys_of_others(text: &Text, action: &layer::Action) -> Result<(), ConfigError> {
    use layer::ActionKind::{Amqp, Webhook};
    fn at<T>(text: &Text, key: Option<&Spanned<T>>) -> Option<Place> {
        key.map(|value| text.place(&value.span()))
    }
    let keys = [
        ("url", Webhook, at(text, action.url.as_ref())),
        ("secret_file", Webhook, at(text, action.secret_file.as_ref())),
        ("secret_env", Webhook, at(text, action.secret_env.as_ref())),
        ("allow_private", Webhook, at(text, action.allow_private.as_ref())),
        ("ca_file", Webhook, at(text, action.ca_file.as_ref())),
        ("body", Webhook, at(text, action.body.as_ref())),
        ("content_type", Webhook, at(text, action.content_type.as_ref())),
        ("headers", Webhook, at(text, action.headers.as_ref())),
        ("exchange", Amqp, at(text, action.exchange.as_ref())),
        ("routing_key", Amqp, at(text, action.routing_key.as_ref())),
    ];
    let kind = *action.kind.get_ref();
    for (key, owner, place) in keys {
        if let Some(place) = place
            && owner != kind
        {
            let name = |kind| format!("{kind:?}").to_lowercase();
            let wrong = format!("`{key}` means nothing to an action of kind `{}`", name(kind));
            return Err(ConfigError::new(&place, wrong).hint(format!("it belongs to kind `{}`", name(owner))));
        }
    }
    Ok(())
}

/// Says nothing of the text: it may hold a secret.
fn url_of(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "this is no URL".to_owned())?;
    if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none_or(str::is_empty) {
        return Err("this is no URL of the form https://host/path".into());
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a URL with a user and a password is not called; the signature says who calls".into());
    }
    Ok(url)
}

fn short(text: String) -> Result<String, String> {
    if text.len() <= SHORT_BYTES_MAX {
        Ok(text)
    } else {
        Err(format!("it has {} bytes; AMQP takes {SHORT_BYTES_MAX} at most", text.len()))
    }
}
