//! The inner loops of a shard: a step, the stored form, the timers. Times are for [`BATCH`] of them, with the
//! drafts' end; divan's items column divides.

use divan::Bencher;
use divan::counter::ItemsCount;
use gemba::event::{ActionId, Event, Kind, Outcome, Seq, Subject, TimerKind, UnixMillis};
use gemba::jidoka::governor::{Arm, Effects, Governor};
use gemba::jidoka::rules::Rules;
use gemba::jidoka::timers::Timers;
use gemba::signal::{Assurance, Fingerprint, Provenance, Severity, Signal, Text};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 1000;

fn main() {
    println!(
        "size_of Governor {} B, Signal {} B, Event {} B, Draft {} B",
        size_of::<Governor>(),
        size_of::<Signal>(),
        size_of::<Event>(),
        size_of::<gemba::receipt::Draft>()
    );
    divan::main();
}

fn subject() -> Subject {
    Subject { tenant: "tenant-000".into(), sku: "sku-00".into() }
}

fn rules() -> Rules {
    let log_types = ["act.now", "cost.budget", "permission.grant"].map(Into::into);
    Rules { log_types: log_types.into_iter().collect(), quota: u32::MAX, ..Rules::default() }
}

/// About 280 bytes; all names are spans.
fn signal(kind: &str, provenance: &'static Provenance) -> Signal {
    let mut text =
        format!(r#"{{"id":"0000000000000001","tenant":"tenant-000","sku":"sku-00","type":"{kind}","#);
    text.push_str(&" ".repeat(200));
    let span = |part: &str| {
        let at = text.find(&format!("\"{part}\"")).unwrap_or_default() + 1;
        Text::Span {
            at: u32::try_from(at).unwrap_or_default(),
            len: u8::try_from(part.len()).unwrap_or_default(),
        }
    };
    Signal {
        id: span("0000000000000001"),
        tenant: span("tenant-000"),
        sku: span("sku-00"),
        kind: span(kind),
        severity: Severity::Info,
        provenance,
        identity: Fingerprint([7; 16]),
        digest: 42,
        body: text.into(),
    }
}

fn governor(rules: &Rules) -> Governor {
    Governor::new(&subject(), Seq(1), UnixMillis(1), rules, &mut Effects::default())
}

/// A batch of this signal, a million numbers apart from the next batch.
fn events(kind: &str, batch: u64) -> Vec<Event> {
    let signal = signal(kind, Provenance::intern("signals", "k1", Assurance::C));
    let stamp = |n| Event {
        seq: Seq(batch * 1_000_000 + n * 2 + 1),
        time: UnixMillis(batch),
        kind: Kind::Signal(signal.clone()),
    };
    (0..BATCH).map(stamp).collect()
}

#[divan::bench]
fn step_observe(bencher: Bencher) {
    let rules = rules();
    let (mut governor, mut effects, mut batch) = (governor(&rules), Effects::default(), 0);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            batch += 1;
            events("cost.usage", batch)
        })
        .bench_local_values(|events| {
            for event in events {
                governor.step(event, &rules, &mut effects);
            }
            effects.clear();
        });
}

#[divan::bench]
fn step_act_and_outcome(bencher: Bencher) {
    let rules = rules();
    let (mut governor, mut effects, mut batch) = (governor(&rules), Effects::default(), 0);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            batch += 1;
            events("act.now", batch)
        })
        .bench_local_values(|events| {
            for event in events {
                let (seq, time) = (event.seq.next(), event.time);
                let action = ActionId(event.seq);
                governor.step(event, &rules, &mut effects);
                let outcome = Outcome { subject: subject(), action, result: Ok(()), maybe_twice: false };
                governor.step(
                    Event { seq, time, kind: Kind::Outcome(Box::new(outcome)) },
                    &rules,
                    &mut effects,
                );
            }
            effects.clear();
        });
}

#[divan::bench(args = [0, 1, 100])]
fn encode(bencher: Bencher, waiting: usize) {
    let governor = with_waiting(waiting);
    let mut out = Vec::new();
    bencher.bench_local(|| {
        out.clear();
        governor.encode(&mut out);
        out.len()
    });
}

#[divan::bench(args = [0, 1, 100])]
fn decode(bencher: Bencher, waiting: usize) {
    let mut bytes = Vec::new();
    with_waiting(waiting).encode(&mut bytes);
    bencher.bench_local(|| Governor::decode(&bytes).is_ok());
}

/// Idle, or with an action out and so many signals behind it.
fn with_waiting(waiting: usize) -> Governor {
    let rules = rules();
    let mut governor = governor(&rules);
    if waiting > 0 {
        for event in events("act.now", 1).into_iter().take(waiting + 1) {
            governor.step(event, &rules, &mut Effects::default());
        }
    }
    governor
}

#[divan::bench(args = [1_000, 100_000])]
fn timers_arm_again(bencher: Bencher, governors: u64) {
    let mut timers = Timers::default();
    let arm = |n: u64| Arm {
        subject: Subject { tenant: "tenant-000".into(), sku: format!("sku-{}", n % governors).into() },
        kind: TimerKind::ActionDeadline,
        armed: Seq(n),
        due: UnixMillis(n),
    };
    (0..governors).for_each(|n| timers.arm(arm(n)));
    let mut next = governors;
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            next += BATCH;
            (next..next + BATCH).map(arm).collect::<Vec<_>>()
        })
        .bench_local_values(|arms| arms.into_iter().for_each(|arm| timers.arm(arm)));
}
