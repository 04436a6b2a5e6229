//! The assembly: the only module that knows every stage. Lanes, threads, recovery, drain.

mod actions;
mod broker;
mod cgroup;
mod cores;
mod deciding;
mod desk;
mod front;
mod health;
pub mod identity;
mod ingress_threads;
mod journal_thread;
mod outbound;
mod publishing;
pub mod recovery;
mod running;
mod serve;
pub mod settings;
mod sharing;
mod stages;
mod supervisor;
mod tasks;
mod threads;
mod wiring;

pub use cores::processors;
pub use journal_thread::Bounds;
pub use recovery::{journal_dir, log_dir};
pub use serve::{Addresses, Ended, LOG_KEY, Notice, ServeError, SystemOrders, serve};
