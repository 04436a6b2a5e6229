//! One event is read back from a journal that goes on.

use super::*;
use crate::disk::Disk;
use crate::kanban::journal::lookup;

fn id(disk: &Memory, seq: u64, durable: u64) -> Option<String> {
    let shared: Arc<dyn Disk> = disk.shared();
    match lookup::event(&shared, Path::new(DIR), Seq(seq), Seq(durable)).unwrap()? {
        Kind::Signal(signal) => Some(signal.id().to_owned()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_event_is_found_under_its_number_and_no_other_is() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 1024);
    let mut ids = Vec::new();
    for frame in 0..30 {
        let names: Vec<String> = (0..=frame % 3).map(|number| format!("s-{frame}-{number}")).collect();
        append(&mut writer, &names.iter().map(String::as_str).collect::<Vec<_>>());
        ids.extend(names);
    }
    let last = ids.len() as u64;
    for (name, seq) in ids.iter().zip(1..) {
        assert_eq!(id(&disk, seq, last).as_deref(), Some(name.as_str()), "{seq}");
        assert_eq!(id(&disk, seq, seq - 1), None, "{seq} is not durable yet");
    }
    assert_eq!(
        (id(&disk, 0, last), id(&disk, last + 1, last), id(&disk, u64::MAX, u64::MAX - 1)),
        (None, None, None)
    );

    // What was given back is gone, also where its file is a segment again.
    let oldest = scan::segments(&*disk.shared(), Path::new(DIR)).unwrap();
    assert!(oldest.len() > 3, "{oldest:?}");
    writer.release(Seq(oldest[2].first.0 - 1)).unwrap();
    for _ in 0..2 {
        let last = writer.last().0;
        for seq in 1..=last {
            let is_kept = seq >= oldest[2].first.0;
            assert_eq!(id(&disk, seq, last).is_some(), is_kept, "{seq}");
        }
        for number in 0..20 {
            append(&mut writer, &[&format!("later-{number}")]);
        }
    }
}

#[test]
fn numbers_that_a_crash_left_out_are_nobodys() {
    let disk = Memory::default();
    append(&mut reopen(&disk, 4096), &["before"]);
    let mut writer = reopen(&disk, 4096);
    append(&mut writer, &["after"]);
    let after = 2 + FRAME_EVENTS_MAX as u64;
    assert_eq!(
        (id(&disk, 1, after).as_deref(), id(&disk, after, after).as_deref()),
        (Some("before"), Some("after"))
    );
    for seq in [2, 3, after - 1] {
        assert_eq!(id(&disk, seq, after), None);
    }
}
