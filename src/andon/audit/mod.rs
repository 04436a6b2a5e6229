//! The audit file: every receipt of the transparency log as one line of canonical JSON, as `GET /v1/receipts/{id}` gives it, in
//! the order of the log and each once. It is derived from the log, so no line is lost: what cannot be written now is written
//! later, and what a crash kept from the file is written after the next start.
//!
//! A follower reads the log beside its writer, on a thread of its own. Nothing on the way of a signal waits for it or hands it
//! anything: it looks how far the log is committed. The file itself says where to go on; where it was moved away, a small file
//! in the data directory does (decision 42).

mod ending;
mod error;
mod file;
mod follower;
mod plan;
mod position;
#[cfg(test)]
mod tests;

pub use error::AuditError;
pub use file::AuditFile;
pub use follower::{AuditFollower, AuditLag};
pub use plan::{AuditPlan, AuditSelection};
