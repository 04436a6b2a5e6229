//! The thread that talks to the broker, and what is seen of it from outside. It waits on others and so has a runtime of
//! its own: neither the hot threads nor the actions wait with it.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;

use super::error::ServeError;
use super::sharing;
use crate::clock;
use crate::event::{Astray, Seq};
use crate::kaizen::{Heartbeat, Metric, Readings};
use crate::kanban::broker::consumer::{self, Consumer};
use crate::kanban::broker::publisher::{self, Publisher};
use crate::kanban::broker::queues::Queues;
use crate::kanban::share::{Ask, Sharer};
use crate::ring::Mark;
use crate::view::{BrokerView, PartitionView, QueueView, StageHealth};

/// What is seen of the broker at one node.
#[derive(Clone, Debug)]
pub enum Broker {
    /// At an edge.
    Publisher(publisher::Marks),
    /// At a processor.
    Consumer(consumer::Marks),
}

/// Runs the publisher until it is told to stop.
pub fn publish(publisher: Publisher, heartbeat: Heartbeat, stop: &publisher::Stop) -> Result<(), ServeError> {
    Ok(runtime()?.block_on(beating(heartbeat, publisher.run(stop)))?)
}

/// Runs the consumer until it is told to stop, with what shares its state, if anything does.
pub fn consume(
    consumer: Consumer,
    heartbeat: Heartbeat,
    stop: &consumer::Stop,
    sharing: Option<(Box<Sharer>, mpsc::Receiver<Ask>)>,
) -> Result<(), ServeError> {
    let work = async {
        let Some((sharer, asked)) = sharing else {
            consumer.run(stop, None).await;
            return Ok(());
        };
        sharing::run(consumer, stop, *sharer, asked).await
    };
    runtime()?.block_on(beating(heartbeat, work))
}

/// Does the work, and notes meanwhile that the thread turns.
async fn beating<T>(mut heartbeat: Heartbeat, work: impl Future<Output = T>) -> T {
    let beat = async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            heartbeat.turn(clock::now());
        }
    };
    tokio::select! {
        done = work => done,
        never = beat => never,
    }
}

fn runtime() -> Result<tokio::runtime::LocalRuntime, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.map_err(|source: io::Error| ServeError::Stage { stage: "broker".into(), source })
}

impl Broker {
    /// Whether something is wrong with the broker now, be the node ready or not.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        match self {
            Self::Publisher(marks) => {
                marks.connected.read() == 0
                    || marks.blocked.read() == 1
                    || marks.queues.untaken().next().is_some()
            }
            Self::Consumer(marks) => marks.connected.read() == 0,
        }
    }

    /// A broker that is away is a longer queue at an edge, and nothing to do at a processor.
    #[must_use]
    pub fn health(&self, durable: Seq) -> StageHealth {
        let (ok, reason) = match self {
            Self::Publisher(marks) => {
                let waiting = durable.0.saturating_sub(marks.confirmed.read());
                let blocked = (marks.blocked.read() == 1).then(|| "the broker takes no messages".into());
                let trouble = marks.trouble.now().or(blocked);
                let trouble = trouble.map(|why| format!("{why}; {waiting} events wait for it"));
                let untaken = marks.queues.untaken().next();
                let untaken = untaken.map(|partition| format!("nobody takes partition {partition}"));
                (true, trouble.or(untaken))
            }
            Self::Consumer(marks) => {
                let connected = marks.connected.read() == 1;
                let trouble = marks.trouble.now().map(Into::into);
                (
                    connected,
                    trouble.or_else(|| (!connected).then(|| "the broker is not connected yet".into())),
                )
            }
        };
        StageHealth { stage: "broker".into(), ok, reason }
    }

    #[must_use]
    pub fn view(&self, durable: Seq) -> BrokerView {
        match self {
            Self::Publisher(marks) => BrokerView::Edge {
                connected: marks.connected.read() == 1,
                blocked: marks.blocked.read() == 1,
                reconnects: marks.broken.read(),
                backlog_events: durable.0.saturating_sub(marks.confirmed.read()),
                unconfirmed_messages: marks.window.read(),
                confirmed_messages: marks.messages.read(),
                partitions: queues(&marks.queues).collect(),
            },
            Self::Consumer(marks) => BrokerView::Processor {
                connected: marks.connected.read() == 1,
                reconnects: marks.broken.read(),
                unacknowledged_messages: marks.unacked.read(),
                acknowledged_messages: marks.messages.read(),
                repeated_messages: marks.repeats.read(),
                rejected_messages: marks.rejected.iter().map(Mark::read).sum(),
                missing_signals: marks.missing.read(),
                partitions: queues(&marks.queues)
                    .map(|queue| {
                        let mine = marks.partitions.iter().find(|mine| mine.number == queue.partition);
                        let owned = mine.is_some_and(|mine| mine.owned.read() == 1);
                        PartitionView { consumed: mine.is_some(), owned, queue }
                    })
                    .collect(),
            },
        }
    }

    /// The same, as metrics.
    pub fn read(&self, durable: Seq, readings: &mut Readings) {
        if let Self::Consumer(marks) = self {
            for why in Astray::ALL.into_iter().filter(|why| why.is_of_a_message()) {
                let rejected = marks.rejected.get(why as usize).map_or(0, Mark::read);
                readings.count(Metric::BrokerRejected, &[why.into_str()], rejected);
            }
        }
        let mut count = |metric, value: u64| readings.count(metric, &[], value);
        match self.view(durable) {
            BrokerView::Edge {
                connected,
                blocked,
                reconnects,
                backlog_events,
                unconfirmed_messages,
                confirmed_messages,
                partitions,
            } => {
                count(Metric::BrokerConnected, connected.into());
                count(Metric::BrokerReconnects, reconnects);
                count(Metric::BrokerMessages, confirmed_messages);
                count(Metric::BrokerBlocked, blocked.into());
                count(Metric::BrokerUnconfirmed, unconfirmed_messages);
                count(Metric::BrokerBacklog, backlog_events);
                for queue in &partitions {
                    read_queue(queue, readings);
                }
                read_processors(&partitions, readings);
            }
            BrokerView::Processor {
                connected,
                reconnects,
                unacknowledged_messages,
                acknowledged_messages,
                repeated_messages,
                rejected_messages: _,
                missing_signals,
                partitions,
            } => {
                count(Metric::BrokerConnected, connected.into());
                count(Metric::BrokerReconnects, reconnects);
                count(Metric::BrokerMessages, acknowledged_messages);
                count(Metric::BrokerUnacknowledged, unacknowledged_messages);
                count(Metric::BrokerRepeated, repeated_messages);
                count(Metric::BrokerMissing, missing_signals);
                read_processors(partitions.iter().map(|partition| &partition.queue), readings);
                for PartitionView { consumed, owned, queue } in partitions {
                    read_queue(&queue, readings);
                    if consumed {
                        let partition = queue.partition.to_string();
                        readings.count(Metric::PartitionOwned, &[&partition], owned.into());
                    }
                }
            }
        }
    }
}

fn queues(queues: &Queues) -> impl Iterator<Item = QueueView> {
    (0..).zip(queues.seen()).map(|(partition, seen)| QueueView {
        partition,
        queue_messages: seen.map(|queue| queue.messages),
        queue_consumers: seen.map(|queue| queue.consumers),
    })
}

/// Each processor stands in line for every partition that it may take.
fn read_processors<'q>(queues: impl IntoIterator<Item = &'q QueueView>, readings: &mut Readings) {
    if let Some(most) = queues.into_iter().filter_map(|queue| queue.queue_consumers).max() {
        readings.count(Metric::ProcessorsAlive, &[], most);
    }
}

/// What is not known is not shown.
fn read_queue(queue: &QueueView, readings: &mut Readings) {
    let partition = queue.partition.to_string();
    for (metric, value) in
        [(Metric::QueueMessages, queue.queue_messages), (Metric::QueueConsumers, queue.queue_consumers)]
    {
        if let Some(value) = value {
            readings.count(metric, &[&partition], value);
        }
    }
}
