//! The thread that talks to the broker, and what is seen of it from outside. It waits on others and so has a runtime of
//! its own: neither the hot threads nor the actions wait with it.

use std::io;

use super::serve::ServeError;
use crate::event::Seq;
use crate::kaizen::Gauges;
use crate::kanban::broker::consumer::{self, Consumer};
use crate::kanban::broker::publisher::{self, Publisher};
use crate::view::StageHealth;

/// What is seen of the broker at one node.
#[derive(Clone, Debug)]
pub enum Broker {
    /// At an edge.
    Publisher(publisher::Marks),
    /// At a processor.
    Consumer(consumer::Marks),
}

/// Runs the publisher until it is told to stop.
pub fn publish(publisher: Publisher, stop: &publisher::Stop) -> Result<(), ServeError> {
    Ok(runtime()?.block_on(publisher.run(stop))?)
}

/// Runs the consumer until it is told to stop.
pub fn consume(consumer: Consumer, stop: &consumer::Stop) -> Result<(), ServeError> {
    runtime()?.block_on(consumer.run(stop));
    Ok(())
}

fn runtime() -> Result<tokio::runtime::LocalRuntime, ServeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default());
    runtime.map_err(|source: io::Error| ServeError::Stage { stage: "broker".into(), source })
}

impl Broker {
    /// A broker that is away is a longer queue at an edge, and nothing to do at a processor.
    #[must_use]
    pub fn health(&self, durable: Seq) -> StageHealth {
        let (ok, reason) = match self {
            Self::Publisher(marks) => {
                let waiting = durable.0.saturating_sub(marks.confirmed.read());
                let blocked = (marks.blocked.read() == 1).then(|| "the broker takes no messages".into());
                let trouble = marks.trouble.now().or(blocked);
                (true, trouble.map(|why| format!("{why}; {waiting} events wait for it")))
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

    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    pub fn gauges(&self, durable: Seq, gauges: &mut Gauges) {
        let mut set = |name, value: u64| gauges.set(name, &[], value as f64);
        match self {
            Self::Publisher(marks) => {
                set("gemba_broker_connected", marks.connected.read());
                set("gemba_broker_reconnects", marks.broken.read());
                set("gemba_broker_messages", marks.messages.read());
                set("gemba_broker_blocked", marks.blocked.read());
                set("gemba_broker_unconfirmed_messages", marks.window.read());
                set("gemba_broker_backlog_events", durable.0.saturating_sub(marks.confirmed.read()));
            }
            Self::Consumer(marks) => {
                set("gemba_broker_connected", marks.connected.read());
                set("gemba_broker_reconnects", marks.broken.read());
                set("gemba_broker_messages", marks.messages.read());
                set("gemba_broker_unacknowledged_messages", marks.unacked.read());
                set("gemba_broker_repeated_messages", marks.repeats.read());
                set("gemba_broker_missing_signals", marks.missing.read());
                for partition in &marks.partitions {
                    let number = partition.number.to_string();
                    let labels = [("partition", number.as_str())];
                    gauges.set("gemba_broker_queue_messages", &labels, partition.waiting.read() as f64);
                    gauges.set("gemba_broker_partition_owned", &labels, partition.owned.read() as f64);
                }
            }
        }
    }
}
