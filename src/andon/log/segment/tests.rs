//! The stored bytes of headers, field by field: a log that exists is read by every later version. The checksums were
//! computed apart from this program.

use super::*;
use crate::framed_log::Header as _;

const SEED: FrameSeed = FrameSeed::from_bytes(*b"sixteen of these");

#[test]
fn a_segments_header_is_stored_as_ever() {
    let (before, size, edge, origin) = (7, 1, vec![[0xab; 32]], "o/rigin".to_owned());
    let header = Header { seed: SEED, index: 5, before, size, edge, origin, bounds_before: (2, 3) };
    let mut stored = [
        &b"GEMBALG1\x02\0\0\0\x70\x3e\xdf\x46\x05\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0"[..],
        b"\x03\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x07\0\0\0\x01\0\0\0sixteen of theseo/rigin",
    ]
    .concat();
    stored.resize(EDGE_AT, 0);
    stored.extend_from_slice(&[0xab; 32]);
    stored.resize(HEADER_BYTES, 0);
    assert_eq!(header.to_bytes(), stored);
    assert_eq!(Header::read(&stored), Ok(header));
}

#[test]
fn a_frames_header_is_stored_as_ever() {
    let mut header = frame::Header {
        crc: 0,
        before: 7,
        length: 0,
        count: 1,
        note: 4,
        first: 9,
        lowest: 10,
        highest: 11,
        key: [0, 1, 2, 3, 4, 5, 6, 7],
        root: [0xcd; 32],
    };
    let mut bytes = [&[0; frame::HEADER_BYTES], &b"record"[..]].concat();
    header.seal(&mut bytes, FrameOffset { segment: 3, offset: 64 }, SEED);
    let stored = [
        &b"sixt\x9f\x8b\x75\x8c\x07\0\0\0\x06\0\0\0\x01\0\0\0\x04\0\0\0"[..],
        b"\x09\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x0b\0\0\0\0\0\0\0",
        b"\0\x01\x02\x03\x04\x05\x06\x07",
        &[0xcd; 32],
        b"record",
    ]
    .concat();
    assert_eq!(bytes, stored);
}
