//! The unit that is written, synced and recovered: all events of one group commit. Pure.
//!
//! A request's signals are accepted or refused as one, so they must also survive as one: the checksum stands
//! around the whole frame, not around each record (decision 1). It covers the checksum of the frame before, so that a frame
//! which followed another history is not taken for one of this journal. What all framed logs have in common stands in
//! [`crate::framed_log`].
//!
//! ```text
//! magic u32 | crc u32 | before u32 | epoch u32 | length u32 | count u32 | first u64 | time u64 | records
//! ```
//!
//! A frame without events is a [`Mark`]; a seal lets a quiet line vouch for its last events.

use bytes::BufMut;

use crate::codec::Reader;
use crate::event::{Epoch, Seq, UnixMillis};
use crate::framed_log;

/// Bytes of a frame before its records.
pub const HEADER_BYTES: usize = 40;
const _: () = assert!(HEADER_BYTES == 6 * 4 + 2 * 8);

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub crc: u32,
    /// Checksum of the frame before; of a new log: 0.
    pub before: u32,
    pub epoch: Epoch,
    /// Bytes of the records.
    pub length: u32,
    /// Events in the frame.
    pub count: u32,
    /// Number of the first event; of an empty frame: the number that comes next.
    pub first: Seq,
    pub time: UnixMillis,
}

/// Why a frame without events was written; its one byte of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// A new epoch begins.
    Open = b'O',
    /// Nothing new; vouches for what stands before.
    Seal = b'S',
    /// The writer ended in order: no number after this was spent.
    Close = b'C',
}

impl framed_log::Header for Header {
    const BYTES: usize = HEADER_BYTES;

    fn crc(&self) -> u32 {
        self.crc
    }

    fn length(&self) -> u32 {
        self.length
    }

    fn behind(self, before: u32) -> Self {
        Self { before, ..self }
    }

    fn sealed(self, length: u32, crc: u32) -> Self {
        Self { crc, length, ..self }
    }

    fn write_fields(&self, mut fields: &mut [u8]) {
        for word in [self.before, self.epoch.0, self.length, self.count] {
            fields.put_u32_le(word);
        }
        fields.put_u64_le(self.first.0);
        fields.put_u64_le(self.time.0);
    }

    fn read_fields(crc: u32, fields: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            crc,
            before: fields.u32()?,
            epoch: Epoch(fields.u32()?),
            length: fields.u32()?,
            count: fields.u32()?,
            first: Seq(fields.u64()?),
            time: UnixMillis(fields.u64()?),
        })
    }
}

impl Header {
    /// Whether this frame continues a history that ended with this checksum, epoch and number. Only a new epoch may leave
    /// numbers out.
    #[must_use]
    pub fn follows(&self, before: u32, epoch: Epoch, last: Seq) -> bool {
        let numbered = self.first == last.next() || self.epoch > epoch && self.first > last;
        self.before == before && self.epoch >= epoch && numbered
    }

    /// Number of the last event up to and including this frame.
    #[must_use]
    pub fn last(&self) -> Seq {
        Seq((self.first.0 + u64::from(self.count)).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framed_log::{FrameOffset, FrameSeed, Header as _};

    const PLACE: FrameOffset = FrameOffset { segment: 3, offset: 4096 };
    const SEED: FrameSeed = FrameSeed::from_bytes(*b"sixteen of these");

    #[test]
    fn a_frame_reads_back_and_knows_its_last_number() {
        let (epoch, first, time) = (Epoch(2), Seq(40), UnixMillis(1_700_000_000_000));
        let mut header = Header { crc: 0, before: 7, epoch, length: 0, count: 2, first, time };
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(b"two records");
        header.seal(&mut bytes, PLACE, SEED);
        assert_eq!(Header::read(&bytes, SEED), Some(header));
        assert!(header.holds(&bytes, PLACE, SEED));
        assert_eq!((header.last(), header.length), (Seq(41), 11));
    }
}
