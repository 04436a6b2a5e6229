//! The operator plane: health, metrics, what became of signals, governors, receipts and dead letters, and orders.
//!
//! It runs on the outbound runtime and can stall without stalling the line. It knows the line only through
//! [`Line`], which the assembly hands over.

mod access;
mod answers;
mod board;
pub mod operations;
mod orders;
mod query;
mod requests;
mod seats;
mod server;
mod strict_socket;
mod terms;
pub mod token;

pub use board::BoardSessions;
pub use operations::Line;
pub use server::serve;
pub use terms::{Again, AlertOrder, Filter, OperatorCommand, Refused, Reply, Resolved, Said};
pub use token::{Role, Token, Tokens};
