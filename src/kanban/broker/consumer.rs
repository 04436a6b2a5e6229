//! Takes what edges sent from the broker into this node's journal, and acknowledges it when it is durable.
//!
//! Nothing here is the truth: the journal knows through which number it has taken each edge's signals and refuses what
//! would leave one out. So after a broken connection everything begins again from there, and what comes twice is a
//! repeat. A message is acknowledged when the journal has it, repeats when what they repeat is durable.
//!
//! What no edge wrote, and what the broker set aside, is taken as well: as dead letters, so that it is seen.
//!
//! A delivery goes through parts that know nothing of one another: `subscription` has it, `reader` reads it, `resequencer` gives
//! it its turn, `staging` puts it together with what follows it, `in_flight` hands it to the journal and says when it may be
//! acknowledged, and `subscription` acknowledges it. What may end this process goes through `quarantine` in between. Beside
//! that, `ownership` says which partitions are this node's, and `rebalance` when to give one up. `session` joins them.

mod control;
mod edge_offsets;
mod in_flight;
mod lanes;
mod marks;
mod ownership;
mod pace;
mod quarantine;
mod reader;
mod rebalance;
mod resequencer;
mod session;
mod staging;
mod subscription;
#[cfg(test)]
mod tests;
mod unacked;

use std::rc::Rc;

use self::control::Control;
use self::edge_offsets::EdgeOffsets;
pub use self::edge_offsets::Taken;
pub use self::lanes::Lanes;
pub use self::marks::Marks;
use self::ownership::Ownership;
use self::session::Session;
use self::subscription::{Subscriptions, deeper};
use super::mac::Keys;
use super::stop::LOOK_AGAIN;
pub use super::stop::Stop;
use super::suspect::Suspect;
use super::topology::Topology;
use crate::kanban::share::Sharer;
use crate::net::amqp::{Broker, Open};
use crate::net::backoff::Backoff;
use crate::ring::Current;

/// What the consumer is given.
pub struct Consumer {
    pub name: String,
    pub broker: Broker,
    pub topology: Topology,
    pub keys: Current<Keys>,
    /// Partitions that this node takes from.
    pub consumed: Vec<u16>,
    pub prefetch: u16,
    /// Goes on where another node decided before.
    pub adopt: bool,
    pub lanes: Lanes,
    /// What is durable.
    pub taken: Taken,
    pub suspect: Suspect,
    pub marks: Marks,
}

impl Consumer {
    /// Takes messages until it is told to stop; connects again for ever. With a sharer, takes from partitions that others
    /// take from as well, one after the other.
    pub async fn run(mut self, stop: &Stop, sharer: Option<Rc<Sharer>>) {
        let ownership = sharer.map_or(Ownership::Alone, Ownership::Shared);
        let mut offsets = EdgeOffsets::new(std::mem::take(&mut self.taken));
        let mut backoff = Backoff::default();
        while !stop.is_on() {
            if offsets.looks_deeper() {
                self.prefetch = deeper(self.prefetch);
            }
            let before = self.marks.messages.read();
            let ended = self.connection(stop, &ownership, &mut offsets).await;
            self.marks.disconnect();
            let Err(why) = ended else { break };
            self.marks.trouble.tell(Some(&why));
            self.marks.broken.add(1);
            backoff.wait(self.marks.messages.read() > before, || stop.is_on()).await;
        }
        if stop.finish.is_on()
            && let Err(error) = self.suspect.end()
        {
            tracing::error!(target: "gemba::kanban", %error, "the suspect cannot be noted");
        }
    }

    async fn connection(
        &mut self,
        stop: &Stop,
        ownership: &Ownership,
        offsets: &mut EdgeOffsets,
    ) -> Result<(), String> {
        while !ownership.is_certain().await? {
            if stop.is_on() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        offsets.retain(|partition| ownership.owns(partition));
        let open = self.broker.connect(&format!("gemba processor {}", self.name)).await?;
        let (queues, topology) = (self.marks.queues.clone(), self.topology.clone());
        let taken = Box::pin(self.take_over(&open, stop, ownership, offsets));
        let taken = queues.looked_at_during((&open, &topology), taken).await;
        open.shut();
        taken
    }

    async fn take_over(
        &mut self,
        open: &Open,
        stop: &Stop,
        ownership: &Ownership,
        offsets: &mut EdgeOffsets,
    ) -> Result<(), String> {
        self.topology.declare(&open.connection).await?;
        let mut subscriptions = Subscriptions::new(open, (&self.name, &self.topology, self.prefetch));
        for partition in &self.consumed {
            subscriptions.open(*partition, false).await?;
            // What the broker set aside belongs to whoever decides on the partition.
            if ownership.owns(*partition) {
                subscriptions.open(*partition, true).await?;
            }
        }
        let mut control = Control::open(open, (&self.topology, &self.keys)).await?;
        match ownership {
            Ownership::Alone => {}
            Ownership::Shared(_) => control.stand_among_processors().await?,
        }
        self.marks.connected.publish(1);
        self.marks.trouble.tell(None);
        let session = Session::new(
            (subscriptions, control),
            (&self.keys, &self.consumed, self.adopt),
            (&mut self.lanes, offsets, &mut self.suspect),
            (ownership, &self.marks),
        );
        session.run(stop).await
    }
}
