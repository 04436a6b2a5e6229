//! The log in its own order, frame by frame, beside its writer. One frame is in memory at a time. The index, which the writer
//! changes under a lock, is asked once for each segment and not for each frame.

use std::sync::Arc;

use bytes::Bytes;

use super::error::LogError;
use super::frame::{self, Record};
use super::reader::{LoggedReceipt, Place, Reader, SegmentFrames, lost, prove, unreadable};
use crate::receipt::ReceiptType;
use crate::receipt::canonical::{self, Fields};

/// Reads on from an entry of the log.
pub struct LogWalk {
    reader: Reader,
    /// The entry that comes next.
    next: u64,
    open: Option<SegmentFrames>,
}

/// One frame of the log.
pub struct LoggedBatch {
    header: frame::Header,
    bytes: Bytes,
    place: Place,
    origin: Arc<str>,
}

impl LogWalk {
    #[must_use]
    pub fn new(reader: Reader, next: u64) -> Self {
        Self { reader, next, open: None }
    }

    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Goes on from this entry.
    pub fn seek(&mut self, next: u64) {
        (self.next, self.open) = (next, None);
    }

    /// The frame with the next entry; `None` where that is beyond the `size` of the log, which only shows what was committed.
    pub fn next(&mut self, size: u64) -> Result<Option<LoggedBatch>, LogError> {
        if self.next >= size {
            return Ok(None);
        }
        if let Some(open) = &mut self.open
            && let Some(batch) = next_in(open, self.next, self.reader.origin())?
        {
            self.next = batch.end();
            return Ok(Some(batch));
        }
        // It stands in a different segment.
        let open = self.open.insert(self.reader.segment_with(self.next)?);
        let batch = next_in(open, self.next, self.reader.origin())?;
        let batch = batch
            .ok_or_else(|| lost(&Place { path: open.path.clone(), offset: open.frames.place().offset }))?;
        self.next = batch.end();
        Ok(Some(batch))
    }
}

/// The frame with the entry `next`; frames before it are left out.
fn next_in(open: &mut SegmentFrames, next: u64, origin: &Arc<str>) -> Result<Option<LoggedBatch>, LogError> {
    loop {
        match open.next_before(next + 1, origin)? {
            Some(batch) if batch.end() > next => return Ok(Some(batch)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

impl SegmentFrames {
    /// The next frame, if it begins before the entry `end` of the log.
    pub(super) fn next_before(
        &mut self,
        end: u64,
        origin: &Arc<str>,
    ) -> Result<Option<LoggedBatch>, LogError> {
        let Self { path, file, frames } = self;
        let place = Place { path: path.clone(), offset: frames.place().offset };
        let found = frames.next(&**file, |header| header.first < end).map_err(LogError::io(path))?;
        let batch = |(header, bytes)| LoggedBatch { header, bytes, place, origin: Arc::clone(origin) };
        Ok(found.map(batch))
    }
}

impl LoggedBatch {
    /// The entry that follows it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.header.first + u64::from(self.header.count)
    }

    /// Its receipts of the types that are `wanted`, from this entry on, each proven. The entries of the log about itself are none.
    pub fn receipts(
        &self,
        from: u64,
        wanted: impl Fn(ReceiptType) -> bool,
    ) -> impl Iterator<Item = Result<LoggedReceipt, LogError>> {
        let mut rest = self.bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
        let one = move |index: u32| {
            let Some((record, behind)) = frame::record(rest) else { return Some(Err(lost(&self.place))) };
            rest = behind;
            if !record.is_receipt() || self.header.first + u64::from(index) < from {
                return None;
            }
            let fields = match self.fields(record) {
                Ok(fields) => fields,
                Err(error) => return Some(Err(error)),
            };
            wanted(fields.gist.kind)
                .then(|| self.prove(&fields, self.header.first + u64::from(index), record))
        };
        (0..self.header.count).filter_map(one)
    }

    /// Its receipts as they are stored, before the entry `end` of the log, each with its index there. The entries of the log
    /// about itself are none.
    pub(super) fn stored(&self, end: u64) -> Vec<(u64, Record<'_>)> {
        let body = self.bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
        let all = (self.header.first..end).zip(frame::records(&self.header, body));
        all.filter(|(_, record)| record.is_receipt()).collect()
    }

    /// The fields of a stored receipt.
    pub(super) fn fields<'a>(&self, record: Record<'a>) -> Result<Fields<'a>, LogError> {
        canonical::load(record.compact).ok_or_else(|| unreadable(&self.place))
    }

    /// The receipt of a record that stands at `log_index`.
    pub(super) fn prove(
        &self,
        fields: &Fields<'_>,
        log_index: u64,
        record: Record<'_>,
    ) -> Result<LoggedReceipt, LogError> {
        let (of, at) = ((&self.header, &*self.origin), log_index - self.header.first);
        prove(fields, of, at, record, &self.place)
    }
}

impl std::fmt::Debug for LogWalk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWalk").field("next", &self.next).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LoggedBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoggedBatch").field("place", &self.place).finish_non_exhaustive()
    }
}
