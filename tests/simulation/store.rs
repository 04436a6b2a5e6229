//! A state store that keeps its rows in memory: a commit is whole or absent, and lost when the power goes before it
//! returned. The embedded store does its own I/O, which this disk cannot see; its crash tests are its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gemba::case::{CaseId, Status};
use gemba::event::{Resend, Seq, UnixMillis};
use gemba::jidoka::dead_letter::CaseChange;
use gemba::jidoka::governor::Governor;
use gemba::jidoka::store::{Changes, Loaded, Retention, StateStore, StoreError, join};
use gemba::signal::Signal;

use crate::disk::SimDisk;
use crate::line::DATA_DIR;
use crate::oracles::Stored;

#[derive(Debug, Default)]
struct Durable {
    /// Without its governors.
    stored: Stored,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    waits: BTreeMap<Vec<u8>, Vec<u8>>,
    log_size: u64,
    /// Every text, by the event from which it holds.
    rules: BTreeMap<Seq, Box<str>>,
    signals: BTreeMap<CaseId, Signal>,
}

/// What survives every crash; a process opens it anew.
#[derive(Clone, Debug)]
pub struct SimStore {
    disk: SimDisk,
    durable: Arc<Mutex<Durable>>,
}

impl SimStore {
    pub fn new(disk: SimDisk) -> Self {
        Self { disk, durable: Arc::default() }
    }

    fn durable(&self) -> MutexGuard<'_, Durable> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn contents(&self) -> Stored {
        let durable = self.durable();
        let mut stored = durable.stored.clone();
        let loaded = durable.load(&mut |governor| {
            let mut row = Vec::new();
            governor.encode(&mut row);
            stored.rows.insert(governor.key().as_bytes().to_vec(), row);
        });
        assert!(loaded.is_ok(), "what was committed is not read: {loaded:?}");
        stored
    }

    /// Cases that an operator may order on, with their signals.
    /// With the action that can be sent again, where one failed last.
    pub fn open_cases(&self) -> Vec<(CaseId, Signal, Option<Box<Resend>>)> {
        let durable = self.durable();
        let cases = durable.stored.cases.iter().filter(|(_, case)| case.status == Status::Open);
        let open =
            cases.filter_map(|(id, case)| Some((*id, durable.signals.get(id)?.clone(), case.resend())));
        open.collect()
    }
}

impl Durable {
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<(), StoreError> {
        let read = |(key, row): (&Vec<u8>, &Vec<u8>)| Ok((key.clone(), row.clone()));
        let wrong = |key: &[u8], damage| StoreError::Row {
            path: Path::new(DATA_DIR).join("state"),
            key: String::from_utf8_lossy(key).into_owned(),
            damage,
        };
        join(self.rows.iter().map(read), self.waits.iter().map(read), wrong, visit)
    }

    fn write(&mut self, changes: &Changes, watermark: Seq) {
        for key in changes.forgotten() {
            self.rows.remove(key.as_bytes());
            let waits = [key.as_bytes(), &[0]].concat();
            self.waits.retain(|of, _| !of.starts_with(&waits));
        }
        for (key, row) in changes.rows() {
            self.rows.insert(key.to_vec(), row.to_vec());
        }
        for (key, row) in changes.waits() {
            match row {
                Some(row) => self.waits.insert(key.to_vec(), row.to_vec()),
                None => self.waits.remove(key),
            };
        }
        for change in changes.cases() {
            let case = change.case();
            if let CaseChange::Open { signal, .. } = change {
                self.signals.insert(case, (**signal).clone());
            }
            let known = self.stored.cases.remove(&case);
            self.stored.cases.extend(change.applied(known).map(|row| (case, row)));
        }
        self.rules.extend(changes.rules().iter().cloned());
        self.log_size = changes.log_size();
        self.stored.watermark = watermark;
        self.stored.rules =
            self.rules.range(..=watermark).next_back().map(|(seq, text)| (*seq, text.clone()));
    }
}

impl StateStore for SimStore {
    fn retire(&mut self, _: Retention, _: UnixMillis) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Loaded, StoreError> {
        let durable = self.durable();
        durable.load(visit)?;
        let Stored { watermark, rules, .. } = &durable.stored;
        let (watermark, log_size) = (*watermark, durable.log_size);
        Ok(Loaded { watermark, log_size, rules: rules.clone(), held: Vec::new(), alerts: Vec::new() })
    }

    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError> {
        let was_dead = self.disk.is_dead();
        let outcome = self.disk.foreign_operation("commit");
        // Who is told of an error does not know whether it came before or after the fact.
        if outcome.is_ok() || !was_dead && self.disk.coin() {
            let mut durable = self.durable();
            let before = durable.stored.watermark;
            assert!(watermark >= before, "watermark {watermark} after {before}");
            durable.write(changes, watermark);
        }
        outcome.map_err(|source| StoreError::Io {
            path: Path::new(DATA_DIR).join("state"),
            doing: "write",
            source,
        })
    }
}
