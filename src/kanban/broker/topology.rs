//! The queues between edges and processors: what they are called, what they promise, and how that is checked.
//!
//! Declaring a queue that is there with other arguments is refused by the broker, which names the argument; so both
//! sides declare everything each time they connect, on a channel that is spent with it.

use lapin::options::{
    BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use tokio::time::timeout;

use crate::limits::{BROKER_DECLARE, DELIVERY_LIMIT};
use crate::net::amqp::said;

/// Delivery modes of a message that the broker writes to disk, and of one that it may lose.
pub const PERSISTENT: u8 = 2;
pub const TRANSIENT: u8 = 1;

/// The queues of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Of the one queue, or before the number of each.
    pub name: String,
    pub partitions: u16,
    pub durable: bool,
    pub kind: Kind,
}

/// What keeps the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Confirmed when a majority of replicas has it on disk; `None` leaves their number to the broker.
    Quorum { group_size: Option<u16> },
    /// One copy, for development.
    Classic,
}

impl Topology {
    /// The queue of a partition.
    #[must_use]
    pub fn queue(&self, partition: u16) -> String {
        if self.partitions == 1 { self.name.clone() } else { format!("{}.{partition}", self.name) }
    }

    /// The exchange for what the broker sets aside.
    #[must_use]
    pub fn dead_letter_exchange(&self) -> String {
        format!("{}.deadletter", self.name)
    }

    /// The queue for what the broker sets aside of a partition.
    #[must_use]
    pub fn dead_letters(&self, partition: u16) -> String {
        let name = self.dead_letter_exchange();
        if self.partitions == 1 { name } else { format!("{name}.{partition}") }
    }

    /// The queue from which every processor takes and to which nobody publishes: how many take from it is how many
    /// processors there are. Of a queue with one consumer at a time the broker does not tell how many stand in line.
    #[must_use]
    pub fn processors(&self) -> String {
        format!("{}.processors", self.name)
    }

    /// Declares the queue of processors, and stands among them for as long as what is returned lives.
    ///
    /// # Errors
    /// Whatever the broker says.
    pub async fn stand_among_processors(&self, channel: &Channel) -> lapin::Result<lapin::Consumer> {
        let queue = self.processors();
        let options = QueueDeclareOptions { durable: self.durable, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.as_str().into(), options, self.kept()).await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let (none, empty) = (BasicConsumeOptions::default(), FieldTable::default());
        channel.basic_consume(queue.as_str().into(), "".into(), none, empty).await
    }

    /// Declares everything.
    ///
    /// # Errors
    /// In words: the broker names the argument that is another one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
    pub async fn declare(&self, connection: &Connection) -> Result<(), String> {
        let declared = timeout(BROKER_DECLARE, async {
            let channel = connection.create_channel().await?;
            self.declare_on(&channel).await?;
            channel.close(200, "declared".into()).await
        });
        match declared.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                ErrorKind::ProtocolError(error) => {
                    format!("the queues are not as configured: {}", error.get_message())
                }
                _ => said(&error),
            }),
            Err(_) => Err(format!("the broker does not declare the queues within {BROKER_DECLARE:?}")),
        }
    }

    async fn declare_on(&self, channel: &Channel) -> lapin::Result<()> {
        let exchange = self.dead_letter_exchange();
        let options = ExchangeDeclareOptions { durable: self.durable, ..ExchangeDeclareOptions::default() };
        let declared = exchange.as_str().into();
        channel.exchange_declare(declared, ExchangeKind::Direct, options, FieldTable::default()).await?;
        let options = QueueDeclareOptions { durable: self.durable, ..QueueDeclareOptions::default() };
        for partition in 0..self.partitions {
            let dead = self.dead_letters(partition);
            let name = || dead.as_str().into();
            channel.queue_declare(name(), options, self.common()).await?;
            let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(name(), exchange.as_str().into(), name(), bind, none).await?;
            channel.queue_declare(self.queue(partition).into(), options, self.arguments(partition)).await?;
        }
        Ok(())
    }

    /// What keeps a queue.
    fn kept(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        match self.kind {
            Kind::Quorum { group_size } => {
                arguments.insert("x-queue-type".into(), text("quorum"));
                if let Some(size) = group_size {
                    arguments.insert("x-quorum-initial-group-size".into(), i32::from(size).into());
                }
            }
            Kind::Classic => drop(arguments.insert("x-queue-type".into(), text("classic"))),
        }
        arguments
    }

    fn common(&self) -> FieldTable {
        let mut arguments = self.kept();
        // One consumer at a time, so that a tenant's signals stay in order.
        arguments.insert("x-single-active-consumer".into(), true.into());
        arguments
    }

    /// Full is refused and not dropped; what the broker sets aside is not lost on its way.
    fn arguments(&self, partition: u16) -> FieldTable {
        let mut arguments = self.common();
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-dead-letter-exchange".into(), text(&self.dead_letter_exchange()));
        arguments.insert("x-dead-letter-routing-key".into(), text(&self.dead_letters(partition)));
        if let Kind::Quorum { .. } = self.kind {
            arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
            arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        }
        arguments
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}
