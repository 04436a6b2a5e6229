//! Errors as RFC 9457 problem details.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;

use crate::view::PeerView;

/// One refusal, for people and programs.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
    /// What is wrong with single items.
    pub errors: Vec<ItemProblem>,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// Other nodes that may be asked.
    pub peers: Arc<[PeerView]>,
}

/// What is wrong with one item: of a batch, by its index; of a configuration, by its place.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ItemProblem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    pub detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ItemProblem {
    /// Of a batch.
    #[must_use]
    pub fn at(index: usize, detail: String) -> Self {
        Self { index: Some(index), detail, ..Self::default() }
    }
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after: None, peers: Arc::default() }
    }

    /// The body, `application/problem+json`.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [ItemProblem],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            peers: &'a [PeerView],
        }
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = Body {
            r#type: "about:blank",
            title,
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            peers: &self.peers,
        };
        Bytes::from(serde_json::to_vec(&body).unwrap_or_default())
    }
}
