//! One connection of the consumer: the way of a delivery through the parts. It is read, put into its edge's order, handed to
//! the journal, and acknowledged when it is durable; beside that, partitions come and go.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use lapin::message::Delivery;
use tokio::time::Instant;

use super::control::Control;
use super::edge_offsets::EdgeOffsets;
use super::in_flight::InFlight;
use super::lanes::Lanes;
use super::marks::Marks;
use super::ownership::Ownership;
use super::pace::Pace;
use super::quarantine::Quarantine;
use super::reader::{Content, Reader, Received};
use super::rebalance::Rebalance;
use super::resequencer::{Key, Resequencer};
use super::staging::Staging;
use super::subscription::{DeliveryTag, Incoming, Subscriptions};
use crate::event::{Seq, Subject};
use crate::kanban::broker::mac::Keys;
use crate::kanban::broker::message::Span;
use crate::kanban::broker::order::Verdict;
use crate::kanban::broker::stop::{LOOK_AGAIN, Stop};
use crate::kanban::broker::suspect::Suspect;
use crate::limits::{ACK_AFTER, SHARE_PAUSE, SILENCE_MAX};
use crate::ring::Current;

/// How often the queues are asked how much waits in them.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The work of one connection.
pub struct Session<'a> {
    subscriptions: Subscriptions<'a>,
    control: Control<'a>,
    /// Partitions that this node takes from.
    consumed: &'a [u16],
    /// Goes on where another node decided before.
    adopt: bool,
    pace: Pace,
    reader: Reader<'a>,
    resequencer: Resequencer<Received>,
    quarantine: Quarantine<'a>,
    staging: Staging,
    in_flight: InFlight,
    lanes: &'a mut Lanes,
    offsets: &'a mut EdgeOffsets,
    partitions: Partitions<'a>,
    marks: &'a Marks,
}

/// Which partitions are this node's.
struct Partitions<'a> {
    ownership: &'a Ownership,
    rebalance: Rebalance,
    last_asked: Option<Instant>,
}

impl<'a> Session<'a> {
    #[must_use]
    pub fn new(
        (subscriptions, control): (Subscriptions<'a>, Control<'a>),
        (keys, consumed, adopt): (&'a Current<Keys>, &'a [u16], bool),
        (lanes, offsets, suspect): (&'a mut Lanes, &'a mut EdgeOffsets, &'a mut Suspect),
        (ownership, marks): (&'a Ownership, &'a Marks),
    ) -> Self {
        Self {
            subscriptions,
            control,
            consumed,
            adopt,
            pace: Pace::new(Instant::now()),
            reader: Reader::new(keys, marks),
            resequencer: Resequencer::new(offsets.taken()),
            quarantine: Quarantine::new(suspect),
            staging: Staging::default(),
            in_flight: InFlight::default(),
            lanes,
            offsets,
            partitions: Partitions { ownership, rebalance: Rebalance::default(), last_asked: None },
            marks,
        }
    }

    /// Takes messages until it is told to stop, or the connection fails; what was handed to the journal is answered then.
    ///
    /// # Errors
    /// In words: why the connection must end.
    pub async fn run(mut self, stop: &Stop) -> Result<(), String> {
        let ended = match self.nudge().await {
            Ok(()) => self.take(stop).await,
            failed => failed,
        };
        while !self.in_flight.is_empty() && !stop.abandon.is_on() {
            // An error is the connection's; what is durable is known all the same.
            let _ended = self.hear();
            if !self.in_flight.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if stop.finish.is_on() {
            self.partitions.ownership.settle().await;
            self.release();
        }
        self.acknowledge(true).await?;
        ended
    }

    async fn take(&mut self, stop: &Stop) -> Result<(), String> {
        let losses = self.partitions.ownership.losses();
        loop {
            if stop.is_on() {
                return Ok(());
            }
            if self.partitions.ownership.losses() != losses {
                return Err("another processor has taken a partition".into());
            }
            if let Some(incoming) = self.wait().await? {
                self.take_burst(incoming).await?;
            }
            self.skip_what_is_missing()?;
            self.hand_in().await?;
            self.hear()?;
            let is_idle = self.is_idle();
            if let Some(incoming) = self.quarantine.next_held(is_idle) {
                self.deliver(incoming)?;
                self.staging.seal();
            }
            self.hand_in().await?;
            self.acknowledge(false).await?;
            self.give_up().await?;
            self.watch().await?;
        }
    }

    /// Until something is delivered, the journal answers, or a while has passed.
    async fn wait(&mut self) -> Result<Option<Incoming>, String> {
        let now = Instant::now();
        let takes = self.takes() && self.pace.may_look(now);
        let longest = if self.subscriptions.wait_for_more() { ACK_AFTER } else { LOOK_AGAIN };
        let patience = self.pace.patience(now, longest);
        self.lanes.bell.announce_sleep();
        // An answer that came before the announcement rings nobody.
        let delivered = if self.lanes.acks.is_empty() {
            tokio::select! {
                biased;
                delivered = poll_fn(|context| self.subscriptions.poll(context)), if takes => Some(delivered),
                () = self.lanes.rung.notified() => None,
                () = tokio::time::sleep(patience) => None,
            }
        } else {
            None
        };
        self.lanes.bell.awake();
        delivered.transpose()
    }

    /// Takes a delivery and whatever else is there, which goes to the journal in one go.
    async fn take_burst(&mut self, first: Incoming) -> Result<(), String> {
        self.pace.begin(Instant::now());
        let mut next = Some(first);
        while let Some(incoming) = next {
            self.own(incoming.tag.partition).await?;
            self.deliver(incoming)?;
            let mut now = Context::from_waker(Waker::noop());
            next = match self.takes().then(|| self.subscriptions.poll(&mut now)) {
                Some(Poll::Ready(delivered)) => Some(delivered?),
                Some(Poll::Pending) | None => None,
            };
        }
        self.pace.end();
        self.staging.seal();
        Ok(())
    }

    /// Units that are, or are to be, in the journal's lanes.
    fn under_way(&self) -> usize {
        self.staging.units() + self.in_flight.len()
    }

    fn is_idle(&self) -> bool {
        self.staging.is_empty() && self.in_flight.is_empty()
    }

    /// Whether the next delivery may be taken: the journal answers as many units as the lanes have places.
    fn takes(&self) -> bool {
        self.quarantine.is_open() && self.under_way() + 1 < self.lanes.arrivals.room()
    }

    /// Reads a message and gives it its place. One that may be what ends this process waits until nothing else is under way.
    fn deliver(&mut self, incoming: Incoming) -> Result<(), String> {
        let suspect = self.quarantine.suspects(&incoming.delivery)?;
        if suspect && !self.is_idle() {
            self.quarantine.hold(incoming);
            return Ok(());
        }
        let Incoming { tag, set_aside, delivery: Delivery { properties, data, redelivered, .. } } = incoming;
        self.subscriptions.add(tag, redelivered);
        if !set_aside && let Some(marks) = self.marks.partition(tag.partition) {
            marks.owned.publish(1);
        }
        let forbidden = |body: &Bytes| self.quarantine.begin_reading(body);
        match self.reader.read((&properties, Bytes::from(data)), tag, set_aside, suspect, forbidden)? {
            Content::Nudge => self.subscriptions.settle(&[tag]),
            Content::Rejected(batch) => self.staging.add_alone(batch),
            Content::Message(received) => {
                if suspect {
                    self.quarantine.end_reading();
                }
                self.put_in_order(received)?;
            }
        }
        Ok(())
    }

    fn put_in_order(&mut self, received: Received) -> Result<(), String> {
        self.pace.add(received.signals.len());
        let (key, span) = ((received.origin.edge.clone(), received.origin.partition), received.origin.span);
        let now = Instant::now();
        let mut verdict = self.resequencer.offer(&key, span, received, now)?;
        if let Verdict::Stranger(received) = verdict {
            if !self.adopt {
                return Err(format!(
                    "partition {}: the signals of edge {} up to {} were taken by another node, whose state is not here, or stand \
                     further back in the queue; bring that node's data here, put the queue in order, or set \
                     `rabbitmq.adopt = true` to go on without them",
                    key.1, key.0, span.after
                ));
            }
            self.resequencer.adopt(&key, span.after);
            verdict = self.resequencer.offer(&key, span, received, now)?;
        }
        self.settle(&key, verdict)
    }

    fn settle(&mut self, key: &Key, verdict: Verdict<Received>) -> Result<(), String> {
        match verdict {
            Verdict::Held => Ok(()),
            Verdict::Repeat(received) => {
                if received.suspect {
                    self.quarantine.repeats(&received.origin);
                }
                self.acknowledge_repeat(received.tag);
                Ok(())
            }
            // It is not durable, so what is suspected of it stays noted.
            Verdict::Twin(received) => {
                self.acknowledge_repeat(received.tag);
                Ok(())
            }
            Verdict::Take { message, behind, skips } => {
                self.hand_on(message, behind, skips)?;
                self.settle_what_waited(key)
            }
            Verdict::Stranger(_) => {
                unreachable!("an edge that was offered once is known, adopted or refused")
            }
        }
    }

    fn acknowledge_repeat(&mut self, tag: DeliveryTag) {
        self.marks.repeats.add(1);
        self.staging.add_repeat(tag);
    }

    /// What waited for this one has its turn.
    fn settle_what_waited(&mut self, key: &Key) -> Result<(), String> {
        while let Some(verdict) = self.resequencer.next(key, Instant::now()) {
            match verdict {
                Verdict::Take { message, behind, skips } => self.hand_on(message, behind, skips)?,
                other @ (Verdict::Repeat(_) | Verdict::Twin(_) | Verdict::Held | Verdict::Stranger(_)) => {
                    self.settle(key, other)?;
                }
            }
        }
        Ok(())
    }

    /// Small messages that follow one another go to the journal as one unit; one that may be what ends this process alone.
    fn hand_on(&mut self, received: Received, behind: Seq, skips: bool) -> Result<(), String> {
        if received.suspect {
            return self.quarantine.admit(received, (behind, skips), &mut self.staging);
        }
        self.staging.add(received.into_batch(behind, skips));
        Ok(())
    }

    /// What has been missing for too long is asked for once more by a new connection, over which the broker gives everything
    /// again that was not acknowledged. If it is missing then, too, it is not coming: it is counted, told, and left behind.
    fn skip_what_is_missing(&mut self) -> Result<(), String> {
        let Some((key, behind)) = self.resequencer.late(Instant::now()) else { return Ok(()) };
        let (edge, partition) = &key;
        let waits = self.marks.partition(*partition).is_some_and(|marks| marks.waiting.read() > 0);
        if waits && self.resequencer.is_out_of_order(&key) && !self.subscriptions.are_deepest() {
            self.offsets.look_deeper();
            return Err(format!(
                "partition {partition}: the queue has lost the order of edge {edge}, and what is missing stands behind more \
                 messages than are taken in; the next connection takes in twice as many"
            ));
        }
        if !self.offsets.was_missed(&key, behind) {
            return Err(format!("partition {partition}: signals of edge {edge} are missing"));
        }
        let Some(Span { after, through }) = self.resequencer.skip(&key) else { return Ok(()) };
        self.offsets.forget_missed(&key);
        self.marks.missing.add(through.0 - after.0);
        tracing::error!(
            target: "gemba::kanban",
            partition,
            edge = %edge,
            first = after.0 + 1,
            last = through.0,
            "signals of an edge never came: the broker has lost them"
        );
        self.settle_what_waited(&key)?;
        self.staging.seal();
        Ok(())
    }

    /// Gives the journal what is ready, its governors first where they are shared.
    async fn hand_in(&mut self) -> Result<(), String> {
        if self.staging.units() == 0 {
            return Ok(());
        }
        match self.partitions.ownership {
            Ownership::Alone => {}
            Ownership::Shared(sharer) => {
                for (partition, subjects) in self.staging.subjects() {
                    let subjects: Vec<Subject> = subjects.into_iter().collect();
                    sharer.load(partition, &subjects).await.map_err(|error| error.to_string())?;
                }
            }
        }
        self.in_flight.hand_in(&mut self.staging, &mut self.lanes.arrivals)
    }

    /// Hears what the journal says.
    fn hear(&mut self) -> Result<(), String> {
        let ownership = self.partitions.ownership;
        let heard = self.in_flight.hear(&mut self.lanes.acks, self.offsets, || ownership.changed());
        self.release();
        heard?;
        if self.in_flight.is_empty() { self.quarantine.settle(&mut self.staging) } else { Ok(()) }
    }

    /// What counts may be acknowledged.
    fn release(&mut self) {
        let everything = crate::fault::planted("ack-before-shared");
        let through = if everything { Seq(u64::MAX) } else { self.partitions.ownership.through() };
        while let Some(tags) = self.in_flight.release(through) {
            self.subscriptions.settle(&tags);
        }
    }

    async fn acknowledge(&mut self, at_once: bool) -> Result<(), String> {
        if at_once || !crate::fault::planted("ack-late") {
            self.subscriptions.acknowledge(at_once, self.marks).await?;
        }
        if self.quarantine.is_open() && self.subscriptions.are_calm() {
            self.quarantine.calm()?;
        }
        Ok(())
    }

    /// Takes a partition from whoever decided on it, where that is not this node already.
    async fn own(&mut self, partition: u16) -> Result<(), String> {
        let Some(positions) = self.partitions.ownership.take(partition).await? else { return Ok(()) };
        self.offsets.restart(partition, &positions);
        self.resequencer.restart(partition, &positions);
        self.subscriptions.open(partition, true).await
    }

    /// Asks now and then how much waits: a broker that does not answer, or has messages and delivers none, is left.
    async fn watch(&mut self) -> Result<(), String> {
        if !self.control.is_connected() {
            return Err("the connection to the broker broke".into());
        }
        if self.partitions.last_asked.is_some_and(|last| last.elapsed() < ASK_EVERY) {
            return Ok(());
        }
        self.partitions.last_asked = Some(Instant::now());
        let mut stalled = false;
        for (partition, queue, is_empty) in self.subscriptions.queues() {
            let messages = self.control.look(queue).await?.messages;
            if let Some(marks) = self.marks.partition(partition) {
                marks.waiting.publish(messages);
                stalled |= marks.owned.read() == 1 && messages > 0 && is_empty;
            }
        }
        if stalled && self.pace.silence() > SILENCE_MAX {
            return Err(format!("the broker has messages and has delivered none for {SILENCE_MAX:?}"));
        }
        self.balance().await
    }

    /// Gives a partition up where this node has more than its share of them, one at a time, and stands in line again for
    /// what it gave up.
    async fn balance(&mut self) -> Result<(), String> {
        let Ownership::Shared(sharer) = self.partitions.ownership else { return Ok(()) };
        let passed_on = self.partitions.rebalance.count(self.control.processors().await?);
        let leaving = self.partitions.rebalance.leaving();
        for partition in self.subscriptions.left_for(SHARE_PAUSE) {
            if leaving != Some(partition) {
                self.subscriptions.open(partition, false).await?;
            }
        }
        if passed_on {
            self.nudge().await?;
        }
        let waiting = |partition| self.marks.partition(partition).map_or(0, |marks| marks.waiting.read());
        let (held, now) = (sharer.held(), Instant::now());
        if let Some(partition) = self.partitions.rebalance.give_up(held, self.consumed.len(), waiting, now) {
            self.subscriptions.leave(partition);
        }
        Ok(())
    }

    /// Puts a nudge into the queue of every partition that this node does not own.
    async fn nudge(&self) -> Result<(), String> {
        for partition in self.consumed.iter().filter(|partition| !self.partitions.ownership.owns(**partition))
        {
            self.control.nudge(*partition).await?;
        }
        Ok(())
    }

    /// Lets go of the partition that is being given up, once nothing of it is under way.
    async fn give_up(&mut self) -> Result<(), String> {
        let Ownership::Shared(sharer) = self.partitions.ownership else { return Ok(()) };
        let Some(partition) = self.partitions.rebalance.leaving() else { return Ok(()) };
        if self.quarantine.has(partition) || self.staging.has(partition) || self.in_flight.has(partition) {
            if self.partitions.rebalance.is_overdue(Instant::now()) {
                return Err(format!(
                    "partition {partition} cannot be given up: what it was given is not shared"
                ));
            }
            return Ok(());
        }
        self.partitions.rebalance.left();
        sharer.give_up(partition).await.map_err(|error| error.to_string())?;
        self.acknowledge(true).await?;
        self.offsets.retain(|of| of != partition);
        self.resequencer.forget(partition);
        self.subscriptions.close(partition).await?;
        if let Some(marks) = self.marks.partition(partition) {
            marks.owned.publish(0);
        }
        self.nudge().await
    }
}
