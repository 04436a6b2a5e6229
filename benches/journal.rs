//! What the journal does for each event, and for each frame of them.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use gemba::disk::{Disk, RealDisk};
use gemba::event::{Epoch, Kind, Seq, UnixMillis};
use gemba::framed_log::{FrameOffset, FrameSeed, Header as _};
use gemba::kanban::journal::frame::{HEADER_BYTES, Header};
use gemba::kanban::journal::record::{Decoder, Encoder};
use gemba::kanban::journal::{Damage, Spares, Writer, scan};
use gemba::signal::{Assurance, Provenance, Severity, Signal, Text, Unchecked};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events in one frame of a busy line.
const FRAME: u64 = 1000;
const PLACE: FrameOffset = FrameOffset { segment: 3, offset: 4096 };
const SEED: FrameSeed = FrameSeed::from_bytes([7; FrameSeed::BYTES]);

fn main() {
    divan::main();
}

/// About 330 bytes; all names are spans.
fn signal(n: u64) -> Signal {
    let mut text =
        format!(r#"{{"id":"{n:016}","tenant":"tenant-042","sku":"compute-standard","type":"cost.usage","#);
    text.push_str(&" ".repeat(330 - text.len()));
    let provenance = Provenance::intern("signals", "k1", Assurance::C).unwrap();
    Unchecked {
        id: Text::Span { at: 7, len: 16 },
        tenant: Text::Span { at: 35, len: 10 },
        sku: Text::Span { at: 54, len: 16 },
        kind: Text::Span { at: 80, len: 10 },
        severity: Severity::Info,
        provenance,
        digest: n,
        body: text.into(),
    }
    .check()
    .unwrap()
}

fn encoded(signals: &[Signal], out: &mut Vec<u8>) {
    let mut encoder = Encoder::default();
    for signal in signals {
        encoder.signal(out, signal);
    }
}

fn header() -> Header {
    Header {
        crc: 0,
        before: 7,
        epoch: Epoch(1),
        length: 0,
        count: u32::try_from(FRAME).unwrap(),
        first: Seq(1),
        time: UnixMillis(1),
    }
}

#[divan::bench]
fn encode(bencher: Bencher) {
    let signals: Vec<Signal> = (0..FRAME).map(signal).collect();
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        out.clear();
        encoded(black_box(&signals), &mut out);
        out.len()
    });
}

#[divan::bench]
fn decode(bencher: Bencher) {
    let signals: Vec<Signal> = (0..FRAME).map(signal).collect();
    let mut out = Vec::new();
    encoded(&signals, &mut out);
    let records = Bytes::from(out);
    bencher.counter(ItemsCount::new(FRAME)).bench_local(|| {
        let mut decoder = Decoder::new(records.clone());
        let mut count = 0;
        while let Ok(Some(kind)) = decoder.next_kind() {
            black_box(&kind);
            count += 1;
        }
        count
    });
}

#[divan::bench(args = [1, 1000])]
fn frame_seal(bencher: Bencher, events: u64) {
    let signals: Vec<Signal> = (0..events).map(signal).collect();
    let mut frame = vec![0; HEADER_BYTES];
    encoded(&signals, &mut frame);
    bencher.counter(BytesCount::new(frame.len())).bench_local(|| header().seal(&mut frame, PLACE, SEED));
}

fn open(disk: &Arc<dyn Disk>, dir: &Path) -> Writer {
    const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
    let end = scan::<Damage>(&**disk, dir, |_, _, _, _| Ok(())).unwrap();
    let spares = Spares::open(Arc::clone(disk), dir, SEGMENT_BYTES, false).unwrap();
    Writer::open(Arc::clone(disk), dir, SEGMENT_BYTES, spares, end, UnixMillis(1)).unwrap()
}

/// One frame into a real file, with its sync.
#[divan::bench(args = [1, 100, 1000], sample_count = 200, sample_size = 1)]
fn write_and_sync(bencher: Bencher, events: u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut writer = open(&disk, dir.path());
    let events: Vec<Kind> = (0..events).map(|n| Kind::Signal(signal(n))).collect();
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| {
        writer.begin(UnixMillis(1));
        for event in &events {
            writer.append(event);
        }
        writer.write().unwrap();
        writer.sync().unwrap();
    });
}

/// Reads a journal of 200,000 signals from its files (cached by the system), as a start does.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn replay(bencher: Bencher) {
    const FRAMES: u64 = 200;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut writer = open(&disk, dir.path());
    let events: Vec<Kind> = (0..FRAME).map(|n| Kind::Signal(signal(n))).collect();
    for _ in 0..FRAMES {
        writer.begin(UnixMillis(1));
        for event in &events {
            writer.append(event);
        }
        writer.write().unwrap();
        writer.sync().unwrap();
    }
    writer.close().unwrap();
    bencher.counter(ItemsCount::new(FRAMES * FRAME)).bench_local(|| {
        let (mut provenance, mut signals) = (None, 0);
        scan::<Damage>(&*disk, dir.path(), |_, records, path, offset| {
            let mut decoder = Decoder::new(records).after(provenance);
            let damage = |why| Damage::Record { path: path.to_owned(), offset, why };
            while let Some(kind) = decoder.next_kind().map_err(damage)? {
                signals += u64::from(matches!(black_box(kind), Kind::Signal(_)));
            }
            provenance = decoder.provenance();
            Ok(())
        })
        .unwrap();
        assert_eq!(signals, FRAMES * FRAME);
    });
}
