//! Which database it is, where it is reached, and who asks.

use hyper::Uri;
use hyper::header::InvalidHeaderValue;

use super::service_account::ServiceAccount;
use super::uri::guarded;
use crate::net::tls::TlsError;

/// One database.
#[derive(Debug)]
pub struct Site {
    pub project: String,
    /// `(default)` for the one that every project may have.
    pub database: String,
    pub endpoint: Endpoint,
}

/// Where it is reached.
#[derive(Debug)]
pub enum Endpoint {
    /// Host and port, as FIRESTORE_EMULATOR_HOST has them: no TLS, and whoever asks is the owner.
    Emulator(String),
    /// By TLS, or on this machine.
    At { url: String, credentials: Credentials },
}

/// Who asks.
#[derive(Debug)]
pub enum Credentials {
    ServiceAccount(ServiceAccount),
    /// The service account of the machine, as its metadata server at this host knows it.
    Metadata(String),
}

impl Credentials {
    /// The machine's own; at GCE_METADATA_HOST, if that is set.
    #[must_use]
    pub fn metadata() -> Self {
        let host = std::env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty());
        Self::Metadata(host.unwrap_or_else(|| "metadata.google.internal".to_owned()))
    }
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the project and the database have no names that a header may hold")]
    Names(#[from] InvalidHeaderValue),
    #[error("`{0}` is no host, with or without a port")]
    Host(String),
    #[error("`{0}` is no URL of a host; it needs https, or http to this machine")]
    Url(String),
}

impl Endpoint {
    /// Google's own.
    #[must_use]
    pub fn google(credentials: Credentials) -> Self {
        Self::At { url: "https://firestore.googleapis.com".to_owned(), credentials }
    }

    pub(super) fn base(&self) -> Result<Uri, Unusable> {
        match self {
            Self::Emulator(host) => http(host),
            Self::At { url, .. } => guarded(url).ok_or_else(|| Unusable::Url(url.clone())),
        }
    }
}

/// `http` to a host and port.
pub(super) fn http(host: &str) -> Result<Uri, Unusable> {
    let uri = Uri::builder().scheme("http").authority(host).path_and_query("/").build();
    uri.ok()
        .filter(|uri| uri.host().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| Unusable::Host(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulator_is_a_host_with_or_without_a_port() {
        assert_eq!(http("127.0.0.1:8080").unwrap().to_string(), "http://127.0.0.1:8080/");
        assert_eq!(http("[::1]:8080").unwrap().port_u16(), Some(8080));
        for bad in ["", "http://127.0.0.1:8080", "a b", "127.0.0.1:8080/path"] {
            assert!(http(bad).is_err(), "{bad}");
        }
    }
}
