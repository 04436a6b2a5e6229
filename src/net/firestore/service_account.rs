//! A service account's key file, and the signed claim that a token is asked for with (RFC 7523; the JWT by RFC 7515 and
//! 7519, RS256). The private key is in nothing that is printed.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use hyper::Uri;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::uri::guarded;

/// Who asks, proven by a key.
pub struct ServiceAccount {
    email: String,
    key_id: String,
    key: RsaKeyPair,
    token_uri: Uri,
    /// The same as in the file, letter by letter.
    audience: String,
}

/// Why a key file cannot be used. Nothing of its content but the URL is told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    #[error("it is no service account's key file in JSON (line {line}, column {column})")]
    Json { line: usize, column: usize },
    #[error("its type is not `service_account`")]
    Type,
    #[error("its `private_key` is no RSA key of 2048 to 8192 bits in PKCS#8 and PEM")]
    Key,
    #[error("its `token_uri`, `{0}`, is no URL of a host; it needs https")]
    TokenUri(String),
}

#[derive(Deserialize)]
struct KeyFile {
    r#type: String,
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: String,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

#[derive(Serialize)]
struct Head<'a> {
    alg: &'static str,
    typ: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kid: &'a str,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'static str,
    aud: &'a str,
    iat: u64,
    exp: u64,
}

const SCOPE: &str = "https://www.googleapis.com/auth/datastore";
/// The longest that Google takes.
const VALID_SECONDS: u64 = 3600;

impl ServiceAccount {
    /// Reads a key file's content.
    ///
    /// # Errors
    /// When it is another file, or its key or URL cannot be used.
    pub fn parse(json: &[u8]) -> Result<Self, KeyFileError> {
        // serde_json quotes what it stumbles over, so its words are not told.
        let file: KeyFile = serde_json::from_slice(json)
            .map_err(|error| KeyFileError::Json { line: error.line(), column: error.column() })?;
        let pem = SecretString::from(file.private_key);
        if file.r#type != "service_account" {
            return Err(KeyFileError::Type);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose_secret().as_bytes())
            .map_err(|_| KeyFileError::Key)?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| KeyFileError::Key)?;
        let Some(token_uri) = guarded(&file.token_uri) else {
            return Err(KeyFileError::TokenUri(file.token_uri));
        };
        Ok(Self {
            email: file.client_email,
            key_id: file.private_key_id,
            key,
            token_uri,
            audience: file.token_uri,
        })
    }

    pub(super) fn token_uri(&self) -> &Uri {
        &self.token_uri
    }

    /// A claim for a token, good for an hour from `now`, in seconds since 1970. `None` if it cannot be signed.
    pub(super) fn claim(&self, now: u64) -> Option<SecretString> {
        let head = Head { alg: "RS256", typ: "JWT", kid: &self.key_id };
        let claims = Claims {
            iss: &self.email,
            scope: SCOPE,
            aud: &self.audience,
            iat: now,
            exp: now + VALID_SECONDS,
        };
        let head = BASE64URL_NOPAD.encode(&serde_json::to_vec(&head).ok()?);
        let claims = BASE64URL_NOPAD.encode(&serde_json::to_vec(&claims).ok()?);
        signed(&self.key, format!("{head}.{claims}")).map(SecretString::from)
    }
}

/// A JWS in its compact form, of what is to be signed.
fn signed(key: &RsaKeyPair, mut text: String) -> Option<String> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
    text.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut text);
    Some(text)
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
