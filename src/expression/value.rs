//! Values: lent from the expression, the facts or the body wherever that is possible.

#![expect(clippy::wildcard_enum_match_arm, reason = "a value, node or type of every other kind does not fit")]

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, FixedOffset, TimeDelta};

use super::fault::Trip;
use super::kinds::Type;
use super::scan::{Broken, after_key, blank, key_end, key_is, number, skip, skip_nested, text};

/// One value, brackets included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    /// `bytes` is one object or list.
    #[inline]
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// As it is written in the body.
    pub fn text(&self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or_default()
    }
}

/// What a name has and an expression gives.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// In the years 1 to 9999; `getHours` and its kin go by the offset it was written with.
    Timestamp(DateTime<FixedOffset>),
    /// At most 10 000 years, of either sign.
    Duration(TimeDelta),
    List(List<'a>),
    Map(Map<'a>),
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    /// Part of the body, read when it is asked for.
    Json(Json<'a>),
    Lent(&'a [Value<'a>]),
    Owned(Arc<Vec<Value<'a>>>),
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    Json(Json<'a>),
    Lent(&'a [(Key<'a>, Value<'a>)]),
    Owned(Arc<Vec<(Key<'a>, Value<'a>)>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Text(Cow<'a, str>),
}

/// Nesting that is followed: JSON of 32 inside an expression of 64, with room.
pub(super) const DEPTH_MAX: usize = 128;
/// Bytes that are looked at for the price of one step.
pub(super) const STEP_BYTES: usize = 32;

impl From<Broken> for Trip {
    fn from(Broken: Broken) -> Self {
        Self::Body
    }
}

impl<'a> Value<'a> {
    pub fn of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Double(_) => Type::Double,
            Self::Text(_) => Type::String,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::List,
            Self::Map(_) => Type::Map,
        }
    }

    /// The same value, borrowed from this one.
    #[inline]
    pub(super) fn lend(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(bool) => Value::Bool(*bool),
            Self::Int(int) => Value::Int(*int),
            Self::Double(double) => Value::Double(*double),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Timestamp(time) => Value::Timestamp(*time),
            Self::Duration(duration) => Value::Duration(*duration),
            Self::List(List::Json(json)) => Value::List(List::Json(*json)),
            Self::List(List::Lent(items)) => Value::List(List::Lent(items)),
            Self::List(List::Owned(items)) => Value::List(List::Lent(items)),
            Self::Map(Map::Json(json)) => Value::Map(Map::Json(*json)),
            Self::Map(Map::Lent(entries)) => Value::Map(Map::Lent(entries)),
            Self::Map(Map::Owned(entries)) => Value::Map(Map::Lent(entries)),
        }
    }

    /// The same value for longer; only a text that an expression or an escape made is copied, and paid for.
    pub(super) fn copy(&self, meter: &mut impl Meter) -> Result<Self, Trip> {
        if let Self::Text(Cow::Owned(text)) = self {
            meter.charge_bytes(text.len())?;
        }
        Ok(self.clone())
    }

    /// As a map's key; `None` for what cannot be one.
    pub(super) fn into_key(self) -> Option<Key<'a>> {
        match self {
            Self::Bool(bool) => Some(Key::Bool(bool)),
            Self::Int(int) => Some(Key::Int(int)),
            Self::Text(text) => Some(Key::Text(text)),
            _ => None,
        }
    }

    /// The key that this value finds; a whole double finds the int. `None` where nothing can be looked up.
    pub(super) fn sought(&self) -> Option<Sought<'_>> {
        match self {
            Self::Bool(bool) => Some(Sought::Key(Key::Bool(*bool))),
            Self::Int(int) => Some(Sought::Key(Key::Int(*int))),
            Self::Text(text) => Some(Sought::Key(Key::Text(Cow::Borrowed(text)))),
            Self::Double(double) => {
                Some(whole(*double).map_or(Sought::Nothing, |int| Sought::Key(Key::Int(int))))
            }
            _ => None,
        }
    }
}

/// What a lookup is for.
#[derive(Debug)]
pub(super) enum Sought<'a> {
    Key(Key<'a>),
    /// No map has it.
    Nothing,
}

/// A double as an int, if nothing is lost; the lowest int is out, as in cel-go.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "the bounds are checked")]
pub(super) fn whole(double: f64) -> Option<i64> {
    if double > i64::MIN as f64 && double < i64::MAX as f64 {
        let int = double as i64;
        #[expect(clippy::float_cmp, reason = "exactness is the question")]
        (int as f64 == double).then_some(int)
    } else {
        None
    }
}

/// Counts what comparisons and lookups cost.
pub(super) trait Meter {
    fn charge(&mut self, steps: usize) -> Result<(), Trip>;

    fn charge_bytes(&mut self, bytes: usize) -> Result<(), Trip> {
        self.charge(bytes / STEP_BYTES)
    }
}

impl<'a> List<'a> {
    pub(super) fn count(&self, meter: &mut impl Meter) -> Result<usize, Trip> {
        match self {
            Self::Json(json) => {
                meter.charge_bytes(json.0.len())?;
                Ok(json.count()?)
            }
            Self::Lent(items) => Ok(items.len()),
            Self::Owned(items) => Ok(items.len()),
        }
    }

    pub(super) fn item(self, index: usize, meter: &mut impl Meter) -> Result<Option<Value<'a>>, Trip> {
        match self {
            Self::Json(json) => {
                meter.charge_bytes(json.0.len())?;
                Ok(json.item(index)?)
            }
            Self::Lent(items) => Ok(items.get(index).map(Value::lend)),
            Self::Owned(items) => items.get(index).map(|item| item.copy(meter)).transpose(),
        }
    }

    pub(super) fn each(self) -> Each<'a> {
        match self {
            Self::Json(json) => Each::Json(json.items()),
            Self::Lent(items) => Each::Lent(items.iter()),
            Self::Owned(items) => Each::Owned(items, 0),
        }
    }

    pub(super) fn lend(&self) -> List<'_> {
        match self {
            Self::Json(json) => List::Json(*json),
            Self::Lent(items) => List::Lent(items),
            Self::Owned(items) => List::Lent(items),
        }
    }
}

impl<'a> Map<'a> {
    pub(super) fn count(&self, meter: &mut impl Meter) -> Result<usize, Trip> {
        match self {
            Self::Json(json) => {
                meter.charge_bytes(json.0.len())?;
                Ok(json.count()?)
            }
            Self::Lent(entries) => Ok(entries.len()),
            Self::Owned(entries) => Ok(entries.len()),
        }
    }

    pub(super) fn find(self, key: &Key<'_>, meter: &mut impl Meter) -> Result<Option<Value<'a>>, Trip> {
        match self {
            Self::Json(json) => {
                meter.charge_bytes(json.0.len())?;
                match key {
                    Key::Text(key) => Ok(json.field(key)?),
                    Key::Bool(_) | Key::Int(_) => Ok(None),
                }
            }
            Self::Lent(entries) => {
                meter.charge(entries.len())?;
                Ok(entries.iter().find(|(each, _)| each == key).map(|(_, value)| value.lend()))
            }
            Self::Owned(entries) => {
                meter.charge(entries.len())?;
                entries.iter().find(|(each, _)| each == key).map(|(_, value)| value.copy(meter)).transpose()
            }
        }
    }

    pub(super) fn keys(self) -> Each<'a> {
        match self {
            Self::Json(json) => Each::Keys(json.entries()),
            Self::Lent(entries) => Each::LentKeys(entries.iter()),
            Self::Owned(entries) => Each::OwnedKeys(entries, 0),
        }
    }

    fn lend(&self) -> Map<'_> {
        match self {
            Self::Json(json) => Map::Json(*json),
            Self::Lent(entries) => Map::Lent(entries),
            Self::Owned(entries) => Map::Lent(entries),
        }
    }
}

/// The items of a list or the keys of a map.
pub(super) enum Each<'a> {
    Json(Items<'a>),
    Lent(std::slice::Iter<'a, Value<'a>>),
    Owned(Arc<Vec<Value<'a>>>, usize),
    Keys(Items<'a>),
    LentKeys(std::slice::Iter<'a, (Key<'a>, Value<'a>)>),
    OwnedKeys(Arc<Vec<(Key<'a>, Value<'a>)>>, usize),
}

impl<'a> Each<'a> {
    pub(super) fn next(&mut self, meter: &mut impl Meter) -> Result<Option<Value<'a>>, Trip> {
        match self {
            Self::Json(items) => {
                let from = items.at();
                let item = items.next_item()?;
                meter.charge_bytes(items.at() - from)?;
                Ok(item)
            }
            Self::Lent(items) => Ok(items.next().map(Value::lend)),
            Self::Owned(items, at) => {
                *at += 1;
                items.get(*at - 1).map(|item| item.copy(meter)).transpose()
            }
            Self::Keys(entries) => {
                let from = entries.at();
                let key = entries.next_key()?;
                meter.charge_bytes(entries.at() - from)?;
                Ok(key.map(Value::Text))
            }
            Self::LentKeys(entries) => Ok(entries.next().map(|(key, _)| match key {
                Key::Bool(bool) => Value::Bool(*bool),
                Key::Int(int) => Value::Int(*int),
                Key::Text(text) => Value::Text(Cow::Borrowed(text)),
            })),
            Self::OwnedKeys(entries, at) => {
                *at += 1;
                entries.get(*at - 1).map(|(key, _)| key_value(key.clone()).copy(meter)).transpose()
            }
        }
    }
}

fn key_value(key: Key<'_>) -> Value<'_> {
    match key {
        Key::Bool(bool) => Value::Bool(bool),
        Key::Int(int) => Value::Int(int),
        Key::Text(text) => Value::Text(text),
    }
}

/// `==`: never an error by type; numbers by value, lists by item, maps by key.
#[inline]
pub(super) fn equal(left: &Value<'_>, right: &Value<'_>, meter: &mut impl Meter) -> Result<bool, Trip> {
    equal_at(left, right, meter, 0)
}

#[expect(clippy::float_cmp, clippy::cast_precision_loss, reason = "as CEL has it")]
fn equal_at(left: &Value<'_>, right: &Value<'_>, meter: &mut impl Meter, depth: usize) -> Result<bool, Trip> {
    Ok(match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Duration(left), Value::Duration(right)) => left == right,
        (Value::Double(left), Value::Double(right)) => left == right,
        (Value::Int(left), Value::Double(right)) => *left as f64 == *right,
        (Value::Double(left), Value::Int(right)) => *left == *right as f64,
        (Value::Text(left), Value::Text(right)) => {
            meter.charge_bytes(left.len().min(right.len()))?;
            left == right
        }
        (Value::Timestamp(left), Value::Timestamp(right)) => left == right,
        (Value::List(left), Value::List(right)) => lists_equal(left, right, meter, depth)?,
        (Value::Map(left), Value::Map(right)) => maps_equal(left, right, meter, depth)?,
        _ => false,
    })
}

fn lists_equal(
    left: &List<'_>,
    right: &List<'_>,
    meter: &mut impl Meter,
    depth: usize,
) -> Result<bool, Trip> {
    if depth > DEPTH_MAX {
        return Err(Trip::Steps);
    }
    if left.count(meter)? != right.count(meter)? {
        return Ok(false);
    }
    let (mut left, mut right) = (left.lend().each(), right.lend().each());
    while let (Some(left), Some(right)) = (left.next(meter)?, right.next(meter)?) {
        meter.charge(1)?;
        if !equal_at(&left, &right, meter, depth + 1)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal(left: &Map<'_>, right: &Map<'_>, meter: &mut impl Meter, depth: usize) -> Result<bool, Trip> {
    if depth > DEPTH_MAX {
        return Err(Trip::Steps);
    }
    if left.count(meter)? != right.count(meter)? {
        return Ok(false);
    }
    let same = |key: &Key<'_>, value: &Value<'_>, meter: &mut _| {
        Meter::charge(meter, 1)?;
        match right.lend().find(key, meter)? {
            Some(other) => equal_at(value, &other, meter, depth + 1),
            None => Ok(false),
        }
    };
    match left {
        Map::Json(json) => {
            let mut entries = json.entries();
            while let Some((key, value)) = entries.next_entry()? {
                if !same(&Key::Text(key), &value, meter)? {
                    return Ok(false);
                }
            }
        }
        Map::Lent(entries) => {
            for (key, value) in *entries {
                if !same(key, value, meter)? {
                    return Ok(false);
                }
            }
        }
        Map::Owned(entries) => {
            for (key, value) in entries.iter() {
                if !same(key, value, meter)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

/// Why two values have no order.
pub(super) enum Unordered {
    Kinds,
    NotANumber,
}

/// `<` and its kin: numbers of either sort, and two of one type that has an order.
#[inline]
#[expect(clippy::cast_precision_loss, reason = "as CEL has it")]
pub(super) fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, Unordered> {
    let doubles = |left: f64, right: f64| left.partial_cmp(&right).ok_or(Unordered::NotANumber);
    match (left, right) {
        (Value::Double(left), Value::Double(right)) => doubles(*left, *right),
        (Value::Int(left), Value::Int(right)) => Ok(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Ok(left.cmp(right)),
        (Value::Int(left), Value::Double(right)) => doubles(*left as f64, *right),
        (Value::Double(left), Value::Int(right)) => doubles(*left, *right as f64),
        (Value::Text(left), Value::Text(right)) => Ok(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Ok(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Ok(left.cmp(right)),
        _ => Err(Unordered::Kinds),
    }
}

/// Reads the value that begins here, and says where it ends.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize) -> Result<(Value<'_>, usize), Broken> {
    let fixed = |text: &[u8], value| {
        let end = at + text.len();
        if bytes.get(at..end) == Some(text) { Ok((value, end)) } else { Err(Broken) }
    };
    match bytes.get(at) {
        Some(b'"') => text(bytes, at).map(|(text, end)| (Value::Text(text), end)),
        Some(b'-' | b'0'..=b'9') => number(bytes, at).map(|(number, end)| (Value::Double(number), end)),
        Some(b'{') => {
            let end = skip_nested(bytes, at)?;
            Ok((Value::Map(Map::Json(Json(&bytes[at..end]))), end))
        }
        Some(b'[') => {
            let end = skip_nested(bytes, at)?;
            Ok((Value::List(List::Json(Json(&bytes[at..end]))), end))
        }
        Some(b't') => fixed(b"true", Value::Bool(true)),
        Some(b'f') => fixed(b"false", Value::Bool(false)),
        Some(b'n') => fixed(b"null", Value::Null),
        _ => Err(Broken),
    }
}

/// The items of a list, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
    close: u8,
}

impl<'a> Json<'a> {
    pub(super) fn items(self) -> Items<'a> {
        Items { bytes: self.0, at: 0, close: b']' }
    }

    pub(super) fn entries(self) -> Items<'a> {
        Items { bytes: self.0, at: 0, close: b'}' }
    }

    pub(super) fn count(self) -> Result<usize, Broken> {
        let mut count = 0;
        let mut items =
            Items { bytes: self.0, at: 0, close: if self.0.first() == Some(&b'{') { b'}' } else { b']' } };
        while items.more()? {
            if items.close == b'}' {
                items.at = items.after_key()?;
            }
            items.at = skip(items.bytes, items.at)?;
            count += 1;
        }
        Ok(count)
    }

    pub(super) fn item(self, index: usize) -> Result<Option<Value<'a>>, Broken> {
        let mut items = self.items();
        let mut left = index;
        while items.more()? {
            if left == 0 {
                return value(items.bytes, items.at).map(|(value, _)| Some(value));
            }
            items.at = skip(items.bytes, items.at)?;
            left -= 1;
        }
        Ok(None)
    }

    pub(super) fn field(self, key: &str) -> Result<Option<Value<'a>>, Broken> {
        let mut entries = self.entries();
        while entries.more()? {
            let begin = entries.at;
            let (end, escaped) = key_end(entries.bytes, begin)?;
            entries.at = after_key(entries.bytes, end)?;
            if key_is(entries.bytes, begin, end, escaped, key) {
                return value(entries.bytes, entries.at).map(|(value, _)| Some(value));
            }
            entries.at = skip(entries.bytes, entries.at)?;
        }
        Ok(None)
    }
}

impl<'a> Items<'a> {
    /// Steps over the opening bracket or a comma; false at the closing bracket.
    fn more(&mut self) -> Result<bool, Broken> {
        let first = self.at == 0;
        self.at = blank(self.bytes, self.at);
        let byte = self.bytes.get(self.at).copied();
        if !first && byte == Some(self.close) {
            return Ok(false);
        }
        if byte != Some(if first { self.close - 2 } else { b',' }) {
            return Err(Broken);
        }
        self.at = blank(self.bytes, self.at + 1);
        Ok(!first || self.bytes.get(self.at) != Some(&self.close))
    }

    /// Where the value after this key begins.
    fn after_key(&self) -> Result<usize, Broken> {
        after_key(self.bytes, key_end(self.bytes, self.at)?.0)
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn next_item(&mut self) -> Result<Option<Value<'a>>, Broken> {
        if !self.more()? {
            return Ok(None);
        }
        let (value, end) = value(self.bytes, self.at)?;
        self.at = end;
        Ok(Some(value))
    }

    pub(super) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, Broken> {
        if !self.more()? {
            return Ok(None);
        }
        let (key, _) = text(self.bytes, self.at)?;
        self.at = skip(self.bytes, self.after_key()?)?;
        Ok(Some(key))
    }

    pub(super) fn next_entry(&mut self) -> Result<Option<(Cow<'a, str>, Value<'a>)>, Broken> {
        if !self.more()? {
            return Ok(None);
        }
        let (key, _) = text(self.bytes, self.at)?;
        let (value, end) = value(self.bytes, self.after_key()?)?;
        self.at = end;
        Ok(Some((key, value)))
    }
}

/// Lists and maps as a whole, for the comparison with another implementation of the language.
#[cfg(feature = "inside")]
mod whole {
    use super::{Broken, Key, List, Map, Meter, Trip, Value};
    use crate::expression::Fault;

    /// Where nothing is counted: the caller takes what there is.
    struct Free;

    impl Meter for Free {
        fn charge(&mut self, _: usize) -> Result<(), Trip> {
            Ok(())
        }
    }

    impl List<'_> {
        /// All items.
        pub fn to_vec(&self) -> Result<Vec<Value<'_>>, Fault> {
            let mut items = Vec::new();
            let mut each = self.lend().each();
            while let Some(item) = each.next(&mut Free).map_err(|trip| trip.fault(&[]))? {
                items.push(item);
            }
            Ok(items)
        }
    }

    impl Map<'_> {
        /// All entries.
        pub fn to_vec(&self) -> Result<Vec<(Key<'_>, Value<'_>)>, Fault> {
            match self {
                Self::Json(json) => {
                    let mut entries = json.entries();
                    let mut all = Vec::new();
                    while let Some((key, value)) = entries.next_entry().map_err(|Broken| Fault::Body)? {
                        all.push((Key::Text(key), value));
                    }
                    Ok(all)
                }
                Self::Lent(entries) => Ok(entries.to_vec()),
                Self::Owned(entries) => Ok(entries.to_vec()),
            }
        }
    }
}
