//! Evaluation. Nothing is allocated but for lists, maps and texts that an expression makes.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use super::fault::{Label, Trip};
use super::functions;
use super::kinds::Type;
use super::read::{Fact, Facts};
use super::steps::Steps;
use super::tree::{Collect, Comparison, Function, Loop, Node, Number, Operator, Quantifier, TextTest, Truth};
use super::value::{Each, Key, List, Map, Meter, STEP_BYTES, Sought, Unordered, Value, equal, order, whole};
use crate::limits::EXPRESSION_LOOPS_NESTED_MAX;

/// One evaluation under way.
pub(super) struct Machine<'e, 'a, 's> {
    facts: &'e Facts<'a>,
    steps: &'s mut Steps,
    locals: [Value<'e>; EXPRESSION_LOOPS_NESTED_MAX],
}

impl Meter for Machine<'_, '_, '_> {
    #[inline]
    fn charge(&mut self, steps: usize) -> Result<(), Trip> {
        self.steps.charge(steps)
    }
}

impl<'e, 'a, 's> Machine<'e, 'a, 's> {
    #[inline]
    pub(super) fn new(facts: &'e Facts<'a>, steps: &'s mut Steps) -> Self {
        Self { facts, steps, locals: [const { Value::Null }; EXPRESSION_LOOPS_NESTED_MAX] }
    }

    pub(super) fn value(&mut self, node: &'e Node) -> Result<Value<'e>, Trip> {
        match node {
            Node::Const(value) => Ok(value.lend()),
            Node::Slot(slot, label) => match self.facts.get(*slot) {
                Fact::Value(value) => Ok(value.lend()),
                Fact::Missing => Err(Trip::Missing(*label)),
                Fact::Unfit => Err(Trip::Unfit(*label)),
            },
            Node::Local(variable) => {
                // Short texts, the usual case, are not counted apart from the node.
                let Some(value) = self.locals.get(*variable) else { return Ok(Value::Null) };
                if let Value::Text(Cow::Owned(text)) = value {
                    self.steps.charge(text.len() / STEP_BYTES)?;
                }
                Ok(value.clone())
            }
            Node::Number(number) => self.number(number).map(Value::Double),
            Node::Truth(truth) => self.truth(truth).map(Value::Bool),
            Node::Arithmetic(operator, label, sides) => {
                let left = self.value(&sides.0)?;
                let right = self.value(&sides.1)?;
                self.arithmetic(*operator, *label, left, right)
            }
            Node::Negate(label, of) => match self.value(of)? {
                Value::Int(int) => int.checked_neg().map(Value::Int).ok_or(Trip::Overflow(*label)),
                Value::Double(double) => Ok(Value::Double(-double)),
                other => Err(Trip::Mismatch(*label, other.of())),
            },
            Node::Field(of, field, label) => match self.value(of)? {
                Value::Map(map) => {
                    map.find(&Key::Text(Cow::Borrowed(field)), self)?.ok_or(Trip::Missing(*label))
                }
                other => Err(Trip::Mismatch(*label, other.of())),
            },
            Node::Index(sides, label) => {
                let of = self.value(&sides.0)?;
                let index = self.value(&sides.1)?;
                self.index(of, &index, *label)
            }
            Node::If(parts) => {
                let (test, yes, no) = &**parts;
                if self.truth(test)? { self.value(yes) } else { self.value(no) }
            }
            Node::List(items) => {
                let items: Result<Vec<_>, Trip> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::List(List::Owned(Arc::new(items?))))
            }
            Node::Map(entries, label) => self.map(entries, *label),
            Node::Call(function, label, argument) => {
                let argument = self.value(argument)?;
                self.call(*function, *label, argument)
            }
            Node::Collect(collect) => self.collect(collect),
        }
    }

    #[inline]
    pub(super) fn number(&mut self, number: &'e Number) -> Result<f64, Trip> {
        match number {
            Number::Const(number) => Ok(*number),
            Number::Slot(slot, label) => match self.facts.get(*slot) {
                Fact::Value(Value::Double(double)) => Ok(*double),
                other => Err(unfit(other, *label)),
            },
            Number::Arithmetic(operator, sides) => {
                let left = self.number_apart(&sides.0)?;
                let right = self.number_apart(&sides.1)?;
                Ok(match operator {
                    Operator::Add => left + right,
                    Operator::Subtract => left - right,
                    Operator::Multiply => left * right,
                    Operator::Divide => left / right,
                    Operator::Remainder => left % right,
                })
            }
            Number::Negate(of) => Ok(-self.number_apart(of)?),
            Number::If(parts) => {
                let (test, yes, no) = &**parts;
                if self.truth(test)? { self.number_apart(yes) } else { self.number_apart(no) }
            }
            Number::Of(node, label) => match self.value(node)? {
                Value::Double(double) => Ok(double),
                other => Err(Trip::Mismatch(*label, other.of())),
            },
        }
    }

    /// Leaves are read in place, anything deeper is a call.
    #[inline]
    fn number_apart(&mut self, number: &'e Number) -> Result<f64, Trip> {
        match number {
            Number::Const(number) => Ok(*number),
            Number::Slot(slot, label) => match self.facts.get(*slot) {
                Fact::Value(Value::Double(double)) => Ok(*double),
                other => Err(unfit(other, *label)),
            },
            deeper => self.number_deep(deeper),
        }
    }

    #[inline(never)]
    fn number_deep(&mut self, number: &'e Number) -> Result<f64, Trip> {
        self.number(number)
    }

    pub(super) fn truth(&mut self, truth: &'e Truth) -> Result<bool, Trip> {
        match truth {
            Truth::Const(bool) => Ok(*bool),
            Truth::Slot(slot, label) => match self.facts.get(*slot) {
                Fact::Value(Value::Bool(bool)) => Ok(*bool),
                other => Err(unfit(other, *label)),
            },
            Truth::Not(of) => Ok(!self.truth(of)?),
            // An error on one side gives way to the other side if that decides alone.
            Truth::And(sides) => match self.truth(&sides.0) {
                Ok(true) => self.truth(&sides.1),
                Ok(false) => Ok(false),
                Err(Trip::Steps) => Err(Trip::Steps),
                Err(trip) => {
                    if self.truth(&sides.1)? {
                        Err(trip)
                    } else {
                        Ok(false)
                    }
                }
            },
            Truth::Or(sides) => match self.truth(&sides.0) {
                Ok(false) => self.truth(&sides.1),
                Ok(true) => Ok(true),
                Err(Trip::Steps) => Err(Trip::Steps),
                Err(trip) => {
                    if self.truth(&sides.1)? {
                        Ok(true)
                    } else {
                        Err(trip)
                    }
                }
            },
            Truth::If(parts) => {
                let (test, yes, no) = &**parts;
                if self.truth(test)? { self.truth(yes) } else { self.truth(no) }
            }
            Truth::Compare(comparison, label, sides) => {
                let left = self.number(&sides.0)?;
                let right = self.number(&sides.1)?;
                let holds = match comparison {
                    Comparison::Less => left < right,
                    Comparison::LessOrEqual => left <= right,
                    Comparison::Greater => left > right,
                    Comparison::GreaterOrEqual => left >= right,
                };
                if !holds && (left.is_nan() || right.is_nan()) {
                    Err(Trip::NotANumber(*label))
                } else {
                    Ok(holds)
                }
            }
            Truth::Order(comparison, label, sides) => {
                let left = self.value(&sides.0)?;
                let right = self.value(&sides.1)?;
                self.order(*comparison, *label, &left, &right)
            }
            Truth::Equal(wanted, sides) => {
                let left = self.value(&sides.0)?;
                let right = self.value(&sides.1)?;
                Ok(equal(&left, &right, self)? == *wanted)
            }
            Truth::In(label, sides) => {
                let sought = self.value(&sides.0)?;
                let place = self.value(&sides.1)?;
                self.is_in(*label, &sought, place)
            }
            Truth::Present(slot) => Ok(!matches!(self.facts.get(*slot), Fact::Missing)),
            Truth::HasPath { path, parent, label } => {
                match (self.facts.get(*path), self.facts.get(*parent)) {
                    (Fact::Value(_) | Fact::Unfit, _) => Ok(true),
                    (Fact::Missing, Fact::Value(Value::Map(_))) => Ok(false),
                    (Fact::Missing, parent) => Err(unfit(parent, *label)),
                }
            }
            Truth::HasField(of, field, label) => match self.value(of)? {
                Value::Map(map) => Ok(map.find(&Key::Text(Cow::Borrowed(field)), self)?.is_some()),
                other => Err(Trip::Mismatch(*label, other.of())),
            },
            Truth::Text(test, label, sides) => {
                let text = self.text(&sides.0, *label)?;
                let part = self.text(&sides.1, *label)?;
                self.charge_bytes(text.len())?;
                Ok(match test {
                    TextTest::StartsWith => text.starts_with(&*part),
                    TextTest::EndsWith => text.ends_with(&*part),
                    TextTest::Contains => text.contains(&*part),
                })
            }
            Truth::Matches(of, label) => {
                let text = self.text(&of.0, *label)?;
                // The worst pattern is in many states at each byte.
                self.charge(text.len())?;
                Ok(of.1.is_match(&text))
            }
            Truth::Loop(quantifier, each) => self.quantify(*quantifier, each),
            Truth::Of(node, label) => match self.value(node)? {
                Value::Bool(bool) => Ok(bool),
                other => Err(Trip::Mismatch(*label, other.of())),
            },
        }
    }

    fn text(&mut self, node: &'e Node, label: Label) -> Result<Cow<'e, str>, Trip> {
        match self.value(node)? {
            Value::Text(text) => Ok(text),
            other => Err(Trip::Mismatch(label, other.of())),
        }
    }

    #[inline]
    fn order(
        &mut self,
        comparison: Comparison,
        label: Label,
        left: &Value<'_>,
        right: &Value<'_>,
    ) -> Result<bool, Trip> {
        if let (Value::Text(left), Value::Text(right)) = (left, right) {
            self.charge_bytes(left.len().min(right.len()))?;
        }
        let order = order(left, right).map_err(|why| match why {
            Unordered::Kinds => Trip::Mismatch(label, right.of()),
            Unordered::NotANumber => Trip::NotANumber(label),
        })?;
        Ok(match comparison {
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        })
    }

    fn is_in(&mut self, label: Label, sought: &Value<'_>, place: Value<'_>) -> Result<bool, Trip> {
        match place {
            Value::List(list) => {
                let mut items = list.each();
                while let Some(item) = items.next(self)? {
                    self.charge(1)?;
                    if equal(&item, sought, self)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Map(map) => match sought.sought() {
                Some(Sought::Key(key)) => Ok(map.find(&key, self)?.is_some()),
                Some(Sought::Nothing) => Ok(false),
                None => Err(Trip::Mismatch(label, sought.of())),
            },
            other => Err(Trip::Mismatch(label, other.of())),
        }
    }

    fn index<'v>(&mut self, of: Value<'v>, index: &Value<'_>, label: Label) -> Result<Value<'v>, Trip> {
        match of {
            Value::List(list) => {
                let at = match index {
                    Value::Int(int) => *int,
                    Value::Double(double) => whole(*double).ok_or(Trip::Mismatch(label, Type::Double))?,
                    other => return Err(Trip::Mismatch(label, other.of())),
                };
                let at = usize::try_from(at).map_err(|_| Trip::NoItem)?;
                list.item(at, self)?.ok_or(Trip::NoItem)
            }
            Value::Map(map) => match index.sought() {
                Some(Sought::Key(key)) => map.find(&key, self)?.ok_or(Trip::NoKey),
                Some(Sought::Nothing) => Err(Trip::NoKey),
                None => Err(Trip::Mismatch(label, index.of())),
            },
            other => Err(Trip::Mismatch(label, other.of())),
        }
    }

    fn arithmetic(
        &mut self,
        operator: Operator,
        label: Label,
        left: Value<'e>,
        right: Value<'e>,
    ) -> Result<Value<'e>, Trip> {
        match (operator, left, right) {
            (Operator::Add, Value::Text(left), Value::Text(right)) => {
                self.charge_bytes(left.len() + right.len())?;
                Ok(Value::Text(Cow::Owned(left.into_owned() + &right)))
            }
            (Operator::Add, Value::List(left), Value::List(right)) => {
                let mut items = Vec::new();
                for side in [left, right] {
                    let mut each = side.each();
                    while let Some(item) = each.next(self)? {
                        self.charge(1)?;
                        items.push(item);
                    }
                }
                Ok(Value::List(List::Owned(Arc::new(items))))
            }
            (operator, left, right) => functions::arithmetic(operator, label, &left, &right),
        }
    }

    fn map(&mut self, entries: &'e [(Node, Node)], label: Label) -> Result<Value<'e>, Trip> {
        let mut map: Vec<(Key<'e>, Value<'e>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.value(key)?;
            let found = key.of();
            let key = key.into_key().ok_or(Trip::Mismatch(label, found))?;
            let value = self.value(value)?;
            if map.iter().any(|(other, _)| *other == key) {
                return Err(Trip::TwinKey);
            }
            map.push((key, value));
        }
        Ok(Value::Map(Map::Owned(Arc::new(map))))
    }

    fn call(&mut self, function: Function, label: Label, argument: Value<'e>) -> Result<Value<'e>, Trip> {
        if let Value::Text(text) = &argument {
            self.charge_bytes(text.len())?;
        }
        if function == Function::Size {
            let size = match &argument {
                Value::Text(text) => text.chars().count(),
                Value::List(list) => list.count(self)?,
                Value::Map(map) => map.count(self)?,
                other => return Err(Trip::Mismatch(label, other.of())),
            };
            return i64::try_from(size).map(Value::Int).map_err(|_| Trip::Overflow(label));
        }
        functions::call(function, label, argument)
    }

    /// In `all` and `exists` an error gives way to an item that decides, before it or after it.
    fn quantify(&mut self, quantifier: Quantifier, each_of: &'e Loop) -> Result<bool, Trip> {
        let range = self.value(&each_of.range)?;
        let mut items = each(range, each_of.label)?;
        let mut pending = None;
        let mut count = 0_u32;
        while let Some(item) = items.next(self)? {
            self.charge(each_of.cost)?;
            self.locals[each_of.variable] = item;
            match (quantifier, self.truth(&each_of.test)) {
                (Quantifier::All, Ok(false)) => return Ok(false),
                (Quantifier::Exists, Ok(true)) => return Ok(true),
                (Quantifier::ExistsOne, Ok(true)) => count = count.saturating_add(1),
                (_, Ok(_)) => {}
                (Quantifier::ExistsOne, Err(trip)) | (_, Err(trip @ Trip::Steps)) => return Err(trip),
                (Quantifier::All | Quantifier::Exists, Err(trip)) => pending = Some(trip),
            }
        }
        match (quantifier, pending) {
            (_, Some(trip)) => Err(trip),
            (Quantifier::All, None) => Ok(true),
            (Quantifier::Exists, None) => Ok(false),
            (Quantifier::ExistsOne, None) => Ok(count == 1),
        }
    }

    fn collect(&mut self, collect: &'e Collect) -> Result<Value<'e>, Trip> {
        let range = self.value(&collect.range)?;
        let mut items = each(range, collect.label)?;
        let mut list = Vec::new();
        while let Some(item) = items.next(self)? {
            self.charge(collect.cost)?;
            self.locals[collect.variable] = item;
            let takes = match &collect.test {
                Some(test) => self.truth(test)?,
                None => true,
            };
            if takes {
                let item = self.value(&collect.item)?;
                list.push(item);
            }
        }
        Ok(Value::List(List::Owned(Arc::new(list))))
    }
}

fn each(range: Value<'_>, label: Label) -> Result<Each<'_>, Trip> {
    match range {
        Value::List(list) => Ok(list.each()),
        Value::Map(map) => Ok(map.keys()),
        other => Err(Trip::Mismatch(label, other.of())),
    }
}

/// Why this fact is not what is read.
#[cold]
fn unfit(fact: &Fact<'_>, label: Label) -> Trip {
    match fact {
        Fact::Missing => Trip::Missing(label),
        Fact::Unfit => Trip::Unfit(label),
        Fact::Value(value) => Trip::Mismatch(label, value.of()),
    }
}
