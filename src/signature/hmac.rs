//! The reference architecture's scheme: `x-signature`, HMAC-SHA256 over the raw body in hex, with or without `sha256=` before it.
//! It signs neither time nor id, so it is the weakest class: a copy is kept out by the memory of identities only.

use aws_lc_rs::hmac as mac;
use hyper::HeaderMap;

use super::key::Key;
use super::refusal::{Refusal, only};

const HEADER: &str = "x-signature";

pub(super) fn verify<'k>(keys: &'k [Key], headers: &HeaderMap, body: &[u8]) -> Result<&'k Key, Refusal> {
    let text = only(headers, HEADER)?.ok_or(Refusal::Missing)?;
    let text = text.strip_prefix(b"sha256=").unwrap_or(text);
    let mut signature = [0; 32];
    if text.len() != 64 || faster_hex::hex_decode(text, &mut signature).is_err() {
        return Err(Refusal::Malformed);
    }
    let mut found = None;
    for key in keys {
        if mac::verify(&key.mac, body, &signature).is_ok() && found.is_none() {
            found = Some(key);
        }
    }
    found.ok_or(Refusal::NoMatch)
}

pub(super) fn sign(key: &Key, body: &[u8]) -> Vec<(&'static str, String)> {
    vec![(HEADER, faster_hex::hex_string(mac::sign(&key.mac, body).as_ref()))]
}
