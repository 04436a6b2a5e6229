//! The leaf of the transparency log: 33 bytes that commit to a receipt and tell nothing about it. Whoever has the
//! receipt and its salt can show that it is in the log; deleting both leaves all proofs whole (`receipts.md`, 5.10).

use aws_lc_rs::digest::{Context, SHA256, digest};

/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 33;
const DOMAIN: &[u8] = b"gemba/receipt/v1\0";

/// What an entry is, in its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryType {
    /// The commitment to a receipt.
    Receipt = 1,
    /// Written by the log about itself: a writer's epoch begins.
    Control = 2,
}

/// The entry of a receipt: its hash and HMAC under a salt of its own.
#[must_use]
pub fn receipt_entry(salt: &[u8; 16], hash: &[u8; 32], signature: &[u8; 32]) -> [u8; ENTRY_BYTES] {
    let mut text = [0; DOMAIN.len() + 16 + 32 + 32];
    let (domain, rest) = text.split_at_mut(DOMAIN.len());
    domain.copy_from_slice(DOMAIN);
    rest[..16].copy_from_slice(salt);
    rest[16..48].copy_from_slice(hash);
    rest[48..].copy_from_slice(signature);
    entry(EntryType::Receipt, digest(&SHA256, &text).as_ref())
}

/// The entry of what the log says about itself.
#[must_use]
pub fn control_entry(text: &[u8]) -> [u8; ENTRY_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(b"gemba/control/v1\0");
    context.update(text);
    entry(EntryType::Control, context.finish().as_ref())
}

fn entry(kind: EntryType, hash: &[u8]) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[0] = kind as u8;
    entry[1..].copy_from_slice(hash);
    entry
}
