//! Who said it. Verifies the raw bytes of a request before anything reads them (promise P6).
//!
//! A source declares its scheme; it is never guessed from the headers. Every live key and every listed signature is
//! tried, decoded, in constant time, without an early end. One file per scheme.
//!
//! ```
//! use gemba::signature::{Keyring, Refusal, Scheme};
//! use hyper::HeaderMap;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret: &[u8] = b"a secret of at least 24 bytes";
//! let keyring = Keyring::new("signals", Scheme::Hmac, &[("k1", secret)], 300)?;
//! let mut headers = HeaderMap::new();
//! for (name, value) in keyring.sign(b"a body", "id", 0) {
//!     headers.insert(name, value.parse()?);
//! }
//! assert_eq!(keyring.verify(&headers, "a body".into(), 0)?.body(), "a body");
//! assert_eq!(keyring.verify(&headers, "another".into(), 0).unwrap_err(), Refusal::NoMatch);
//! # Ok(())
//! # }
//! ```

mod callback;
mod hmac;
mod key;
mod refusal;
mod standard_webhooks;

use std::fmt;

use aws_lc_rs::hmac as mac;
use bytes::Bytes;
use hyper::HeaderMap;
use serde::Deserialize;
use strum::IntoStaticStr;
use zeroize::Zeroizing;

pub use callback::{CallbackKey, CallbackScheme, VerifiedCallback};
use key::Key;
pub use key::{BadKey, KEYS_MAX, SECRET_BYTES_MIN, SIGNATURES_MAX};
pub use refusal::{Now, Refusal, RefusalName};

#[cfg(test)]
use crate::names::Identified;
use crate::names::{Assurance, Provenance};

/// How a source signs. The names are those of the configuration.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Scheme {
    /// `x-signature`: hex HMAC-SHA256 over the raw body.
    Hmac,
    /// Standard Webhooks v1: id, timestamp and body, HMAC-SHA256 in base64.
    StandardWebhooks,
}

/// How a secret of a scheme is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// The text is the secret.
    Text,
    /// `whsec_` and base64 of the secret.
    Whsec,
}

impl Scheme {
    /// How its secrets are written.
    #[must_use]
    pub fn secret_form(self) -> SecretForm {
        match self {
            Self::Hmac => SecretForm::Text,
            Self::StandardWebhooks => SecretForm::Whsec,
        }
    }

    fn assurance(self) -> Assurance {
        match self {
            Self::Hmac => Assurance::C,
            Self::StandardWebhooks => Assurance::B,
        }
    }
}

/// A source's keys.
#[derive(Debug)]
pub struct Keyring {
    scheme: Scheme,
    keys: Vec<Key>,
    tolerance_seconds: u64,
}

/// Bytes whose signature held. Only this module makes one, and [`crate::signal`] reads nothing else, so "parsed but
/// unverified" cannot be written.
#[derive(Debug)]
pub struct Verified {
    body: Bytes,
    provenance: &'static Provenance,
    beside: &'static Provenance,
}

impl Verified {
    /// The raw bytes of the request.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The same, given away.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// What the signature proves of the body.
    #[must_use]
    pub fn provenance(&self) -> &'static Provenance {
        self.provenance
    }

    /// What it proves of attributes that came beside the body.
    #[must_use]
    pub fn beside(&self) -> &'static Provenance {
        self.beside
    }

    /// As [`Verified::assumed`], of a source that takes binary mode, or not.
    #[cfg(test)]
    #[must_use]
    pub fn assumed_of(body: Bytes, binary: bool) -> Self {
        let verified = Self::assumed(body);
        let identified = if binary { Identified::ByBody } else { Identified::ById };
        Self {
            provenance: Provenance::intern_known("signals", "test", Assurance::C, identified).unwrap(),
            ..verified
        }
    }

    /// For tests and fuzzing of what stands behind the signature.
    #[cfg(any(test, fuzzing))]
    #[expect(clippy::unwrap_used, reason = "the names are written here")]
    #[must_use]
    pub fn assumed(body: Bytes) -> Self {
        Self {
            body,
            provenance: Provenance::intern("signals", "test", Assurance::C).unwrap(),
            beside: Provenance::intern("signals", "test", Assurance::D).unwrap(),
        }
    }
}

impl Keyring {
    /// The keys of `source`: an id and a secret each, as its owner wrote it.
    pub fn new(
        source: &str,
        scheme: Scheme,
        secrets: &[(&str, &[u8])],
        tolerance_seconds: u64,
    ) -> Result<Self, BadKey> {
        if secrets.is_empty() || secrets.len() > KEYS_MAX {
            return Err(BadKey::Count);
        }
        let assurance = scheme.assurance();
        let key = |(id, secret): &(&str, &[u8])| {
            let bytes = secret_bytes(scheme, secret)?;
            Ok(Key {
                mac: mac::Key::new(mac::HMAC_SHA256, &bytes),
                provenance: Provenance::intern(source, id, assurance)?,
                beside: Provenance::intern(source, id, Assurance::D)?,
            })
        };
        let keys = secrets.iter().map(key).collect::<Result<_, BadKey>>()?;
        Ok(Self { scheme, keys, tolerance_seconds })
    }

    /// The same keys of a source whose attributes may come beside the body: all its signals are known by their bodies.
    #[must_use]
    pub fn knowing_bodies(mut self) -> Self {
        for key in &mut self.keys {
            key.provenance = key.provenance.knowing_bodies();
        }
        self
    }

    /// Verifies one request's raw body.
    pub fn verify(&self, headers: &HeaderMap, body: Bytes, now: impl Into<Now>) -> Result<Verified, Refusal> {
        let key = match self.scheme {
            Scheme::Hmac => hmac::verify(&self.keys, headers, &body)?,
            Scheme::StandardWebhooks => {
                standard_webhooks::verify(&self.keys, headers, &body, now.into(), self.tolerance_seconds)?
            }
        };
        Ok(Verified { body, provenance: key.provenance, beside: key.beside })
    }

    /// How its source signs.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The headers that make a request of `body`; `id` and time are used by the schemes that sign them.
    #[must_use]
    pub fn sign(&self, body: &[u8], id: &str, now_unix_seconds: u64) -> Vec<(&'static str, String)> {
        let Some(key) = self.keys.first() else { return Vec::new() };
        match self.scheme {
            Scheme::Hmac => hmac::sign(key, body),
            Scheme::StandardWebhooks => standard_webhooks::sign(&key.mac, body, id, now_unix_seconds).into(),
        }
    }
}

/// Signs what we send, as Standard Webhooks v1. Prints nothing of its key.
pub struct Signer(mac::Key);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with a secret as its owner wrote it: `whsec_` and base64.
    pub fn new(secret: &[u8]) -> Result<Self, BadKey> {
        let bytes = secret_bytes(Scheme::StandardWebhooks, secret)?;
        Ok(Self(mac::Key::new(mac::HMAC_SHA256, &bytes)))
    }

    /// The headers of a message.
    #[must_use]
    pub fn sign(&self, body: &[u8], id: &str, now_unix_seconds: u64) -> [(&'static str, String); 3] {
        standard_webhooks::sign(&self.0, body, id, now_unix_seconds)
    }
}

/// The key's bytes in a secret.
fn secret_bytes(scheme: Scheme, secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    if matches!(secret, b"default_secret" | b"default") {
        return Err(BadKey::Published);
    }
    let bytes = match scheme {
        Scheme::Hmac => Zeroizing::new(secret.to_vec()),
        Scheme::StandardWebhooks => standard_webhooks::secret(secret)?,
    };
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(BadKey::Short(bytes.len()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
