//! The dead letters in the store: one row for what became of each, one for its signal, so that a search reads no
//! bodies. They are written in the commit of the governors that made them, and never deleted: the first cause is kept
//! for ever.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch};

use super::StoreError;
use super::embedded::wrapped;
use crate::case::{Case, CaseFilter, CaseId, Cause, Found, Status};
use crate::event::Seq;
use crate::jidoka::dead_letter::CaseChange;
use crate::jidoka::governor::{decode_signal, encode_signal};
use crate::kaizen::Gauges;
use crate::ring::Mark;
use crate::signal::Signal;

/// The cases in a store; a clone sees, on any thread, what was committed.
#[derive(Clone)]
pub struct Cases {
    path: PathBuf,
    rows: Keyspace,
    signals: Keyspace,
    /// Open ones, in the order of [`Cause::ALL`].
    open: [Mark; Cause::ALL.len()],
}

impl Cases {
    pub(super) fn open(
        path: &Path,
        database: &Database,
        options: impl Fn() -> KeyspaceCreateOptions,
    ) -> Result<Self, StoreError> {
        let keyspace = |name| {
            let opened = database.keyspace(name, &options);
            opened.map_err(|error| wrapped(path, "open", error))
        };
        let (rows, signals) = (keyspace("cases")?, keyspace("case_signals")?);
        let cases = Self { path: path.to_owned(), rows, signals, open: Cause::ALL.map(|_| Mark::new(0)) };
        for row in cases.rows.iter() {
            let row = row.value().map_err(|error| wrapped(path, "read", error))?;
            cases.count(None, &cases.read(&row)?);
        }
        Ok(cases)
    }

    /// How many are open, by whose they are to mend.
    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub fn gauges(&self, gauges: &mut Gauges) {
        for (cause, open) in Cause::ALL.into_iter().zip(&self.open) {
            gauges.set("gemba_dead_letters_open", &[("cause", cause.as_str())], open.read() as f64);
        }
    }

    /// Notes that a case is now as it is.
    fn count(&self, before: Option<&Case>, after: &Case) {
        let Ok(cause) = after.first.cause.parse::<Cause>() else { return };
        let open = &self.open[cause as usize];
        let was = before.is_some_and(|case| case.status == Status::Open);
        match (was, after.status == Status::Open) {
            (false, true) => open.publish(open.read() + 1),
            (true, false) => open.publish(open.read().saturating_sub(1)),
            (false, false) | (true, true) => {}
        }
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn find(&self, case: CaseId) -> Result<Option<Case>, StoreError> {
        let row =
            self.rows.get(case.0.0.to_be_bytes()).map_err(|error| wrapped(&self.path, "read", error))?;
        row.map(|row| self.read(&row)).transpose()
    }

    /// The signal of a case.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn signal(&self, case: CaseId) -> Result<Option<Signal>, StoreError> {
        let row = self.signals.get(case.0.0.to_be_bytes());
        let row = row.map_err(|error| wrapped(&self.path, "read", error))?;
        row.map(|row| decode_signal(&row).map_err(|_| self.damaged())).transpose()
    }

    /// Those behind `after` that the filter takes, at most `limit`, and how many there are in all. Looks at every case.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn search(&self, filter: &CaseFilter, after: Seq, limit: usize) -> Result<Found, StoreError> {
        let mut found = Found::default();
        for row in self.rows.iter() {
            let row = row.value().map_err(|error| wrapped(&self.path, "read", error))?;
            let case = self.read(&row)?;
            if !filter.takes(&case) {
                continue;
            }
            found.count += 1;
            if case.seq > after.0 && found.page.len() < limit {
                found.page.push(case);
            }
        }
        Ok(found)
    }

    /// Adds what the changes come to.
    pub(super) fn write(
        &self,
        batch: &mut OwnedWriteBatch,
        changes: &[CaseChange],
    ) -> Result<(), StoreError> {
        let mut rows: BTreeMap<CaseId, Case> = BTreeMap::new();
        for change in changes {
            let case = change.case();
            if let CaseChange::Open { signal, .. } = change {
                let mut bytes = Vec::with_capacity(signal.body.len() + 256);
                encode_signal(&mut bytes, signal);
                batch.insert(&self.signals, case.0.0.to_be_bytes(), bytes);
            }
            let known = match rows.get(&case) {
                Some(row) => Some(row.clone()),
                None => self.find(case)?,
            };
            rows.extend(change.applied(known).map(|row| (case, row)));
        }
        for (case, row) in rows {
            self.count(self.find(case)?.as_ref(), &row);
            // A row of plain texts and numbers can be written.
            batch.insert(&self.rows, case.0.0.to_be_bytes(), serde_json::to_vec(&row).unwrap_or_default());
        }
        Ok(())
    }

    fn read(&self, row: &[u8]) -> Result<Case, StoreError> {
        let case: Case = serde_json::from_slice(row).map_err(|_| self.damaged())?;
        // An action that cannot be sent must not be decided anew instead.
        if case.action.is_some() && case.resend().is_none() {
            return Err(self.damaged());
        }
        Ok(case)
    }

    fn damaged(&self) -> StoreError {
        StoreError::Meta { path: self.path.clone(), what: "list of dead letters" }
    }
}
