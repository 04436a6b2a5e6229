//! What is known of the committed log. It is sparse, one entry per stretch of 64 KiB.

use std::collections::BTreeMap;
use std::ops::Range;

use super::frame;
use crate::framed_log::Header as _;
use crate::receipt::filter::ReceiptTypes;

const STRETCH_BYTES: u64 = 64 * 1024;

/// What is known of the committed log.
#[derive(Clone, Debug, Default)]
pub struct Index {
    segments: BTreeMap<u64, Segment>,
    size: Option<u64>,
    checkpoint: String,
}

/// What is known of one segment.
#[derive(Clone, Debug)]
pub struct Segment {
    lowest: u64,
    highest: u64,
    /// Entries of the log before it.
    begins: u64,
    /// Where its last frame ends, of those that were walked, and how many entries the log has then.
    end: u64,
    entries: u64,
    /// `None` until its frames were walked.
    stretches: Option<Vec<Stretch>>,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    offset: u64,
    /// Index in the log of its first entry.
    first: u64,
    lowest: u64,
    highest: u64,
    /// Types of its receipts.
    types: ReceiptTypes,
}

/// Where a part of a segment begins that may have what is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPart {
    pub segment: u64,
    /// `None` where the segment was not walked.
    pub offset: Option<u64>,
    /// Index in the log of its first entry, and of the first one behind it.
    pub entries: Range<u64>,
}

impl Segment {
    /// Before its frames are walked.
    #[must_use]
    pub fn empty(begins: u64) -> Self {
        Self { lowest: u64::MAX, highest: 0, begins, end: 0, entries: begins, stretches: None }
    }

    /// Entries of the log at its beginning, and at its end as far as it was walked.
    #[must_use]
    pub fn entries(&self) -> (u64, u64) {
        (self.begins, self.entries)
    }

    pub fn add(&mut self, offset: u64, header: &frame::Header, types: ReceiptTypes) {
        self.lowest = self.lowest.min(header.lowest);
        self.highest = self.highest.max(header.highest);
        self.end = offset + header.frame_bytes() as u64;
        self.entries = header.first + u64::from(header.count);
        let stretches = self.stretches.get_or_insert_default();
        match stretches.last_mut() {
            Some(last) if offset < last.offset + STRETCH_BYTES => {
                last.lowest = last.lowest.min(header.lowest);
                last.highest = last.highest.max(header.highest);
                last.types = last.types.or(types);
            }
            _ => {
                let frame::Header { first, lowest, highest, .. } = *header;
                stretches.push(Stretch { offset, first, lowest, highest, types });
            }
        }
    }

    #[must_use]
    pub fn was_walked(&self) -> bool {
        self.stretches.is_some()
    }

    /// Where the stretch begins that has this entry of the log; `None` where the segment has it not, or was not walked.
    #[must_use]
    pub fn stretch_of(&self, log_index: u64) -> Option<u64> {
        let stretches = self.stretches.as_deref().filter(|_| log_index < self.entries)?;
        let behind = stretches.partition_point(|stretch| stretch.first <= log_index);
        stretches.get(behind.checked_sub(1)?).map(|stretch| stretch.offset)
    }

    /// The last stretch that begins before the entry `end` of the log and has one of these types.
    fn stretch_before(&self, end: u64, types: ReceiptTypes) -> Option<(u64, Range<u64>)> {
        let stretches = self.stretches.as_deref()?;
        let behind = stretches.partition_point(|stretch| stretch.first < end);
        let at = stretches[..behind].iter().rposition(|stretch| !stretch.types.and(types).is_empty())?;
        let next = stretches.get(at + 1).map_or(self.entries, |next| next.first);
        Some((stretches[at].offset, stretches[at].first..next))
    }

    /// Where the stretches begin and end whose bounds are `wanted`.
    pub fn stretches(&self, wanted: impl Fn(u64, u64) -> bool) -> impl Iterator<Item = (u64, u64)> {
        let stretches = self.stretches.as_deref().unwrap_or_default();
        let ends = stretches.iter().skip(1).map(|next| next.offset).chain([self.end]);
        let chosen = stretches.iter().zip(ends).filter(move |(s, _)| wanted(s.lowest, s.highest));
        chosen.map(|(stretch, end)| (stretch.offset, end))
    }
}

impl Index {
    /// Entries under the last checkpoint; `None` before the first.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    pub(super) fn segment_begins(&mut self, index: u64, size: u64, bounds_before: (u64, u64)) {
        if let Some(before) = index.checked_sub(1).and_then(|before| self.segments.get_mut(&before)) {
            (before.lowest, before.highest) = bounds_before;
        }
        self.segments.insert(index, Segment::empty(size));
        if size > 0 {
            self.size = Some(size);
        }
    }

    pub(super) fn committed(
        &mut self,
        (segment, offset): (u64, u64),
        header: &frame::Header,
        types: ReceiptTypes,
        note: String,
    ) {
        let segment = self.segments.entry(segment).or_insert_with(|| Segment::empty(header.first));
        segment.add(offset, header, types);
        self.size = Some(header.first + u64::from(header.count));
        self.checkpoint = note;
    }

    /// The first entry of the log that is there.
    #[must_use]
    pub fn begins(&self) -> u64 {
        self.segments.values().next().map_or(0, |segment| segment.begins)
    }

    /// The segment that has this entry of the log, if it is there, and where its stretch begins, if that is known.
    pub(super) fn find(&self, log_index: u64) -> Option<(u64, Option<u64>)> {
        let begun = self.segments.iter().rev().find(|(_, segment)| segment.begins <= log_index);
        let (number, segment) = begun.filter(|_| self.size.is_some_and(|size| log_index < size))?;
        Some((*number, segment.stretch_of(log_index)))
    }

    /// The last part that begins before the entry `end` of the log and may have receipts of these types; `None` where no part
    /// has. A segment that was not walked may have any.
    pub(super) fn part_before(&self, end: u64, types: ReceiptTypes) -> Option<LogPart> {
        self.segments.iter().rev().filter(|(_, segment)| segment.begins < end).find_map(
            |(number, segment)| {
                if !segment.was_walked() {
                    let next = self.begin_of(number + 1).unwrap_or(end);
                    return Some(LogPart { segment: *number, offset: None, entries: segment.begins..next });
                }
                let (offset, entries) = segment.stretch_before(end, types)?;
                Some(LogPart { segment: *number, offset: Some(offset), entries })
            },
        )
    }

    /// The segments whose bounds are `wanted` or not known.
    pub(super) fn chosen(&self, wanted: impl Fn(u64, u64) -> bool) -> Vec<(u64, Segment)> {
        let chosen =
            self.segments.iter().filter(|(_, s)| s.lowest == u64::MAX || wanted(s.lowest, s.highest));
        chosen.map(|(index, segment)| (*index, segment.clone())).collect()
    }

    /// A segment was walked, unless somebody else was faster.
    pub(super) fn walked(&mut self, index: u64, segment: Segment) {
        if let Some(known) = self.segments.get_mut(&index).filter(|known| !known.was_walked()) {
            *known = segment;
        }
    }

    /// Entries of the log before this segment, if it is there.
    pub(super) fn begin_of(&self, segment: u64) -> Option<u64> {
        self.segments.get(&segment).map(|segment| segment.begins)
    }

    pub(super) fn bounds(&self, segment: u64) -> (u64, u64) {
        self.segments.get(&segment).map_or((u64::MAX, 0), |segment| (segment.lowest, segment.highest))
    }
}
