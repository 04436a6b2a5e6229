//! The store on this node's disk: fjall, an LSM tree, so that a commit costs what it writes and not what there is.
//! Its batches are atomic over keyspaces; they are durable only where asked, and here each one is. It keeps worker
//! threads and stalls for compactions now and then: commits belong on a thread of their own.

use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::cases::{Cases, Retention};
use super::changes::Changes;
use super::error::{StoreError, wrapped};
use super::join::join;
use super::state_store::{Loaded, StateStore};
use crate::event::{Seq, UnixMillis};
use crate::jidoka::governor::Governor;
use crate::limits;

const WATERMARK: &[u8] = b"watermark";
/// Entries that the transparency log has at least.
const LOG_SIZE: &[u8] = b"log-size";
/// Partitions that are held, two bytes each.
const HELD: &[u8] = b"held";

/// Governors in `dir`.
pub struct Embedded {
    path: PathBuf,
    database: Database,
    governors: Keyspace,
    /// Signals that wait.
    waits: Keyspace,
    followups: Keyspace,
    cases: Cases,
    /// Texts by the number of the event from which they hold: those of the watermark, and later ones.
    rules: Keyspace,
    alerts: Keyspace,
    meta: Keyspace,
    watermark: Seq,
}

impl Embedded {
    /// Opens the store in `dir`, or makes one.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let wrap = |error| wrapped(dir, "open", error);
        let database = Database::builder(dir)
            .cache_size(limits::STORE_CACHE_BYTES)
            .max_cached_files(Some(limits::STORE_FILES_CACHED))
            .max_journaling_size(limits::STORE_JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(wrap)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(limits::STORE_MEMTABLE_BYTES);
        let keyspace = |name| database.keyspace(name, options).map_err(wrap);
        let mut store = Self {
            path: dir.to_owned(),
            governors: keyspace("governors")?,
            waits: keyspace("waiting")?,
            followups: keyspace("followups")?,
            cases: Cases::open(dir, &database, options)?,
            rules: keyspace("rules")?,
            alerts: keyspace("alerts")?,
            meta: keyspace("meta")?,
            database,
            watermark: Seq(0),
        };
        store.watermark = Seq(store.number(WATERMARK, "watermark")?);
        Ok(store)
    }

    /// A handle for readers of other threads; it sees what was committed.
    #[must_use]
    pub fn followups(&self) -> Followups {
        Followups { path: self.path.clone(), keyspace: self.followups.clone() }
    }

    /// A handle for readers of other threads; it sees what was committed.
    #[must_use]
    pub fn cases(&self) -> Cases {
        self.cases.clone()
    }

    /// Texts of rules and from when they hold, in order.
    fn rules(&self) -> Result<Vec<(Seq, Box<str>)>, StoreError> {
        let damaged = || StoreError::Meta { path: self.path.clone(), what: "text of the rules" };
        let row = |row: fjall::Guard| {
            let (key, value) = row.into_inner().map_err(|error| wrapped(&self.path, "read", error))?;
            let key = <[u8; 8]>::try_from(&*key).map_err(|_| damaged())?;
            let text = std::str::from_utf8(&value).map_err(|_| damaged())?;
            Ok((Seq(u64::from_be_bytes(key)), text.into()))
        };
        self.rules.iter().map(row).collect()
    }

    fn alert_rows(&self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let damaged = || StoreError::Meta { path: self.path.clone(), what: "key of an alert" };
        let row = |row: fjall::Guard| {
            let (key, value) = row.into_inner().map_err(|error| wrapped(&self.path, "read", error))?;
            Ok((String::from_utf8(key.to_vec()).map_err(|_| damaged())?, value.to_vec()))
        };
        self.alerts.iter().map(row).collect()
    }

    /// A number beside the governors; 0 in a new store.
    fn number(&self, key: &[u8], what: &'static str) -> Result<u64, StoreError> {
        let Some(bytes) = self.meta.get(key).map_err(|error| wrapped(&self.path, "read", error))? else {
            return Ok(0);
        };
        let bytes = <[u8; 8]>::try_from(&*bytes);
        let bytes = bytes.map_err(|_| StoreError::Meta { path: self.path.clone(), what })?;
        Ok(u64::from_be_bytes(bytes))
    }
}

impl StateStore for Embedded {
    fn load(&self, visit: &mut dyn FnMut(Governor)) -> Result<Loaded, StoreError> {
        let read = |row: fjall::Guard| {
            let (key, value) = row.into_inner().map_err(|error| wrapped(&self.path, "read", error))?;
            Ok((key.to_vec(), value.to_vec()))
        };
        let wrong = |key: &[u8], damage| {
            let key = String::from_utf8_lossy(key).replace('\0', "/");
            StoreError::Row { path: self.path.clone(), key, damage }
        };
        join(self.governors.iter().map(read), self.waits.iter().map(read), wrong, visit)?;
        let mut rules = self.rules()?;
        rules.retain(|(from, _)| *from <= self.watermark);
        let held = self.meta.get(HELD).map_err(|error| wrapped(&self.path, "read", error))?;
        let held = held.map(|held| held.as_chunks().0.iter().copied().map(u16::from_le_bytes).collect());
        Ok(Loaded {
            watermark: self.watermark,
            log_size: self.number(LOG_SIZE, "size of the transparency log")?,
            rules: rules.pop(),
            held: held.unwrap_or_default(),
            alerts: self.alert_rows()?,
        })
    }

    fn commit(&mut self, changes: &Changes, watermark: Seq) -> Result<(), StoreError> {
        assert!(watermark >= self.watermark, "watermark {watermark} after {}", self.watermark);
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for key in changes.forgotten() {
            batch.remove(&self.governors, key);
            for wait in self.waits.prefix([key.as_bytes(), &[0]].concat()) {
                let wait = wait.key().map_err(|error| wrapped(&self.path, "read", error))?;
                batch.remove(&self.waits, wait);
            }
        }
        for (key, value) in changes.rows() {
            batch.insert(&self.governors, key, value);
        }
        for (key, value) in changes.waits() {
            match value {
                Some(value) => batch.insert(&self.waits, key, value),
                None => batch.remove(&self.waits, key),
            }
        }
        for followup in changes.followups() {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&followup.signal.0.to_be_bytes());
            key[8..].copy_from_slice(&followup.event.0.to_be_bytes());
            batch.insert(&self.followups, key, []);
        }
        self.cases.write(&mut batch, changes.cases())?;
        if !changes.rules().is_empty() {
            for (from, text) in changes.rules() {
                batch.insert(&self.rules, from.0.to_be_bytes(), text.as_bytes());
            }
            // Those that held before what holds at the watermark are history.
            let passed: Vec<Seq> =
                self.rules()?.into_iter().map(|(from, _)| from).filter(|from| *from <= watermark).collect();
            for from in passed.iter().rev().skip(1) {
                batch.remove(&self.rules, from.0.to_be_bytes());
            }
        }
        if let Some(held) = changes.held() {
            let held: Vec<u8> = held.iter().flat_map(|partition| partition.to_le_bytes()).collect();
            batch.insert(&self.meta, HELD, held);
        }
        for (key, row) in changes.alert_rows() {
            match row {
                Some(row) => batch.insert(&self.alerts, key.as_bytes(), row.as_slice()),
                None => batch.remove(&self.alerts, key.as_bytes()),
            }
        }
        batch.insert(&self.meta, LOG_SIZE, changes.log_size().to_be_bytes());
        batch.insert(&self.meta, WATERMARK, watermark.0.to_be_bytes());
        batch.commit().map_err(|error| wrapped(&self.path, "write", error))?;
        self.watermark = watermark;
        if changes.cases().is_empty() { Ok(()) } else { self.cases.count() }
    }

    fn retire(&mut self, retention: Retention, now: UnixMillis) -> Result<bool, StoreError> {
        // Not synced by itself: what a crash undoes is done again.
        let mut batch = self.database.batch();
        let retired = self.cases.retire(&mut batch, retention, now)?;
        if retired == 0 {
            return Ok(false);
        }
        batch.commit().map_err(|error| wrapped(&self.path, "write", error))?;
        self.cases.count()?;
        Ok(retired == limits::CASES_RETIRED_AT_ONCE)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::changes::{Followup, Kept};
    use super::*;
    use crate::event::{Command, Event, Kind, Subject, Verb};
    use crate::jidoka::governor::Effects;
    use crate::jidoka::rules::Rules;

    /// A governor that an operator gave this quota with event `seq`.
    fn governor(sku: u32, seq: u64) -> Governor {
        let subject = Subject::read("acme", &format!("vm-{sku}")).unwrap();
        let (rules, mut effects) = (Rules::default(), Effects::default());
        let mut governor = Governor::new(&subject, Seq(seq), UnixMillis(seq), &rules, &mut effects);
        let command =
            Command { subject, verb: Verb::Quota(sku), actor: "root".into(), reason: "test".into() };
        let event = Event { seq: Seq(seq), time: UnixMillis(seq), kind: Kind::Command(Box::new(command)) };
        governor.step(event, &rules, &mut effects);
        governor
    }

    fn changes(skus: std::ops::Range<u32>, seq: u64) -> Changes {
        let mut changes = Changes::default();
        for sku in skus {
            changes.governor(&governor(sku, seq), &mut Kept::default());
        }
        changes.followup(Followup { signal: Seq(1), event: Seq(seq) });
        changes
    }

    fn contents(store: &Embedded) -> (Seq, Vec<(String, u64)>) {
        let mut rows = Vec::new();
        let loaded = store.load(&mut |governor| rows.push((governor.sku().into(), governor.last_seq().0)));
        (loaded.unwrap().watermark, rows)
    }

    /// What a process leaves that is killed now: the files as they are, under another name.
    fn killed(dir: &Path) -> tempfile::TempDir {
        fn copy(from: &Path, to: &Path) {
            fs::create_dir_all(to).unwrap();
            for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
                let to = to.join(entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    copy(&entry.path(), &to);
                } else {
                    fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        let copied = tempfile::tempdir().unwrap();
        copy(dir, copied.path());
        copied
    }

    /// fjall's journal files.
    fn journals(dir: &Path) -> Vec<PathBuf> {
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).collect()
    }

    #[test]
    fn a_new_store_is_empty_and_knows_no_event() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(contents(&Embedded::open(dir.path()).unwrap()), (Seq(0), vec![]));
    }

    #[test]
    fn a_killed_process_keeps_its_last_commit() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(dir.path()).unwrap();
        store.commit(&changes(0..3, 7), Seq(7)).unwrap();
        store.commit(&changes(1..2, 9), Seq(9)).unwrap();
        let left = killed(dir.path());
        let again = Embedded::open(left.path()).unwrap();
        let rows = [("vm-0", 7), ("vm-1", 9), ("vm-2", 7)].map(|(sku, seq)| (sku.to_owned(), seq));
        assert_eq!(contents(&again), (Seq(9), rows.to_vec()));
        assert_eq!(again.followups().of(Seq(1)).unwrap(), [Seq(7), Seq(9)]);
        assert_eq!(again.followups().of(Seq(2)).unwrap(), []);
    }

    /// The engine's own files, below `keyspaces`.
    fn files_of_keyspaces(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![dir.join("keyspaces")];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() { dirs.push(entry) } else { found.push(entry) }
            }
        }
        found
    }

    #[test]
    fn a_damaged_file_of_the_engine_is_told_with_its_directory_and_a_way_out() {
        let dir = tempfile::tempdir().unwrap();
        Embedded::open(dir.path()).unwrap().commit(&changes(0..3, 7), Seq(7)).unwrap();
        let named = |name: &str| {
            let files = files_of_keyspaces(dir.path());
            files.into_iter().find(|path| path.file_name().is_some_and(|of| of == name)).unwrap()
        };
        let empty = |path: &Path| fs::write(path, b"").unwrap();
        let remove = |path: &Path| fs::remove_file(path).unwrap();
        let replace = |path: &Path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        };
        for name in ["current", "v0"] {
            let of = named(name);
            let of = of.strip_prefix(dir.path()).unwrap();
            for damage in [&empty as &dyn Fn(&Path), &remove, &replace] {
                let left = killed(dir.path());
                damage(&left.path().join(of));
                // What the engine makes anew is no damage.
                let Err(error) = Embedded::open(left.path()) else { continue };
                let told = error.to_string();
                let begins = format!("{}: cannot open the state: ", left.path().display());
                assert!(
                    told.starts_with(&begins) && told.contains("it can be moved away and is rebuilt"),
                    "{told}"
                );
            }
        }
        let cut = killed(dir.path());
        empty(&cut.path().join(named("current").strip_prefix(dir.path()).unwrap()));
        assert!(Embedded::open(cut.path()).err().unwrap().to_string().contains("a file in it is damaged"));
    }

    #[test]
    fn a_torn_commit_is_there_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(dir.path()).unwrap();
        store.commit(&changes(0..3, 7), Seq(7)).unwrap();
        let before = killed(dir.path());
        store.commit(&changes(0..3, 9), Seq(9)).unwrap();
        let after = killed(dir.path());
        let journal = journals(after.path()).pop().unwrap();
        let name = journal.file_name().unwrap();
        let (old, new) = (fs::read(before.path().join(name)).unwrap(), fs::read(&journal).unwrap());
        let differ = |(old, new): (&u8, &u8)| old != new;
        let from = old.iter().zip(&new).position(differ).unwrap_or(old.len().min(new.len()));
        let to = new.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        assert!(to > from + 100, "the second commit lies in {from}..{to}");
        let rows = |seq| (Seq(seq), (0..3).map(|sku| (format!("vm-{sku}"), seq)).collect::<Vec<_>>());
        for cut in (from..to).step_by(23).chain([to - 1]) {
            let torn = killed(after.path());
            let file = fs::File::options().write(true).open(torn.path().join(name)).unwrap();
            file.set_len(cut as u64).unwrap();
            let mut store = Embedded::open(torn.path()).unwrap();
            assert_eq!(contents(&store), rows(7), "cut at {cut} of {from}..{to}");
            assert_eq!(store.followups().of(Seq(1)).unwrap(), [Seq(7)]);
            store.commit(&changes(0..3, 11), Seq(11)).unwrap();
            drop(store);
            assert_eq!(contents(&Embedded::open(torn.path()).unwrap()), rows(11), "the second recovery");
        }
    }

    #[test]
    fn a_damaged_row_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        store.governors.insert("acme\0vm", [9]).unwrap();
        let error = store.load(&mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("governor \"acme/vm\" is version 9"), "{error}");
        let mut row = Vec::new();
        governor(1, 1).encode(&mut row);
        store.governors.insert("acme\0vm", row).unwrap();
        assert!(store.load(&mut |_| {}).is_err(), "another governor's row");
    }

    #[test]
    fn a_second_process_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _store = Embedded::open(dir.path()).unwrap();
        assert!(matches!(Embedded::open(dir.path()), Err(StoreError::Locked { .. })));
    }

    #[test]
    #[should_panic(expected = "watermark 6 after 7")]
    fn the_watermark_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Embedded::open(dir.path()).unwrap();
        store.commit(&Changes::default(), Seq(7)).unwrap();
        let _ = store.commit(&Changes::default(), Seq(6));
    }
}
