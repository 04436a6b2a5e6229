//! A pack tried by its own examples, and what they leave untried.

use std::sync::Arc;

use super::Pack;
use super::example::{Expected, Outcome};
use crate::place::Place;

/// What came out of a pack's examples.
#[derive(Debug, Default)]
pub struct Trial {
    pub passed: usize,
    pub failed: Vec<FailedExample>,
    pub untested: Vec<Untested>,
}

/// An example that did not come out as it says.
#[derive(Debug)]
pub struct FailedExample {
    pub rule: Box<str>,
    pub place: Place,
    pub outcome: Outcome,
}

/// What no example shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untested {
    /// That this rule decides.
    Fires(Box<str>),
    /// That this rule leaves a signal of its types alone.
    Passes(Box<str>),
    /// What this memory holds of signals that came before: its types, window, `of` and `when`.
    Memory(Box<str>),
}

impl std::fmt::Display for Untested {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fires(rule) => write!(f, "rule `{rule}`: no example in which it decides"),
            Self::Passes(rule) => {
                write!(f, "rule `{rule}`: no example in which it leaves a signal of its types alone")
            }
            Self::Memory(name) => write!(f, "memory `{name}`: no example with `signals` that it counts"),
        }
    }
}

/// Runs all examples of a pack.
#[must_use]
pub fn run(pack: &Arc<Pack>) -> Trial {
    let mut trial = Trial::default();
    for rule in &pack.rules {
        let (mut fires, mut passes) = (false, false);
        for example in &rule.examples {
            let outcome = example.run(rule, pack);
            if !outcome.passed {
                let place = example.place.clone();
                trial.failed.push(FailedExample { rule: rule.id.clone(), place, outcome });
                continue;
            }
            trial.passed += 1;
            if outcome.decided == Expected::Error {
                continue;
            }
            let own = outcome.rule.as_deref() == Some(&*rule.id);
            let meant = rule.types.is_empty() || rule.types.iter().any(|kind| **kind == *example.kind());
            fires |= own;
            passes |= !own && meant;
        }
        if !fires {
            trial.untested.push(Untested::Fires(rule.id.clone()));
        }
        // One that reads nothing holds always, or never.
        if !passes && !rule.when.slots().is_empty() {
            trial.untested.push(Untested::Passes(rule.id.clone()));
        }
    }
    let examples = pack.rules.iter().flat_map(|rule| &rule.examples);
    for memory in &pack.memories {
        if !examples.clone().any(|example| example.sends_before(&memory.types)) {
            trial.untested.push(Untested::Memory(memory.name.clone()));
        }
    }
    trial
}
