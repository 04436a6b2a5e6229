//! `[prometheus]`: where samples are sent by remote write. That they can be scraped needs no key.

use std::time::Duration;

use hyper::Uri;
use toml::Spanned;

use super::layer::Profile;
use super::layers::Layers;
use super::opentelemetry::TlsFiles;
use super::receivers::http_url_or;
use super::secret::{Chooser, SecretRef, Written};
use crate::limits::EXTERNAL_LABELS_MAX;
use crate::place::{ConfigError, Place};

/// Where samples go.
#[derive(Clone)]
pub struct Prometheus {
    pub url: Uri,
    /// Only 1.0 is spoken.
    pub only_first_version: bool,
    pub interval: Duration,
    pub login: Login,
    /// Of every series.
    pub labels: Vec<(String, String)>,
    pub tls: TlsFiles,
}

/// How the node says who it is.
#[derive(Clone, Debug)]
pub enum Login {
    None,
    Bearer(SecretRef),
    Basic { username: String, password: SecretRef },
}

impl Login {
    /// What it says that with.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretRef> {
        match self {
            Self::None => None,
            Self::Bearer(secret) | Self::Basic { password: secret, .. } => Some(secret),
        }
    }
}

impl std::fmt::Debug for Prometheus {
    /// A URL may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prometheus").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Layers {
    /// `None`: samples are not sent.
    pub(super) fn prometheus(&self, profile: Profile, node: &str) -> Result<Option<Prometheus>, ConfigError> {
        let Some(url) = self.find(|l| &l.prometheus.remote_write_url) else { return Ok(None) };
        let place = url.place.clone();
        let url = url.map(|text| url_of(&text))?;
        let usual = match profile {
            Profile::Dev => 5,
            Profile::Staging => 30,
            Profile::Prod => 60,
        };
        let interval = self.number(|l| &l.prometheus.interval_seconds, usual);
        let tls = self.tls_files(|l| &l.prometheus.remote_write_tls, TlsFiles::default())?;
        if url.scheme_str() == Some("http")
            && let Some((_, place)) = tls.ca.as_ref().or(tls.cert.as_ref())
        {
            return Err(ConfigError::new(place, "files of TLS mean nothing to a URL without TLS"));
        }
        Ok(Some(Prometheus {
            url,
            only_first_version: self.number(|l| &l.prometheus.remote_write_version, 2) == 1,
            interval: Duration::from_secs(interval.into()),
            login: self.login(&place)?,
            labels: self.labels(node)?,
            tls,
        }))
    }

    fn login(&self, place: &Place) -> Result<Login, ConfigError> {
        let token =
            (self.find(|l| &l.prometheus.bearer_token_file), self.find(|l| &l.prometheus.bearer_token_env));
        let password =
            (self.find(|l| &l.prometheus.password_file), self.find(|l| &l.prometheus.password_env));
        let username = self.find(|l| &l.prometheus.username);
        let has_token = token.0.is_some() || token.1.is_some();
        let has_password = password.0.is_some() || password.1.is_some();
        let secret = |kept, what: &str, key: &str| {
            let secret = self.secret(kept, None, None, (what, key, Written::Hex))?;
            Ok::<_, ConfigError>(SecretRef { chosen_by: Chooser::Peer, ..secret })
        };
        match (has_token, username, has_password) {
            (false, None, false) => Ok(Login::None),
            (true, None, false) => {
                let what = "the token for remote write";
                Ok(Login::Bearer(secret(token, what, "prometheus.bearer_token_file")?))
            }
            (false, Some(username), true) => {
                let username = username.map(|name| {
                    let has_colon = name.contains(':');
                    if has_colon { Err("a user's name has no colon (RFC 7617)".to_owned()) } else { Ok(name) }
                })?;
                let what = "the password for remote write";
                let password = secret(password, what, "prometheus.password_file")?;
                Ok(Login::Basic { username, password })
            }
            (true, ..) => Err(ConfigError::new(place, "remote write has a token and a user")
                .hint("keep `bearer_token_file`, or `username` with `password_file`")),
            (false, Some(username), false) => {
                Err(ConfigError::new(&username.place, "`username` has no password")
                    .hint("set `password_file`"))
            }
            (false, None, true) => {
                Err(ConfigError::new(place, "the password for remote write has no user")
                    .hint("set `username`"))
            }
        }
    }

    /// `job` and `instance` as a scrape would give them, unless they are given.
    fn labels(&self, node: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let mut labels =
            vec![("instance".to_owned(), node.to_owned()), ("job".to_owned(), "gemba".to_owned())];
        let Some(set) = self.find(|l| &l.prometheus.external_labels) else { return Ok(labels) };
        let given = set.map(|given| {
            if given.len() > EXTERNAL_LABELS_MAX {
                return Err(format!("there are more than {EXTERNAL_LABELS_MAX} labels"));
            }
            let wrong = given.keys().find(|name| !is_label(name));
            match wrong {
                Some(name) => Err(format!("`{name}` is not a label: [a-zA-Z_][a-zA-Z0-9_]*, and not `__…`")),
                None => Ok(given),
            }
        })?;
        labels.retain(|(name, _)| !given.contains_key(name));
        labels.extend(given.into_iter().map(|(name, value)| (name, Spanned::into_inner(value))));
        labels.retain(|(_, value)| !value.is_empty());
        Ok(labels)
    }
}

fn is_label(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let bytes = name.as_bytes();
    bytes.first().is_some_and(|first| is_letter(*first))
        && bytes.iter().all(|byte| is_letter(*byte) || byte.is_ascii_digit())
        && !name.starts_with("__")
}

/// Says nothing of the text: it may hold a secret.
fn url_of(text: &str) -> Result<Uri, String> {
    let other_form = "this is not a URL of the form https://host/api/v1/write";
    http_url_or(text, (other_form, "the user belongs into `username`, and the password into `password_file`"))
}
