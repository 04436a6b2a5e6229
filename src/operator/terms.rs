//! What is asked of the line, and why it may refuse.

use std::future::Future;
use std::pin::Pin;

use crate::alert::{AlertDigits, Importance};
use crate::case::{CaseFilter, CaseId};
use crate::event::{Seq, Subject, Verb, Words};
use crate::halt::HaltScope;
use crate::place::ConfigError;

/// An answer that is being made.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Refused>>>>;

/// Governors in the order of tenant and SKU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<String>,
    /// Only those that an operator halted by themselves.
    pub halted: bool,
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

/// What is ordered of alerts and silences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertOrder {
    Acknowledge(AlertDigits),
    Resolve(AlertDigits),
    /// An alert that is none, to see who is reached.
    Test {
        importance: Importance,
        name: String,
    },
    /// `when` is CEL over `alert`.
    Silence {
        when: String,
        minutes: u64,
    },
    /// By the event that began it.
    EndSilence(Seq),
}

/// What an operator orders, read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorCommand {
    Govern(Subject, Verb),
    Halt(HaltScope),
    Resume(HaltScope),
    Replay(CaseId, Again),
    Discard(CaseId),
    /// The open cases that the filter takes, if there are so many.
    DiscardAll(CaseFilter, u64),
    Alert(AlertOrder),
    ReloadPolicy,
    Reload {
        if_match: Option<String>,
    },
    /// A change of the log's levels.
    LogLevels(String),
}

impl OperatorCommand {
    /// Whether it says all that is checked itself: nothing of it stands in files or in what the node holds.
    #[must_use]
    pub fn says_all(&self) -> bool {
        match self {
            Self::Alert(AlertOrder::Silence { .. }) | Self::LogLevels(_) => true,
            Self::Govern(..)
            | Self::Halt(_)
            | Self::Resume(_)
            | Self::Replay(..)
            | Self::Discard(_)
            | Self::DiscardAll(..)
            | Self::Alert(
                AlertOrder::Acknowledge(_)
                | AlertOrder::Resolve(_)
                | AlertOrder::Test { .. }
                | AlertOrder::EndSilence(_),
            )
            | Self::ReloadPolicy
            | Self::Reload { .. } => false,
        }
    }

    /// Whether what it comes to is compared with what was seen where it is carried out: cases, files and alerts are found there
    /// anyway.
    #[must_use]
    pub fn compares_itself(&self) -> bool {
        match self {
            Self::DiscardAll(..) | Self::Alert(_) | Self::ReloadPolicy | Self::Reload { .. } => true,
            Self::Govern(..)
            | Self::Halt(_)
            | Self::Resume(_)
            | Self::Replay(..)
            | Self::Discard(_)
            | Self::LogLevels(_) => false,
        }
    }
}

/// What an order comes to when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// For people.
    pub concerns: Box<str>,
    /// SHA-256 of all of it. It may go over secrets: it is compared, and never shown.
    pub digest: [u8; 32],
    /// Carried out now it would change nothing, so there is nothing to wait for.
    pub changes_nothing: bool,
}

impl Resolved {
    /// The same, which changes something if this is so.
    #[must_use]
    pub fn unless(self, changes: bool) -> Self {
        Self { changes_nothing: self.changes_nothing && !changes, ..self }
    }

    /// Whether this is what was `seen` before, if anything was.
    ///
    /// # Errors
    /// [`Refused::Conflict`].
    pub fn is_as_seen(&self, seen: Option<&Self>) -> Result<(), Refused> {
        match seen {
            Some(seen) if seen.digest != self.digest => Err(Refused::Conflict(format!(
                "it is not what was ordered any more: then {}; now {}; refuse it, and order anew",
                seen.concerns, self.concerns
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// What is asked of orders that wait for a second person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRoute {
    List,
    Approve,
    Refuse,
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
    /// Nobody may, here.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Another node decides on it.
    #[error("{0}")]
    NotOwned(String),
    /// Another configuration holds than the one that the order is about.
    #[error(
        "another configuration holds, {0}: look at what changed (`gemba config show`), and ask with its tag"
    )]
    Stale(String),
    /// What the order names is wrong.
    #[error("{0}")]
    Wrong(String),
    /// What was read is wrong.
    #[error("the configuration is refused, and what held holds on: {}", first(.0))]
    Invalid(Vec<ConfigError>),
}

/// The first of what is wrong, with what to do, and how much more there is.
fn first(errors: &[ConfigError]) -> String {
    let first = errors.first().map_or_else(String::new, |error| {
        let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        format!("{error}{hint}")
    });
    match errors.len() {
        0 | 1 => first,
        count => format!("{first} (and {} more)", count - 1),
    }
}
