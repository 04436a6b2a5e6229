//! What a run of the line begins with.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::error::ServeError;
use super::settings::Settings;
use super::supervisor::Restarts;
use crate::descriptors::Budget;
use crate::disk::Disk;
use crate::event::Seq;
use crate::ring::Switch;
use crate::service_manager::ServiceManager;

/// Where the line can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// A processor's signals come from the broker.
    pub ingress: Option<SocketAddr>,
    pub admin: SocketAddr,
}

/// What the system asks of the line, at any time.
#[derive(Clone, Debug, Default)]
pub struct SystemOrders {
    /// End in order.
    pub drain: Switch,
    /// The line has begun, so that there is something to end in order.
    pub begun: Switch,
    /// Read the policy packs anew. An order that comes before the line is ready is kept.
    pub reload: Arc<Notify>,
    /// Who runs the node, and is told of it.
    pub service: ServiceManager,
}

/// What a run begins with.
pub struct Start<'a> {
    pub settings: &'a Settings,
    pub disk: &'a Arc<dyn Disk>,
    /// Where to listen; after a restart, the ports that were found the first time.
    pub addresses: Addresses,
    /// Events that are not decided on again.
    pub parked: HashSet<Seq>,
    pub orders: &'a SystemOrders,
    pub budget: Budget,
    pub restarts: Arc<Mutex<Restarts>>,
}

/// One step of a start may take so long: opening the state, or the log.
const STEP: Duration = Duration::from_mins(5);

impl Start<'_> {
    /// Between the steps of a long start: shall it go on? The service manager hears that it does.
    pub fn go_on(&self) -> Result<(), ServeError> {
        self.orders.service.takes_longer(STEP, "starts");
        self.orders.service.lives();
        if self.orders.drain.is_on() { Err(ServeError::ToldToEnd) } else { Ok(()) }
    }
}
