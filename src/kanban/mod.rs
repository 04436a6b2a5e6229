//! Kanban: the work made visible and durable. The journal and the memory of identities.

pub mod dedup;
pub mod journal;
#[cfg(test)]
mod memory;
pub mod stage;
