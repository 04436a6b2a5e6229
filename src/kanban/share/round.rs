//! How what a round writes is divided into writes to Firestore, each of them within its bounds. Pure.
//!
//! As a rule all of it fits into one write. What does not is staged: its documents go into chunks beside the heads; one small
//! write makes the round count and says how many chunks there are; then the documents go to their places. Whoever takes a
//! partition with chunks brings them there first. So a round counts as a whole or not at all, however large it is.

use super::document::{Documents, Paths, size, staged_fields};
use super::holding::Part;
use crate::limits::{SHARE_BYTES_MAX, SHARE_CHUNK_BYTES};
use crate::net::firestore::Change;

/// Whether all of it is one write.
#[must_use]
pub fn fits(parts: &[Part]) -> bool {
    parts.iter().map(|part| part.bytes).sum::<usize>() <= SHARE_BYTES_MAX
}

/// The documents of one partition as chunks.
#[must_use]
pub fn staged(paths: &Paths, partition: u16, documents: &[(String, Change)]) -> Documents {
    let chunks = divided(documents.to_vec(), SHARE_CHUNK_BYTES);
    let chunks = chunks.into_iter().enumerate();
    let chunk = |(chunk, documents)| (paths.staged(partition, chunk), Change::Put(staged_fields(documents)));
    chunks.map(chunk).collect()
}

/// The same documents in groups that are not larger than this, unless one document is.
#[must_use]
pub fn divided(documents: Documents, bytes_max: usize) -> Vec<Documents> {
    let mut groups: Vec<Documents> = Vec::new();
    let mut bytes = usize::MAX;
    for (document, change) in documents {
        let more = size(&document, &change);
        if bytes.saturating_add(more) > bytes_max {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(last) = groups.last_mut() {
            last.push((document, change));
        }
    }
    groups
}
