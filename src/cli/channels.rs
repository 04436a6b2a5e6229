//! The configured channels in the line's terms, and what their secrets have to be, as far as that is known without calling anybody.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};

use super::targets::trusting;
use crate::andon::channel::{
    self, AlertFile, AlertWebhook, Alertmanager, Channels, Email, PagerDuty, RateLimit, Slack, Sms,
    mail_address,
};
use crate::config::{
    Channel, ChannelKind, Config, ConfigError, HiddenUrl, Mail, Secrets, SlackLogin, secret::SecretRef,
};
use crate::ingress::callback::CallbackSource;
use crate::limits::CALLBACK_TOLERANCE;
use crate::net::caller::CallTarget;
use crate::net::smtp::{SmtpSecurity, SmtpServer};
use crate::net::tls;
use crate::signature::{CallbackKey, CallbackScheme, Signer};

/// Everything that people are told by.
///
/// # Errors
/// The first secret, or file of roots, that cannot be meant.
pub fn channels(config: &Config, secrets: &Secrets) -> Result<Channels, ConfigError> {
    let one = |configured: &Channel| {
        check(&configured.kind, secrets)?;
        let of = Of { configured, secrets };
        Ok(channel::Channel {
            name: configured.name.as_str().into(),
            kind: of.kind(config.alerts.routes.repeat_minutes)?,
            rate: match &configured.kind {
                ChannelKind::Slack(_) => RateLimit::slack(),
                ChannelKind::Sms(sms) => RateLimit::sms(sms.monthly_max),
                ChannelKind::PagerDuty { .. }
                | ChannelKind::Email(_)
                | ChannelKind::Webhook { .. }
                | ChannelKind::Alertmanager { .. }
                | ChannelKind::Log
                | ChannelKind::File { .. } => RateLimit::default(),
            },
            timeout: configured.timeout,
            give_up: configured.give_up_after,
            calls_back: configured.callback_secret.is_some(),
        })
    };
    Ok(Channels {
        channels: config.channels.iter().map(one).collect::<Result<_, ConfigError>>()?,
        external_url: config.alerts.external_url.as_deref().map(Into::into),
        dead_letters_per_minute: config.alerts.dead_letters_per_minute,
    })
}

/// Channels that may call back, each with the key of its secret.
///
/// # Errors
/// The first secret that cannot be meant.
pub fn callbacks(config: &Config, secrets: &Secrets) -> Result<Vec<CallbackSource>, ConfigError> {
    let mut sources = Vec::new();
    for channel in &config.channels {
        let Some((scheme, secret)) = callback(channel) else { continue };
        let read = secrets.get(secret)?;
        let key = CallbackKey::new(scheme, read.expose_secret(), CALLBACK_TOLERANCE.as_secs());
        let key = key.map_err(|why| {
            secret.wrong(why).hint(match scheme {
                CallbackScheme::PagerDuty => {
                    "copy the secret that PagerDuty showed when the webhook subscription was made"
                }
                CallbackScheme::Slack => "copy the signing secret of the app",
            })
        })?;
        // Slack calls one URL for all channels of an app, and PagerDuty one for all services of a subscription.
        let is_sharing = |other: &&Channel| {
            callback(other).is_some_and(|(of, shared)| of == scheme && shared.kept == secret.kept)
        };
        let sharing = config.channels.iter().filter(is_sharing).map(|other| other.name.as_str().into());
        sources.push(CallbackSource::new(&channel.name, key, sharing.collect()));
    }
    Ok(sources)
}

/// How a channel signs what it calls back with, if it does.
fn callback(channel: &Channel) -> Option<(CallbackScheme, &SecretRef)> {
    let scheme = match &channel.kind {
        ChannelKind::PagerDuty { .. } => CallbackScheme::PagerDuty,
        ChannelKind::Slack(_) => CallbackScheme::Slack,
        ChannelKind::Email(_)
        | ChannelKind::Sms(_)
        | ChannelKind::Webhook { .. }
        | ChannelKind::Alertmanager { .. }
        | ChannelKind::Log
        | ChannelKind::File { .. } => return None,
    };
    channel.callback_secret.as_ref().map(|secret| (scheme, secret))
}

/// One configured channel, and where its secret is.
struct Of<'a> {
    configured: &'a Channel,
    secrets: &'a Secrets,
}

impl Of<'_> {
    fn kind(&self, repeat_minutes: u32) -> Result<channel::ChannelKind, ConfigError> {
        Ok(match &self.configured.kind {
            ChannelKind::PagerDuty { url, routing_key } => channel::ChannelKind::PagerDuty(PagerDuty {
                to: self.target(url)?,
                routing_key: self.secret(routing_key)?,
            }),
            ChannelKind::Slack(SlackLogin::Webhook { url }) => {
                let text = self.secret(url)?;
                let read = HiddenUrl::read(text.expose_secret(), self.configured.allow_private);
                let read = read.map_err(|why| url.wrong(why).hint("copy the URL of the incoming webhook"))?;
                channel::ChannelKind::Slack(Slack::Webhook(self.target(&read)?))
            }
            ChannelKind::Slack(SlackLogin::Bot { api, token, channel }) => {
                channel::ChannelKind::Slack(Slack::Bot {
                    api: self.target(api)?,
                    token: self.secret(token)?,
                    channel: channel.clone(),
                })
            }
            ChannelKind::Email(mail) => channel::ChannelKind::Email(self.email(mail)?),
            ChannelKind::Sms(sms) => {
                // The account stands in the path, as the API has it.
                let base = sms.url.0.to_string();
                let url = format!(
                    "{}/2010-04-01/Accounts/{}/Messages.json",
                    base.trim_end_matches('/'),
                    sms.account
                );
                let url = url.parse().map_err(|_| {
                    ConfigError::new(&self.configured.place, "its `account` makes no URL of the API")
                })?;
                channel::ChannelKind::Sms(Sms {
                    to: self.target(&HiddenUrl(url))?,
                    user: sms.account.clone(),
                    token: self.secret(&sms.token)?,
                    from: sms.from.clone(),
                    recipients: sms.to.clone(),
                })
            }
            ChannelKind::Webhook { url, secret } => {
                let signer = Signer::new(self.secrets.get(secret)?.expose_secret());
                let signer = signer.map_err(|why| secret.wrong(why).hint(secret.advice()))?;
                channel::ChannelKind::Webhook(AlertWebhook {
                    to: self.target(url)?,
                    signer: Arc::new(signer),
                })
            }
            ChannelKind::Alertmanager { urls, bearer_token } => {
                let authorization = bearer_token.as_ref().map(|token| {
                    let text = format!("Bearer {}", self.secret(token)?.expose_secret());
                    let mut value = HeaderValue::from_str(&text)
                        .map_err(|_| token.wrong("it is not one word of printable ASCII"))?;
                    value.set_sensitive(true);
                    Ok::<_, ConfigError>(value)
                });
                channel::ChannelKind::Alertmanager(Alertmanager {
                    members: urls.iter().map(|url| self.target(url)).collect::<Result<_, _>>()?,
                    authorization: authorization.transpose()?,
                    repeat: Duration::from_secs(u64::from(repeat_minutes) * 60),
                })
            }
            ChannelKind::Log => channel::ChannelKind::Log,
            ChannelKind::File { path } => channel::ChannelKind::File(AlertFile { path: path.clone() }),
        })
    }

    fn whom(&self) -> String {
        format!("channel `{}`", self.configured.name)
    }

    fn tls(&self, protocols: &[&[u8]]) -> Result<Arc<rustls::ClientConfig>, ConfigError> {
        let Channel { ca_file, place, .. } = self.configured;
        trusting(ca_file.as_ref(), &self.whom(), place, protocols)
    }

    fn target(&self, HiddenUrl(url): &HiddenUrl) -> Result<CallTarget, ConfigError> {
        let is_https = url.scheme_str() == Some("https");
        Ok(CallTarget {
            url: url.clone(),
            tls: is_https.then(|| self.tls(tls::HTTP)).transpose()?,
            allow_private: self.configured.allow_private,
        })
    }

    fn secret(&self, secret: &SecretRef) -> Result<SecretString, ConfigError> {
        let read = self.secrets.get(secret)?;
        let text = String::from_utf8(read.expose_secret().to_vec());
        text.map(SecretString::from).map_err(|_| secret.wrong("it is not UTF-8").hint(secret.advice()))
    }

    fn email(&self, Mail { server, from, to }: &Mail) -> Result<Email, ConfigError> {
        let address = |text: &String| {
            mail_address(text)
                .map_err(|why| ConfigError::new(&self.configured.place, format!("{}: {why}", self.whom())))
        };
        let login = server
            .login
            .as_ref()
            .map(|(user, password)| Ok::<_, ConfigError>((user.clone(), self.secret(password)?)));
        Ok(Email {
            server: SmtpServer {
                host: server.host.clone(),
                port: server.port,
                security: if server.implicit_tls { SmtpSecurity::Implicit } else { SmtpSecurity::StartTls },
                tls: self.tls(&[])?,
                allow_private: self.configured.allow_private,
                login: login.transpose()?,
            },
            from: address(from)?,
            to: to.iter().map(address).collect::<Result<_, _>>()?,
        })
    }
}

/// Letters and digits of an integration key of `PagerDuty`.
const ROUTING_KEY_LENGTH: usize = 32;

/// Whether a secret can be what it is for, where nothing else reads it before a call.
fn check(kind: &ChannelKind, secrets: &Secrets) -> Result<(), ConfigError> {
    let Some(secret) = kind.secret() else { return Ok(()) };
    let read = secrets.get(secret)?;
    let read = read.expose_secret();
    let is_word = !read.is_empty() && read.iter().all(u8::is_ascii_graphic);
    let wrong = match kind {
        ChannelKind::PagerDuty { .. } => {
            let fits = read.len() == ROUTING_KEY_LENGTH && read.iter().all(u8::is_ascii_alphanumeric);
            let wrong = format!("it is not {ROUTING_KEY_LENGTH} letters and digits");
            (!fits).then_some((wrong, "copy the integration key of Events API v2"))
        }
        ChannelKind::Email(_) => {
            let is_text = std::str::from_utf8(read).is_ok_and(|text| !text.contains(char::is_control));
            (!is_text).then(|| ("it is not one line of UTF-8".into(), "write the user's password"))
        }
        ChannelKind::Slack(SlackLogin::Bot { .. })
        | ChannelKind::Sms(_)
        | ChannelKind::Alertmanager { .. } => {
            (!is_word).then(|| ("it is not one word of printable ASCII".into(), "copy the token as it is"))
        }
        // Each is read whole where its channel is made.
        ChannelKind::Slack(SlackLogin::Webhook { .. })
        | ChannelKind::Webhook { .. }
        | ChannelKind::Log
        | ChannelKind::File { .. } => None,
    };
    wrong.map_or(Ok(()), |(why, hint)| Err(secret.wrong(why).hint(hint)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::config::{Flags, Missing, load};

    const PAGER: &str = "kind = \"pagerduty\"\nrouting_key_file = \"s\"\n";
    const SLACK: &str = "kind = \"slack\"\nwebhook_url_file = \"s\"\n";
    const BOT: &str = "kind = \"slack\"\ntoken_file = \"s\"\nchannel = \"#ops\"\n";
    const HOOK: &str = "kind = \"webhook\"\nurl = \"https://a.b/\"\nsecret_file = \"s\"\n";
    const MAIL: &str =
        "kind = \"email\"\nsmtp = \"smtps://u@a.b\"\npassword_file = \"s\"\nfrom = \"a@b\"\nto = [\"c@d\"]\n";

    fn told(dir: &Path, keys: &str, secret: &str) -> Result<(), String> {
        let path = dir.join("s");
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let keys = keys.replace("\"s\"", &format!("{path:?}"));
        let file = dir.join("gemba.toml");
        let text = format!("[node]\nprofile = \"dev\"\n[[channel]]\nname = \"a\"\n{keys}");
        std::fs::write(&file, text).unwrap();
        let config = load(Some(&file), std::iter::empty(), &Flags::default()).unwrap();
        let secrets = config.read_secrets(Missing::Assume).map_err(|error| error.what)?;
        callbacks(&config, &secrets).and_then(|_| channels(&config, &secrets)).map(|_| ()).map_err(|error| {
            assert!(error.hint.is_some(), "{error}");
            error.what
        })
    }

    #[test]
    fn a_secret_that_cannot_be_one_is_told_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let key = "0123456789abcdef0123456789ABCDEF";
        let hook = format!("whsec_{}", data_encoding::BASE64.encode(&[7; 32]));
        for (keys, good) in [
            (PAGER, key),
            (SLACK, "https://hooks.slack.com/services/T/B/x\n"),
            (BOT, "xoxb-1\n"),
            (HOOK, hook.as_str()),
            (MAIL, "a pass word"),
        ] {
            assert_eq!(told(dir.path(), keys, good), Ok(()), "{keys}");
        }
        for (keys, bad, why) in [
            (PAGER, "S3cret", "the routing key of channel `a`: it is not 32 letters and digits"),
            (PAGER, "S3cret6789abcdef0123456789ABCDE-", "it is not 32 letters and digits"),
            (SLACK, "http://S3cret/", "the webhook's URL of channel `a`: it would be called without TLS"),
            (SLACK, "S3cret", "this is not a URL of the form https://host/path"),
            (BOT, "xoxb S3cret", "the token of channel `a`: it is not one word of printable ASCII"),
            (MAIL, "S3cret\nx", "the password of channel `a`: it is not one line of UTF-8"),
            (HOOK, "S3cretS3cretS3cretS3cretS3cret", "the secret of channel `a`: "),
            (
                "kind = \"slack\"\nwebhook_url_env = \"PATH\"\ncallback_secret_file = \"s\"\n",
                "S3cretS3cret",
                "the callback secret of channel `a`: the secret has 12 bytes; at least 24 are needed",
            ),
        ] {
            let told = told(dir.path(), keys, bad).unwrap_err();
            assert!(told.contains(why) && !told.contains("S3cret"), "{told}");
        }
    }
}
