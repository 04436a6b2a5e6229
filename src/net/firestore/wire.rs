//! The messages of google.firestore.v1 that are spoken here, numbered as in `google/firestore/v1/*.proto`; fields that
//! nothing here needs are left out, and skipped where they come. Strings are UTF-8 by `proto3`'s rules.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct CommitRequest {
    #[prost(string, tag = "1")]
    pub database: String,
    #[prost(message, repeated, tag = "2")]
    pub writes: Vec<Write>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CommitResponse {
    #[prost(message, repeated, tag = "1")]
    pub write_results: Vec<WriteResult>,
    #[prost(message, optional, tag = "2")]
    pub commit_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct WriteResult {
    /// Not set after a delete.
    #[prost(message, optional, tag = "1")]
    pub update_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Write {
    #[prost(oneof = "Operation", tags = "1, 2")]
    pub operation: Option<Operation>,
    #[prost(message, optional, tag = "4")]
    pub current_document: Option<Precondition>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Operation {
    /// Without a mask: the whole document.
    #[prost(message, tag = "1")]
    Update(Document),
    #[prost(string, tag = "2")]
    Delete(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Precondition {
    #[prost(oneof = "Condition", tags = "1, 2")]
    pub condition: Option<Condition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Oneof)]
pub enum Condition {
    #[prost(bool, tag = "1")]
    Exists(bool),
    #[prost(message, tag = "2")]
    UpdateTime(Timestamp),
}

#[derive(Clone, PartialEq, Message)]
pub struct BatchGetDocumentsRequest {
    #[prost(string, tag = "1")]
    pub database: String,
    #[prost(string, repeated, tag = "2")]
    pub documents: Vec<String>,
}

/// One of the stream's messages; one without a result says only when it was read.
#[derive(Clone, PartialEq, Message)]
pub struct BatchGetDocumentsResponse {
    #[prost(oneof = "Looked", tags = "1, 2")]
    pub result: Option<Looked>,
    #[prost(message, optional, tag = "4")]
    pub read_time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Looked {
    #[prost(message, tag = "1")]
    Found(Document),
    #[prost(string, tag = "2")]
    Missing(String),
}

#[derive(Clone, PartialEq, Message)]
pub struct Document {
    /// `projects/P/databases/D/documents/…`.
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub fields: BTreeMap<String, Value>,
    #[prost(message, optional, tag = "4")]
    pub update_time: Option<Timestamp>,
}

/// Without a kind: one that is left out here.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 6, 9, 10, 11, 17, 18")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    #[prost(bool, tag = "1")]
    Boolean(bool),
    #[prost(int64, tag = "2")]
    Integer(i64),
    #[prost(message, tag = "6")]
    Map(MapValue),
    #[prost(message, tag = "9")]
    Array(ArrayValue),
    #[prost(message, tag = "10")]
    Timestamp(Timestamp),
    /// An enumeration with one value, 0.
    #[prost(int32, tag = "11")]
    Null(i32),
    #[prost(string, tag = "17")]
    Text(String),
    #[prost(bytes = "bytes", tag = "18")]
    Bytes(Bytes),
}

#[derive(Clone, PartialEq, Message)]
pub struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MapValue {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[cfg(test)]
mod tests;
