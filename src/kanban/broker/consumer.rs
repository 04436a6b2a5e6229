//! Takes what edges sent from the broker into this node's journal, and acknowledges it when it is durable.
//!
//! Nothing here is the truth: the journal knows through which number it has taken each edge's signals and refuses what
//! would leave one out. So after a broken connection everything begins again from there, and what comes twice is a
//! repeat. A message is acknowledged when the journal has it, repeats when what they repeat is durable.
//!
//! What no edge wrote, and what the broker set aside, is taken as well: as dead letters, so that it is seen.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::intake::{Intake, Taking};
use super::mac::Keys;
use super::order::Order;
use super::queues::Queues;
use super::rebalance::Plan;
use super::suspect::Suspect;
use super::topology::Topology;
use super::trouble::Trouble;
use crate::event::{Ack, Arrival, Astray, EdgeName, Seq};
use crate::kanban::share::Sharer;
use crate::limits::{BROKER_DECLARE, BURST_SIGNALS, BURST_WAIT, CONFIRM_PROGRESS, SILENCE_MAX};
use crate::net::amqp::{Broker, Open, said};
use crate::net::backoff::Backoff;
use crate::ring::{Bell, Mark, Receiver, Sender, Switch};

/// The lanes between the consumer and the journal.
pub struct Lanes {
    pub arrivals: Sender<Arrival>,
    pub acks: Receiver<Ack>,
    /// The journal rings it.
    pub bell: Arc<Bell>,
    pub rung: Arc<Notify>,
}

/// What others see of the consumer.
#[derive(Clone, Debug)]
pub struct Marks {
    /// 1 while there is a connection.
    pub connected: Mark,
    /// Connections that ended.
    pub broken: Mark,
    /// Messages delivered and not yet acknowledged.
    pub unacked: Mark,
    /// Messages that were acknowledged.
    pub messages: Mark,
    /// Of these, messages that had come before.
    pub repeats: Mark,
    /// Numbers that edges had given and that never came.
    pub missing: Mark,
    /// Messages that nobody may decide on, by why.
    pub rejected: [Mark; Astray::ALL.len()],
    /// For each partition that is consumed.
    pub partitions: Vec<PartitionMarks>,
    /// Of every partition.
    pub queues: Queues,
    pub trouble: Trouble,
}

#[derive(Clone, Debug)]
pub struct PartitionMarks {
    pub number: u16,
    /// Messages that wait in the queue.
    pub waiting: Mark,
    /// 1 where messages come to this node.
    pub owned: Mark,
}

impl Marks {
    #[must_use]
    pub fn new(consumed: &[u16], partitions: u16, trouble: Trouble) -> Self {
        let zero = || Mark::new(0);
        let partition = |number: &u16| PartitionMarks { number: *number, waiting: zero(), owned: zero() };
        Self {
            connected: zero(),
            broken: zero(),
            unacked: zero(),
            messages: zero(),
            repeats: zero(),
            missing: zero(),
            rejected: std::array::from_fn(|_| zero()),
            partitions: consumed.iter().map(partition).collect(),
            queues: Queues::new(partitions),
            trouble,
        }
    }
}

/// How the consumer is told to end.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Take no more; acknowledge what was taken.
    pub finish: Switch,
    /// Leave everything as it is.
    pub abandon: Switch,
}

impl Stop {
    fn is_on(&self) -> bool {
        self.finish.is_on() || self.abandon.is_on()
    }
}

pub struct Consumer {
    pub name: String,
    pub broker: Broker,
    pub topology: Topology,
    pub keys: Keys,
    /// Partitions that this node takes from.
    pub consumed: Vec<u16>,
    pub prefetch: u16,
    /// Goes on where another node decided before.
    pub adopt: bool,
    pub lanes: Lanes,
    /// What is durable.
    pub taken: Taken,
    pub suspect: Suspect,
    /// What was missing over one connection.
    pub missed: HashSet<((EdgeName, u16), Seq)>,
    pub marks: Marks,
}

/// Through which number the journal has taken the signals of each edge and partition.
pub type Taken = HashMap<(EdgeName, u16), Seq>;

/// Without a ring or a delivery the loop looks again after so long.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often the queues are asked how much waits in them.
const ASK_EVERY: Duration = Duration::from_secs(5);

impl Consumer {
    /// Takes messages until it is told to stop; connects again for ever. With a sharer, takes from partitions that others
    /// take from as well, one after the other.
    pub async fn run(mut self, stop: &Stop, sharer: Option<Rc<Sharer>>) {
        let mut backoff = Backoff::default();
        while !stop.is_on() {
            let before = self.marks.messages.read();
            let ended = self.connection(stop, sharer.as_ref()).await;
            self.marks.connected.publish(0);
            self.marks.unacked.publish(0);
            for partition in &self.marks.partitions {
                partition.owned.publish(0);
            }
            let Err(why) = ended else { break };
            self.marks.trouble.tell(Some(&why));
            self.marks.broken.publish(self.marks.broken.read() + 1);
            backoff.wait(self.marks.messages.read() > before, || stop.is_on()).await;
        }
        if stop.finish.is_on()
            && let Err(error) = self.suspect.end()
        {
            tracing::error!(target: "gemba::kanban", %error, "the suspect cannot be noted");
        }
    }

    async fn connection(&mut self, stop: &Stop, sharer: Option<&Rc<Sharer>>) -> Result<(), String> {
        if let Some(sharer) = sharer {
            while !sharer.has_begun() {
                if stop.is_on() {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            sharer.look_after().await.map_err(|error| error.to_string())?;
            self.taken.retain(|(_, partition), _| sharer.holds(*partition));
        }
        let open = self.broker.connect(&format!("gemba processor {}", self.name)).await?;
        let (queues, topology) = (self.marks.queues.clone(), self.topology.clone());
        let taken = Box::pin(self.take_over(&open, stop, sharer));
        let taken = queues.looked_at_during((&open, &topology), taken).await;
        open.shut();
        taken
    }

    async fn take_over(
        &mut self,
        open: &Open,
        stop: &Stop,
        sharer: Option<&Rc<Sharer>>,
    ) -> Result<(), String> {
        self.topology.declare(&open.connection).await?;
        let mut intakes = Vec::new();
        for partition in self.consumed.clone() {
            intakes.push(self.consume(open, partition, false).await?);
            // What the broker set aside belongs to whoever decides on the partition.
            if sharer.is_none_or(|sharer| sharer.holds(partition)) {
                intakes.push(self.consume(open, partition, true).await?);
            }
        }
        let asking = with_deadline("opens no channel", open.connection.create_channel()).await?;
        let _stands = match sharer {
            Some(_) => Some(self.stand(&asking).await?),
            None => None,
        };
        self.marks.connected.publish(1);
        self.marks.trouble.tell(None);
        let orders = self.taken.iter().map(|(key, through)| (key.clone(), Order::new(Some(*through))));
        let mut taking = Taking {
            sharer: sharer.cloned(),
            orders: orders.collect(),
            waiting: HashMap::new(),
            skips: HashSet::new(),
            gathered: None,
            held: None,
            alone: false,
            pieces: VecDeque::new(),
            ready: VecDeque::new(),
            units: VecDeque::new(),
            unshared: VecDeque::new(),
            plan: Plan::default(),
            intakes,
            last_delivery: Instant::now(),
            look_from: None,
            burst: 0,
            last_asked: None,
            next: 0,
            provenance: None,
        };
        let nudged = self.nudge(&asking, &taking).await;
        let ended = match nudged {
            Ok(()) => self.take(open, &asking, &mut taking, stop).await,
            nudged => nudged,
        };
        // What was handed to the journal is answered, whatever became of the connection.
        while !taking.units.is_empty() && !stop.abandon.is_on() {
            // An error is the connection's; what is durable is known all the same.
            let _ended = self.answered(&mut taking);
            if !taking.units.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        if let Some(sharer) = sharer.filter(|_| stop.finish.is_on()) {
            sharer.settle().await;
            taking.shared();
        }
        self.acknowledge(&mut taking, true).await?;
        ended
    }

    pub(super) async fn consume(
        &self,
        open: &Open,
        partition: u16,
        set_aside: bool,
    ) -> Result<Intake, String> {
        let queue =
            if set_aside { self.topology.dead_letters(partition) } else { self.topology.queue(partition) };
        let channel = with_deadline("opens no channel", open.connection.create_channel()).await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions::default());
        with_deadline("sets no prefetch", qos).await?;
        let tag = format!("gemba-{}-{partition}", self.name);
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue.as_str().into(), tag.into(), options, FieldTable::default());
        let consumer = with_deadline("starts no consumer", consumer).await?;
        Ok(Intake {
            partition,
            set_aside,
            queue,
            channel,
            consumer,
            outstanding: VecDeque::new(),
            redelivered: None,
            again: false,
            ready: 0,
            ready_since: None,
            away: None,
        })
    }

    async fn take(
        &mut self,
        open: &Open,
        asking: &Channel,
        taking: &mut Taking,
        stop: &Stop,
    ) -> Result<(), String> {
        let losses = taking.sharer.as_ref().map(|sharer| sharer.losses());
        loop {
            if stop.is_on() {
                return Ok(());
            }
            if taking.sharer.as_ref().map(|sharer| sharer.losses()) != losses {
                return Err("another processor has taken a partition".into());
            }
            // The journal answers as many units as the lanes have places.
            let takes = taking.is_open()
                && taking.under_way() + 1 < self.lanes.arrivals.room()
                && taking.look_from.is_none_or(|from| from <= Instant::now());
            let patience = taking.patience();
            self.lanes.bell.announce_sleep();
            // An answer that came before the announcement rings nobody.
            let delivered = if self.lanes.acks.is_empty() {
                tokio::select! {
                    biased;
                    delivered = poll_fn(|context| taking.poll(context)), if takes => Some(delivered?),
                    () = self.lanes.rung.notified() => None,
                    () = tokio::time::sleep(patience) => None,
                }
            } else {
                None
            };
            self.lanes.bell.awake();
            if let Some((intake, delivery)) = delivered {
                taking.last_delivery = Instant::now();
                taking.burst = 0;
                self.hold(open, taking, intake).await?;
                self.deliver(taking, intake, delivery)?;
                // Whatever else is there goes to the journal in one go.
                let mut now = Context::from_waker(std::task::Waker::noop());
                while taking.is_open()
                    && taking.under_way() + 1 < self.lanes.arrivals.room()
                    && let Poll::Ready(delivered) = taking.poll(&mut now)
                {
                    let (intake, delivery) = delivered?;
                    self.hold(open, taking, intake).await?;
                    self.deliver(taking, intake, delivery)?;
                }
                // Few at a time would cost a frame, a sync and a wake of every stage for each few.
                taking.look_from = (taking.burst < BURST_SIGNALS).then(|| taking.last_delivery + BURST_WAIT);
                Self::hand_on(taking);
            }
            self.skip_what_is_missing(taking)?;
            self.push_ready(taking).await?;
            self.answered(taking)?;
            if let Some((intake, delivery)) = taking.next_held() {
                self.deliver(taking, intake, delivery)?;
                Self::hand_on(taking);
            }
            self.push_ready(taking).await?;
            self.acknowledge(taking, false).await?;
            self.leave(asking, taking).await?;
            self.watch(open, asking, taking).await?;
        }
    }

    /// Asks now and then how much waits: a broker that does not answer, or has messages and delivers none, is left.
    async fn watch(&mut self, open: &Open, asking: &Channel, taking: &mut Taking) -> Result<(), String> {
        if !open.connection.status().connected() {
            return Err("the connection to the broker broke".into());
        }
        if taking.last_asked.is_some_and(|last| last.elapsed() < ASK_EVERY) {
            return Ok(());
        }
        taking.last_asked = Some(Instant::now());
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let mut stalled = false;
        for intake in taking.intakes.iter().filter(|intake| !intake.set_aside) {
            let asked = asking.queue_declare(intake.queue.as_str().into(), options, FieldTable::default());
            let asked = with_deadline("does not answer", asked).await?;
            if let Some(marks) = self.marks.partitions.iter().find(|marks| marks.number == intake.partition) {
                marks.waiting.publish(asked.message_count().into());
                let owned = marks.owned.read() == 1;
                stalled |= owned && asked.message_count() > 0 && intake.outstanding.is_empty();
            }
        }
        if stalled && taking.last_delivery.elapsed() > SILENCE_MAX {
            return Err(format!("the broker has messages and has delivered none for {SILENCE_MAX:?}"));
        }
        self.balance(open, asking, taking).await
    }
}

/// A wait on the broker, ended by a deadline.
pub(super) async fn with_deadline<T>(
    what: &str,
    wait: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(BROKER_DECLARE.max(CONFIRM_PROGRESS), wait).await {
        Ok(done) => done.map_err(|error| said(&error)),
        Err(_) => Err(format!("the broker {what}")),
    }
}
