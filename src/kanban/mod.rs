//! Kanban: the work made visible and durable. The journal, the memory of identities, and the broker between machines.

pub mod broker;
pub mod dedup;
pub mod journal;
pub mod journal_clock;
#[cfg(test)]
mod memory;
pub mod positions;
pub mod recent;
pub mod share;
pub mod stage;
mod take;
pub mod tenure;
