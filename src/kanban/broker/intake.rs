//! The way of a delivery: read, put into its edge's order, handed to the journal, and acknowledged when it is durable.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream as _;
use lapin::Channel;
use lapin::message::Delivery;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::consumer::{Consumer, LOOK_AGAIN};
use super::delivery::{deliveries, foreign, is_nudge, prove, prove_nudge};
use super::message::{self, Origin, Span};
use super::order::{Order, Verdict};
use super::rebalance::Plan;
use super::suspect;
use crate::event::{Astray, EdgeName, Forwarded, Part, Position, Seq};
use crate::kanban::share::Sharer;
use crate::limits::{ACK_AFTER, GAP_WAIT, MESSAGE_BYTES_MAX, MESSAGE_SIGNALS_MAX, POSITIONS_MAX};
use crate::net::amqp::said;
use crate::signal::{Provenance, Signal};

/// One queue that is consumed.
pub(super) struct Intake {
    pub(super) partition: u16,
    /// The broker set aside what is in it.
    pub(super) set_aside: bool,
    pub(super) queue: String,
    pub(super) channel: Channel,
    pub(super) consumer: lapin::Consumer,
    /// Delivered, in that order; true once it may be acknowledged.
    pub(super) outstanding: VecDeque<(u64, bool)>,
    /// The last that was delivered before.
    pub(super) redelivered: Option<u64>,
    /// The newest was delivered before: the broker may have given more such ones that are not yet looked at.
    pub(super) again: bool,
    /// So many of them, from the first, may be acknowledged.
    pub(super) ready: usize,
    /// Since when.
    pub(super) ready_since: Option<Instant>,
    /// Since when it is left to other processors.
    pub(super) away: Option<Instant>,
}

impl Intake {
    /// Counts what may be acknowledged by now.
    pub(super) fn count_ready(&mut self) {
        while self.outstanding.get(self.ready).is_some_and(|(_, durable)| *durable) {
            self.ready += 1;
            self.ready_since.get_or_insert_with(Instant::now);
        }
    }
}

/// Which delivery is answered for.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    intake: usize,
    tag: u64,
}

/// A message on its way into the journal.
pub(super) struct Brought {
    pub(super) ticket: Ticket,
    pub(super) origin: Origin,
    pub(super) signals: Vec<(Seq, Signal)>,
    pub(super) astray: Option<Astray>,
    /// It may be what ends this process.
    pub(super) suspect: bool,
}

/// Messages of one edge and partition that follow one another, on their way to the journal.
pub(super) struct Gathered {
    pub(super) forwarded: Forwarded,
    pub(super) tickets: Vec<Ticket>,
    pub(super) bytes: usize,
}

impl Gathered {
    /// Whether there is room for the next message, if it is one of these.
    fn takes(
        &self,
        edge: &EdgeName,
        partition: u16,
        astray: Option<Astray>,
        signals: usize,
        bytes: usize,
    ) -> bool {
        let of = self.forwarded.part.as_ref().map(|part| &part.position);
        of.is_some_and(|of| of.edge == *edge && of.partition == partition)
            && self.forwarded.astray == astray
            && self.forwarded.signals.len() + signals <= MESSAGE_SIGNALS_MAX
            && self.bytes + bytes <= MESSAGE_BYTES_MAX
    }
}

/// What is to be handed to the journal, or counts when everything handed before it is answered.
pub(super) enum Ready {
    Unit(Gathered),
    Repeat(Ticket),
}

/// What was handed to the journal, or counts when everything handed before it is answered.
pub(super) struct Unit {
    pub(super) tickets: Vec<Ticket>,
    pub(super) handed: bool,
    pub(super) through: Option<Position>,
}

/// The work of one connection.
pub(super) struct Taking {
    /// Where the state of partitions is shared.
    pub(super) sharer: Option<Rc<Sharer>>,
    pub(super) orders: HashMap<(EdgeName, u16), Order<Brought>>,
    /// Since when something of these waits for what is missing before it.
    pub(super) waiting: HashMap<(EdgeName, u16), Instant>,
    /// What is missing before the next message of these will not come.
    pub(super) skips: HashSet<(EdgeName, u16)>,
    pub(super) gathered: Option<Gathered>,
    /// A suspect that waits until nothing is under way.
    pub(super) held: Option<(usize, Delivery)>,
    /// A suspect is under way: nothing is taken beside it.
    pub(super) alone: bool,
    /// What is left of a message that is taken signal by signal.
    pub(super) pieces: VecDeque<Gathered>,
    /// Before it is handed on, its governors are loaded, where they are shared.
    pub(super) ready: VecDeque<Ready>,
    pub(super) units: VecDeque<Unit>,
    /// Durable, and to be acknowledged when everything up to these events is shared.
    pub(super) unshared: VecDeque<(Seq, Vec<Ticket>)>,
    pub(super) plan: Plan,
    pub(super) intakes: Vec<Intake>,
    pub(super) last_delivery: Instant,
    /// Deliveries are looked at from here on.
    pub(super) look_from: Option<Instant>,
    /// Signals that came when they were looked at last.
    pub(super) burst: usize,
    pub(super) last_asked: Option<Instant>,
    /// The queue that is looked at first.
    pub(super) next: usize,
    /// Where the last signals came from.
    pub(super) provenance: Option<&'static Provenance>,
}

impl Taking {
    /// The next delivery of any queue.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(usize, Delivery), String>> {
        let count = self.intakes.len();
        for turn in 0..count {
            let at = (self.next + turn) % count;
            if self.intakes[at].away.is_some() {
                continue;
            }
            match Pin::new(&mut self.intakes[at].consumer).poll_next(context) {
                Poll::Ready(Some(Ok(delivery))) => {
                    self.next = at + 1;
                    return Poll::Ready(Ok((at, delivery)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(said(&error))),
                Poll::Ready(None) => {
                    let queue = &self.intakes[at].queue;
                    return Poll::Ready(Err(format!("the broker ended the consumer of {queue}")));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

impl Taking {
    /// What is, or is to be, in the journal's lanes.
    pub(super) fn under_way(&self) -> usize {
        self.ready.len() + self.units.len()
    }

    /// Whether the next delivery may be taken.
    pub(super) fn is_open(&self) -> bool {
        !self.alone && self.held.is_none()
    }

    /// Nothing that was delivered before is in hand, nor on its way here.
    pub(super) fn is_calm(&self) -> bool {
        let is_quiet = self.under_way() == 0 && self.last_delivery.elapsed() >= suspect::QUIET;
        self.is_open()
            && self.intakes.iter().all(|intake| intake.redelivered.is_none() && (!intake.again || is_quiet))
    }

    /// The suspect that waited, once nothing is under way.
    pub(super) fn next_held(&mut self) -> Option<(usize, Delivery)> {
        let is_free = !self.alone && self.under_way() == 0 && self.gathered.is_none();
        if is_free { self.held.take() } else { None }
    }

    /// Whether anything of a partition is on its way to being acknowledged.
    pub(super) fn has_under_way(&self, partition: u16) -> bool {
        let ready = self.ready.iter().flat_map(|ready| match ready {
            Ready::Unit(gathered) => gathered.tickets.as_slice(),
            Ready::Repeat(ticket) => std::slice::from_ref(ticket),
        });
        let gathered = self.gathered.iter().chain(&self.pieces).flat_map(|gathered| &gathered.tickets);
        let units = self.units.iter().flat_map(|unit| &unit.tickets);
        let unshared = self.unshared.iter().flat_map(|(_, tickets)| tickets);
        if self.held.as_ref().is_some_and(|(intake, _)| self.intakes[*intake].partition == partition) {
            return true;
        }
        let mut all = ready.chain(gathered).chain(units).chain(unshared);
        all.any(|ticket| self.intakes[ticket.intake].partition == partition)
    }

    /// How long to wait for a delivery or an answer.
    pub(super) fn patience(&self) -> Duration {
        let waits = self.intakes.iter().any(|intake| intake.ready > 0);
        let longest = if waits { ACK_AFTER } else { LOOK_AGAIN };
        let look = self.look_from.map(|from| from.saturating_duration_since(Instant::now()));
        look.filter(|look| !look.is_zero()).map_or(longest, |look| look.min(longest))
    }

    /// These may be acknowledged.
    pub(super) fn done(&mut self, tickets: &[Ticket]) {
        for Ticket { intake, tag } in tickets {
            // A channel numbers its deliveries one by one.
            let outstanding = &mut self.intakes[*intake].outstanding;
            let first = outstanding.front().map_or(*tag, |(first, _)| *first);
            let at = usize::try_from(tag - first).unwrap_or(usize::MAX);
            if let Some((held, durable)) = outstanding.get_mut(at) {
                assert_eq!(held, tag, "deliveries are numbered without a gap");
                *durable = true;
            }
        }
    }

    /// What is shared may be acknowledged.
    pub(super) fn shared(&mut self) {
        let Some(through) = self.sharer.as_ref().map(|sharer| sharer.through()) else { return };
        while let Some((_, tickets)) = self.unshared.pop_front_if(|(last, _)| *last <= through) {
            self.done(&tickets);
        }
    }
}

impl Consumer {
    /// Reads a message and gives it its place. One that may be what ends this process waits until nothing else is under way.
    pub(super) fn deliver(
        &mut self,
        taking: &mut Taking,
        intake: usize,
        delivery: Delivery,
    ) -> Result<(), String> {
        let again = delivery.redelivered && self.suspect.redelivered().map_err(|error| in_disk(&error))?;
        let suspect = again || deliveries(&delivery.properties) >= suspect::DELIVERIES;
        if suspect && (taking.under_way() > 0 || taking.gathered.is_some()) {
            taking.held = Some((intake, delivery));
            return Ok(());
        }
        self.deliver_now(taking, intake, delivery, suspect)
    }

    fn deliver_now(
        &mut self,
        taking: &mut Taking,
        intake: usize,
        delivery: Delivery,
        suspect: bool,
    ) -> Result<(), String> {
        let Delivery { delivery_tag, properties, data, redelivered, .. } = delivery;
        let source = &mut taking.intakes[intake];
        source.again = redelivered;
        if redelivered {
            source.redelivered = Some(delivery_tag);
        }
        let partition = source.partition;
        let nudge = is_nudge(&properties).then(|| prove_nudge(&properties, partition, &self.keys));
        source.outstanding.push_back((delivery_tag, nudge == Some(Ok(()))));
        if !source.set_aside
            && let Some(marks) = self.marks.partitions.iter().find(|marks| marks.number == source.partition)
        {
            marks.owned.publish(1);
        }
        let ticket = Ticket { intake, tag: delivery_tag };
        let astray = source.set_aside.then_some(Astray::SetAside);
        let body = Bytes::from(data);
        match nudge {
            Some(Ok(())) => return Ok(()),
            Some(Err(why)) => {
                self.reject(taking, ticket, why, foreign(&properties, &body));
                return Ok(());
            }
            None => {}
        }
        // Nothing of what nobody vouches for is read.
        let origin = match prove((&properties, &body), partition, &self.keys) {
            Ok(origin) => origin,
            Err(why) => {
                self.reject(taking, ticket, why, foreign(&properties, &body));
                return Ok(());
            }
        };
        let killed =
            suspect && self.suspect.begin_reading(xxh3_64(&body)).map_err(|error| in_disk(&error))?;
        let opened = if killed {
            Err(Astray::Poison)
        } else {
            crate::fault::poisoned(&body);
            let before = taking.provenance;
            // A message that breaks the reader becomes a dead letter as well.
            let opened = catch_unwind(AssertUnwindSafe(|| message::open(&origin, &body, before)));
            opened.ok().and_then(Result::ok).ok_or(Astray::Unreadable)
        };
        let (signals, astray, suspect) = match opened {
            Ok(signals) => (signals, astray, suspect),
            // One dead letter stands for all of its signals, so that the edge's next message has its turn.
            Err(why) => {
                self.count_rejected(why);
                (vec![(origin.span.through, foreign(&properties, &body))], Some(why), false)
            }
        };
        taking.burst += signals.len();
        taking.provenance = signals.last().map(|(_, signal)| signal.provenance);
        let key = (origin.edge.clone(), origin.partition);
        if !taking.orders.contains_key(&key) && taking.orders.len() >= POSITIONS_MAX {
            return Err(format!("there are more than {POSITIONS_MAX} edges and partitions"));
        }
        let order = taking.orders.entry(key.clone()).or_insert_with(|| Order::new(None));
        let brought = Brought { ticket, origin, signals, astray, suspect };
        let span = brought.origin.span;
        let mut verdict = order.offer(span, brought);
        if let Verdict::Stranger(brought) = verdict {
            if !self.adopt {
                return Err(format!(
                    "partition {}: the signals of edge {} before {} were taken by another node, whose state is not here; \
                     bring its data here, or set `rabbitmq.adopt = true` to go on without",
                    brought.origin.partition, brought.origin.edge, span.after
                ));
            }
            order.adopt(span.after);
            taking.skips.insert((brought.origin.edge.clone(), brought.origin.partition));
            verdict = order.offer(span, brought);
        }
        self.settle(taking, &key, verdict)
    }

    fn count_rejected(&self, why: Astray) {
        if let Some(rejected) = self.marks.rejected.get(why as usize) {
            rejected.publish(rejected.read() + 1);
        }
    }

    /// Hands on what cannot be decided on, as a dead letter.
    fn reject(&self, taking: &mut Taking, ticket: Ticket, why: Astray, signal: Signal) {
        self.count_rejected(why);
        Self::hand_on(taking);
        let forwarded = Forwarded { signals: vec![(Seq(0), signal)], astray: Some(why), part: None };
        taking.gathered = Some(Gathered { forwarded, tickets: vec![ticket], bytes: 0 });
        Self::hand_on(taking);
    }

    fn settle(
        &mut self,
        taking: &mut Taking,
        key: &(EdgeName, u16),
        verdict: Verdict<Brought>,
    ) -> Result<(), String> {
        match verdict {
            Verdict::Held => {
                taking.waiting.entry(key.clone()).or_insert_with(Instant::now);
                Ok(())
            }
            Verdict::Repeat(brought) => {
                self.marks.repeats.publish(self.marks.repeats.read() + 1);
                // Durable once everything before it is.
                Self::hand_on(taking);
                taking.ready.push_back(Ready::Repeat(brought.ticket));
                Ok(())
            }
            Verdict::Take(brought, behind) => {
                self.hand_on_in_order(taking, brought, behind)?;
                self.settle_what_waited(taking, key)
            }
            Verdict::Stranger(_) => {
                unreachable!("an edge that was offered once is known, adopted or refused")
            }
        }
    }

    /// What waited for this one has its turn.
    fn settle_what_waited(&mut self, taking: &mut Taking, key: &(EdgeName, u16)) -> Result<(), String> {
        while let Some(order) = taking.orders.get_mut(key)
            && let Some((span, held)) = order.ready()
        {
            match order.offer(span, held) {
                Verdict::Take(brought, behind) => self.hand_on_in_order(taking, brought, behind)?,
                other @ (Verdict::Repeat(_) | Verdict::Held | Verdict::Stranger(_)) => {
                    self.settle(taking, key, other)?;
                }
            }
        }
        taking.waiting.remove(key);
        if taking.orders.get(key).is_some_and(|order| order.held() > 0) {
            taking.waiting.insert(key.clone(), Instant::now());
        }
        Ok(())
    }

    /// Small messages that follow one another go to the journal as one unit; one that was delivered often goes alone.
    fn hand_on_in_order(&mut self, taking: &mut Taking, brought: Brought, behind: Seq) -> Result<(), String> {
        if brought.suspect {
            return self.hand_on_with_care(taking, brought, behind);
        }
        let Brought { ticket, origin: Origin { edge, partition, span }, signals, astray, .. } = brought;
        let skips = taking.skips.remove(&(edge.clone(), partition));
        let bytes = signals.iter().map(|(_, signal)| signal.body().len()).sum();
        if let Some(gathered) = &mut taking.gathered
            && gathered.takes(&edge, partition, astray, signals.len(), bytes)
            && !skips
            && let Some(part) = &mut gathered.forwarded.part
        {
            part.position.through = span.through;
            gathered.forwarded.signals.extend(signals);
            gathered.tickets.push(ticket);
            gathered.bytes += bytes;
            return Ok(());
        }
        Self::hand_on(taking);
        let position = Position { edge, partition, through: span.through };
        let forwarded = Forwarded { signals, astray, part: Some(Part { position, behind, skips }) };
        taking.gathered = Some(Gathered { forwarded, tickets: vec![ticket], bytes });
        Ok(())
    }

    /// What was gathered is to go to the journal.
    pub(super) fn hand_on(taking: &mut Taking) {
        taking.ready.extend(taking.gathered.take().map(Ready::Unit));
    }

    /// What has been missing for too long is asked for once more by a new connection, over which the broker gives everything
    /// again that was not acknowledged. If it is missing then, too, it is not coming: it is counted, told, and left behind.
    pub(super) fn skip_what_is_missing(&mut self, taking: &mut Taking) -> Result<(), String> {
        let late = taking.waiting.iter().find(|(_, since)| since.elapsed() > GAP_WAIT);
        let Some((key, _)) = late else { return Ok(()) };
        let key = key.clone();
        let Some(order) = taking.orders.get_mut(&key) else { return Ok(()) };
        if self.missed.insert((key.clone(), order.through())) {
            return Err(format!("partition {}: signals of edge {} are missing", key.1, key.0));
        }
        let Some(Span { after, through }) = order.skip() else { return Ok(()) };
        self.missed.retain(|(missed, _)| *missed != key);
        self.marks.missing.publish(self.marks.missing.read() + (through.0 - after.0));
        tracing::error!(
            target: "gemba::kanban",
            partition = key.1,
            edge = %key.0,
            first = after.0 + 1,
            last = through.0,
            "signals of an edge never came: the broker has lost them"
        );
        taking.skips.insert(key.clone());
        self.settle_what_waited(taking, &key)?;
        Self::hand_on(taking);
        Ok(())
    }
}

pub(super) fn in_disk(error: &std::io::Error) -> String {
    format!("the suspect cannot be noted: {error}")
}
