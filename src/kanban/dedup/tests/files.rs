//! Runs that are torn, rotten, missing, left over.

use super::*;

/// A memory disk with runs of the events 1–16, 17–32, 33–36, 37–40.
fn filled() -> Memory {
    let memory = Memory::default();
    fill(&mut open(&memory).unwrap(), 1..=42);
    assert_eq!(run_files(&memory).len(), 4);
    memory
}

fn path(after: u64, through: u64) -> PathBuf {
    build::path(Path::new(DIR), Seq(after), Seq(through))
}

/// Opens it with a journal that begins with event `first`, and replays that.
fn recover(memory: &Memory, first: u64) -> Result<Dedup, ArchiveError> {
    let mut dedup = open(memory)?;
    dedup.begin_after(Seq(first))?;
    for n in first..=42 {
        dedup.make_room(Seq(n - 1), at(n))?;
        dedup.insert(identity(n), n, Seq(n), at(n));
    }
    finish(&mut dedup, Seq(42), at(42));
    for n in 1..=42 {
        assert_eq!(dedup.look(&identity(n), n)?, Known::Repeat { seq: Seq(n) }, "{n}");
    }
    assert_eq!(dedup.look(&identity(43), 0)?, Known::Fresh);
    Ok(dedup)
}

#[test]
fn the_journal_may_begin_anywhere_before_the_end_of_the_archive() {
    for first in [1, 3, 17, 40, 41] {
        recover(&filled(), first).unwrap();
    }
    let error = recover(&filled(), 42).unwrap_err();
    assert!(error.to_string().contains("events from 41 to 42"), "{error}");
    assert!(error.hint().is_some());
}

/// Every byte of header, fence and filter is vouched for when a run is opened, every byte of its pages when it is read.
#[test]
fn rot_is_rebuilt_from_the_journal_or_refused_by_name() {
    let rotten = path(32, 36);
    let len = filled().file(&rotten).unwrap().0.lock().unwrap().len();
    assert_eq!(len, 2 * run::PAGE_BYTES + run::FENCE_BYTES + filter::LINE_BYTES);
    for place in (0..len).step_by(7).chain(len - 80..len) {
        let memory = filled();
        memory.change(&rotten, |bytes| bytes[place] ^= 0x10);
        if (run::PAGE_BYTES..2 * run::PAGE_BYTES).contains(&place) {
            let dedup = open(&memory).unwrap();
            let error = dedup.look(&identity(33), 33).unwrap_err();
            assert!(error.to_string().contains("0024.run: a page"), "{error}");
            continue;
        }
        let error = recover(&memory, 34).unwrap_err();
        assert!(error.to_string().contains("0024.run: "), "{place}: {error}");
        let dedup = recover(&memory, 33).unwrap();
        assert!(dedup.archived_through() >= Seq(36), "it is written anew");
    }
}

#[test]
fn a_run_of_another_version_is_refused_even_with_the_journal() {
    let memory = filled();
    memory.change(&path(0, 16), |bytes| {
        bytes[8] = 2;
        bytes[12..16].fill(0);
        let crc = crc32c::crc32c(&bytes[..run::PAGE_BYTES]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let error = recover(&memory, 1).unwrap_err();
    assert!(error.to_string().contains("format version 2"), "{error}");
}

#[test]
fn cut_and_missing_files_are_rebuilt_from_the_journal_or_refused() {
    for (after, through) in [(0, 16), (16, 32), (32, 36), (36, 40)] {
        for cut in [None, Some(0), Some(1), Some(4095), Some(5000)] {
            let memory = filled();
            match cut {
                Some(len) => memory.change(&path(after, through), |bytes| bytes.truncate(len)),
                None => memory.shared().remove(&path(after, through)).unwrap(),
            }
            if (after, cut) != (0, None) {
                assert!(recover(&memory, after + 2).is_err(), "{after} {cut:?}");
                recover(&memory, after + 1).unwrap();
                recover(&memory, 41).unwrap();
            }
        }
    }
}

#[test]
fn what_a_merge_or_a_cut_left_over_is_cleaned_up() {
    let memory = filled();
    let before = run_files(&memory);
    let copy = memory.file(&path(32, 36)).unwrap();
    for name in [path(0, 4), path(0, 8), path(4, 12), path(12, 16), path(28, 32)] {
        memory.0.lock().unwrap().insert(name, copy.clone());
    }
    memory.0.lock().unwrap().insert(path(40, 44).with_extension(build::UNFINISHED), copy.clone());
    recover(&memory, 41).unwrap();
    assert_eq!(run_files(&memory), before);
    assert!(files(&memory, build::UNFINISHED).is_empty());
}

#[test]
fn a_renamed_run_is_damage() {
    let memory = filled();
    memory.shared().rename(&path(36, 40), &path(36, 41)).unwrap();
    assert!(recover(&memory, 41).is_err());
    recover(&memory, 37).unwrap();
}

/// A page belongs to its run and to its place in it.
#[test]
fn a_page_of_elsewhere_is_damage() {
    let memory = filled();
    let other = memory.file(&path(32, 36)).unwrap().0.lock().unwrap().clone();
    let page = run::PAGE_BYTES..2 * run::PAGE_BYTES;
    memory.change(&path(36, 40), |bytes| bytes[page.clone()].copy_from_slice(&other[page.clone()]));
    assert!(open(&memory).unwrap().look(&identity(38), 0).is_err());
}

#[test]
fn many_pages_are_found_through_the_fence() {
    let memory = Memory::default();
    let settings = Settings { capacity: 40_000, horizon_millis: u64::MAX };
    let open = || Dedup::open(memory.shared(), Path::new(DIR), settings, Background::Inline).unwrap();
    let mut dedup = open();
    for n in 1..=45_000 {
        dedup.insert(identity(n), n, Seq(n), at(n));
        if n % 5000 == 0 {
            dedup.make_room(Seq(n), at(n)).unwrap();
        }
    }
    finish(&mut dedup, Seq(45_000), at(45_000));
    assert_eq!((dedup.archived_through(), run_files(&memory).len()), (Seq(40_000), 1));
    let mut reopened = open();
    reopened.begin_after(Seq(40_001)).unwrap();
    for n in 1..=40_000 {
        assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Repeat { seq: Seq(n) });
        assert_eq!(reopened.look(&identity(n), n).unwrap(), Known::Repeat { seq: Seq(n) });
    }
    for n in 45_001..=90_000 {
        assert_eq!(reopened.look(&identity(n), n).unwrap(), Known::Fresh);
    }
}
