//! The assembly: the only module that knows every stage. Lanes, threads, recovery, drain.

pub mod recovery;
pub mod settings;
pub mod threads;
pub mod wiring;
