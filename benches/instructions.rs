//! Instructions of the inner loops, each run [`TIMES`] times: a number that does not depend on the day, so that a
//! change of one in a thousand shows. Time is measured by the other benches.
//!
//! Needs valgrind, and the runner of the same version as the crate:
//!
//! ```text
//! cargo install gungraun-runner --version 0.20.0 --locked
//! cargo bench --bench instructions
//! cargo bench --bench instructions -- --save-baseline=main     # and later: --baseline=main
//! ```
//!
//! Valgrind knows neither SHA-NI nor AVX-512, so the hashes take other ways through aws-lc than in life: compare
//! counts with counts only. `hash_alone` says how many of a count are such.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::hint::black_box;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use bytes::Bytes;
use gemba::disk::{Disk, RealDisk};
use gemba::event::{Event, Feed, Kind, Note, Seq, Subject, UnixMillis};
use gemba::jidoka::governor::ActionRequest;
use gemba::jidoka::governor::{Effects, Governor};
use gemba::jidoka::ownership::PartitionOwnership;
use gemba::jidoka::rules::{Compiled, Rules, RulesSource};
use gemba::jidoka::stage::{Lanes, Marks, Stage};
use gemba::jidoka::store::Commit;
use gemba::jidoka::tap::{Spout, Taps};
use gemba::kaizen::Collector;
use gemba::kanban::dedup::{Background, Dedup, Settings};
use gemba::kanban::journal::{Damage, Spares, Writer, scan};
use gemba::proof::tree::{Tree, leaf_hash};
use gemba::receipt::Draft;
use gemba::receipt::canonical::{Fields, context, store};
use gemba::receipt::commitment::receipt_entry;
use gemba::ring::{Bell, Current, Mark, Receiver, Updates, WeighedSender, lane, weighed_lane};
use gemba::sharing::{HeldPartitions, RowCut, Shared};
use gemba::signal::{Fixed, Form, Signal, Signals, parse};
use gemba::signature::{Keyring, Scheme, Verified};
use gemba::tapped::TapFilter;
use gungraun::{library_benchmark, library_benchmark_group, main};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

const TIMES: u64 = 100;
const NOW: u64 = 1_700_000_000;

/// About 330 bytes, as a cost meter sends them.
fn text(n: u64) -> String {
    format!(
        concat!(
            r#"{{"specversion":"1.0","id":"7d9f2c1e-{:08x}","source":"/billing/meter","#,
            r#""type":"cost.usage","tenant":"tenant-042","sku":"compute-standard","severity":"info","#,
            r#""time":"2026-01-02T03:04:05.678Z","datacontenttype":"application/json","#,
            r#""data":{{"amount":12.75,"budget":1000,"currency":"EUR","spend":731.25,"hours":{},"tags":["prod","eu-1"]}}}}"#
        ),
        n,
        n % 24
    )
}

struct Request {
    keyring: Keyring,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    fn new(scheme: Scheme) -> Self {
        let secret: &[u8] = match scheme {
            Scheme::Hmac => b"a secret of 28 bytes, enough",
            Scheme::StandardWebhooks => b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        };
        let keyring = Keyring::new("signals", scheme, &[("k1", secret)], 300).unwrap();
        let body = Bytes::from(text(1));
        let signed = keyring.sign(&body, "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW);
        let header = |(name, value): (&'static str, String)| {
            (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
        };
        Self { headers: signed.into_iter().map(header).collect(), keyring, body }
    }

    fn verified(&self) -> Verified {
        self.keyring.verify(black_box(&self.headers), self.body.clone(), NOW).unwrap()
    }
}

#[library_benchmark]
#[bench::hmac(Request::new(Scheme::Hmac))]
#[bench::standard_webhooks(Request::new(Scheme::StandardWebhooks))]
fn verify(request: Request) -> Request {
    for _ in 0..TIMES {
        black_box(request.verified());
    }
    request
}

fn verified() -> Vec<Verified> {
    let request = Request::new(Scheme::Hmac);
    (0..TIMES).map(|_| request.verified()).collect()
}

#[library_benchmark]
#[bench::single(verified())]
fn parse_signal(bodies: Vec<Verified>) -> Vec<Signals> {
    let fixed = Fixed::default();
    bodies.into_iter().map(|verified| parse(verified, Form::Single, &fixed).unwrap()).collect()
}

fn signals() -> Vec<Signal> {
    let one = |n| {
        let keyring = Request::new(Scheme::Hmac).keyring;
        let body = Bytes::from(text(n));
        let signature = keyring.sign(&body, "", NOW).remove(0).1;
        let value = HeaderValue::from_str(&signature).unwrap();
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-signature"), value)]);
        let verified = keyring.verify(&headers, body, NOW).unwrap();
        match parse(verified, Form::Single, &Fixed::default()) {
            Ok(Signals::One(signal)) => signal,
            other => panic!("{other:?}"),
        }
    };
    (0..TIMES).map(one).collect()
}

fn remembered() -> (tempfile::TempDir, Dedup, Vec<Signal>) {
    let settings = Settings { capacity: 1_000_000, horizon_millis: u64::MAX };
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dedup = Dedup::open(Arc::new(RealDisk), dir.path(), settings, Background::Inline).unwrap();
    (dir, dedup, signals())
}

// Asked and remembered, as for a fresh signal.
#[library_benchmark]
#[bench::fresh(remembered())]
fn dedup(
    (dir, mut dedup, signals): (tempfile::TempDir, Dedup, Vec<Signal>),
) -> (tempfile::TempDir, Dedup, Vec<Signal>) {
    for (signal, seq) in signals.iter().zip(1..) {
        black_box(dedup.look(&signal.identity, signal.digest).unwrap());
        dedup.insert(signal.identity, signal.digest, Seq(seq), UnixMillis(1));
    }
    (dir, dedup, signals)
}

fn journal() -> (tempfile::TempDir, Writer, Vec<Kind>) {
    const SEGMENT_BYTES: u64 = 1024 * 1024;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let end = scan::<Damage>(&*disk, dir.path(), |_, _, _, _| Ok(())).unwrap();
    let spares = Spares::open(Arc::clone(&disk), dir.path(), SEGMENT_BYTES, false).unwrap();
    let writer = Writer::open(disk, dir.path(), SEGMENT_BYTES, spares, end, UnixMillis(1)).unwrap();
    (dir, writer, signals().into_iter().map(Kind::Signal).collect())
}

// One frame of all of them, written and not synced.
#[library_benchmark]
#[bench::frame(journal())]
fn journal_append(
    (dir, mut writer, events): (tempfile::TempDir, Writer, Vec<Kind>),
) -> (tempfile::TempDir, Writer, Vec<Kind>) {
    writer.begin(UnixMillis(2));
    for event in &events {
        black_box(writer.append(event));
    }
    writer.write().unwrap();
    (dir, writer, events)
}

struct Shard {
    governor: Governor,
    rules: Rules,
    effects: Effects,
    events: Vec<Event>,
}

const ACTS: &str = r#"
name = "bench"
[[rule]]
id = "one"
types = ["cost.usage"]
when = "true"
decide = "act"
action = "notify"
reason = "a bench"
"#;

fn shard(acts: bool) -> Shard {
    let source = RulesSource { quota: u32::MAX, actions: vec!["notify".into()], ..RulesSource::default() };
    let source = if acts { source.with_pack("bench.toml", ACTS) } else { source };
    let rules = source.compile().unwrap();
    let subject = Subject::read("tenant-042", "compute-standard").unwrap();
    let mut effects = Effects::default();
    let governor = Governor::new(&subject, Seq(1), UnixMillis(1), &rules, &mut effects);
    let event = |(signal, seq)| Event { seq: Seq(seq), time: UnixMillis(2), kind: Kind::Signal(signal) };
    Shard { governor, rules, effects, events: signals().into_iter().zip(2..).map(event).collect() }
}

// `act`: the first acts, the others wait in the mailbox.
#[library_benchmark]
#[bench::observe(shard(false))]
#[bench::act_and_wait(shard(true))]
fn step(mut shard: Shard) -> Shard {
    for event in std::mem::take(&mut shard.events) {
        shard.governor.step(event, &shard.rules, &mut shard.effects);
    }
    shard
}

fn drafts() -> Vec<Draft> {
    let mut shard = shard(false);
    for event in std::mem::take(&mut shard.events) {
        shard.governor.step(event, &shard.rules, &mut shard.effects);
    }
    assert_eq!(shard.effects.drafts.len() as u64, TIMES);
    shard.effects.drafts
}

/// A shard's stage, and what stands before and behind it.
struct Stepping {
    stage: Stage,
    events: WeighedSender<Feed>,
    notes: Receiver<Note>,
    orders: Receiver<ActionRequest>,
    commits: Receiver<Commit>,
    cuts: Receiver<RowCut>,
    /// What is handed to it, turn by turn.
    feeds: Vec<Vec<Feed>>,
}

/// Signals and what makes their rows durable: with shared state they are shared first.
fn stepping(acts: bool, shares: bool) -> Stepping {
    let Shard { rules, events: signals, .. } = shard(acts);
    let bell = || Arc::new(Bell::new(|| {}));
    let mark = || Mark::new(0);
    let (events, taken) = weighed_lane(4096, usize::MAX, bell());
    let ((drafts, notes), (ordered, orders)) = (lane(32_768, bell()), lane(32_768, bell()));
    let ((committed, commits), (cut, cuts)) = (lane(2, bell()), lane(1, bell()));
    let lanes = Lanes {
        events: taken,
        notes: drafts,
        orders: ordered,
        arrivals: lane(4096, bell()).0,
        commits: committed,
        queries: lane(1, bell()).1,
    };
    let marks = Marks { decided: mark(), states: std::array::from_fn(|_| mark()), settled: mark() };
    let rules = (Arc::new(rules), Arc::new(Compiled::default()));
    let recorder = Collector::new().unwrap().recorder().unwrap();
    let stage = Stage::new(0, rules, Vec::new(), lanes, marks, recorder);
    let stage = if shares {
        stage.sharing(PartitionOwnership::new(HeldPartitions::new(1, &[0]), cut))
    } else {
        stage
    };
    let mut stepping = Stepping { stage, events, notes, orders, commits, cuts, feeds: Vec::new() };
    stepping.run(vec![vec![Feed::Live]]);
    let through = signals.last().unwrap().seq;
    let signals = signals.into_iter().map(Feed::Event).collect();
    let shared = Kind::Shared(Box::new(Shared { through, lost: Box::default() }));
    let shared = Feed::Event(Event { seq: through.next(), time: UnixMillis(2), kind: shared });
    stepping.feeds = if shares {
        vec![signals, vec![Feed::Cut(through)], vec![shared], vec![]]
    } else {
        vec![signals, vec![Feed::Through(through)]]
    };
    stepping
}

impl Stepping {
    fn run(&mut self, feeds: Vec<Vec<Feed>>) -> usize {
        let mut handed_on = 0;
        for feeds in feeds {
            for feed in feeds {
                assert!(self.events.push(feed).is_ok());
            }
            self.stage.turn(gemba::clock::now(), UnixMillis(2));
            handed_on += std::iter::from_fn(|| self.notes.pop()).map(black_box).count();
            handed_on += std::iter::from_fn(|| self.orders.pop()).map(black_box).count();
            handed_on += std::iter::from_fn(|| self.commits.pop()).map(black_box).count();
            handed_on += std::iter::from_fn(|| self.cuts.pop()).map(black_box).count();
        }
        handed_on
    }
}

// From the lane of events to those of receipts, orders and commits.
#[library_benchmark]
#[bench::observe(stepping(false, false))]
#[bench::act_and_wait(stepping(true, false))]
#[bench::shared(stepping(false, true))]
fn turn(mut stepping: Stepping) -> (Stepping, usize) {
    let feeds = std::mem::take(&mut stepping.feeds);
    let handed_on = stepping.run(feeds);
    (stepping, handed_on)
}

// Context, hash, HMAC, leaf, tree and the stored form: all that the scribe does for a receipt.
#[library_benchmark]
#[bench::observed(drafts())]
fn receipt(drafts: Vec<Draft>) -> (Vec<Draft>, Tree, Vec<u8>) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let (mut tree, mut body, mut stored) = (Tree::default(), Vec::new(), Vec::with_capacity(1 << 16));
    for draft in &drafts {
        let fields = Fields::from(draft);
        body.clear();
        context(&fields, &mut body);
        let hash: [u8; 32] = digest(&SHA256, &body).as_ref().try_into().unwrap();
        let signature: [u8; 32] = hmac::sign(&key, &hash).as_ref().try_into().unwrap();
        tree.append(leaf_hash(&receipt_entry(&[9; 16], &hash, &signature)));
        store(&fields, &mut stored);
    }
    (drafts, tree, stored)
}

// The forms of a receipt without any hash.
#[library_benchmark]
#[bench::observed(drafts())]
fn receipt_bytes(drafts: Vec<Draft>) -> (Vec<Draft>, Vec<u8>) {
    let mut out = Vec::with_capacity(1 << 17);
    for draft in &drafts {
        let fields = Fields::from(draft);
        context(&fields, &mut out);
        store(&fields, &mut out);
    }
    (drafts, out)
}

// SHA-256 of 64 bytes.
#[library_benchmark]
#[bench::sha256([7; 64])]
fn hash_alone(text: [u8; 64]) {
    for _ in 0..TIMES {
        black_box(digest(&SHA256, black_box(&text)));
    }
}

// What each request pays for being able to reload: a look whether another value holds.
#[library_benchmark]
#[bench::same(Current::new(Arc::new(1)).updates())]
fn reload_look(updates: Updates<u64>) -> Updates<u64> {
    black_box(updates.take());
    for _ in 0..TIMES {
        black_box(black_box(&updates).take());
    }
    updates
}

fn tapped(viewers: u64) -> (Taps, Spout, Vec<Draft>) {
    let (taps, now) = (Taps::default(), gemba::clock::now());
    for viewer in 0..viewers {
        let filter = TapFilter { tenant: Some("tenant-043".into()), ..TapFilter::default() };
        taps.begin(viewer, "viewer", filter, now).unwrap();
    }
    let spout = taps.spout();
    (taps, spout, drafts())
}

// What each decision pays for `gemba tap`.
#[library_benchmark]
#[bench::nobody_looks(tapped(0))]
#[bench::one_looks_for_others(tapped(1))]
fn tap_look((taps, mut spout, drafts): (Taps, Spout, Vec<Draft>)) -> (Taps, Spout, Vec<Draft>) {
    for draft in &drafts {
        spout.look(black_box(draft));
    }
    (taps, spout, drafts)
}

library_benchmark_group!(
    name = inner_loops,
    benchmarks = [
        reload_look,
        tap_look,
        verify,
        parse_signal,
        dedup,
        journal_append,
        step,
        turn,
        receipt,
        receipt_bytes,
        hash_alone
    ]
);
main!(library_benchmark_groups = inner_loops);
