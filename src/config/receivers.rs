//! Where channels call: URLs, which may be secrets, and mail servers.

use hyper::Uri;

use super::secret::SecretRef;
use crate::percent;

/// A URL may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenUrl(pub Uri);

impl HiddenUrl {
    /// One that is kept as a secret.
    ///
    /// # Errors
    /// What is wrong with it, without the text.
    pub fn read(text: &str, allow_private: bool) -> Result<Self, String> {
        let url = http_url(text)?;
        if url.scheme_str() == Some("http") && !allow_private {
            return Err("it would be called without TLS".into());
        }
        Ok(Self(url))
    }
}

impl std::fmt::Debug for HiddenUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A mail server, and who says to be there.
#[derive(Clone, Debug)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    /// TLS from the first byte; otherwise by STARTTLS, without which nothing is sent.
    pub implicit_tls: bool,
    pub login: Option<(String, SecretRef)>,
}

/// Ports of mail submission: RFC 8314, 7.3, and RFC 6409, 3.1.
const SMTPS_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;
/// Says nothing of the text: it may hold a secret.
///
/// # Errors
/// What is wrong with it.
pub fn http_url(text: &str) -> Result<Uri, String> {
    let words =
        ("this is not a URL of the form https://host/path", "a URL with a user and a password is not called");
    http_url_or(text, words)
}

/// The same, with the words for text of a different form, and for a URL with a user.
///
/// # Errors
/// One of the words.
pub fn http_url_or(text: &str, (other_form, with_user): (&str, &str)) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| other_form.to_owned())?;
    if !matches!(url.scheme_str(), Some("https" | "http")) || url.host().is_none_or(str::is_empty) {
        return Err(other_form.into());
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(with_user.into());
    }
    Ok(url)
}

/// A mail server, and its user. Says nothing of the text.
///
/// # Errors
/// What is wrong with it.
pub fn smtp_server(text: &str) -> Result<(Smtp, Option<String>), String> {
    const FORM: &str = "this is not a mail server of the form smtps://user@mail.example.com or smtp://…";
    let url: Uri = text.parse().map_err(|_| FORM.to_owned())?;
    let implicit_tls = match url.scheme_str() {
        Some("smtps") => true,
        Some("smtp") => false,
        _ => return Err(FORM.into()),
    };
    let is_bare = url.path_and_query().is_none_or(|rest| matches!(rest.as_str(), "" | "/"));
    let (Some(host), Some(authority), true) = (url.host(), url.authority(), is_bare) else {
        return Err(FORM.into());
    };
    if host.is_empty() {
        return Err(FORM.into());
    }
    let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
    let user = match user {
        Some(user) if user.contains(':') => {
            return Err("the password belongs into `password_file`, not into the URL".into());
        }
        Some(user) => {
            let user = percent::decode(user.as_bytes()).filter(|user| !user.is_empty());
            let user = user.filter(|user| !user.contains(char::is_control));
            Some(user.ok_or_else(|| FORM.to_owned())?)
        }
        None => None,
    };
    let usual = if implicit_tls { SMTPS_PORT } else { SUBMISSION_PORT };
    let port = url.port_u16().unwrap_or(usual);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((Smtp { host, port, implicit_tls, login: None }, user))
}
