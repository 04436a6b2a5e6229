//! The inner loops of a shard: a step, the stored form, the timers. Times are for [`BATCH`] of them, with the
//! drafts' end; divan's items column divides.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use divan::Bencher;
use divan::counter::ItemsCount;
use gemba::event::{ActionId, Event, JournalId, Kind, Outcome, Seq, Subject, TimerKind, UnixMillis};
use gemba::jidoka::governor::{ActionRequest, Arm, Effects, Governor};
use gemba::jidoka::policy::example::Expected;
use gemba::jidoka::policy::{Pack, Question, Room};
use gemba::jidoka::rules::{Rules, RulesSource};
use gemba::jidoka::timers::Timers;
use gemba::receipt::StateName;
use gemba::signal::{Assurance, Provenance, Severity, Signal, Text, Unchecked};

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
    Subject::read("tenant-000", "sku-00").unwrap()
}

/// One rule.
fn rules(types: &str, when: &str) -> Rules {
    let pack = format!(
        r#"
name = "bench"
[[rule]]
id = "one"
types = [{types}]
when = "{when}"
decide = "act"
action = "notify"
reason = "a bench"
"#
    );
    source().with_pack("bench.toml", &pack).compile().unwrap()
}

fn source() -> RulesSource {
    RulesSource { quota: u32::MAX, actions: vec!["notify".into()], ..RulesSource::default() }
}

fn acting() -> Rules {
    rules(r#""act.now", "cost.budget", "permission.grant""#, "true")
}

/// The packs that are shipped.
const SHIPPED: [(&str, &str); 4] = [
    ("cost_governance.toml", include_str!("../config/policies/cost_governance.toml")),
    ("permission_drift.toml", include_str!("../config/policies/permission_drift.toml")),
    ("change_management.toml", include_str!("../config/policies/change_management.toml")),
    ("compliance_audit.toml", include_str!("../config/policies/compliance_audit.toml")),
];

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
    Unchecked {
        id: span("0000000000000001"),
        tenant: span("tenant-000"),
        sku: span("sku-00"),
        kind: span(kind),
        severity: Severity::Info,
        provenance,
        digest: 42,
        body: text.into(),
    }
    .check()
    .unwrap()
}

fn governor(rules: &Rules) -> Governor {
    Governor::new(&subject(), Seq(1), UnixMillis(1), rules, &mut Effects::default())
}

/// A batch of this signal, a million numbers apart from the next batch.
fn events(kind: &str, batch: u64) -> Vec<Event> {
    batch_of(&[signal(kind, Provenance::intern("signals", "k1", Assurance::C).unwrap())], batch)
}

/// A batch of these signals, one after the other.
fn batch_of(signals: &[Signal], batch: u64) -> Vec<Event> {
    let stamp = |(n, signal): (u64, &Signal)| Event {
        seq: Seq(batch * 1_000_000 + n * 2 + 1),
        time: UnixMillis(batch),
        kind: Kind::Signal(signal.clone()),
    };
    (0..BATCH).zip(signals.iter().cycle()).map(stamp).collect()
}

/// About 330 bytes, as a cost meter sends them.
fn usage() -> Signal {
    let body = concat!(
        r#"{"specversion":"1.0","id":"7d9f2c1e-00000001","source":"/billing/meter","#,
        r#""type":"cost.usage","tenant":"tenant-000","sku":"sku-00","severity":"info","#,
        r#""time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json","#,
        r#""data":{"amount":12.75,"budget":1000,"currency":"EUR","spend":731.25,"hours":1,"#,
        r#""tags":["prod","eu-1"],"region":"eu-central-1"}}"#
    );
    let signal = signal("cost.usage", Provenance::intern("signals", "k1", Assurance::C).unwrap());
    let own = |text: &str| Text::Owned(text.into());
    Unchecked {
        id: own("7d9f2c1e-00000001"),
        tenant: own("tenant-000"),
        sku: own("sku-00"),
        kind: own("cost.usage"),
        body: body.into(),
        ..signal.into()
    }
    .check()
    .unwrap()
}

#[divan::bench]
fn step_observe(bencher: Bencher) {
    observe(
        bencher,
        &acting(),
        &[signal("cost.usage", Provenance::intern("signals", "k1", Assurance::C).unwrap())],
    );
}

/// One rule is tried, and does not hold.
#[divan::bench]
fn step_one_rule_observes(bencher: Bencher) {
    let rules = rules(r#""cost.usage""#, "signal.data.spend >= 0.8 * signal.data.budget");
    observe(bencher, &rules, &[usage()]);
}

fn observe(bencher: Bencher, rules: &Rules, signals: &[Signal]) {
    let (mut governor, mut effects, mut batch) = (governor(rules), Effects::default(), 0);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            batch += 1;
            batch_of(signals, batch)
        })
        .bench_local_values(|events| {
            for event in events {
                governor.step(event, rules, &mut effects);
            }
            assert!(effects.requests.is_empty());
            effects.clear();
        });
}

/// All that is shipped, over the signals beside its rules: all of them, or those of which nothing comes. What acts has
/// its outcome at once.
#[divan::bench(args = ["all", "observed"])]
fn step_shipped_packs(bencher: Bencher, which: &str) {
    let source = SHIPPED.iter().fold(source(), |source, (file, text)| source.with_pack(file, text));
    let rules = source.compile().unwrap();
    let packs = SHIPPED.iter().map(|(file, text)| Pack::parse(file, text).unwrap());
    let examples = packs.flat_map(|pack| pack.rules).flat_map(|rule| rule.examples);
    let last = examples.filter_map(|mut example| example.steps.pop());
    let wanted = last.filter(|step| which == "all" || step.expect == Some(Expected::Observe));
    let signals: Vec<Signal> = wanted.map(|step| step.signal).collect();
    let subject = Subject::read("example", "example").unwrap();
    let new = || Governor::new(&subject, Seq(1), UnixMillis(1), &rules, &mut Effects::default());
    let (mut governor, mut effects, mut batch) = (new(), Effects::default(), 0);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            batch += 1;
            batch_of(&signals, batch)
        })
        .bench_local_values(|events| {
            for event in events {
                let (seq, time) = (event.seq, event.time);
                governor.step(event, &rules, &mut effects);
                if let Some(ActionRequest { intent, .. }) = effects.requests.pop() {
                    governor.step(outcome(&subject, intent.action, seq.next(), time), &rules, &mut effects);
                }
            }
            effects.clear();
        });
}

/// The rules alone, facts and memories included.
#[divan::bench]
fn decide_shipped_packs(bencher: Bencher) {
    let source = SHIPPED.iter().fold(source(), |source, (file, text)| source.with_pack(file, text));
    let rules = source.compile().unwrap();
    let packs = SHIPPED.iter().map(|(file, text)| Pack::parse(file, text).unwrap());
    let examples = packs.flat_map(|pack| pack.rules).flat_map(|rule| rule.examples);
    let signals: Vec<Signal> =
        examples.filter_map(|mut example| example.steps.pop()).map(|step| step.signal).collect();
    let (mut memory, mut room) = (None, Room::default());
    bencher.counter(ItemsCount::new(signals.len())).bench_local(|| {
        for signal in &signals {
            let question = Question {
                signal,
                now: UnixMillis(1_767_787_200_000),
                state: StateName::Stable,
                entitled: true,
                quota_remaining: 1000,
                testing: false,
                failures: 0,
                open: &[],
            };
            let _decided =
                divan::black_box(rules.policies.of("acme").decide(&question, &mut memory, &mut room));
        }
    });
}

fn outcome(subject: &Subject, action: ActionId, seq: Seq, time: UnixMillis) -> Event {
    let outcome = Outcome {
        subject: subject.clone(),
        action,
        by: None,
        result: Ok(()),
        maybe_twice: false,
        tries: None,
    };
    Event { seq, time, kind: Kind::Outcome(Box::new(outcome)) }
}

#[divan::bench]
fn step_act_and_outcome(bencher: Bencher) {
    let rules = acting();
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
                let action = ActionId { journal: JournalId(0), seq: event.seq };
                governor.step(event, &rules, &mut effects);
                governor.step(outcome(&subject(), action, seq, time), &rules, &mut effects);
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
    let rules = acting();
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
        subject: Subject::read("tenant-000", &format!("sku-{}", n % governors)).unwrap(),
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
