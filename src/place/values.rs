//! What stands where in a text of TOML: each value with the key that it belongs to, so that an error that has only a span
//! can name its key.

use std::ops::Range;

use toml::de::{DeArray, DeTable, DeValue};

/// A value, by what a file's writer would call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Dotted, without the numbers of lists.
    pub key: String,
    pub key_span: Range<usize>,
    pub span: Range<usize>,
    pub kind: Kind,
    /// One of a list.
    pub is_element: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A text of which nothing is to be seen.
    Blank,
    /// As it is written.
    Number(String),
    Truth(bool),
    Time,
    List,
    Table,
}

impl std::fmt::Display for Kind {
    /// A text is not shown: it may be a secret in the wrong place.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Blank => f.write_str("empty"),
            Self::Number(number) => f.write_str(number),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Time => f.write_str("a time"),
            Self::List => f.write_str("a list"),
            Self::Table => f.write_str("a table"),
        }
    }
}

/// All values of a text; of one that is no TOML, as many as can be found.
#[must_use]
pub fn values(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let (table, _errors) = DeTable::parse_recoverable(text);
    below(table.get_ref(), "", &mut found);
    found
}

fn below(table: &DeTable<'_>, section: &str, found: &mut Vec<Value>) {
    for (name, value) in table {
        let key = match section {
            "" => name.get_ref().to_string(),
            _ => format!("{section}.{}", name.get_ref()),
        };
        take(value, &key, &name.span(), false, found);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn take(
    value: &toml::Spanned<DeValue<'_>>,
    key: &str,
    key_span: &Range<usize>,
    is_element: bool,
    found: &mut Vec<Value>,
) {
    let kind = match value.get_ref() {
        DeValue::String(text) if text.trim_ascii().is_empty() => Kind::Blank,
        DeValue::String(_) => Kind::Text,
        DeValue::Integer(number) => Kind::Number(number.as_str().to_owned()),
        DeValue::Float(number) => Kind::Number(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Kind::Truth(*truth),
        DeValue::Datetime(_) => Kind::Time,
        DeValue::Array(_) => Kind::List,
        DeValue::Table(_) => Kind::Table,
    };
    let (owned, key_span_owned) = (key.to_owned(), key_span.clone());
    found.push(Value { key: owned, key_span: key_span_owned, span: value.span(), kind, is_element });
    match value.get_ref() {
        DeValue::Table(table) => below(table, key, found),
        DeValue::Array(list) => each(list, key, key_span, found),
        _ => {}
    }
}

fn each(list: &DeArray<'_>, key: &str, key_span: &Range<usize>, found: &mut Vec<Value>) {
    for element in list {
        take(element, key, key_span, true, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_key() {
        let text = "[node]\nname = \"a\"\n[[source]]\nkey = [{ name = 1 }]\n[a]\nb.c = [true, 1.5]\n";
        let keys: Vec<(String, String)> =
            values(text).into_iter().map(|value| (value.key, value.kind.to_string())).collect();
        let has = |key: &str, kind: &str| keys.contains(&(key.to_owned(), kind.to_owned()));
        for (key, kind) in [
            ("node", "a table"),
            ("node.name", "text"),
            ("source", "a list"),
            ("source", "a table"),
            ("source.key", "a list"),
            ("source.key.name", "1"),
            ("a.b.c", "true"),
            ("a.b.c", "1.5"),
        ] {
            assert!(has(key, kind), "{key} {kind} is not in {keys:?}");
        }
    }
}
