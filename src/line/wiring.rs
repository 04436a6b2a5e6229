//! The lanes of the line: who hands what to whom. Every lane is bounded and named here.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::supervisor::Restarts;
use crate::andon::log::{LogError, Sealed};
use crate::event::{Ack, Arrival};
use crate::jidoka::governor::ActionRequest;
use crate::jidoka::query::Query;
use crate::jidoka::stage as shard;
use crate::jidoka::store::{self, Commit};
use crate::kaizen::{Metric, Readings};
use crate::kanban::stage as journal;
use crate::limits;
use crate::ring::{Bell, Idle, Mark, Receiver, Sender, Sleeper, lane, weighed_lane};
use crate::{andon, event};

/// A measured depth and its name.
pub type Gauge = (String, Box<dyn Fn() -> usize + Send + Sync>);

/// Both ends of everything, to be given to the threads.
pub struct Wiring {
    pub journal: (journal::Lanes, Sleeper),
    pub deciding: DecidingEnds,
    pub ingress: Vec<IngressEnds>,
    pub outbound: OutboundEnds,
    pub gauges: Vec<Gauge>,
}

/// What the threads that decide talk through.
pub struct DecidingEnds {
    pub shards: Vec<(shard::Lanes, Sleeper)>,
    pub scribe: (Vec<andon::stage::Port>, Sleeper),
    pub keeper: (Vec<store::Port>, Sleeper),
}

/// What one ingress thread makes its lanes of.
pub struct IngressEnds {
    pub arrivals: Sender<Arrival>,
    pub acks: Receiver<Ack>,
    pub bell: Arc<Bell>,
    pub acked: Arc<Notify>,
}

/// What the outbound runtime talks through.
pub struct OutboundEnds {
    pub orders: Vec<Receiver<ActionRequest>>,
    pub bell: Arc<Bell>,
    pub ordered: Arc<Notify>,
    pub outcomes: Sender<Arrival>,
    pub operators: OperatorEnds,
}

/// What operators talk through.
pub struct OperatorEnds {
    pub journal: Sender<journal::Query>,
    pub orders: Sender<journal::Ordered>,
    pub shards: Vec<Sender<Query>>,
}

/// Lanes for so many threads.
#[must_use]
pub fn wire(ingress: usize, shards: usize, idle: Idle) -> Wiring {
    let (journal_sleeper, scribe_sleeper, keeper_sleeper) =
        (Sleeper::new(idle), Sleeper::new(idle), Sleeper::new(Idle { spins: 0, yields: 0 }));
    let mut gauges: Vec<Gauge> = Vec::new();
    let mut ports = Vec::new();
    let mut ingress_ends = Vec::new();
    for thread in 0..ingress {
        let (arrivals, taken) = lane(limits::ARRIVALS_LANE, journal_sleeper.bell());
        gauges.push((format!("arrivals-{thread}"), Box::new(arrivals.gauge())));
        let acked = Arc::new(Notify::new());
        let knock = Arc::clone(&acked);
        let bell = Arc::new(Bell::new(move || knock.notify_one()));
        let (acks, answers) = lane(limits::ARRIVALS_LANE, Arc::clone(&bell));
        ports.push(journal::Port { arrivals: taken, acks });
        ingress_ends.push(IngressEnds { arrivals, acks: answers, bell, acked });
    }
    let ordered = Arc::new(Notify::new());
    let knock = Arc::clone(&ordered);
    let outbound_bell = Arc::new(Bell::new(move || knock.notify_one()));
    let (mut inner, mut feeds, mut shard_ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scribe_ports, mut keeper_ports) = (Vec::new(), Vec::new());
    let (mut orders, mut shard_queries) = (Vec::new(), Vec::new());
    for number in 0..shards {
        let sleeper = Sleeper::new(idle);
        let (feed, events) =
            weighed_lane::<event::Feed>(limits::EVENTS_LANE, limits::EVENTS_LANE_BYTES, sleeper.bell());
        gauges.push((format!("events-{number}"), Box::new(feed.gauge())));
        let (notes, taken_notes) = lane(limits::DRAFTS_LANE, scribe_sleeper.bell());
        gauges.push((format!("drafts-{number}"), Box::new(notes.gauge())));
        let (order, taken_orders) = lane(limits::INTENTS_LANE, Arc::clone(&outbound_bell));
        gauges.push((format!("intents-{number}"), Box::new(order.gauge())));
        let (arrivals, taken_arrivals) = lane(limits::INNER_LANE, journal_sleeper.bell());
        let (commits, taken_commits) = lane::<Commit>(limits::COMMITS_LANE, keeper_sleeper.bell());
        let (query, queries) = lane(limits::QUERIES_LANE, sleeper.bell());
        let durable = Mark::new(0);
        inner.push(taken_arrivals);
        feeds.push(feed);
        scribe_ports.push(andon::stage::Port { notes: taken_notes, durable: durable.clone() });
        keeper_ports.push(store::Port { commits: taken_commits, durable });
        orders.push(taken_orders);
        shard_queries.push(query);
        shard_ends.push((shard::Lanes { events, notes, orders: order, arrivals, commits, queries }, sleeper));
    }
    let (outcomes, taken_outcomes) = lane(limits::INNER_LANE, journal_sleeper.bell());
    inner.push(taken_outcomes);
    let (journal_query, queries) = lane(limits::QUERIES_LANE, journal_sleeper.bell());
    let (operator_orders, taken_operator_orders) = lane(limits::ORDERS_LANE, journal_sleeper.bell());
    let journal_lanes = journal::Lanes {
        ports,
        inner,
        orders: taken_operator_orders,
        shards: feeds,
        follower: None,
        queries,
    };
    Wiring {
        journal: (journal_lanes, journal_sleeper),
        deciding: DecidingEnds {
            shards: shard_ends,
            scribe: (scribe_ports, scribe_sleeper),
            keeper: (keeper_ports, keeper_sleeper),
        },
        ingress: ingress_ends,
        outbound: OutboundEnds {
            orders,
            bell: outbound_bell,
            ordered,
            outcomes,
            operators: OperatorEnds {
                journal: journal_query,
                orders: operator_orders,
                shards: shard_queries,
            },
        },
        gauges,
    }
}

/// What the thread that writes the scribe's batches is given.
pub type LogWriterEnd = (Receiver<Sealed>, Sender<Result<Sealed, LogError>>, Sleeper);

/// The lanes between the scribe and the thread that writes its batches: one batch is under way at a time.
#[must_use]
pub fn wire_log_writer(scribe: &Sleeper) -> (LogWriterEnd, andon::stage::Writer) {
    let sleeper = Sleeper::new(Idle { spins: 0, yields: 0 });
    let (batches, taken) = lane(1, sleeper.bell());
    let (done, written) = lane(1, scribe.bell());
    ((taken, done, sleeper), andon::stage::Writer { batches, written })
}

/// How much waits in the lanes, and how often the line started again.
pub fn read_lanes(depths: &[Gauge], restarts: &Mutex<Restarts>, readings: &mut Readings) {
    let mut waiting = 0;
    for (name, depth) in depths {
        let depth = depth();
        if name.starts_with("arrivals") || name.starts_with("events") {
            waiting += depth;
        }
        readings.count(Metric::RingDepth, &[name], depth as u64);
    }
    readings.count(Metric::QueueDepth, &[], waiting as u64);
    let restarts = restarts.lock().unwrap_or_else(PoisonError::into_inner).total();
    readings.count(Metric::Restarts, &[], restarts);
}
