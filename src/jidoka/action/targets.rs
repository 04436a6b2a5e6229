//! Targets as they are configured, and the executor for them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::carry::Carry;
use super::executor::{Equipped, Executor};
use super::gate::Bounds;
use super::{amqp, log, webhook};
use crate::limits::{LOG_LINES_MAX, TARGET_CALLS_MAX};
use crate::net::amqp::Broker;
use crate::net::backoff::random;

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

impl Targets {
    /// How many are called over a connection.
    #[must_use]
    pub fn remote(&self) -> usize {
        self.targets.iter().filter(|target| target.kind.is_remote()).count()
    }

    /// Has an executor go on with them; connections are made when they are needed.
    pub fn equip(&self, executor: &mut Executor) {
        let mut equipped = Vec::new();
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
            equipped.push(Equipped { name: Arc::clone(name), carry, timeout: *timeout, calls_max });
        }
        executor.equip(self.bounds, equipped);
    }
}
