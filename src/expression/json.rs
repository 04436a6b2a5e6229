//! Values as JSON, for what is sent to others.

use std::borrow::Cow;
use std::fmt;

use super::fault::Trip;
use super::time::{duration_text, timestamp_text};
use super::value::{DEPTH_MAX, Json, Key, List, Map, Meter, Value, whole};

/// Why a value cannot be written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJson {
    /// It takes more bytes than it may.
    TooLong,
    /// JSON has neither infinity nor what is not a number.
    NotANumber,
    /// Two keys of a map are the same text.
    TwinKey,
    /// Nested deeper than any text of an expression is.
    TooDeep,
    /// What it was made of is not the JSON it was taken for.
    Body,
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "it is too long",
            Self::NotANumber => "JSON has no such number",
            Self::TwinKey => "a map has one key twice",
            Self::TooDeep => "it is nested too deep",
            Self::Body => "the body is not the JSON it should be",
        })
    }
}

impl std::error::Error for NotJson {}

impl Value<'_> {
    /// As JSON of at most `bytes_max`. Lists and objects of the signal's body stand in it as they were signed; whole numbers
    /// have no fraction, timestamps and durations are texts as `string` makes them, and so are the keys of a map.
    ///
    /// # Errors
    /// [`NotJson`]. A body that is not strict JSON may give what is none: the caller has looked at it.
    pub fn to_json(&self, bytes_max: usize) -> Result<Vec<u8>, NotJson> {
        let mut writer = Writer { text: Vec::new(), bytes_max };
        writer.value(self, 0)?;
        Ok(writer.text)
    }
}

struct Writer {
    text: Vec<u8>,
    bytes_max: usize,
}

/// The output is bounded, and what is read for it is written.
struct Free;

impl Meter for Free {
    fn charge(&mut self, _: usize) -> Result<(), Trip> {
        Ok(())
    }
}

/// From here on not every whole number is a double of its own, and a fraction says that.
const WHOLE_MAX: i64 = 1 << 53;

impl Writer {
    fn value(&mut self, value: &Value<'_>, depth: usize) -> Result<(), NotJson> {
        if depth > DEPTH_MAX {
            return Err(NotJson::TooDeep);
        }
        match value {
            Value::Null => self.raw(b"null"),
            Value::Bool(true) => self.raw(b"true"),
            Value::Bool(false) => self.raw(b"false"),
            Value::Int(int) => self.raw(int.to_string().as_bytes()),
            Value::Double(double) => self.double(*double),
            Value::Text(text) => self.string(text),
            Value::Timestamp(time) => self.string(&timestamp_text(*time)),
            Value::Duration(duration) => self.string(&duration_text(*duration)),
            Value::List(List::Json(json)) | Value::Map(Map::Json(json)) => self.json(*json),
            Value::List(list) => self.list(list, depth),
            Value::Map(Map::Lent(entries)) => self.map(entries, depth),
            Value::Map(Map::Owned(entries)) => self.map(entries, depth),
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), NotJson> {
        if bytes.len() > self.bytes_max - self.text.len() {
            return Err(NotJson::TooLong);
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn json(&mut self, json: Json<'_>) -> Result<(), NotJson> {
        let text = json.text();
        if text.is_empty() { Err(NotJson::Body) } else { self.raw(text.as_bytes()) }
    }

    fn double(&mut self, double: f64) -> Result<(), NotJson> {
        if !double.is_finite() {
            return Err(NotJson::NotANumber);
        }
        match whole(double).filter(|whole| (-WHOLE_MAX..=WHOLE_MAX).contains(whole)) {
            Some(whole) => self.raw(whole.to_string().as_bytes()),
            None => self.raw(serde_json::Value::from(double).to_string().as_bytes()),
        }
    }

    fn string(&mut self, text: &str) -> Result<(), NotJson> {
        // Before it is written: an escape makes it longer, never shorter.
        if text.len() > self.bytes_max - self.text.len() {
            return Err(NotJson::TooLong);
        }
        let written = serde_json::to_vec(text).map_err(|_| NotJson::Body)?;
        self.raw(&written)
    }

    fn list(&mut self, list: &List<'_>, depth: usize) -> Result<(), NotJson> {
        self.raw(b"[")?;
        let mut each = list.lend().each();
        let mut first = true;
        while let Some(item) = each.next(&mut Free).map_err(|_| NotJson::Body)? {
            self.raw(if first { b"" } else { b"," })?;
            self.value(&item, depth + 1)?;
            first = false;
        }
        self.raw(b"]")
    }

    fn map(&mut self, entries: &[(Key<'_>, Value<'_>)], depth: usize) -> Result<(), NotJson> {
        self.raw(b"{")?;
        for (number, (key, value)) in entries.iter().enumerate() {
            let key = key_text(key);
            if entries[..number].iter().any(|(other, _)| key_text(other) == key) {
                return Err(NotJson::TwinKey);
            }
            self.raw(if number == 0 { b"" } else { b"," })?;
            self.string(&key)?;
            self.raw(b":")?;
            self.value(value, depth + 1)?;
        }
        self.raw(b"}")
    }
}

fn key_text<'a>(key: &'a Key<'_>) -> Cow<'a, str> {
    match key {
        Key::Bool(bool) => Cow::Owned(bool.to_string()),
        Key::Int(int) => Cow::Owned(int.to_string()),
        Key::Text(text) => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Expression, Facts, Names, Steps, Type};
    use super::*;

    /// What an expression over `signal.data` gives for this body.
    fn json(expression: &str, body: &str, bytes_max: usize) -> Result<String, NotJson> {
        let mut names = Names::new();
        names.document("signal.data");
        let expression = Expression::compile(expression, &mut names, Type::Dyn).unwrap();
        let mut facts = Facts::new();
        names
            .reader(expression.slots().iter().copied())
            .read(body.as_bytes(), Body::Signal, &mut facts)
            .unwrap();
        let value = expression.run(&facts, &mut Steps::default()).unwrap();
        value.to_json(bytes_max).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn every_kind_of_value_is_written_as_json_has_it() {
        let body = r#"{"data":{"o":{"b" : 1.50, "a":[ ]},"l":[1e2, "x"],"t":"a\"\u0007ü","n":-0.0,"w":3.0,"f":0.1}}"#;
        let table = [
            ("null", "null"),
            ("[true, false]", "[true,false]"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9007199254740993", "-9007199254740993"),
            ("2.5", "2.5"),
            ("1e300", "1e+300"),
            ("9007199254740994.0", "9007199254740994.0"),
            ("signal.data.n", "0"),
            ("signal.data.w", "3"),
            ("signal.data.f", "0.1"),
            ("signal.data.t", r#""a\"\u0007ü""#),
            ("signal.data.o", r#"{"b" : 1.50, "a":[ ]}"#),
            ("signal.data.l", r#"[1e2, "x"]"#),
            ("signal.data.l.map(x, x)", r#"[100,"x"]"#),
            ("timestamp('2026-11-26T02:02:03.5+01:00')", r#""2026-11-26T01:02:03.5Z""#),
            ("duration('90m')", r#""5400s""#),
            (
                "{'a': [1, {'b': signal.data.o}], 2: null, true: 'x'}",
                r#"{"a":[1,{"b":{"b" : 1.50, "a":[ ]}}],"2":null,"true":"x"}"#,
            ),
            ("[]", "[]"),
            ("[1] + signal.data.l", r#"[1,100,"x"]"#),
            ("{}", "{}"),
        ];
        for (expression, expected) in table {
            let written = json(expression, body, 1024).unwrap();
            assert_eq!(written, expected, "{expression}");
            assert!(is_json(&written), "{written}");
            // To the byte.
            assert_eq!(json(expression, body, expected.len()).as_deref(), Ok(expected), "{expression}");
            assert_eq!(json(expression, body, expected.len() - 1), Err(NotJson::TooLong), "{expression}");
        }
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text).is_ok()
    }

    #[test]
    fn what_json_cannot_say_is_refused() {
        assert_eq!(json("{'1': 1, 1: 2}", "{}", 1024), Err(NotJson::TwinKey));
        let double = |double: f64| Value::Double(double).to_json(1024);
        for none in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(double(none), Err(NotJson::NotANumber));
        }
    }
}
