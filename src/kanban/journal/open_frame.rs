//! The frame that is being built: events are numbered and encoded into it until it is written. Pure.

use super::frame::{self, Mark};
use super::record::Encoder;
use crate::event::{Epoch, Kind, Seq, UnixMillis};
use crate::limits::{
    BATCH_SIGNALS_MAX, BODY_BYTES_MAX, FRAME_BYTES_MAX, FRAME_BYTES_SOFT, FRAME_EVENTS_MAX, NAME_BYTES_MAX,
};

/// At most one frame is open. Its buffer is used again for the next one.
pub struct OpenFrame {
    /// Room for the header, and the records. Empty while no frame is open.
    bytes: Vec<u8>,
    encoder: Encoder,
    /// Events in it.
    count: u32,
    /// Number of its first event.
    first: Seq,
    /// Its stamp, or that of the frame before.
    time: UnixMillis,
}

impl OpenFrame {
    /// None is open; the next one begins with the number `first`, and its stamp is not before `time`.
    #[must_use]
    pub fn none(first: Seq, time: UnixMillis) -> Self {
        let bytes = Vec::with_capacity(FRAME_BYTES_MAX);
        Self { bytes, encoder: Encoder::default(), count: 0, first, time }
    }

    /// Opens a frame stamped `now`, which never goes back.
    pub fn begin(&mut self, now: UnixMillis) {
        assert!(self.bytes.is_empty(), "the frame before was written");
        self.time = self.time.max(now);
        self.bytes.resize(frame::HEADER_BYTES, 0);
        self.encoder = Encoder::default();
    }

    /// Opens a frame that has no events but this mark.
    pub fn mark(&mut self, mark: Mark) {
        assert!(self.bytes.is_empty(), "no frame is begun");
        self.bytes.resize(frame::HEADER_BYTES, 0);
        self.bytes.push(mark as u8);
    }

    #[must_use]
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// Whether it takes one more unit of `events`.
    #[must_use]
    pub fn takes(&self, events: usize) -> bool {
        self.bytes.len() < FRAME_BYTES_SOFT && self.count as usize + events <= FRAME_EVENTS_MAX
    }

    /// Adds an event.
    #[inline]
    pub fn append(&mut self, kind: &Kind) -> Seq {
        self.encoder.append(&mut self.bytes, kind);
        assert!(self.bytes.len() <= FRAME_BYTES_MAX, "a unit is bounded by the body limit");
        let seq = Seq(self.first.0 + u64::from(self.count));
        self.count += 1;
        seq
    }

    /// Number of its first event; while it has none, the number that comes next.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.first
    }

    /// The number that was given last.
    #[must_use]
    pub fn given(&self) -> Seq {
        Seq(self.first.0 + u64::from(self.count) - 1)
    }

    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Its bytes without a header, and what the header says, as far as the frame knows it.
    pub fn parts(&mut self, epoch: Epoch) -> (frame::Header, &mut [u8]) {
        let (count, first, time) = (self.count, self.first, self.time);
        (frame::Header { crc: 0, before: 0, epoch, length: 0, count, first, time }, &mut self.bytes)
    }

    /// Bytes with the header.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Closes the frame: the numbers of its events are spent.
    pub fn close(&mut self) {
        self.first = Seq(self.first.0 + u64::from(self.count));
        self.count = 0;
        self.bytes.clear();
    }
}

// A unit is never split: whatever one request can bring fits behind a frame that is not yet full. In a record, a
// name that the sender escaped stands twice; a source's fixed names stand in every record.
const _: () = assert!(
    2 * BODY_BYTES_MAX + BATCH_SIGNALS_MAX * (2 * NAME_BYTES_MAX + 128) + 1024 + frame::HEADER_BYTES
        <= FRAME_BYTES_MAX - FRAME_BYTES_SOFT
);
