//! The documents: what their fields say, and how it is read. Pure.
//!
//! ```text
//! partitions/<queue>.<p>              the head of a partition
//! partitions/<queue>.<p>.recent.<n>   its newest signals, in a ring of chunks
//! partitions/<queue>.<p>.open.<n>     its governors to which something is to happen without a further signal
//! partitions/<queue>.<p>.staged.<n>   documents of a round that is too large for one write
//! governors/<tenant>:<sku>            a governor
//! governors/<tenant>:<sku>/waiting/<round>   signals that began to wait for it in that round of its partition
//! processors/<name>.<journal>         through which event of its journal a processor has shared
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;

use super::waits::{Listed, Waits};
use crate::event::{EdgeName, Kind, Seq, Subject, TimerKind, UnixMillis};
use crate::kanban::journal::record::{Decoder, Encoder};
use crate::limits::{
    PARTITIONS_MAX, POSITIONS_MAX, RECENT_CHUNK_SIGNALS, RECENT_SIGNALS, TIMERS_PER_GOVERNOR,
    WAITING_DOCUMENTS_MAX,
};
use crate::net::firestore::{Change, Fields, Value};
use crate::sharing::{Adopt, Row, partition_number};
use crate::signal::{Fingerprint, Signal};

/// A document does not say what one of ours says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the document {document} has no `{field}` that this version can read")]
pub struct Unreadable {
    pub document: String,
    pub field: &'static str,
}

/// Who decides on a partition, and how far it is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Name and journal of the processor.
    pub owner: Box<str>,
    /// Grows whenever somebody takes the partition.
    pub term: u64,
    /// Grows with everything that is shared of it.
    pub round: u64,
    /// How many partitions there are: with another number tenants are elsewhere.
    pub partitions: u16,
    /// Through which of their numbers edges' signals are decided.
    pub positions: BTreeMap<EdgeName, Seq>,
    /// Signals that were ever put into the ring.
    pub signals: u64,
    /// Chunks of the list of open governors.
    pub open: u16,
    /// Chunks of a round that counts and is not all in its place.
    pub staged: u16,
}

/// What a processor has shared of its own journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Grows with every write of this processor's.
    pub writes: u64,
    pub through: Seq,
    /// Partitions that were lost in that round.
    pub lost: Vec<u16>,
}

/// What becomes of documents, by their paths.
pub type Documents = Vec<(String, Change)>;

/// Paths of the documents of one line.
#[derive(Clone, Debug)]
pub struct Paths {
    line: String,
    /// The queue's name, as a document's name can have it.
    queue: String,
}

impl Paths {
    #[must_use]
    pub fn new(queue: &str) -> Self {
        Self { line: queue.to_owned(), queue: queue.replace('%', "%25").replace('/', "%2F") }
    }

    /// The line, as its documents name it.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    #[must_use]
    pub fn head(&self, partition: u16) -> String {
        format!("partitions/{}.{partition}", self.queue)
    }

    #[must_use]
    pub fn recent(&self, partition: u16, chunk: usize) -> String {
        format!("{}.recent.{chunk}", self.head(partition))
    }

    #[must_use]
    pub fn open(&self, partition: u16, chunk: usize) -> String {
        format!("{}.open.{chunk}", self.head(partition))
    }

    #[must_use]
    pub fn staged(&self, partition: u16, chunk: usize) -> String {
        format!("{}.staged.{chunk}", self.head(partition))
    }
}

#[must_use]
pub fn governor_path(subject: &Subject) -> String {
    format!("governors/{}:{}", subject.tenant, subject.sku)
}

#[must_use]
pub fn waiting_path(governor: &str, round: u64) -> String {
    format!("{governor}/waiting/{round}")
}

#[must_use]
pub fn processor_path(processor: &str) -> String {
    format!("processors/{processor}")
}

impl Head {
    #[must_use]
    pub fn fields(&self) -> Fields {
        let positions = self.positions.iter();
        let positions = positions.map(|(edge, through)| (edge.to_string(), number(through.0)));
        Fields::from([
            ("owner".to_owned(), Value::Text(self.owner.to_string())),
            ("term".to_owned(), number(self.term)),
            ("round".to_owned(), number(self.round)),
            ("partitions".to_owned(), number(self.partitions.into())),
            ("positions".to_owned(), Value::Map(positions.collect())),
            ("signals".to_owned(), number(self.signals)),
            ("open".to_owned(), number(self.open.into())),
            ("staged".to_owned(), number(self.staged.into())),
        ])
    }

    /// # Errors
    /// [`Unreadable`].
    pub fn read(document: &str, fields: &Fields) -> Result<Self, Unreadable> {
        let from = Reader { document, fields };
        let Some(Value::Map(positions)) = fields.get("positions") else {
            return Err(from.unreadable("positions"));
        };
        if positions.len() > POSITIONS_MAX {
            return Err(from.unreadable("positions"));
        }
        let positions =
            positions.iter().map(|(edge, through)| Some((EdgeName::read(edge).ok()?, Seq(whole(through)?))));
        let positions = positions.collect::<Option<_>>().ok_or_else(|| from.unreadable("positions"))?;
        Ok(Self {
            owner: from.text("owner")?.into(),
            term: from.number("term")?,
            round: from.number("round")?,
            partitions: from.partitions("partitions")?,
            positions,
            signals: from.number("signals")?,
            open: from.small("open")?,
            staged: from.small("staged")?,
        })
    }
}

impl Progress {
    #[must_use]
    pub fn fields(&self) -> Fields {
        let lost = self.lost.iter().map(|partition| number((*partition).into()));
        Fields::from([
            ("writes".to_owned(), number(self.writes)),
            ("through".to_owned(), number(self.through.0)),
            ("lost".to_owned(), Value::Array(lost.collect())),
        ])
    }

    /// # Errors
    /// [`Unreadable`].
    pub fn read(document: &str, fields: &Fields) -> Result<Self, Unreadable> {
        let from = Reader { document, fields };
        let Some(Value::Array(lost)) = fields.get("lost") else { return Err(from.unreadable("lost")) };
        let lost = lost.iter().map(|partition| partition_number(u16::try_from(whole(partition)?).ok()?).ok());
        let lost = lost.collect::<Option<_>>().ok_or_else(|| from.unreadable("lost"))?;
        Ok(Self { writes: from.number("writes")?, through: Seq(from.number("through")?), lost })
    }
}

/// A governor's document. `line` is the queue: two lines must not have their governors in one place.
#[must_use]
pub fn governor_fields(row: &Row, waits: &Waits, line: &str, term: u64, round: u64) -> Fields {
    let timers = row.timers.iter().map(|(kind, due)| {
        let fields = [("kind".to_owned(), number(*kind as u64)), ("due".to_owned(), number(due.0))];
        Value::Map(fields.into())
    });
    let waiting = waits.listed().map(|listed| {
        let Listed { round, gone, left } = listed;
        let fields = [("round", round), ("gone", gone as u64), ("left", left as u64)];
        Value::Map(fields.map(|(name, value)| (name.to_owned(), number(value))).into())
    });
    Fields::from([
        ("line".to_owned(), Value::Text(line.to_owned())),
        ("partition".to_owned(), number(row.partition.into())),
        ("state".to_owned(), Value::Text(row.state.to_owned())),
        ("row".to_owned(), Value::Bytes(row.row.clone())),
        ("waiting".to_owned(), Value::Array(waiting.collect())),
        ("timers".to_owned(), Value::Array(timers.collect())),
        ("term".to_owned(), number(term)),
        ("round".to_owned(), number(round)),
    ])
}

/// A governor as its document says it.
#[derive(Debug, PartialEq, Eq)]
pub struct Governor {
    pub adopt: Adopt,
    pub timers: Vec<(TimerKind, UnixMillis)>,
    /// Where the signals stand that wait for it.
    pub waiting: Vec<Listed>,
}

/// # Errors
/// [`Unreadable`]; also where the governor is another line's.
pub fn read_governor(
    document: &str,
    fields: &Fields,
    line: &str,
    subject: &Subject,
) -> Result<Governor, Unreadable> {
    let from = Reader { document, fields };
    if from.text("line")? != line {
        return Err(from.unreadable("line"));
    }
    let timers = from.maps("timers", TIMERS_PER_GOVERNOR, |timer| {
        Some((
            TimerKind::from_repr(u8::try_from(timer.number("kind").ok()?).ok()?)?,
            UnixMillis(timer.number("due").ok()?),
        ))
    })?;
    let waiting = from.maps("waiting", WAITING_DOCUMENTS_MAX, |listed| {
        let count = |field| usize::try_from(u32::try_from(listed.number(field).ok()?).ok()?).ok();
        Some(Listed { round: listed.number("round").ok()?, gone: count("gone")?, left: count("left")? })
    })?;
    let adopt = Adopt::new(subject.clone(), from.bytes("row")?).map_err(|_| from.unreadable("row"))?;
    Ok(Governor { adopt, timers, waiting })
}

/// A document of signals that wait.
#[must_use]
pub fn waiting_fields<'a>(signals: impl Iterator<Item = &'a Signal>) -> Fields {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::default();
    signals.for_each(|signal| encoder.signal(&mut bytes, signal));
    Fields::from([("signals".to_owned(), Value::Bytes(bytes.into()))])
}

/// Those of the document's signals that still wait, as the governor's says.
///
/// # Errors
/// [`Unreadable`].
pub fn read_waiting(
    document: &str,
    fields: &Fields,
    listed: Listed,
    subject: &Subject,
) -> Result<Vec<Signal>, Unreadable> {
    let from = Reader { document, fields };
    let mut signals =
        signals_of(from.bytes("signals")?, subject).ok_or_else(|| from.unreadable("signals"))?;
    if Some(signals.len()) != listed.gone.checked_add(listed.left) {
        return Err(from.unreadable("signals"));
    }
    Ok(signals.split_off(listed.gone))
}

/// All of them are this governor's.
fn signals_of(records: Bytes, of: &Subject) -> Option<Vec<Signal>> {
    let mut decoder = Decoder::new(records);
    let mut signals = Vec::new();
    loop {
        match decoder.next_kind() {
            Ok(Some(Kind::Signal(signal))) if Subject::from(&signal) == *of => signals.push(signal),
            Ok(None) => return Some(signals),
            Ok(Some(_)) | Err(_) => return None,
        }
    }
}

const SIGNAL_BYTES: usize = 24;

/// One chunk of the ring.
#[must_use]
pub fn recent_fields(signals: &[(Fingerprint, u64)]) -> Fields {
    let mut bytes = Vec::with_capacity(signals.len() * SIGNAL_BYTES);
    for (identity, digest) in signals {
        bytes.extend_from_slice(&identity.0);
        bytes.extend_from_slice(&digest.to_le_bytes());
    }
    Fields::from([("signals".to_owned(), Value::Bytes(bytes.into()))])
}

/// # Errors
/// [`Unreadable`].
pub fn read_recent(document: &str, fields: &Fields) -> Result<Vec<(Fingerprint, u64)>, Unreadable> {
    let from = Reader { document, fields };
    let bytes = from.bytes("signals")?;
    let (signals, rest) = bytes.as_chunks::<SIGNAL_BYTES>();
    if !rest.is_empty() || signals.len() > RECENT_CHUNK_SIGNALS {
        return Err(from.unreadable("signals"));
    }
    let signal = |bytes: &[u8; SIGNAL_BYTES]| {
        let (identity, digest) = bytes.split_first_chunk::<16>()?;
        Some((Fingerprint(*identity), u64::from_le_bytes(*digest.first_chunk()?)))
    };
    signals.iter().map(signal).collect::<Option<_>>().ok_or_else(|| from.unreadable("signals"))
}

/// Chunks of the ring that hold something, once so many signals were put into it.
#[must_use]
pub fn recent_chunks(signals: u64) -> usize {
    usize::try_from(signals).unwrap_or(usize::MAX).min(RECENT_SIGNALS).div_ceil(RECENT_CHUNK_SIGNALS)
}

/// Where in the ring the next signal goes: its chunk and its place there.
#[must_use]
pub fn recent_place(signals: u64) -> (usize, usize) {
    let at = usize::try_from(signals % RECENT_SIGNALS as u64).unwrap_or(0);
    (at / RECENT_CHUNK_SIGNALS, at % RECENT_CHUNK_SIGNALS)
}

/// The newest signals, the oldest first, from the chunks that hold something.
#[must_use]
pub fn recent_of(chunks: &[Vec<(Fingerprint, u64)>], signals: u64) -> Vec<(Fingerprint, u64)> {
    let (current, filled) = recent_place(signals);
    // The chunk that is being filled has lost what it held a round of the ring before.
    let older = chunks.iter().skip(current + usize::from(filled > 0));
    let whole = older.chain(chunks.iter().take(current)).flatten();
    whole.chain(chunks.iter().skip(current).take(1).flatten().take(filled)).copied().collect()
}

/// A chunk of a list of names.
#[must_use]
pub fn names_fields(names: &str) -> Fields {
    Fields::from([("governors".to_owned(), Value::Bytes(names.to_owned().into()))])
}

/// # Errors
/// [`Unreadable`].
pub fn read_names(document: &str, fields: &Fields) -> Result<Vec<Box<str>>, Unreadable> {
    let from = Reader { document, fields };
    let bytes = from.bytes("governors")?;
    let names = std::str::from_utf8(&bytes).map_err(|_| from.unreadable("governors"))?;
    Ok(names.lines().map(Into::into).collect())
}

/// A chunk of documents that have still to go to their places, or to be removed.
#[must_use]
pub fn staged_fields(documents: Documents) -> Fields {
    let documents = documents.into_iter().map(|(document, change)| {
        let mut parts = Fields::from([("document".to_owned(), Value::Text(document))]);
        match change {
            Change::Put(fields) => parts.extend([("fields".to_owned(), Value::Map(fields))]),
            Change::Delete => {}
        }
        Value::Map(parts)
    });
    Fields::from([("documents".to_owned(), Value::Array(documents.collect()))])
}

/// # Errors
/// [`Unreadable`].
pub fn read_staged(document: &str, fields: &Fields) -> Result<Documents, Unreadable> {
    let unreadable = || Reader { document, fields }.unreadable("documents");
    let Some(Value::Array(documents)) = fields.get("documents") else { return Err(unreadable()) };
    let staged = documents.iter().map(|staged| {
        let Value::Map(parts) = staged else { return None };
        match (parts.get("document")?, parts.get("fields")) {
            (Value::Text(document), Some(Value::Map(fields))) => {
                Some((document.clone(), Change::Put(fields.clone())))
            }
            (Value::Text(document), None) => Some((document.clone(), Change::Delete)),
            _ => None,
        }
    });
    staged.collect::<Option<_>>().ok_or_else(unreadable)
}

/// A number as [`number`] writes it.
fn whole(value: &Value) -> Option<u64> {
    if let Value::Integer(number) = value { u64::try_from(*number).ok() } else { None }
}

fn number(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

/// About how many bytes a change of a document takes in a request.
#[must_use]
pub fn size(document: &str, change: &Change) -> usize {
    const AROUND: usize = 160;
    let fields = match change {
        Change::Put(fields) => {
            fields.iter().map(|(name, value)| name.len() + value_size(value)).sum::<usize>()
        }
        Change::Delete => 0,
    };
    AROUND + document.len() + fields
}

fn value_size(value: &Value) -> usize {
    const AROUND: usize = 16;
    AROUND
        + match value {
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Time(_) => 8,
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Array(values) => values.iter().map(value_size).sum(),
            Value::Map(fields) => fields.iter().map(|(name, value)| name.len() + value_size(value)).sum(),
        }
}

struct Reader<'a> {
    document: &'a str,
    fields: &'a Fields,
}

impl Reader<'_> {
    fn unreadable(&self, field: &'static str) -> Unreadable {
        Unreadable { document: self.document.to_owned(), field }
    }

    fn number(&self, field: &'static str) -> Result<u64, Unreadable> {
        self.fields.get(field).and_then(whole).ok_or_else(|| self.unreadable(field))
    }

    /// An array of maps, of which there are at most so many.
    fn maps<T>(
        &self,
        field: &'static str,
        most: usize,
        read: impl Fn(Reader<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Unreadable> {
        let Some(Value::Array(maps)) = self.fields.get(field) else { return Err(self.unreadable(field)) };
        if maps.len() > most {
            return Err(self.unreadable(field));
        }
        let map = |map: &Value| match map {
            Value::Map(fields) => read(Reader { document: self.document, fields }),
            Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Text(_)
            | Value::Bytes(_)
            | Value::Time(_)
            | Value::Array(_) => None,
        };
        maps.iter().map(map).collect::<Option<_>>().ok_or_else(|| self.unreadable(field))
    }

    fn small(&self, field: &'static str) -> Result<u16, Unreadable> {
        u16::try_from(self.number(field)?).map_err(|_| self.unreadable(field))
    }

    fn partitions(&self, field: &'static str) -> Result<u16, Unreadable> {
        let count = self.small(field)?;
        if count <= PARTITIONS_MAX { Ok(count) } else { Err(self.unreadable(field)) }
    }

    fn text(&self, field: &'static str) -> Result<&str, Unreadable> {
        match self.fields.get(field) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(self.unreadable(field)),
        }
    }

    fn bytes(&self, field: &'static str) -> Result<Bytes, Unreadable> {
        match self.fields.get(field) {
            Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Err(self.unreadable(field)),
        }
    }
}
