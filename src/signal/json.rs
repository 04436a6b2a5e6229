//! Strict JSON: what serde_json accepts, less twin keys, deep nesting and endless objects. A sender and a later
//! reader that disagree on which twin counts would disagree on what was signed (CVE-2017-12635 and its kin).

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::limits::{JSON_DEPTH_MAX, JSON_KEYS_MAX, JSON_NODES_MAX};

/// What one signal may still use up.
#[derive(Debug)]
pub struct Allowance {
    nodes: Cell<usize>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { nodes: Cell::new(JSON_NODES_MAX) }
    }
}

impl Allowance {
    pub fn spend<E: de::Error>(&self) -> Result<(), E> {
        match self.nodes.get().checked_sub(1) {
            Some(left) => {
                self.nodes.set(left);
                Ok(())
            }
            None => Err(E::custom(format_args!("more than {JSON_NODES_MAX} values"))),
        }
    }
}

/// Keys of one object, to find a twin. Most objects are small: no allocation up to [`Keys::INLINE`].
#[derive(Debug, Default)]
pub struct Keys {
    inline: [u64; Self::INLINE],
    count: usize,
    more: Option<hashbrown::HashSet<u64>>,
}

impl Keys {
    const INLINE: usize = 16;

    pub fn note<E: de::Error>(&mut self, key: &str) -> Result<(), E> {
        let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
        let inline = &self.inline[..self.count.min(Self::INLINE)];
        let mut twin = inline.contains(&hash);
        if let Some(slot) = self.inline.get_mut(self.count) {
            *slot = hash;
        } else {
            twin |= !self.more.get_or_insert_default().insert(hash);
        }
        self.count += 1;
        if twin {
            return Err(E::custom(format_args!("the key `{}` stands twice", key.escape_debug())));
        }
        if self.count > JSON_KEYS_MAX {
            return Err(E::custom(format_args!("more than {JSON_KEYS_MAX} keys in one object")));
        }
        Ok(())
    }
}

/// Reads any value and keeps nothing of it.
#[derive(Clone, Copy, Debug)]
pub struct Strict<'a> {
    pub allowance: &'a Allowance,
    pub depth: usize,
}

/// Whether these bytes are one JSON value by the rules of a signal.
#[must_use]
pub fn is_strict(bytes: &[u8]) -> bool {
    // A slice would be read as text only where it is a string, and invalid UTF-8 may stand elsewhere.
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let allowance = Allowance::default();
    let read = Strict { allowance: &allowance, depth: 0 }.deserialize(&mut deserializer);
    read.and_then(|()| deserializer.end()).is_ok()
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.allowance.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl Strict<'_> {
    /// One level further in.
    pub fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= JSON_DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut keys = Keys::default();
        while entries.next_key_seed(Key(&mut keys))?.is_some() {
            entries.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// Notes a key where it stands.
struct Key<'a>(&'a mut Keys);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: de::Error>(self, key: &str) -> Result<(), E> {
        self.0.note(key)
    }
}
