//! Andon: what was decided, made visible and provable. The transparency log and the scribe that writes it.

pub mod log;
pub mod stage;
