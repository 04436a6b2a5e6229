//! Every scheme accepts exactly what the reference accepts.
//!
//! The text is a small request: the scheme, header lines, an empty line, the body. `{0}` and `{1}` in a header become
//! the right signature by the first and second key, so that the way behind the MAC is reached.
#![no_main]

use bytes::Bytes;
use gemba::signature::{Keyring, Scheme};
use gemba_fuzz::reference;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_700_000_000;
const TOLERANCE: u64 = 300;
const SECRETS: [&[u8]; 2] = [b"a secret of 28 bytes, enough", b"another secret, also 28 byte"];
const HEADERS: usize = 16;

fuzz_target!(|text: &[u8]| {
    let Some(head_end) = text.windows(2).position(|pair| pair == b"\n\n") else { return };
    let (head, body) = (&text[..head_end], &text[head_end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let scheme = match lines.next() {
        Some(b"hmac") => Scheme::Hmac,
        Some(b"standard-webhooks") => Scheme::StandardWebhooks,
        _ => return,
    };
    let pairs: Vec<(&[u8], &[u8])> = lines.take(HEADERS).filter_map(pair).collect();
    let signatures = SECRETS.map(|secret| right(scheme, secret, &pairs, body));
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

fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.windows(2).position(|pair| pair == b": ")?;
    Some((&line[..colon], &line[colon + 2..]))
}

/// The signature over what the headers say.
fn right(scheme: Scheme, secret: &[u8], pairs: &[(&[u8], &[u8])], body: &[u8]) -> String {
    let said =
        |suffix: &[u8]| pairs.iter().find(|(name, _)| name.ends_with(suffix)).map_or(&b""[..], |pair| pair.1);
    match scheme {
        Scheme::Hmac => reference::hex(&reference::mac(secret, &[body])),
        Scheme::StandardWebhooks => {
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
