//! Shares what this node decides, and takes what others have shared.
//!
//! A round: the journal makes a cut, every shard gives what changed, one write brings it to Firestore, and the journal notes
//! that it is shared; only then do the shards let go of what they decided. Rounds, the taking of a partition and its giving up
//! come one after the other; governors are loaded beside them.
//!
//! What became of a write is never guessed. Each carries a number that grows, in the document of this processor: where the
//! answer is missing, that number says whether it was applied, and the heads say who decides now.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::document::{Paths, Progress, processor_path};
use super::holding::{Holding, Part};
use super::marks::Marks;
use super::port::{Lanes, Port};
use super::reach::{Ending, Reach};
use crate::clock;
use crate::event::{Position, Seq, Subject};
use crate::limits::SHARE_EVERY;
use crate::net::backoff::Backoff;
use crate::net::firestore::{Change, Document, Firestore, Presumes, Version, Write};
use crate::ring::Mark;
use crate::sharing::{Cut, Row, Shared, partition_of};
use crate::signal::Fingerprint;

/// An operator wants to see or order a governor; it is loaded first. The answer is the event behind which its shard has it.
#[derive(Debug)]
pub struct Ask {
    pub subject: Subject,
    pub answer: oneshot::Sender<Result<Seq, Failed>>,
}

/// Whether bytes are a governor's row.
pub type Check = fn(&[u8], &Subject) -> Result<(), String>;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("the line ends")]
    Ending,
    #[error("the shared state: {0}")]
    Store(String),
    #[error("partition {partition} is decided on by another processor")]
    Elsewhere { partition: u16 },
}

/// Shares the state of this node's partitions.
pub struct Sharer {
    pub(super) reach: Reach,
    pub(super) port: Port,
    /// This processor: its name and its journal's.
    pub(super) name: Box<str>,
    pub(super) line: String,
    pub(super) paths: Paths,
    pub(super) partitions: u16,
    pub(super) check: Check,
    /// One round, taking or giving up at a time.
    pub(super) turn: Mutex<()>,
    /// One load at a time.
    pub(super) loading: Mutex<()>,
    pub(super) held: RefCell<BTreeMap<u16, Holding>>,
    pub(super) progress: RefCell<Progress>,
    /// Of the document that says it.
    pub(super) version: Cell<Option<Version>>,
    begun: Cell<bool>,
    pub(super) marks: Marks,
    /// Orders that are being carried out.
    busy: Mark,
}

/// Actions under way may take so long at the end.
const SETTLE: Duration = Duration::from_secs(5);
/// What ends by itself is looked at so often.
const LOOK: Duration = Duration::from_millis(2);
/// Whether something changed is looked at so often.
const LOOK_FOR_CHANGES: Duration = Duration::from_millis(10);

impl Sharer {
    #[must_use]
    pub fn new(
        firestore: Firestore,
        (name, line, partitions): (Box<str>, &str, u16),
        check: Check,
        lanes: Lanes,
        (marks, busy): (Marks, Mark),
        ending: Ending,
    ) -> Self {
        Self {
            reach: Reach::new(firestore, marks.clone(), ending.clone()),
            port: Port::new(lanes, ending.abandon),
            name,
            paths: Paths::new(line),
            line: line.to_owned(),
            partitions,
            check,
            turn: Mutex::new(()),
            loading: Mutex::new(()),
            held: RefCell::default(),
            progress: RefCell::default(),
            version: Cell::new(None),
            begun: Cell::new(false),
            marks,
            busy,
        }
    }

    /// Shares round after round, and loads what operators ask for, until the line ends.
    pub async fn run(&self, mut asks: mpsc::Receiver<Ask>) -> Failed {
        let rounds = async {
            if let Err(ended) = self.begin().await {
                return ended;
            }
            loop {
                let begun = Instant::now();
                if let Err(ended) = self.round().await {
                    return ended;
                }
                let next = begun + SHARE_EVERY;
                while Instant::now() < next || !self.has_changed() {
                    sleep(LOOK_FOR_CHANGES).await;
                    if self.reach.is_abandoned() {
                        return Failed::Ending;
                    }
                }
            }
        };
        let answers = async {
            while let Some(Ask { subject, answer }) = asks.recv().await {
                let partition = partition_of(&subject.tenant, self.partitions);
                let loaded = self.load(partition, &[subject]).await;
                // Who asked may have gone.
                let _gone = answer.send(loaded);
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = rounds => ended,
            ended = answers => ended,
        }
    }

    /// Whether an earlier run's last round is settled, so that partitions may be taken.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Grows when a partition is lost.
    #[must_use]
    pub fn losses(&self) -> u64 {
        self.marks.lost.read()
    }

    #[must_use]
    pub fn holds(&self, partition: u16) -> bool {
        self.held.borrow().contains_key(&partition)
    }

    #[must_use]
    pub fn held(&self) -> Vec<u16> {
        self.held.borrow().keys().copied().collect()
    }

    /// Everything up to here is shared.
    #[must_use]
    pub fn through(&self) -> Seq {
        Seq(self.marks.through.read())
    }

    /// The newest event that must be shared before anything that repeats it may be acknowledged.
    #[must_use]
    pub fn changed(&self) -> Seq {
        Seq(self.marks.changed.read())
    }

    fn has_changed(&self) -> bool {
        self.changed() > self.through()
    }

    /// An earlier run may have ended between a round and its note in the journal. What was shared then counts; whatever else
    /// was decided is void, and every partition is taken anew.
    async fn begin(&self) -> Result<(), Failed> {
        let Progress { through, lost, .. } = self.resume().await?;
        self.port.shared(Shared { through, lost: lost.into() }).await?;
        self.port.shared(Shared { through, lost: (0..self.partitions).collect() }).await?;
        self.begun.set(true);
        Ok(())
    }

    /// Writes on what an earlier run wrote, so that whatever of that run is still on its way is refused.
    async fn resume(&self) -> Result<Progress, Failed> {
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

    /// Before the line ends: waits a while for actions under way, whose outcomes would be void otherwise, and shares what is
    /// left. What is not shared then is decided again by whoever takes the partition.
    pub async fn settle(&self) {
        let until = Instant::now() + SETTLE;
        while self.busy.read() > 0 && Instant::now() < until {
            sleep(LOOK).await;
        }
        while self.has_changed() && Instant::now() < until && self.round().await.is_ok() {}
    }

    /// Shares everything that was decided so far.
    pub async fn round(&self) -> Result<(), Failed> {
        let _turn = self.turn.lock().await;
        self.share().await
    }

    /// Gives a partition up: what is decided of it is shared, and the next one may take it.
    pub async fn give_up(&self, partition: u16) -> Result<(), Failed> {
        let _turn = self.turn.lock().await;
        self.share().await?;
        if self.holds(partition) {
            self.forget(&[partition]);
            let through = self.progress.borrow().through;
            self.port.shared(Shared { through, lost: [partition].into() }).await?;
        }
        Ok(())
    }

    pub(super) fn forget(&self, lost: &[u16]) {
        for partition in lost {
            self.held.borrow_mut().remove(partition);
            if let Some(mark) = self.marks.terms.get(usize::from(*partition)) {
                mark.publish(0);
            }
        }
    }

    async fn share(&self) -> Result<(), Failed> {
        if !self.has_changed() {
            return Ok(());
        }
        let (cut, rows) = self.port.cut().await?;
        let through = cut.through;
        let parts = self.parts(cut, rows);
        crate::fault::point("K18");
        let (lost, lost_later) = self.write(parts, through).await?;
        crate::fault::point("K19");
        self.forget(&lost);
        self.port.shared(Shared { through, lost: lost.as_slice().into() }).await?;
        if !lost_later.is_empty() {
            self.forget(&lost_later);
            self.port.shared(Shared { through, lost: lost_later.as_slice().into() }).await?;
        }
        self.marks.lost.publish(self.marks.lost.read() + (lost.len() + lost_later.len()) as u64);
        self.marks.through.publish(through.0);
        self.marks.rounds.publish(self.marks.rounds.read() + 1);
        self.marks.shared_at.publish(clock::millis());
        Ok(())
    }

    fn parts(&self, cut: Cut, rows: Vec<Row>) -> Vec<Part> {
        let Cut { positions, identities, .. } = cut;
        let mut by_partition: BTreeMap<u16, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_partition.entry(row.partition).or_default().push(row);
        }
        let mut parts = Vec::new();
        for (partition, holding) in self.held.borrow_mut().iter_mut() {
            let rows = by_partition.remove(partition).unwrap_or_default();
            for row in &rows {
                holding.learn(&row.subject);
            }
            let positions: Vec<Position> =
                positions.iter().filter(|position| position.partition == *partition).cloned().collect();
            let signals = identities.iter().filter(|(of, ..)| of == partition);
            let signals: Vec<(Fingerprint, u64)> =
                signals.map(|(_, identity, digest)| (*identity, *digest)).collect();
            let moved = positions
                .iter()
                .any(|position| holding.head.positions.get(&position.edge) != Some(&position.through));
            if rows.is_empty() && signals.is_empty() && !moved {
                continue;
            }
            let (positions, signals) = (positions.into_iter(), signals.into_iter());
            parts.push(holding.part((&self.paths, &self.line), &rows, positions, signals, *partition));
        }
        parts
    }
}
