//! The queues that are consumed: what they deliver, and what of it is acknowledged.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream as _;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;

use super::marks::Marks;
use super::unacked::Unacked;
use crate::kanban::broker::deadline::with_deadline;
use crate::kanban::broker::topology::Topology;
use crate::limits::{ACK_MESSAGES, SHARED_PREFETCH};
use crate::net::amqp::{Open, said};

/// Which delivery is answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryTag {
    pub partition: u16,
    /// The place of the subscription among all.
    pub subscription: usize,
    /// By the channel.
    pub number: u64,
}

/// A delivery, and over which subscription it came.
#[derive(Debug)]
pub struct Incoming {
    pub tag: DeliveryTag,
    /// The broker set it aside.
    pub set_aside: bool,
    pub delivery: Delivery,
}

/// One queue that is consumed.
struct Subscription {
    partition: u16,
    /// The broker set aside what is in it.
    set_aside: bool,
    queue: String,
    channel: Channel,
    stream: lapin::Consumer,
    unacked: Unacked,
    /// Since when it is left to other processors.
    away: Option<Instant>,
}

/// How many messages the next connection takes in, where this many did not reach what is missing.
#[must_use]
pub fn deeper(prefetch: u16) -> u16 {
    prefetch.saturating_mul(2).min(SHARED_PREFETCH.max(prefetch))
}

/// All that is consumed over one connection.
pub struct Subscriptions<'a> {
    open: &'a Open,
    topology: &'a Topology,
    /// The name of this processor.
    name: &'a str,
    prefetch: u16,
    all: Vec<Subscription>,
    /// The one that is looked at first.
    next: usize,
}

impl<'a> Subscriptions<'a> {
    /// None yet.
    #[must_use]
    pub fn new(open: &'a Open, (name, topology, prefetch): (&'a str, &'a Topology, u16)) -> Self {
        Self { open, topology, name, prefetch, all: Vec::new(), next: 0 }
    }

    /// Consumes a partition's queue, or the one of what the broker set aside of it, over a new channel.
    pub async fn open(&mut self, partition: u16, set_aside: bool) -> Result<(), String> {
        let queue =
            if set_aside { self.topology.dead_letters(partition) } else { self.topology.queue(partition) };
        let channel = with_deadline("opens no channel", self.open.connection.create_channel()).await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        with_deadline("sets no prefetch", qos).await?;
        let tag = format!("gemba-{}-{partition}", self.name);
        let options = BasicConsumeOptions::default();
        let stream = channel.basic_consume(queue.as_str().into(), tag.into(), options, FieldTable::default());
        let stream = with_deadline("starts no consumer", stream).await?;
        let unacked = Unacked::new(Instant::now());
        let fresh = Subscription { partition, set_aside, queue, channel, stream, unacked, away: None };
        match self.all.iter_mut().find(|before| before.queue == fresh.queue) {
            Some(before) => *before = fresh,
            None => self.all.push(fresh),
        }
        Ok(())
    }

    /// Whether no connection takes in more messages.
    #[must_use]
    pub fn are_deepest(&self) -> bool {
        deeper(self.prefetch) == self.prefetch
    }

    /// The next delivery of any queue that is not left to others.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, String>> {
        let count = self.all.len();
        for turn in 0..count {
            let at = (self.next + turn) % count;
            let Subscription { partition, set_aside, queue, stream, away, .. } = &mut self.all[at];
            if away.is_some() {
                continue;
            }
            match Pin::new(stream).poll_next(context) {
                Poll::Ready(Some(Ok(delivery))) => {
                    self.next = at + 1;
                    let number = delivery.delivery_tag;
                    let tag = DeliveryTag { partition: *partition, subscription: at, number };
                    return Poll::Ready(Ok(Incoming { tag, set_aside: *set_aside, delivery }));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(said(&error))),
                Poll::Ready(None) => {
                    return Poll::Ready(Err(format!("the broker ended the consumer of {queue}")));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Takes in a delivery whose turn it is.
    pub fn add(&mut self, tag: DeliveryTag, redelivered: bool) {
        self.all[tag.subscription].unacked.add(tag.number, redelivered, Instant::now());
    }

    /// These may be acknowledged.
    pub fn settle(&mut self, tags: &[DeliveryTag]) {
        for tag in tags {
            self.all[tag.subscription].unacked.settle(tag.number);
        }
    }

    /// Acknowledges, of each channel, everything up to the first that is not durable: many at once, since each acknowledgement is
    /// work for all replicas of the queue; with `at_once` whatever there is.
    pub async fn acknowledge(&mut self, at_once: bool, marks: &Marks) -> Result<(), String> {
        let many = usize::from(self.prefetch / 2).clamp(1, ACK_MESSAGES);
        for Subscription { channel, unacked, .. } in &mut self.all {
            if let Some((last, count)) = unacked.take_ready(Instant::now(), many, at_once) {
                let ack = channel.basic_ack(last, BasicAckOptions { multiple: true });
                with_deadline("takes no acknowledgement", ack).await?;
                marks.messages.add(count);
            }
        }
        let unacked: usize = self.all.iter().map(|each| each.unacked.len()).sum();
        marks.unacked.publish(unacked as u64);
        Ok(())
    }

    /// Whether some may be acknowledged and wait for more.
    #[must_use]
    pub fn wait_for_more(&self) -> bool {
        self.all.iter().any(|each| each.unacked.waits())
    }

    /// Nothing that was delivered before is in hand, nor on its way here.
    #[must_use]
    pub fn are_calm(&self) -> bool {
        let now = Instant::now();
        self.all.iter().all(|each| each.unacked.is_calm(now))
    }

    /// Each partition with its queue, and whether nothing of it is in hand.
    pub fn queues(&self) -> impl Iterator<Item = (u16, &str, bool)> {
        let queues = self.all.iter().filter(|each| !each.set_aside);
        queues.map(|each| (each.partition, each.queue.as_str(), each.unacked.is_empty()))
    }

    /// Takes nothing more from a partition.
    pub fn leave(&mut self, partition: u16) {
        for each in self.all.iter_mut().filter(|each| each.partition == partition) {
            each.away = Some(Instant::now());
        }
    }

    /// What a partition was given and is not acknowledged goes to the next one that takes it.
    pub async fn close(&mut self, partition: u16) -> Result<(), String> {
        for each in self.all.iter_mut().filter(|each| each.partition == partition) {
            each.unacked = Unacked::new(Instant::now());
            each.away = Some(Instant::now());
            with_deadline("closes no channel", each.channel.close(200, "given up".into())).await?;
        }
        Ok(())
    }

    /// Partitions that were left for longer than `pause`.
    #[must_use]
    pub fn left_for(&self, pause: Duration) -> Vec<u16> {
        let queues = self.all.iter().filter(|each| !each.set_aside);
        let left = queues.filter(|each| each.away.is_some_and(|since| since.elapsed() > pause));
        left.map(|each| each.partition).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_takes_in_twice_as_many_up_to_a_bound_and_never_fewer() {
        let depths: Vec<u16> =
            std::iter::successors(Some(3), |depth| Some(deeper(*depth))).take(20).collect();
        assert_eq!(depths[..4], [3, 6, 12, 24]);
        assert_eq!(depths.last(), Some(&SHARED_PREFETCH));
        for configured in [SHARED_PREFETCH, SHARED_PREFETCH + 1, u16::MAX] {
            assert_eq!(deeper(configured), configured);
        }
    }
}
