//! Andon: what was decided, made visible and provable. The transparency log, the scribe that writes it, and the
//! audit file that follows it.

pub mod audit;
pub mod channel;
pub mod log;
pub mod stage;
