//! The assembly: the only module that knows every stage. Lanes, threads, recovery, drain.

mod actions;
mod answer;
mod broker;
mod cgroup;
mod cores;
mod deciding;
mod desk;
mod error;
mod front;
mod health;
pub mod identity;
mod ingress_threads;
mod journal_thread;
mod machine;
mod measured;
mod outbound;
mod publishing;
pub mod recovery;
mod running;
mod serve;
pub mod settings;
mod sharing;
mod stages;
mod start;
mod supervisor;
mod tasks;
mod threads;
mod wiring;

pub use cores::processors;
pub use error::{LOG_KEY, ServeError};
pub use recovery::{journal_dir, log_dir};
pub use serve::{Ended, Notice, serve};
pub use settings::Bounds;
pub use start::{Addresses, SystemOrders};
