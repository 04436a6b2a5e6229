//! Every scheme accepts exactly what the reference accepts, and what a callback says never surprises.
//!
//! The text is a small request: the scheme, header lines, an empty line, the body. `{0}` and `{1}` in a header become
//! the right signature by the first and second key, so that the way behind the MAC is reached. Callbacks have the first key alone.
#![no_main]

use bytes::Bytes;
use gemba::ingress::callback::CallbackSource;
use gemba::signature::{CallbackKey, CallbackScheme, Keyring, Scheme};
use gemba_fuzz::reference;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_700_000_000;
const TOLERANCE: u64 = 300;
const SECRETS: [&[u8]; 2] = [b"a secret of 28 bytes, enough", b"another secret, also 28 byte"];
const HEADERS: usize = 16;

enum Way {
    Signals(Scheme),
    Callback(CallbackScheme),
}

fuzz_target!(|text: &[u8]| {
    let Some(head_end) = text.windows(2).position(|pair| pair == b"\n\n") else { return };
    let (head, body) = (&text[..head_end], &text[head_end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let way = match lines.next() {
        Some(b"hmac") => Way::Signals(Scheme::Hmac),
        Some(b"standard-webhooks") => Way::Signals(Scheme::StandardWebhooks),
        Some(b"pagerduty") => Way::Callback(CallbackScheme::PagerDuty),
        Some(b"slack") => Way::Callback(CallbackScheme::Slack),
        _ => return,
    };
    let pairs: Vec<(&[u8], &[u8])> = lines.take(HEADERS).filter_map(pair).collect();
    let signatures = SECRETS.map(|secret| right(&way, secret, &pairs, body));
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let value = signatures.iter().enumerate().fold(value.to_vec(), |value, (key, signature)| {
            replaced(&value, format!("{{{key}}}").as_bytes(), signature.as_bytes())
        });
        // What HTTP does not let through never comes so far.
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(&value)) else {
            return;
        };
        headers.append(name, value);
    }
    let scheme = match way {
        Way::Signals(scheme) => scheme,
        Way::Callback(scheme) => return call_back(scheme, &headers, body),
    };
    let secrets: Vec<String> = match scheme {
        Scheme::Hmac => SECRETS.map(|secret| String::from_utf8_lossy(secret).into_owned()).into(),
        Scheme::StandardWebhooks => {
            SECRETS.map(|secret| format!("whsec_{}", reference::base64(secret))).into()
        }
    };
    let keys: Vec<(&str, &[u8])> = secrets.iter().map(|secret| ("key", secret.as_bytes())).collect();
    let keyring = Keyring::new("signals", scheme, &keys, TOLERANCE).expect("the keys are good");
    let verified = keyring.verify(&headers, Bytes::copy_from_slice(body), NOW);
    let expected = match scheme {
        Scheme::Hmac => reference::plain_hex_accepts(&SECRETS, &headers, body),
        Scheme::StandardWebhooks => {
            reference::standard_webhooks_accepts(&SECRETS, &headers, body, NOW, TOLERANCE)
        }
    };
    assert_eq!(verified.is_ok(), expected, "{verified:?}");
    if let Ok(verified) = verified {
        assert_eq!(&verified.body()[..], body);
    }
});

fn call_back(scheme: CallbackScheme, headers: &HeaderMap, body: &[u8]) {
    let key = CallbackKey::new(scheme, SECRETS[0], TOLERANCE).expect("the key is good");
    let source = CallbackSource::new("oncall", key, ["oncall".into()].into());
    let verified = source.key().verify(headers, Bytes::copy_from_slice(body), NOW);
    let expected = match scheme {
        CallbackScheme::PagerDuty => reference::pagerduty_accepts(SECRETS[0], headers, body),
        CallbackScheme::Slack => reference::slack_accepts(SECRETS[0], headers, body, NOW, TOLERANCE),
    };
    assert_eq!(verified.is_ok(), expected, "{verified:?}");
    if let Ok(verified) = verified {
        assert_eq!(verified.body(), body);
        if let Ok(Some(callback)) = source.read(&verified) {
            let (by, reason) = (callback.by.to_string(), callback.reason.to_string());
            assert!(!by.contains(':') && !by.contains(char::is_control), "{by:?}");
            assert!(!reason.contains(char::is_control), "{reason:?}");
        }
    }
}

fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.windows(2).position(|pair| pair == b": ")?;
    Some((&line[..colon], &line[colon + 2..]))
}

/// The signature over what the headers say.
fn right(way: &Way, secret: &[u8], pairs: &[(&[u8], &[u8])], body: &[u8]) -> String {
    let said =
        |suffix: &[u8]| pairs.iter().find(|(name, _)| name.ends_with(suffix)).map_or(&b""[..], |pair| pair.1);
    match way {
        Way::Signals(Scheme::Hmac) | Way::Callback(CallbackScheme::PagerDuty) => {
            reference::hex(&reference::mac(secret, &[body]))
        }
        Way::Callback(CallbackScheme::Slack) => {
            reference::hex(&reference::mac(secret, &[b"v0:", said(b"-timestamp"), b":", body]))
        }
        Way::Signals(Scheme::StandardWebhooks) => {
            let parts = [said(b"-id"), b".", said(b"-timestamp"), b".", body];
            reference::base64(&reference::mac(secret, &parts))
        }
    }
}

fn replaced(value: &[u8], what: &[u8], by: &[u8]) -> Vec<u8> {
    match value.windows(what.len()).position(|window| window == what) {
        Some(at) => [&value[..at], by, &replaced(&value[at + what.len()..], what, by)].concat(),
        None => value.to_vec(),
    }
}
