//! A JSON value with all its keys, twins included, as serde_json reads it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The limits of a signal, said a second time.
const DEPTH_MAX: usize = 32;
const VALUES_MAX: usize = 10_000;
const KEYS_MAX: usize = 1_000;
const TEXTS: [&str; 7] = ["id", "tenant", "sku", "type", "time", "severity", "specversion"];

pub enum Json {
    Null,
    Text,
    Other,
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

impl Json {
    /// Within the limits, and without twin keys.
    pub fn is_strict(&self) -> bool {
        self.depth() <= DEPTH_MAX && self.values() - 1 <= VALUES_MAX && self.has_plain_keys()
    }

    /// Whether this is a JSON object that a signal may be, its names aside: its attributes are strings, or not set.
    pub fn is_strict_object(&self) -> bool {
        let Self::Map(entries) = self else { return false };
        let mut texts = entries.iter().filter(|(key, _)| TEXTS.contains(&key.as_str()));
        texts.all(|(_, value)| matches!(value, Self::Text | Self::Null)) && self.is_strict()
    }

    fn inner(&self) -> Box<dyn Iterator<Item = &Json> + '_> {
        match self {
            Self::Null | Self::Text | Self::Other => Box::new(std::iter::empty()),
            Self::List(items) => Box::new(items.iter()),
            Self::Map(entries) => Box::new(entries.iter().map(|(_, value)| value)),
        }
    }

    fn depth(&self) -> usize {
        let own = usize::from(matches!(self, Self::List(_) | Self::Map(_)));
        own + self.inner().map(Self::depth).max().unwrap_or(0)
    }

    fn values(&self) -> usize {
        1 + self.inner().map(Self::values).sum::<usize>()
    }

    fn has_plain_keys(&self) -> bool {
        let plain = match self {
            Self::Map(entries) => {
                let mut keys: Vec<&String> = entries.iter().map(|(key, _)| key).collect();
                keys.sort();
                keys.windows(2).all(|pair| pair[0] != pair[1]) && keys.len() <= KEYS_MAX
            }
            _ => true,
        };
        plain && self.inner().all(Self::has_plain_keys)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }
    fn visit_str<E>(self, _: &str) -> Result<Json, E> {
        Ok(Json::Text)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Json::Map(map))
    }
}
