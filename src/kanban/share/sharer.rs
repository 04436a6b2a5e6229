//! Shares what this node decides, and takes what others have shared.
//!
//! A round: the journal makes a cut, every shard gives what changed, one write brings it to Firestore, and the journal notes
//! that it is shared; only then do the shards let go of what they decided. Rounds, the taking of a partition and its giving up
//! come one after the other; governors are loaded beside them.
//!
//! What became of a write is never guessed. Each carries a number that grows, in the document of this processor: where the
//! answer is missing, that number says whether it was applied, and the heads say who decides now.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, sleep};

use super::document::{Governor, Paths, Progress};
use super::failed::Failed;
use super::fenced_store::FencedStore;
use super::held::Held;
use super::holding::Holding;
use super::lookup::Check;
use super::marks::Marks;
use super::port::{Lanes, Port};
use super::reach::{Ending, Reach};
use super::waits::Waits;
use crate::clock;
use crate::event::{Ack, Arrival, EdgeName, Position, Seq, Subject};
use crate::limits::{SHARE_EVERY, SHARE_LOADS_MAX};
use crate::net::firestore::Firestore;
use crate::ring::Mark;
use crate::sharing::{Adopted, Hold, Shared, Taken, partition_of};

/// An operator wants to see or order a governor; it is loaded first. The answer is the event behind which its shard has it.
#[derive(Debug)]
pub struct Ask {
    pub subject: Subject,
    pub answer: oneshot::Sender<Result<Seq, Failed>>,
}

/// Shares the state of this node's partitions.
pub struct Sharer {
    store: FencedStore,
    port: Port,
    check: Check,
    /// One round, taking or giving up at a time.
    turn: Mutex<()>,
    /// One load at a time.
    loading: Mutex<()>,
    begun: Cell<bool>,
    marks: Marks,
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
        let reach = Reach::new(firestore, marks.clone(), ending.clone());
        let held = Held::none(Arc::clone(&marks.terms));
        Self {
            store: FencedStore::new(reach, Paths::new(line), (name, partitions), held),
            port: Port::new(lanes, ending.abandon),
            check,
            turn: Mutex::new(()),
            loading: Mutex::new(()),
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
                    if self.store.is_abandoned() {
                        return Failed::Ending;
                    }
                }
            }
        };
        let answers = async {
            while let Some(Ask { subject, answer }) = asks.recv().await {
                let partition = partition_of(&subject.tenant, self.store.partitions());
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
        self.store.held().holds(partition)
    }

    #[must_use]
    pub fn held(&self) -> Vec<u16> {
        self.store.held().all()
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
        let Progress { through, lost, .. } = self.store.resume().await?;
        self.port.shared(Shared { through, lost: lost.into() }).await?;
        self.port.shared(Shared { through, lost: (0..self.store.partitions()).collect() }).await?;
        self.begun.set(true);
        Ok(())
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
            self.lose(&[partition]).await?;
        }
        Ok(())
    }

    async fn share(&self) -> Result<(), Failed> {
        if !self.has_changed() {
            return Ok(());
        }
        let (cut, rows) = self.port.cut().await?;
        let through = cut.through;
        let parts = self.store.held().parts(self.store.paths(), cut, rows);
        crate::fault::point("K18");
        let (lost, lost_later) = self.store.write(parts, through).await?;
        crate::fault::point("K19");
        self.store.held().forget(&lost);
        self.port.shared(Shared { through, lost: lost.as_slice().into() }).await?;
        if !lost_later.is_empty() {
            self.store.held().forget(&lost_later);
            self.port.shared(Shared { through, lost: lost_later.as_slice().into() }).await?;
        }
        self.marks.lost.publish(self.marks.lost.read() + (lost.len() + lost_later.len()) as u64);
        self.marks.through.publish(through.0);
        self.marks.rounds.publish(self.marks.rounds.read() + 1);
        self.marks.shared_at.publish(clock::millis());
        Ok(())
    }

    /// Takes a partition from whoever decided on it. Returns through which numbers its signals are decided, by edge.
    pub async fn take(&self, partition: u16) -> Result<Vec<(EdgeName, Seq)>, Failed> {
        let _turn = self.turn.lock().await;
        let lookup = self.store.lookup();
        let (mut head, mut version) = self.store.take_head(partition).await?;
        if head.staged > 0 {
            let staged = lookup.staged(partition, head.staged).await?;
            (head, version) = self.store.bring_to_place(partition, (head, version), staged).await?;
        }
        let recent = lookup.recent(partition, head.signals).await?;
        let open = lookup.open(partition, head.open).await?;
        let positions: Vec<(EdgeName, Seq)> =
            head.positions.iter().map(|(edge, through)| (edge.clone(), *through)).collect();
        let of =
            |(edge, through): &(EdgeName, Seq)| Position { edge: edge.clone(), partition, through: *through };
        let hold = Hold { partition, term: head.term };
        let taken = Taken { hold, positions: positions.iter().map(of).collect(), recent: recent.clone() };
        self.port.journal(vec![Arrival::Taken(Box::new(taken))]).await?;
        let subjects: Vec<Subject> = open.iter().filter_map(|name| subject_of(name)).collect();
        let term = head.term;
        let held = self.store.held();
        held.insert(partition, Holding::new(head, version, &recent, open));
        held.tell(partition, term);
        if let Err(failed) = self.load(partition, &subjects).await {
            // What is not wholly loaded is given up, and taken again.
            self.lose(&[partition]).await?;
            return Err(failed);
        }
        Ok(positions)
    }

    /// Loads the governors of a partition that are not known yet. They are as the store has them once their shard has stepped
    /// the event that is returned.
    pub async fn load(&self, partition: u16, subjects: &[Subject]) -> Result<Seq, Failed> {
        // A governor that is loaded twice would go back to what it was.
        let _loading = self.loading.lock().await;
        let held = self.store.held();
        let (term, unknown) = held
            .see(partition, |holding| {
                let unknown = subjects.iter().filter(|subject| !holding.knows(subject));
                (holding.head().term, unknown.collect::<Vec<_>>())
            })
            .ok_or(Failed::Elsewhere { partition })?;
        for asked in unknown.chunks(SHARE_LOADS_MAX) {
            let (mut adopted, mut waits) = (Vec::new(), Vec::new());
            for (subject, governor, waiting) in self.store.lookup().governors(asked, self.check).await? {
                let Governor { adopt, timers, waiting: listed } = governor;
                let arrival = Adopted { term, adopt, timers, waiting };
                adopted.push(Arrival::Adopted(Box::new(arrival)));
                waits.push((subject, listed));
            }
            let acks = self.port.journal(adopted).await?;
            held.change(partition, term, |holding| {
                for ((subject, listed), ack) in waits.into_iter().zip(acks) {
                    // The signals that wait come last.
                    let Ack::Durable { last, .. } = ack else { return Err(Failed::Elsewhere { partition }) };
                    let count: usize = listed.iter().map(|listed| listed.left).sum();
                    let seqs = (last.0 + 1 - count as u64..=last.0).map(Seq);
                    holding.adopted(subject, Waits::adopted(&listed, seqs), last);
                }
                for subject in asked {
                    holding.learn(subject);
                }
                Ok(())
            })?;
        }
        held.see(partition, Holding::loaded).ok_or(Failed::Elsewhere { partition })
    }

    /// Whether another processor has taken a partition can be so whenever the broker's connection broke. Looks, and gives up what
    /// was taken.
    pub async fn look_after(&self) -> Result<(), Failed> {
        let _turn = self.turn.lock().await;
        let lost = self.store.lost().await?;
        if lost.is_empty() {
            return Ok(());
        }
        self.marks.lost.publish(self.marks.lost.read() + lost.len() as u64);
        self.lose(&lost).await
    }

    /// What was decided of these partitions is void.
    async fn lose(&self, lost: &[u16]) -> Result<(), Failed> {
        self.store.held().forget(lost);
        let through = self.store.through();
        self.port.shared(Shared { through, lost: lost.into() }).await
    }
}

/// From `tenant:sku`.
fn subject_of(name: &str) -> Option<Subject> {
    let (tenant, sku) = name.split_once(':')?;
    Subject::read(tenant, sku).ok()
}
