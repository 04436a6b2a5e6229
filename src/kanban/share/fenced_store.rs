//! The store as one of several processors writes it. A write counts for the partitions whose heads are as this node left them,
//! or not at all; where its end is not known, it is looked for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use super::document::{Documents, Head, Paths, Progress, processor_path};
use super::failed::Failed;
use super::held::Held;
use super::holding::{Holding, Part};
use super::lookup::Lookup;
use super::reach::Reach;
use super::round::{divided, fits, staged};
use crate::event::Seq;
use crate::limits::SHARE_BYTES_MAX;
use crate::net::backoff::Backoff;
use crate::net::firestore::{Change, Document, Presumes, Trouble, Version, Write};

pub struct FencedStore {
    reach: Reach,
    paths: Paths,
    /// This processor: its name and its journal's.
    name: Box<str>,
    partitions: u16,
    held: Held,
    /// What this processor has shared.
    progress: RefCell<Progress>,
    /// Of the document that says it.
    version: Cell<Option<Version>>,
}

impl FencedStore {
    #[must_use]
    pub fn new(reach: Reach, paths: Paths, (name, partitions): (Box<str>, u16), held: Held) -> Self {
        let (progress, version) = (RefCell::default(), Cell::new(None));
        Self { reach, paths, name, partitions, held, progress, version }
    }

    #[must_use]
    pub fn held(&self) -> &Held {
        &self.held
    }

    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.partitions
    }

    #[must_use]
    pub fn lookup(&self) -> Lookup<'_> {
        Lookup::new(&self.reach, &self.paths)
    }

    /// Whether everything is to be left as it is.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.reach.is_abandoned()
    }

    /// Everything up to here is shared.
    #[must_use]
    pub fn through(&self) -> Seq {
        self.progress.borrow().through
    }

    /// Writes on what an earlier run wrote, so that whatever of that run is still on its way is refused.
    pub async fn resume(&self) -> Result<Progress, Failed> {
        let path = processor_path(&self.name);
        let mut backoff = Backoff::default();
        loop {
            let found = self.reach.get(&[path.as_str()]).await?.pop().flatten();
            let (mut progress, presumes) = match found {
                Some(Document { fields, version }) => {
                    (self.reach.readable(Progress::read(&path, &fields)).await?, Presumes::Version(version))
                }
                None => (Progress::default(), Presumes::Absent),
            };
            progress.writes += 1;
            let change = Change::Put(progress.fields());
            let write = Write { document: path.clone(), change, presumes: Some(presumes) };
            match self.reach.commit(vec![write]).await {
                Ok(versions) => {
                    if let Some(Some(version)) = versions.first() {
                        *self.progress.borrow_mut() = progress.clone();
                        self.version.set(Some(*version));
                        return Ok(progress);
                    }
                }
                Err(trouble) => self.reach.bear(trouble, &mut backoff).await?,
            }
        }
    }

    /// Writes into a partition's head that this processor decides on it. Returns the head, and when it was written.
    pub async fn take_head(&self, partition: u16) -> Result<(Head, Version), Failed> {
        let path = self.paths.head(partition);
        let path = path.as_str();
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

    /// Brings what a large round left in chunks to its place. Returns the head as it is then, and when it was written.
    pub async fn bring_to_place(
        &self,
        partition: u16,
        (head, version): (Head, Version),
        documents: Documents,
    ) -> Result<(Head, Version), Failed> {
        // The head is presumed as of one that is held.
        self.held.insert(partition, Holding::new(head, version, &[], BTreeSet::new()));
        let placed = self.place(partition, documents).await;
        let holding = self.held.remove(partition);
        let holding = if placed? { holding } else { None };
        holding.map(Holding::into_head).ok_or(Failed::Elsewhere { partition })
    }

    /// Looks which of the partitions that are held are another processor's.
    pub async fn lost(&self) -> Result<Vec<u16>, Failed> {
        let held = self.held.all();
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let paths: Vec<String> = held.iter().map(|partition| self.paths.head(*partition)).collect();
        let found = self.reach.get(&paths.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let mut lost = Vec::new();
        for ((partition, path), document) in held.into_iter().zip(&paths).zip(found) {
            let term = self.held.see(partition, |holding| holding.head().term).unwrap_or(0);
            if self.mine(path, document, term).await?.is_none() {
                tracing::warn!(
                    target: "gemba::kanban",
                    partition,
                    "another processor has taken a partition: what this one decided there and did not share is void"
                );
                lost.push(partition);
            }
        }
        Ok(lost)
    }

    /// Writes a round. Returns which partitions were lost before it counted, and which after.
    pub async fn write(&self, mut parts: Vec<Part>, through: Seq) -> Result<(Vec<u16>, Vec<u16>), Failed> {
        let mut lost = Vec::new();
        while !parts.is_empty() {
            let written = if fits(&parts) {
                let heads = parts.iter().map(|part| (part.partition, part.head.clone())).collect();
                let documents = parts.iter().flat_map(|part| part.documents.clone()).collect();
                self.commit(heads, documents, Some((through, &lost))).await?
            } else {
                self.stage(&parts, through, &lost).await?
            };
            if written.is_empty() {
                let staged = parts.iter().any(|part| self.is_staged(part.partition));
                let later = if staged { self.unstage(parts).await? } else { Vec::new() };
                return Ok((lost, later));
            }
            parts.retain(|part| !written.contains(&part.partition));
            lost.extend(written);
        }
        Ok((lost, Vec::new()))
    }

    fn is_staged(&self, partition: u16) -> bool {
        self.held.see(partition, |holding| holding.head().staged > 0).unwrap_or(false)
    }

    /// Brings a large round beside the heads, and makes it count. Returns what was lost before that.
    async fn stage(&self, parts: &[Part], through: Seq, lost: &[u16]) -> Result<Vec<u16>, Failed> {
        let as_they_are = || {
            let head = |part: &Part| Some((part.partition, self.held.head(part.partition)?));
            parts.iter().filter_map(head).collect::<Vec<_>>()
        };
        let mut heads = Vec::new();
        let mut chunks = Documents::new();
        for part in parts {
            let staged = staged(&self.paths, part.partition, &part.documents);
            let count = u16::try_from(staged.len()).unwrap_or(u16::MAX);
            heads.push((part.partition, Head { staged: count, ..part.head.clone() }));
            chunks.extend(staged);
        }
        for group in divided(chunks, SHARE_BYTES_MAX) {
            let lost = self.commit(as_they_are(), group, None).await?;
            if !lost.is_empty() {
                return Ok(lost);
            }
        }
        crate::fault::point("K20");
        self.commit(heads, Documents::new(), Some((through, lost))).await
    }

    /// Brings a large round to its place. Returns what was lost meanwhile: it counts, and the work is another processor's.
    async fn unstage(&self, parts: Vec<Part>) -> Result<Vec<u16>, Failed> {
        crate::fault::point("K21");
        let mut lost = Vec::new();
        for Part { partition, documents, .. } in parts {
            if !self.place(partition, documents).await? {
                lost.push(partition);
            }
        }
        Ok(lost)
    }

    /// Puts documents in their places, and says in the head that nothing is staged any more. Returns whether the partition
    /// is held to the end.
    async fn place(&self, partition: u16, documents: Documents) -> Result<bool, Failed> {
        let Some(mut head) = self.held.head(partition) else { return Ok(false) };
        for group in divided(documents, SHARE_BYTES_MAX) {
            if !self.commit(vec![(partition, head.clone())], group, None).await?.is_empty() {
                return Ok(false);
            }
        }
        head.staged = 0;
        Ok(self.commit(vec![(partition, head)], Documents::new(), None).await?.is_empty())
    }

    /// One write: these heads, if they are as this node left them, and documents. Returns which of the partitions are lost;
    /// then nothing was written. With `counts`, what was decided up to there is shared by it.
    async fn commit(
        &self,
        heads: Vec<(u16, Head)>,
        documents: Documents,
        counts: Option<(Seq, &[u16])>,
    ) -> Result<Vec<u16>, Failed> {
        let mut progress = self.progress.borrow().clone();
        progress.writes += 1;
        if let Some((through, lost)) = counts {
            progress.through = through;
            progress.lost = lost.to_vec();
        }
        let mut backoff = Backoff::default();
        loop {
            let writes = self.writes(&heads, &documents, &progress);
            let outcome = match self.reach.commit(writes).await {
                Ok(versions) => {
                    self.version.set(versions.last().copied().flatten());
                    for ((partition, head), version) in heads.iter().zip(versions) {
                        if let Some(version) = version {
                            self.held.wrote(*partition, head, version);
                        }
                    }
                    Some(Vec::new())
                }
                Err(trouble) => {
                    let unknown = matches!(trouble, Trouble::Stale | Trouble::Unknown(_));
                    self.reach.bear(trouble, &mut backoff).await?;
                    if unknown { self.look_back(&heads, &progress).await? } else { None }
                }
            };
            if let Some(lost) = outcome {
                // The number is used up, whatever it was used for.
                if lost.is_empty() {
                    *self.progress.borrow_mut() = progress;
                } else {
                    self.progress.borrow_mut().writes = progress.writes;
                }
                self.reach.went_well();
                return Ok(lost);
            }
        }
    }

    fn writes(
        &self,
        heads: &[(u16, Head)],
        documents: &[(String, Change)],
        progress: &Progress,
    ) -> Vec<Write> {
        let mut writes: Vec<Write> = heads
            .iter()
            .map(|(partition, head)| Write {
                document: self.paths.head(*partition),
                change: Change::Put(head.fields()),
                presumes: self.held.version(*partition).map(|version| {
                    let blind = crate::fault::planted("head-presumes-nothing");
                    if blind { Presumes::Present } else { Presumes::Version(version) }
                }),
            })
            .collect();
        assert!(writes.iter().all(|write| write.presumes.is_some()), "only what is held is written");
        let version = self.version.get();
        assert!(version.is_some(), "nothing is written before an earlier run's writes are fenced off");
        writes.extend(documents.iter().map(|(document, change)| Write {
            document: document.clone(),
            change: change.clone(),
            presumes: None,
        }));
        writes.push(Write {
            document: processor_path(&self.name),
            change: Change::Put(progress.fields()),
            presumes: version.map(Presumes::Version),
        });
        writes
    }

    /// What became of a write whose end is not known: it was applied (nothing is lost by it), or these partitions are lost, or,
    /// with `None`, it was not applied and may be tried again.
    async fn look_back(&self, heads: &[(u16, Head)], tried: &Progress) -> Result<Option<Vec<u16>>, Failed> {
        let mine = processor_path(&self.name);
        let paths: Vec<String> = heads.iter().map(|(partition, _)| self.paths.head(*partition)).collect();
        let asked: Vec<&str> = paths.iter().map(String::as_str).chain([mine.as_str()]).collect();
        let mut found = self.reach.get(&asked).await?;
        let document = found.pop().flatten();
        let document = document.ok_or_else(|| Failed::Store(format!("the document {mine} is missing")))?;
        let progress = self.reach.readable(Progress::read(&mine, &document.fields)).await?;
        self.version.set(Some(document.version));
        let applied = progress.writes == tried.writes;
        let mut lost = Vec::new();
        for (((partition, head), path), document) in heads.iter().zip(&paths).zip(found) {
            match self.mine(path, document, head.term).await? {
                Some(version) if applied => self.held.wrote(*partition, head, version),
                Some(version) => self.held.found(*partition, version),
                None => lost.push(*partition),
            }
        }
        Ok(match (applied, lost.is_empty()) {
            (true, _) => Some(Vec::new()),
            (false, false) => Some(lost),
            (false, true) => None,
        })
    }

    /// The version of a head, if this processor still holds its partition for this term.
    async fn mine(&self, path: &str, head: Option<Document>, term: u64) -> Result<Option<Version>, Failed> {
        let Some(Document { fields, version }) = head else { return Ok(None) };
        let head = self.reach.readable(Head::read(path, &fields)).await?;
        Ok((head.owner == self.name && head.term == term).then_some(version))
    }
}
