//! `[[channel]]`: how people are told of alerts. Secrets are named here; no start makes one for a channel, since what receives the
//! notifications has to know it first.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use toml::Spanned;

use super::channel_keys::{kind_name, refuse_keys_of_others};
use super::layer::{self, Key, NodeRole};
use super::layers::{Layers, Set, name, optional, place_of, set, twice};
use super::receivers::{HiddenUrl, Smtp, http_url, smtp_server};
use super::recipients::{mail_address, phone_number, recipients};
use super::secret::{Chooser, SecretRef, Written};
use crate::limits::{
    ACTION_TRY_SECONDS, ALERTMANAGERS_MAX, CHANNELS_MAX, MAIL_RECIPIENTS_MAX, SMS_RECIPIENTS_MAX,
};
use crate::place::{ConfigError, Place, Text};

/// One way to tell people.
#[derive(Clone, Debug)]
pub struct Channel {
    pub name: String,
    pub kind: ChannelKind,
    /// For one try.
    pub timeout: Duration,
    /// Tries end this long after the notification was decided.
    pub give_up_after: Duration,
    pub allow_private: bool,
    /// Roots beside the system's, in PEM.
    pub ca_file: Option<(PathBuf, Place)>,
    /// What callbacks are signed with; `None`: there are none.
    pub callback_secret: Option<SecretRef>,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub enum ChannelKind {
    PagerDuty { url: HiddenUrl, routing_key: SecretRef },
    Slack(SlackLogin),
    Email(Mail),
    Sms(Sms),
    Webhook { url: HiddenUrl, secret: SecretRef },
    Alertmanager { urls: Vec<HiddenUrl>, bearer_token: Option<SecretRef> },
    Log,
    File { path: PathBuf },
}

/// How Slack is told.
#[derive(Clone, Debug)]
pub enum SlackLogin {
    /// By an incoming webhook, whose URL is the secret.
    Webhook { url: SecretRef },
    /// By a bot, which can change what it wrote. `api` is the base of Slack's methods.
    Bot { api: HiddenUrl, token: SecretRef, channel: String },
}

#[derive(Clone, Debug)]
pub struct Mail {
    pub server: Smtp,
    pub from: String,
    pub to: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Sms {
    /// The base of the API.
    pub url: HiddenUrl,
    pub account: String,
    pub token: SecretRef,
    pub from: String,
    pub to: Vec<String>,
    /// Messages in a calendar month; each recipient counts.
    pub monthly_max: u32,
}

impl ChannelKind {
    /// What it shows to whom it calls.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::PagerDuty { routing_key: secret, .. }
            | Self::Slack(SlackLogin::Webhook { url: secret } | SlackLogin::Bot { token: secret, .. })
            | Self::Sms(Sms { token: secret, .. })
            | Self::Webhook { secret, .. } => Some(secret),
            Self::Email(mail) => mail.server.login.as_ref().map(|(_, password)| password),
            Self::Alertmanager { bearer_token, .. } => bearer_token.as_ref(),
            Self::Log | Self::File { .. } => None,
        }
    }

    /// As it is written.
    #[must_use]
    pub fn name(&self) -> String {
        kind_name(self.layer_kind())
    }

    fn layer_kind(&self) -> layer::ChannelKind {
        match self {
            Self::PagerDuty { .. } => layer::ChannelKind::PagerDuty,
            Self::Slack(_) => layer::ChannelKind::Slack,
            Self::Email(_) => layer::ChannelKind::Email,
            Self::Sms(_) => layer::ChannelKind::Sms,
            Self::Webhook { .. } => layer::ChannelKind::Webhook,
            Self::Alertmanager { .. } => layer::ChannelKind::Alertmanager,
            Self::Log => layer::ChannelKind::Log,
            Self::File { .. } => layer::ChannelKind::File,
        }
    }

    /// Whether it reaches people who look at nothing.
    #[must_use]
    pub fn reaches_people(&self) -> bool {
        match self {
            Self::PagerDuty { .. }
            | Self::Slack(_)
            | Self::Email(_)
            | Self::Sms(_)
            | Self::Webhook { .. }
            | Self::Alertmanager { .. } => true,
            Self::Log | Self::File { .. } => false,
        }
    }
}

/// The secrets of channels. What several channels of one kind share is one: it has one use.
pub fn channel_secrets(channels: &[Channel]) -> Vec<&SecretRef> {
    let mut found: Vec<((layer::ChannelKind, bool), &SecretRef)> = Vec::new();
    for channel in channels {
        let kind = channel.kind.layer_kind();
        let shown = channel.kind.secret().map(|secret| ((kind, false), secret));
        let verifies = channel.callback_secret.as_ref().map(|secret| ((kind, true), secret));
        for (used, secret) in [shown, verifies].into_iter().flatten() {
            if !found.iter().any(|(of, other)| (*of, &other.kept) == (used, &secret.kept)) {
                found.push((used, secret));
            }
        }
    }
    found.into_iter().map(|(_, secret)| secret).collect()
}

/// The channel that there is without configuration.
pub const BUILT_IN_CHANNEL: &str = "log";
const GIVE_UP_AFTER_HOURS: u32 = 24;
const SMS_MONTHLY_MAX: u32 = 200;
const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
const SLACK_API: &str = "https://slack.com/api/";
const TWILIO_API: &str = "https://api.twilio.com/";
/// Names of Slack's channels have up to 80 characters, and a `#` may stand before them.
const SLACK_CHANNEL_MAX: usize = 81;

/// A table, and where it stands.
struct Table<'a> {
    layers: &'a Layers,
    text: &'a Text,
    channel: &'a layer::Channel,
    name: &'a str,
    place: &'a Place,
    allow_private: bool,
}

impl Layers {
    pub(super) fn channels(&self) -> Result<Vec<Channel>, ConfigError> {
        let mut channels: Vec<Channel> = Vec::new();
        for (text, table) in self.tables(|layer| &layer.channel) {
            let channel = self.channel(text, table)?;
            let name = &table.get_ref().name;
            if channels.iter().any(|other| other.name == channel.name) {
                return Err(twice(text, name));
            }
            let is_log = matches!(channel.kind, ChannelKind::Log);
            if channel.name == BUILT_IN_CHANNEL && !is_log {
                let what = format!(
                    "the name `{BUILT_IN_CHANNEL}` belongs to a channel of kind `log`, which is built in"
                );
                return Err(ConfigError::new(&text.place(&name.span()), what).hint("give it another name"));
            }
            if channels.len() == CHANNELS_MAX {
                let what = format!("there are more than {CHANNELS_MAX} channels");
                return Err(ConfigError::new(&channel.place, what));
            }
            channels.push(channel);
        }
        if !channels.iter().any(|channel| channel.name == BUILT_IN_CHANNEL) {
            channels.push(Channel {
                name: BUILT_IN_CHANNEL.into(),
                kind: ChannelKind::Log,
                timeout: Duration::from_secs(ACTION_TRY_SECONDS.into()),
                give_up_after: Duration::from_hours(GIVE_UP_AFTER_HOURS.into()),
                allow_private: false,
                ca_file: None,
                callback_secret: None,
                place: self.file(),
            });
        }
        Ok(channels)
    }

    fn channel(&self, text: &Text, table: &Spanned<layer::Channel>) -> Result<Channel, ConfigError> {
        let channel = table.get_ref();
        let name = set(text, &channel.name).map(name)?;
        refuse_keys_of_others(text, channel)?;
        let place = place_of(text, table);
        let allow_private = channel.allow_private.as_ref().is_some_and(|allow| *allow.get_ref());
        let table = Table { layers: self, text, channel, name: &name, place: &place, allow_private };
        let kind = table.kind()?;
        let callback_secret = table.callback_secret()?;
        let ca_file = optional(text, channel.ca_file.as_ref()).map(|file| (file.value.0, file.place));
        if let Some((_, place)) = ca_file.as_ref().filter(|_| !has_tls(&kind)) {
            return Err(ConfigError::new(place, "`ca_file` means nothing to a URL without TLS"));
        }
        let timeout = optional(text, channel.timeout_seconds.as_ref());
        let timeout = timeout.map_or(ACTION_TRY_SECONDS, |set| set.value.0);
        let hours = optional(text, channel.give_up_after_hours.as_ref());
        let hours = hours.map_or(GIVE_UP_AFTER_HOURS, |set| set.value.0);
        Ok(Channel {
            kind,
            timeout: Duration::from_secs(timeout.into()),
            give_up_after: Duration::from_hours(hours.into()),
            allow_private,
            ca_file,
            callback_secret,
            place,
            name,
        })
    }

    /// Says that nobody calls this node back: alerts are where signals are decided, and callbacks come where they are taken.
    pub(super) fn uncalled(&self, role: NodeRole) -> Option<ConfigError> {
        let (why, hint) = match role {
            NodeRole::All => return None,
            NodeRole::Edge => {
                ("an edge has no alerts", "acknowledge at the processor: `gemba alert acknowledge`")
            }
            NodeRole::Processor => {
                ("a processor takes nothing over HTTP", "acknowledge with `gemba alert acknowledge`")
            }
        };
        let mut places = self.tables(|layer| &layer.channel).into_iter().filter_map(|(text, table)| {
            let channel = table.get_ref();
            let file = channel.callback_secret_file.as_ref().map(Spanned::span);
            let variable = channel.callback_secret_env.as_ref().map(Spanned::span);
            file.or(variable).map(|span| text.place(&span))
        });
        let what = format!("no channel calls this node back: {why}");
        places.next().map(|place| ConfigError::new(&place, what).hint(hint))
    }
}

/// Whether some of it is called over TLS, as far as is known without its secret.
fn has_tls(kind: &ChannelKind) -> bool {
    let is_https = |url: &HiddenUrl| url.0.scheme_str() == Some("https");
    match kind {
        ChannelKind::PagerDuty { url, .. }
        | ChannelKind::Slack(SlackLogin::Bot { api: url, .. })
        | ChannelKind::Sms(Sms { url, .. })
        | ChannelKind::Webhook { url, .. } => is_https(url),
        ChannelKind::Alertmanager { urls, .. } => urls.iter().any(is_https),
        ChannelKind::Slack(SlackLogin::Webhook { .. }) | ChannelKind::Email(_) => true,
        ChannelKind::Log | ChannelKind::File { .. } => false,
    }
}

impl Table<'_> {
    fn kind(&self) -> Result<ChannelKind, ConfigError> {
        let channel = self.channel;
        Ok(match *channel.kind.get_ref() {
            layer::ChannelKind::PagerDuty => {
                let keys = (&channel.routing_key_file, &channel.routing_key_env);
                ChannelKind::PagerDuty {
                    url: self.url_or(PAGERDUTY_URL)?,
                    routing_key: self.secret(keys, ("routing key", "routing_key_file"), Chooser::Peer)?,
                }
            }
            layer::ChannelKind::Slack => ChannelKind::Slack(self.slack()?),
            layer::ChannelKind::Email => ChannelKind::Email(self.mail()?),
            layer::ChannelKind::Sms => ChannelKind::Sms(self.sms()?),
            layer::ChannelKind::Webhook => {
                let keys = (&channel.secret_file, &channel.secret_env);
                let chooser = Chooser::Us(Written::Whsec);
                ChannelKind::Webhook {
                    url: self.url(self.required(channel.url.as_ref(), "url")?)?,
                    secret: self.secret(keys, ("secret", "secret_file"), chooser)?,
                }
            }
            layer::ChannelKind::Alertmanager => self.alertmanager()?,
            layer::ChannelKind::Log => ChannelKind::Log,
            layer::ChannelKind::File => {
                ChannelKind::File { path: self.required(channel.path.as_ref(), "path")?.value.0 }
            }
        })
    }

    fn slack(&self) -> Result<SlackLogin, ConfigError> {
        let channel = self.channel;
        let webhook = (&channel.webhook_url_file, &channel.webhook_url_env);
        let token = (&channel.token_file, &channel.token_env);
        let is_set =
            |(file, variable): (&Key<layer::FilePath>, &Key<String>)| file.is_some() || variable.is_some();
        match (is_set(webhook), is_set(token)) {
            (true, false) => {
                let others = [("url", &channel.url), ("channel", &channel.channel)];
                if let Some((key, set)) = others.iter().find_map(|(key, set)| Some((key, set.as_ref()?))) {
                    let what = format!("`{key}` means nothing beside the URL of an incoming webhook");
                    return Err(ConfigError::new(&self.text.place(&set.span()), what)
                        .hint("the URL says all; a bot has `token_file` and `channel`"));
                }
                let what = ("webhook's URL", "webhook_url_file");
                Ok(SlackLogin::Webhook { url: self.secret(webhook, what, Chooser::Peer)? })
            }
            (false, true) => {
                let channel = self.required(channel.channel.as_ref(), "channel")?.map(|text| {
                    let fits = !text.trim().is_empty() && text.chars().count() <= SLACK_CHANNEL_MAX;
                    let fits = fits && !text.contains(char::is_whitespace);
                    if fits {
                        Ok(text)
                    } else {
                        Err("this is not a channel such as #ops or C0123456789".into())
                    }
                })?;
                Ok(SlackLogin::Bot {
                    api: self.url_or(SLACK_API)?,
                    token: self.secret(token, ("token", "token_file"), Chooser::Peer)?,
                    channel,
                })
            }
            (false, false) => Err(self
                .lacks("webhook_url_file")
                .hint("set it for an incoming webhook, or `token_file` and `channel` for a bot")),
            (true, true) => {
                let what = format!("channel `{}` has an incoming webhook and a bot", self.name);
                Err(ConfigError::new(self.place, what).hint("keep `webhook_url_file` or `token_file`"))
            }
        }
    }

    fn mail(&self) -> Result<Mail, ConfigError> {
        let channel = self.channel;
        let smtp = self.required(channel.smtp.as_ref(), "smtp")?;
        let at = smtp.place.clone();
        let (server, user) = smtp.map(|text| smtp_server(&text))?;
        let keys = (&channel.password_file, &channel.password_env);
        let is_set = keys.0.is_some() || keys.1.is_some();
        let login = match user {
            Some(user) => Some((user, self.secret(keys, ("password", "password_file"), Chooser::Peer)?)),
            None if is_set => {
                return Err(ConfigError::new(
                    &at,
                    format!("the password of channel `{}` has no user", self.name),
                )
                .hint("write the user into `smtp`: smtps://user@mail.example.com"));
            }
            None => None,
        };
        let to = self.required(channel.to.as_ref(), "to")?;
        Ok(Mail {
            server: Smtp { login, ..server },
            from: self.required(channel.from.as_ref(), "from")?.map(|text| mail_address(&text))?,
            to: recipients(self.text, &to, mail_address, MAIL_RECIPIENTS_MAX)?,
        })
    }

    fn sms(&self) -> Result<Sms, ConfigError> {
        let channel = self.channel;
        let account = self.required(channel.account.as_ref(), "account")?.map(|text| {
            let fits =
                (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if fits { Ok(text) } else { Err("an account has letters and digits, 64 at most".into()) }
        })?;
        let to = self.required(channel.to.as_ref(), "to")?;
        let keys = (&channel.token_file, &channel.token_env);
        let monthly_max = optional(self.text, channel.monthly_max.as_ref());
        Ok(Sms {
            url: self.url_or(TWILIO_API)?,
            account,
            token: self.secret(keys, ("token", "token_file"), Chooser::Peer)?,
            from: self.required(channel.from.as_ref(), "from")?.map(|text| phone_number(&text))?,
            to: recipients(self.text, &to, phone_number, SMS_RECIPIENTS_MAX)?,
            monthly_max: monthly_max.map_or(SMS_MONTHLY_MAX, |set| set.value.0),
        })
    }

    fn alertmanager(&self) -> Result<ChannelKind, ConfigError> {
        let channel = self.channel;
        let urls = self.required(channel.urls.as_ref(), "urls")?;
        if urls.value.is_empty() || urls.value.len() > ALERTMANAGERS_MAX {
            let what = format!("`{}`: a cluster has 1 to {ALERTMANAGERS_MAX} members", urls.key);
            return Err(ConfigError::new(&urls.place, what).hint("name every member: each is told"));
        }
        let urls = urls.value.iter().map(|url| self.url(set(self.text, url)));
        let urls = urls.collect::<Result<_, _>>()?;
        let keys = (&channel.bearer_token_file, &channel.bearer_token_env);
        let what = ("bearer token", "bearer_token_file");
        let token = (keys.0.is_some() || keys.1.is_some()).then(|| self.secret(keys, what, Chooser::Peer));
        Ok(ChannelKind::Alertmanager { urls, bearer_token: token.transpose()? })
    }

    fn callback_secret(&self) -> Result<Option<SecretRef>, ConfigError> {
        let keys = (&self.channel.callback_secret_file, &self.channel.callback_secret_env);
        let what = ("callback secret", "callback_secret_file");
        let secret = (keys.0.is_some() || keys.1.is_some()).then(|| self.secret(keys, what, Chooser::Peer));
        secret.transpose()
    }

    fn lacks(&self, key: &str) -> ConfigError {
        ConfigError::new(self.place, format!("channel `{}` has no `{key}`", self.name))
    }

    fn required<T: Clone>(&self, key: Option<&Spanned<T>>, named: &str) -> Result<Set<T>, ConfigError> {
        optional(self.text, key).ok_or_else(|| self.lacks(named))
    }

    fn secret(
        &self,
        (file, variable): (&Key<layer::FilePath>, &Key<String>),
        (what, key): (&str, &str),
        chosen_by: Chooser,
    ) -> Result<SecretRef, ConfigError> {
        if file.is_none() && variable.is_none() {
            let variable = key.replace("_file", "_env");
            return Err(self.lacks(key).hint(format!("or set `{variable}` to the name of a variable")));
        }
        let kept = (optional(self.text, file.as_ref()), optional(self.text, variable.as_ref()));
        let what = format!("the {what} of channel `{}`", self.name);
        let secret = self.layers.secret(kept, None, None, (&what, key, Written::Hex))?;
        Ok(SecretRef { chosen_by, ..secret })
    }

    /// As it is configured, or the service's own.
    fn url_or(&self, usual: &'static str) -> Result<HiddenUrl, ConfigError> {
        match optional(self.text, self.channel.url.as_ref()) {
            Some(url) => self.url(url),
            None => Ok(HiddenUrl(Uri::from_static(usual))),
        }
    }

    fn url(&self, url: Set<String>) -> Result<HiddenUrl, ConfigError> {
        let at = url.place.clone();
        let url = url.map(|text| http_url(&text))?;
        if url.scheme_str() == Some("http") && !self.allow_private {
            return Err(ConfigError::new(
                &at,
                format!("channel `{}` would be called without TLS", self.name),
            )
            .hint("write https://, or set `allow_private = true` for a receiver on your own network"));
        }
        Ok(HiddenUrl(url))
    }
}
