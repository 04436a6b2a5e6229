//! A commit of 1,000 governors where 1,000,000 are kept, with its sync: the cost must follow the former.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::sync::atomic::{AtomicU64, Ordering};

use divan::Bencher;
use gemba::event::{Command, Event, Kind, Seq, Subject, UnixMillis, Verb};
use gemba::jidoka::governor::{Effects, Governor};
use gemba::jidoka::rules::Rules;
use gemba::jidoka::store::{Changes, Embedded, Kept, StateStore};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const DIRTY: u64 = 1000;

fn main() {
    divan::main();
}

fn governor(n: u64, seq: u64) -> Governor {
    let subject = Subject::read(&format!("tenant-{:03}", n % 1000), &format!("sku-{n}")).unwrap();
    let (rules, mut effects) = (Rules::default(), Effects::default());
    let mut governor = Governor::new(&subject, Seq(seq), UnixMillis(seq), &rules, &mut effects);
    let command = Command { subject, verb: Verb::Quota(7), actor: "root".into(), reason: "bench".into() };
    let event = Event { seq: Seq(seq), time: UnixMillis(seq), kind: Kind::Command(Box::new(command)) };
    governor.step(event, &rules, &mut effects);
    governor
}

/// Governors spread over all that are kept, so that no two commits touch the same ones in a row.
fn changes(kept: u64, seq: u64) -> Changes {
    let mut changes = Changes::default();
    for n in 0..DIRTY {
        changes.governor(&governor((n * 7919 + seq * 104_729) % kept, seq), &mut Kept::default());
    }
    changes
}

#[divan::bench(args = [1_000, 1_000_000], sample_count = 100, sample_size = 1)]
fn commit_1000(bencher: Bencher, kept: u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut store = Embedded::open(dir.path()).unwrap();
    let mut seq = 0;
    for first in (0..kept).step_by(50_000) {
        seq += 1;
        let mut changes = Changes::default();
        (first..kept.min(first + 50_000))
            .for_each(|n| changes.governor(&governor(n, seq), &mut Kept::default()));
        store.commit(&changes, Seq(seq)).unwrap();
    }
    let seq = AtomicU64::new(seq);
    bencher
        .with_inputs(|| {
            let seq = seq.fetch_add(1, Ordering::Relaxed) + 1;
            (changes(kept, seq), seq)
        })
        .bench_local_values(|(changes, seq)| store.commit(&changes, Seq(seq)).unwrap());
}
