//! A POST of a channel, and what its receiver says to it. Nothing of it tells a secret: not the URL, and not a receiver that
//! repeats what it was told.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use tokio::time::{Instant, timeout_at};

use super::text::{cut, plain};
use crate::net::caller::{CallTarget, Caller, NoReply, Replied};
use crate::net::retry::Miss;

pub const JSON: &str = "application/json";

/// Posts to one receiver.
pub struct ChannelCaller {
    target: CallTarget,
    caller: Caller,
}

impl ChannelCaller {
    pub fn new(target: &CallTarget) -> Self {
        Self { caller: Caller::new(target), target: target.clone() }
    }

    /// The same receiver at a path behind its URL.
    pub fn below(&self, path: &str) -> Result<Uri, Miss> {
        let url = self.target.url.to_string();
        let url = format!("{}/{path}", url.trim_end_matches('/'));
        url.parse().map_err(|_| Miss::r#final("its URL cannot be called"))
    }

    pub async fn post(
        &self,
        url: Option<Uri>,
        content_type: &'static str,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Vec<u8>,
        until: Instant,
    ) -> Result<Replied, Miss> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = url.unwrap_or_else(|| self.target.url.clone());
        let fields = request.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let agent = HeaderValue::from_static(concat!("gemba/", env!("CARGO_PKG_VERSION")));
        fields.insert(header::USER_AGENT, agent);
        fields.extend(headers);
        let replied = timeout_at(until, self.caller.ask(request, until)).await;
        replied.map_err(|_| Miss::again("no answer in time"))?.map_err(NoReply::for_later)
    }
}

/// What a status means, with what the receiver says of it.
pub fn judge(replied: &Replied, said: &str, secrets: &[&str]) -> Result<(), Miss> {
    let said = told(said, secrets);
    let with = |why: String| if said.is_empty() { why } else { format!("{why}: {said}") };
    replied.judge().map_err(|miss| match miss {
        Miss::Again { why, after, is_unsent } => Miss::Again { why: with(why), after, is_unsent },
        Miss::Final { why } => Miss::Final { why: with(why) },
        Miss::Refused { why } => Miss::Refused { why: with(why) },
    })
}

/// A receiver's words in one short line, without secrets that it repeats.
pub fn told(said: &str, secrets: &[&str]) -> String {
    let mut said = said.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        said = without(&said, secret);
    }
    cut(plain(&said).trim(), 200)
}

/// A text without a secret, however its letters are written.
fn without(text: &str, secret: &str) -> String {
    let (small, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut out = String::new();
    let mut from = 0;
    for (at, _) in small.match_indices(&secret) {
        out.push_str(text.get(from..at).unwrap_or_default());
        out.push_str("(secret)");
        from = at + secret.len();
    }
    out + text.get(from..).unwrap_or_default()
}

/// The parts of a URL's path: those of a webhook are its secret.
pub fn path_of(url: &Uri) -> Vec<&str> {
    url.path().split('/').filter(|part| part.len() > 6).collect()
}

/// A header that holds a secret.
pub fn secret_header(value: &str) -> Result<HeaderValue, Miss> {
    let value = HeaderValue::from_str(value);
    let mut value =
        value.map_err(|_| Miss::r#final("its secret has characters that a header cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_repeated_however_its_letters_are_written() {
        assert_eq!(told("ÄR0ab/r0AB r0a", &["R0Ab", ""]), "Ä(secret)/(secret) r0a");
    }
}
