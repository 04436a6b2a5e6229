//! What a node answers to one look: what it measured, how it does, and its metrics.

use serde::{Deserialize, Serialize};

use super::super::client::{Client, Sent};
use super::super::output::Failure;
use super::metrics_page::MetricsPage;
use crate::improvement::Look;

/// The answers of one look.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub look: Look,
    pub status: StatusAnswer,
    pub metrics: MetricsPage,
}

/// The part of `GET /v1/status` that is shown.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StatusAnswer {
    pub ready: bool,
    pub stages: Vec<StageAnswer>,
    #[serde(default)]
    pub halts: Vec<HaltAnswer>,
    pub broker: Option<BrokerAnswer>,
    pub state: Option<SharedAnswer>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct StageAnswer {
    pub stage: String,
    pub reason: Option<String>,
}

/// A halt of a tenant, a target or the line.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct HaltAnswer {
    pub scope: String,
    pub name: Option<String>,
    pub who: String,
    pub reason: String,
    pub since_ms: u64,
}

/// How the broker does, at an edge or at a processor.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct BrokerAnswer {
    pub connected: bool,
    /// At an edge: the broker takes nothing.
    pub blocked: Option<bool>,
    pub backlog_events: Option<u64>,
    pub unconfirmed_messages: Option<u64>,
    pub unacknowledged_messages: Option<u64>,
    pub missing_signals: Option<u64>,
    #[serde(skip_serializing)]
    pub partitions: Vec<PartitionAnswer>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PartitionAnswer {
    pub partition: u16,
    /// At a processor: its messages come to this node.
    pub owned: Option<bool>,
    pub queue_messages: Option<u64>,
    pub queue_consumers: Option<u64>,
}

/// How the state does that processors share.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct SharedAnswer {
    pub is_shared: bool,
    pub unshared_milliseconds: u64,
    pub held_partitions: Vec<u16>,
}

impl Answers {
    /// Asks for all of them.
    pub fn ask(client: &Client) -> Result<Self, Failure> {
        let unreadable = |error: serde_json::Error| {
            Failure::io(format!("the node's answer cannot be read: {error}"))
                .hint("is the node of the same version as this command?")
        };
        let look = serde_json::from_value(client.send("kaizen record", &Sent::default())?);
        let status = serde_json::from_value(client.send("status", &Sent::default())?);
        let metrics = MetricsPage::read(&client.text("top")?);
        Ok(Self { look: look.map_err(unreadable)?, status: status.map_err(unreadable)?, metrics })
    }
}
