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

pub use server::serve;
pub use token::{Role, Token, Tokens};

use crate::case::{Case, CaseFilter, CaseId, Found};
use crate::event::{Seq, Subject, Verb, Words};
use crate::receipt::ReceiptId;
use crate::view::{DryRun, GovernorView, NodeStatus, Ordered, RulesView, SignalStatus, StageHealth};

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

/// What the operator plane may ask and order. An order is answered once it is durable and its effect can be seen.
pub trait Line {
    fn signal(&self, tenant: &str, id: &str) -> Reply<SignalStatus>;
    /// The receipt's canonical JSON.
    fn receipt(&self, id: ReceiptId) -> Reply<Vec<u8>>;
    fn governor(&self, subject: Subject) -> Reply<GovernorView>;
    fn governors(&self, filter: Filter) -> Reply<Vec<GovernorView>>;
    fn command(&self, subject: Subject, verb: Verb, said: Said) -> Reply<(Ordered, GovernorView)>;
    fn dead_letters(&self, filter: CaseFilter, after: Seq, limit: usize) -> Reply<Found>;
    /// The case and its signal's text.
    fn dead_letter(&self, id: CaseId) -> Reply<(Case, bytes::Bytes)>;
    /// What a replay would do now.
    fn dry_run(&self, id: CaseId) -> Reply<DryRun>;
    fn replay(&self, id: CaseId, said: Said, how: Again) -> Reply<Ordered>;
    fn discard(&self, id: CaseId, said: Said) -> Reply<Ordered>;
    fn rules(&self) -> Reply<RulesView>;
    /// Reads the policy packs anew; `None` when nothing changed.
    fn reload(&self, said: Said) -> Reply<Option<(Ordered, RulesView)>>;
    fn health(&self) -> Vec<StageHealth>;
    fn status(&self) -> NodeStatus;
    fn metrics(&self) -> String;
}
