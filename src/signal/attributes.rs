//! The attributes of a CloudEvent that the line needs, as they stand in its JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::json::{Allowance, Keys, Strict};
use super::unfit::Reason;
use crate::limits::{SEQUENCE_DIGITS_MAX, SEQUENCE_MAX};

/// Attributes as the sender wrote them; not yet checked against the rules. One that is `null` is not set (CloudEvents
/// JSON format, 2.2).
#[derive(Debug, Default)]
pub struct Attributes<'a> {
    pub id: Option<Cow<'a, str>>,
    pub tenant: Option<Cow<'a, str>>,
    pub sku: Option<Cow<'a, str>>,
    pub kind: Option<Cow<'a, str>>,
    pub time: Option<Cow<'a, str>>,
    pub severity: Option<Cow<'a, str>>,
    pub specversion: Option<Cow<'a, str>>,
    /// The sender's own number of the signal: a whole number, or digits.
    pub sequence: Option<u64>,
    /// The first value of another type than it must have. What stands behind it was read all the same.
    pub wrong: Option<Reason>,
}

impl<'a> Attributes<'a> {
    /// Where an attribute of this name goes; `None` for those that the line does not read.
    pub fn slot(&mut self, name: &str) -> Option<(&'static str, &mut Option<Cow<'a, str>>)> {
        Some(match name {
            "id" => ("id", &mut self.id),
            "tenant" => ("tenant", &mut self.tenant),
            "sku" => ("sku", &mut self.sku),
            "type" => ("type", &mut self.kind),
            "time" => ("time", &mut self.time),
            "severity" => ("severity", &mut self.severity),
            "specversion" => ("specversion", &mut self.specversion),
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Attributes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let allowance = Allowance::default();
        let read = deserializer.deserialize_any(Signal(Strict { allowance: &allowance, depth: 0 }))?;
        Ok(read.unwrap_or_else(|found| Self { wrong: Some(Reason::Object(found)), ..Self::default() }))
    }
}

/// What a JSON value is.
mod is {
    pub const NULL: &str = "null";
    pub const BOOLEAN: &str = "a boolean";
    pub const NUMBER: &str = "a number";
    pub const STRING: &str = "a string";
    pub const ARRAY: &str = "an array";
    pub const OBJECT: &str = "an object";
}

/// Reads a signal, or says what stands in its place.
struct Signal<'s>(Strict<'s>);

impl<'de> Visitor<'de> for Signal<'_> {
    type Value = Result<Attributes<'de>, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signal, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let inner = self.0.deeper()?;
        let mut keys = Keys::default();
        let mut attributes = Attributes::default();
        while let Some(Str(key)) = entries.next_key()? {
            keys.note(&key)?;
            let Some((name, slot)) = attributes.slot(&key) else {
                if key == SEQUENCE {
                    attributes.sequence = entries.next_value_seed(Sequence(inner))?;
                } else {
                    entries.next_value_seed(inner)?;
                }
                continue;
            };
            match entries.next_value_seed(Attribute(inner))? {
                Ok(value) => *slot = value,
                Err(found) => _ = attributes.wrong.get_or_insert(Reason::Type(name, found)),
            }
        }
        Ok(Ok(attributes))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err(is::NULL))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err(is::BOOLEAN))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err(is::NUMBER))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err(is::NUMBER))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err(is::NUMBER))
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err(is::STRING))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.0.visit_seq(items).map(|()| Err(is::ARRAY))
    }
}

/// Reads the value of an attribute: a string, borrowed where it has no escapes, `null`, or what else it is.
struct Attribute<'s>(Strict<'s>);

impl<'de> DeserializeSeed<'de> for Attribute<'_> {
    type Value = Result<Option<Cow<'de, str>>, &'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.allowance.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Attribute<'_> {
    type Value = Result<Option<Cow<'de, str>>, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Ok(Some(Cow::Borrowed(text))))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok(Some(Cow::Owned(text.to_owned()))))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(None))
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err(is::BOOLEAN))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err(is::NUMBER))
    }
    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err(is::NUMBER))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err(is::NUMBER))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.0.visit_seq(items).map(|()| Err(is::ARRAY))
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(entries).map(|()| Err(is::OBJECT))
    }
}

/// The extension by which a sender numbers its signals (CloudEvents, `sequence`).
const SEQUENCE: &str = "sequence";

/// Reads the number of a signal; any other value is read over, as that of any other extension.
struct Sequence<'s>(Strict<'s>);

impl<'de> DeserializeSeed<'de> for Sequence<'_> {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.allowance.spend()?;
        deserializer.deserialize_any(self)
    }
}

/// Digits, leading zeros among them: senders write them so that texts are in the order of the numbers.
fn digits(text: &str) -> Option<u64> {
    let fits =
        (1..=SEQUENCE_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten().filter(|number| *number <= SEQUENCE_MAX)
}

impl<'de> Visitor<'de> for Sequence<'_> {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(digits(text))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number).filter(|number| *number <= SEQUENCE_MAX))
    }
    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        self.0.visit_seq(items).map(|()| None)
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(entries).map(|()| None)
    }
}

/// A key, borrowed where it has no escapes.
struct Str<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Str<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
