//! What the outbound runtime is asked to do.

use crate::jidoka::governor::Intent;

#[derive(Debug)]
pub struct ActionRequest {
    pub intent: Intent,
    /// A crash may have come after it was carried out and before its outcome was known.
    pub maybe_twice: bool,
}
