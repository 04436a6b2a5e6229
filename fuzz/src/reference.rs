//! Who may pass, decided by making the right signature with another library and comparing texts.

use hmac::{Hmac, Mac};
use hyper::HeaderMap;
use sha2::Sha256;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The HMAC-SHA256 of these parts one after another.
pub fn mac(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// Whether this is how 32 bytes are written in base64.
fn is_base64_of_32(text: &[u8]) -> bool {
    let Some((last, digits)) = text.strip_suffix(b"=").and_then(<[u8]>::split_last) else { return false };
    // The last digit holds four bits of the last byte and two zeros.
    digits.len() == 42
        && digits.iter().all(|byte| BASE64.contains(byte))
        && b"AEIMQUYcgkosw048".contains(last)
}

/// A header's value if it stands there exactly once.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(hyper::header::HeaderValue::as_bytes).collect();
    if let [value] = values[..] { Some(value) } else { None }
}

pub fn plain_hex_accepts(secrets: &[&[u8]], headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(value) = single(headers, "x-signature") else { return false };
    let value = value.strip_prefix(b"sha256=").unwrap_or(value);
    secrets.iter().any(|secret| value.eq_ignore_ascii_case(hex(&mac(secret, &[body])).as_bytes()))
}

/// Any of up to eight listed signatures; one that cannot be read spoils the list.
pub fn pagerduty_accepts(secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
    let Some(value) = single(headers, "x-pagerduty-signature") else { return false };
    let items = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let listed: Vec<&[u8]> = items.filter_map(|item| item.strip_prefix(b"v1=")).collect();
    let readable = |text: &&[u8]| text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit);
    let right = hex(&mac(secret, &[body]));
    listed.len() <= 8
        && listed.iter().all(readable)
        && listed.iter().any(|text| text.eq_ignore_ascii_case(right.as_bytes()))
}

pub fn slack_accepts(secret: &[u8], headers: &HeaderMap, body: &[u8], now: u64, tolerance: u64) -> bool {
    let timestamp = single(headers, "x-slack-request-timestamp");
    let (Some(timestamp), Some(value)) = (timestamp, single(headers, "x-slack-signature")) else {
        return false;
    };
    let digits = timestamp.len() <= 12 && timestamp.iter().all(u8::is_ascii_digit);
    let signed_at = std::str::from_utf8(timestamp).ok().and_then(|text| text.parse::<u64>().ok());
    let fresh = signed_at.is_some_and(|signed_at| signed_at.abs_diff(now) <= tolerance);
    let right = hex(&mac(secret, &[b"v0:", timestamp, b":", body]));
    let value = value.strip_prefix(b"v0=");
    digits && fresh && value.is_some_and(|text| text.eq_ignore_ascii_case(right.as_bytes()))
}

pub fn standard_webhooks_accepts(
    secrets: &[&[u8]],
    headers: &HeaderMap,
    body: &[u8],
    now: u64,
    tolerance: u64,
) -> bool {
    let family = if headers.contains_key("webhook-signature") { "webhook" } else { "svix" };
    let value = |name: &str| single(headers, &format!("{family}-{name}"));
    let (Some(id), Some(timestamp), Some(listed)) = (value("id"), value("timestamp"), value("signature"))
    else {
        return false;
    };
    if timestamp.len() > 12 || !timestamp.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let Some(signed_at) = std::str::from_utf8(timestamp).ok().and_then(|text| text.parse::<u64>().ok())
    else {
        return false;
    };
    let items: Vec<&[u8]> =
        listed.split(|byte| *byte == b' ').filter_map(|item| item.strip_prefix(b"v1,")).collect();
    now.abs_diff(signed_at) <= tolerance
        && items.len() <= 8
        && items.iter().all(|item| is_base64_of_32(item))
        && secrets.iter().any(|secret| {
            let right = base64(&mac(secret, &[id, b".", timestamp, b".", body]));
            items.contains(&right.as_bytes())
        })
}
