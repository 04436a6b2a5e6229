//! The check of names and fields: what is in a document has a slot for each path, the rest is looked up in the run.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use cel::common::ast::{Expr, IdedExpr, LiteralValue, SelectExpr, operators};

use super::Wrong;
use super::check::{Check, Typed};
use super::kinds::{Kinds, One};
use super::names::Found;
use super::tree::{Node, Truth};

impl Check<'_, '_, '_> {
    /// A name and the fields after it.
    pub(super) fn path(&mut self, expr: &IdedExpr) -> Result<Typed, Wrong> {
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
        wrong.hint = nearest(&given, self.names.valid());
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

    pub(super) fn field(&mut self, expr: &IdedExpr, operand: &IdedExpr, field: &str) -> Result<Typed, Wrong> {
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

    pub(super) fn has(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Result<Typed, Wrong> {
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

/// The names of `a.b["c"]`, root first; `None` for whatever is more than that.
pub(super) fn path_of(expr: &IdedExpr) -> Option<Vec<&str>> {
    let mut path = Vec::new();
    let mut expr = expr;
    loop {
        match &expr.expr {
            Expr::Ident(name) => {
                path.push(name.as_str());
                path.reverse();
                return Some(path);
            }
            Expr::Select(select) if !select.test => {
                path.push(select.field.as_str());
                expr = &select.operand;
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                let [of, index] = &call.args[..] else { return None };
                let Expr::Literal(LiteralValue::String(key)) = &index.expr else { return None };
                path.push(key.inner());
                expr = of;
            }
            _ => return None,
        }
    }
}

/// Where an expression begins, as far as its nodes tell.
pub(super) fn leftmost(expr: &IdedExpr) -> &IdedExpr {
    let mut expr = expr;
    loop {
        expr = match &expr.expr {
            Expr::Select(select) => &select.operand,
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.first() {
                Some(of) => of,
                None => return expr,
            },
            _ => return expr,
        };
    }
}

/// The valid name that was probably meant.
pub(super) fn nearest<'a>(given: &str, valid: impl Iterator<Item = &'a str>) -> Option<String> {
    let (distance, best) = valid.map(|name| (strsim::damerau_levenshtein(given, name), name)).min()?;
    (distance <= 1 + given.len() / 3).then(|| format!("the nearest valid name is `{best}`"))
}

/// The field of this operand as a path, for faults.
pub(super) fn written(operand: &IdedExpr, field: &str) -> String {
    path_of(operand).map_or_else(|| format!("….{field}"), |path| format!("{}.{field}", path.join(".")))
}
