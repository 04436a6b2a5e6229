//! A pack tried by its own examples, with memories that work as in the node, and what they leave untried.

use std::sync::Arc;

use super::example::{Example, Expected, ExpectedAlert, SentSignal};
use super::facts::Question;
use super::memory::{Entry, Kind, Memory};
use super::pack::{Declared, Pack, Rule};
use super::ruling::Decision;
use super::set::{PolicySet, Room};
use crate::event::UnixMillis;
use crate::place::Place;
use crate::receipt::{Policy, StateName};

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

/// What came out of the last signal, or of the first that did not come out as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Which signal of the example, from 1.
    pub signal: usize,
    /// `None`: anything but an error.
    pub expected: Option<Expected>,
    pub decided: Expected,
    /// The rule that decided or failed.
    pub rule: Option<Box<str>>,
    /// Why it failed, where it did.
    pub detail: Option<Arc<str>>,
    /// What is wrong with the alert, where the decision is right.
    pub alert: Option<String>,
    pub passed: bool,
}

/// What no example shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untested {
    /// That this rule decides.
    Fires(Box<str>),
    /// That this rule leaves a signal of its types alone.
    Passes(Box<str>),
    /// That the alert of this rule is over.
    Resolves(Box<str>),
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
            Self::Resolves(rule) => write!(f, "rule `{rule}`: no example with `expect_resolved = true`"),
            Self::Memory(name) => write!(f, "memory `{name}`: no example with `signals` that it counts"),
        }
    }
}

/// Runs all examples of a pack.
#[must_use]
pub fn run(pack: &Arc<Pack>) -> Trial {
    let mut trial = Trial::default();
    for rule in &pack.rules {
        let (mut fires, mut passes, mut resolves) = (false, false, false);
        for example in &rule.examples {
            let outcome = try_out(example, rule, pack);
            if !outcome.passed {
                let place = example.place.clone();
                trial.failed.push(FailedExample { rule: rule.id.clone(), place, outcome });
                continue;
            }
            trial.passed += 1;
            resolves |= example.expect_resolved == Some(true);
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
        if !resolves && rule.alert.as_ref().is_some_and(|alert| alert.resolve.is_some()) {
            trial.untested.push(Untested::Resolves(rule.id.clone()));
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

/// Asks the pack.
fn try_out(example: &Example, of: &Rule, pack: &Arc<Pack>) -> Outcome {
    let set = PolicySet::new(vec![Arc::clone(pack)]);
    let mut memory = Some(Box::new(Memory::default()));
    for (at, value) in &example.memory {
        if let (Some(memory), Some(declared)) = (&mut memory, pack.memories.get(*at)) {
            remember(memory, declared, *value, example.now);
        }
    }
    let mut open: Vec<Box<str>> = Vec::new();
    if example.expect_resolved.is_some() {
        open.extend(of.alert.as_ref().map(|alert| alert.name.clone()));
    }
    let mut last = None;
    for (at, step) in example.steps.iter().enumerate() {
        for _ in 0..step.times {
            let outcome = decide(example, (at + 1, step), of, &set, (&mut memory, &mut open));
            if !outcome.passed {
                return outcome;
            }
            last = Some(outcome);
        }
    }
    last.unwrap_or(Outcome {
        signal: 0,
        expected: None,
        decided: Expected::Observe,
        rule: None,
        detail: None,
        alert: None,
        passed: false,
    })
}

fn decide(
    example: &Example,
    (number, step): (usize, &SentSignal),
    of: &Rule,
    set: &PolicySet,
    (memory, open): (&mut Option<Box<Memory>>, &mut Vec<Box<str>>),
) -> Outcome {
    let degraded = example.governor.degraded.unwrap_or_default();
    let question = Question {
        signal: &step.signal,
        now: step.now,
        state: if degraded { StateName::Degraded } else { StateName::Stable },
        entitled: !degraded,
        quota_remaining: example.governor.quota_remaining.unwrap_or(1000),
        testing: example.governor.testing.unwrap_or_default(),
        failures: example.governor.failures.unwrap_or_default(),
        open,
    };
    let mut room = Room::default();
    let (decided, rule, detail) = match set.decide(&question, memory, &mut room) {
        Ok(Decision::Observe(ruling)) => {
            (Expected::Observe, ruling.map(|ruling| ruling.policy.rule.clone()), None)
        }
        Ok(Decision::Deny(ruling)) => (Expected::Deny, Some(ruling.policy.rule.clone()), None),
        Ok(Decision::Act(ruling, _)) => (Expected::Act, Some(ruling.policy.rule.clone()), None),
        Err(unfit) => (Expected::Error, Some(unfit.policy.rule.clone()), Some(unfit.detail)),
    };
    let as_expected = step.expect.map_or(decided != Expected::Error, |expect| decided == expect);
    let own = step.expect.is_some_and(|expect| expect.into_str() == of.verdict.into_str());
    let by_whom = match &step.rule {
        Some(wanted) => rule.as_deref().unwrap_or("none") == &**wanted,
        None if own => rule.as_deref() == Some(&*of.id),
        None => true,
    };
    let is_last = number == example.steps.len();
    let alert = if as_expected && by_whom { misses(example, of, &room, is_last) } else { None };
    let passed = as_expected && by_whom && alert.is_none();
    let name = |policy: &Policy| -> Box<str> { format!("{}/{}", policy.pack, policy.rule).into() };
    open.retain(|open| !room.resolved.iter().any(|policy| name(policy) == *open));
    if let Some(name) = room.alert.as_ref().map(|firing| name(&firing.policy)) {
        open.retain(|open| *open != name);
        open.push(name);
    }
    Outcome { signal: number, expected: step.expect, decided, rule, detail, alert, passed }
}

/// What is not with the alert as the example says. A message that cannot be made is always told: a node would show the
/// reason in its place, and nobody would learn of the mistake.
fn misses(example: &Example, of: &Rule, room: &Room, is_last: bool) -> Option<String> {
    let raised = room.alert.as_ref();
    let message = raised.map(|firing| &*firing.message);
    let expected = example.expect_message.as_deref().filter(|_| is_last);
    if let (Some(firing), None) = (raised, expected)
        && let Some(why) = &firing.unmade
    {
        return Some(format!("the message of `{}` could not be made: {why}", firing.policy.rule));
    }
    if !is_last {
        return None;
    }
    let found = ExpectedAlert::from(raised.map(|firing| firing.importance));
    if let Some(expected) = example.expect_alert.filter(|expected| *expected != found) {
        return Some(format!("expected the alert `{}`, got `{}`", expected.into_str(), found.into_str()));
    }
    if let Some(expected) = expected.filter(|expected| message != Some(expected)) {
        return Some(match message {
            Some(message) => format!("expected the message {expected:?}, got {message:?}"),
            None => format!("expected the message {expected:?}, got no alert"),
        });
    }
    let resolved = room.resolved.iter().any(|policy| *policy.rule == *of.id);
    example.expect_resolved.filter(|expected| *expected != resolved).map(|expected| {
        let word = |is_over| if is_over { "over" } else { "not over" };
        format!("expected the alert to be {}, and it is {}", word(expected), word(resolved))
    })
}

/// What the memory held before the first signal.
fn remember(memory: &mut Memory, declared: &Declared, value: f64, now: UnixMillis) {
    let times = if declared.kind == Kind::Count { value } else { 1.0 };
    let entry = Entry {
        id: declared.id,
        kind: declared.kind,
        window_millis: declared.window_millis,
        value: if declared.kind == Kind::Count { 1.0 } else { value },
    };
    let mut left = times;
    while left >= 1.0 && times <= COUNT_MAX {
        memory.write(&entry, now);
        left -= 1.0;
    }
}

/// A count that an example may begin with.
const COUNT_MAX: f64 = 1_000_000.0;
