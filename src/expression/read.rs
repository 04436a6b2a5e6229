//! One pass over a signal's body that finds the fields which a set of expressions asks for.

use super::fault::Fault;
use super::kinds::Type;
use super::scan::{Broken, after_key, blank, key_end, key_is, skip};
use super::slot::{Slot, Source};
use super::value::{Json, Map, Value, value};
use crate::rfc3339;

/// What each slot holds for one signal.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    facts: Vec<Fact<'a>>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Fact<'a> {
    #[default]
    Missing,
    /// It is there and does not read as its type.
    Unfit,
    Value(Value<'a>),
}

impl<'a> Facts<'a> {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn set(&mut self, slot: Slot, value: Value<'a>) {
        *self.place(slot) = Fact::Value(value);
    }

    /// The same memory for another signal, all slots empty.
    pub fn recycle<'b>(self) -> Facts<'b> {
        Facts { facts: self.facts.into_iter().map(|_| Fact::Missing).collect() }
    }

    /// What a slot holds; `None` where nothing does, or nothing of its type.
    pub fn value(&self, slot: Slot) -> Option<&Value<'a>> {
        match self.get(slot) {
            Fact::Value(value) => Some(value),
            Fact::Missing | Fact::Unfit => None,
        }
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> &Fact<'a> {
        self.facts.get(slot.index()).unwrap_or(&Fact::Missing)
    }

    #[inline]
    fn place(&mut self, slot: Slot) -> &mut Fact<'a> {
        if slot.index() >= self.facts.len() {
            self.facts.resize_with(slot.index() + 1, Fact::default);
        }
        &mut self.facts[slot.index()]
    }
}

/// What the body of a signal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The signal with all its fields, the document one of them.
    Signal,
    /// The document itself; the fields beside it are not in the body.
    Document,
}

/// The paths that a set of expressions asks for, as a tree.
#[derive(Clone, Debug)]
pub struct Reader {
    knots: Vec<Knot>,
    /// The knot of the document, if anything in it is asked for.
    document: Option<usize>,
    slots: Vec<Slot>,
    /// Slots that are in the document.
    in_document: usize,
}

#[derive(Clone, Debug, Default)]
struct Knot {
    takes: Vec<(Slot, Type)>,
    children: Vec<(Box<str>, usize)>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { knots: vec![Knot::default()], document: None, slots: Vec::new(), in_document: 0 }
    }
}

impl Reader {
    pub(super) fn add(&mut self, slot: Slot, source: &Source) {
        if self.slots.contains(&slot) {
            return;
        }
        let (knot, of) = match source {
            Source::Given => return,
            Source::Field(field, of) => (self.child(0, field), *of),
            Source::Path { field, keys } => {
                let document = self.child(0, field);
                self.document = Some(document);
                self.in_document += 1;
                (keys.iter().fold(document, |knot, key| self.child(knot, key)), Type::Json)
            }
        };
        self.knots[knot].takes.push((slot, of));
        self.slots.push(slot);
    }

    fn child(&mut self, knot: usize, key: &str) -> usize {
        if let Some((_, child)) = self.knots[knot].children.iter().find(|(each, _)| **each == *key) {
            return *child;
        }
        let child = self.knots.len();
        self.knots.push(Knot::default());
        self.knots[knot].children.push((key.into(), child));
        child
    }

    /// Sets those slots of this reader for which something stands in the body; the others stay empty, as the caller gives
    /// them. A signal without the document is one whose document is empty, so that `has` can be asked of its fields.
    pub fn read<'a>(&self, body: &'a [u8], is: Body, facts: &mut Facts<'a>) -> Result<(), Fault> {
        for (slot, _) in self.document.iter().flat_map(|document| &self.knots[*document].takes) {
            facts.set(*slot, Value::Map(Map::Lent(&[])));
        }
        let (knot, left) = match is {
            Body::Signal => (Some(0), self.slots.len()),
            Body::Document => (self.document, self.in_document),
        };
        if let Some(knot) = knot
            && left > 0
        {
            let mut pass = Pass { reader: self, bytes: body, facts, left };
            pass.take(&self.knots[knot], blank(body, 0)).map_err(|Broken| Fault::Body)?;
        }
        Ok(())
    }
}

struct Pass<'r, 'f, 'a> {
    reader: &'r Reader,
    bytes: &'a [u8],
    facts: &'f mut Facts<'a>,
    /// Slots not yet found: at none the rest of the body is of no interest.
    left: usize,
}

impl<'a> Pass<'_, '_, 'a> {
    /// Takes what the knot asks for from the value that begins here. Returns its end, or any place once all is found.
    fn take(&mut self, knot: &Knot, begin: usize) -> Result<usize, Broken> {
        if knot.children.is_empty() || self.bytes.get(begin) != Some(&b'{') {
            let (value, end) = value(self.bytes, begin)?;
            self.keep(knot, value);
            return Ok(end);
        }
        let mut at = begin;
        let mut open = b'{';
        loop {
            at = blank(self.bytes, at);
            match self.bytes.get(at) {
                Some(b'}') if open == b',' => break,
                Some(byte) if *byte == open => at = blank(self.bytes, at + 1),
                _ => return Err(Broken),
            }
            if open == b'{' && self.bytes.get(at) == Some(&b'}') {
                break;
            }
            open = b',';
            let key = at;
            let (end, escaped) = key_end(self.bytes, key)?;
            at = after_key(self.bytes, end)?;
            let asked = |name: &str| key_is(self.bytes, key, end, escaped, name);
            match knot.children.iter().find(|(name, _)| asked(name)) {
                Some((_, child)) => at = self.take(&self.reader.knots[*child], at)?,
                None => at = skip(self.bytes, at)?,
            }
            if self.left == 0 {
                return Ok(at);
            }
        }
        if !knot.takes.is_empty() {
            self.keep(knot, Value::Map(Map::Json(Json::of(&self.bytes[begin..=at]))));
        }
        Ok(at + 1)
    }

    fn keep(&mut self, knot: &Knot, value: Value<'a>) {
        let Some(((last, of), others)) = knot.takes.split_last() else { return };
        for (slot, of) in others {
            *self.facts.place(*slot) = fit(value.clone(), *of);
        }
        *self.facts.place(*last) = fit(value, *of);
        self.left = self.left.saturating_sub(knot.takes.len());
    }
}

/// The value as its type. A field that has one is an attribute, and is not set where it is `null`.
#[inline]
fn fit(value: Value<'_>, of: Type) -> Fact<'_> {
    match (of, value) {
        (Type::Json | Type::Dyn, value) => Fact::Value(value),
        (_, Value::Null) => Fact::Missing,
        (Type::Timestamp, Value::Text(text)) => {
            rfc3339::parse(&text).map_or(Fact::Unfit, |time| Fact::Value(Value::Timestamp(time)))
        }
        (of, value) if value.of() == of => Fact::Value(value),
        _ => Fact::Unfit,
    }
}
