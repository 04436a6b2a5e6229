//! The check of functions, and of the macros, which arrive as loops.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators};

use super::check::{Check, Typed};
use super::functions;
use super::kinds::{Kinds, One, Shape};
use super::paths::{leftmost, nearest};
use super::pattern::{self, BadPattern};
use super::run::Machine;
use super::time;
use super::tree::{Collect, Function, Loop, Node, Part, Quantifier, TextTest, Truth, Zone};
use super::{Facts, Steps, Wrong};

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
    pub(super) fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Typed, Wrong> {
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
    pub(super) fn evaluates(&self, expr: &IdedExpr, node: &Node) -> Result<(), Wrong> {
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
    pub(super) fn comprehension(
        &mut self,
        expr: &IdedExpr,
        each: &ComprehensionExpr,
    ) -> Result<Typed, Wrong> {
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
