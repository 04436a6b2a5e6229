//! From text to the tree of the crate `cel`, within limits, and the places of its nodes.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};
use cel::parser::Parser;

use super::advice;
use super::wrong::Wrong;
use crate::limits::{
    EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_LOOPS_NESTED_MAX, EXPRESSION_NODES_MAX,
    EXPRESSION_PARSE_STACK_BYTES,
};

pub(super) struct Parsed<'t> {
    pub root: IdedExpr,
    pub source: Source<'t>,
}

/// A text and where in it the nodes stand.
pub(super) struct Source<'t> {
    text: &'t str,
    info: SourceInfo,
}

/// Parses on a thread of its own: the parser calls itself for each bracket and operator, and what it builds is taken
/// apart the same way, so a text that is refused for its depth ends there too.
pub(super) fn parse(text: &str) -> Result<Parsed<'_>, Wrong> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let what = format!("the expression has {} bytes, more than {EXPRESSION_BYTES_MAX}", text.len());
        return Err(Wrong::new(1, 1, what));
    }
    let parsed = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(EXPRESSION_PARSE_STACK_BYTES);
        let handle = thread.spawn_scoped(scope, || parse_here(text)).ok()?;
        handle.join().ok()
    });
    parsed.unwrap_or_else(|| Err(Wrong::new(1, 1, "the expression cannot be parsed".to_owned())))
}

fn parse_here(text: &str) -> Result<Parsed<'_>, Wrong> {
    let (root, info) = Parser::new().parse_with_source_info(text).map_err(|errors| {
        let Some(first) = errors.errors.into_iter().next() else {
            return Wrong::new(1, 1, "the expression cannot be parsed".to_owned());
        };
        let (what, hint) = match first.msg.as_str() {
            "UNKNOWN" => ("the expression is nested too deep".to_owned(), None),
            message => advice::of_syntax(text, message),
        };
        let number = |place: isize| usize::try_from(place).unwrap_or(1).max(1);
        Wrong { hint, ..Wrong::new(number(first.pos.0), number(first.pos.1), what) }
    })?;
    let source = Source { text, info };
    let mut size = Size { nodes: 0, source: &source };
    size.measure(&root, 1, 0)?;
    Ok(Parsed { root, source })
}

impl<'t> Source<'t> {
    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// Line and column of a node; of an operator's node that is the operator.
    pub(super) fn place(&self, id: u64) -> (usize, usize) {
        self.place_at(self.offset(id))
    }

    /// Line and column of the name before this node's bracket.
    pub(super) fn call_place(&self, id: u64, name: &str) -> (usize, usize) {
        let offset = self.offset(id);
        let before = self.text.get(..offset).unwrap_or_default().trim_end();
        self.place_at(before.strip_suffix(name).map_or(offset, str::len))
    }

    fn offset(&self, id: u64) -> usize {
        self.info.offset_for(id).and_then(|(start, _)| usize::try_from(start).ok()).unwrap_or_default()
    }

    fn place_at(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

struct Size<'s, 't> {
    nodes: usize,
    source: &'s Source<'t>,
}

impl Size<'_, '_> {
    fn measure(&mut self, expr: &IdedExpr, depth: usize, loops: usize) -> Result<(), Wrong> {
        let wrong = |what: String| {
            let (line, column) = self.source.place(expr.id);
            Err(Wrong::new(line, column, what))
        };
        self.nodes += 1;
        if depth > EXPRESSION_DEPTH_MAX {
            return wrong(format!("the expression is nested deeper than {EXPRESSION_DEPTH_MAX}"));
        }
        if self.nodes > EXPRESSION_NODES_MAX {
            return wrong(format!("the expression has more than {EXPRESSION_NODES_MAX} parts"));
        }
        if loops > EXPRESSION_LOOPS_NESTED_MAX {
            return wrong(format!("more than {EXPRESSION_LOOPS_NESTED_MAX} loops are inside one another"));
        }
        let deeper = depth + 1;
        match &expr.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Call(call) => {
                for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                    self.measure(part, deeper, loops)?;
                }
            }
            Expr::Comprehension(each) => {
                self.measure(&each.iter_range, deeper, loops)?;
                let parts = [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result];
                for part in parts {
                    self.measure(part, deeper, loops + 1)?;
                }
            }
            Expr::List(list) => {
                for item in &list.elements {
                    self.measure(item, deeper, loops)?;
                }
            }
            Expr::Map(map) => self.entries(&map.entries, deeper, loops)?,
            Expr::Struct(message) => self.entries(&message.entries, deeper, loops)?,
            Expr::Select(select) => self.measure(&select.operand, deeper, loops)?,
        }
        Ok(())
    }

    fn entries(
        &mut self,
        entries: &[cel::common::ast::IdedEntryExpr],
        depth: usize,
        loops: usize,
    ) -> Result<(), Wrong> {
        for entry in entries {
            match &entry.expr {
                EntryExpr::StructField(field) => self.measure(&field.value, depth, loops)?,
                EntryExpr::MapEntry(entry) => {
                    self.measure(&entry.key, depth, loops)?;
                    self.measure(&entry.value, depth, loops)?;
                }
            }
        }
        Ok(())
    }
}
