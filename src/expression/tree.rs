//! What an expression is compiled to: a tree whose numbers and conditions are typed where the check knows the type, so
//! that the usual rule touches no general value.

use regex::Regex;

use super::fault::Label;
use super::kinds::Kinds;
use super::slot::Slot;
use super::value::Value;

/// What a check gives.
#[derive(Debug)]
pub(super) struct Checked {
    pub root: Root,
    pub labels: Box<[Box<str>]>,
    pub slots: Box<[Slot]>,
    /// Steps of everything outside loops.
    pub cost: usize,
}

#[derive(Debug)]
pub(super) enum Root {
    Truth(Truth),
    Number(Number),
    Value(Node, Kinds),
}

/// Any value.
#[derive(Debug)]
pub(super) enum Node {
    Const(Value<'static>),
    Slot(Slot, Label),
    /// The variable of the macro at this depth.
    Local(usize),
    Number(Number),
    Truth(Truth),
    Arithmetic(Operator, Label, Box<(Node, Node)>),
    Negate(Label, Box<Node>),
    Field(Box<Node>, Box<str>, Label),
    Index(Box<(Node, Node)>, Label),
    If(Box<(Truth, Node, Node)>),
    List(Box<[Node]>),
    Map(Box<[(Node, Node)]>, Label),
    Call(Function, Label, Box<Node>),
    /// `map` and `filter`.
    Collect(Box<Collect>),
}

/// A double.
#[derive(Debug)]
pub(super) enum Number {
    Const(f64),
    Slot(Slot, Label),
    Arithmetic(Operator, Box<(Number, Number)>),
    Negate(Box<Number>),
    If(Box<(Truth, Number, Number)>),
    Of(Box<Node>, Label),
}

/// A condition.
#[derive(Debug)]
pub(super) enum Truth {
    Const(bool),
    Slot(Slot, Label),
    Not(Box<Truth>),
    And(Box<(Truth, Truth)>),
    Or(Box<(Truth, Truth)>),
    If(Box<(Truth, Truth, Truth)>),
    Compare(Comparison, Label, Box<(Number, Number)>),
    Order(Comparison, Label, Box<(Node, Node)>),
    Equal(bool, Box<(Node, Node)>),
    In(Label, Box<(Node, Node)>),
    /// The name itself is there.
    Present(Slot),
    /// The path is there; if not, this other path must be a map.
    HasPath {
        path: Slot,
        parent: Slot,
        label: Label,
    },
    HasField(Box<Node>, Box<str>, Label),
    Text(TextTest, Label, Box<(Node, Node)>),
    Matches(Box<(Node, Regex)>, Label),
    Loop(Quantifier, Box<Loop>),
    Of(Box<Node>, Label),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

/// A function of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Int,
    Double,
    String,
    Bool,
    Timestamp,
    Duration,
    Part(Part, Zone),
}

/// A part of a timestamp; the last four also of a duration, as a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// The timestamp's own.
    Own,
    /// Seconds east of UTC.
    East(i32),
}

#[derive(Debug)]
pub(super) struct Loop {
    pub range: Node,
    pub variable: usize,
    pub test: Truth,
    /// Steps that each item costs, loops inside not counted.
    pub cost: usize,
    pub label: Label,
}

#[derive(Debug)]
pub(super) struct Collect {
    pub range: Node,
    pub variable: usize,
    pub test: Option<Truth>,
    pub item: Node,
    pub cost: usize,
    pub label: Label,
}
