//! The memory of identities beside a plain model.

mod files;
mod model;

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::kanban::memory::Memory;

const HORIZON: u64 = 1000;
const SETTINGS: Settings = Settings { capacity: 16, horizon_millis: HORIZON };
const DIR: &str = "dedup";

/// Identities of which some share their first bytes, and so their line in a filter.
fn identity(n: u64) -> Fingerprint {
    let mut bytes = [0; 16];
    bytes[0] = u8::try_from(n % 4).unwrap();
    bytes[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Fingerprint(bytes)
}

fn open(memory: &Memory) -> Result<Dedup, ArchiveError> {
    Dedup::open(memory.shared(), Path::new(DIR), SETTINGS, Background::Inline)
}

fn at(second: u64) -> UnixMillis {
    UnixMillis(1_000_000 + second)
}

/// Remembers events `from..=upto` and lets the background finish.
fn fill(dedup: &mut Dedup, events: std::ops::RangeInclusive<u64>) {
    for n in events {
        dedup.insert(identity(n), n, Seq(n), at(n));
        finish(dedup, Seq(n), at(n));
    }
}

fn finish(dedup: &mut Dedup, durable: Seq, now: UnixMillis) {
    for _ in 0..20 {
        dedup.turn(durable, now).unwrap();
    }
}

fn files(memory: &Memory, extension: &str) -> Vec<std::path::PathBuf> {
    let files = memory.0.lock().unwrap();
    files.keys().filter(|path| path.extension().is_some_and(|of| of == extension)).cloned().collect()
}

fn run_files(memory: &Memory) -> Vec<std::path::PathBuf> {
    files(memory, "run")
}

#[test]
fn an_identity_is_found_in_every_tier() {
    let memory = Memory::default();
    let mut dedup = open(&memory).unwrap();
    fill(&mut dedup, 1..=42);
    assert_eq!(dedup.archived_through(), Seq(40));
    assert_eq!(run_files(&memory).len(), 4, "two merged runs and two of a block");
    for n in 1..=42 {
        assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Repeat { seq: Seq(n) });
        assert_eq!(dedup.look(&identity(n), n + 1).unwrap(), Known::Conflict { seq: Seq(n) });
    }
    for n in 43..1000 {
        assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Fresh);
    }
}

#[test]
fn a_stuck_background_makes_the_line_shed_and_forget_nothing() {
    let memory = Memory::default();
    let mut dedup = open(&memory).unwrap();
    // Nothing is durable, so nothing is handed over.
    let mut n = 0;
    while !dedup.is_full(1) {
        n += 1;
        dedup.insert(identity(n), n, Seq(n), at(n));
        finish(&mut dedup, Seq(0), at(n));
    }
    assert_eq!(n, 16);
    assert_eq!((dedup.archived_through(), run_files(&memory).len()), (Seq(0), 0));
    for n in 1..=16 {
        assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Repeat { seq: Seq(n) });
    }
    finish(&mut dedup, Seq(16), at(16));
    assert!(!dedup.is_full(4) && dedup.is_full(13), "the newest block is still filled");
    assert_eq!(dedup.archived_through(), Seq(12));
}

#[test]
fn what_is_not_durable_is_not_archived() {
    let memory = Memory::default();
    let mut dedup = open(&memory).unwrap();
    for n in 1..=9 {
        dedup.insert(identity(n), n, Seq(n), at(n));
    }
    finish(&mut dedup, Seq(7), at(9));
    assert_eq!(dedup.archived_through(), Seq(4));
    finish(&mut dedup, Seq(8), at(9));
    assert_eq!(dedup.archived_through(), Seq(8));
}

#[test]
fn runs_beyond_the_horizon_are_removed_and_none_before() {
    let memory = Memory::default();
    let mut dedup = open(&memory).unwrap();
    fill(&mut dedup, 1..=9);
    finish(&mut dedup, Seq(9), at(4 + HORIZON));
    assert_eq!(dedup.look(&identity(1), 1).unwrap(), Known::Repeat { seq: Seq(1) });
    finish(&mut dedup, Seq(9), at(5 + HORIZON));
    assert_eq!(dedup.look(&identity(1), 1).unwrap(), Known::Fresh);
    assert_eq!(dedup.look(&identity(5), 5).unwrap(), Known::Repeat { seq: Seq(5) });
    // The newest run stays, and says from where on the journal is needed.
    finish(&mut dedup, Seq(9), at(50 + HORIZON));
    drop(dedup);
    assert_eq!(open(&memory).unwrap().archived_through(), Seq(8));
}

#[test]
fn files_of_merged_runs_are_used_again_or_set_aside_and_never_while_they_are_read() {
    let memory = Memory::default();
    let mut dedup = open(&memory).unwrap();
    fill(&mut dedup, 1..=17);
    assert_eq!((run_files(&memory).len(), files(&memory, build::SPARE).len()), (1, 4));
    // The run of 17 to 20 is written into one of them.
    fill(&mut dedup, 18..=21);
    assert_eq!((run_files(&memory).len(), files(&memory, build::SPARE).len()), (2, 3));
    drop(dedup);
    let mut dedup = open(&memory).unwrap();
    fill(&mut dedup, 21..=33);
    assert_eq!((run_files(&memory).len(), files(&memory, build::SPARE).len()), (2, 4));
    assert!(files(&memory, "gone").is_empty());
    fill(&mut dedup, 34..=65);
    assert_eq!(run_files(&memory).len(), 1, "one of all");
    assert_eq!((files(&memory, build::SPARE).len(), files(&memory, "gone").len()), (4, 4), "larger ones go");
    for n in 1..=65 {
        assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Repeat { seq: Seq(n) });
    }
    // Who asks an old run finds it, whatever has become of it.
    fill(&mut dedup, 66..=77);
    let before = dedup.runs.clone();
    fill(&mut dedup, 78..=81);
    assert_eq!(dedup.runs.len(), 2);
    assert_eq!(run_files(&memory).len(), 2 + 4, "those inside the merged one are there still");
    let asked = before.iter().find_map(|run| run.look(block::key(&identity(66))).unwrap());
    assert_eq!(asked.map(|entry| entry.seq), Some(Seq(66)));
    drop(before);
    finish(&mut dedup, Seq(81), at(81));
    assert_eq!(run_files(&memory).len(), 2);
}

#[test]
fn a_thread_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { capacity: 4000, horizon_millis: u64::MAX };
    let disk: Arc<dyn Disk> = Arc::new(crate::disk::RealDisk);
    let open = || Dedup::open(Arc::clone(&disk), dir.path(), settings, Background::Thread).unwrap();
    let mut dedup = open();
    for n in 1..=50_000u64 {
        dedup.insert(identity(n), n, Seq(n), at(n));
        if n % 500 == 0 {
            dedup.make_room(Seq(n), at(n)).unwrap();
            assert!(!dedup.is_full(1000));
            for asked in [1, n / 3 + 1, n / 2 + 1, n - 499, n] {
                assert_eq!(dedup.look(&identity(asked), asked).unwrap(), Known::Repeat { seq: Seq(asked) });
            }
            assert_eq!(dedup.look(&identity(n + 1), 0).unwrap(), Known::Fresh);
        }
    }
    let archived = dedup.archived_through();
    drop(dedup);
    let mut dedup = open();
    assert!(dedup.archived_through() >= archived && archived >= Seq(47_000));
    dedup.begin_after(Seq(1)).unwrap();
    for n in 1..=50_000 {
        dedup.insert(identity(n), n, Seq(n), at(n));
    }
    for n in 1..=50_000 {
        assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Repeat { seq: Seq(n) });
    }
}

#[test]
fn the_memory_of_identities_on_disk_is_counted_across_merges_and_starts() {
    let memory = Memory::default();
    let settings = Settings { capacity: 4000, horizon_millis: u64::MAX };
    let open = || Dedup::open(memory.shared(), Path::new(DIR), settings, Background::Inline).unwrap();
    let mut dedup = open();
    let counted = dedup.archive_memory();
    assert_eq!(counted.read(), 0);
    for n in 1..=16_001 {
        dedup.insert(identity(n), n, Seq(n), at(n));
        dedup.turn(Seq(n), at(n)).unwrap();
    }
    let most = counted.read();
    finish(&mut dedup, Seq(16_001), at(16_001));
    let bytes = counted.read();
    assert!((33_600..34_400).contains(&bytes), "2.1 bytes for each of 16,000: {bytes}");
    assert!(most > bytes && most <= 2 * bytes, "while they are merged, {most}");
    drop(dedup);
    assert_eq!(open().archive_memory().read(), bytes);
}

#[test]
fn a_filter_passes_one_in_a_thousand_without_cause() {
    let key = |n: u64| {
        let hash = xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes());
        assert!(hash > 0);
        hash
    };
    let count = 200_000;
    let mut filter = filter::Filter::new(usize::try_from(filter::lines_for(count)).unwrap());
    (0..count).for_each(|n| filter.insert(key(n)));
    assert!((0..count).all(|n| filter.may_hold(&filter::Question::new(key(n)))));
    let asked = 1_000_000;
    let passed = (count..count + asked).filter(|n| filter.may_hold(&filter::Question::new(key(*n)))).count();
    println!("{passed} of {asked} pass");
    assert!((500..1500).contains(&passed), "{passed} of a million");
}
