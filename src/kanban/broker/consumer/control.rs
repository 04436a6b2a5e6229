//! What is asked of the broker, and told to other processors, beside the deliveries.
//!
//! The broker tells nobody that it is its turn but by a message. So that a partition whose queue is empty does not stay with
//! nobody, and its actions and timers with it, a nudge is put into its queue whenever its turn may have passed on.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};

use crate::kanban::broker::deadline::with_deadline;
use crate::kanban::broker::delivery::{NUDGE, vouch};
use crate::kanban::broker::mac::{Keys, Statement};
use crate::kanban::broker::queues::{Queue, look};
use crate::kanban::broker::topology::{PERSISTENT, Topology};
use crate::net::amqp::Open;
use crate::ring::Current;

/// A channel for questions and nudges.
pub struct Control<'a> {
    open: &'a Open,
    topology: &'a Topology,
    keys: &'a Current<Keys>,
    channel: Channel,
    /// This processor stands among the others for as long as this lives.
    stands: Option<lapin::Consumer>,
}

impl<'a> Control<'a> {
    pub async fn open(
        open: &'a Open,
        (topology, keys): (&'a Topology, &'a Current<Keys>),
    ) -> Result<Self, String> {
        let channel = with_deadline("opens no channel", open.connection.create_channel()).await?;
        Ok(Self { open, topology, keys, channel, stands: None })
    }

    /// Stands among the processors from here on; nudges are confirmed.
    pub async fn stand_among_processors(&mut self) -> Result<(), String> {
        let confirms = self.channel.confirm_select(ConfirmSelectOptions::default());
        with_deadline("confirms nothing", confirms).await?;
        let stands = self.topology.stand_among_processors(&self.channel);
        self.stands = Some(with_deadline("starts no consumer", stands).await?);
        Ok(())
    }

    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.open.connection.status().connected()
    }

    /// What is in a queue.
    pub async fn look(&self, queue: &str) -> Result<Queue, String> {
        with_deadline("does not answer", look(&self.channel, queue)).await
    }

    /// How many processors there are.
    pub async fn processors(&self) -> Result<u64, String> {
        Ok(self.look(&self.topology.processors()).await?.consumers)
    }

    /// Puts a nudge into the queue of a partition.
    pub async fn nudge(&self, partition: u16) -> Result<(), String> {
        let queue = self.topology.queue(partition);
        let mut headers = FieldTable::default();
        vouch(&mut headers, &self.keys.get(), Statement::Nudge(partition));
        let properties = BasicProperties::default()
            .with_type(NUDGE.into())
            .with_headers(headers)
            .with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        let put = async {
            self.channel
                .basic_publish("".into(), queue.as_str().into(), options, &[], properties)
                .await?
                .await
        };
        // A full queue refuses it, and needs none.
        with_deadline("confirms no nudge", put).await.map(drop)
    }
}
