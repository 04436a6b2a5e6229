//! Kaizen: measurement. Called by all, calls none.
//!
//! A hot thread records into plain histograms and counters of its own; once a second it hands them over through a
//! bounded lane and goes on with empty ones. Nobody stops and nothing is shared per signal.

mod collector;
mod recorder;
mod series;

pub use collector::{Collector, Gauges};
pub use recorder::{Counter, Recorder, Stage};

#[cfg(test)]
mod tests;
