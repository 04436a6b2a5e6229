//! What secrets of channels have to be, as far as that is known without calling anybody.

use secrecy::ExposeSecret as _;

use super::targets::trusting;
use crate::config::{
    Channel, ChannelKind, Config, ConfigError, HiddenUrl, Secrets, SlackLogin, secret::SecretRef,
};
use crate::net::tls;
use crate::signature::Signer;

/// Letters and digits of an integration key of `PagerDuty`.
const ROUTING_KEY_LENGTH: usize = 32;

/// # Errors
/// The first secret, or file of roots, that cannot be meant.
pub fn check(config: &Config, secrets: &Secrets) -> Result<(), ConfigError> {
    config.channels.iter().try_for_each(|channel| {
        if channel.ca_file.is_some() {
            let whom = format!("channel `{}`", channel.name);
            trusting(channel.ca_file.as_ref(), &whom, &channel.place, tls::HTTP)?;
        }
        channel.kind.secret().map_or(Ok(()), |secret| one(channel, secret, secrets))
    })
}

fn one(channel: &Channel, secret: &SecretRef, secrets: &Secrets) -> Result<(), ConfigError> {
    let read = secrets.get(secret)?;
    let read = read.expose_secret();
    let is_word = !read.is_empty() && read.iter().all(u8::is_ascii_graphic);
    let wrong = match &channel.kind {
        ChannelKind::PagerDuty { .. } => {
            let fits = read.len() == ROUTING_KEY_LENGTH && read.iter().all(u8::is_ascii_alphanumeric);
            let wrong = format!("it is not {ROUTING_KEY_LENGTH} letters and digits");
            (!fits).then_some((wrong, "copy the integration key of Events API v2"))
        }
        ChannelKind::Slack(SlackLogin::Webhook { .. }) => {
            let url = std::str::from_utf8(read).map_err(|_| "it is not UTF-8".to_owned());
            let url = url.and_then(|url| HiddenUrl::read(url, channel.allow_private));
            url.err().map(|why| (why, "copy the URL of the incoming webhook"))
        }
        ChannelKind::Webhook { .. } => {
            let signer = Signer::new(read);
            return signer.map(|_| ()).map_err(|why| secret.wrong(why).hint(secret.advice()));
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
        ChannelKind::Log | ChannelKind::File { .. } => None,
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
        check(&config, &secrets).map_err(|error| {
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
        ] {
            let told = told(dir.path(), keys, bad).unwrap_err();
            assert!(told.contains(why) && !told.contains("S3cret"), "{told}");
        }
    }
}
