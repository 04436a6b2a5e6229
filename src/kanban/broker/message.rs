//! What one message says. Pure: bytes in, bytes out.
//!
//! A message holds signals of one edge and one partition, as the journal holds them, each under the number that the
//! edge gave it. Its span says more than its signals: of this edge and partition there is no other signal behind
//! `after` and up to `through`. So a receiver that knows through which number it has taken an edge's signals sees a
//! repeat, a gap and an overlap, whatever sizes the messages had when they were sent the first time.
//!
//! ```text
//! magic u32 | crc u32 | count u32 | number u64 for each signal | records
//! ```
//!
//! The checksum covers edge and span, which stand in the headers, so that no message is taken under another's.

use bytes::Bytes;

use crate::event::{EdgeName, Kind, Seq};
use crate::kanban::journal::record::{Decoder, Encoder, RecordKind};
use crate::limits::{
    FRAME_BYTES_MAX, FRAME_BYTES_SOFT, ID_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGE_SIGNALS_MAX, NAME_BYTES_MAX,
};
use crate::signal::{Provenance, Signal};

/// What the body is, for those who look into a queue.
pub const CONTENT_TYPE: &str = "application/vnd.gemba.signals.v1";
const MAGIC: [u8; 4] = *b"GSM1";
const HEAD_BYTES: usize = 12;
/// The longest record of a signal without its body: numbers, and four names and a provenance of the longest each.
const RECORD_BYTES_MAX: usize = 64 + 4 * (5 + ID_BYTES_MAX) + 2 * (1 + NAME_BYTES_MAX);
/// The longest message that an edge writes. Whether a draft takes one more is asked before it is written.
pub const MESSAGE_MAX: usize = HEAD_BYTES + 8 * MESSAGE_SIGNALS_MAX + MESSAGE_BYTES_MAX + RECORD_BYTES_MAX;
// Whatever is in one fits into a frame of the journal that takes one more unit.
const _: () = assert!(MESSAGE_MAX < FRAME_BYTES_MAX - FRAME_BYTES_SOFT);

/// Which of an edge's numbers a message speaks of: those behind `after`, up to `through`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub after: Seq,
    pub through: Seq,
}

/// Where a message comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub edge: EdgeName,
    pub partition: u16,
    pub span: Span,
}

/// Why a body is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no message of this version")]
    Foreign,
    #[error("its checksum does not fit its content and headers")]
    Damaged,
    #[error("its content does not fit its headers")]
    Inconsistent,
}

/// Signals that are becoming a message. Its room is kept from message to message.
#[derive(Debug, Default)]
pub struct Draft {
    numbers: Vec<Seq>,
    records: Vec<u8>,
    encoder: Encoder,
}

impl Draft {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    #[must_use]
    pub fn first(&self) -> Option<Seq> {
        self.numbers.first().copied()
    }

    #[must_use]
    pub fn last(&self) -> Option<Seq> {
        self.numbers.last().copied()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there is room for this one, too.
    #[must_use]
    pub fn takes(&self, signal: &Signal) -> bool {
        self.is_empty()
            || self.numbers.len() < MESSAGE_SIGNALS_MAX
                && self.records.len() + signal.body().len() <= MESSAGE_BYTES_MAX
    }

    pub fn push(&mut self, seq: Seq, signal: &Signal) {
        assert!(self.numbers.last().is_none_or(|last| *last < seq), "in the journal's order");
        self.encoder.signal(&mut self.records, signal);
        self.numbers.push(seq);
    }

    /// The body, for the headers of `origin`. Empty afterwards.
    pub fn seal(&mut self, origin: &Origin) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEAD_BYTES + 8 * self.numbers.len() + self.records.len());
        body.extend_from_slice(&MAGIC);
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&u32::try_from(self.numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
        for number in self.numbers.drain(..) {
            body.extend_from_slice(&number.0.to_le_bytes());
        }
        body.append(&mut self.records);
        self.encoder = Encoder::default();
        let crc = checksum(origin, &body);
        body[4..8].copy_from_slice(&crc.to_le_bytes());
        body
    }
}

/// The signals of a body, under their edge's numbers; they share its bytes. `before` is where earlier ones came from: as a
/// rule, these come from there, too.
///
/// # Errors
/// [`Unreadable`].
pub fn open(
    origin: &Origin,
    body: &Bytes,
    before: Option<&'static Provenance>,
) -> Result<Vec<(Seq, Signal)>, Unreadable> {
    let head: &[u8; HEAD_BYTES] = body.first_chunk().ok_or(Unreadable::Foreign)?;
    if head[..4] != MAGIC {
        return Err(Unreadable::Foreign);
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    if word(4) != checksum(origin, body) {
        return Err(Unreadable::Damaged);
    }
    let count = word(8) as usize;
    let begin = HEAD_BYTES + 8 * count.min(MESSAGE_SIGNALS_MAX);
    let numbers = body.get(HEAD_BYTES..begin).ok_or(Unreadable::Inconsistent)?;
    // Every message says for itself where its signals come from.
    if body.get(begin) != Some(&(RecordKind::Provenance as u8)) {
        return Err(Unreadable::Inconsistent);
    }
    let mut decoder = Decoder::new(body.slice(begin..)).after(before);
    let mut signals = Vec::with_capacity(numbers.len() / 8);
    let mut before = origin.span.after;
    for number in numbers.as_chunks().0 {
        let seq = Seq(u64::from_le_bytes(*number));
        let Ok(Some(Kind::Signal(signal))) = decoder.next_kind() else {
            return Err(Unreadable::Inconsistent);
        };
        if seq <= before || seq > origin.span.through {
            return Err(Unreadable::Inconsistent);
        }
        before = seq;
        signals.push((seq, signal));
    }
    match decoder.next_kind() {
        Ok(None) if signals.len() == count && count > 0 => Ok(signals),
        _ => Err(Unreadable::Inconsistent),
    }
}

/// Of the headers and a body, whose own field for it is left out.
#[must_use]
pub fn checksum(origin: &Origin, body: &[u8]) -> u32 {
    let Origin { edge, partition, span } = origin;
    let crc = crc32c::crc32c(edge.as_bytes());
    let crc = crc32c::crc32c_append(crc, &partition.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &span.after.0.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &span.through.0.to_le_bytes());
    let (magic, rest) = body.split_at(body.len().min(4));
    let crc = crc32c::crc32c_append(crc, magic);
    crc32c::crc32c_append(crc, rest.get(4..).unwrap_or_default())
}
