//! Which of several processors takes from which partition. The broker gives a partition to one of those that stand in line
//! for it, and to the next when that one goes; so whoever dies is followed at once. Whoever has more than its share, since
//! another one has joined, gives a partition up, and stands in line for it again a while later, behind the others.
//!
//! The broker tells nobody that it is its turn but by a message. So that a partition whose queue is empty does not stay with
//! nobody, and its actions and timers with it, a nudge is put into its queue whenever its turn may have passed on.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::time::Instant;

use super::consumer::{Consumer, with_deadline};
use super::delivery::{NUDGE, vouch};
use super::intake::Taking;
use super::mac::Statement;
use super::order::Order;
use crate::limits::{GIVE_UP_WAIT, SHARE_PAUSE};
use crate::net::amqp::Open;

/// A delivery mode.
const PERSISTENT: u8 = 2;

/// What is being given up.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// A partition from which nothing more is taken, and since when.
    leaving: Option<(u16, Instant)>,
    /// How many there were.
    processors: u32,
}

impl Consumer {
    /// Takes the partition of this queue from whoever decided on it, where that is not this node already.
    pub(super) async fn hold(
        &mut self,
        open: &Open,
        taking: &mut Taking,
        intake: usize,
    ) -> Result<(), String> {
        let Some(sharer) = taking.sharer.clone() else { return Ok(()) };
        let partition = taking.intakes[intake].partition;
        if sharer.holds(partition) {
            return Ok(());
        }
        let positions = sharer.take(partition).await.map_err(|error| error.to_string())?;
        self.forget(taking, partition);
        for (edge, through) in positions {
            self.taken.insert((edge.clone(), partition), through);
            taking.orders.insert((edge, partition), Order::new(Some(through)));
        }
        let fresh = self.consume(open, partition, true).await?;
        let before = taking.intakes.iter().position(|intake| intake.queue == fresh.queue);
        match before {
            Some(at) => taking.intakes[at] = fresh,
            None => taking.intakes.push(fresh),
        }
        Ok(())
    }

    fn forget(&mut self, taking: &mut Taking, partition: u16) {
        self.taken.retain(|(_, of), _| *of != partition);
        taking.orders.retain(|(_, of), _| *of != partition);
        taking.waiting.retain(|(_, of), _| *of != partition);
        taking.skips.retain(|(_, of)| *of != partition);
    }

    /// Gives a partition up where this node has more than its share of them, one at a time.
    pub(super) async fn balance(
        &mut self,
        open: &Open,
        asking: &Channel,
        taking: &mut Taking,
    ) -> Result<(), String> {
        let Some(sharer) = taking.sharer.clone() else { return Ok(()) };
        let processors = self.topology.processors();
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = asking.queue_declare(processors.into(), options, FieldTable::default());
        let processors = with_deadline("does not answer", asked).await?.consumer_count();
        let before = std::mem::replace(&mut taking.plan.processors, processors);
        self.come_back(open, taking).await?;
        // The first look compares with nothing: who had the turn when this one joined may have taken that nudge and died.
        if processors < before || before == 0 {
            self.nudge(asking, taking).await?;
        }
        let share = self.consumed.len().div_ceil(usize::try_from(processors.max(1)).unwrap_or(1));
        let held = sharer.held();
        match taking.plan.leaving {
            None if held.len() > share => {
                let waiting = |partition: &u16| {
                    let marks = self.marks.partitions.iter().find(|marks| marks.number == *partition);
                    marks.map_or(0, |marks| marks.waiting.read())
                };
                // The one with the least to do.
                let Some(partition) = held.into_iter().min_by_key(waiting) else { return Ok(()) };
                for intake in taking.intakes.iter_mut().filter(|intake| intake.partition == partition) {
                    intake.away = Some(Instant::now());
                }
                taking.plan.leaving = Some((partition, Instant::now()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Stands among the processors for as long as what is returned lives; the channel is one for nudges from here on.
    pub(super) async fn stand(&self, asking: &Channel) -> Result<lapin::Consumer, String> {
        let confirms = asking.confirm_select(ConfirmSelectOptions::default());
        with_deadline("confirms nothing", confirms).await?;
        with_deadline("starts no consumer", self.topology.stand_among_processors(asking)).await
    }

    /// Puts a nudge into the queue of every partition that this node does not hold.
    pub(super) async fn nudge(&self, asking: &Channel, taking: &Taking) -> Result<(), String> {
        let Some(sharer) = &taking.sharer else { return Ok(()) };
        for partition in self.consumed.iter().filter(|partition| !sharer.holds(**partition)) {
            let queue = self.topology.queue(*partition);
            let mut headers = FieldTable::default();
            vouch(&mut headers, &self.keys, Statement::Nudge(*partition));
            let properties = BasicProperties::default()
                .with_type(NUDGE.into())
                .with_headers(headers)
                .with_delivery_mode(PERSISTENT);
            let options = BasicPublishOptions::default();
            let put = async {
                asking.basic_publish("".into(), queue.as_str().into(), options, &[], properties).await?.await
            };
            // A full queue refuses it, and needs none.
            with_deadline("confirms no nudge", put).await?;
        }
        Ok(())
    }

    /// Lets go of the partition that is being given up, once nothing of it is under way.
    pub(super) async fn leave(&mut self, asking: &Channel, taking: &mut Taking) -> Result<(), String> {
        let Some((partition, since)) = taking.plan.leaving else { return Ok(()) };
        let Some(sharer) = taking.sharer.clone() else { return Ok(()) };
        if taking.has_under_way(partition) {
            if since.elapsed() > GIVE_UP_WAIT {
                return Err(format!(
                    "partition {partition} cannot be given up: what it was given is not shared"
                ));
            }
            return Ok(());
        }
        taking.plan.leaving = None;
        sharer.give_up(partition).await.map_err(|error| error.to_string())?;
        self.acknowledge(taking, true).await?;
        self.forget(taking, partition);
        for intake in taking.intakes.iter_mut().filter(|intake| intake.partition == partition) {
            // What it was given and has not acknowledged goes to the next one.
            intake.outstanding.clear();
            (intake.redelivered, intake.again) = (None, false);
            (intake.ready, intake.ready_since) = (0, None);
            intake.away = Some(Instant::now());
            let closed = intake.channel.close(200, "given up".into());
            with_deadline("closes no channel", closed).await?;
        }
        if let Some(marks) = self.marks.partitions.iter().find(|marks| marks.number == partition) {
            marks.owned.publish(0);
        }
        self.nudge(asking, taking).await
    }

    /// Stands in line again for what was given up.
    async fn come_back(&mut self, open: &Open, taking: &mut Taking) -> Result<(), String> {
        let leaving = taking.plan.leaving.map(|(partition, _)| partition);
        for at in 0..taking.intakes.len() {
            let intake = &taking.intakes[at];
            let (partition, since) = (intake.partition, intake.away);
            if intake.set_aside || leaving == Some(partition) {
                continue;
            }
            if since.is_some_and(|since| since.elapsed() > SHARE_PAUSE) {
                taking.intakes[at] = self.consume(open, partition, false).await?;
            }
        }
        Ok(())
    }
}
