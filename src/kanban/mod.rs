//! Kanban: the work made visible and durable. The journal, the memory of identities, and the broker between machines.

mod admission;
pub mod broker;
pub mod dedup;
pub mod journal;
pub mod journal_clock;
#[cfg(test)]
mod memory;
mod outlet;
mod ports;
pub mod positions;
pub mod recent;
pub mod share;
mod source_ledger;
pub mod stage;
pub mod tenure;
