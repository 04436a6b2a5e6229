//! The store on this node's disk: fjall, an LSM tree, so that a commit costs what it writes and not what there is.
//! Its batches are atomic over keyspaces; they are durable only where asked, and here each one is. It keeps worker
//! threads and stalls for compactions now and then: commits belong on a thread of their own.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Changes, StateStore, StoreError};
use crate::event::Seq;
use crate::jidoka::governor::Governor;
use crate::limits;

const WATERMARK: &[u8] = b"watermark";

/// Governors in `dir`.
pub struct Embedded {
    path: PathBuf,
    database: Database,
    governors: Keyspace,
    followups: Keyspace,
    meta: Keyspace,
    watermark: Seq,
}

impl Embedded {
    /// Opens the store in `dir`, or makes one.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let wrap = |error| wrapped(dir, "open", error);
        let database = Database::builder(dir)
            .cache_size(limits::STORE_CACHE_BYTES)
            .max_journaling_size(limits::STORE_JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(wrap)?;
        let keyspace = |name| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(limits::STORE_MEMTABLE_BYTES);
            database.keyspace(name, options).map_err(wrap)
        };
        let mut store = Self {
            path: dir.to_owned(),
            governors: keyspace("governors")?,
            followups: keyspace("followups")?,
            meta: keyspace("meta")?,
            database,
            watermark: Seq(0),
        };
        store.watermark = store.read_watermark()?;
        Ok(store)
    }

    /// A handle for readers of other threads; it sees what was committed.
    #[must_use]
    pub fn followups(&self) -> Followups {
        Followups { path: self.path.clone(), keyspace: self.followups.clone() }
    }

    fn read_watermark(&self) -> Result<Seq, StoreError> {
        let Some(bytes) = self.meta.get(WATERMARK).map_err(|error| wrapped(&self.path, "read", error))?
        else {
            return Ok(Seq(0));
        };
        let bytes = <[u8; 8]>::try_from(&*bytes);
        let bytes = bytes.map_err(|_| StoreError::Meta { path: self.path.clone(), what: "watermark" })?;
        Ok(Seq(u64::from_be_bytes(bytes)))
    }
}

impl StateStore for Embedded {
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Seq, StoreError> {
        for row in self.governors.iter() {
            let (key, value) = row.into_inner().map_err(|error| wrapped(&self.path, "read", error))?;
            let damage = match Governor::decode(&value) {
                Ok(governor) if governor.key().as_bytes() == &*key => {
                    visit(governor);
                    continue;
                }
                Ok(_) => crate::jidoka::governor::Damage::Inconsistent,
                Err(damage) => damage,
            };
            let key = String::from_utf8_lossy(&key).replace('\0', "/");
            return Err(StoreError::Row { path: self.path.clone(), key, damage });
        }
        Ok(self.watermark)
    }

    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError> {
        assert!(watermark >= self.watermark, "watermark {watermark} after {}", self.watermark);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in changes.rows() {
            batch.insert(&self.governors, key, value);
        }
        for followup in changes.followups() {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&followup.signal.0.to_be_bytes());
            key[8..].copy_from_slice(&followup.event.0.to_be_bytes());
            batch.insert(&self.followups, key, []);
        }
        batch.insert(&self.meta, WATERMARK, watermark.0.to_be_bytes());
        batch.commit().map_err(|error| wrapped(&self.path, "write", error))?;
        self.watermark = watermark;
        Ok(())
    }
}

/// Finds the later receipts of a signal.
#[derive(Clone)]
pub struct Followups {
    path: PathBuf,
    keyspace: Keyspace,
}

impl Followups {
    /// Events after `signal` that left receipts about it, in order; at most [`limits::FOLLOWUPS_MAX`].
    pub fn of(&self, signal: Seq) -> Result<Vec<Seq>, StoreError> {
        let damaged = || StoreError::Meta { path: self.path.clone(), what: "index of later receipts" };
        let rows = self.keyspace.prefix(signal.0.to_be_bytes()).take(limits::FOLLOWUPS_MAX);
        rows.map(|row| {
            let key = row.key().map_err(|error| wrapped(&self.path, "read", error))?;
            let event = key.last_chunk().ok_or_else(damaged)?;
            Ok(Seq(u64::from_be_bytes(*event)))
        })
        .collect()
    }
}

/// fjall's errors print its own types; these say what to do.
fn wrapped(path: &Path, doing: &'static str, error: fjall::Error) -> StoreError {
    let path = path.to_owned();
    match error {
        fjall::Error::Io(source) => StoreError::Io { path, doing, source },
        fjall::Error::Storage(fjall::LsmError::Io(source)) => StoreError::Io { path, doing, source },
        fjall::Error::Locked => StoreError::Locked { path },
        fjall::Error::Poisoned => StoreError::Poisoned { path },
        other => StoreError::Engine { path, doing, what: format!("{other:?}") },
    }
}
