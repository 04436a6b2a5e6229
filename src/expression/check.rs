//! The check: names become slots, operators are matched with what their sides may be, and what no run could take is
//! refused with its place.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use std::borrow::Cow;
use std::sync::Arc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr,
    operators,
};

use super::advice;
use super::fault::Label;
use super::functions::{self, ARITHMETIC};
use super::kinds::{Kinds, One, Shape, Type};
use super::names::{Found, Names};
use super::parse::{Parsed, Source};
use super::paths::{leftmost, nearest, path_of, written};
use super::pattern::{self, BadPattern};
use super::read::Facts;
use super::run::Machine;
use super::slot::Slot;
use super::steps::Steps;
use super::time;
use super::tree::{
    Checked, Collect, Comparison, Function, Loop, Node, Number, Operator, Part, Quantifier, Root, TextTest,
    Truth, Zone,
};
use super::value::{List, Map, Value};
use super::wrong::Wrong;

pub(super) fn compile(parsed: &Parsed<'_>, names: &mut Names, wanted: Type) -> Result<Checked, Wrong> {
    let mut check = Check {
        names,
        source: &parsed.source,
        labels: vec!["the result".into()],
        slots: Vec::new(),
        scopes: Vec::new(),
        cost: 0,
        reads: usize::MAX,
    };
    let typed = check.expr(&parsed.root)?;
    let kinds = Kinds::of(wanted);
    if !typed.shape.kinds.meets(kinds) {
        let what = format!("the result is {}, wanted is {}", One(typed.shape.kinds), One(wanted));
        return Err(check.wrong(&parsed.root, what));
    }
    let root = match wanted {
        Type::Bool => Root::Truth(truth(typed.node, 0)),
        Type::Double => Root::Number(number(typed.node, 0)),
        _ => Root::Value(typed.node, kinds),
    };
    Ok(Checked {
        root,
        labels: check.labels.into_boxed_slice(),
        slots: check.slots.into_boxed_slice(),
        cost: check.cost,
    })
}

struct Check<'n, 's, 't> {
    names: &'n mut Names,
    source: &'s Source<'t>,
    labels: Vec<Box<str>>,
    slots: Vec<Slot>,
    /// The variables of the loops around.
    scopes: Vec<(Box<str>, Shape)>,
    /// Nodes so far, those of loops apart.
    cost: usize,
    /// What the part at hand reads: 0 a slot, 1 and more the variable of a loop, counted from the outermost; the lowest.
    reads: usize,
}

/// A node and what it may be.
struct Typed {
    node: Node,
    shape: Shape,
}

impl Typed {
    fn new(node: Node, kinds: Kinds) -> Self {
        Self { node, shape: Shape::new(kinds) }
    }
}

/// What `<` and its kin take.
const ORDERED: [(Kinds, Kinds); 8] = [
    (Kinds::DOUBLE, Kinds::DOUBLE),
    (Kinds::INT, Kinds::INT),
    (Kinds::INT, Kinds::DOUBLE),
    (Kinds::DOUBLE, Kinds::INT),
    (Kinds::STRING, Kinds::STRING),
    (Kinds::BOOL, Kinds::BOOL),
    (Kinds::TIMESTAMP, Kinds::TIMESTAMP),
    (Kinds::DURATION, Kinds::DURATION),
];

impl Check<'_, '_, '_> {
    fn expr(&mut self, expr: &IdedExpr) -> Result<Typed, Wrong> {
        let around = std::mem::replace(&mut self.reads, usize::MAX);
        let typed = self.part_of(expr)?;
        // Nothing of a signal goes into it, so what fails now fails always.
        if self.reads > self.scopes.len() {
            self.evaluates(expr, &typed.node)?;
        }
        self.reads = self.reads.min(around);
        Ok(typed)
    }

    fn part_of(&mut self, expr: &IdedExpr) -> Result<Typed, Wrong> {
        self.cost += 1;
        match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal),
            Expr::Ident(_) => self.path(expr),
            Expr::Select(select) if select.test => self.has(expr, select),
            Expr::Select(select) => {
                if path_of(expr).is_some() {
                    return self.path(expr);
                }
                self.field(expr, &select.operand, &select.field)
            }
            Expr::Call(call) => match (call.func_name.as_str(), &call.args[..], &call.target) {
                (operators::INDEX, [_, _], None) if path_of(expr).is_some() => self.path(expr),
                (operators::INDEX, [of, index], None) => self.index(expr, of, index),
                (operators::CONDITIONAL, [test, yes, no], None) => self.conditional(test, yes, no),
                (operators::LOGICAL_AND, [left, right], None) => {
                    let sides = Box::new((self.truth(left, "&&")?, self.truth(right, "&&")?));
                    Ok(Typed::new(Node::Truth(Truth::And(sides)), Kinds::BOOL))
                }
                (operators::LOGICAL_OR, [left, right], None) => {
                    let sides = Box::new((self.truth(left, "||")?, self.truth(right, "||")?));
                    Ok(Typed::new(Node::Truth(Truth::Or(sides)), Kinds::BOOL))
                }
                (operators::LOGICAL_NOT, [of], None) => {
                    let of = self.truth(of, "!")?;
                    Ok(Typed::new(Node::Truth(Truth::Not(Box::new(of))), Kinds::BOOL))
                }
                (operators::NEGATE, [of], None) => self.negate(expr, of),
                (operators::ADD, [left, right], None) => self.arithmetic(expr, Operator::Add, left, right),
                (operators::SUBSTRACT, [left, right], None) => {
                    self.arithmetic(expr, Operator::Subtract, left, right)
                }
                (operators::MULTIPLY, [left, right], None) => {
                    self.arithmetic(expr, Operator::Multiply, left, right)
                }
                (operators::DIVIDE, [left, right], None) => {
                    self.arithmetic(expr, Operator::Divide, left, right)
                }
                (operators::MODULO, [left, right], None) => {
                    self.arithmetic(expr, Operator::Remainder, left, right)
                }
                (operators::LESS, [left, right], None) => self.order(expr, Comparison::Less, left, right),
                (operators::LESS_EQUALS, [left, right], None) => {
                    self.order(expr, Comparison::LessOrEqual, left, right)
                }
                (operators::GREATER, [left, right], None) => {
                    self.order(expr, Comparison::Greater, left, right)
                }
                (operators::GREATER_EQUALS, [left, right], None) => {
                    self.order(expr, Comparison::GreaterOrEqual, left, right)
                }
                (operators::EQUALS, [left, right], None) => self.equal(expr, true, left, right),
                (operators::NOT_EQUALS, [left, right], None) => self.equal(expr, false, left, right),
                (operators::IN, [left, right], None) => self.is_in(expr, left, right),
                _ => self.call(expr, call),
            },
            Expr::Comprehension(each) => self.comprehension(expr, each),
            Expr::List(list) => self.list(&list.elements),
            Expr::Map(map) => self.map(expr, map),
            Expr::Struct(_) => Err(self.wrong(expr, "messages cannot be made here".to_owned())),
            Expr::Unspecified => Err(self.wrong(expr, "the expression cannot be parsed".to_owned())),
        }
    }

    fn literal(&mut self, expr: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Wrong> {
        let (value, kinds) = match literal {
            LiteralValue::Null => (Value::Null, Kinds::NULL),
            LiteralValue::Boolean(bool) => (Value::Bool(*bool.inner()), Kinds::BOOL),
            LiteralValue::Int(int) => (Value::Int(*int.inner()), Kinds::INT),
            LiteralValue::Double(double) => (Value::Double(*double.inner()), Kinds::DOUBLE),
            LiteralValue::String(text) => (Value::Text(Cow::Owned(text.inner().to_owned())), Kinds::STRING),
            LiteralValue::UInt(_) => {
                return Err(self.wrong(expr, "there are no unsigned ints here".to_owned()));
            }
            LiteralValue::Bytes(_) => return Err(self.wrong(expr, "there are no bytes here".to_owned())),
        };
        Ok(Typed::new(Node::Const(value), kinds))
    }

    fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, index: &IdedExpr) -> Result<Typed, Wrong> {
        let path = written(of, "[]").replace(".[]", "[]");
        let of = self.expr(of)?;
        let index = self.expr(index)?;
        let numbers = Kinds::INT.or(Kinds::DOUBLE);
        let list = of.shape.kinds.meets(Kinds::LIST) && index.shape.kinds.meets(numbers);
        let keys = numbers.or(Kinds::BOOL).or(Kinds::STRING);
        let map = of.shape.kinds.meets(Kinds::MAP) && index.shape.kinds.meets(keys);
        if !list && !map {
            let what = format!("{} cannot be looked up in {}", One(index.shape.kinds), One(of.shape.kinds));
            return Err(self.wrong(expr, what));
        }
        let label = self.label(&path);
        let shape = of.shape.inside();
        Ok(Typed { node: Node::Index(Box::new((of.node, index.node)), label), shape })
    }

    fn conditional(&mut self, test: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Result<Typed, Wrong> {
        let test = self.truth(test, "?")?;
        let (yes, no) = (self.expr(yes)?, self.expr(no)?);
        let shape = yes.shape.or(no.shape);
        let label = self.label("? :");
        let node = if shape.kinds == Kinds::BOOL {
            Node::Truth(Truth::If(Box::new((test, truth(yes.node, label), truth(no.node, label)))))
        } else if shape.kinds == Kinds::DOUBLE {
            Node::Number(Number::If(Box::new((test, number(yes.node, label), number(no.node, label)))))
        } else {
            Node::If(Box::new((test, yes.node, no.node)))
        };
        Ok(Typed { node, shape })
    }

    fn truth(&mut self, expr: &IdedExpr, what: &str) -> Result<Truth, Wrong> {
        let typed = self.expr(expr)?;
        if !typed.shape.kinds.meets(Kinds::BOOL) {
            let what = format!("`{what}` takes a bool, and this is {}", One(typed.shape.kinds));
            return Err(self.wrong(leftmost(expr), what));
        }
        let label = self.label(what);
        Ok(truth(typed.node, label))
    }

    fn negate(&mut self, expr: &IdedExpr, of: &IdedExpr) -> Result<Typed, Wrong> {
        let of = self.expr(of)?;
        let numbers = of.shape.kinds.and(Kinds::INT.or(Kinds::DOUBLE));
        let label = self.label("-");
        if numbers == Kinds::NONE {
            return Err(self.wrong(expr, format!("`-` takes a number, and this is {}", One(of.shape.kinds))));
        }
        if numbers == Kinds::DOUBLE {
            let of = Box::new(number(of.node, label));
            return Ok(Typed::new(Node::Number(Number::Negate(of)), numbers));
        }
        Ok(Typed::new(Node::Negate(label, Box::new(of.node)), numbers))
    }

    fn arithmetic(
        &mut self,
        expr: &IdedExpr,
        operator: Operator,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Typed, Wrong> {
        let sign = sign(operator);
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        let (mut ours, mut theirs, mut kinds) = (Kinds::NONE, Kinds::NONE, Kinds::NONE);
        for (operators, on_left, on_right, result) in ARITHMETIC {
            let fits = left.shape.kinds.meets(on_left) && right.shape.kinds.meets(on_right);
            if fits && operators.contains(&operator) {
                (ours, theirs, kinds) = (ours.or(on_left), theirs.or(on_right), kinds.or(result));
            }
        }
        if kinds == Kinds::NONE {
            let what =
                format!("`{sign}` does not take {} and {}", One(left.shape.kinds), One(right.shape.kinds));
            let mut wrong = self.wrong(expr, what);
            let joined = (operator == Operator::Add)
                .then(|| advice::of_join(left.shape.kinds, right.shape.kinds, STRINGS))
                .flatten();
            wrong.hint = joined.or_else(|| unmixed(operator, &left, &right));
            return Err(wrong);
        }
        if matches!(operator, Operator::Divide | Operator::Remainder)
            && matches!(right.node, Node::Const(Value::Int(0)))
        {
            return Err(self.wrong(expr, format!("this never has a value: `{sign}`: division by zero")));
        }
        let label = self.label(sign);
        if kinds == Kinds::DOUBLE && ours == kinds && theirs == kinds {
            let sides = Box::new((number(left.node, label), number(right.node, label)));
            return Ok(Typed::new(Node::Number(Number::Arithmetic(operator, sides)), kinds));
        }
        let Shape { inner, json, .. } = left.shape.or(right.shape);
        let node = Node::Arithmetic(operator, label, Box::new((left.node, right.node)));
        Ok(Typed { node, shape: Shape { kinds, inner, json } })
    }

    fn order(
        &mut self,
        expr: &IdedExpr,
        comparison: Comparison,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Typed, Wrong> {
        let sign = match comparison {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        };
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        let (mut ours, mut theirs) = (Kinds::NONE, Kinds::NONE);
        for (on_left, on_right) in ORDERED {
            if left.shape.kinds.meets(on_left) && right.shape.kinds.meets(on_right) {
                (ours, theirs) = (ours.or(on_left), theirs.or(on_right));
            }
        }
        if ours == Kinds::NONE {
            let what =
                format!("`{sign}` does not compare {} and {}", One(left.shape.kinds), One(right.shape.kinds));
            return Err(self.wrong(expr, what));
        }
        let label = self.label(sign);
        // A written int is compared as the double it is.
        let double =
            |node: &Node, kinds| kinds == Kinds::DOUBLE || matches!(node, Node::Const(Value::Int(_)));
        let truth = if double(&left.node, ours)
            && double(&right.node, theirs)
            && ours.or(theirs) != Kinds::INT
        {
            Truth::Compare(comparison, label, Box::new((number(left.node, label), number(right.node, label))))
        } else {
            Truth::Order(comparison, label, Box::new((left.node, right.node)))
        };
        Ok(Typed::new(Node::Truth(truth), Kinds::BOOL))
    }

    fn equal(
        &mut self,
        expr: &IdedExpr,
        wanted: bool,
        left: &IdedExpr,
        right: &IdedExpr,
    ) -> Result<Typed, Wrong> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        if !left.shape.kinds.comparable().meets(right.shape.kinds.comparable()) {
            let what = format!("{} never equals {}", One(left.shape.kinds), One(right.shape.kinds));
            return Err(self.wrong(expr, what));
        }
        let truth = Truth::Equal(wanted, Box::new((left.node, right.node)));
        Ok(Typed::new(Node::Truth(truth), Kinds::BOOL))
    }

    fn is_in(&mut self, expr: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Result<Typed, Wrong> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        let places = right.shape.kinds.and(Kinds::LIST.or(Kinds::MAP));
        if places == Kinds::NONE {
            let what =
                format!("`in` takes a list or a map on its right, and this is {}", One(right.shape.kinds));
            return Err(self.wrong(expr, what));
        }
        let inner = right.shape.inner.comparable();
        let keys = Kinds::BOOL.or(Kinds::STRING).comparable().or(Kinds::INT.comparable());
        let sought = left.shape.kinds.comparable();
        let never_item = !inner.meets(sought);
        if (places == Kinds::LIST && never_item) || (places == Kinds::MAP && !keys.meets(sought)) {
            return Err(self.wrong(expr, format!("{} is never in there", One(left.shape.kinds))));
        }
        let label = self.label("in");
        Ok(Typed::new(Node::Truth(Truth::In(label, Box::new((left.node, right.node)))), Kinds::BOOL))
    }

    fn list(&mut self, elements: &[IdedExpr]) -> Result<Typed, Wrong> {
        let mut inner = Kinds::NONE;
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let item = self.expr(element)?;
            inner = inner.or(item.shape.kinds);
            items.push(item.node);
        }
        if elements.is_empty() {
            inner = Kinds::ALL;
        }
        // What is written out is built once.
        let node = if items.iter().all(|item| matches!(item, Node::Const(_))) {
            let values = items.into_iter().filter_map(|item| match item {
                Node::Const(value) => Some(value),
                _ => None,
            });
            Node::Const(Value::List(List::Owned(Arc::new(values.collect()))))
        } else {
            Node::List(items.into_boxed_slice())
        };
        Ok(Typed { node, shape: Shape { kinds: Kinds::LIST, inner, json: false } })
    }

    fn map(&mut self, expr: &IdedExpr, map: &MapExpr) -> Result<Typed, Wrong> {
        let keys = Kinds::BOOL.or(Kinds::INT).or(Kinds::STRING);
        let mut inner = Kinds::NONE;
        let mut entries: Vec<(Node, Node)> = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(self.wrong(expr, "messages cannot be made here".to_owned()));
            };
            let key = self.expr(&entry.key)?;
            if !key.shape.kinds.meets(keys) {
                let what = format!(
                    "a map's key is a bool, an int or a string, and this is {}",
                    One(key.shape.kinds)
                );
                return Err(self.wrong(&entry.key, what));
            }
            let value = self.expr(&entry.value)?;
            inner = inner.or(value.shape.kinds);
            entries.push((key.node, value.node));
        }
        if map.entries.is_empty() {
            inner = Kinds::ALL;
        }
        let label = self.label("{}");
        let constant = |node: &Node| matches!(node, Node::Const(_));
        let node = if entries.iter().all(|(key, value)| constant(key) && constant(value)) {
            let mut map = Vec::with_capacity(entries.len());
            for entry in entries {
                let (Node::Const(key), Node::Const(value)) = entry else { continue };
                let Some(key) = key.into_key() else { continue };
                if map.iter().any(|(other, _)| *other == key) {
                    return Err(self.wrong(expr, "a map has one key twice".to_owned()));
                }
                map.push((key, value));
            }
            Node::Const(Value::Map(Map::Owned(Arc::new(map))))
        } else {
            Node::Map(entries.into_boxed_slice(), label)
        };
        Ok(Typed { node, shape: Shape { kinds: Kinds::MAP, inner, json: false } })
    }

    fn label(&mut self, text: &str) -> Label {
        let at = self.labels.iter().position(|label| **label == *text).unwrap_or_else(|| {
            self.labels.push(text.into());
            self.labels.len() - 1
        });
        Label::try_from(at).unwrap_or_default()
    }

    fn wrong(&self, expr: &IdedExpr, what: String) -> Wrong {
        let (line, column) = self.source.place(expr.id);
        Wrong::new(line, column, what)
    }
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Remainder => "%",
    }
}

/// How to write it where ints and doubles are mixed.
fn unmixed(operator: Operator, left: &Typed, right: &Typed) -> Option<String> {
    let (int, double) = (Kinds::INT, Kinds::DOUBLE);
    if operator == Operator::Remainder {
        let numbers = left.shape.kinds.meets(int.or(double)) && right.shape.kinds.meets(int.or(double));
        return numbers.then(|| "`%` takes ints: `int(…)` makes one of a double".to_owned());
    }
    for (ours, other) in [(left, right), (right, left)] {
        if !ours.shape.kinds.meets(int) || !other.shape.kinds.meets(double) {
            continue;
        }
        if let Node::Const(Value::Int(int)) = ours.node {
            return Some(format!(
                "write `{int}.0`: ints and doubles do not mix, and numbers of a signal are doubles"
            ));
        }
        return Some("ints and doubles do not mix: `double(…)` makes a double of an int".to_owned());
    }
    None
}

/// As a condition; anything else is a fault of the run.
fn truth(node: Node, label: Label) -> Truth {
    match node {
        Node::Truth(truth) => truth,
        Node::Const(Value::Bool(bool)) => Truth::Const(bool),
        Node::Slot(slot, label) => Truth::Slot(slot, label),
        other => Truth::Of(Box::new(other), label),
    }
}

/// As a double; a written int is the double it equals.
#[expect(clippy::cast_precision_loss, reason = "as CEL compares them")]
fn number(node: Node, label: Label) -> Number {
    match node {
        Node::Number(number) => number,
        Node::Const(Value::Double(double)) => Number::Const(double),
        Node::Const(Value::Int(int)) => Number::Const(int as f64),
        Node::Slot(slot, label) => Number::Slot(slot, label),
        other => Number::Of(Box::new(other), label),
    }
}

impl Check<'_, '_, '_> {
    /// A name and the fields after it.
    fn path(&mut self, expr: &IdedExpr) -> Result<Typed, Wrong> {
        let Some(path) = path_of(expr) else {
            return Err(self.wrong(expr, "the expression cannot be parsed".to_owned()));
        };
        if let Some(variable) = self.scopes.iter().rposition(|(name, _)| **name == *path[0]) {
            self.reads = self.reads.min(variable + 1);
            return match &expr.expr {
                Expr::Ident(_) => Ok(Typed { node: Node::Local(variable), shape: self.scopes[variable].1 }),
                Expr::Select(select) => self.field(expr, &select.operand, &select.field),
                Expr::Call(call) => match &call.args[..] {
                    [of, index] => self.index(expr, of, index),
                    _ => Err(self.wrong(expr, "the expression cannot be parsed".to_owned())),
                },
                _ => Err(self.wrong(expr, "the expression cannot be parsed".to_owned())),
            };
        }
        let found = self.find(expr, &path)?;
        let mut typed = self.slot(found, &path[..found.parts].join("."));
        for (at, field) in path.iter().enumerate().skip(found.parts) {
            typed = self.field_of(expr, typed, field, &path[..=at].join("."))?;
        }
        Ok(typed)
    }

    fn find(&mut self, expr: &IdedExpr, path: &[&str]) -> Result<Found, Wrong> {
        if let Some(found) = self.names.find(path) {
            return Ok(found);
        }
        let given = path[..path.len().min(2)].join(".");
        let mut wrong = self.wrong(leftmost(expr), format!("unknown name `{given}`"));
        wrong.hint = advice::of_name(self.source.text(), path, self.names);
        Err(wrong)
    }

    fn slot(&mut self, found: Found, path: &str) -> Typed {
        self.reads = 0;
        if !self.slots.contains(&found.slot) {
            self.slots.push(found.slot);
        }
        let label = self.label(path);
        Typed { node: Node::Slot(found.slot, label), shape: found.shape }
    }

    fn field(&mut self, expr: &IdedExpr, operand: &IdedExpr, field: &str) -> Result<Typed, Wrong> {
        let of = self.expr(operand)?;
        let path = written(operand, field);
        self.field_of(expr, of, field, &path)
    }

    fn field_of(&mut self, expr: &IdedExpr, of: Typed, field: &str, path: &str) -> Result<Typed, Wrong> {
        if !of.shape.kinds.meets(Kinds::MAP) {
            return Err(self.wrong(expr, format!("{} has no field `{field}`", One(of.shape.kinds))));
        }
        let label = self.label(path);
        Ok(Typed { shape: of.shape.inside(), node: Node::Field(Box::new(of.node), field.into(), label) })
    }

    fn has(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Result<Typed, Wrong> {
        let there = |truth| Ok(Typed::new(Node::Truth(truth), Kinds::BOOL));
        let path =
            path_of(&select.operand).filter(|path| self.scopes.iter().all(|(name, _)| **name != *path[0]));
        let Some(parent) = path else {
            let of = self.expr(&select.operand)?;
            if !of.shape.kinds.meets(Kinds::MAP) {
                return Err(self.wrong(expr, format!("{} has no fields", One(of.shape.kinds))));
            }
            let label = self.label(&written(&select.operand, &select.field));
            return there(Truth::HasField(Box::new(of.node), select.field.as_str().into(), label));
        };
        let mut path = parent.clone();
        path.push(&select.field);
        let found = self.find(&select.operand, &path)?;
        let label = parent.join(".");
        if found.parts < path.len() {
            let of = self.path(&select.operand)?;
            if !of.shape.kinds.meets(Kinds::MAP) {
                return Err(self.wrong(expr, format!("{} has no fields", One(of.shape.kinds))));
            }
            let label = self.label(&path.join("."));
            return there(Truth::HasField(Box::new(of.node), select.field.as_str().into(), label));
        }
        self.slot(found, &path.join("."));
        if parent.len() < 2 || !found.document {
            return there(Truth::Present(found.slot));
        }
        let above = self.find(&select.operand, &parent)?;
        self.slot(above, &label);
        let label = self.label(&label);
        there(Truth::HasPath { path: found.slot, parent: above.slot, label })
    }
}

/// Functions of one value: name, what it takes, what it gives; whether it is called `f(x)` or `x.f()`.
const FUNCTIONS: [(&str, Function, Kinds, Kinds); 7] = [
    ("size", Function::Size, Kinds::STRING.or(Kinds::LIST).or(Kinds::MAP), Kinds::INT),
    ("int", Function::Int, Kinds::INT.or(Kinds::DOUBLE).or(Kinds::STRING).or(Kinds::TIMESTAMP), Kinds::INT),
    ("double", Function::Double, Kinds::INT.or(Kinds::DOUBLE).or(Kinds::STRING), Kinds::DOUBLE),
    ("string", Function::String, STRINGS, Kinds::STRING),
    ("bool", Function::Bool, Kinds::BOOL.or(Kinds::STRING), Kinds::BOOL),
    ("timestamp", Function::Timestamp, Kinds::TIMESTAMP.or(Kinds::STRING).or(Kinds::INT), Kinds::TIMESTAMP),
    ("duration", Function::Duration, Kinds::DURATION.or(Kinds::STRING), Kinds::DURATION),
];

/// What `string` takes.
const STRINGS: Kinds =
    Kinds::STRING.or(Kinds::BOOL).or(Kinds::INT).or(Kinds::DOUBLE).or(Kinds::TIMESTAMP).or(Kinds::DURATION);

const TEXT_TESTS: [(&str, TextTest); 3] = [
    ("startsWith", TextTest::StartsWith),
    ("endsWith", TextTest::EndsWith),
    ("contains", TextTest::Contains),
];

/// Parts of timestamps, and whether durations have them too.
const PARTS: [(&str, Part, bool); 10] = [
    ("getFullYear", Part::FullYear, false),
    ("getMonth", Part::Month, false),
    ("getDate", Part::Date, false),
    ("getDayOfMonth", Part::DayOfMonth, false),
    ("getDayOfWeek", Part::DayOfWeek, false),
    ("getDayOfYear", Part::DayOfYear, false),
    ("getHours", Part::Hours, true),
    ("getMinutes", Part::Minutes, true),
    ("getSeconds", Part::Seconds, true),
    ("getMilliseconds", Part::Milliseconds, true),
];

const OTHERS: [&str; 7] = ["matches", "has", "all", "exists", "exists_one", "map", "filter"];

impl Check<'_, '_, '_> {
    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Typed, Wrong> {
        let name = call.func_name.as_str();
        let target = call.target.as_deref();
        if let Some((_, test)) = TEXT_TESTS.iter().find(|(each, _)| *each == name) {
            let (Some(text), [part]) = (target, &call.args[..]) else {
                return Err(self.wrong_call(expr, name, &format!("`x.{name}(y)`")));
            };
            let sides = Box::new((self.text(text, name)?, self.text(part, name)?));
            let label = self.label(name);
            return Ok(Typed::new(Node::Truth(Truth::Text(*test, label, sides)), Kinds::BOOL));
        }
        if let Some((_, part, of_durations)) = PARTS.iter().find(|(each, _, _)| *each == name) {
            return self.part(expr, call, *part, *of_durations);
        }
        match (name, target, &call.args[..]) {
            ("matches", Some(text), [pattern]) | ("matches", None, [text, pattern]) => {
                self.matches(text, pattern)
            }
            ("matches", ..) => Err(self.wrong_call(expr, name, "`x.matches('…')`")),
            ("size", Some(of), []) => self.function(expr, name, of),
            ("dyn", None, [of]) => self.expr(of),
            (_, None, [of]) if FUNCTIONS.iter().any(|(each, ..)| *each == name) => {
                self.function(expr, name, of)
            }
            _ if FUNCTIONS.iter().any(|(each, ..)| *each == name) => {
                Err(self.wrong_call(expr, name, &format!("`{name}(x)`")))
            }
            _ => Err(self.unknown(expr, name)),
        }
    }

    fn unknown(&self, expr: &IdedExpr, name: &str) -> Wrong {
        let (line, column) = self.source.call_place(expr.id, name);
        let mut wrong = Wrong::new(line, column, format!("unknown function `{name}`"));
        let functions =
            FUNCTIONS.iter().map(|(each, ..)| *each).chain(TEXT_TESTS.iter().map(|(each, _)| *each));
        let parts = PARTS.iter().map(|(each, ..)| *each);
        if OTHERS.contains(&name) {
            wrong.what = format!("`{name}` is not called like this");
        } else {
            wrong.hint = nearest(name, functions.chain(parts).chain(OTHERS));
        }
        wrong
    }

    fn wrong_call(&self, expr: &IdedExpr, name: &str, form: &str) -> Wrong {
        let (line, column) = self.source.call_place(expr.id, name);
        let mut wrong = Wrong::new(line, column, format!("`{name}` is not called like this"));
        wrong.hint = Some(format!("write {form}"));
        wrong
    }

    fn function(&mut self, expr: &IdedExpr, name: &str, of: &IdedExpr) -> Result<Typed, Wrong> {
        let Some((_, function, takes, gives)) = FUNCTIONS.iter().find(|(each, ..)| *each == name) else {
            return Err(self.unknown(expr, name));
        };
        let argument = self.argument(of, name, *takes)?;
        let label = self.label(name);
        self.folded(expr, *function, name, label, argument, *gives)
    }

    /// What is said about a written value is said once.
    fn folded(
        &mut self,
        expr: &IdedExpr,
        function: Function,
        name: &str,
        label: u32,
        argument: Node,
        gives: Kinds,
    ) -> Result<Typed, Wrong> {
        let node = match argument {
            Node::Const(value) if function != Function::Size => {
                let value = functions::call(function, label, value).map_err(|_| {
                    let (line, column) = self.source.call_place(expr.id, name);
                    let what = format!("`{name}` cannot read what it is given");
                    Wrong { hint: form(function).map(str::to_owned), ..Wrong::new(line, column, what) }
                })?;
                Node::Const(value)
            }
            argument => Node::Call(function, label, Box::new(argument)),
        };
        Ok(Typed::new(node, gives))
    }

    /// That a part into which no name goes has a value.
    fn evaluates(&self, expr: &IdedExpr, node: &Node) -> Result<(), Wrong> {
        if matches!(node, Node::Const(_)) {
            return Ok(());
        }
        let (facts, mut steps) = (Facts::new(), Steps::default());
        match Machine::new(&facts, &mut steps).value(node) {
            Ok(_) => Ok(()),
            Err(trip) => {
                let fault = trip.fault(&self.labels);
                Err(self.wrong(expr, format!("this never has a value: {fault}")))
            }
        }
    }

    fn argument(&mut self, expr: &IdedExpr, name: &str, takes: Kinds) -> Result<Node, Wrong> {
        let typed = self.expr(expr)?;
        if typed.shape.kinds.meets(takes) {
            return Ok(typed.node);
        }
        let what = format!("`{name}` takes {}, and this is {}", One(takes), One(typed.shape.kinds));
        Err(self.wrong(leftmost(expr), what))
    }

    fn text(&mut self, expr: &IdedExpr, name: &str) -> Result<Node, Wrong> {
        self.argument(expr, name, Kinds::STRING)
    }

    fn matches(&mut self, text: &IdedExpr, written_at: &IdedExpr) -> Result<Typed, Wrong> {
        let text = self.text(text, "matches")?;
        let Expr::Literal(LiteralValue::String(written)) = &written_at.expr else {
            let what = "the pattern of `matches` is not written out".to_owned();
            return Err(self.wrong(leftmost(written_at), what));
        };
        self.cost += 1;
        let regex = pattern::compile(written.inner()).map_err(|refused| {
            let what = match refused {
                BadPattern::Invalid => "the pattern is no regular expression, or too large a one",
                BadPattern::Foreign(_) => "the pattern is not in the syntax of RE2",
            };
            let hint = match refused {
                BadPattern::Invalid => None,
                BadPattern::Foreign(hint) => Some(hint.to_owned()),
            };
            Wrong { hint, ..self.wrong(written_at, what.to_owned()) }
        })?;
        let label = self.label("matches");
        Ok(Typed::new(Node::Truth(Truth::Matches(Box::new((text, regex)), label)), Kinds::BOOL))
    }

    fn part(
        &mut self,
        expr: &IdedExpr,
        call: &CallExpr,
        part: Part,
        of_durations: bool,
    ) -> Result<Typed, Wrong> {
        let name = call.func_name.as_str();
        let (Some(of), [] | [_]) = (call.target.as_deref(), &call.args[..]) else {
            return Err(self.wrong_call(expr, name, &format!("`x.{name}()`")));
        };
        let mut takes = Kinds::TIMESTAMP;
        let mut zone = Zone::Own;
        if let [written] = &call.args[..] {
            let known = match &written.expr {
                Expr::Literal(LiteralValue::String(text)) => time::zone(text.inner()),
                _ => None,
            };
            let Some(known) = known else {
                let mut wrong = self.wrong(leftmost(written), "the time zone is not known".to_owned());
                wrong.hint = Some("write 'UTC' or an offset such as '+02:00'".to_owned());
                return Err(wrong);
            };
            self.cost += 1;
            zone = known;
        } else if of_durations {
            takes = takes.or(Kinds::DURATION);
        }
        let argument = self.argument(of, name, takes)?;
        let label = self.label(name);
        self.folded(expr, Function::Part(part, zone), name, label, argument, Kinds::INT)
    }

    /// The macros, told apart by the step that the parser writes for each.
    fn comprehension(&mut self, expr: &IdedExpr, each: &ComprehensionExpr) -> Result<Typed, Wrong> {
        let range = self.expr(&each.iter_range)?;
        let takes = Kinds::LIST.or(Kinds::MAP);
        if !range.shape.kinds.meets(takes) {
            let what = format!("a loop goes over a list or a map, and this is {}", One(range.shape.kinds));
            return Err(self.wrong(leftmost(&each.iter_range), what));
        }
        let Expr::Call(step) = &each.loop_step.expr else { return Err(self.wrong(expr, unknown_loop())) };
        let mut item = range.shape.inside();
        if range.shape.kinds.meets(Kinds::MAP) {
            // Over a map its keys are looped; those of JSON are texts.
            let json = range.shape.json;
            let keys = if json { Kinds::STRING } else { Kinds::STRING.or(Kinds::BOOL).or(Kinds::INT) };
            let list = range.shape.kinds.meets(Kinds::LIST);
            item = if list { item.or(Shape::new(keys)) } else { Shape::new(keys) };
            if json && list {
                item = Shape::JSON;
            }
        }
        let variable = self.scopes.len();
        let outside = std::mem::replace(&mut self.cost, 0);
        self.scopes.push((each.iter_var.as_str().into(), item));
        let counts = matches!(each.accu_init.expr, Expr::Literal(LiteralValue::Int(_)));
        let range = range.node;
        let typed = match (step.func_name.as_str(), &step.args[..]) {
            (operators::LOGICAL_AND, [_, test]) => {
                self.quantifier(Quantifier::All, "all", variable, range, test)
            }
            (operators::LOGICAL_OR, [_, test]) => {
                self.quantifier(Quantifier::Exists, "exists", variable, range, test)
            }
            (operators::CONDITIONAL, [test, _, _]) if counts => {
                self.quantifier(Quantifier::ExistsOne, "exists_one", variable, range, test)
            }
            (operators::CONDITIONAL, [test, step, _]) => match appended(step) {
                Some(item) => self.collect(variable, range, Some(test), item),
                None => Err(self.wrong(expr, unknown_loop())),
            },
            (operators::ADD, _) => match appended(&each.loop_step) {
                Some(item) => self.collect(variable, range, None, item),
                None => Err(self.wrong(expr, unknown_loop())),
            },
            _ => Err(self.wrong(expr, unknown_loop())),
        };
        self.scopes.pop();
        self.cost = outside;
        typed
    }

    fn quantifier(
        &mut self,
        quantifier: Quantifier,
        name: &str,
        variable: usize,
        range: Node,
        test: &IdedExpr,
    ) -> Result<Typed, Wrong> {
        let test = self.truth(test, name)?;
        let label = self.label(name);
        let each = Box::new(Loop { range, variable, test, cost: self.cost + 1, label });
        Ok(Typed::new(Node::Truth(Truth::Loop(quantifier, each)), Kinds::BOOL))
    }

    fn collect(
        &mut self,
        variable: usize,
        range: Node,
        test: Option<&IdedExpr>,
        item: &IdedExpr,
    ) -> Result<Typed, Wrong> {
        let name = if test.is_some() { "filter" } else { "map" };
        let test = test.map(|test| self.truth(test, name)).transpose()?;
        let item = self.expr(item)?;
        let label = self.label(name);
        let shape = Shape { kinds: Kinds::LIST, inner: item.shape.kinds, json: false };
        let collect = Collect { range, variable, test, item: item.node, cost: self.cost + 1, label };
        Ok(Typed { node: Node::Collect(Box::new(collect)), shape })
    }
}

/// The `x` of `@result + [x]`.
fn appended(step: &IdedExpr) -> Option<&IdedExpr> {
    let Expr::Call(CallExpr { func_name, args, .. }) = &step.expr else { return None };
    let [_, IdedExpr { expr: Expr::List(ListExpr { elements, .. }), .. }] = &args[..] else { return None };
    (func_name == operators::ADD).then(|| elements.first()).flatten()
}

/// What the text that a function reads looks like.
fn form(function: Function) -> Option<&'static str> {
    match function {
        Function::Timestamp => Some("write a time of RFC 3339, such as '2026-01-09T16:00:00Z'"),
        Function::Duration => Some("write numbers with the units h, m, s, ms, us or ns, such as '1h30m'"),
        Function::Size
        | Function::Int
        | Function::Double
        | Function::String
        | Function::Bool
        | Function::Part(..) => None,
    }
}

fn unknown_loop() -> String {
    "this loop is not known here".to_owned()
}
