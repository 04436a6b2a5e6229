//! The journal against what a disk can do to it: every length it can be cut to, every bit that can rot, segments that
//! were used before, and recoveries that follow one another.

mod forged;
mod lookup;
mod records;
mod stored;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::record::{Decoder, Encoder};
use super::scan::Segment;
use super::{Damage, End, Spares, Writer, frame, scan, segment};
use crate::disk::{Disk as _, RealDisk};
use crate::event::{
    ActionId, Astray, Command, EdgeName, Failure, JournalId, Kind, Outcome, Position, Seq, Stray, Subject,
    Timer, TimerKind, UnixMillis, Verb,
};
use crate::kanban::memory::Memory;
use crate::limits::FRAME_EVENTS_MAX;
use crate::sharing::{Adopt, Hold, Shared};
use crate::signal::{Assurance, Identified, Provenance, Severity, Signal, Text, Unchecked};

pub(crate) const DIR: &str = "journal";
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub(crate) fn named(id: &str) -> Signal {
    let body = Bytes::from(format!(r#"{{"id":"{id}","tenant":"acme","sku":"vm","type":"cost.usage"}}"#));
    Unchecked {
        id: Text::Owned(id.into()),
        tenant: Text::Owned("acme".into()),
        sku: Text::Owned("vm".into()),
        kind: Text::Owned("cost.usage".into()),
        severity: Severity::Info,
        provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
        digest: 7,
        body,
    }
    .check()
    .unwrap()
}

/// What stands in a journal: number and id of each signal, in order.
type Held = Vec<(Seq, String)>;

fn read(disk: &Memory) -> Result<(End, Held), Damage> {
    let mut held = Held::new();
    let end = scan(disk, Path::new(DIR), |header, records, path, offset| -> Result<(), Damage> {
        let mut decoder = Decoder::new(records);
        let mut seq = header.first;
        loop {
            let kind = decoder.next_kind();
            let kind = kind.map_err(|why| Damage::Record { path: path.to_owned(), offset, why })?;
            let Some(kind) = kind else { return Ok(()) };
            if let Kind::Signal(signal) = kind {
                held.push((seq, signal.id().to_owned()));
            }
            seq = seq.next();
        }
    })?;
    Ok((end, held))
}

pub(crate) fn reopen(disk: &Memory, segment_bytes: u64) -> Writer {
    let (end, _) = read(disk).unwrap();
    let spares = Spares::open(disk.shared(), Path::new(DIR), segment_bytes, false).unwrap();
    Writer::open(disk.shared(), Path::new(DIR), segment_bytes, spares, end, NOW).unwrap()
}

/// The ids of the signals in the journal of a real directory.
pub(super) fn held_in(dir: &Path) -> Vec<String> {
    let mut held = Vec::new();
    let scanned = scan(&RealDisk, dir, |_, records, _, _| -> Result<(), Damage> {
        let mut decoder = Decoder::new(records);
        while let Ok(Some(Kind::Signal(signal))) = decoder.next_kind() {
            held.push(signal.id().to_owned());
        }
        Ok(())
    });
    scanned.unwrap();
    held
}

/// A writer on a real directory.
pub(super) fn reopen_in(dir: &Path, segment_bytes: u64) -> Writer {
    let end = scan(&RealDisk, dir, |_, _, _, _| -> Result<(), Damage> { Ok(()) }).unwrap();
    let disk: Arc<dyn crate::disk::Disk> = Arc::new(RealDisk);
    let spares = Spares::open(Arc::clone(&disk), dir, segment_bytes, false).unwrap();
    Writer::open(disk, dir, segment_bytes, spares, end, NOW).unwrap()
}

/// The segments in a real directory, in order.
pub(super) fn named_segments(dir: &Path) -> Vec<PathBuf> {
    let paths = RealDisk.list(dir).unwrap();
    paths.into_iter().filter(|path| segment::KIND.index_of(path).is_some()).collect()
}

/// Writes and syncs one frame of these signals.
pub(super) fn append(writer: &mut Writer, ids: &[&str]) -> Vec<Seq> {
    writer.begin(NOW);
    let seqs = ids.iter().map(|id| writer.append(&Kind::Signal(named(id)))).collect();
    writer.write().unwrap();
    writer.sync().unwrap();
    seqs
}

fn only_segment() -> PathBuf {
    segment::path(Path::new(DIR), 0)
}

/// A journal of one segment with three frames and no seal, and the offset at which each of them ends.
fn small() -> (Memory, Held, Vec<u64>) {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 2048);
    let mut ends = Vec::new();
    for ids in [&["a", "b"][..], &["c"], &["d", "e"]] {
        append(&mut writer, ids);
        ends.push(segment::HEADER_BYTES as u64 + writer.written());
    }
    drop(writer);
    let (_, held) = read(&disk).unwrap();
    assert_eq!(held.len(), 5);
    (disk, held, ends)
}

#[test]
fn cut_at_every_length_leaves_whole_frames_and_all_that_was_synced() {
    let (disk, held, ends) = small();
    let counts = [0, 2, 3, 5];
    let first_frame = segment::HEADER_BYTES as u64;
    for cut in 0..2048 {
        // Cut off: what the file system forgot. Zeroed: what it had reserved and never filled.
        for zeroed in [false, true] {
            let torn = disk.copy();
            torn.change(&only_segment(), |content| {
                let len = content.len();
                content.truncate(cut);
                if zeroed {
                    content.resize(len, 0);
                }
            });
            let whole = counts[ends.iter().filter(|end| **end <= cut as u64).count()];
            match read(&torn) {
                Ok((end, left)) => {
                    assert_eq!(left, held[..whole], "cut at {cut}");
                    assert!((first_frame..=first_frame.max(cut as u64)).contains(&end.place.offset));
                    let mut writer = reopen(&torn, 2048);
                    let fresh = append(&mut writer, &["new"]);
                    drop(writer);
                    let (_, again) = read(&torn).unwrap();
                    assert_eq!(again[..whole], held[..whole], "cut at {cut}: the second recovery");
                    assert_eq!(again[whole..], [(fresh[0], "new".to_owned())]);
                }
                Err(damage) => {
                    assert!(cut < segment::HEADER_BYTES, "cut at {cut}: {damage}");
                    assert!(damage.to_string().contains("journal"), "{damage}");
                }
            }
        }
    }
}

#[test]
fn rot_is_refused_with_its_place_unless_it_is_in_the_last_frame() {
    let (disk, held, ends) = small();
    let mut silent = 0;
    for bit in 0..2048 * 8 {
        let rotten = disk.copy();
        rotten.change(&only_segment(), |content| content[bit / 8] ^= 1 << (bit % 8));
        let at = (bit / 8) as u64;
        match read(&rotten) {
            Ok((_, left)) if at >= ends[2] => assert_eq!(left, held, "bit {bit} behind the end"),
            Ok((_, left)) => {
                // The documented blind spot: nothing vouches for the newest frame yet.
                assert!(at >= ends[1], "bit {bit} was not noticed");
                assert_eq!(left, held[..3], "bit {bit}");
                silent += 1;
            }
            Err(Damage::Interior { path, offset }) => {
                assert_eq!(path, only_segment());
                assert!(at < ends[1] && offset <= at, "bit {bit}: named {offset}");
            }
            Err(Damage::Segment { path, .. }) => {
                assert_eq!(path, only_segment());
                assert!(bit / 8 < segment::HEADER_BYTES, "bit {bit}");
            }
            Err(damage) => panic!("bit {bit}: {damage}"),
        }
    }
    assert_eq!(silent, (ends[2] - ends[1]) * 8);
}

#[test]
fn a_seal_closes_the_blind_spot() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 2048);
    append(&mut writer, &["a", "b"]);
    append(&mut writer, &["c"]);
    let sealed_through = segment::HEADER_BYTES as u64 + writer.written();
    assert!(writer.seal().unwrap());
    assert!(!writer.seal().unwrap(), "one seal is enough");
    drop(writer);
    let (_, held) = read(&disk).unwrap();
    for bit in 0..2048 * 8 {
        let rotten = disk.copy();
        rotten.change(&only_segment(), |content| content[bit / 8] ^= 1 << (bit % 8));
        match read(&rotten) {
            Ok((_, left)) => {
                assert_eq!(left, held, "bit {bit}");
                assert!((bit / 8) as u64 >= sealed_through, "bit {bit} was not noticed");
            }
            Err(damage) => assert!(((bit / 8) as u64) < sealed_through, "bit {bit}: {damage}"),
        }
    }
}

/// Many frames over many small segments; returns what was synced.
fn long(disk: &Memory, frames: usize) -> Held {
    let mut writer = reopen(disk, 512);
    let mut synced = Held::new();
    for frame in 0..frames {
        let ids = [format!("s-{frame}-0"), format!("s-{frame}-1")];
        let seqs = append(&mut writer, &[&ids[0], &ids[1]]);
        synced.extend(seqs.into_iter().zip(ids));
    }
    synced
}

fn segments(disk: &Memory) -> Vec<Segment> {
    read(disk).unwrap().0.segments
}

#[test]
fn a_journal_goes_on_over_segments() {
    let disk = Memory::default();
    let synced = long(&disk, 20);
    let (end, held) = read(&disk).unwrap();
    assert_eq!(held, synced);
    assert!(end.segments.len() > 5, "{} segments", end.segments.len());
    assert!(end.segments.is_sorted_by(|a, b| a.index + 1 == b.index && a.first < b.first));
}

#[test]
fn rot_in_an_older_segment_is_refused_wherever_it_is() {
    let disk = Memory::default();
    let synced = long(&disk, 8);
    let (_, held) = read(&disk).unwrap();
    assert_eq!(held, synced);
    let older = segment::path(Path::new(DIR), 1);
    let len = disk.file(&older).unwrap().0.lock().unwrap().len();
    let mut refused = 0;
    for bit in 0..len * 8 {
        let rotten = disk.copy();
        rotten.change(&older, |content| content[bit / 8] ^= 1 << (bit % 8));
        match read(&rotten) {
            Ok((_, left)) => assert_eq!(left, held, "bit {bit}"),
            Err(Damage::Interior { path, .. } | Damage::Segment { path, .. }) => {
                assert_eq!(path, older);
                refused += 1;
            }
            Err(damage) => panic!("bit {bit}: {damage}"),
        }
    }
    assert!(refused > 8 * frame::HEADER_BYTES, "{refused} of {} bits", len * 8);
}

#[test]
fn a_missing_segment_is_named() {
    let disk = Memory::default();
    long(&disk, 8);
    let gone = segment::path(Path::new(DIR), 1);
    disk.remove(&gone).unwrap();
    assert!(matches!(read(&disk), Err(Damage::Missing { path }) if path == gone));
}

#[test]
fn records_of_a_recycled_segment_never_read_as_new() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 512);
    for round in 0..40 {
        let ids = [format!("s-{round}-0"), format!("s-{round}-1")];
        append(&mut writer, &[&ids[0], &ids[1]]);
        writer.release(writer.last()).unwrap();
        let copy = disk.copy();
        let kept: Vec<String> = read(&copy).unwrap().1.into_iter().map(|(_, id)| id).collect();
        let first = kept.first().and_then(|id| id.split('-').nth(1)?.parse().ok()).unwrap_or(round + 1);
        let expected: Vec<String> =
            (first..=round).flat_map(|round| [format!("s-{round}-0"), format!("s-{round}-1")]).collect();
        assert_eq!(kept, expected, "round {round}");
        assert!(kept.len() <= 6, "the rest was given back");
        // Power lost while a frame lies over old ones: only its first bytes came through.
        let (end, _) = read(&copy).unwrap();
        let last = segment::path(Path::new(DIR), end.place.segment);
        copy.change(&last, |content| {
            let at = usize::try_from(end.place.offset).unwrap();
            let upto = content.len().min(at + frame::HEADER_BYTES);
            content[at..upto].fill(0xA5);
        });
        assert_eq!(read(&copy).unwrap().1.len(), kept.len(), "round {round}");
    }
    assert!(segments(&disk).first().unwrap().index > 10, "segments were recycled");
}

#[test]
fn without_a_close_mark_as_many_numbers_are_skipped_as_a_frame_can_hold() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 4096);
    assert_eq!(append(&mut writer, &["a", "b"]), [Seq(1), Seq(2)]);
    drop(writer);
    let skipped = FRAME_EVENTS_MAX as u64;
    let mut writer = reopen(&disk, 4096);
    assert_eq!(append(&mut writer, &["c"]), [Seq(3 + skipped)]);
    writer.close().unwrap();
    let mut writer = reopen(&disk, 4096);
    assert_eq!(append(&mut writer, &["d"]), [Seq(4 + skipped)], "after an orderly end no number is skipped");
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Seal,
    /// Ends in order and is opened again.
    Close,
    /// Ends at once; so many bytes of a frame that was not synced came through.
    Crash(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u8..6).prop_map(Step::Append),
        1 => Just(Step::Seal),
        1 => Just(Step::Close),
        2 => (0u16..400).prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Against a vector: what was synced stays, whatever ends follow one another, and no number is seen twice.
    #[test]
    fn recoveries_that_follow_one_another_agree(steps in steps()) {
        let disk = Memory::default();
        let mut writer = reopen(&disk, 1024);
        let (mut synced, mut spent, mut made) = (Held::new(), Seq(0), 0);
        for step in steps {
            match step {
                Step::Append(count) => {
                    let ids: Vec<String> = (0..count).map(|n| format!("s-{}", made + u32::from(n))).collect();
                    made += u32::from(count);
                    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                    for (seq, id) in append(&mut writer, &ids).into_iter().zip(ids) {
                        prop_assert!(seq > spent, "{seq} after {spent}");
                        spent = seq;
                        synced.push((seq, id.to_owned()));
                    }
                }
                Step::Seal => drop(writer.seal().unwrap()),
                Step::Close => {
                    writer.close().unwrap();
                    writer = reopen(&disk, 1024);
                }
                Step::Crash(bytes) => {
                    let before = disk.copy();
                    writer.begin(NOW);
                    for _ in 0..3 {
                        spent = spent.max(writer.append(&Kind::Signal(named("torn"))));
                    }
                    writer.write().unwrap();
                    drop(writer);
                    tear(&before, &disk, usize::from(bytes));
                    let (_, first) = read(&disk).unwrap();
                    writer = reopen(&disk, 1024);
                    let (_, second) = read(&disk).unwrap();
                    prop_assert_eq!(&first, &second, "the second recovery");
                    if first.len() > synced.len() {
                        // All of it came through: whole, though nobody was told.
                        prop_assert_eq!(first.len(), synced.len() + 3);
                        synced.extend_from_slice(&first[synced.len()..]);
                    }
                    prop_assert_eq!(&first, &synced);
                }
            }
        }
        drop(writer);
        prop_assert_eq!(read(&disk).unwrap().1, synced);
    }
}

/// Undoes what was written after `before`, but for its first `bytes`.
fn tear(before: &Memory, disk: &Memory, bytes: usize) {
    let old = before.0.lock().unwrap();
    for (path, content) in disk.0.lock().unwrap().iter() {
        let mut content = content.0.lock().unwrap();
        let Some(old) = old.get(path) else { continue };
        let old = old.0.lock().unwrap();
        let Some(from) = (0..old.len()).find(|at| old[*at] != content[*at]) else { continue };
        let keep = (from + bytes).min(old.len());
        content[keep..].copy_from_slice(&old[keep..]);
    }
}
