//! The assembly: the only module that knows every stage. Lanes, threads, recovery, drain.

mod actions;
mod cores;
mod desk;
mod health;
mod ingress_threads;
mod outbound;
pub mod recovery;
mod serve;
pub mod settings;
mod stages;
mod supervisor;
mod threads;
mod wiring;

pub use cores::available as cores;
pub use recovery::journal_dir;
pub use serve::{Addresses, Notice, ServeError, serve};
