//! Expressions of policy packs and mappings: CEL, parsed by the crate `cel` and compiled here.
//!
//! The crate alone lacks a limit of cost, a check before the first run, and speed. So a text is checked once, against
//! the names that are declared: what no run could ever take is [`Wrong`], with line and column. What remains is a tree
//! over slots. For each signal a [`Reader`] fills [`Facts`] in one pass over the body, and an [`Expression`] runs over
//! them within its [`Steps`]. The meaning is that of CEL's specification, and of the crate where that
//! leaves it open; docs/policies.md lists what differs. `&&` and `||` treat errors as CEL has it: one side that decides
//! alone makes the other side's error void. A part without names is evaluated once, and refused if that fails.
//!
//! Numbers of JSON are doubles, as JSON has them; ints are written in the expression or made by `int` and `size`. The
//! two can be compared and do not mix in arithmetic. There are no uints, bytes, types, optionals or messages.
//!
//! Pure: no I/O, no clock; the same facts give the same result (P8).

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

mod calls;
mod check;
mod fault;
mod functions;
mod json;
mod kinds;
mod names;
mod parse;
mod paths;
mod pattern;
mod read;
mod run;
mod time;
mod tree;
mod value;

use std::fmt;

pub use fault::Fault;
pub use json::Json;
pub use kinds::Type;
pub use names::{Names, Slot};
pub use read::{Body, Facts, Reader};
pub use value::{Key, List, Map, Value};

use crate::limits::EXPRESSION_STEPS_MAX;
use fault::Trip;
use kinds::Kinds;
use run::Machine;
use tree::{Node, Number, Truth};

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub what: String,
    pub hint: Option<String>,
}

impl Wrong {
    fn new(line: usize, column: usize, what: String) -> Self {
        Self { line, column, what, hint: None }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Wrong {}

/// What evaluations may still cost: nodes visited, items and bytes looked at.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Self::new(EXPRESSION_STEPS_MAX)
    }
}

impl Steps {
    pub fn new(steps: u32) -> Self {
        Self { left: steps }
    }

    pub fn left(&self) -> u32 {
        self.left
    }

    #[inline]
    fn charge(&mut self, steps: usize) -> Result<(), Trip> {
        if let Ok(steps) = u32::try_from(steps)
            && let Some(left) = self.left.checked_sub(steps)
        {
            self.left = left;
            return Ok(());
        }
        self.left = 0;
        Err(Trip::Steps)
    }
}

/// A checked text, ready to run.
#[derive(Debug)]
pub struct Expression {
    root: Root,
    labels: Box<[Box<str>]>,
    slots: Box<[Slot]>,
    /// Steps of everything outside loops.
    cost: usize,
}

#[derive(Debug)]
enum Root {
    Truth(Truth),
    Number(Number),
    Value(Node, Kinds),
}

impl Expression {
    /// Checks a text against the names. What it gives is of the wanted type, as far as that can be known now, and
    /// otherwise looked at in each run.
    pub fn compile(text: &str, names: &mut Names, wanted: Type) -> Result<Self, Wrong> {
        let parsed = parse::parse(text)?;
        check::compile(&parsed, names, wanted)
    }

    /// The slots it reads, each once.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub fn run<'e>(&'e self, facts: &'e Facts<'_>, steps: &mut Steps) -> Result<Value<'e>, Fault> {
        self.evaluate(facts, steps, |machine, root| match root {
            Root::Truth(truth) => machine.truth(truth).map(Value::Bool),
            Root::Number(number) => machine.number(number).map(Value::Double),
            Root::Value(node, wanted) => {
                let value = machine.value(node)?;
                if Kinds::of(value.of()).within(*wanted) {
                    Ok(value)
                } else {
                    Err(Trip::Mismatch(0, value.of()))
                }
            }
        })
    }

    pub fn holds(&self, facts: &Facts<'_>, steps: &mut Steps) -> Result<bool, Fault> {
        self.evaluate(facts, steps, |machine, root| match root {
            Root::Truth(truth) => machine.truth(truth),
            Root::Number(_) => Err(Trip::Mismatch(0, Type::Double)),
            Root::Value(node, _) => match machine.value(node)? {
                Value::Bool(bool) => Ok(bool),
                other => Err(Trip::Mismatch(0, other.of())),
            },
        })
    }

    pub fn number(&self, facts: &Facts<'_>, steps: &mut Steps) -> Result<f64, Fault> {
        self.evaluate(facts, steps, |machine, root| match root {
            Root::Truth(_) => Err(Trip::Mismatch(0, Type::Bool)),
            Root::Number(number) => machine.number(number),
            Root::Value(node, _) => match machine.value(node)? {
                Value::Double(double) => Ok(double),
                other => Err(Trip::Mismatch(0, other.of())),
            },
        })
    }

    #[inline]
    fn evaluate<'e, T>(
        &'e self,
        facts: &'e Facts<'_>,
        steps: &mut Steps,
        with: impl FnOnce(&mut Machine<'e, '_, '_>, &'e Root) -> Result<T, Trip>,
    ) -> Result<T, Fault> {
        let run = match steps.charge(self.cost) {
            Ok(()) => with(&mut Machine::new(facts, steps), &self.root),
            Err(trip) => Err(trip),
        };
        run.map_err(|trip| trip.fault(&self.labels))
    }
}

/// What `duration()` reads, in whole milliseconds; `None` for what it does not read, and for less than none.
pub fn duration_millis(text: &str) -> Option<u64> {
    u64::try_from(time::duration(text)?.num_milliseconds()).ok()
}

#[cfg(test)]
mod tests;
