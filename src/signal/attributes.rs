//! The attributes of a CloudEvent that the line needs, as they stand in its JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::json::{Allowance, Keys, Strict};

/// Attributes as the sender wrote them; not yet checked against the rules.
#[derive(Debug, Default)]
pub struct Attributes<'a> {
    pub id: Option<Cow<'a, str>>,
    pub tenant: Option<Cow<'a, str>>,
    pub sku: Option<Cow<'a, str>>,
    pub kind: Option<Cow<'a, str>>,
    pub time: Option<Cow<'a, str>>,
    pub severity: Option<Cow<'a, str>>,
    pub specversion: Option<Cow<'a, str>>,
}

impl<'a> Attributes<'a> {
    /// Where an attribute of this name goes; `None` for those that the line does not read.
    pub fn slot(&mut self, name: &str) -> Option<&mut Option<Cow<'a, str>>> {
        Some(match name {
            "id" => &mut self.id,
            "tenant" => &mut self.tenant,
            "sku" => &mut self.sku,
            "type" => &mut self.kind,
            "time" => &mut self.time,
            "severity" => &mut self.severity,
            "specversion" => &mut self.specversion,
            _ => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Attributes<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Signal)
    }
}

struct Signal;

impl<'de> Visitor<'de> for Signal {
    type Value = Attributes<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signal, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let allowance = Allowance::default();
        let inner = Strict { allowance: &allowance, depth: 1 };
        let mut keys = Keys::default();
        let mut attributes = Attributes::default();
        while let Some(Str(key)) = entries.next_key()? {
            keys.note(&key)?;
            match attributes.slot(&key) {
                Some(slot) => {
                    allowance.spend()?;
                    let Str(value) = entries.next_value().map_err(|error| in_attribute(&key, &error))?;
                    *slot = Some(value);
                }
                None => entries.next_value_seed(inner)?,
            }
        }
        Ok(attributes)
    }
}

fn in_attribute<E: de::Error>(name: &str, error: &E) -> E {
    E::custom(format_args!("`{name}`: {error}"))
}

/// A string, borrowed where it has no escapes.
struct Str<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Str<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
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
