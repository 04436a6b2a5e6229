//! Fills the memory of identities as fast as it takes them and says what the journal's thread felt of it.
//!
//! `cargo run --release --example identities -- <directory> [millions] [thousands a second]`
#![expect(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a measurement that cannot go on stops")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gemba::disk::RealDisk;
use gemba::event::{Seq, UnixMillis};
use gemba::kanban::dedup::{Background, Dedup, Known, Settings};
use gemba::signal::Fingerprint;
use xxhash_rust::xxh3::xxh3_128;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Signals in one turn of the journal.
const TURN: u64 = 1000;

fn identity(n: u64) -> Fingerprint {
    Fingerprint(xxh3_128(&n.to_le_bytes()).to_be_bytes())
}

/// Resident memory now and at its highest, in mebibytes.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    };
    (line("VmRSS:"), line("VmHWM:"))
}

/// Time that this thread was on a core.
fn spent_cpu() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap()
}

fn open(dir: &Path) -> Dedup {
    let settings = Settings { capacity: 2_000_000, horizon_millis: 96 * 3_600_000 };
    Dedup::open(Arc::new(RealDisk), dir, settings, Background::Thread).unwrap()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap();
    let mut number = |default| arguments.next().map_or(default, |text| text.parse::<u64>().unwrap());
    let (count, rate) = (number(20) * 1_000_000, number(0) * 1000);
    let dir = Path::new(&dir);
    let mut dedup = open(dir);
    dedup.begin_after(Seq(1)).unwrap();

    let (begun, mut shed) = (Instant::now(), Duration::ZERO);
    let (mut turns, mut cpu) = (Vec::new(), Duration::ZERO);
    let mut n = 0;
    while n < count {
        let now = Instant::now();
        let due = ((n + TURN) * 1_000_000).checked_div(rate).unwrap_or(0);
        if let Some(early) = Duration::from_micros(due).checked_sub(begun.elapsed()) {
            std::thread::sleep(early);
        }
        let (turn, spent) = (Instant::now(), spent_cpu());
        dedup.turn(Seq(n), UnixMillis(1 + n / 1000)).unwrap();
        if dedup.is_full(usize::try_from(TURN).unwrap()) {
            std::thread::sleep(Duration::from_millis(1));
            shed += now.elapsed();
            continue;
        }
        for n in n..n + TURN {
            assert_eq!(dedup.look(&identity(n), n).unwrap(), Known::Fresh);
            dedup.insert(identity(n), n, Seq(n + 1), UnixMillis(1 + n / 1000));
        }
        turns.push(turn.elapsed());
        cpu = cpu.max(spent_cpu().saturating_sub(spent));
        n += TURN;
        if n.is_multiple_of(count / 10) {
            let (now, high) = resident();
            println!("{} M: {now} MiB resident, {high} MiB at most, {dedup:?}", n / 1_000_000);
        }
    }
    let taken = begun.elapsed();
    turns.sort_unstable();
    let of = |share: usize| turns[(turns.len() - 1) * share / 1000];
    println!(
        "{:.0} identities a second; shed for {shed:.1?} of {taken:.1?}",
        count as f64 / taken.as_secs_f64()
    );
    println!(
        "a turn of {TURN}: median {:?}, 99% {:?}, 99.9% {:?}, longest {:?}",
        of(500),
        of(990),
        of(999),
        of(1000)
    );
    println!("longest turn without what other threads took: {cpu:?}");

    for asked in (0..count).step_by(997) {
        assert_eq!(dedup.look(&identity(asked), asked).unwrap(), Known::Repeat { seq: Seq(asked + 1) });
    }
    drop(dedup);
    let begun = Instant::now();
    let dedup = open(dir);
    println!("opened in {:.1?}, archived through {}", begun.elapsed(), dedup.archived_through());
}
