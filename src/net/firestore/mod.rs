//! A small client of Firestore (google.firestore.v1) over gRPC: reading documents, and writing several at once or none,
//! each only if it is what the writer presumes. No queries, no transactions, no listening, no retries.
//!
//! It is written for one promise: whoever asks is told the truth about what may have been written. A call that was
//! never sent, one that was refused as a whole, and one whose end is not known are different troubles, and what to do
//! next is different, too. So nothing is tried again in here.
//!
//! A client belongs to one runtime: its connection lives there. One connection carries all calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::limits::{FIRESTORE_DEADLINE, FIRESTORE_REQUEST_BYTES_MAX};
use channel::{Channel, Failure};
use status::Presumed;
use token::Tokens;

mod answers;
mod channel;
mod endpoint;
mod frame;
mod service_account;
mod status;
mod token;
mod uri;
mod value;
pub mod wire;

pub use endpoint::{Credentials, Endpoint, Site, Unusable};
pub use service_account::ServiceAccount;
pub use status::Trouble;
#[cfg(feature = "inside")]
pub use value::Timestamp;
pub use value::{Change, Document, Fields, Presumes, Value, Version, Write};

/// A client of one database. Clones share its connection and its token.
#[derive(Clone)]
pub struct Firestore {
    shared: Arc<Shared>,
}

struct Shared {
    /// `projects/P/databases/D`.
    database: String,
    channel: Channel,
    tokens: Tokens,
}

impl Firestore {
    /// Connects only when it is first asked.
    ///
    /// # Errors
    /// When no connection to this site could ever be made.
    pub fn new(site: Site) -> Result<Self, Unusable> {
        let database = format!("projects/{}/databases/{}", site.project, site.database);
        let channel = Channel::new(&site.endpoint, &database)?;
        let tokens = Tokens::new(site.endpoint)?;
        Ok(Self { shared: Arc::new(Shared { database, channel, tokens }) })
    }

    /// Documents by their paths, as `governors/acme:vm`, in the order of the question; `None` for one that is missing.
    /// All of them are of one moment.
    pub async fn get(&self, documents: &[&str]) -> Result<Vec<Option<Document>>, Trouble> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = documents.iter().map(|path| self.name(path)).collect();
        let request =
            wire::BatchGetDocumentsRequest { database: self.shared.database.clone(), documents: names };
        let answers = match self.call("BatchGetDocuments", &request).await {
            Ok(answers) => answers,
            Err(failure) => return Err(failure.trouble(Presumed::default())),
        };
        answers::in_order(&request.documents, answers)
    }

    /// Writes all of it or nothing. The versions are those of the documents afterwards, in the order of the writes;
    /// `None` for one that was deleted. A write that changes nothing leaves the version as it was.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Vec<Option<Version>>, Trouble> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        let presumed = Presumed::by(&writes);
        let deletes: Vec<bool> = writes.iter().map(|write| matches!(write.change, Change::Delete)).collect();
        let writes = writes.into_iter().map(|write| write.into_wire(|path| self.name(path))).collect();
        let request = wire::CommitRequest { database: self.shared.database.clone(), writes };
        match self.call("Commit", &request).await {
            Ok(answers) => answers::versions(&deletes, &answers),
            Err(failure) => Err(failure.trouble(presumed)),
        }
    }

    fn name(&self, path: &str) -> String {
        format!("{}/documents/{path}", self.shared.database)
    }

    async fn call(&self, method: &'static str, request: &impl prost::Message) -> Result<Vec<Bytes>, Failure> {
        let bytes = request.encoded_len();
        if bytes > FIRESTORE_REQUEST_BYTES_MAX {
            return Err(Failure::TooLarge { bytes });
        }
        let until = Instant::now() + FIRESTORE_DEADLINE;
        let token = self.shared.tokens.bearer().await.map_err(|error| Failure::NotSent(error.to_string()))?;
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let calling = self.shared.channel.call(method, frame::framed(request), &token, left);
        let Ok(answered) = timeout_at(until, calling).await else {
            return Err(Failure::Broken(format!("no answer within {FIRESTORE_DEADLINE:?}")));
        };
        if answered.as_ref().is_err_and(Failure::is_unauthenticated) {
            self.shared.tokens.forget(&token).await;
        }
        answered
    }
}

impl fmt::Debug for Firestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Firestore").field("database", &self.shared.database).finish_non_exhaustive()
    }
}
