//! Which signal this is. Two signals with one fingerprint are the same signal (promise P2), so it covers what the
//! sender signed and nothing that an attacker could change beside the signature.

use aws_lc_rs::digest::{SHA256, digest};

use crate::names::{Identified, Provenance};

/// First half of a SHA-256: 128 bits, so that a collision is not to be found by chance or on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Of a signal with this origin: its source, and what its source's signals are known by. White space around a body
    /// does not count, since the forms of a request differ in it.
    #[must_use]
    pub fn of(provenance: &Provenance, tenant: &str, id: &str, body: &[u8]) -> Self {
        match provenance.identified {
            Identified::ById => Self::of_id(&provenance.source, tenant, id),
            Identified::ByBody => {
                let digest = digest(&SHA256, trimmed(body));
                Self::new(b"gemba/identity/body\0", &[&provenance.source, "\0"], digest.as_ref())
            }
        }
    }

    /// Of the signal that `source` calls `id`.
    #[must_use]
    pub fn of_id(source: &str, tenant: &str, id: &str) -> Self {
        Self::new(b"gemba/identity\0", &[source, "\0", tenant, "\0", id], &[])
    }

    fn new(domain: &[u8], parts: &[&str], last: &[u8]) -> Self {
        let mut text = [0u8; 512];
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            let room = &mut text[len..];
            let take = bytes.len().min(room.len());
            room[..take].copy_from_slice(&bytes[..take]);
            len += take;
        };
        put(domain);
        for part in parts {
            put(part.as_bytes());
        }
        put(last);
        let full = digest(&SHA256, &text[..len]);
        let mut half = [0u8; 16];
        half.copy_from_slice(&full.as_ref()[..16]);
        Self(half)
    }
}

/// Without the white space of JSON (RFC 8259, 2) at both ends.
#[must_use]
fn trimmed(body: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let begin = body.iter().position(|byte| !is_space(byte)).unwrap_or(body.len());
    let end = body.iter().rposition(|byte| !is_space(byte)).map_or(begin, |last| last + 1);
    &body[begin..end]
}
