//! Frames of any length, read in pieces of any size, and what a broken one means.

use std::sync::Mutex;

use bytes::BufMut;
use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;

const SEED: FrameSeed = FrameSeed::from_bytes(*b"sixteen of these");
const BEGIN: FrameOffset = FrameOffset { segment: 3, offset: 64 };
const KIND: SegmentKind = SegmentKind { magic: *b"GEMBATST", version: 7, extension: "test" };

/// A file in memory.
#[derive(Default)]
struct Content(Mutex<Vec<u8>>);

impl File for Content {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let (mut content, at) = (self.0.lock().unwrap(), usize::try_from(at).unwrap());
        let end = content.len().max(at + bytes.len());
        content.resize(end, 0);
        content[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let content = self.0.lock().unwrap();
        let rest = content.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let got = rest.len().min(buffer.len());
        buffer[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().truncate(usize::try_from(len).unwrap());
        Ok(())
    }
}

/// The smallest header there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plain {
    crc: u32,
    length: u32,
}

impl Header for Plain {
    const BYTES: usize = 12;

    fn crc(&self) -> u32 {
        self.crc
    }

    fn length(&self) -> u32 {
        self.length
    }

    /// Nothing of it says so.
    fn behind(self, _before: u32) -> Self {
        self
    }

    fn sealed(self, length: u32, crc: u32) -> Self {
        Self { crc, length }
    }

    fn write_fields(&self, mut fields: &mut [u8]) {
        fields.put_u32_le(self.length);
    }

    fn read_fields(crc: u32, fields: &mut Reader<'_>) -> Option<Self> {
        Some(Self { crc, length: fields.u32()? })
    }
}

/// A segment of frames with this many bytes of content each, and where each begins.
fn segment(lengths: &[usize]) -> (Content, Vec<FrameOffset>) {
    let file = Content::default();
    let (mut place, mut places) = (BEGIN, Vec::new());
    for (number, length) in (1..).zip(lengths) {
        let mut frame = vec![number; Plain::BYTES + length];
        Plain { crc: 0, length: 0 }.seal(&mut frame, place, SEED);
        file.write_all_at(&frame, place.offset).unwrap();
        places.push(place);
        place = place.plus(frame.len());
    }
    (file, places)
}

/// The lengths of the frames that are read, and where they end.
fn read(file: &dyn File, pieces: RangeInclusive<usize>) -> (Vec<usize>, FrameOffset) {
    let mut frames = Frames::<Plain>::new(SEED, BEGIN, pieces);
    let mut lengths = Vec::new();
    while let Some((header, frame)) = frames.next(file, |_| true).unwrap() {
        assert_eq!(frame.len(), header.frame_bytes());
        lengths.push(header.length() as usize);
    }
    (lengths, frames.place())
}

proptest! {
    #[test]
    fn every_frame_is_read_whatever_the_pieces(
        lengths in prop::collection::vec(0usize..300, 0..12),
        (least, more) in (12usize..200, 0usize..400),
        broken in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let pieces = least..=least + more;
        let (file, places) = segment(&lengths);
        let (found, end) = read(&file, pieces.clone());
        prop_assert_eq!((&found, end.offset), (&lengths, file.len().unwrap().max(BEGIN.offset)));
        if lengths.is_empty() {
            return Ok(());
        }
        // One byte rots: all before its frame is read; it is damage unless it was the last one.
        let bytes = usize::try_from(file.len().unwrap() - BEGIN.offset).unwrap();
        let at = BEGIN.plus(broken.index(bytes)).offset;
        let hit = places.partition_point(|place| place.offset <= at) - 1;
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
        let (found, end) = read(&file, pieces);
        prop_assert_eq!((&found[..], end), (&lengths[..hit], places[hit]));
        let damage = whole_frame_behind(&file, end, SEED, |_: &Plain| true).unwrap();
        prop_assert_eq!(damage, hit + 1 < lengths.len());
    }
}

fn frame() -> (Plain, Vec<u8>) {
    let (mut header, mut bytes) = (Plain { crc: 0, length: 0 }, b"............two records".to_vec());
    header.seal(&mut bytes, BEGIN, SEED);
    (header, bytes)
}

#[test]
fn any_flipped_bit_and_any_other_place_is_noticed() {
    let (_, bytes) = frame();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let held = Plain::read(&damaged, SEED).is_some_and(|header| header.holds(&damaged, BEGIN, SEED));
        assert!(!held, "bit {bit}");
    }
    let header = Plain::read(&bytes, SEED).unwrap();
    assert!(header.holds(&bytes, BEGIN, SEED));
    assert!(!header.holds(&bytes, FrameOffset { segment: 4, ..BEGIN }, SEED));
    assert!(!header.holds(&bytes, BEGIN.plus(1), SEED));
}

#[test]
fn each_byte_of_the_seed_is_needed_to_make_a_frame() {
    let (header, bytes) = frame();
    for byte in 0..FrameSeed::BYTES {
        let mut other = SEED.to_bytes();
        other[byte] ^= 0x80;
        let other = FrameSeed::from_bytes(other);
        let known = Plain::read(&bytes, other).is_some_and(|header| header.holds(&bytes, BEGIN, other));
        assert!(!known && !header.holds(&bytes, BEGIN, other), "byte {byte}");
    }
    assert_ne!(FrameSeed::from_bytes([0; FrameSeed::BYTES]).magic(), [0; 4]);
}

#[test]
fn a_frame_that_does_not_follow_is_left_where_it_is() {
    let (file, places) = segment(&[5, 6]);
    let mut frames = Frames::<Plain>::new(SEED, BEGIN, PIECES);
    assert!(frames.next(&file, |_| true).unwrap().is_some());
    assert!(frames.next(&file, |header| header.length() != 6).unwrap().is_none());
    assert_eq!(frames.place(), places[1]);
    assert!(frames.next(&file, |_| true).unwrap().is_some(), "it is looked for again");
}

#[test]
fn a_segments_header_is_known_by_every_bit() {
    let mut header = [9; 32];
    KIND.seal(&mut header);
    assert_eq!(KIND.open(&header).unwrap().rest(), &[9; 16]);
    for bit in 0..header.len() * 8 {
        let mut changed = header;
        changed[bit / 8] ^= 1 << (bit % 8);
        let why = if bit < 64 { NotAHeader::Foreign } else { NotAHeader::Damaged };
        assert_eq!(KIND.open(&changed).unwrap_err(), why, "bit {bit}");
    }
    let mut later = header;
    SegmentKind { version: 8, ..KIND }.seal(&mut later);
    assert_eq!(KIND.open(&later).unwrap_err(), NotAHeader::Version(8));
    assert_eq!(KIND.open(&header[..15]).unwrap_err(), NotAHeader::Foreign);
}

#[test]
fn segments_are_listed_by_their_names_and_a_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for name in ["0000000000000002.test", "0000000000000003.test", "3.test", "0000000000000009.other", "note"]
    {
        std::fs::write(dir.join(name), "").unwrap();
    }
    let (found, missing) = KIND.list(&RealDisk, dir).unwrap();
    assert_eq!((found, missing), (vec![(2, KIND.path(dir, 2)), (3, KIND.path(dir, 3))], None));
    std::fs::write(KIND.path(dir, 6), "").unwrap();
    assert_eq!(KIND.list(&RealDisk, dir).unwrap().1, Some(4));
}
