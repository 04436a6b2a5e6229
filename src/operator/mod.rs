//! The operator plane: health, metrics, and what became of signals, governors and receipts.
//!
//! It runs on the outbound runtime and can stall without stalling the line. It knows the line only through
//! [`Line`], which the assembly hands over.

mod routes;
mod server;
pub mod token;

use std::future::Future;
use std::pin::Pin;

pub use server::serve;
pub use token::{Role, Token, Tokens};

use crate::event::Subject;
use crate::receipt::ReceiptId;
use crate::view::{GovernorView, SignalStatus, StageHealth};

/// The line does not answer now; come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// An answer that is being made.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>>>>;

/// Governors in the order of tenant and SKU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<String>,
    /// Those behind this one.
    pub after: Option<(String, String)>,
    pub limit: usize,
}

/// What the operator plane may ask.
pub trait Line {
    fn signal(&self, tenant: &str, id: &str) -> Reply<Option<SignalStatus>>;
    /// The receipt's canonical JSON.
    fn receipt(&self, id: ReceiptId) -> Reply<Option<Vec<u8>>>;
    fn governor(&self, subject: Subject) -> Reply<Option<GovernorView>>;
    fn governors(&self, filter: Filter) -> Reply<Vec<GovernorView>>;
    fn health(&self) -> Vec<StageHealth>;
    fn metrics(&self) -> String;
}
