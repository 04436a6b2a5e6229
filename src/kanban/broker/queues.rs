//! What waits in the queue of each partition, and whether anybody takes it. Edges and processors both look: a processor
//! that is dead tells nothing, and those that publish for it, or stand in line behind it, see that nobody takes.

use std::convert::Infallible;

use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::time::timeout;

use super::topology::Topology;
use crate::limits::{QUEUE_ANSWER, QUEUES_LOOKED_AT_EVERY};
use crate::net::amqp::Open;
use crate::ring::Mark;

/// The queues of all partitions, as they were seen last.
#[derive(Clone, Debug)]
pub struct Queues(Vec<Marks>);

#[derive(Clone, Debug)]
struct Marks {
    messages: Mark,
    consumers: Mark,
}

/// One queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    pub messages: u64,
    /// Who takes from it. The broker counts one of those that stand in line for a quorum queue.
    pub consumers: u64,
}

const UNKNOWN: u64 = u64::MAX;

impl Queues {
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        let unknown = || Marks { messages: Mark::new(UNKNOWN), consumers: Mark::new(UNKNOWN) };
        Self((0..partitions).map(|_| unknown()).collect())
    }

    /// Each partition's, in order; `None` where it is not known.
    pub fn seen(&self) -> impl Iterator<Item = Option<Queue>> {
        self.0.iter().map(|marks| {
            let queue = Queue { messages: marks.messages.read(), consumers: marks.consumers.read() };
            (queue.messages != UNKNOWN && queue.consumers != UNKNOWN).then_some(queue)
        })
    }

    /// Partitions that nobody takes.
    pub fn untaken(&self) -> impl Iterator<Item = usize> {
        let queues = self.seen().enumerate();
        queues
            .filter(|(_, queue)| queue.is_some_and(|queue| queue.consumers == 0))
            .map(|(partition, _)| partition)
    }

    /// Does `work` over a connection, and looks at the queues while it lasts.
    pub async fn looked_at_during<T>(
        self,
        (open, topology): (&Open, &Topology),
        work: impl Future<Output = T>,
    ) -> T {
        let done = tokio::select! {
            biased;
            done = work => done,
            never = self.look_on(open, topology) => match never {},
        };
        self.0.iter().for_each(|marks| marks.tell(None));
        done
    }

    async fn look_on(&self, open: &Open, topology: &Topology) -> Infallible {
        let mut channel = None;
        loop {
            for (partition, marks) in (0..).zip(&self.0) {
                let queue = topology.queue(partition);
                let seen = timeout(QUEUE_ANSWER, look_over(open, &mut channel, &queue)).await;
                let seen = seen.ok().and_then(Result::ok);
                if seen.is_none() {
                    // An error ends it, and after a time-out an answer may still come.
                    channel = None;
                }
                marks.tell(seen);
            }
            tokio::time::sleep(QUEUES_LOOKED_AT_EVERY).await;
        }
    }
}

impl Marks {
    fn tell(&self, seen: Option<Queue>) {
        self.messages.publish(seen.map_or(UNKNOWN, |queue| queue.messages));
        self.consumers.publish(seen.map_or(UNKNOWN, |queue| queue.consumers));
    }
}

async fn look_over(open: &Open, channel: &mut Option<Channel>, queue: &str) -> lapin::Result<Queue> {
    let asking = match channel {
        Some(asking) => asking,
        None => channel.insert(open.connection.create_channel().await?),
    };
    look(asking, queue).await
}

/// What is in a queue, and who takes from it.
pub async fn look(channel: &Channel, queue: &str) -> lapin::Result<Queue> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let seen = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok(Queue { messages: seen.message_count().into(), consumers: seen.consumer_count().into() })
}
