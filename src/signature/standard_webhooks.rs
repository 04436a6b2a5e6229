//! Standard Webhooks, v1 (symmetric): `webhook-id`, `webhook-timestamp`, `webhook-signature`, or the same as `svix-*`.
//! Signed is `id.timestamp.body`; the header lists `v1,<base64>` for each live key, others are ignored.

use aws_lc_rs::hmac as mac;
use data_encoding::{BASE64, BASE64_NOPAD};
use hyper::HeaderMap;
use zeroize::Zeroizing;

use super::key::{BadKey, Key, SIGNATURES_MAX, matching};
use super::refusal::{Now, Refusal, only, seconds};

const NAMES: [[&str; 3]; 2] = [
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    ["svix-id", "svix-timestamp", "svix-signature"],
];
/// The specification's secrets have 24 to 64 bytes.
const SECRET_BYTES_MAX: usize = 64;

pub(super) fn secret(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadKey> {
    let encoded = text.strip_prefix(b"whsec_").ok_or(BadKey::NotWhsec)?;
    let end = encoded.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let bytes = BASE64_NOPAD.decode(&encoded[..end]).map_err(|_| BadKey::NotWhsec)?;
    let bytes = Zeroizing::new(bytes);
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(BadKey::NotWhsec);
    }
    Ok(bytes)
}

pub(super) fn verify<'k>(
    keys: &'k [Key],
    headers: &HeaderMap,
    body: &[u8],
    now: Now,
    tolerance: u64,
) -> Result<&'k Key, Refusal> {
    let names = if headers.contains_key(NAMES[0][2]) { NAMES[0] } else { NAMES[1] };
    let id = only(headers, names[0])?.ok_or(Refusal::Missing)?;
    let timestamp = only(headers, names[1])?.ok_or(Refusal::Missing)?;
    let listed = only(headers, names[2])?.ok_or(Refusal::Missing)?;
    let signed_at = seconds(timestamp).ok_or(Refusal::Malformed)?;
    now.is_fresh(signed_at, tolerance)?;
    let mut signatures = [[0; 32]; SIGNATURES_MAX];
    let mut count = 0;
    for item in listed.split(|byte| *byte == b' ').filter(|item| !item.is_empty()) {
        let Some(encoded) = item.strip_prefix(b"v1,") else { continue };
        let slot = signatures.get_mut(count).ok_or(Refusal::TooMany)?;
        decode(encoded, slot)?;
        count += 1;
    }
    matching(keys, &signatures[..count], |context| {
        context.update(id);
        context.update(b".");
        context.update(timestamp);
        context.update(b".");
        context.update(body);
    })
}

/// Decoded without its padding: with padding, `data_encoding` takes several padded texts in a row, and one signature
/// would have more than one spelling.
fn decode(encoded: &[u8], slot: &mut [u8; 32]) -> Result<(), Refusal> {
    let text = encoded.strip_suffix(b"=").ok_or(Refusal::Malformed)?;
    if BASE64_NOPAD.decode_len(text.len()) != Ok(slot.len()) {
        return Err(Refusal::Malformed);
    }
    BASE64_NOPAD.decode_mut(text, slot).map(|_| ()).map_err(|_| Refusal::Malformed)
}

pub(super) fn sign(key: &mac::Key, body: &[u8], id: &str, now: u64) -> [(&'static str, String); 3] {
    let mut context = mac::Context::with_key(key);
    for part in [id.as_bytes(), b".", now.to_string().as_bytes(), b".", body] {
        context.update(part);
    }
    let signature = format!("v1,{}", BASE64.encode(context.sign().as_ref()));
    [(NAMES[0][0], id.to_owned()), (NAMES[0][1], now.to_string()), (NAMES[0][2], signature)]
}
