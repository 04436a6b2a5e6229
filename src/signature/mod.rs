//! Who said it. Verifies the raw bytes of a request before anything reads them (promise P6).

use bytes::Bytes;

use crate::signal::Provenance;

/// Bytes whose signature held. Only this module makes one, and [`crate::signal`] reads nothing else, so "parsed but
/// unverified" cannot be written.
#[derive(Debug)]
pub struct Verified {
    body: Bytes,
    provenance: &'static Provenance,
}
