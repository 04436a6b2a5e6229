//! Who wrote a message. Edges and processors share keys; whatever goes through the broker and is believed carries a MAC under
//! one of them (HMAC-SHA-256), so that the right to publish forges nothing. Pure.
//!
//! The MAC covers everything that the receiver goes by, each part under its length, in a domain of its own: what kind of
//! message it is, the line, the edge, the partition, the span, and the body, which holds where its signals come from.
//! The first key signs and all of them verify, so a key is replaced without a pause.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use faster_hex::{hex_decode, hex_string};

use super::message::Origin;
use crate::signal::{Illegal, Name};

/// What a message says, as far as it is believed.
#[derive(Clone, Copy, Debug)]
pub enum Statement<'a> {
    Signals(&'a Origin, &'a [u8]),
    /// A nudge into the queue of this partition.
    Nudge(u16),
}

/// Why nobody vouches for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// It names no key, or has no MAC.
    Unsigned,
    UnknownKey,
    WrongMac,
}

/// The keys of one line. Prints none of them.
#[derive(Clone)]
pub struct Keys {
    /// The queue's name: a message of one line is none of another's, should they share a key.
    line: Box<str>,
    first: Key,
    others: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    name: Name,
    mac: hmac::Key,
}

impl Key {
    fn new((name, secret): (Name, &[u8])) -> Self {
        Self { name, mac: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.all().map(|key| &*key.name).collect();
        f.debug_struct("Keys").field("line", &self.line).field("keys", &names).finish_non_exhaustive()
    }
}

/// Bytes of a MAC; in a header it is hex.
const MAC_BYTES: usize = 32;

impl Keys {
    /// `first` signs; it and `others` verify.
    #[must_use]
    pub fn new<'a>(
        line: &str,
        first: (Name, &'a [u8]),
        others: impl IntoIterator<Item = (Name, &'a [u8])>,
    ) -> Self {
        let others = others.into_iter().map(Key::new).collect();
        Self { line: line.into(), first: Key::new(first), others }
    }

    /// For development: the key `dev`, derived from a secret that both sides have.
    ///
    /// # Errors
    /// None that can be: `dev` is a name.
    pub fn derived(line: &str, secret: &[u8]) -> Result<Self, Illegal> {
        let derived =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"gemba message key for development");
        Ok(Self::new(line, (Name::read("key", "dev")?, derived.as_ref()), []))
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The name of the key, and the MAC in hex.
    #[must_use]
    pub fn sign(&self, statement: Statement<'_>) -> (&str, String) {
        let tag = self.context(&self.first, statement).sign();
        (&self.first.name, hex_string(tag.as_ref()))
    }

    /// Whether one who has a key said this. Key and MAC are as the message names them.
    ///
    /// # Errors
    /// [`Unproven`].
    pub fn verify(
        &self,
        statement: Statement<'_>,
        key: Option<&[u8]>,
        mac: Option<&[u8]>,
    ) -> Result<(), Unproven> {
        let (Some(name), Some(mac)) = (key, mac) else { return Err(Unproven::Unsigned) };
        let key = self.all().find(|key| key.name.as_bytes() == name).ok_or(Unproven::UnknownKey)?;
        let mut said = [0; MAC_BYTES];
        let is_hex = mac.len() == 2 * MAC_BYTES && hex_decode(mac, &mut said).is_ok();
        let tag = self.context(key, statement).sign();
        let is_same = verify_slices_are_equal(tag.as_ref(), &said).is_ok();
        if is_hex && is_same { Ok(()) } else { Err(Unproven::WrongMac) }
    }

    fn context(&self, key: &Key, statement: Statement<'_>) -> hmac::Context {
        let mut context = hmac::Context::with_key(&key.mac);
        let mut part = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        match statement {
            Statement::Signals(Origin { edge, partition, span }, body) => {
                part(b"gemba message 1");
                part(self.line.as_bytes());
                part(edge.as_bytes());
                part(&partition.to_le_bytes());
                part(&span.after.0.to_le_bytes());
                part(&span.through.0.to_le_bytes());
                part(body);
            }
            Statement::Nudge(partition) => {
                part(b"gemba nudge 1");
                part(self.line.as_bytes());
                part(&partition.to_le_bytes());
            }
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EdgeName, Seq};
    use crate::kanban::broker::message::Span;

    fn name(text: &str) -> Name {
        Name::read("key", text).unwrap()
    }

    fn keys(line: &str, secrets: &[(&str, &[u8])]) -> Keys {
        let mut keys = secrets.iter().map(|(id, secret)| (name(id), *secret));
        Keys::new(line, keys.next().unwrap(), keys)
    }

    fn origin() -> Origin {
        let edge = EdgeName::read("edge-1.0123456789abcdef").unwrap();
        Origin { edge, partition: 2, span: Span { after: Seq(3), through: Seq(4) } }
    }

    #[test]
    fn the_mac_is_the_one_that_others_compute() {
        // By Python's hmac, over the parts under their lengths.
        let keys = keys("tai2030.signals", &[("k1", b"0123456789abcdef01234567")]);
        let (key, mac) = keys.sign(Statement::Signals(&origin(), b"body"));
        assert_eq!(
            (key, mac.as_str()),
            ("k1", "f3f9d6c5b69207c7b1e73b8d7e2469c44873ca6ee4230b3e40de2221ca159c1c")
        );
    }

    #[test]
    fn a_key_is_replaced_without_a_pause_and_an_unknown_one_is_told() {
        let (old, new): (&[u8], &[u8]) = (b"the old key of 24 bytes.", b"the new key of 24 bytes.");
        let before = keys("q", &[("old", old)]);
        let between = [keys("q", &[("old", old), ("new", new)]), keys("q", &[("new", new), ("old", old)])];
        let after = keys("q", &[("new", new)]);
        let (origin, body) = (origin(), b"body");
        let said = Statement::Signals(&origin, body);
        let verified = |by: &Keys, of: &Keys| {
            let (key, mac) = of.sign(said);
            by.verify(said, Some(key.as_bytes()), Some(mac.as_bytes()))
        };
        for keys in &between {
            assert_eq!((verified(keys, &before), verified(keys, &after)), (Ok(()), Ok(())));
        }
        assert_eq!(verified(&before, &between[0]), Ok(()));
        assert_eq!(verified(&after, &between[1]), Ok(()));
        assert_eq!(verified(&after, &before), Err(Unproven::UnknownKey));
        // The same name with another secret.
        assert_eq!(verified(&keys("q", &[("old", new)]), &before), Err(Unproven::WrongMac));
        assert!(!format!("{before:?}").contains("the old key"));
    }

    #[test]
    fn whatever_is_believed_is_covered() {
        let keys = keys("q", &[("k1", b"0123456789abcdef01234567")]);
        let (origin, body) = (origin(), b"body".as_slice());
        let (key, mac) = keys.sign(Statement::Signals(&origin, body));
        let holds = |keys: &Keys, statement: Statement<'_>, key: Option<&str>, mac: Option<&str>| {
            keys.verify(statement, key.map(str::as_bytes), mac.map(str::as_bytes))
        };
        let signals = Statement::Signals(&origin, body);
        assert_eq!(holds(&keys, signals, Some(key), Some(&mac)), Ok(()));
        let edge = EdgeName::read("edge-2.0123456789abcdef").unwrap();
        let span = |after, through| Span { after: Seq(after), through: Seq(through) };
        let others = [
            Origin { edge, ..origin.clone() },
            Origin { partition: 3, ..origin.clone() },
            Origin { span: span(2, 4), ..origin.clone() },
            Origin { span: span(3, 5), ..origin.clone() },
        ];
        for other in &others {
            let wrong = holds(&keys, Statement::Signals(other, body), Some(key), Some(&mac));
            assert_eq!(wrong, Err(Unproven::WrongMac), "{other:?}");
        }
        for other in [b"bodx".as_slice(), b"body\0", b"bod", b""] {
            let wrong = holds(&keys, Statement::Signals(&origin, other), Some(key), Some(&mac));
            assert_eq!(wrong, Err(Unproven::WrongMac), "{other:?}");
        }
        let line = self::keys("r", &[("k1", b"0123456789abcdef01234567")]);
        assert_eq!(holds(&line, signals, Some(key), Some(&mac)), Err(Unproven::WrongMac));
        assert_eq!(holds(&keys, Statement::Nudge(2), Some(key), Some(&mac)), Err(Unproven::WrongMac));
        for (key, mac) in [(None, Some(mac.as_str())), (Some(key), None), (None, None)] {
            assert_eq!(holds(&keys, signals, key, mac), Err(Unproven::Unsigned));
        }
        for wrong in ["", "00", &mac[1..], &mac.replace(&mac[..1], "x"), &format!("{mac}00")] {
            assert_eq!(holds(&keys, signals, Some(key), Some(wrong)), Err(Unproven::WrongMac), "{wrong}");
        }
        assert_eq!(holds(&keys, signals, Some("k2"), Some(&mac)), Err(Unproven::UnknownKey));
    }
}
