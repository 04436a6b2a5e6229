//! A damaged journal recovers to a beginning of what was written, or is refused; and what one recovery made of it,
//! the next one finds.
//!
//! The text tells what happens to a journal of several segments: `closed` or `crashed` first, then one edit a line.
//!
//! ```text
//! set SEGMENT OFFSET BYTE | zero SEGMENT OFFSET LENGTH | copy SEGMENT FROM TO LENGTH | move SEGMENT FROM OTHER TO LENGTH
//! cut SEGMENT LENGTH      | drop SEGMENT
//! ```
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use gemba::disk::Disk;
use gemba::event::{Kind, Seq, Subject, Timer, TimerKind, UnixMillis};
use gemba::kanban::journal::record::Decoder;
use gemba::kanban::journal::segment::path;
use gemba::kanban::journal::{Damage, End, Spares, Writer, scan};
use gemba_fuzz::memory::MemoryDisk;
use libfuzzer_sys::fuzz_target;

const DIR: &str = "/journal";
const SEGMENT_BYTES: u64 = 1024;
const FRAMES: u64 = 24;
const EDITS: usize = 16;

/// A journal that ended in order, and one whose writer was killed after its last sync.
static WRITTEN: LazyLock<[MemoryDisk; 2]> = LazyLock::new(|| [written(true), written(false)]);

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let closed = match lines.next() {
        Some("closed") => true,
        Some("crashed") => false,
        _ => return,
    };
    let untouched = &WRITTEN[usize::from(!closed)];
    let (all, _) = events(untouched).expect("the untouched journal is whole");
    let disk = untouched.copied();
    let edits: Vec<Vec<&str>> = lines.take(EDITS).map(|line| line.split(' ').collect()).collect();
    for edit in &edits {
        change(&disk, edit);
    }

    let Ok((found, end)) = events(&disk) else { return };
    if disk.open(&path(Path::new(DIR), 0)).is_ok() {
        assert_eq!(found, all[..found.len()], "a beginning");
    } else {
        // Old segments are given back, so a journal may begin later.
        assert!(found.is_empty() || all.windows(found.len()).any(|run| run == found), "a run");
    }
    if let [edit] = &edits[..]
        && edit[0] == "set"
    {
        // One damaged frame: the last one alone may look torn, and only where nothing vouches for it.
        let kept = all.len() - if closed { 0 } else { events_in_frame(FRAMES - 1) };
        assert!(found.len() >= kept, "{} of {}", found.len(), all.len());
    }

    let last = end.last;
    let mut writer = open(&disk, end);
    let again = events(&disk).expect("what was recovered is whole").0;
    assert_eq!(again, found, "a second recovery agrees");
    writer.begin(UnixMillis(1));
    let seq = append(&mut writer, 777);
    assert!(seq > last);
    writer.write().expect("memory takes it");
    writer.sync().expect("memory takes it");
    writer.close().expect("memory takes it");
    let (after, end) = events(&disk).expect("what was continued is whole");
    assert_eq!(after.split_last(), Some((&(seq, 777), &found[..])));
    assert!(end.closed && end.last == seq);
});

/// The number of each event, and the number inside it.
fn events(disk: &MemoryDisk) -> Result<(Vec<(Seq, u64)>, End), Damage> {
    let mut events = Vec::new();
    let end = scan::<Damage>(disk, Path::new(DIR), |header, records, path, offset| {
        let damaged = |why| Damage::Record { path: path.to_owned(), offset, why };
        let mut decoder = Decoder::new(records);
        let mut seq = header.first;
        while let Some(kind) = decoder.next_kind().map_err(damaged)? {
            let Kind::Timer(timer) = kind else { panic!("only timers were written") };
            events.push((seq, timer.armed.0));
            seq = seq.next();
        }
        assert_eq!(seq.0, header.first.0 + u64::from(header.count));
        Ok(())
    })?;
    Ok((events, end))
}

fn open(disk: &MemoryDisk, end: End) -> Writer {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let dir = Path::new(DIR);
    let spares = Spares::open(Arc::clone(&shared), dir, SEGMENT_BYTES, false).expect("memory opens");
    Writer::open(shared, dir, SEGMENT_BYTES, spares, end, UnixMillis(1)).expect("memory takes it")
}

fn append(writer: &mut Writer, number: u64) -> Seq {
    let subject = Subject::read("acme", "vm").unwrap();
    writer.append(&Kind::Timer(Box::new(Timer { subject, kind: TimerKind::Boot, armed: Seq(number) })))
}

/// Frames differ in length.
fn events_in_frame(frame: u64) -> usize {
    usize::try_from(1 + frame % 5).unwrap_or(1)
}

fn written(closed: bool) -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (_, end) = events(&disk).expect("an empty journal is whole");
    let mut writer = open(&disk, end);
    for frame in 0..FRAMES {
        writer.begin(UnixMillis(frame));
        for event in 0..events_in_frame(frame) {
            append(&mut writer, frame * 100 + event as u64);
        }
        writer.write().expect("memory takes it");
        writer.sync().expect("memory takes it");
    }
    if closed {
        writer.close().expect("memory takes it");
    }
    disk
}

fn change(disk: &MemoryDisk, edit: &[&str]) {
    let number = |at: usize| edit.get(at).and_then(|text| text.parse::<u32>().ok()).map_or(0, |n| n as usize);
    let file = |at: usize| path(Path::new(DIR), number(at) as u64);
    let bytes = |segment: usize, from: usize, len: usize| {
        let mut piece = Vec::new();
        disk.edit(&file(segment), |content| {
            let from = from.min(content.len());
            piece = content[from..content.len().min(from + len)].to_vec();
        });
        piece
    };
    let put = |segment: usize, at: usize, piece: &[u8]| {
        disk.edit(&file(segment), |content| {
            let room = content.get_mut(at..).unwrap_or_default();
            let len = room.len().min(piece.len());
            room[..len].copy_from_slice(&piece[..len]);
        });
    };
    match edit.first() {
        Some(&"set") => put(1, number(2), &[number(3).to_le_bytes()[0]]),
        Some(&"zero") => put(1, number(2), &vec![0; number(3).min(4096)]),
        Some(&"copy") => put(1, number(3), &bytes(1, number(2), number(4).min(4096))),
        Some(&"move") => put(3, number(4), &bytes(1, number(2), number(5).min(4096))),
        Some(&"cut") => disk.edit(&file(1), |content| content.truncate(number(2))),
        Some(&"drop") => drop(disk.remove(&file(1))),
        _ => {}
    }
}
