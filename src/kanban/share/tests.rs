//! What is written of a partition is what whoever takes it reads, through any number of rounds and hands.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::document::{
    Head, Paths, Progress, governor_path, read_governor, read_names, read_recent, read_staged, recent_chunks,
    recent_of,
};
use super::holding::Holding;
use super::round::{Documents, divided, fits, staged};
use crate::event::{EdgeName, Position, Seq, Subject, TimerKind, UnixMillis};
use crate::limits::{RECENT_CHUNK_SIGNALS, RECENT_SIGNALS, SHARE_BYTES_MAX, SHARE_CHUNK_BYTES};
use crate::net::firestore::{Fields, Value, Version};
use crate::sharing::Row;
use crate::signal::Fingerprint;

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
        let part = holding.part((&paths, LINE), rows, positions, signals, PARTITION);
        let mut documents = part.documents;
        let paths_of: BTreeSet<&String> = documents.iter().map(|(path, _)| path).collect();
        assert_eq!(paths_of.len(), documents.len(), "a document is written once in a round");
        if by_chunks {
            let chunks = staged(&paths, PARTITION, &documents);
            documents = chunks.iter().flat_map(|(path, fields)| read_staged(path, fields).unwrap()).collect();
        }
        self.0.extend(documents);
        self.0.insert(paths.head(PARTITION), part.head.fields());
        holding.head = part.head;
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

    #[test]
    fn a_large_round_is_divided_into_what_fits_and_nothing_is_left_out(
        sizes in prop::collection::vec(0..2 * SHARE_CHUNK_BYTES / 3, 0..40),
    ) {
        let document = |(at, size): (usize, &usize)| {
            let value = Value::Bytes(vec![7; *size].into());
            (format!("governors/acme:{at}"), Fields::from([("row".to_owned(), value)]))
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
    let read = read_governor(&path, fields, LINE, (&written.subject, 2)).unwrap();
    assert_eq!((read.adopt.row().clone(), read.timers, read.waiting.len()), (written.row, written.timers, 0));
    let other = read_governor(&path, fields, "another.queue", (&written.subject, 2)).unwrap_err();
    assert_eq!(other.to_string(), "the document governors/acme:vm has no `line` that this version can read");
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
        holding().part((&paths, LINE), &rows, [].into_iter(), [].into_iter(), PARTITION)
    };
    let most = SHARE_BYTES_MAX / SHARE_CHUNK_BYTES;
    assert!(fits(&[of(most - 1)]));
    assert!(!fits(&[of(most)]));
    assert!(!fits(&[of(most / 2), of(most / 2)]), "all partitions are in one write");
}
