//! Patterns of `matches`: RE2's syntax with RE2's meaning, run by the crate `regex`. What the two read differently is
//! rewritten (`\d`, `\w`, `\s` and `\b` are of ASCII in RE2) or refused.

use regex::{Regex, RegexBuilder};
use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSetBinaryOp, ClassSetItem, Flag, Flags, FlagsItemKind,
    HexLiteralKind, Literal, LiteralKind, Span, Visitor, visit,
};

use crate::limits::EXPRESSION_REGEX_BYTES;

/// Why a pattern is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadPattern {
    /// Not a regular expression, or too large a one.
    Invalid,
    /// The crate takes it, and RE2 does not or means another thing.
    Foreign(&'static str),
}

pub(super) fn compile(pattern: &str) -> Result<Regex, BadPattern> {
    let tree = Parser::new().parse(pattern).map_err(|_| BadPattern::Invalid)?;
    let edits = visit(&tree, Edits(Vec::new()))?;
    let (mut text, mut done) = (String::with_capacity(pattern.len()), 0);
    for (span, instead) in edits {
        text.push_str(pattern.get(done..span.start.offset).ok_or(BadPattern::Invalid)?);
        text.push_str(instead);
        done = span.end.offset;
    }
    text.push_str(pattern.get(done..).ok_or(BadPattern::Invalid)?);
    RegexBuilder::new(&text)
        .size_limit(EXPRESSION_REGEX_BYTES)
        .dfa_size_limit(EXPRESSION_REGEX_BYTES)
        .build()
        .map_err(|_| BadPattern::Invalid)
}

/// What stands in the pattern instead of what was written, in the order of the text.
struct Edits(Vec<(Span, &'static str)>);

impl Edits {
    fn perl(&mut self, class: &ClassPerl) {
        let instead = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
            (ClassPerlKind::Space, false) => r"[\t\n\f\r ]",
            (ClassPerlKind::Space, true) => r"[^\t\n\f\r ]",
        };
        self.0.push((class.span, instead));
    }
}

impl Visitor for Edits {
    type Output = Vec<(Span, &'static str)>;
    type Err = BadPattern;

    fn finish(self) -> Result<Self::Output, BadPattern> {
        Ok(self.0)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), BadPattern> {
        match ast {
            Ast::Flags(set) => flags(&set.flags),
            Ast::Group(group) => group.flags().map_or(Ok(()), flags),
            Ast::Literal(each) => literal(each),
            Ast::ClassPerl(class) => {
                self.perl(class);
                Ok(())
            }
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::WordBoundary => {
                    self.0.push((assertion.span, r"(?-u:\b)"));
                    Ok(())
                }
                AssertionKind::NotWordBoundary => {
                    self.0.push((assertion.span, r"(?-u:\B)"));
                    Ok(())
                }
                AssertionKind::StartLine
                | AssertionKind::EndLine
                | AssertionKind::StartText
                | AssertionKind::EndText => Ok(()),
                AssertionKind::WordBoundaryStart
                | AssertionKind::WordBoundaryEnd
                | AssertionKind::WordBoundaryStartAngle
                | AssertionKind::WordBoundaryEndAngle
                | AssertionKind::WordBoundaryStartHalf
                | AssertionKind::WordBoundaryEndHalf => {
                    Err(BadPattern::Foreign("only `\\b` and `\\B` bind to words"))
                }
            },
            Ast::Empty(_)
            | Ast::Dot(_)
            | Ast::ClassUnicode(_)
            | Ast::ClassBracketed(_)
            | Ast::Repetition(_)
            | Ast::Alternation(_)
            | Ast::Concat(_) => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), BadPattern> {
        match item {
            ClassSetItem::Perl(class) => self.perl(class),
            ClassSetItem::Literal(each) => literal(each)?,
            ClassSetItem::Range(range) => {
                literal(&range.start)?;
                literal(&range.end)?;
            }
            ClassSetItem::Bracketed(_) => {
                return Err(BadPattern::Foreign(
                    "a class inside a class is not of RE2: write `\\[` for the bracket",
                ));
            }
            ClassSetItem::Empty(_)
            | ClassSetItem::Ascii(_)
            | ClassSetItem::Unicode(_)
            | ClassSetItem::Union(_) => {}
        }
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), BadPattern> {
        Err(BadPattern::Foreign(
            "`&&`, `--` and `~~` in a class are not of RE2: write `\\&`, `\\-` and `\\~`",
        ))
    }
}

fn flags(flags: &Flags) -> Result<(), BadPattern> {
    for item in &flags.items {
        match item.kind {
            FlagsItemKind::Negation
            | FlagsItemKind::Flag(
                Flag::CaseInsensitive | Flag::MultiLine | Flag::DotMatchesNewLine | Flag::SwapGreed,
            ) => {}
            FlagsItemKind::Flag(Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace) => {
                return Err(BadPattern::Foreign("the flags of RE2 are `i`, `m`, `s` and `U`"));
            }
        }
    }
    Ok(())
}

fn literal(literal: &Literal) -> Result<(), BadPattern> {
    match &literal.kind {
        LiteralKind::HexFixed(kind) | LiteralKind::HexBrace(kind) => match kind {
            HexLiteralKind::X => Ok(()),
            HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong => {
                Err(BadPattern::Foreign("`\\u` and `\\U` are not of RE2: write `\\x{…}`"))
            }
        },
        LiteralKind::Verbatim
        | LiteralKind::Meta
        | LiteralKind::Superfluous
        | LiteralKind::Octal
        | LiteralKind::Special(_) => Ok(()),
    }
}
