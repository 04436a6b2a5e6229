//! What is read of the store: a partition when it is taken, and its governors as they are needed.

use std::collections::BTreeSet;

use super::document::{
    Governor, Head, governor_path, read_governor, read_names, read_recent, read_staged, read_waiting,
    recent_chunks, recent_of, waiting_path,
};
use super::holding::Holding;
use super::round::Documents;
use super::sharer::{Failed, Sharer};
use super::waits::Waits;
use crate::event::{Ack, Arrival, EdgeName, Position, Seq, Subject};
use crate::limits::{ADOPTED_BYTES_MAX, SHARE_LOADS_MAX, WAITING_RECORD_BYTES};
use crate::net::backoff::Backoff;
use crate::net::firestore::{Change, Document, Presumes, Version, Write};
use crate::sharing::{Adopted, Hold, Shared, Taken};
use crate::signal::{Fingerprint, Signal};

impl Sharer {
    /// Takes a partition from whoever decided on it. Returns through which numbers its signals are decided, by edge.
    pub async fn take(&self, partition: u16) -> Result<Vec<(EdgeName, Seq)>, Failed> {
        let _turn = self.turn.lock().await;
        let path = self.paths.head(partition);
        let (mut head, mut version) = self.take_head(partition, &path).await?;
        if head.staged > 0 {
            (head, version) = self.bring_to_place(partition, head, version).await?;
        }
        let recent = self.recent(partition, head.signals).await?;
        let open = self.open(partition, head.open).await?;
        let positions: Vec<(EdgeName, Seq)> =
            head.positions.iter().map(|(edge, through)| (edge.clone(), *through)).collect();
        let of =
            |(edge, through): &(EdgeName, Seq)| Position { edge: edge.clone(), partition, through: *through };
        let hold = Hold { partition, term: head.term };
        let taken = Taken { hold, positions: positions.iter().map(of).collect(), recent: recent.clone() };
        self.port.journal(vec![Arrival::Taken(Box::new(taken))]).await?;
        let subjects: Vec<Subject> = open.iter().filter_map(|name| subject_of(name)).collect();
        let term = head.term;
        self.held.borrow_mut().insert(partition, Holding::new(head, version, &recent, open));
        if let Some(mark) = self.marks.terms.get(usize::from(partition)) {
            mark.publish(term);
        }
        if let Err(failed) = self.load(partition, &subjects).await {
            // What is not wholly loaded is given up, and taken again.
            self.lose(&[partition]).await?;
            return Err(failed);
        }
        Ok(positions)
    }

    async fn take_head(&self, partition: u16, path: &str) -> Result<(Head, Version), Failed> {
        let mut mine: Option<Head> = None;
        let mut backoff = Backoff::default();
        loop {
            let found = self.reach.get(&[path]).await?.pop().flatten();
            let presumes = found.as_ref().map_or(Presumes::Absent, |found| Presumes::Version(found.version));
            let mut head = match &found {
                None => Head { partitions: self.partitions, ..Head::default() },
                Some(found) => {
                    Head::read(path, &found.fields).map_err(|error| Failed::Store(error.to_string()))?
                }
            };
            if let (Some(found), Some(mine)) = (&found, &mine)
                && (head.term, &head.owner) == (mine.term, &mine.owner)
            {
                return Ok((head, found.version));
            }
            if head.partitions != self.partitions {
                return Err(Failed::Store(format!(
                    "partition {partition} was one of {}, and `rabbitmq.partitions` is {}: empty the queues before the \
                     number changes, and remove the documents `partitions/…`",
                    head.partitions, self.partitions
                )));
            }
            head.term += 1;
            head.owner = self.name.clone();
            mine = Some(head.clone());
            let write = Write {
                document: path.to_owned(),
                change: Change::Put(head.fields()),
                presumes: Some(presumes),
            };
            match self.reach.commit(vec![write]).await {
                Ok(versions) => {
                    if let Some(version) = versions.first().copied().flatten() {
                        return Ok((head, version));
                    }
                }
                Err(trouble) => self.reach.bear(trouble, &mut backoff).await?,
            }
        }
    }

    /// Brings what a large round left in chunks to its place.
    async fn bring_to_place(
        &self,
        partition: u16,
        head: Head,
        version: Version,
    ) -> Result<(Head, Version), Failed> {
        let paths: Vec<String> =
            (0..usize::from(head.staged)).map(|chunk| self.paths.staged(partition, chunk)).collect();
        let mut documents = Documents::new();
        for path in &paths {
            let found = self.reach.get(&[path.as_str()]).await?.pop().flatten();
            let found = found.ok_or_else(|| Failed::Store(format!("the document {path} is missing")))?;
            let staged =
                read_staged(path, &found.fields).map_err(|error| Failed::Store(error.to_string()))?;
            documents.extend(staged);
        }
        // The head is presumed as of one that is held.
        let holding = Holding::new(head.clone(), version, &[], BTreeSet::new());
        self.held.borrow_mut().insert(partition, holding);
        let placed = self.place(partition, documents).await;
        let holding = self.held.borrow_mut().remove(&partition);
        let holding = if placed? { holding } else { None };
        holding.map(|holding| (holding.head, holding.version)).ok_or(Failed::Elsewhere { partition })
    }

    async fn recent(&self, partition: u16, signals: u64) -> Result<Vec<(Fingerprint, u64)>, Failed> {
        let mut chunks = Vec::new();
        for chunk in 0..recent_chunks(signals) {
            let path = self.paths.recent(partition, chunk);
            let found = self.reach.get(&[path.as_str()]).await?.pop().flatten();
            let found = found.ok_or_else(|| Failed::Store(format!("the document {path} is missing")))?;
            chunks.push(read_recent(&path, &found.fields).map_err(|error| Failed::Store(error.to_string()))?);
        }
        Ok(recent_of(&chunks, signals))
    }

    async fn open(&self, partition: u16, chunks: u16) -> Result<BTreeSet<Box<str>>, Failed> {
        let mut open = BTreeSet::new();
        for chunk in 0..usize::from(chunks) {
            let path = self.paths.open(partition, chunk);
            let found = self.reach.get(&[path.as_str()]).await?.pop().flatten();
            let found = found.ok_or_else(|| Failed::Store(format!("the document {path} is missing")))?;
            open.extend(read_names(&path, &found.fields).map_err(|error| Failed::Store(error.to_string()))?);
        }
        Ok(open)
    }

    /// Loads the governors of a partition that are not known yet. They are as the store has them once their shard has stepped
    /// the event that is returned.
    pub async fn load(&self, partition: u16, subjects: &[Subject]) -> Result<Seq, Failed> {
        // A governor that is loaded twice would go back to what it was.
        let _loading = self.loading.lock().await;
        let (term, unknown): (u64, Vec<&Subject>) = {
            let held = self.held.borrow();
            let holding = held.get(&partition).ok_or(Failed::Elsewhere { partition })?;
            (holding.head.term, subjects.iter().filter(|subject| !holding.knows(subject)).collect())
        };
        for asked in unknown.chunks(SHARE_LOADS_MAX) {
            let paths: Vec<String> = asked.iter().map(|subject| governor_path(subject)).collect();
            let found = self.reach.get_all(&paths).await?;
            let (mut adopted, mut waits) = (Vec::new(), Vec::new());
            for ((subject, path), document) in asked.iter().zip(&paths).zip(found) {
                let Some(document) = document else { continue };
                let governor = self.read(path, &document, subject)?;
                let waiting = self.waiting(path, &governor, subject).await?;
                let Governor { adopt, timers, waiting: listed } = governor;
                adopted.push(Adopted { term, adopt, timers, waiting });
                waits.push((*subject, listed));
            }
            let adopted = adopted.into_iter().map(|adopted| Arrival::Adopted(Box::new(adopted)));
            let acks = self.port.journal(adopted.collect()).await?;
            let mut held = self.held.borrow_mut();
            let holding = held.get_mut(&partition).filter(|holding| holding.head.term == term);
            let holding = holding.ok_or(Failed::Elsewhere { partition })?;
            for ((subject, listed), ack) in waits.into_iter().zip(acks) {
                // The signals that wait come last.
                let Ack::Durable { last, .. } = ack else { return Err(Failed::Elsewhere { partition }) };
                holding.loaded = holding.loaded.max(last);
                let count: usize = listed.iter().map(|listed| listed.left).sum();
                let seqs = (last.0 + 1 - count as u64..=last.0).map(Seq);
                holding.adopted(subject, Waits::adopted(&listed, seqs));
            }
            for subject in asked {
                holding.learn(subject);
            }
        }
        let held = self.held.borrow();
        held.get(&partition).map(|holding| holding.loaded).ok_or(Failed::Elsewhere { partition })
    }

    fn read(&self, path: &str, document: &Document, of: &Subject) -> Result<Governor, Failed> {
        let governor = read_governor(path, &document.fields, &self.line, of);
        let governor = governor.map_err(|error| Failed::Store(error.to_string()))?;
        let checked = (self.check)(governor.adopt.row(), of);
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

    /// Whether another processor has taken a partition can be so whenever the broker's connection broke. Looks, and gives up what
    /// was taken.
    pub async fn look_after(&self) -> Result<(), Failed> {
        let _turn = self.turn.lock().await;
        let held = self.held();
        if held.is_empty() {
            return Ok(());
        }
        let paths: Vec<String> = held.iter().map(|partition| self.paths.head(*partition)).collect();
        let found = self.reach.get(&paths.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let mut lost = Vec::new();
        for ((partition, path), document) in held.into_iter().zip(&paths).zip(found) {
            let term = self.held.borrow().get(&partition).map_or(0, |holding| holding.head.term);
            if self.mine(path, document, term).await?.is_none() {
                tracing::warn!(
                    target: "gemba::kanban",
                    partition,
                    "another processor has taken a partition: what this one decided there and did not share is void"
                );
                lost.push(partition);
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        self.marks.lost.publish(self.marks.lost.read() + lost.len() as u64);
        self.lose(&lost).await
    }

    /// What was decided of these partitions is void.
    async fn lose(&self, lost: &[u16]) -> Result<(), Failed> {
        self.forget(lost);
        let through = self.progress.borrow().through;
        self.port.shared(Shared { through, lost: lost.into() }).await
    }
}

/// From `tenant:sku`.
fn subject_of(name: &str) -> Option<Subject> {
    let (tenant, sku) = name.split_once(':')?;
    Subject::read(tenant, sku).ok()
}
