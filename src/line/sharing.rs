//! Processors that share the state of partitions: what is put between the journal, the shards and Firestore, and what is seen
//! of it from outside.

use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::answer::{answered, in_time};
use super::error::ServeError;
use super::settings::{Link, Sharing};
use super::wiring::IngressEnds;
use crate::clock;
use crate::event::{Seq, Subject};
use crate::jidoka::governor::Bare;
use crate::jidoka::ownership::PartitionOwnership;
use crate::kaizen::{Metric, Readings};
use crate::kanban::broker::consumer::{self, Consumer};
use crate::kanban::broker::trouble::Trouble;
use crate::kanban::share::{Ask, Ending, Failed, Lanes, Marks, Sharer};
use crate::limits::QUERIES_LANE;
use crate::operator::Refused;
use crate::ring::{Mark, Switch, lane};
use crate::sharing::{HeldPartitions, partition_of};
use crate::view::{StageHealth, StateView};

/// What the line's stages are given.
pub struct Ends {
    pub marks: Marks,
    /// One for each shard.
    pub tenures: Vec<PartitionOwnership>,
    pub asks: mpsc::Sender<Ask>,
    pub sharer: Box<Sharer>,
    pub asked: mpsc::Receiver<Ask>,
}

/// Puts the sharer between the lanes. `held` is what the shards held at the watermark of their store.
pub fn plan(
    (sharing, link): (&Sharing, &Link),
    name: Box<str>,
    held: &[u16],
    end: IngressEnds,
    shards: usize,
    (drain, abandon, busy): (&Switch, &Switch, Mark),
) -> Result<Ends, ServeError> {
    let IngressEnds { arrivals, acks, bell, acked } = end;
    let partitions = link.topology.partitions;
    let marks = Marks::new(partitions, Trouble::of_shared_state());
    let (mut tenures, mut cuts) = (Vec::new(), Vec::new());
    for _ in 0..shards {
        let (cut, taken) = lane(1, Arc::clone(&bell));
        tenures.push(PartitionOwnership::new(HeldPartitions::new(partitions, held), cut));
        cuts.push(taken);
    }
    let lanes = Lanes { arrivals, acks, cuts, bell, rung: acked };
    let ending = Ending { drain: drain.clone(), abandon: abandon.clone() };
    let firestore = sharing.open().map_err(ServeError::Sharing)?;
    let line = (name, link.topology.name.as_str(), partitions);
    let sharer = Sharer::new(firestore, line, is_row, lanes, (marks.clone(), busy), ending);
    let (asks, asked) = mpsc::channel(QUERIES_LANE);
    Ok(Ends { marks, tenures, asks, sharer: Box::new(sharer), asked })
}

/// What the operators' desk must ask for where the state is shared: governors that are in the store, or another processor's.
#[derive(Clone)]
pub struct Elsewhere(pub Option<(mpsc::Sender<Ask>, Marks)>);

/// A governor that is decided on here.
#[derive(Clone, Copy, Debug)]
pub struct Here {
    /// In which its partition is held; 0 where nothing is shared.
    term: u64,
    /// Its shard has it once it has stepped this event.
    pub after: Seq,
}

impl Elsewhere {
    /// Has a governor as it is shared.
    pub async fn load(&self, subject: &Subject) -> Result<Here, Refused> {
        let Some((asks, marks)) = &self.0 else { return Ok(Here { term: 0, after: Seq(0) }) };
        let (tell, answer) = oneshot::channel();
        let ask = Ask { subject: subject.clone(), answer: tell };
        asks.try_send(ask).map_err(|_| Refused::Unavailable)?;
        match answered(answer).await? {
            Ok(after) => Ok(Here { term: term(marks, subject), after }),
            Err(Failed::Ending) => Err(Refused::Unavailable),
            Err(why @ Failed::Elsewhere { .. }) => Err(Refused::NotOwned(why.to_string())),
            Err(why @ Failed::Store(_)) => Err(Refused::Conflict(why.to_string())),
        }
    }

    /// Waits until what was decided of a governor up to `seq` is shared: only then it counts, and only in the term in which it was
    /// ordered.
    pub async fn counts(&self, subject: &Subject, here: Here, seq: Seq) -> Result<(), Refused> {
        let Some((_, marks)) = &self.0 else { return Ok(()) };
        in_time(marks.through.reaches(seq.0)).await?;
        if term(marks, subject) == here.term {
            return Ok(());
        }
        Err(Refused::NotOwned("another processor has taken its partition meanwhile: nothing was done".into()))
    }
}

fn term(marks: &Marks, subject: &Subject) -> u64 {
    let partitions = u16::try_from(marks.terms.len()).unwrap_or(u16::MAX);
    marks.term(partition_of(&subject.tenant, partitions)).unwrap_or_default()
}

/// Whether bytes are the row of this governor.
fn is_row(row: &[u8], subject: &Subject) -> Result<(), String> {
    let governor = Bare::decode(row).and_then(Bare::alone).map_err(|damage| damage.to_string())?;
    if (governor.tenant(), governor.sku()) == (&*subject.tenant, &*subject.sku) && governor.waiting() == 0 {
        Ok(())
    } else {
        Err("is another governor's".into())
    }
}

/// Runs consumer and sharer until the consumer is told to stop.
pub async fn run(
    consumer: Consumer,
    stop: &consumer::Stop,
    sharer: Sharer,
    asked: mpsc::Receiver<Ask>,
) -> Result<(), ServeError> {
    let sharer = Rc::new(sharer);
    tokio::select! {
        () = consumer.run(stop, Some(Rc::clone(&sharer))) => Ok(()),
        failed = sharer.run(asked) => match failed {
            Failed::Ending => Ok(()),
            Failed::Store(_) | Failed::Elsewhere { .. } => Err(ServeError::Shared(failed)),
        },
    }
}

/// Everything that is decided and not shared waits for it; a processor that cannot share decides nothing that counts.
#[must_use]
pub fn health(marks: &Marks) -> StageHealth {
    let trouble = marks.trouble.now();
    StageHealth { stage: "state".into(), ok: trouble.is_none(), reason: trouble.map(Into::into) }
}

#[must_use]
pub fn view(marks: &Marks) -> StateView {
    let (changed, through) = (marks.changed.read(), marks.through.read());
    let age = clock::millis().saturating_sub(marks.shared_at.read());
    StateView {
        shared_seq: through,
        is_shared: changed <= through,
        unshared_milliseconds: if changed > through { age } else { 0 },
        rounds: marks.rounds.read(),
        failed_calls: marks.failed.read(),
        lost_partitions: marks.lost.read(),
        held_partitions: (0..)
            .zip(marks.terms.iter())
            .filter(|(_, term)| term.read() > 0)
            .map(|(p, _)| p)
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
pub fn read(marks: &Marks, readings: &mut Readings) {
    let view = view(marks);
    readings.count(Metric::StateSharedSeq, &[], view.shared_seq);
    readings.count(Metric::StateRounds, &[], view.rounds);
    readings.count(Metric::StateFailedCalls, &[], view.failed_calls);
    readings.count(Metric::StateLostPartitions, &[], view.lost_partitions);
    readings.count(Metric::StateHeldPartitions, &[], view.held_partitions.len() as u64);
    readings.set(Metric::StateUnshared, &[], view.unshared_milliseconds as f64 / 1000.0);
}
