//! The same journal gives the same states, receipts and dead letters on any number of shards (promise P8), though each
//! number levels the events of its tenants in another order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use gemba::case::{Case, CaseId};
use gemba::event::{
    Command, Event, Feed, Kind, Note, RulesText, Seq, Subject, Timer, TimerKind, UnixMillis, Verb,
};
use gemba::halt::{Halt, HaltOrder, HaltScope};
use gemba::jidoka::governor::Governor;
use gemba::jidoka::ownership::PartitionOwnership;
use gemba::jidoka::query::{Page, Query, Question};
use gemba::jidoka::rules::{Compiled, Rules, RulesSource};
use gemba::jidoka::stage as shard;
use gemba::jidoka::store::Commit;
use gemba::kaizen::Collector;
use gemba::kanban::stage::shards_of;
use gemba::limits::QUERIES_LANE;
use gemba::receipt::ReceiptId;
use gemba::receipt::canonical::{Fields, context};
use gemba::ring::{Bell, Full, Mark, Receiver, Sender, WeighedSender, lane, weighed_lane};
use gemba::sharing::{HeldPartitions, Shared};
use tokio::sync::oneshot;

use crate::{plan, seed};

/// What came of a journal.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decided {
    /// By key.
    governors: BTreeMap<String, Vec<u8>>,
    receipts: BTreeMap<ReceiptId, Vec<u8>>,
    cases: BTreeMap<CaseId, Case>,
    rules: Vec<(Seq, Box<str>)>,
}

impl Decided {
    /// The first thing that is not the same.
    fn difference(&self, other: &Self) -> Option<String> {
        differing(&self.governors, &other.governors, |state| format!("{:?}", Governor::decode(state)))
            .or_else(|| {
                differing(&self.receipts, &other.receipts, |text| String::from_utf8_lossy(text).into_owned())
            })
            .or_else(|| differing(&self.cases, &other.cases, |case| format!("{case:?}")))
            .or_else(|| (self.rules != other.rules).then(|| "the rules".to_owned()))
    }
}

fn differing<K: Ord + std::fmt::Debug, V: PartialEq>(
    one: &BTreeMap<K, V>,
    other: &BTreeMap<K, V>,
    show: impl Fn(&V) -> String,
) -> Option<String> {
    let keys = one.keys().chain(other.keys());
    let key = keys.into_iter().find(|key| one.get(key) != other.get(key))?;
    let [one, other] = [one, other].map(|values| values.get(key).map_or_else(|| "nothing".to_owned(), &show));
    Some(format!("{key:?} is {one} and {other}"))
}

struct Ends {
    stage: shard::Stage,
    settled: Mark,
    events: WeighedSender<Feed>,
    queries: Sender<Query>,
    notes: Receiver<Note>,
    commits: Receiver<Commit>,
    /// What is to be handed over.
    feeds: VecDeque<Feed>,
}

/// Real shards, each with what nobody answers: they are not told that the replay is over.
fn ends(number: usize, compiled: &Arc<Compiled>, collector: &mut Collector) -> Ends {
    let bell = || Arc::new(Bell::new(|| {}));
    let mark = || Mark::new(0);
    let settled = mark();
    let (events, taken) = weighed_lane(64, 1 << 20, bell());
    let (drafts, notes) = lane(16, bell());
    let (committed, commits) = lane(2, bell());
    let (queries, asked) = lane(QUERIES_LANE, bell());
    let lanes = shard::Lanes {
        events: taken,
        notes: drafts,
        orders: lane(1, bell()).0,
        arrivals: lane(1, bell()).0,
        commits: committed,
        queries: asked,
    };
    let marks =
        shard::Marks { decided: mark(), states: std::array::from_fn(|_| mark()), settled: settled.clone() };
    let rules = (Arc::new(Rules::default()), Arc::clone(compiled));
    let stage = shard::Stage::new(number, rules, Vec::new(), lanes, marks, collector.recorder().unwrap());
    Ends { stage, settled, events, queries, notes, commits, feeds: VecDeque::new() }
}

/// Decides, and counts the receipts that stood in another order than their events.
fn decide(journal: &[Event], shards: usize) -> (Decided, usize) {
    let (compiled, mut collector) = (Arc::new(Compiled::default()), Collector::new().unwrap());
    let mut all: Vec<Ends> = (0..shards).map(|number| ends(number, &compiled, &mut collector)).collect();
    let last = journal.last().map_or(Seq(0), |event| event.seq);
    for event in journal {
        for shard in shards_of(event, shards) {
            all[shard].feeds.push_back(Feed::Event(event.clone()));
        }
        if event.seq.0.is_multiple_of(50) || event.seq == last {
            for ends in &mut all {
                ends.feeds.push_back(Feed::Through(event.seq));
            }
        }
    }

    let (mut decided, mut levelled) = (Decided::default(), 0);
    for ends in &mut all {
        let (now, wall) = (gemba::clock::now(), gemba::event::UnixMillis(0));
        let mut newest = Seq(0);
        while !ends.feeds.is_empty() || !ends.stage.is_done() {
            while let Some(feed) = ends.feeds.pop_front() {
                if let Err(Full(back)) = ends.events.push(feed) {
                    ends.feeds.push_front(back);
                    break;
                }
            }
            ends.stage.turn(now, wall);
            while let Some(note) = ends.notes.pop() {
                let Note::Draft(draft) = note else { continue };
                levelled += usize::from(draft.gist.id.seq < newest);
                newest = newest.max(draft.gist.id.seq);
                let mut text = Vec::new();
                context(&Fields::from(&draft), &mut text);
                assert!(
                    decided.receipts.insert(draft.gist.id, text).is_none(),
                    "{} comes twice",
                    draft.gist.id
                );
            }
            while let Some(commit) = ends.commits.pop() {
                for change in commit.changes.cases() {
                    let known = decided.cases.remove(&change.case());
                    decided.cases.extend(change.applied(known).map(|case| (change.case(), case)));
                }
                decided.rules.extend(commit.changes.rules().iter().cloned());
            }
        }
        for governor in ends.stage.governors() {
            let mut state = Vec::new();
            governor.encode(&mut state);
            decided.governors.insert(governor.key().to_owned(), state);
        }
    }
    (decided, levelled)
}

#[test]
fn any_number_of_shards_decides_a_journal_alike() {
    let (mut events, mut rules, mut replays, mut levelled, mut idle) = (0, 0, 0, 0, 0);
    for seed in plan::seeds().take(40) {
        let journal = seed::journal(seed).unwrap_or_else(|found| panic!("seed {seed}: {}", found.what));
        let (alone, once) = decide(&journal, 1);
        for shards in [2, 3, 5] {
            let (decided, _) = decide(&journal, shards);
            if let Some(difference) = alone.difference(&decided) {
                panic!("seed {seed}: {shards} shards decide otherwise than one: {difference}");
            }
        }
        events += journal.len();
        rules += alone.rules.len();
        replays += journal.iter().filter(|event| event.kind.as_str() == "replay").count();
        levelled += once;
        let is_idle =
            |event: &&Event| matches!(&event.kind, Kind::Timer(timer) if timer.kind == TimerKind::Idle);
        idle += journal.iter().filter(is_idle).count();
    }
    println!(
        "{events} events, {rules} changes of the rules, {replays} replays, {levelled} receipts out of line, {idle} times idle"
    );
    assert!(events > 0 && rules > 0 && levelled > 0 && idle > 0, "nothing was put to the test");
}

/// What an operator has ordered is seen by whoever asks behind it, however soon the question comes.
#[test]
fn rules_that_were_made_from_others_than_those_that_hold_are_void_in_every_replay() {
    let halting = |source: &RulesSource, tenant: &str| {
        let by = HaltOrder { actor: "alice".into(), reason: "a drill".into() };
        let halt = Halt { scope: HaltScope::Tenant(tenant.into()), by, since: UnixMillis(1) };
        source.clone().halting(halt).unwrap()
    };
    let rules = |seq: u64, source: &RulesSource, base: Option<u64>| {
        let text = RulesText::new(source.to_text(), "alice".into(), "a drill".into()).unwrap();
        let text = base.map_or_else(|| text.clone(), |base| text.clone().made_from(Seq(base)));
        Event { seq: Seq(seq), time: UnixMillis(1), kind: Kind::Rules(Arc::new(text)) }
    };
    let none = RulesSource::default();
    let a = halting(&none, "a");
    let both = halting(&a, "b");
    let journal = [
        rules(3, &a, Some(0)),
        // Made while the first was under way.
        rules(5, &halting(&none, "b"), Some(0)),
        rules(6, &both, Some(3)),
        rules(7, &none, Some(3)),
        // One of before names nothing.
        rules(9, &a, None),
    ];
    for shards in 1..=3 {
        let (decided, _) = decide(&journal, shards);
        let held = [(Seq(3), a.to_text()), (Seq(6), both.to_text()), (Seq(9), a.to_text())];
        assert_eq!(decided.rules, held, "{shards} shards");
        let told: Vec<String> =
            decided.receipts.values().map(|text| String::from_utf8(text.clone()).unwrap()).collect();
        assert_eq!(told.len(), journal.len(), "{told:?}");
        for (receipt, says) in told.iter().zip([
            "halt of tenant a by alice: a drill",
            "void: rules by alice (a drill) were made from those of event 0, but those of event 3 hold; nothing changed",
            "halt of tenant b by alice: a drill",
            "void: rules by alice (a drill) were made from those of event 3, but those of event 6 hold; nothing changed",
            "resume of tenant b by alice: a drill",
        ]) {
            assert!(receipt.contains(says), "{says}: {receipt}");
        }
        assert_eq!(decide(&journal, shards).0, decided, "and so again");
    }
}

#[test]
fn a_question_is_answered_when_its_event_is_stepped() {
    let (compiled, mut collector) = (Arc::new(Compiled::default()), Collector::new().unwrap());
    let mut ends = ends(0, &compiled, &mut collector);
    let (now, time) = (gemba::clock::now(), UnixMillis(1_800_000_000_000));
    let subject = || Subject::read("acme", "vm").unwrap();
    let halt = |seq| {
        let order =
            Command { subject: subject(), verb: Verb::Halt, actor: "root".into(), reason: "test".into() };
        Feed::Event(Event { seq: Seq(seq), time, kind: Kind::Command(Box::new(order)) })
    };
    let ask = |ends: &mut Ends, after| {
        let (answer, told) = oneshot::channel();
        let question = Question::One { subject: subject(), answer };
        assert!(ends.queries.push(Query { after: Seq(after), question }).is_ok());
        told
    };
    let (mut of_7, mut of_9, mut at_once) = (ask(&mut ends, 7), ask(&mut ends, 9), ask(&mut ends, 0));
    ends.stage.turn(now, time);
    assert_eq!(at_once.try_recv(), Ok(None), "there is no governor");
    assert!(!ends.stage.has_work(), "questions that wait keep no thread awake");
    assert!(of_7.try_recv().is_err(), "it waits");
    assert!(ends.events.push(halt(7)).is_ok());
    ends.stage.turn(now, time);
    assert!(ends.stage.has_work(), "a question is due");
    ends.stage.turn(now, time);
    assert_eq!(of_7.try_recv().unwrap().map(|view| view.state), Some("halted"));
    assert!(of_9.try_recv().is_err(), "it waits");
    // Numbers that come with other shards' events count, too.
    assert!(ends.events.push(Feed::Through(Seq(9))).is_ok());
    ends.stage.turn(now, time);
    ends.stage.turn(now, time);
    assert_eq!(of_9.try_recv().unwrap().map(|view| view.last_seq), Some(7));

    // Who has gone makes room; who finds none is told that there is no answer.
    let gone: Vec<_> = (0..QUERIES_LANE).map(|_| ask(&mut ends, 100)).collect();
    ends.stage.turn(now, time);
    drop(gone);
    let (waiting, mut beyond): (Vec<_>, Vec<_>) = (0..=QUERIES_LANE)
        .map(|number| {
            let told = ask(&mut ends, 100);
            ends.stage.turn(now, time);
            (number, told)
        })
        .partition(|(number, _)| *number < QUERIES_LANE);
    assert!(beyond[0].1.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    assert!(ends.events.push(Feed::Through(Seq(100))).is_ok());
    ends.stage.turn(now, time);
    while ends.stage.has_work() {
        ends.stage.turn(now, time);
    }
    for (_, mut told) in waiting {
        assert!(told.try_recv().unwrap().is_some());
    }
    // A page is not kept waiting by them.
    let (answer, mut told) = oneshot::channel();
    let page = Page { limit: 10, ..Page::default() };
    let query = Query { after: Seq(0), question: Question::Many { page, answer } };
    assert!(ends.queries.push(query).is_ok());
    ends.stage.turn(now, time);
    assert_eq!(told.try_recv().unwrap().len(), 1);
}

#[test]
fn a_forgotten_governor_stays_until_no_event_before_that_is_read_again() {
    let (compiled, mut collector) = (Arc::new(Compiled::default()), Collector::new().unwrap());
    let mut ends = ends(0, &compiled, &mut collector);
    let subject = || Subject::read("acme", "vm").unwrap();
    let mut now = gemba::clock::now();
    let mut seq = Seq(0);
    let mut time = UnixMillis(1_800_000_000_000);
    // What each commit removes, and whether the governor is still there.
    let mut turn = |ends: &mut Ends, kind: Option<Kind>| {
        if let Some(kind) = kind {
            seq = seq.next();
            time = time.plus_seconds(1);
            assert!(ends.events.push(Feed::Event(Event { seq, time, kind })).is_ok());
        }
        assert!(ends.events.push(Feed::Through(seq)).is_ok());
        let mut gone = Vec::new();
        for _ in 0..5 {
            now += std::time::Duration::from_secs(2);
            ends.stage.turn(now, time);
            while ends.notes.pop().is_some() {}
            while let Some(commit) = ends.commits.pop() {
                gone.extend(commit.changes.forgotten().map(str::to_owned));
            }
        }
        (gone, ends.stage.governors().count())
    };
    let order =
        Command { subject: subject(), verb: Verb::Resume, actor: "root".into(), reason: "test".into() };
    assert!(ends.events.push(Feed::Live).is_ok());
    assert_eq!(turn(&mut ends, Some(Kind::Command(Box::new(order)))), (vec![], 1));
    let idle = Timer { subject: subject(), kind: TimerKind::Idle, armed: Seq(1) };
    assert_eq!(turn(&mut ends, Some(Kind::Timer(Box::new(idle)))), (vec![], 1));
    ends.settled.publish(1);
    assert_eq!(turn(&mut ends, None), (vec![], 1), "event 2 may be read again");
    ends.settled.publish(2);
    let (before, governors) = turn(&mut ends, None);
    let (after, _) = turn(&mut ends, None);
    assert_eq!((governors, [before, after].concat()), (0, vec!["acme\0vm".to_owned()]), "once");
}

/// A node that shares its state forgets a governor, and decides on its next event before it has told its own store.
#[test]
fn what_is_decided_of_a_forgotten_governor_is_kept_where_state_is_shared() {
    let (compiled, mut collector) = (Arc::new(Compiled::default()), Collector::new().unwrap());
    let mut ends = ends(0, &compiled, &mut collector);
    let (cut, mut cuts) = lane(1, Arc::new(Bell::new(|| {})));
    ends.stage = ends.stage.sharing(PartitionOwnership::new(HeldPartitions::new(1, &[0]), cut));
    let subject = || Subject::read("acme", "vm").unwrap();
    let mut now = gemba::clock::now();
    let mut seq = Seq(0);
    let time = UnixMillis(1_800_000_000_000);
    // Brings an event and shares it; the rows of the commits, and what they remove.
    let mut share = |ends: &mut Ends, kind: Kind| {
        seq = seq.next();
        assert!(ends.events.push(Feed::Event(Event { seq, time, kind })).is_ok());
        assert!(ends.events.push(Feed::Cut(seq)).is_ok());
        let shared = Kind::Shared(Box::new(Shared { through: seq, lost: Box::default() }));
        seq = seq.next();
        assert!(ends.events.push(Feed::Event(Event { seq, time, kind: shared })).is_ok());
        let (mut rows, mut gone) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            now += std::time::Duration::from_secs(2);
            ends.stage.turn(now, time);
            while ends.notes.pop().is_some() {}
            let _shared = cuts.pop();
            while let Some(commit) = ends.commits.pop() {
                rows.extend(commit.changes.rows().map(|(key, _)| String::from_utf8_lossy(key).into_owned()));
                gone.extend(commit.changes.forgotten().map(str::to_owned));
            }
            ends.settled.publish(seq.0);
        }
        (rows, gone)
    };
    let order = || {
        let (actor, reason) = ("root".into(), "test".into());
        Kind::Command(Box::new(Command { subject: subject(), verb: Verb::Resume, actor, reason }))
    };
    let key = || vec!["acme\0vm".to_owned()];
    assert!(ends.events.push(Feed::Live).is_ok());
    assert_eq!(share(&mut ends, order()), (key(), vec![]));
    let idle = Timer { subject: subject(), kind: TimerKind::Idle, armed: Seq(1) };
    assert_eq!(share(&mut ends, Kind::Timer(Box::new(idle))), (key(), vec![]));
    assert_eq!(ends.stage.governors().count(), 0, "it is forgotten");
    assert_eq!(share(&mut ends, order()), (key(), key()), "and there again");
    assert_eq!(ends.stage.governors().count(), 1);
}
