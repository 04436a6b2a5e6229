//! A source's keys, and which of them made a signature.

use std::fmt;

use aws_lc_rs::hmac as mac;

use super::refusal::Refusal;
use crate::names::{Illegal, Provenance};

/// Keys that one source may have at a time, so that rotation overlaps and a request's cost is bounded.
pub const KEYS_MAX: usize = 8;
/// Signatures that one request may list.
pub const SIGNATURES_MAX: usize = 8;
/// A shorter secret can be guessed.
pub const SECRET_BYTES_MIN: usize = 24;

/// Why a secret is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Its bytes.
    #[error("the secret has {0} bytes; at least {SECRET_BYTES_MIN} are needed")]
    Short(usize),
    /// Everybody knows it.
    #[error("the secret is the reference architecture's published fallback")]
    Published,
    /// Not as Standard Webhooks writes secrets.
    #[error("the secret is not of the form whsec_… with 24 to 64 bytes in base64")]
    NotWhsec,
    /// No key, or too many.
    #[error("a source has between 1 and {KEYS_MAX} keys")]
    Count,
    /// The source's or a key's id is no name.
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

/// A precomputed key and what it proves. Prints only its name.
pub struct Key {
    pub mac: mac::Key,
    pub provenance: &'static Provenance,
    pub beside: &'static Provenance,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.provenance.key).finish_non_exhaustive()
    }
}

/// The first key whose MAC is among `signatures`; all are computed and compared.
pub fn matching<'k>(
    keys: &'k [Key],
    signatures: &[[u8; 32]],
    message: impl Fn(&mut mac::Context),
) -> Result<&'k Key, Refusal> {
    let mut found = None;
    for key in keys {
        let same = is_among(&key.mac, signatures, &message);
        if same && found.is_none() {
            found = Some(key);
        }
    }
    found.ok_or(Refusal::NoMatch)
}

/// Whether the MAC of this key is among `signatures`; it is compared with each.
pub fn is_among(key: &mac::Key, signatures: &[[u8; 32]], message: impl Fn(&mut mac::Context)) -> bool {
    let mut context = mac::Context::with_key(key);
    message(&mut context);
    let tag = context.sign();
    let mut found = false;
    for signature in signatures {
        found |= aws_lc_rs::constant_time::verify_slices_are_equal(tag.as_ref(), signature).is_ok();
    }
    found
}
