//! A sender puts a frame of the journal into a body, at the place where it will stand, and then the frame around it
//! is torn (decision 26).

use memchr::memmem;

use super::*;
use crate::event::{Epoch, JournalId};
use crate::framed_log::{FrameOffset, FrameSeed, Header as _};
use crate::kanban::journal::{Lineage, repair};

const SEED: FrameSeed = FrameSeed::from_bytes(*b"nobody knows me!");
const SEGMENT_BYTES: u64 = 1 << 16;

/// A frame with one event, as a journal with this seed would hold it at `offset` of its first segment.
fn frame_at(offset: u64, seed: FrameSeed) -> Vec<u8> {
    let mut bytes = vec![0; frame::HEADER_BYTES];
    Encoder::default().signal(&mut bytes, &named("forged"));
    let mut header = frame::Header {
        crc: 0,
        before: 0,
        epoch: Epoch(9),
        length: 0,
        count: 1,
        first: Seq(1_000),
        time: NOW,
    };
    header.seal(&mut bytes, FrameOffset { segment: 0, offset }, seed);
    bytes
}

/// A journal whose last frame holds a body with `inside`; where that stands in the file.
fn journal_around(inside: &[u8]) -> (Memory, u64) {
    let disk = Memory::default();
    let (mut end, _) = read(&disk).unwrap();
    end.lineage = Some(Lineage { id: JournalId(1), seed: SEED });
    let spares = Spares::open(disk.shared(), Path::new(DIR), SEGMENT_BYTES, false).unwrap();
    let mut writer = Writer::open(disk.shared(), Path::new(DIR), SEGMENT_BYTES, spares, end, NOW).unwrap();
    append(&mut writer, &["honest"]);
    writer.begin(NOW);
    let body = Bytes::copy_from_slice(inside);
    let hostile = Unchecked { body, ..named("hostile").into() }.check().unwrap();
    writer.append(&Kind::Signal(hostile));
    writer.write().unwrap();
    writer.sync().unwrap();
    drop(writer);
    let file = disk.open(&only_segment()).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    let at = memmem::find(&bytes, inside).unwrap();
    // The tear: a byte of the frame around it is not what was written.
    file.write_all_at(&[bytes[at - 1] ^ 1], at as u64 - 1).unwrap();
    (disk, at as u64)
}

/// What recovery and repair make of a body with a frame that was made under `seed`.
fn taken(seed: FrameSeed) -> (Result<Held, Damage>, u64) {
    let (_, at) = journal_around(&vec![b'x'; frame_at(0, seed).len()]);
    let (disk, stands_at) = journal_around(&frame_at(at, seed));
    assert_eq!(stands_at, at);
    let plan = repair::plan(&disk, Path::new(DIR)).unwrap();
    (read(&disk).map(|(_, held)| held), plan.events)
}

#[test]
fn a_frame_in_a_body_is_not_taken_for_one_of_the_journal() {
    let mut other = SEED.to_bytes();
    for byte in 0..FrameSeed::BYTES {
        other[byte] ^= 0x40;
        let (recovered, kept) = taken(FrameSeed::from_bytes(other));
        let recovered = recovered.expect("a torn tail is trimmed");
        assert_eq!(
            recovered.iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>(),
            ["honest"],
            "byte {byte}"
        );
        assert_eq!(kept, 1, "byte {byte}");
        other[byte] ^= 0x40;
    }
    // With the seed the forgery succeeds: so the frame stands in the right place, and the test can fail.
    let (recovered, kept) = taken(SEED);
    assert!(matches!(recovered, Err(Damage::Interior { .. })), "{recovered:?}");
    assert_eq!(kept, 2);
}

#[test]
fn segments_of_two_journals_are_not_read_as_one() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 1024);
    let first = (0..20).map(|number| format!("s-{number}")).collect::<Vec<_>>();
    for id in &first {
        append(&mut writer, &[id]);
    }
    drop(writer);
    let file = disk.open(&segment::path(Path::new(DIR), 1)).unwrap();
    let mut bytes = [0; segment::HEADER_BYTES];
    file.read_at(&mut bytes, 0).unwrap();
    let header = segment::Header::read(&bytes).unwrap();
    let lineage = Lineage { id: JournalId(header.lineage.id.0 + 1), ..header.lineage };
    file.write_all_at(&segment::Header { lineage, ..header }.to_bytes(), 0).unwrap();
    let damage = read(&disk).unwrap_err();
    let stranger = segment::BadHeader::Stranger;
    assert!(matches!(damage, Damage::Segment { why, .. } if why == stranger), "{damage}");
    assert!(damage.hint().is_some());
}
