//! The check: names become slots, operators are matched with what their sides may be, and what no run could take is
//! refused with its place.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use std::borrow::Cow;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, MapExpr, operators};

use super::fault::Label;
use super::kinds::{Kinds, One, Shape};
use super::parse::{Parsed, Source};
use super::paths::{leftmost, path_of, written};
use super::tree::{Comparison, Node, Number, Operator, Truth};
use super::value::{List, Map, Value};
use super::{Expression, Names, Root, Slot, Type, Wrong};

pub(super) fn compile(parsed: &Parsed<'_>, names: &mut Names, wanted: Type) -> Result<Expression, Wrong> {
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
    Ok(Expression {
        root,
        labels: check.labels.into_boxed_slice(),
        slots: check.slots.into_boxed_slice(),
        cost: check.cost,
    })
}

pub(super) struct Check<'n, 's, 't> {
    pub(super) names: &'n mut Names,
    pub(super) source: &'s Source<'t>,
    pub(super) labels: Vec<Box<str>>,
    pub(super) slots: Vec<Slot>,
    /// The variables of the loops around.
    pub(super) scopes: Vec<(Box<str>, Shape)>,
    /// Nodes so far, those of loops apart.
    pub(super) cost: usize,
    /// What the part at hand reads: 0 a slot, 1 and more the variable of a loop, counted from the outermost; the lowest.
    pub(super) reads: usize,
}

/// A node and what it may be.
pub(super) struct Typed {
    pub(super) node: Node,
    pub(super) shape: Shape,
}

impl Typed {
    pub(super) fn new(node: Node, kinds: Kinds) -> Self {
        Self { node, shape: Shape::new(kinds) }
    }
}

/// What `+ - * / %` take and give.
const ARITHMETIC: [(&[Operator], Kinds, Kinds, Kinds); 9] = {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    [
        (&[Add, Subtract, Multiply, Divide, Remainder], Kinds::INT, Kinds::INT, Kinds::INT),
        (&[Add, Subtract, Multiply, Divide], Kinds::DOUBLE, Kinds::DOUBLE, Kinds::DOUBLE),
        (&[Add], Kinds::STRING, Kinds::STRING, Kinds::STRING),
        (&[Add], Kinds::LIST, Kinds::LIST, Kinds::LIST),
        (&[Add, Subtract], Kinds::TIMESTAMP, Kinds::DURATION, Kinds::TIMESTAMP),
        (&[Add], Kinds::DURATION, Kinds::TIMESTAMP, Kinds::TIMESTAMP),
        (&[Add, Subtract], Kinds::DURATION, Kinds::DURATION, Kinds::DURATION),
        (&[Subtract], Kinds::TIMESTAMP, Kinds::TIMESTAMP, Kinds::DURATION),
        (&[], Kinds::NONE, Kinds::NONE, Kinds::NONE),
    ]
};

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

/// Whether the operator takes this on its left.
pub(super) fn takes(operator: Operator, left: Type) -> bool {
    let kinds = Kinds::of(left);
    ARITHMETIC.iter().any(|(operators, left, _, _)| operators.contains(&operator) && left.meets(kinds))
}

impl Check<'_, '_, '_> {
    pub(super) fn expr(&mut self, expr: &IdedExpr) -> Result<Typed, Wrong> {
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

    pub(super) fn index(&mut self, expr: &IdedExpr, of: &IdedExpr, index: &IdedExpr) -> Result<Typed, Wrong> {
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

    pub(super) fn truth(&mut self, expr: &IdedExpr, what: &str) -> Result<Truth, Wrong> {
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
            wrong.hint = unmixed(operator, &left, &right);
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

    pub(super) fn label(&mut self, text: &str) -> Label {
        let at = self.labels.iter().position(|label| **label == *text).unwrap_or_else(|| {
            self.labels.push(text.into());
            self.labels.len() - 1
        });
        Label::try_from(at).unwrap_or_default()
    }

    pub(super) fn wrong(&self, expr: &IdedExpr, what: String) -> Wrong {
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
pub(super) fn truth(node: Node, label: Label) -> Truth {
    match node {
        Node::Truth(truth) => truth,
        Node::Const(Value::Bool(bool)) => Truth::Const(bool),
        Node::Slot(slot, label) => Truth::Slot(slot, label),
        other => Truth::Of(Box::new(other), label),
    }
}

/// As a double; a written int is the double it equals.
#[expect(clippy::cast_precision_loss, reason = "as CEL compares them")]
pub(super) fn number(node: Node, label: Label) -> Number {
    match node {
        Node::Number(number) => number,
        Node::Const(Value::Double(double)) => Number::Const(double),
        Node::Const(Value::Int(int)) => Number::Const(int as f64),
        Node::Slot(slot, label) => Number::Slot(slot, label),
        other => Number::Of(Box::new(other), label),
    }
}
