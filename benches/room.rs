//! What governors and waiting signals take: bytes of memory for each, and bytes that a commit writes for them. Not timed:
//! memory is what the kernel says is resident, bytes are what the process wrote.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gemba::event::{Event, Feed, Kind, Seq, UnixMillis};
use gemba::jidoka::governor::ActionRequest;
use gemba::jidoka::governor::Governor;
use gemba::jidoka::rules::{Compiled, Rules, RulesSource};
use gemba::jidoka::stage as shard;
use gemba::jidoka::store::{Commit, Embedded, StateStore};
use gemba::kaizen::Collector;
use gemba::ring::{Bell, Mark, Receiver, WeighedSender, lane, weighed_lane};
use gemba::signal::{Assurance, Provenance, Severity, Text, Unchecked};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PACK: &str = r#"
name = "bench"
[memory]
spent = { kind = "sum", of = "signal.data.amount", types = ["counted"], window_seconds = 86400 }
[[rule]]
id = "act"
types = ["act"]
when = "true"
decide = "act"
action = "page"
reason = "it is to be done"
"#;

/// A shard, and what stands before and behind it.
struct Shard {
    stage: shard::Stage,
    events: WeighedSender<Feed>,
    notes: Receiver<gemba::event::Note>,
    orders: Receiver<ActionRequest>,
    commits: Receiver<Commit>,
    store: Embedded,
    seq: Seq,
}

impl Shard {
    fn new(dir: &Path) -> Self {
        let bell = || Arc::new(Bell::new(|| {}));
        let (events, taken) = weighed_lane(4096, usize::MAX, bell());
        let (drafts, notes) = lane(32_768, bell());
        let (ordered, orders) = lane(32_768, bell());
        let (committed, commits) = lane(2, bell());
        let lanes = shard::Lanes {
            events: taken,
            notes: drafts,
            orders: ordered,
            arrivals: lane(4096, bell()).0,
            commits: committed,
            queries: lane(1, bell()).1,
        };
        let mark = || Mark::new(0);
        let marks =
            shard::Marks { decided: mark(), states: std::array::from_fn(|_| mark()), settled: mark() };
        let source = RulesSource { actions: vec!["page".into()], ..RulesSource::default() };
        let rules: Rules = source.with_pack("bench.toml", PACK).compile().unwrap();
        let rules = (Arc::new(rules), Arc::new(Compiled::default()));
        let recorder = Collector::new().unwrap().recorder().unwrap();
        let stage = shard::Stage::new(0, rules, Vec::new(), lanes, marks, recorder);
        let store = Embedded::open(dir).unwrap();
        let mut shard = Self { stage, events, notes, orders, commits, store, seq: Seq(0) };
        shard.hand(Feed::Live);
        shard
    }

    fn hand(&mut self, feed: Feed) {
        assert!(self.events.push(feed).is_ok());
        self.turn();
    }

    fn turn(&mut self) {
        self.stage.turn(gemba::clock::now(), UnixMillis(1_800_000_000_000));
        while self.notes.pop().is_some() {}
        while self.orders.pop().is_some() {}
        while let Some(commit) = self.commits.pop() {
            self.store.commit(&commit.changes, commit.through).unwrap();
        }
    }

    fn signal(&mut self, sku: usize, kind: &str, body: usize) {
        self.seq = self.seq.next();
        let (id, tenant) = (format!("id-{}", self.seq), format!("tenant-{:03}", sku % 100));
        let sku = format!("sku-{sku:08}");
        let head = format!(
            r#"{{"id":"{id}","tenant":"{tenant}","sku":"{sku}","type":"{kind}","data":{{"amount":1.5}},"pad":""#
        );
        let text = format!("{head}{}\"}}", "x".repeat(body.saturating_sub(head.len() + 2)));
        let span = |part: &str| {
            let at = text.find(&format!(":\"{part}\"")).unwrap() + 2;
            Text::Span { at: u32::try_from(at).unwrap(), len: u8::try_from(part.len()).unwrap() }
        };
        let signal = Unchecked {
            id: span(&id),
            tenant: span(&tenant),
            sku: span(&sku),
            kind: span(kind),
            severity: Severity::Info,
            provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
            digest: 42,
            body: Bytes::from(text),
        };
        let signal = signal.check().unwrap();
        let event = Event { seq: self.seq, time: UnixMillis(1_800_000_000_000), kind: Kind::Signal(signal) };
        self.hand(Feed::Event(event));
    }

    fn commit(&mut self) {
        self.hand(Feed::Through(self.seq));
        while !self.stage.is_done() {
            self.turn();
        }
    }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap().parse().unwrap()
}

/// What each of `count` governors takes in memory, after one signal of this type.
fn governors(name: &str, kind: &str, count: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut shard = Shard::new(dir.path());
    (0..1000).for_each(|sku| shard.signal(sku, kind, 128));
    let before = resident();
    (1000..count + 1000).for_each(|sku| shard.signal(sku, kind, 128));
    println!("{name}: {} bytes of memory", (resident() - before) / count as u64);
}

/// Governors with an action out, for each of which `each` signals of `body` bytes then wait; a commit after each signal of
/// all of them, or none. Bytes of memory and bytes written, for a signal.
fn waiting(body: usize, (governors, each): (usize, usize), commits: bool) -> (u64, u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut shard = Shard::new(dir.path());
    for sku in 0..governors {
        shard.signal(sku, "act", 128);
    }
    shard.commit();
    let (memory, disk) = (resident(), written());
    for _ in 0..each {
        (0..governors).for_each(|sku| shard.signal(sku, "act", body));
        if commits {
            shard.commit();
        }
    }
    let waiting: usize = shard.stage.governors().map(Governor::waiting).sum();
    assert_eq!(waiting, governors * each, "none has found its mailbox full");
    let of_each = |bytes: u64| bytes / waiting as u64;
    (of_each(resident() - memory), of_each(written() - disk))
}

fn memory(body: usize, each: usize) {
    let (memory, _) = waiting(body, (100, each), false);
    println!("a waiting signal of {body} bytes: {memory} bytes of memory");
}

fn disk(body: usize, each: usize) {
    let (_, written) = waiting(body, (20, each), true);
    println!(
        "a waiting signal of {body} bytes, a commit after each of its governor: {written} bytes written"
    );
}

fn main() {
    let cases: [(&str, fn()); 7] = [
        ("observed", || governors("a governor that observed one signal", "seen", 200_000)),
        ("counts", || governors("a governor that counts in one window", "counted", 200_000)),
        ("acts", || governors("a governor with an action out, of a signal of 128 bytes", "act", 100_000)),
        ("memory-small", || memory(330, 1000)),
        ("memory-large", || memory(4096, 200)),
        ("disk-small", || disk(330, 1000)),
        ("disk-large", || disk(4096, 200)),
    ];
    // Each in a process of its own: what one gives back is not what another takes.
    if let Ok(wanted) = std::env::var("ROOM_CASE") {
        cases.iter().filter(|(name, _)| *name == wanted).for_each(|(_, run)| run());
        return;
    }
    for (name, _) in cases {
        let program = std::env::current_exe().unwrap();
        assert!(std::process::Command::new(program).env("ROOM_CASE", name).status().unwrap().success());
    }
}
