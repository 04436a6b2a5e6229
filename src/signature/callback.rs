//! How PagerDuty and Slack sign what they call back with.
//!
//! - PagerDuty, webhooks V3: `X-PagerDuty-Signature: v1=<hex>[,v1=<hex>]`, HMAC-SHA256 over the body with the secret of the webhook
//!   subscription; while that is changed there are several. No time is signed beside the body (PagerDuty/developer-docs,
//!   docs/webhooks/04-Signatures.md).
//! - Slack, version 0: `X-Slack-Signature: v0=<hex>` over `v0:timestamp:body` with the signing secret of the app, and
//!   `X-Slack-Request-Timestamp`, which is at most five minutes old (api.slack.com/authentication/verifying-requests-from-slack).

use std::fmt;

use aws_lc_rs::hmac as mac;
use bytes::Bytes;
use hyper::HeaderMap;
use strum::{IntoStaticStr, VariantArray};

use super::key::{BadKey, SECRET_BYTES_MIN, SIGNATURES_MAX, is_among};
use super::refusal::{Now, Refusal, only, seconds};

const PAGERDUTY: &str = "x-pagerduty-signature";
const SLACK: &str = "x-slack-signature";
const SLACK_TIME: &str = "x-slack-request-timestamp";

/// Who calls back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum CallbackScheme {
    /// Webhooks V3.
    PagerDuty,
    /// Interactivity of an app.
    Slack,
}

/// A secret that callbacks of a channel are signed with. Prints nothing of it.
pub struct CallbackKey {
    scheme: CallbackScheme,
    mac: mac::Key,
    tolerance_seconds: u64,
}

/// A body whose signature held. Only this module makes one, and nothing else of a callback is read.
#[derive(Debug)]
pub struct VerifiedCallback {
    scheme: CallbackScheme,
    body: Bytes,
    signed_at: Option<u64>,
}

impl fmt::Debug for CallbackKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackKey").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl VerifiedCallback {
    /// Who calls back.
    #[must_use]
    pub fn scheme(&self) -> CallbackScheme {
        self.scheme
    }

    /// The raw bytes of the request.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// When it was signed, in seconds since 1970, where the signature says so.
    #[must_use]
    pub fn signed_at(&self) -> Option<u64> {
        self.signed_at
    }

    /// For tests and fuzzing of what stands behind the signature.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub fn assumed(scheme: CallbackScheme, body: Bytes, signed_at: Option<u64>) -> Self {
        Self { scheme, body, signed_at }
    }
}

impl CallbackKey {
    /// A key of a secret as its owner wrote it.
    ///
    /// # Errors
    /// When it can be guessed.
    pub fn new(scheme: CallbackScheme, secret: &[u8], tolerance_seconds: u64) -> Result<Self, BadKey> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(BadKey::Short(secret.len()));
        }
        Ok(Self { scheme, mac: mac::Key::new(mac::HMAC_SHA256, secret), tolerance_seconds })
    }

    /// Verifies one request's raw body.
    ///
    /// # Errors
    /// The first thing that is wrong with its signature.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: Bytes,
        now: impl Into<Now>,
    ) -> Result<VerifiedCallback, Refusal> {
        let signed_at = match self.scheme {
            CallbackScheme::PagerDuty => {
                self.pagerduty(headers, &body)?;
                None
            }
            CallbackScheme::Slack => Some(self.slack(headers, &body, now.into())?),
        };
        Ok(VerifiedCallback { scheme: self.scheme, body, signed_at })
    }

    fn pagerduty(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let listed = only(headers, PAGERDUTY)?.ok_or(Refusal::Missing)?;
        let mut signatures = [[0; 32]; SIGNATURES_MAX];
        let mut count = 0;
        for item in listed.split(|byte| *byte == b',') {
            let Some(text) = item.trim_ascii().strip_prefix(b"v1=") else { continue };
            decode(text, signatures.get_mut(count).ok_or(Refusal::TooMany)?)?;
            count += 1;
        }
        let fits = is_among(&self.mac, &signatures[..count], |context| context.update(body));
        if fits { Ok(()) } else { Err(Refusal::NoMatch) }
    }

    fn slack(&self, headers: &HeaderMap, body: &[u8], now: Now) -> Result<u64, Refusal> {
        let timestamp = only(headers, SLACK_TIME)?.ok_or(Refusal::Missing)?;
        let text = only(headers, SLACK)?.ok_or(Refusal::Missing)?;
        let signed_at = seconds(timestamp).ok_or(Refusal::Malformed)?;
        now.is_fresh(signed_at, self.tolerance_seconds)?;
        let mut signature = [0; 32];
        decode(text.strip_prefix(b"v0=").ok_or(Refusal::Malformed)?, &mut signature)?;
        let fits = is_among(&self.mac, &[signature], |context| {
            for part in [b"v0:".as_slice(), timestamp, b":", body] {
                context.update(part);
            }
        });
        if fits { Ok(signed_at) } else { Err(Refusal::NoMatch) }
    }

    /// The headers that make a request of `body`, as the other side sends them.
    #[cfg(test)]
    #[must_use]
    pub fn sign(&self, body: &[u8], now_unix_seconds: u64) -> Vec<(&'static str, String)> {
        let time = now_unix_seconds.to_string();
        let mut context = mac::Context::with_key(&self.mac);
        match self.scheme {
            CallbackScheme::PagerDuty => {
                context.update(body);
                vec![(PAGERDUTY, format!("v1={}", faster_hex::hex_string(context.sign().as_ref())))]
            }
            CallbackScheme::Slack => {
                for part in [b"v0:".as_slice(), time.as_bytes(), b":", body] {
                    context.update(part);
                }
                let signature = format!("v0={}", faster_hex::hex_string(context.sign().as_ref()));
                vec![(SLACK_TIME, time), (SLACK, signature)]
            }
        }
    }
}

fn decode(text: &[u8], slot: &mut [u8; 32]) -> Result<(), Refusal> {
    if text.len() != 64 || faster_hex::hex_decode(text, slot).is_err() {
        return Err(Refusal::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const NOW: u64 = 1_700_000_000;
    const SECRET: &[u8] = b"a secret of 28 bytes, enough";
    const OTHER: &[u8] = b"another secret, also 28 byte";
    const BODY: &[u8] = b"payload=%7B%7D";

    fn key(scheme: CallbackScheme, secret: &[u8]) -> CallbackKey {
        CallbackKey::new(scheme, secret, 300).unwrap()
    }

    fn headers(pairs: &[(&'static str, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn verify(key: &CallbackKey, headers: &HeaderMap, now: u64) -> Result<(), Refusal> {
        key.verify(headers, Bytes::from_static(BODY), now).map(drop)
    }

    #[test]
    fn the_published_vector_of_slack_verifies() {
        let key = key(CallbackScheme::Slack, b"8f742231b10e8888abcd99yyyzzz85a5");
        let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
                    &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
                    &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
                    &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
        let headers = headers(&[(SLACK_TIME, "1531420618".into()), (SLACK, signature.into())]);
        let verified = key.verify(&headers, Bytes::from_static(body.as_bytes()), 1_531_420_618).unwrap();
        assert_eq!((verified.signed_at(), verified.body()), (Some(1_531_420_618), body.as_bytes()));
    }

    #[test]
    fn what_is_signed_verifies_by_its_own_key_and_scheme_alone() {
        for scheme in CallbackScheme::VARIANTS {
            let (ours, other) = (key(*scheme, SECRET), key(*scheme, OTHER));
            let signed = headers(&ours.sign(BODY, NOW));
            assert_eq!(verify(&ours, &signed, NOW), Ok(()), "{scheme:?}");
            assert_eq!(verify(&other, &signed, NOW), Err(Refusal::NoMatch));
            assert_eq!(verify(&ours, &HeaderMap::new(), NOW), Err(Refusal::Missing));
            let changed = ours.verify(&signed, Bytes::from_static(b"payload=%7B%7E"), NOW);
            assert_eq!(changed.map(drop), Err(Refusal::NoMatch));
            let twice = headers(&[ours.sign(BODY, NOW), ours.sign(BODY, NOW)].concat());
            assert_eq!(verify(&ours, &twice, NOW), Err(Refusal::Twice));
            for not_it in CallbackScheme::VARIANTS.iter().filter(|not_it| *not_it != scheme) {
                assert_eq!(verify(&key(*not_it, SECRET), &signed, NOW), Err(Refusal::Missing));
            }
            assert!(!format!("{ours:?}").contains("secret"));
        }
        let short = CallbackKey::new(CallbackScheme::Slack, &SECRET[..23], 300);
        assert_eq!(short.map(drop), Err(BadKey::Short(23)));
    }

    #[test]
    fn any_signature_of_pagerduty_may_hold() {
        let ours = key(CallbackScheme::PagerDuty, SECRET);
        let right = ours.sign(BODY, NOW).remove(0).1;
        let wrong = format!("v1={}", "0".repeat(64));
        let said = |text: &str| verify(&ours, &headers(&[(PAGERDUTY, text.to_owned())]), NOW);
        let mut many = vec![wrong.clone(); SIGNATURES_MAX - 1];
        many.push(right.clone());
        for text in [
            right.clone(),
            format!("{wrong},{right}"),
            format!("{wrong}, {right}"),
            format!("v2=x,{right},v0="),
            right.to_uppercase().replace("V1", "v1"),
            many.join(","),
        ] {
            assert_eq!(said(&text), Ok(()), "{text}");
        }
        many.insert(0, wrong.clone());
        for (text, refusal) in [
            (String::new(), Refusal::NoMatch),
            (wrong.clone(), Refusal::NoMatch),
            (right.replace("v1=", "v0="), Refusal::NoMatch),
            (right.replace("v1=", ""), Refusal::NoMatch),
            (format!("{right}0"), Refusal::Malformed),
            (right[..right.len() - 1].to_owned(), Refusal::Malformed),
            ("v1=".into(), Refusal::Malformed),
            (format!("{right},v1=zz"), Refusal::Malformed),
            (many.join(","), Refusal::TooMany),
        ] {
            assert_eq!(said(&text), Err(refusal), "{text}");
        }
    }

    #[test]
    fn a_time_of_slack_is_fresh_to_the_second() {
        let ours = key(CallbackScheme::Slack, SECRET);
        let signed = headers(&ours.sign(BODY, NOW));
        for now in [NOW - 300, NOW, NOW + 300] {
            assert_eq!(verify(&ours, &signed, now), Ok(()), "{now}");
        }
        assert_eq!(verify(&ours, &signed, NOW + 301), Err(Refusal::TooOld { by_seconds: 1 }));
        assert_eq!(verify(&ours, &signed, NOW - 301), Err(Refusal::TooNew { by_seconds: 1 }));
        let right = ours.sign(BODY, NOW).remove(1).1;
        let said = |time: &str, signature: &str| {
            verify(&ours, &headers(&[(SLACK_TIME, time.into()), (SLACK, signature.into())]), NOW)
        };
        for (time, signature, refusal) in [
            ("", right.as_str(), Refusal::Malformed),
            ("-1", &right, Refusal::Malformed),
            ("1700000000.0", &right, Refusal::Malformed),
            ("1700000001", &right, Refusal::NoMatch),
            ("1700000000", &right.replace("v0=", "v1="), Refusal::Malformed),
            ("1700000000", &right[3..], Refusal::Malformed),
            ("1700000000", &format!("{right},{right}"), Refusal::Malformed),
        ] {
            assert_eq!(said(time, signature), Err(refusal), "{time} {signature}");
        }
        assert_eq!(said("01700000000", &right), Err(Refusal::NoMatch), "another spelling is another text");
    }
}
