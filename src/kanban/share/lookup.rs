//! What is read of the store: a partition when it is taken, and its governors as they are needed.

use std::collections::BTreeSet;

use super::document::{
    Documents, Governor, Paths, governor_path, read_governor, read_names, read_recent, read_staged,
    read_waiting, recent_chunks, recent_of, waiting_path,
};
use super::failed::Failed;
use super::reach::Reach;
use crate::event::Subject;
use crate::limits::{ADOPTED_BYTES_MAX, WAITING_RECORD_BYTES};
use crate::net::firestore::Document;
use crate::signal::{Fingerprint, Signal};

/// Whether bytes are a governor's row.
pub type Check = fn(&[u8], &Subject) -> Result<(), String>;

/// Reads documents, and says which of them do not say what one of ours says.
#[derive(Clone, Copy)]
pub struct Lookup<'s> {
    reach: &'s Reach,
    paths: &'s Paths,
}

impl<'s> Lookup<'s> {
    #[must_use]
    pub fn new(reach: &'s Reach, paths: &'s Paths) -> Self {
        Self { reach, paths }
    }

    /// What a large round left in chunks.
    pub async fn staged(&self, partition: u16, chunks: u16) -> Result<Documents, Failed> {
        let mut documents = Documents::new();
        for chunk in 0..usize::from(chunks) {
            let path = self.paths.staged(partition, chunk);
            let found = self.present(&path).await?;
            let staged = read_staged(&path, &found.fields);
            documents.extend(staged.map_err(|error| Failed::Store(error.to_string()))?);
        }
        Ok(documents)
    }

    /// The newest signals, the oldest first.
    pub async fn recent(&self, partition: u16, signals: u64) -> Result<Vec<(Fingerprint, u64)>, Failed> {
        let mut chunks = Vec::new();
        for chunk in 0..recent_chunks(signals) {
            let path = self.paths.recent(partition, chunk);
            let found = self.present(&path).await?;
            chunks.push(read_recent(&path, &found.fields).map_err(|error| Failed::Store(error.to_string()))?);
        }
        Ok(recent_of(&chunks, signals))
    }

    /// Governors to which something is to happen without a further signal.
    pub async fn open(&self, partition: u16, chunks: u16) -> Result<BTreeSet<Box<str>>, Failed> {
        let mut open = BTreeSet::new();
        for chunk in 0..usize::from(chunks) {
            let path = self.paths.open(partition, chunk);
            let found = self.present(&path).await?;
            open.extend(read_names(&path, &found.fields).map_err(|error| Failed::Store(error.to_string()))?);
        }
        Ok(open)
    }

    async fn present(&self, path: &str) -> Result<Document, Failed> {
        let found = self.reach.get(&[path]).await?.pop().flatten();
        found.ok_or_else(|| Failed::Store(format!("the document {path} is missing")))
    }

    /// Those of the governors that the store has, each with what waits for it.
    pub async fn governors<'a>(
        &self,
        asked: &[&'a Subject],
        check: Check,
    ) -> Result<Vec<(&'a Subject, Governor, Vec<Signal>)>, Failed> {
        let paths: Vec<String> = asked.iter().map(|subject| governor_path(subject)).collect();
        let found = self.reach.get_all(&paths).await?;
        let mut governors = Vec::new();
        for ((subject, path), document) in asked.iter().zip(&paths).zip(found) {
            let Some(document) = document else { continue };
            let governor = self.governor(path, &document, subject, check)?;
            let waiting = self.waiting(path, &governor, subject).await?;
            governors.push((*subject, governor, waiting));
        }
        Ok(governors)
    }

    fn governor(
        &self,
        path: &str,
        document: &Document,
        of: &Subject,
        check: Check,
    ) -> Result<Governor, Failed> {
        let governor = read_governor(path, &document.fields, self.paths.line(), of);
        let governor = governor.map_err(|error| Failed::Store(error.to_string()))?;
        let checked = check(governor.adopt.row(), of);
        checked.map_err(|why| Failed::Store(format!("the row in {path} {why}")))?;
        Ok(governor)
    }

    /// What waits for a governor.
    async fn waiting(&self, path: &str, governor: &Governor, of: &Subject) -> Result<Vec<Signal>, Failed> {
        let listed = &governor.waiting;
        let paths: Vec<String> = listed.iter().map(|listed| waiting_path(path, listed.round)).collect();
        let found = self.reach.get_all(&paths).await?;
        let (mut waiting, mut bytes) = (Vec::new(), governor.adopt.row().len());
        for ((listed, path), document) in listed.iter().zip(&paths).zip(found) {
            let document =
                document.ok_or_else(|| Failed::Store(format!("the document {path} is missing")))?;
            let signals = read_waiting(path, &document.fields, *listed, of);
            let signals = signals.map_err(|error| Failed::Store(error.to_string()))?;
            bytes += signals.iter().map(|signal| signal.body().len() + WAITING_RECORD_BYTES).sum::<usize>();
            waiting.extend(signals);
        }
        // All of it comes into the journal as one unit.
        if bytes > ADOPTED_BYTES_MAX {
            return Err(Failed::Store(format!(
                "the documents {path}/waiting/… hold more than {ADOPTED_BYTES_MAX} bytes"
            )));
        }
        Ok(waiting)
    }
}
