//! Names and fields as they are written.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

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
