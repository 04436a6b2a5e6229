//! Which signal this is. Two signals with one fingerprint are the same signal (promise P2), so it covers what the
//! sender signed and nothing that an attacker could change beside the signature.

use aws_lc_rs::digest::{SHA256, digest};

use super::Assurance;

/// First half of a SHA-256: 128 bits, so that a collision is not to be found by chance or on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Source, tenant and id, which the signature covers; with [`Assurance::D`] the id is not covered, so the
    /// signed body itself is the identity.
    #[must_use]
    pub fn new(source: &str, assurance: Assurance, tenant: &str, id: &str, body: &[u8]) -> Self {
        let mut text = [0u8; 512];
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            let room = &mut text[len..];
            let take = bytes.len().min(room.len());
            room[..take].copy_from_slice(&bytes[..take]);
            len += take;
        };
        if assurance == Assurance::D {
            put(b"gemba/identity/body\0");
            put(source.as_bytes());
            put(b"\0");
            put(digest(&SHA256, body).as_ref());
        } else {
            put(b"gemba/identity\0");
            for part in [source, "\0", tenant, "\0", id] {
                put(part.as_bytes());
            }
        }
        let full = digest(&SHA256, &text[..len]);
        let mut half = [0u8; 16];
        half.copy_from_slice(&full.as_ref()[..16]);
        Self(half)
    }
}
