//! An expression that was checked, and how it runs.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use super::fault::{Fault, Trip};
use super::kinds::{Kinds, Type};
use super::names::Names;
use super::read::Facts;
use super::run::Machine;
use super::slot::Slot;
use super::steps::Steps;
use super::tree::{Checked, Root};
use super::value::Value;
use super::wrong::Wrong;
use super::{check, parse};

/// A checked text, ready to run.
#[derive(Debug)]
pub struct Expression(Checked);

impl Expression {
    /// Checks a text against the names. What it gives is of the wanted type, as far as that can be known now, and
    /// otherwise looked at in each run.
    pub fn compile(text: &str, names: &mut Names, wanted: Type) -> Result<Self, Wrong> {
        let parsed = parse::parse(text)?;
        check::compile(&parsed, names, wanted).map(Self)
    }

    /// The slots it reads, each once.
    pub fn slots(&self) -> &[Slot] {
        &self.0.slots
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
        let run = match steps.charge(self.0.cost) {
            Ok(()) => with(&mut Machine::new(facts, steps), &self.0.root),
            Err(trip) => Err(trip),
        };
        run.map_err(|trip| trip.fault(&self.0.labels))
    }
}
