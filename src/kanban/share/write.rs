//! What is written to the store, and what became of it. A write counts for the partitions whose heads are as this node left
//! them, or not at all; where its end is not known, it is looked for.

use super::document::{Head, Progress, processor_path};
use super::holding::Part;
use super::round::{Documents, divided, fits, staged};
use super::sharer::{Failed, Sharer};
use crate::event::Seq;
use crate::limits::SHARE_BYTES_MAX;
use crate::net::backoff::Backoff;
use crate::net::firestore::{Change, Document, Presumes, Trouble, Version, Write};

impl Sharer {
    /// Writes a round. Returns which partitions were lost before it counted, and which after.
    pub(super) async fn write(
        &self,
        mut parts: Vec<Part>,
        through: Seq,
    ) -> Result<(Vec<u16>, Vec<u16>), Failed> {
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
        self.held.borrow().get(&partition).is_some_and(|holding| holding.head.staged > 0)
    }

    /// Brings a large round beside the heads, and makes it count. Returns what was lost before that.
    async fn stage(&self, parts: &[Part], through: Seq, lost: &[u16]) -> Result<Vec<u16>, Failed> {
        let as_they_are = || {
            let held = self.held.borrow();
            let head = |part: &Part| Some((part.partition, held.get(&part.partition)?.head.clone()));
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
    pub(super) async fn place(&self, partition: u16, documents: Documents) -> Result<bool, Failed> {
        let head = self.held.borrow().get(&partition).map(|holding| holding.head.clone());
        let Some(mut head) = head else { return Ok(false) };
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
                    let mut held = self.held.borrow_mut();
                    for ((partition, head), version) in heads.iter().zip(versions) {
                        if let (Some(holding), Some(version)) = (held.get_mut(partition), version) {
                            holding.head = head.clone();
                            holding.version = version;
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
                self.marks.trouble.tell(None);
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
        let held = self.held.borrow();
        let mut writes: Vec<Write> = heads
            .iter()
            .map(|(partition, head)| Write {
                document: self.paths.head(*partition),
                change: Change::Put(head.fields()),
                presumes: held.get(partition).map(|holding| {
                    let blind = crate::fault::planted("head-presumes-nothing");
                    if blind { Presumes::Present } else { Presumes::Version(holding.version) }
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
                Some(version) => {
                    if let Some(holding) = self.held.borrow_mut().get_mut(partition) {
                        holding.version = version;
                        if applied {
                            holding.head = head.clone();
                        }
                    }
                }
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
    pub(super) async fn mine(
        &self,
        path: &str,
        head: Option<Document>,
        term: u64,
    ) -> Result<Option<Version>, Failed> {
        let Some(Document { fields, version }) = head else { return Ok(None) };
        let head = self.reach.readable(Head::read(path, &fields)).await?;
        Ok((head.owner == self.name && head.term == term).then_some(version))
    }
}
