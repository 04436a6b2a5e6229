//! What the alert of a rule says when the rule decides. None of it changes the decision: it has steps of its own, and a
//! message that cannot be made is replaced by the rule's reason.

use std::sync::Arc;

use super::ruling::Ruling;
use crate::alert::Importance;
use crate::event::Words;
use crate::expression::{Expression, Facts, Fault, Slot, Steps, Value};
use crate::printable::is_order;
use crate::receipt::Policy;

/// The alert that a rule raises whenever it decides.
#[derive(Debug)]
pub struct RuleAlert {
    /// As the alert is named: `pack/rule`.
    pub name: Box<str>,
    pub importance: Importance,
    /// Gives a string; without it, the rule's reason.
    pub message: Option<Expression>,
    /// Gives a string: who is responsible.
    pub owner: Option<Expression>,
    /// Gives a bool: whether the alert is over.
    pub resolve: Option<Expression>,
    /// It is over after this many minutes in which the rule did not decide again; 0: it has another end.
    pub minutes: u32,
}

/// A rule with an alert decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firing {
    pub policy: Arc<Policy>,
    pub importance: Importance,
    /// In one line.
    pub message: Words,
    pub owner: Option<Words>,
    /// As [`RuleAlert::minutes`].
    pub minutes: u32,
    /// Its rule says when it is over.
    pub resolves: bool,
    /// Why the message is the rule's reason, where one was written.
    pub unmade: Option<Unmade>,
}

/// Why a message could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmade {
    #[error("{0}")]
    Fault(Fault),
    #[error("it is empty")]
    Empty,
}

impl RuleAlert {
    /// What its expressions read.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        let expressions = self.message.iter().chain(&self.owner).chain(&self.resolve);
        expressions.flat_map(Expression::slots)
    }

    /// The alert over the facts on which its rule decided.
    pub fn fire(&self, ruling: &Ruling, facts: Result<&Facts<'_>, &Fault>, steps: &mut Steps) -> Firing {
        let mut text = |expression: &Expression| -> Result<Box<str>, Unmade> {
            let facts = facts.map_err(|fault| Unmade::Fault(fault.clone()))?;
            let text = one_line(expression.run(facts, steps).map_err(Unmade::Fault)?);
            if text.is_empty() { Err(Unmade::Empty) } else { Ok(text) }
        };
        let (message, unmade) = match self.message.as_ref().map(&mut text) {
            None => (Words::from(&*ruling.reason), None),
            Some(Ok(message)) => (message.into(), None),
            Some(Err(why)) => {
                (format!("{}: the message could not be made: {why}", ruling.reason).into(), Some(why))
            }
        };
        Firing {
            policy: Arc::clone(&ruling.policy),
            importance: self.importance,
            message,
            owner: self.owner.as_ref().and_then(|owner| text(owner).ok()).map(Words::from),
            minutes: self.minutes,
            resolves: self.resolve.is_some(),
            unmade,
        }
    }

    /// Whether the facts say that it is over; what cannot be evaluated does not.
    pub fn is_over(&self, facts: &Facts<'_>, steps: &mut Steps) -> bool {
        let held = self.resolve.as_ref().map(|resolve| resolve.holds(facts, steps));
        held.and_then(Result::ok).unwrap_or(false)
    }
}

/// A text without line breaks and other orders, which a sender could use to write lines of its own where alerts are shown.
/// [`Words`] cuts it.
fn one_line(value: Value<'_>) -> Box<str> {
    match value {
        Value::Text(text) if text.contains(is_order) => text.replace(is_order, " ").trim().into(),
        Value::Text(text) => text.trim().into(),
        // Checked when it was compiled: it gives a string.
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::List(_)
        | Value::Map(_) => "".into(),
    }
}
