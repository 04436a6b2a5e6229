//! Carrying out actions: what a target is, and who calls it. The intent is journalled before a call and its outcome
//! after it, so an action runs at least once; its id is the key under which a target can tell a repetition (promise
//! P2). Whatever hangs, hangs alone (P7): each target has its own queue, its own cap, its own breaker.
//!
//! `gate`, `retry` and `payload` are pure; `executor` drives the calls; `webhook`, `amqp` and `log` make them.

pub mod amqp;
mod executor;
mod gate;
mod log;
mod payload;
mod queue;
mod retry;
pub mod webhook;

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use executor::{Executor, Watch};
pub use gate::Bounds;
use tokio::time::Instant;

use super::stage::Order;
use crate::limits::{LOG_LINES_MAX, TARGET_CALLS_MAX};
use crate::net::amqp::Broker;
use crate::net::backoff::random;
use retry::Miss;

/// Everything that can be called.
#[derive(Debug)]
pub struct Targets {
    pub targets: Vec<Target>,
    /// The one broker of all `amqp` targets.
    pub broker: Option<Broker>,
    /// When a target's breaker opens, and for how long.
    pub bounds: Bounds,
}

/// Where actions of one name go.
#[derive(Debug)]
pub struct Target {
    pub name: Arc<str>,
    pub kind: Kind,
    /// For one try.
    pub timeout: Duration,
}

#[derive(Debug)]
pub enum Kind {
    /// A line on standard output.
    Log,
    /// A signed POST.
    Webhook(Arc<webhook::Endpoint>),
    /// A message to the broker.
    Amqp(amqp::Route),
}

impl Kind {
    /// Whether it is called over a connection.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Log => false,
            Self::Webhook(_) | Self::Amqp(_) => true,
        }
    }
}

/// One try.
type Trying<'a> = Pin<Box<dyn Future<Output = Result<(), Miss>> + 'a>>;

/// How one kind of target is called. A try is dropped after `until`; one that knows its result by then is heard first.
trait Carry {
    fn carry<'a>(&'a self, order: &'a Order, until: Instant) -> Trying<'a>;
}

impl Targets {
    /// An executor for them; its connections are made when they are needed.
    #[must_use]
    pub fn executor(&self) -> Executor {
        let mut executor = Executor::new(self.bounds, random);
        let stdout = log::Writer::new();
        let link = self.broker.as_ref().map(|broker| Rc::new(amqp::Link::new(broker.clone(), random)));
        for Target { name, kind, timeout } in &self.targets {
            let (carry, calls_max): (Rc<dyn Carry>, _) = match (kind, &link) {
                (Kind::Log, _) => (Rc::new(stdout.clone()), LOG_LINES_MAX),
                (Kind::Webhook(endpoint), _) => {
                    (Rc::new(webhook::Client::new(Arc::clone(endpoint))), TARGET_CALLS_MAX)
                }
                (Kind::Amqp(route), Some(link)) => {
                    (Rc::new(amqp::Publisher::new(Rc::clone(link), route.clone())), TARGET_CALLS_MAX)
                }
                // The configuration names a broker for every such action.
                (Kind::Amqp(_), None) => continue,
            };
            executor.add(Arc::clone(name), carry, *timeout, calls_max);
        }
        executor
    }
}
