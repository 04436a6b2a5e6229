//! What to improve next: what a node measured, recordings of it that cannot be changed unseen, which few parts cause most
//! of the delay, the waiting and the failures, and whether a change helped.
//!
//! All of it is pure: it is given what a node answered and gives back tables and pages. The node knows of it only
//! [`Look`], the answer of `GET /v1/kaizen`.

mod advice;
mod comparison;
mod look;
mod numbers;
mod page;
mod ranking;
mod recording;
mod seal;
mod spread;
mod statistics;

pub use comparison::{Comparison, Verdict};
pub use look::{LaneLook, Look, Machine, NodeLook, RuleLook, StageLook, TargetLook, TenantLook, is_failure};
pub use numbers::{float, seconds};
pub use page::page;
pub use ranking::Report;
pub use recording::{Recorder, Recording};
pub use seal::{BaselineKey, open, seal};
pub use spread::Spread;

#[cfg(test)]
mod tests;
