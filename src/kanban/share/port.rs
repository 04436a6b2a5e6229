//! The way into the journal.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;

use super::failed::Failed;
use crate::event::{Ack, Arrival, Seq};
use crate::ring::{Bell, Full, Receiver, Sender, Switch};
use crate::sharing::{Cut, Row, RowCut, Shared};

/// The lanes between the sharer, the journal, and the shards.
pub struct Lanes {
    pub arrivals: Sender<Arrival>,
    pub acks: Receiver<Ack>,
    /// Of each shard.
    pub cuts: Vec<Receiver<RowCut>>,
    pub bell: Arc<Bell>,
    pub rung: Arc<Notify>,
}

/// The sharer's end of them.
pub struct Port {
    journal: Mutex<(Sender<Arrival>, Receiver<Ack>)>,
    cuts: RefCell<Vec<Receiver<RowCut>>>,
    bell: Arc<Bell>,
    rung: Arc<Notify>,
    abandon: Switch,
}

/// A wait looks again after so long.
const LOOK: Duration = Duration::from_millis(2);

impl Port {
    pub fn new(lanes: Lanes, abandon: Switch) -> Self {
        let Lanes { arrivals, acks, cuts, bell, rung } = lanes;
        Self { journal: Mutex::new((arrivals, acks)), cuts: RefCell::new(cuts), bell, rung, abandon }
    }

    /// Everything that was decided up to now and is not in the cut before.
    pub async fn cut(&self) -> Result<(Cut, Vec<Row>), Failed> {
        let cut = match self.journal(vec![Arrival::Cut]).await?.pop() {
            Some(Ack::Cut(cut)) => *cut,
            other => unreachable!("a cut is answered by one, not by {other:?}"),
        };
        let rows = self.rows(cut.through).await?;
        Ok((cut, rows))
    }

    /// What every shard has of the cut.
    async fn rows(&self, through: Seq) -> Result<Vec<Row>, Failed> {
        let shards = self.cuts.borrow().len();
        let mut rows = Vec::new();
        for shard in 0..shards {
            let cut = loop {
                if let Some(cut) = self.cuts.borrow_mut()[shard].pop() {
                    break cut;
                }
                self.wait().await?;
            };
            assert_eq!(cut.through, through, "one cut is made after the other");
            rows.extend(cut.rows);
        }
        Ok(rows)
    }

    pub async fn shared(&self, shared: Shared) -> Result<(), Failed> {
        self.journal(vec![Arrival::Shared(Box::new(shared))]).await.map(drop)
    }

    /// Brings something into the journal, and waits until it is durable there.
    pub async fn journal(&self, arrivals: Vec<Arrival>) -> Result<Vec<Ack>, Failed> {
        let mut port = self.journal.lock().await;
        let (journal, answers) = &mut *port;
        let mut acks = Vec::with_capacity(arrivals.len());
        let mut waiting = arrivals.into_iter();
        let mut sent = 0;
        let mut next = waiting.next();
        while next.is_some() || acks.len() < sent {
            while let Some(arrival) = next.take() {
                match journal.push(arrival) {
                    Ok(()) => {
                        sent += 1;
                        next = waiting.next();
                    }
                    Err(Full(back)) => {
                        next = Some(back);
                        break;
                    }
                }
            }
            journal.ring();
            match answers.pop() {
                Some(ack) => acks.push(ack),
                None => self.wait().await?,
            }
        }
        Ok(acks)
    }

    async fn wait(&self) -> Result<(), Failed> {
        self.bell.announce_sleep();
        // Several may wait; the bell wakes one of them.
        let _rung = timeout(LOOK, self.rung.notified()).await;
        self.bell.awake();
        if self.abandon.is_on() { Err(Failed::Ending) } else { Ok(()) }
    }
}
