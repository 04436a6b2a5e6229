//! Kaizen: measurement. Called by all, calls none.
//!
//! A hot thread records into plain histograms and counters of its own; once a second it hands them over through a
//! bounded lane and goes on with empty ones. Nobody stops and nothing is shared per signal. Who counts rarely counts
//! through the `metrics` crate. Every metric stands in one table, [`Metric`].

mod collector;
mod dashboard;
mod exemplars;
mod exposition;
mod heartbeat;
mod metric;
mod monitored;
pub mod otlp;
mod per_second;
mod readings;
mod recorder;
mod registry;
pub mod remote_write;
mod rules;
mod samples;
mod span;
mod tenants;

pub use collector::Collector;
pub use dashboard::dashboard;
pub use exposition::{Format, Show};
pub use heartbeat::{Heartbeat, HeartbeatView};
pub use metric::{Declared, Kind, LabelName, Metric, Stage, Values};
pub use monitored::{Monitored, Role};
pub use per_second::PerSecond;
pub use readings::{Reading, Readings};
pub use recorder::{Counter, Recorder};
pub use rules::file as rule_file;
#[cfg(test)]
pub use samples::Series;
pub use samples::{Known, Sample, Taking};
pub use span::{Sampling, Span, SpanName, SpanValue, Tracer};
pub use tenants::Tally;

#[cfg(test)]
mod tests;
