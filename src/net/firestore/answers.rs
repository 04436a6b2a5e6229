//! What the answers say of what was asked.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;

use super::status::Trouble;
use super::value::{self, Version};
use super::wire::{BatchGetDocumentsResponse, CommitResponse, Looked, WriteResult};

/// The versions that a commit's answer tells. What it does not tell may be written all the same.
pub(super) fn versions(deletes: &[bool], answers: &[Bytes]) -> Result<Vec<Option<Version>>, Trouble> {
    let unclear = |why: &str| Trouble::Unknown(format!("the answer to a commit {why}"));
    let [answer] = answers else { return Err(unclear("is not one message")) };
    let answer = CommitResponse::decode(&answer[..]).map_err(|_| unclear("cannot be read"))?;
    if answer.write_results.len() != deletes.len() {
        return Err(unclear("speaks of other writes"));
    }
    let version = |(result, deleted): (WriteResult, &bool)| match result.update_time {
        Some(time) if !deleted => Ok(Some(time.into())),
        None if !deleted => Err(unclear("lacks an update_time")),
        _ => Ok(None),
    };
    answer.write_results.into_iter().zip(deletes).map(version).collect()
}

/// The answers, which come in any order and once for a name that was asked for twice, in the order of the names.
pub(super) fn in_order(
    names: &[String],
    answers: Vec<Bytes>,
) -> Result<Vec<Option<value::Document>>, Trouble> {
    let unclear = |why: &str| Trouble::Unknown(format!("the answer to a read {why}"));
    let mut looked = HashMap::with_capacity(names.len());
    for answer in answers {
        match BatchGetDocumentsResponse::decode(answer).map_err(|_| unclear("cannot be read"))?.result {
            Some(Looked::Found(mut found)) => {
                let name = std::mem::take(&mut found.name);
                let document = value::Document::try_from(found)
                    .map_err(|error| Trouble::Refused(format!("{name}: {error}")))?;
                looked.insert(name, Some(document));
            }
            Some(Looked::Missing(name)) => {
                looked.insert(name, None);
            }
            None => {}
        }
    }
    names.iter().map(|name| looked.get(name).cloned().ok_or_else(|| unclear("lacks a document"))).collect()
}
