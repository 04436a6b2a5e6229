//! The operator plane: health, metrics, what became of signals, governors, receipts and dead letters, and orders.
//!
//! It runs on the outbound runtime and can stall without stalling the line. It knows the line only through
//! [`Line`], which the assembly hands over.

mod access;
pub mod operations;
mod orders;
mod query;
mod seats;
mod server;
mod strict_socket;
pub mod token;

use std::future::Future;
use std::pin::Pin;

pub use operations::Line;
pub use server::serve;
pub use token::{Role, Token, Tokens};

use crate::event::Words;

/// An answer that is being made.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Refused>>>>;

/// Governors in the order of tenant and SKU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<String>,
    /// Those behind this one.
    pub after: Option<(String, String)>,
    pub limit: usize,
}

/// How a case is to go through the line again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// An action that failed is sent again; without one the signal is decided anew.
    Replay,
    /// Only where an action failed.
    Resend,
}

/// Who orders, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub actor: Words,
    pub reason: Words,
}

/// Why a question is not answered, or an order not carried out; nothing was changed, unless it says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Come again. An order may have been carried out all the same.
    #[error("the line does not answer now")]
    Unavailable,
    /// There is no such signal, receipt, governor or case.
    #[error("{0}")]
    Missing(&'static str),
    /// The order does not fit what is there.
    #[error("{0}")]
    Conflict(String),
    /// Another node decides on it.
    #[error("{0}")]
    NotOwned(String),
    /// What the order names is wrong.
    #[error("{0}")]
    Wrong(String),
}
