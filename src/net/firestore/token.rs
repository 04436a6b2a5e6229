//! Access tokens (RFC 6749): asked for with a service account's claim, or of the machine's metadata server; kept until
//! shortly before their end, or until Firestore does not take one. Nothing here prints one.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::endpoint::{self, Credentials, Endpoint, Unusable};
use super::service_account::ServiceAccount;
use crate::clock;
use crate::limits::{FIRESTORE_CONNECT, FIRESTORE_TOKEN, FIRESTORE_TOKEN_MARGIN};
use crate::net::client::{ConnectError, Connector};
use crate::net::tls;

/// The value of an `authorization` header.
pub(super) type Bearer = SecretString;

/// Bytes of an answer that has a token in it; Google's have about one thousand.
const ANSWER_BYTES_MAX: usize = 32 * 1024;

/// Who says that we are the owner.
pub(super) struct Tokens {
    source: Source,
    http: legacy::Client<Connector, Full<Bytes>>,
    /// Held while one is asked for, so that calls which begin together ask once.
    kept: Mutex<Option<Kept>>,
}

enum Source {
    /// An emulator takes everybody who calls himself that.
    Owner,
    ServiceAccount(ServiceAccount),
    Metadata(Uri),
}

struct Kept {
    bearer: Bearer,
    until: Instant,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoToken {
    #[error("no token within {FIRESTORE_TOKEN:?}")]
    Slow,
    #[error("no token: {0}")]
    NoConnection(String),
    #[error("no token: the claim cannot be signed")]
    NotSigned,
    #[error("no token: the answer has status {status}{}", .code.as_ref().map(|code| format!(", `{code}`")).unwrap_or_default())]
    Refused { status: StatusCode, code: Option<String> },
    #[error("no token: the answer cannot be read")]
    Unreadable,
    #[error("no token: it is no metadata server that answers")]
    NotMetadata,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl Tokens {
    pub fn new(endpoint: Endpoint) -> Result<Self, Unusable> {
        let source = match endpoint {
            Endpoint::Emulator(_) => Source::Owner,
            Endpoint::At { credentials, .. } => match credentials {
                Credentials::ServiceAccount(account) => Source::ServiceAccount(account),
                Credentials::Metadata(host) => Source::Metadata(metadata(&host)?),
            },
        };
        let secure = matches!(&source, Source::ServiceAccount(account) if account.token_uri().scheme_str() == Some("https"));
        let connector = Connector {
            tls: if secure { Some(tls::client(None, tls::HTTP)?) } else { None },
            // The metadata server has a link-local address.
            allow_private: true,
            deadline: FIRESTORE_CONNECT,
        };
        // A token is good for an hour: no connection is kept that long.
        let http = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { source, http, kept: Mutex::default() })
    }

    /// A token that is good for now.
    pub async fn bearer(&self) -> Result<Bearer, NoToken> {
        let asking = async {
            let mut kept = self.kept.lock().await;
            if let Some(kept) = kept.as_ref().filter(|kept| Instant::now() < kept.until) {
                return Ok(kept.bearer.clone());
            }
            let fresh = self.fetch().await?;
            let bearer = fresh.bearer.clone();
            *kept = Some(fresh);
            Ok(bearer)
        };
        match &self.source {
            Source::Owner => Ok(Bearer::from("Bearer owner")),
            Source::ServiceAccount(_) | Source::Metadata(_) => {
                tokio::time::timeout(FIRESTORE_TOKEN, asking).await.unwrap_or(Err(NoToken::Slow))
            }
        }
    }

    /// Firestore has not taken this one.
    pub async fn forget(&self, bearer: &Bearer) {
        let mut kept = self.kept.lock().await;
        // Meanwhile somebody may have got another.
        if kept.as_ref().is_some_and(|kept| kept.bearer.expose_secret() == bearer.expose_secret()) {
            *kept = None;
        }
    }

    async fn fetch(&self) -> Result<Kept, NoToken> {
        let request = match &self.source {
            Source::Owner => return Err(NoToken::NotSigned),
            Source::ServiceAccount(account) => {
                let claim = account.claim(clock::wall().0 / 1000).ok_or(NoToken::NotSigned)?;
                let form = format!(
                    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
                    claim.expose_secret()
                );
                Request::post(account.token_uri().clone())
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(Full::from(form))
            }
            Source::Metadata(uri) => {
                Request::get(uri.clone()).header("metadata-flavor", "Google").body(Full::default())
            }
        };
        let request = request.map_err(|_| NoToken::NotSigned)?;
        let asked_at = Instant::now();
        let response = self.http.request(request).await.map_err(|error| {
            NoToken::NoConnection(match ConnectError::behind(&error) {
                Some(error) => error.to_string(),
                None => "the connection broke before an answer came".to_owned(),
            })
        })?;
        if matches!(self.source, Source::Metadata(_)) && response.headers().get("metadata-flavor").is_none() {
            return Err(NoToken::NotMetadata);
        }
        let (status, answer) = read(response).await?;
        if status != StatusCode::OK {
            return Err(NoToken::Refused { status, code: code(&answer) });
        }
        understood(&answer, asked_at)
    }
}

fn metadata(host: &str) -> Result<Uri, Unusable> {
    let mut parts = endpoint::http(host)?.into_parts();
    parts.path_and_query = Some(hyper::http::uri::PathAndQuery::from_static(
        "/computeMetadata/v1/instance/service-accounts/default/token",
    ));
    Uri::from_parts(parts).map_err(|_| Unusable::Host(host.to_owned()))
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<(StatusCode, Bytes), NoToken> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|_| NoToken::Unreadable)?;
    Ok((head.status, body.to_bytes()))
}

fn understood(answer: &[u8], asked_at: Instant) -> Result<Kept, NoToken> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| NoToken::Unreadable)?;
    let token = SecretString::from(answer.access_token);
    if token.expose_secret().is_empty() || !token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(NoToken::Unreadable);
    }
    let good = Duration::from_secs(answer.expires_in).saturating_sub(FIRESTORE_TOKEN_MARGIN);
    // One that would end after the clock does is asked for anew at once.
    let until = asked_at.checked_add(good).unwrap_or(asked_at);
    Ok(Kept { bearer: Bearer::from(format!("Bearer {}", token.expose_secret())), until })
}

/// The name of an error, as `invalid_grant`. Whatever else stands in the answer is not told: it may quote the claim.
fn code(answer: &[u8]) -> Option<String> {
    let Refusal { error } = serde_json::from_slice(answer).ok()?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (error.len() <= 32 && error.bytes().all(is_name)).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_a_minute_before_its_end() {
        let now = Instant::now();
        let read = |text: &str| understood(text.as_bytes(), now);
        let kept = read(r#"{"access_token":"ya29.a","expires_in":3599,"token_type":"Bearer"}"#).unwrap();
        assert_eq!(kept.bearer.expose_secret(), "Bearer ya29.a");
        assert_eq!(kept.until - now, Duration::from_secs(3539));
        assert_eq!(read(r#"{"access_token":"a","expires_in":20}"#).unwrap().until, now);
        for wrong in
            ["", "{}", r#"{"access_token":"","expires_in":9}"#, r#"{"access_token":"a\nb","expires_in":9}"#]
        {
            assert!(matches!(read(wrong), Err(NoToken::Unreadable)), "{wrong}");
        }
    }

    #[test]
    fn of_a_refusal_only_a_name_is_told() {
        let code = |text: &str| code(text.as_bytes());
        let google = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
        assert_eq!(code(google).as_deref(), Some("invalid_grant"));
        assert_eq!(code(r#"{"error":"eyJhbGciOiJSUzI1NiJ9.x.y"}"#), None);
        assert_eq!(code("<html>"), None);
        let refused = NoToken::Refused { status: StatusCode::BAD_REQUEST, code: code(google) };
        assert_eq!(refused.to_string(), "no token: the answer has status 400 Bad Request, `invalid_grant`");
    }

    #[test]
    fn a_metadata_server_is_asked_at_its_path() {
        let path = "/computeMetadata/v1/instance/service-accounts/default/token";
        assert_eq!(
            metadata("metadata.google.internal").unwrap().to_string(),
            format!("http://metadata.google.internal{path}")
        );
        assert_eq!(metadata("127.0.0.1:9").unwrap().to_string(), format!("http://127.0.0.1:9{path}"));
    }
}
