//! The unit that is written, synced and recovered: all events of one group commit. Pure.
//!
//! A request's signals are accepted or refused as one, so they must also survive as one: the checksum stands
//! around the whole frame, not around each record (decision 1). It covers the place (segment and
//! offset) and the checksum of the frame before, so that a frame which once stood elsewhere, or followed another
//! history, is not taken for one of this log. Magic and checksum depend on the journal's [`FrameSeed`], so that a sender
//! cannot put a frame into a body (decision 26).
//!
//! ```text
//! magic u32 | crc u32 | before u32 | epoch u32 | length u32 | count u32 | first u64 | time u64 | records
//! ```
//!
//! A frame is written only after the one before it was synced, so every whole frame vouches for all that stands
//! before it: a damaged frame with a whole one behind it is damage, one with nothing behind it may be a torn tail.
//! A frame without events is a [`Mark`]; a seal lets a quiet line vouch for its last events.

use crate::codec::Reader;
use crate::disk::FrameSeed;
use crate::event::{Epoch, Seq, UnixMillis};

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

/// Where a frame stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u64,
    pub offset: u64,
}

impl Header {
    /// Fills the first [`HEADER_BYTES`] of `frame`, whose records are complete, and returns the checksum.
    pub fn seal(&mut self, frame: &mut [u8], place: Place, seed: FrameSeed) -> u32 {
        self.length = u32::try_from(frame.len() - HEADER_BYTES).unwrap_or(u32::MAX);
        assert_eq!(self.length as usize + HEADER_BYTES, frame.len(), "a frame is far below 4 GiB");
        let fields = [
            seed.magic(),
            [0; 4],
            self.before.to_le_bytes(),
            self.epoch.0.to_le_bytes(),
            self.length.to_le_bytes(),
            self.count.to_le_bytes(),
        ];
        frame[..24].copy_from_slice(fields.as_flattened());
        let numbers = [self.first.0.to_le_bytes(), self.time.0.to_le_bytes()];
        frame[24..HEADER_BYTES].copy_from_slice(numbers.as_flattened());
        self.crc = seed.checksum(place.segment, place.offset, frame);
        frame[4..8].copy_from_slice(&self.crc.to_le_bytes());
        self.crc
    }

    /// Reads a header; `None` when no frame starts here.
    #[must_use]
    pub fn read(bytes: &[u8], seed: FrameSeed) -> Option<Self> {
        let mut header = Reader::new(bytes);
        (header.array()? == seed.magic()).then_some(())?;
        Some(Self {
            crc: header.u32()?,
            before: header.u32()?,
            epoch: Epoch(header.u32()?),
            length: header.u32()?,
            count: header.u32()?,
            first: Seq(header.u64()?),
            time: UnixMillis(header.u64()?),
        })
    }

    /// Whether these bytes, header and records, are whole and stand where they were written.
    #[must_use]
    pub fn holds(&self, frame: &[u8], place: Place, seed: FrameSeed) -> bool {
        frame.len() == self.frame_bytes() && seed.checksum(place.segment, place.offset, frame) == self.crc
    }

    /// Whether this frame continues a history that ended with this checksum, epoch and number. Only a new epoch may leave
    /// numbers out.
    #[must_use]
    pub fn follows(&self, before: u32, epoch: Epoch, last: Seq) -> bool {
        let numbered = self.first == last.next() || self.epoch > epoch && self.first > last;
        self.before == before && self.epoch >= epoch && numbered
    }

    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.length as usize
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

    const PLACE: Place = Place { segment: 3, offset: 4096 };
    const SEED: FrameSeed = FrameSeed::from_bytes(*b"sixteen of these");

    fn frame() -> (Header, Vec<u8>) {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes.extend_from_slice(b"two records");
        let mut header = Header {
            crc: 0,
            before: 7,
            epoch: Epoch(2),
            length: 0,
            count: 2,
            first: Seq(40),
            time: UnixMillis(1_700_000_000_000),
        };
        header.seal(&mut bytes, PLACE, SEED);
        (header, bytes)
    }

    #[test]
    fn a_frame_reads_back_and_knows_its_last_number() {
        let (header, bytes) = frame();
        assert_eq!(Header::read(&bytes, SEED), Some(header));
        assert!(header.holds(&bytes, PLACE, SEED));
        assert_eq!(header.last(), Seq(41));
    }

    #[test]
    fn any_flipped_bit_and_any_other_place_is_noticed() {
        let (_, bytes) = frame();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let held = Header::read(&damaged, SEED).is_some_and(|header| header.holds(&damaged, PLACE, SEED));
            assert!(!held, "bit {bit}");
        }
        let header = Header::read(&bytes, SEED).unwrap();
        assert!(!header.holds(&bytes, Place { segment: 4, ..PLACE }, SEED));
        assert!(!header.holds(&bytes, Place { offset: 0, ..PLACE }, SEED));
    }

    #[test]
    fn each_byte_of_the_seed_is_needed_to_make_a_frame() {
        let (header, bytes) = frame();
        for byte in 0..FrameSeed::BYTES {
            let mut other = SEED.to_bytes();
            other[byte] ^= 0x80;
            let other = FrameSeed::from_bytes(other);
            let known = Header::read(&bytes, other).is_some_and(|header| header.holds(&bytes, PLACE, other));
            assert!(!known && !header.holds(&bytes, PLACE, other), "byte {byte}");
        }
        assert_ne!(FrameSeed::from_bytes([0; FrameSeed::BYTES]).magic(), [0; 4]);
    }
}
