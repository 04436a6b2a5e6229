//! What the memory of identities costs the journal's thread for each signal.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gemba::disk::RealDisk;
use gemba::event::{Seq, UnixMillis};
use gemba::kanban::dedup::{Background, Dedup, Settings};
use gemba::signal::Fingerprint;
use xxhash_rust::xxh3::xxh3_128;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Questions in one sample.
const ASKED: u64 = 1000;
/// Identities in one run.
const RUN: u64 = 1_000_000;

fn main() {
    divan::main();
}

/// As uniform as a SHA-256.
fn identity(n: u64) -> Fingerprint {
    Fingerprint(xxh3_128(&n.to_le_bytes()).to_be_bytes())
}

struct Remembered {
    dedup: Dedup,
    len: u64,
    _dir: tempfile::TempDir,
}

impl Remembered {
    /// So many runs of a million identities that are not merged, and half a block in memory.
    fn runs(runs: u64) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Each run reaches over the whole horizon, and no time passes: none is merged and none is forgotten.
        let settings = Settings { capacity: usize::try_from(4 * RUN).unwrap(), horizon_millis: 1 };
        let dedup = Dedup::open(Arc::new(RealDisk), dir.path(), settings, Background::Inline).unwrap();
        let len = runs * RUN + RUN / 2;
        let mut remembered = Self { dedup, len, _dir: dir };
        for n in 0..len {
            remembered.dedup.insert(identity(n), n, Seq(n + 1), UnixMillis(n));
            if n % RUN == 1 {
                remembered.dedup.make_room(Seq(n), UnixMillis(0)).unwrap();
                while remembered.dedup.archived_through() < Seq(n - 1) {
                    remembered.dedup.turn(Seq(n), UnixMillis(0)).unwrap();
                }
            }
        }
        remembered
    }

    fn ask(&self, bencher: Bencher, identities: impl Fn(u64) -> u64) {
        let mut next = 0;
        bencher
            .counter(ItemsCount::new(ASKED))
            .with_inputs(|| {
                next += ASKED;
                (next..next + ASKED).map(&identities).map(|n| (identity(n), n)).collect::<Vec<_>>()
            })
            .bench_local_values(|asked| {
                let known =
                    asked.iter().map(|(identity, digest)| self.dedup.look(identity, *digest).unwrap());
                known.map(black_box).count()
            });
    }
}

thread_local! {
    static MEMORY: Remembered = Remembered::runs(0);
    static RUNS: Remembered = Remembered::runs(20);
}

#[divan::bench]
fn hit_in_memory(bencher: Bencher) {
    MEMORY.with(|memory| memory.ask(bencher, |n| n * 7919 % memory.len));
}

#[divan::bench]
fn miss_in_memory(bencher: Bencher) {
    MEMORY.with(|memory| memory.ask(bencher, |n| memory.len + n));
}

/// The page is in the system's cache.
#[divan::bench]
fn hit_in_20_runs(bencher: Bencher) {
    RUNS.with(|runs| runs.ask(bencher, |n| n * 7919 % (20 * RUN)));
}

#[divan::bench]
fn miss_in_20_runs(bencher: Bencher) {
    RUNS.with(|runs| runs.ask(bencher, |n| runs.len + n));
}

#[divan::bench(sample_count = 400, sample_size = 1)]
fn insert(bencher: Bencher) {
    let mut remembered = Remembered::runs(0);
    let mut next = remembered.len;
    bencher
        .counter(ItemsCount::new(ASKED))
        .with_inputs(|| {
            next += ASKED;
            (next..next + ASKED).map(|n| (identity(n), n)).collect::<Vec<_>>()
        })
        .bench_local_values(|fresh| {
            for (identity, n) in fresh {
                remembered.dedup.insert(identity, n, Seq(n + 1), UnixMillis(n));
            }
        });
}
