//! What makes a log's frames its own (promises P1 and P6).
//!
//! Records hold bytes that senders chose. Recovery and repair search for frames among them. A sender that can compute a
//! frame's checksum could forge an event of this node. Both the bytes that a frame begins with and
//! the start of its checksum therefore come from random bytes that stand in the header of each segment and nowhere
//! else (decision 26).

use std::io;

use aws_lc_rs::rand;

use super::offset::FrameOffset;

/// Magic and checksum, which each frame begins with.
pub const FIELDS_AT: usize = 8;

/// Random bytes of one log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameSeed([u8; FrameSeed::BYTES]);

impl FrameSeed {
    pub const BYTES: usize = 16;

    /// # Errors
    /// Where the system has no randomness.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; Self::BYTES];
        rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        Ok(Self::from_bytes(bytes))
    }

    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }

    /// What each frame begins with; never four zeros, which follow the last frame of a segment.
    #[must_use]
    pub const fn magic(self) -> [u8; 4] {
        let [first, second, third, fourth, ..] = self.0;
        [first | 1, second, third, fourth]
    }

    /// The checksum of a frame that stands there. Its first eight bytes, magic and checksum, are left out.
    #[must_use]
    pub fn checksum(self, place: FrameOffset, frame: &[u8]) -> u32 {
        let place = [place.segment.to_le_bytes(), place.offset.to_le_bytes()];
        let start = crc32c::crc32c_append(crc32c::crc32c(&self.0), place.as_flattened());
        crc32c::crc32c_append(start, frame.get(FIELDS_AT..).unwrap_or_default())
    }
}

/// It is as secret as a key.
impl std::fmt::Debug for FrameSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameSeed")
    }
}
