//! What is written of a partition is what whoever takes it reads, through any number of rounds and hands.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::document::{
    Documents, Governor, Head, Paths, Progress, governor_path, read_governor, read_names, read_recent,
    read_staged, read_waiting, recent_chunks, recent_of, waiting_path,
};
use super::holding::Holding;
use super::round::{divided, fits, staged};
use super::waits::{Listed, Waits};
use crate::event::{EdgeName, Position, Seq, Subject, TimerKind, UnixMillis};
use crate::kanban::journal::tests::named;
use crate::limits::{
    RECENT_CHUNK_SIGNALS, RECENT_SIGNALS, SHARE_BYTES_MAX, SHARE_CHUNK_BYTES, WAITING_DOCUMENTS_MAX,
};
use crate::net::firestore::{Change, Fields, Value, Version};
use crate::sharing::Row;
use crate::signal::{Fingerprint, Signal};

const PARTITION: u16 = 3;
const LINE: &str = "tai2030.signals";

/// A store that holds documents and does whatever it is told.
#[derive(Default)]
struct Store(BTreeMap<String, Fields>);

impl Store {
    /// Applies a round, in one write or by its chunks.
    fn round(
        &mut self,
        holding: &mut Holding,
        rows: &[Row],
        signals: &[(Fingerprint, u64)],
        by_chunks: bool,
    ) {
        let paths = Paths::new(LINE);
        let position =
            Position { edge: EdgeName::read("edge-1.0").unwrap(), partition: PARTITION, through: Seq(7) };
        let (positions, signals) = ([position].into_iter(), signals.iter().copied());
        let part = holding.part(&paths, rows, positions, signals, PARTITION);
        let mut documents = part.documents;
        let paths_of: BTreeSet<&String> = documents.iter().map(|(path, _)| path).collect();
        assert_eq!(paths_of.len(), documents.len(), "a document is written once in a round");
        if by_chunks {
            let chunks = staged(&paths, PARTITION, &documents);
            let chunk = |(path, change): &(String, Change)| match change {
                Change::Put(fields) => read_staged(path, fields).unwrap(),
                Change::Delete => panic!("chunks are left where they are"),
            };
            documents = chunks.iter().flat_map(chunk).collect();
        }
        for (path, change) in documents {
            match change {
                Change::Put(fields) => self.0.insert(path, fields),
                Change::Delete => Some(self.0.remove(&path).expect("what is removed was there")),
            };
        }
        self.0.insert(paths.head(PARTITION), part.head.fields());
        holding.wrote(part.head, VERSION);
    }

    /// What the next one begins with.
    fn take(&self) -> (Holding, Vec<(Fingerprint, u64)>, BTreeSet<Box<str>>) {
        let paths = Paths::new(LINE);
        let read = |path: &String| (path.clone(), self.0.get(path).unwrap());
        let (path, fields) = read(&paths.head(PARTITION));
        let head = Head::read(&path, fields).unwrap();
        let chunks = (0..recent_chunks(head.signals)).map(|chunk| {
            let (path, fields) = read(&paths.recent(PARTITION, chunk));
            read_recent(&path, fields).unwrap()
        });
        let recent = recent_of(&chunks.collect::<Vec<_>>(), head.signals);
        let open = (0..usize::from(head.open)).flat_map(|chunk| {
            let (path, fields) = read(&paths.open(PARTITION, chunk));
            read_names(&path, fields).unwrap()
        });
        let open: BTreeSet<Box<str>> = open.collect();
        (Holding::new(head, VERSION, &recent, open.clone()), recent, open)
    }
}

impl Store {
    /// The governor `acme:vm`, and what waits for it, as whoever takes the partition reads them.
    fn governor(&self) -> (Governor, Vec<Signal>) {
        let subject = Subject::read("acme", "vm").unwrap();
        let path = governor_path(&subject);
        let governor = read_governor(&path, &self.0[&path], LINE, &subject).unwrap();
        let waiting = governor.waiting.iter().flat_map(|listed| {
            let path = waiting_path(&path, listed.round);
            read_waiting(&path, &self.0[&path], *listed, &subject).unwrap()
        });
        let waiting = waiting.collect();
        (governor, waiting)
    }

    fn waiting_documents(&self) -> usize {
        self.0.keys().filter(|path| path.contains("/waiting/")).count()
    }
}

const VERSION: Version = Version { seconds: 1, nanos: 0 };

fn holding() -> Holding {
    Holding::new(Head::default(), VERSION, &[], BTreeSet::new())
}

fn row(sku: &str, busy: bool) -> Row {
    Row {
        partition: PARTITION,
        subject: Subject::read("acme", sku).unwrap(),
        state: "stable",
        row: Bytes::from_static(b"row"),
        timers: vec![(TimerKind::QuotaWindow, UnixMillis(5))],
        waiting: Vec::new(),
        busy,
    }
}

fn identity(number: usize) -> (Fingerprint, u64) {
    (Fingerprint((number as u128).to_le_bytes()), number as u64)
}

fn signals_of_a_round() -> impl Strategy<Value = usize> {
    prop_oneof![12 => 0..9000_usize, 1 => 60_000..150_000_usize]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// More than once around the ring, with hands changing in between.
    #[test]
    fn the_newest_signals_are_known_to_whoever_takes_the_partition(
        rounds in prop::collection::vec(
            (signals_of_a_round(), any::<bool>(), any::<bool>()), 1..40,
        ),
        fills_chunks in any::<bool>(),
    ) {
        let (mut store, mut held) = (Store::default(), holding());
        let mut given = 0;
        for (count, changes_hands, by_chunks) in rounds {
            let count = if fills_chunks { count.next_multiple_of(RECENT_CHUNK_SIGNALS) } else { count };
            let signals: Vec<_> = (given..given + count).map(identity).collect();
            given += count;
            store.round(&mut held, &[], &signals, by_chunks);
            let (next, recent, _) = store.take();
            prop_assert!(recent.len() >= given.min(RECENT_SIGNALS - RECENT_CHUNK_SIGNALS));
            prop_assert!(recent.iter().copied().eq((given - recent.len()..given).map(identity)));
            if changes_hands {
                held = next;
            }
        }
    }

    #[test]
    fn governors_with_something_to_do_are_known_to_whoever_takes_the_partition(
        rounds in prop::collection::vec(
            (prop::collection::btree_map(0..400_usize, any::<bool>(), 0..200), any::<bool>()), 1..12,
        ),
    ) {
        let (mut store, mut held) = (Store::default(), holding());
        let mut open = BTreeSet::new();
        let long = "s".repeat(50);
        for (changes, changes_hands) in rounds {
            // As many as more than one chunk holds.
            let skus = changes.iter().flat_map(|(at, busy)| (0..30).map(move |sku| (30 * at + sku, *busy)));
            let rows: Vec<Row> = skus.map(|(sku, busy)| row(&format!("{long}-{sku}"), busy)).collect();
            for row in &rows {
                let name: Box<str> = format!("acme:{}", row.subject.sku).into();
                if row.busy { open.insert(name) } else { open.remove(&name) };
            }
            store.round(&mut held, &rows, &[], false);
            let (next, _, now) = store.take();
            prop_assert!(now == open);
            if changes_hands {
                held = next;
            }
        }
    }

    /// Some come, some go, hands change; now and then one that was adopted finds no room.
    #[test]
    fn what_waits_is_known_to_whoever_takes_the_partition_and_is_written_once(
        rounds in prop::collection::vec(
            (0..4_u64, 0..4_usize, prop::option::weighted(0.2, 1..40_u64), any::<bool>(), prop::bool::weighted(0.05)),
            1..120,
        ),
    ) {
        let (mut store, mut held) = (Store::default(), holding());
        let subject = Subject::read("acme", "vm").unwrap();
        let (mut seq, mut waiting) = (0, Vec::new());
        for (come, go, hands_change, by_chunks, finds_no_room) in rounds {
            for _ in 0..come {
                seq += 1;
                waiting.push((Seq(seq), named(&format!("s-{seq}"))));
            }
            waiting.drain(..go.min(waiting.len()));
            if finds_no_room && waiting.len() > 2 {
                waiting.remove(1);
            }
            store.round(&mut held, &[Row { waiting: waiting.clone(), ..row("vm", true) }], &[], by_chunks);
            let (governor, found) = store.governor();
            prop_assert!(found.iter().map(Signal::id).eq(waiting.iter().map(|(_, signal)| signal.id())));
            prop_assert_eq!(store.waiting_documents(), governor.waiting.len());
            prop_assert!(governor.waiting.len() <= WAITING_DOCUMENTS_MAX);
            if let Some(more) = hands_change {
                // The next one has numbers of its own.
                seq = more;
                for (number, _) in &mut waiting {
                    seq += 1;
                    *number = Seq(seq);
                }
                held = store.take().0;
                let waits = Waits::adopted(&governor.waiting, waiting.iter().map(|(seq, _)| *seq));
                held.adopted(&subject, waits, Seq(seq));
            }
        }
    }

    #[test]
    fn a_large_round_is_divided_into_what_fits_and_nothing_is_left_out(
        sizes in prop::collection::vec(0..2 * SHARE_CHUNK_BYTES / 3, 0..40),
    ) {
        let document = |(at, size): (usize, &usize)| {
            let value = Value::Bytes(vec![7; *size].into());
            (format!("governors/acme:{at}"), Change::Put(Fields::from([("row".to_owned(), value)])))
        };
        let documents: Documents = sizes.iter().enumerate().map(document).collect();
        let groups = divided(documents.clone(), SHARE_CHUNK_BYTES);
        for group in &groups {
            let bytes: usize = group.iter().map(|(path, fields)| super::document::size(path, fields)).sum();
            prop_assert!(!group.is_empty() && (bytes <= SHARE_CHUNK_BYTES || group.len() == 1));
        }
        prop_assert_eq!(groups.concat(), documents);
    }
}

#[test]
fn a_governor_is_read_as_it_was_written_and_only_by_its_own_line() {
    let (mut store, mut held) = (Store::default(), holding());
    let written = row("vm", true);
    store.round(&mut held, std::slice::from_ref(&written), &[], false);
    let path = governor_path(&written.subject);
    let fields = &store.0[&path];
    let read = read_governor(&path, fields, LINE, &written.subject).unwrap();
    assert_eq!((read.adopt.row().clone(), read.timers, read.waiting.len()), (written.row, written.timers, 0));
    let other = read_governor(&path, fields, "another.queue", &written.subject).unwrap_err();
    assert_eq!(other.to_string(), "the document governors/acme:vm has no `line` that this version can read");
}

/// A governor with a full mailbox, of whose signals one goes and one comes in each round.
#[test]
fn a_signal_that_waits_is_written_when_it_comes_and_not_with_each_change() {
    let mut held = holding();
    let mut waiting: Vec<(Seq, Signal)> =
        (0..512).map(|seq| (Seq(seq), named(&format!("s-{seq}")))).collect();
    let mut written = Vec::new();
    for round in 0..64 {
        let row = Row { waiting: waiting.clone(), ..row("vm", true) };
        let part = held.part(&Paths::new(LINE), &[row], [].into_iter(), [].into_iter(), PARTITION);
        written.push(part.bytes);
        held.wrote(part.head, VERSION);
        waiting.remove(0);
        let seq = 512 + round;
        waiting.push((Seq(seq), named(&format!("s-{seq}"))));
    }
    let rest: usize = written[1..].iter().sum();
    assert!(rest < 6 * written[0], "63 rounds wrote {rest} bytes after the first one's {}", written[0]);
}

#[test]
fn waiting_signals_that_are_not_the_governors_or_not_as_many_as_it_says_are_named() {
    let (mut store, mut held) = (Store::default(), holding());
    let waiting = vec![(Seq(1), named("s-1")), (Seq(2), named("s-2"))];
    store.round(&mut held, &[Row { waiting, ..row("vm", true) }], &[], false);
    let (governor, _) = store.governor();
    let listed = governor.waiting[0];
    let path = waiting_path("governors/acme:vm", listed.round);
    let fields = &store.0[&path];
    let other = Subject::read("acme", "db").unwrap();
    let subject = Subject::read("acme", "vm").unwrap();
    for error in [
        read_waiting(&path, fields, listed, &other).unwrap_err(),
        read_waiting(&path, fields, Listed { left: 3, ..listed }, &subject).unwrap_err(),
        read_waiting(&path, fields, Listed { gone: usize::MAX, ..listed }, &subject).unwrap_err(),
    ] {
        let said = "the document governors/acme:vm/waiting/1 has no `signals` that this version can read";
        assert_eq!(error.to_string(), said);
    }
}

#[test]
fn a_document_that_says_something_else_is_named() {
    let (mut store, mut held) = (Store::default(), holding());
    store.round(&mut held, &[row("vm", false)], &[identity(1)], false);
    let paths = Paths::new(LINE);
    let mut head = store.0[&paths.head(PARTITION)].clone();
    head.insert("term".to_owned(), Value::Text("one".to_owned()));
    let error = Head::read("partitions/p", &head).unwrap_err();
    assert_eq!(error.to_string(), "the document partitions/p has no `term` that this version can read");
    let torn = Fields::from([("signals".to_owned(), Value::Bytes(Bytes::from_static(&[0; 25])))]);
    assert!(read_recent("chunk", &torn).is_err());
    assert!(read_staged("chunk", &torn).is_err() && read_names("chunk", &torn).is_err());
    assert!(Progress::read("processors/p", &torn).is_err());
}

#[test]
fn what_is_larger_than_one_write_is_staged() {
    let paths = Paths::new(LINE);
    let of = |count: usize| {
        let rows: Vec<Row> = (0..count)
            .map(|at| Row { row: vec![0; SHARE_CHUNK_BYTES].into(), ..row(&at.to_string(), false) })
            .collect();
        holding().part(&paths, &rows, [].into_iter(), [].into_iter(), PARTITION)
    };
    let most = SHARE_BYTES_MAX / SHARE_CHUNK_BYTES;
    assert!(fits(&[of(most - 1)]));
    assert!(!fits(&[of(most)]));
    assert!(!fits(&[of(most / 2), of(most / 2)]), "all partitions are in one write");
}
