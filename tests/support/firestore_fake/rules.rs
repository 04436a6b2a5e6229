//! Documents and Firestore's documented rules for them: all writes of a commit or none; preconditions; limits; an
//! update_time that rises with each change and stays where nothing was changed.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gemba::net::firestore::{Change, Document, Presumes, Version, wire};

pub const INVALID_ARGUMENT: u32 = 3;
pub const NOT_FOUND: u32 = 5;
pub const ALREADY_EXISTS: u32 = 6;
pub const FAILED_PRECONDITION: u32 = 9;

const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// A commit that came, and what became of it.
#[derive(Clone, Debug)]
pub struct Commit {
    pub at: Instant,
    /// 0: it was applied, whatever its sender was told.
    pub code: u32,
    pub writes: Vec<Written>,
}

#[derive(Clone, Debug)]
pub struct Written {
    /// Below `documents`.
    pub document: String,
    pub change: Change,
    pub presumes: Option<Presumes>,
    /// Afterwards; `None` for a delete, and where it was not applied.
    pub version: Option<Version>,
}

/// What the history itself says against it: of each write that was applied, whether it was as its writer presumed. Looks
/// at nothing but the commits, so that the rules are tested, too.
pub fn stale(commits: &[Commit]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Version> = BTreeMap::new();
    let mut stale = Vec::new();
    for (index, commit) in commits.iter().enumerate().filter(|(_, commit)| commit.code == 0) {
        for write in &commit.writes {
            let before = versions.get(write.document.as_str()).copied();
            let holds = match write.presumes {
                None => true,
                Some(Presumes::Absent) => before.is_none(),
                Some(Presumes::Present) => before.is_some(),
                Some(Presumes::Version(version)) => before == Some(version),
            };
            if !holds {
                stale.push(format!(
                    "commit {index}, {}: {before:?} is not {:?}",
                    write.document, write.presumes
                ));
            }
            match (&write.change, write.version) {
                (Change::Put(_), Some(version)) => versions.insert(&write.document, version),
                (Change::Delete, None) => versions.remove(write.document.as_str()),
                _ => panic!("{write:?}"),
            };
        }
    }
    stale
}

/// Why a request is refused as a whole.
#[derive(Debug)]
pub struct Refusal {
    pub code: u32,
    pub message: String,
}

#[derive(Default)]
pub struct Documents {
    /// By path, below `documents`.
    documents: BTreeMap<String, wire::Document>,
    last_micros: i64,
    pub commits: Vec<Commit>,
}

impl Documents {
    pub fn below(&self, prefix: &str) -> BTreeMap<String, Document> {
        let found = self.documents.iter().filter(|(path, _)| path.starts_with(prefix));
        found.map(|(path, document)| (path.clone(), document.clone().try_into().unwrap())).collect()
    }

    pub fn get(
        &self,
        request: &wire::BatchGetDocumentsRequest,
    ) -> Result<Vec<wire::BatchGetDocumentsResponse>, Refusal> {
        let mut answers = BTreeMap::new();
        for name in &request.documents {
            let path = path(&request.database, name)?;
            let looked = match self.documents.get(path) {
                Some(document) => wire::Looked::Found(document.clone()),
                None => wire::Looked::Missing(name.clone()),
            };
            let read_time = Some(timestamp(self.last_micros));
            answers.insert(name, wire::BatchGetDocumentsResponse { result: Some(looked), read_time });
        }
        // In any order but that of the question, where there is more than one.
        Ok(answers.into_values().rev().collect())
    }

    pub fn commit(&mut self, request: wire::CommitRequest) -> Result<wire::CommitResponse, Refusal> {
        let at = Instant::now();
        let mut writes: Vec<Written> =
            request.writes.iter().map(|write| written(&request.database, write)).collect::<Result<_, _>>()?;
        let applied = self.apply(request);
        let code = applied.as_ref().map_or_else(|refusal| refusal.code, |_| 0);
        if let Ok(response) = &applied {
            for (write, result) in writes.iter_mut().zip(&response.write_results) {
                write.version = result.update_time.map(Version::from);
            }
        }
        self.commits.push(Commit { at, code, writes });
        applied
    }

    /// Notes a commit that is not even looked at.
    pub fn note(&mut self, request: &wire::CommitRequest, code: u32) {
        let writes = request.writes.iter().flat_map(|write| written(&request.database, write)).collect();
        self.commits.push(Commit { at: Instant::now(), code, writes });
    }

    fn apply(&mut self, request: wire::CommitRequest) -> Result<wire::CommitResponse, Refusal> {
        let commit_micros = micros_now().max(self.last_micros + 1);
        let commit_time = Some(timestamp(commit_micros));
        let mut after = self.documents.clone();
        let mut write_results = Vec::new();
        for write in request.writes {
            let operation = write.operation.ok_or_else(|| refused(INVALID_ARGUMENT, "no operation"))?;
            let (wire::Operation::Update(wire::Document { name, .. }) | wire::Operation::Delete(name)) =
                &operation;
            let path = path(&request.database, name)?.to_owned();
            let before = after.get(&path);
            let condition = write.current_document.and_then(|precondition| precondition.condition);
            check(condition, before, name)?;
            let update_time = match operation {
                wire::Operation::Delete(_) => {
                    after.remove(&path);
                    None
                }
                wire::Operation::Update(mut document) => {
                    round_down(&mut document.fields);
                    if size(&path, &document.fields) > DOCUMENT_BYTES_MAX {
                        return Err(refused(INVALID_ARGUMENT, "a document is larger than 1,048,576 bytes"));
                    }
                    let unchanged = before.filter(|before| before.fields == document.fields);
                    document.update_time = unchanged.map_or(commit_time, |before| before.update_time);
                    let update_time = document.update_time;
                    after.insert(path, document);
                    update_time
                }
            };
            write_results.push(wire::WriteResult { update_time });
        }
        self.documents = after;
        self.last_micros = commit_micros;
        Ok(wire::CommitResponse { write_results, commit_time })
    }
}

fn check(
    condition: Option<wire::Condition>,
    before: Option<&wire::Document>,
    name: &str,
) -> Result<(), Refusal> {
    match (condition, before) {
        (Some(wire::Condition::Exists(false)), Some(_)) => {
            Err(refused(ALREADY_EXISTS, &format!("Document already exists: {name}")))
        }
        (Some(wire::Condition::Exists(true) | wire::Condition::UpdateTime(_)), None) => {
            Err(refused(NOT_FOUND, &format!("No document to update: {name}")))
        }
        (Some(wire::Condition::UpdateTime(time)), Some(before)) if before.update_time != Some(time) => {
            Err(refused(FAILED_PRECONDITION, "the stored version does not match the required base version"))
        }
        _ => Ok(()),
    }
}

pub fn refused(code: u32, message: &str) -> Refusal {
    Refusal { code, message: message.to_owned() }
}

fn written(database: &str, write: &wire::Write) -> Result<Written, Refusal> {
    let (name, change) = match write.operation.clone() {
        Some(wire::Operation::Update(mut document)) => {
            let name = document.name.clone();
            // Only what has been stored has one.
            document.update_time = Some(timestamp(0));
            let document = Document::try_from(document)
                .map_err(|error| refused(INVALID_ARGUMENT, &error.to_string()))?;
            (name, Change::Put(document.fields))
        }
        Some(wire::Operation::Delete(name)) => (name, Change::Delete),
        None => return Err(refused(INVALID_ARGUMENT, "no operation")),
    };
    let condition = write.current_document.and_then(|precondition| precondition.condition);
    let presumes = condition.map(|condition| match condition {
        wire::Condition::Exists(false) => Presumes::Absent,
        wire::Condition::Exists(true) => Presumes::Present,
        wire::Condition::UpdateTime(time) => Presumes::Version(time.into()),
    });
    Ok(Written { document: path(database, &name)?.to_owned(), change, presumes, version: None })
}

/// What stands below `documents`: collections and documents in turn.
fn path<'n>(database: &str, name: &'n str) -> Result<&'n str, Refusal> {
    let below = name.strip_prefix(database).and_then(|rest| rest.strip_prefix("/documents/"));
    let is_document = |path: &&str| {
        let mut count = 0;
        path.split('/').all(|segment| {
            count += 1;
            !matches!(segment, "" | "." | "..") && segment.len() <= 1500
        }) && count % 2 == 0
    };
    below.filter(is_document).ok_or_else(|| {
        refused(INVALID_ARGUMENT, &format!("not the name of a document of {database}: {name}"))
    })
}

fn round_down(fields: &mut BTreeMap<String, wire::Value>) {
    fields.values_mut().for_each(round_value_down);
}

fn round_value_down(value: &mut wire::Value) {
    match &mut value.kind {
        Some(wire::Kind::Timestamp(time)) => time.nanos -= time.nanos % 1000,
        Some(wire::Kind::Array(array)) => array.values.iter_mut().for_each(round_value_down),
        Some(wire::Kind::Map(map)) => round_down(&mut map.fields),
        _ => {}
    }
}

/// By "Storage size calculations".
fn size(path: &str, fields: &BTreeMap<String, wire::Value>) -> usize {
    let name: usize = path.split('/').map(|segment| segment.len() + 1).sum();
    name + 16 + fields_size(fields) + 32
}

fn fields_size(fields: &BTreeMap<String, wire::Value>) -> usize {
    fields.iter().map(|(name, value)| name.len() + 1 + value_size(value)).sum()
}

fn value_size(value: &wire::Value) -> usize {
    match &value.kind {
        Some(wire::Kind::Integer(_) | wire::Kind::Timestamp(_)) => 8,
        Some(wire::Kind::Text(text)) => text.len() + 1,
        Some(wire::Kind::Bytes(bytes)) => bytes.len(),
        Some(wire::Kind::Array(array)) => array.values.iter().map(value_size).sum(),
        Some(wire::Kind::Map(map)) => fields_size(&map.fields),
        Some(wire::Kind::Null(_) | wire::Kind::Boolean(_)) | None => 1,
    }
}

fn micros_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

fn timestamp(micros: i64) -> wire::Timestamp {
    let nanos = i32::try_from(micros % 1_000_000).unwrap() * 1000;
    wire::Timestamp { seconds: micros / 1_000_000, nanos }
}
