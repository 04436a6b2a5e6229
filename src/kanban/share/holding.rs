//! What is known of a partition while it is held. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use super::document::{
    Documents, Head, Paths, governor_fields, governor_path, names_fields, recent_fields, recent_place, size,
    waiting_fields, waiting_path,
};
use super::waits::{Moved, Waits};
use crate::event::{Position, Seq, Subject};
use crate::limits::{RECENT_CHUNK_SIGNALS, SHARE_CHUNK_BYTES};
use crate::net::firestore::{Change, Version};
use crate::sharing::Row;
use crate::signal::Fingerprint;

/// A partition that this node decides on.
#[derive(Debug)]
pub struct Holding {
    /// As it was written last, and when.
    head: Head,
    version: Version,
    /// The last event with which a governor was loaded.
    loaded: Seq,
    /// The signals of the chunk that is being filled.
    tail: Vec<(Fingerprint, u64)>,
    /// Governors to which something is to happen without a further signal.
    open: BTreeSet<Box<str>>,
    /// Governors that were loaded, or are new: by a hash that no two of them share.
    known: HashSet<u128>,
    /// Where what waits for them stands, by the same hash.
    waits: HashMap<u128, Waits>,
}

/// What a round changes of one partition.
#[derive(Debug)]
pub struct Part {
    pub partition: u16,
    pub head: Head,
    /// Everything else, by its path.
    pub documents: Documents,
    /// About how large all of it is.
    pub bytes: usize,
}

impl Holding {
    /// Begins with what the store says: the newest signals, the oldest first, and the open governors.
    #[must_use]
    pub fn new(
        head: Head,
        version: Version,
        recent: &[(Fingerprint, u64)],
        open: BTreeSet<Box<str>>,
    ) -> Self {
        let (_, filled) = recent_place(head.signals);
        let tail = recent[recent.len().saturating_sub(filled)..].to_vec();
        Self { head, version, loaded: Seq(0), tail, open, known: HashSet::new(), waits: HashMap::new() }
    }

    /// As it was written last.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// When it was written last.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    #[must_use]
    pub fn into_head(self) -> (Head, Version) {
        (self.head, self.version)
    }

    /// The head was written.
    pub fn wrote(&mut self, head: Head, version: Version) {
        (self.head, self.version) = (head, version);
    }

    /// The head was written again as it was.
    pub fn found(&mut self, version: Version) {
        self.version = version;
    }

    /// The last event with which a governor was loaded.
    #[must_use]
    pub fn loaded(&self) -> Seq {
        self.loaded
    }

    /// Whether the governor was loaded, or is new.
    #[must_use]
    pub fn knows(&self, subject: &Subject) -> bool {
        self.known.contains(&key(subject))
    }

    pub fn learn(&mut self, subject: &Subject) {
        self.known.insert(key(subject));
    }

    /// A governor was loaded, and with it what waits; `last` is the last event of that.
    pub fn adopted(&mut self, subject: &Subject, waits: Waits, last: Seq) {
        self.loaded = self.loaded.max(last);
        self.learn(subject);
        self.keep(key(subject), waits);
    }

    fn keep(&mut self, key: u128, waits: Waits) {
        if !waits.is_empty() {
            self.waits.insert(key, waits);
        }
    }

    /// What is to be written of a cut.
    pub fn part(
        &mut self,
        paths: &Paths,
        rows: &[Row],
        positions: impl Iterator<Item = Position>,
        signals: impl Iterator<Item = (Fingerprint, u64)>,
        partition: u16,
    ) -> Part {
        let mut head = self.head.clone();
        head.round += 1;
        head.positions = positions.map(|position| (position.edge, position.through)).collect();
        let mut documents = Vec::new();
        self.put_recent(&mut head, signals, |chunk| paths.recent(partition, chunk), &mut documents);
        self.put_open(&mut head, rows, |chunk| paths.open(partition, chunk), &mut documents);
        for row in rows {
            self.put_governor(row, paths.line(), &head, &mut documents);
        }
        let bytes = documents.iter().map(|(document, change)| size(document, change)).sum::<usize>();
        let bytes = bytes + size(&paths.head(partition), &Change::Put(head.fields()));
        Part { partition, head, documents, bytes }
    }

    fn put_governor(&mut self, row: &Row, line: &str, head: &Head, documents: &mut Documents) {
        let (path, key) = (governor_path(&row.subject), key(&row.subject));
        let mut waits = self.waits.remove(&key).unwrap_or_default();
        let Moved { ended, begun } = waits.follow(&row.waiting, head.round);
        documents.extend(ended.into_iter().map(|round| (waiting_path(&path, round), Change::Delete)));
        if begun > 0 {
            let newest = row.waiting.iter().skip(row.waiting.len() - begun).map(|(_, signal)| signal);
            documents.push((waiting_path(&path, head.round), Change::Put(waiting_fields(newest))));
        }
        let fields = governor_fields(row, &waits, line, head.term, head.round);
        documents.push((path, Change::Put(fields)));
        self.keep(key, waits);
    }

    fn put_recent(
        &mut self,
        head: &mut Head,
        signals: impl Iterator<Item = (Fingerprint, u64)>,
        path: impl Fn(usize) -> String,
        documents: &mut Documents,
    ) {
        // A round may go around the ring: what is filled last counts.
        let mut chunks = BTreeMap::new();
        for signal in signals {
            self.tail.push(signal);
            let (chunk, _) = recent_place(head.signals);
            head.signals += 1;
            if self.tail.len() == RECENT_CHUNK_SIGNALS {
                chunks.insert(chunk, recent_fields(&self.tail));
                self.tail.clear();
            }
        }
        let (chunk, filled) = recent_place(head.signals);
        if head.signals > self.head.signals && filled > 0 {
            chunks.insert(chunk, recent_fields(&self.tail));
        }
        documents.extend(chunks.into_iter().map(|(chunk, fields)| (path(chunk), Change::Put(fields))));
    }

    fn put_open(
        &mut self,
        head: &mut Head,
        rows: &[Row],
        path: impl Fn(usize) -> String,
        documents: &mut Documents,
    ) {
        let mut changed = false;
        for row in rows {
            let name: Box<str> = format!("{}:{}", row.subject.tenant, row.subject.sku).into();
            changed |= if row.busy { self.open.insert(name) } else { self.open.remove(&name) };
        }
        if !changed {
            return;
        }
        let mut chunks = vec![String::new()];
        for name in &self.open {
            if chunks.last().is_some_and(|last| last.len() + name.len() >= SHARE_CHUNK_BYTES) {
                chunks.push(String::new());
            }
            if let Some(last) = chunks.last_mut() {
                last.push_str(name);
                last.push('\n');
            }
        }
        head.open = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
        let chunk = |(chunk, names): (usize, &String)| (path(chunk), Change::Put(names_fields(names)));
        documents.extend(chunks.iter().enumerate().map(chunk));
    }
}

fn key(subject: &Subject) -> u128 {
    xxh3_128([&*subject.tenant, &*subject.sku].join("\0").as_bytes())
}
