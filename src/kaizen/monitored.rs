//! What alerting rules and dashboards must know of a node: its role, and the bounds that its configuration gives.

use super::metric::{At, Metric};

/// Which stages a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    All,
    Edge,
    Processor {
        /// It shares the state of its governors with others.
        shares_state: bool,
    },
}

/// A node, as rules and dashboards see it.
#[derive(Clone, Copy, Debug)]
pub struct Monitored {
    pub role: Role,
    /// Free space below which it answers 503, in bytes.
    pub low_water_bytes: u64,
    /// What waiting signals may take, in bytes.
    pub waiting_bytes: u64,
    /// Governors that it may have.
    pub governors: u64,
}

impl Monitored {
    /// Whether the node shows metrics of this kind.
    #[must_use]
    pub fn shows(&self, at: At) -> bool {
        match (at, self.role) {
            (At::Every, _)
            | (At::Ingress, Role::All | Role::Edge)
            | (At::Deciding, Role::All | Role::Processor { .. })
            | (At::Broker, Role::Edge | Role::Processor { .. })
            | (At::Edge, Role::Edge)
            | (At::Processor, Role::Processor { .. }) => true,
            (At::Shared, Role::Processor { shares_state }) => shares_state,
            (At::Ingress, Role::Processor { .. })
            | (At::Deciding | At::Processor, Role::Edge)
            | (At::Broker | At::Edge | At::Processor, Role::All)
            | (At::Edge, Role::Processor { .. })
            | (At::Shared, Role::All | Role::Edge)
            | (At::Tenants, _) => false,
        }
    }

    /// The metrics that it shows, in the order of the table.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(|metric| self.shows(metric.declared().at))
    }
}
