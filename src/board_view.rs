//! What the board shows of a node, in the order of its line; the field names are the public contract.
//!
//! Times are points, not ages: a node where nothing happens has nothing to tell.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::view::{BrokerView, HaltView, SilenceView, StateView};

/// A node at one moment. What its role does not have, or what is not known yet, is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BoardView {
    pub node: BoardNode,
    /// When it was looked at, in milliseconds since 1970.
    pub time: u64,
    /// When a stage, a breaker or an alert last changed, in milliseconds since 1970.
    pub changed: u64,
    pub stages: BTreeMap<Box<str>, BoardStage>,
    pub lanes: BTreeMap<Box<str>, BoardLane>,
    /// `request`, `journal` and `decide`, of the last seconds.
    pub latency: BTreeMap<&'static str, BoardLatency>,
    /// Governors by state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub governors: BTreeMap<Box<str>, u64>,
    pub targets: BTreeMap<Box<str>, BoardTarget>,
    /// Open dead letters by cause.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dead_letters: BTreeMap<Box<str>, u64>,
    pub work: BoardWork,
    /// The first 200 open ones, the most severe first, and of equals the newest.
    pub alerts: Vec<BoardAlert>,
    /// All open ones by their severity.
    pub alert_counts: BTreeMap<&'static str, BoardAlertCount>,
    /// What holds back that people are told of alerts.
    pub silences: Vec<SilenceView>,
    /// What operators halted that is more than one governor.
    pub halts: Vec<HaltView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}

/// Which node it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardNode {
    pub name: Box<str>,
    /// `all`, `edge` or `processor`.
    pub role: Box<str>,
    pub version: Box<str>,
    pub ready: bool,
    /// `healthy` or `degraded`: a node that is ready can be degraded.
    pub condition: &'static str,
    /// When it began to count, in milliseconds since 1970.
    pub started: u64,
}

/// How one stage does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardStage {
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
}

/// The lanes between two stages, together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardLane {
    /// What waits in them.
    pub depth: u64,
    /// What they hold at most.
    pub capacity: u64,
    /// What passed in each second; none before the second look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u64>,
}

/// How long something took, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardLatency {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
}

/// A target of actions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardTarget {
    /// `healthy`, `testing` or `halted`.
    pub breaker: &'static str,
    pub waiting: u64,
}

/// What the node does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardWork {
    pub durable_seq: u64,
    /// Signals that were answered with 202, in each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_per_second: Option<u64>,
    /// Requests that were refused, in each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_per_second: Option<u64>,
    /// Bytes of signals that wait.
    pub waiting_bytes: u64,
    pub disk_free_bytes: u64,
    /// Times that the line was taken up again.
    pub restarts: u64,
    /// When the last checkpoint was signed, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<u64>,
}

/// How many alerts are open, and how many of them silences hold back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardAlertCount {
    pub open: u64,
    pub silenced: u64,
}

/// An alert that is not resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardAlert {
    pub id: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub severity: Box<str>,
    pub state: Box<str>,
    pub silenced: bool,
    pub tenant: Option<Box<str>>,
    pub sku: Option<Box<str>>,
    pub message: Box<str>,
    /// When it opened, in milliseconds since 1970.
    pub since_ms: u64,
    pub members: u64,
    /// Whether it ends by itself.
    pub end_known: bool,
    pub acknowledged_by: Option<Box<str>>,
    pub route: Box<str>,
    pub channels: Vec<BoardChannel>,
    pub receipt: Option<Box<str>>,
}

/// Whether a channel was told of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BoardChannel {
    pub channel: Box<str>,
    pub state: Box<str>,
}
