//! A signed batch on its way to the disk.

use super::error::LogError;
use super::frame;
use super::index::Index;
use super::tail::Tail;
use crate::receipt::filter::ReceiptTypes;

pub struct Sealed {
    /// Where it stands.
    at: Tail,
    header: frame::Header,
    /// Of its receipts.
    types: ReceiptTypes,
    note: String,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl Sealed {
    #[must_use]
    pub(super) fn new(
        at: Tail,
        (header, types): (frame::Header, ReceiptTypes),
        note: String,
        bytes: Vec<u8>,
    ) -> Self {
        Self { at, header, types, note, bytes }
    }

    /// Entries in the log with this batch.
    pub(super) fn size(&self) -> u64 {
        self.header.first + u64::from(self.header.count)
    }

    /// Writes the batch and makes it durable.
    pub fn write(&self) -> Result<(), LogError> {
        self.at.write(&self.bytes)
    }

    /// Shows the batch to readers. Returns its buffer.
    pub(super) fn show(self, index: &mut Index) -> Vec<u8> {
        let place = self.at.end.place();
        let at = (place.segment, place.offset);
        index.committed(at, &self.header, self.types, self.note);
        self.bytes
    }
}
