//! Where a value was written, so that an error can point there: in a configuration or in a policy pack.

mod number;
mod values;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use number::Number;
pub use values::{Kind, Value};

/// A file, line and column, or the name of a variable or flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    origin: Arc<str>,
    line: Option<usize>,
    /// In characters; where the line alone does not say it.
    column: Option<usize>,
}

impl Place {
    #[must_use]
    pub fn named(origin: &str) -> Self {
        Self { origin: origin.into(), line: None, column: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        Ok(())
    }
}

/// Where a string stands in a text, for those who find out later what is wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringPlace {
    origin: Arc<str>,
    /// The line on which its value begins, and the characters before it there.
    first: usize,
    margin: usize,
}

impl StringPlace {
    /// Of a line and a column of the string's value, both from 1.
    #[must_use]
    pub fn place(&self, line: usize, column: usize) -> Place {
        let column = if line == 1 { self.margin + column } else { column };
        Place { origin: Arc::clone(&self.origin), line: Some(self.first + line - 1), column: Some(column) }
    }
}

/// What is wrong with the configuration, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct ConfigError {
    pub place: Place,
    pub what: String,
    pub hint: Option<String>,
}

impl ConfigError {
    #[must_use]
    pub fn new(place: &Place, what: impl Into<String>) -> Self {
        Self { place: place.clone(), what: what.into(), hint: None }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A text with values in it: a file, or one variable written as a line of one.
#[derive(Clone, Debug)]
pub struct Text {
    origin: Arc<str>,
    text: String,
    values: Vec<Value>,
    origin_kind: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    File,
    /// The program has it in itself.
    BuiltIn,
    /// A variable or a flag: its lines mean nothing to the reader.
    Variable,
}

impl Text {
    #[must_use]
    pub fn file(name: &str, text: String) -> Self {
        Self { origin: name.into(), values: values::values(&text), text, origin_kind: Origin::File }
    }

    /// A file that the program has in itself.
    #[must_use]
    pub fn built_in(name: &str, text: &str) -> Self {
        Self { origin_kind: Origin::BuiltIn, ..Self::file(name, text.to_owned()) }
    }

    #[must_use]
    pub fn variable(name: &str, text: String) -> Self {
        Self { origin: name.into(), values: values::values(&text), text, origin_kind: Origin::Variable }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a file, and not a variable or a flag.
    #[must_use]
    pub fn is_file(&self) -> bool {
        match self.origin_kind {
            Origin::File | Origin::BuiltIn => true,
            Origin::Variable => false,
        }
    }

    #[must_use]
    pub fn is_built_in(&self) -> bool {
        self.origin_kind == Origin::BuiltIn
    }

    /// Everything that is set in it.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The value at `span`, or the smallest one around it.
    #[must_use]
    pub fn value(&self, span: &Range<usize>) -> Option<&Value> {
        let around = |value: &&Value| value.span.start <= span.start && span.end <= value.span.end;
        self.values.iter().filter(around).min_by_key(|value| value.span.len())
    }

    /// The text as a whole.
    #[must_use]
    pub fn whole(&self) -> Place {
        Place { origin: Arc::clone(&self.origin), line: None, column: None }
    }

    /// Where a span of the text is.
    #[must_use]
    pub fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line = self.is_file().then(|| before.matches('\n').count() + 1);
        Place { origin: Arc::clone(&self.origin), line, column: None }
    }

    /// Where something stands in the string that is written at `span`: lines and columns of the string's value, both
    /// from 1.
    #[must_use]
    pub fn within(&self, span: &Range<usize>, line: usize, column: usize) -> Place {
        self.string_at(span).place(line, column)
    }

    /// Where the string that is written at `span` begins.
    #[must_use]
    pub fn string_at(&self, span: &Range<usize>) -> StringPlace {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let (quotes, several) = match written.as_bytes() {
            [b'"' | b'\'', b'"' | b'\'', b'"' | b'\'', ..] if written.len() > 5 => (3, true),
            _ => (1, false),
        };
        // A line break right behind the opening quotes is no part of the value.
        let skipped = usize::from(several && written[quotes..].starts_with(['\n', '\r']));
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let margin = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        StringPlace {
            origin: Arc::clone(&self.origin),
            first: before.matches('\n').count() + 1 + skipped,
            margin: if skipped == 0 { margin + quotes } else { 0 },
        }
    }

    /// Puts the reader's complaint in the words of a user.
    #[must_use]
    pub fn complaint(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        let place = self.place(&span);
        let message = error.message();
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let told = message.split(' ').take(2).collect::<Vec<_>>();
        match (told.as_slice(), quoted.as_slice()) {
            (["unknown", "field"], [given, valid @ ..]) => {
                let section = self.section(&span);
                let error = ConfigError::new(&place, format!("unknown key `{section}{given}`"));
                match nearest(given, valid) {
                    Some(name) => error.hint(format!("the nearest valid name is `{section}{name}`")),
                    None if valid.is_empty() => error,
                    None => error.hint(format!("valid names are {}", listed(valid))),
                }
            }
            (["unknown", "variant"], [given, valid @ ..]) => {
                let key = self.value(&span).map_or("this key".to_owned(), |value| format!("`{}`", value.key));
                let error = ConfigError::new(&place, format!("`{given}` is not a value of {key}"));
                match nearest(given, valid) {
                    Some(name) => error.hint(format!("the nearest valid value is `{name}`")),
                    None => error.hint(format!("valid values are {}", listed(valid))),
                }
            }
            (["missing", "field"], [missing, ..]) => {
                let table = self.value(&span).map_or(String::new(), |table| format!("{}.", table.key));
                ConfigError::new(&place, format!("`{table}{missing}` is missing"))
            }
            (["invalid", "type:" | "value:"], _) => self.wrong_type(&span, message),
            // A value of a few: the reader takes a text, or a table in its place.
            (["wanted", "string"] | ["expected", "empty"], _) => self.wrong_type(&span, "expected a string"),
            _ => ConfigError::new(&place, message),
        }
    }

    fn wrong_type(&self, span: &Range<usize>, message: &str) -> ConfigError {
        let place = self.place(span);
        let Some(value) = self.value(span) else {
            return ConfigError::new(&place, "this value has a wrong type");
        };
        let expected = message.rsplit_once("expected ").map_or("", |(_, expected)| expected);
        let expected = match expected {
            "a boolean" => "true or false".to_owned(),
            "a sequence" => "a list".to_owned(),
            table if table.starts_with("struct ") => "a table".to_owned(),
            text if text.contains("string") => "text".to_owned(),
            other => other.to_owned(),
        };
        self.must_be(value, &expected)
    }

    /// Says that a value should be something else.
    #[must_use]
    pub fn must_be(&self, value: &Value, expected: &str) -> ConfigError {
        let what = format!("`{}` must be {expected}, and this is {}", value.key, value.kind);
        let error = ConfigError::new(&self.place(&value.span), what);
        if expected == "a list" && value.kind == Kind::Text {
            error.hint("put it in brackets, also a single one: `[\"…\"]`")
        } else {
            error
        }
    }

    /// The dotted name, with a dot at its end, of the table that the key at `span` stands in.
    fn section(&self, span: &Range<usize>) -> &str {
        let key = self.values.iter().find(|value| value.key_span == *span);
        let key = key.map_or("", |value| value.key.as_str());
        key.rfind('.').map_or("", |dot| &key[..=dot])
    }
}

/// The valid name that was probably meant.
#[must_use]
pub fn nearest<'a>(given: &str, valid: &[&'a str]) -> Option<&'a str> {
    // A name cut short is far from the whole one, and near to some short name that has nothing to do with it.
    let mut begun = valid.iter().filter(|name| !given.is_empty() && name.starts_with(given));
    if let (Some(name), None) = (begun.next(), begun.next()) {
        return Some(name);
    }
    let distance = |name: &&str| strsim::damerau_levenshtein(given, name);
    let best = valid.iter().min_by_key(|name| distance(name))?;
    (distance(best) <= 1 + given.len() / 3).then_some(best)
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A text as a TOML string; what JSON escapes, TOML reads.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
