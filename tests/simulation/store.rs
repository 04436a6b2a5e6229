//! A state store that keeps its rows in memory: a commit is whole or absent, and lost when the power goes before it
//! returned. The embedded store does its own I/O, which this disk cannot see; its crash tests are its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gemba::event::Seq;
use gemba::jidoka::governor::Governor;
use gemba::jidoka::store::{Changes, StateStore, StoreError};

use crate::disk::SimDisk;

pub type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Default)]
struct Durable {
    rows: Rows,
    watermark: Seq,
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

    pub fn contents(&self) -> (Rows, Seq) {
        let durable = self.durable();
        (durable.rows.clone(), durable.watermark)
    }
}

impl StateStore for SimStore {
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Seq, StoreError> {
        let durable = self.durable();
        for (key, row) in &durable.rows {
            let governor = Governor::decode(row).map_err(|damage| StoreError::Row {
                path: PathBuf::from("/data/state"),
                key: String::from_utf8_lossy(key).into_owned(),
                damage,
            })?;
            visit(governor);
        }
        Ok(durable.watermark)
    }

    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError> {
        let was_dead = self.disk.is_dead();
        let outcome = self.disk.foreign_operation("commit");
        // Who is told of an error does not know whether it came before or after the fact.
        if outcome.is_ok() || !was_dead && self.disk.coin() {
            let mut durable = self.durable();
            assert!(watermark >= durable.watermark, "watermark {watermark} after {}", durable.watermark);
            for (key, row) in changes.rows() {
                durable.rows.insert(key.to_vec(), row.to_vec());
            }
            durable.watermark = watermark;
        }
        outcome.map_err(|source| StoreError::Io {
            path: PathBuf::from("/data/state"),
            doing: "write",
            source,
        })
    }
}
