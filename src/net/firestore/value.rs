//! Documents and what is done with them, in our words. Doubles, references and places on the earth are left out: nothing
//! of ours has them, and a document that does is not ours.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::wire;

/// Named values.
pub type Fields = BTreeMap<String, Value>;

/// A document as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub fields: Fields,
    pub version: Version,
}

/// When a document was last changed, by Firestore's clock: it rises with every change of it, and says which state of it
/// a writer has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub seconds: i64,
    pub nanos: i32,
}

/// A moment since 1970. Firestore keeps microseconds of it and rounds down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    pub seconds: i64,
    /// Below a thousand million, also before 1970.
    pub nanos: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Text(String),
    Bytes(Bytes),
    Time(Timestamp),
    /// No arrays directly in it.
    Array(Vec<Value>),
    Map(Fields),
}

/// What becomes of one document.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its path, as `governors/acme:vm`.
    pub document: String,
    pub change: Change,
    /// If it is not so, nothing of the commit is written.
    pub presumes: Option<Presumes>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// These fields and no others.
    Put(Fields),
    Delete,
}

/// The state of a document before a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presumes {
    Absent,
    Present,
    /// Present, and unchanged since then.
    Version(Version),
}

impl Write {
    pub(super) fn into_wire(self, name: impl Fn(&str) -> String) -> wire::Write {
        let name = name(&self.document);
        let operation = match self.change {
            Change::Put(fields) => {
                wire::Operation::Update(wire::Document { name, fields: into_wire(fields), update_time: None })
            }
            Change::Delete => wire::Operation::Delete(name),
        };
        let condition = self.presumes.map(|presumes| match presumes {
            Presumes::Absent => wire::Condition::Exists(false),
            Presumes::Present => wire::Condition::Exists(true),
            Presumes::Version(version) => wire::Condition::UpdateTime(version.into()),
        });
        wire::Write {
            operation: Some(operation),
            current_document: condition.map(|condition| wire::Precondition { condition: Some(condition) }),
        }
    }
}

fn into_wire(fields: Fields) -> BTreeMap<String, wire::Value> {
    fields.into_iter().map(|(name, value)| (name, value.into())).collect()
}

impl From<Value> for wire::Value {
    fn from(value: Value) -> Self {
        let kind = match value {
            Value::Null => wire::Kind::Null(0),
            Value::Bool(value) => wire::Kind::Boolean(value),
            Value::Integer(value) => wire::Kind::Integer(value),
            Value::Text(value) => wire::Kind::Text(value),
            Value::Bytes(value) => wire::Kind::Bytes(value),
            Value::Time(value) => {
                wire::Kind::Timestamp(wire::Timestamp { seconds: value.seconds, nanos: value.nanos })
            }
            Value::Array(values) => {
                wire::Kind::Array(wire::ArrayValue { values: values.into_iter().map(Self::from).collect() })
            }
            Value::Map(fields) => wire::Kind::Map(wire::MapValue { fields: into_wire(fields) }),
        };
        Self { kind: Some(kind) }
    }
}

impl From<Version> for wire::Timestamp {
    fn from(version: Version) -> Self {
        Self { seconds: version.seconds, nanos: version.nanos }
    }
}

impl From<wire::Timestamp> for Version {
    fn from(time: wire::Timestamp) -> Self {
        Self { seconds: time.seconds, nanos: time.nanos }
    }
}

/// Why a document cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    #[error("the field `{0}` has a value of a kind that gemba does not write")]
    Kind(String),
    #[error("a document without an update_time")]
    Version,
}

impl TryFrom<wire::Document> for Document {
    type Error = NotOurs;

    fn try_from(document: wire::Document) -> Result<Self, NotOurs> {
        let version = document.update_time.ok_or(NotOurs::Version)?.into();
        Ok(Self { fields: from_wire(document.fields)?, version })
    }
}

pub(super) fn from_wire(fields: BTreeMap<String, wire::Value>) -> Result<Fields, NotOurs> {
    let ours = |(name, value)| match understood(value) {
        Ok(value) => Ok((name, value)),
        Err(Foreign) => Err(NotOurs::Kind(name)),
    };
    fields.into_iter().map(ours).collect()
}

/// A value of a kind that is left out here.
struct Foreign;

fn understood(value: wire::Value) -> Result<Value, Foreign> {
    Ok(match value.kind.ok_or(Foreign)? {
        wire::Kind::Null(_) => Value::Null,
        wire::Kind::Boolean(value) => Value::Bool(value),
        wire::Kind::Integer(value) => Value::Integer(value),
        wire::Kind::Text(value) => Value::Text(value),
        wire::Kind::Bytes(value) => Value::Bytes(value),
        wire::Kind::Timestamp(time) => Value::Time(Timestamp { seconds: time.seconds, nanos: time.nanos }),
        wire::Kind::Array(array) => {
            Value::Array(array.values.into_iter().map(understood).collect::<Result<_, _>>()?)
        }
        wire::Kind::Map(map) => Value::Map(from_wire(map.fields).map_err(|_| Foreign)?),
    })
}
