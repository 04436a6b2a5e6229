//! Following the journal while it is written.

use super::*;
use crate::kanban::journal::Tail;

/// What `tail` reads up to `durable`.
fn follow(tail: &mut Tail, durable: Seq) -> Held {
    let mut held = Held::new();
    while let Some((header, records)) = tail.next(durable).unwrap() {
        assert!(header.last() <= durable, "nothing that is not durable is read");
        let mut decoder = Decoder::new(records);
        let mut seq = header.first;
        while let Some(kind) = decoder.next_kind().unwrap() {
            if let Kind::Signal(signal) = kind {
                held.push((seq, signal.id().to_owned()));
            }
            seq = seq.next();
        }
    }
    held
}

fn tail(disk: &Memory, after: Seq) -> Tail {
    Tail::open(disk.shared(), Path::new(DIR), after).unwrap()
}

proptest! {
    /// Frames of any size over many segments, seals and restarts between them, read in any steps.
    #[test]
    fn reads_what_is_durable_and_nothing_else(
        frames in prop::collection::vec((1usize..40, 0u8..8), 1..60), from: prop::sample::Index
    ) {
        let disk = Memory::default();
        let segment_bytes = 8192;
        let mut writer = reopen(&disk, segment_bytes);
        let mut follower = tail(&disk, Seq(0));
        let (mut seen, mut number) = (Held::new(), 0);
        for (signals, then) in frames {
            writer.begin(NOW);
            for _ in 0..signals {
                number += 1;
                writer.append(&Kind::Signal(named(&format!("id-{number}"))));
            }
            let durable = Seq(writer.last().0);
            writer.write().unwrap();
            // Written and not durable: not to be seen.
            seen.extend(follow(&mut follower, durable));
            writer.sync().unwrap();
            match then {
                0 => drop(writer.seal().unwrap()),
                1 => {
                    drop(writer);
                    writer = reopen(&disk, segment_bytes);
                }
                2 => {
                    writer.close().unwrap();
                    writer = reopen(&disk, segment_bytes);
                }
                3 => {}
                _ => seen.extend(follow(&mut follower, writer.last())),
            }
        }
        seen.extend(follow(&mut follower, writer.last()));
        let (_, whole) = read(&disk).unwrap();
        prop_assert_eq!(&seen, &whole);
        // And from any number on, whole frames.
        let after = from.get(&whole).0;
        let later = follow(&mut tail(&disk, after), writer.last());
        let wanted: Held = whole.iter().filter(|(seq, _)| *seq > after).cloned().collect();
        prop_assert!(later.ends_with(&wanted));
        prop_assert!(follow(&mut tail(&disk, writer.last()), writer.last()).len() <= 8192 / 40);
    }
}

#[test]
fn begins_with_the_oldest_segment_where_the_wanted_one_is_gone() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 4096);
    for number in 0..200 {
        append(&mut writer, &[&format!("id-{number}")]);
    }
    let gone = writer.release(Seq(100)).unwrap();
    assert!(gone > 0);
    let held = follow(&mut tail(&disk, Seq(0)), writer.last());
    assert!(held[0].0 > Seq(1) && held[0].0 <= Seq(101), "{:?}", held[0]);
    assert_eq!(held.last().unwrap().1, "id-199");
}

#[test]
fn rot_in_what_is_durable_is_told() {
    let disk = Memory::default();
    let mut writer = reopen(&disk, 1 << 20);
    append(&mut writer, &["a"]);
    append(&mut writer, &["b"]);
    let path = segment::path(Path::new(DIR), 0);
    disk.change(&path, |bytes| {
        let at = bytes.windows(8).position(|part| part == br#""id":"b""#).unwrap();
        bytes[at + 6] ^= 1;
    });
    let mut tail = tail(&disk, Seq(0));
    assert!(tail.next(writer.last()).unwrap().is_some());
    assert!(matches!(tail.next(writer.last()), Err(Damage::Interior { .. })));
}
