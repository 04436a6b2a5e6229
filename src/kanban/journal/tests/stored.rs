//! The stored bytes of headers, field by field: a journal that exists is read by every later version. The checksums were
//! computed apart from this program.

use super::*;
use crate::event::{Epoch, JournalId};
use crate::framed_log::{FrameOffset, FrameSeed, Header as _};
use crate::kanban::journal::Lineage;

const SEED: FrameSeed = FrameSeed::from_bytes(*b"sixteen of these");

#[test]
fn a_segments_header_is_stored_as_ever() {
    let lineage = Lineage { id: JournalId(0x0102), seed: SEED };
    let header = segment::Header { lineage, index: 5, first: Seq(6), before: 7, epoch: Epoch(8) };
    let stored = [
        &b"GEMBAJN1\x02\0\0\0\x6d\x8a\x31\xba"[..],
        b"\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x07\0\0\0\x08\0\0\0\x02\x01\0\0\0\0\0\0",
        b"sixteen of these",
    ]
    .concat();
    assert_eq!(header.to_bytes()[..], stored);
    assert_eq!(segment::Header::read(&stored), Ok(header));
}

#[test]
fn a_frames_header_is_stored_as_ever() {
    let (before, epoch, first, time) = (7, Epoch(8), Seq(9), UnixMillis(10));
    let mut header = frame::Header { crc: 0, before, epoch, length: 0, count: 1, first, time };
    let mut bytes = [&[0; frame::HEADER_BYTES], &b"record"[..]].concat();
    header.seal(&mut bytes, FrameOffset { segment: 3, offset: 64 }, SEED);
    let stored = [
        &b"sixt\x36\xa0\x8f\x56\x07\0\0\0\x08\0\0\0\x06\0\0\0\x01\0\0\0"[..],
        b"\x09\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0record",
    ]
    .concat();
    assert_eq!(bytes, stored);
}
