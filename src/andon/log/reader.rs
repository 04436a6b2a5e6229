//! Reading the log beside its writer: operators' questions, replays, checkers.
//!
//! The index in memory is sparse, one entry per stretch of 64 KiB; inside a stretch the frames are walked. Frames of
//! older segments are indexed when they are first asked for.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use super::frame::{self, Record, records};
use super::recent::{Held, Recent};
use super::{LogError, segment};
use crate::disk::{Disk, File};
use crate::event::Seq;
use crate::framed_log::{FrameOffset, FrameSeed, Frames, Header as _, PIECES};
use crate::proof::note::Signer;
use crate::receipt::canonical::{self, Fields, Logged};
use crate::receipt::commitment::{EntryType, receipt_entry};
use crate::receipt::{Gist, ReceiptId};

const STRETCH_BYTES: u64 = 64 * 1024;

/// What is known of the committed log.
#[derive(Clone, Debug, Default)]
pub struct Index {
    segments: BTreeMap<u64, Segment>,
    size: Option<u64>,
    checkpoint: String,
}

#[derive(Clone, Debug)]
struct Segment {
    lowest: u64,
    highest: u64,
    /// `None` until its frames were walked.
    stretches: Option<Vec<Stretch>>,
}

#[derive(Clone, Copy, Debug)]
struct Stretch {
    offset: u64,
    lowest: u64,
    highest: u64,
}

impl Segment {
    fn empty() -> Self {
        Self { lowest: u64::MAX, highest: 0, stretches: None }
    }

    fn add(&mut self, offset: u64, header: &frame::Header) {
        self.lowest = self.lowest.min(header.lowest);
        self.highest = self.highest.max(header.highest);
        let stretches = self.stretches.get_or_insert_default();
        match stretches.last_mut() {
            Some(last) if offset < last.offset + STRETCH_BYTES => {
                last.lowest = last.lowest.min(header.lowest);
                last.highest = last.highest.max(header.highest);
            }
            _ => stretches.push(Stretch { offset, lowest: header.lowest, highest: header.highest }),
        }
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
        self.segments.insert(index, Segment::empty());
        if size > 0 {
            self.size = Some(size);
        }
    }

    pub(super) fn committed(&mut self, segment: u64, offset: u64, header: &frame::Header, note: String) {
        self.segments.entry(segment).or_insert_with(Segment::empty).add(offset, header);
        self.size = Some(header.first + u64::from(header.count));
        self.checkpoint = note;
    }

    pub(super) fn bounds(&self, segment: u64) -> (u64, u64) {
        self.segments.get(&segment).map_or((u64::MAX, 0), |segment| (segment.lowest, segment.highest))
    }
}

/// Sees what was committed; cheap to clone, for any thread.
#[derive(Clone)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    seed: FrameSeed,
    index: Arc<RwLock<Index>>,
    recent: Arc<Recent>,
    origin: Arc<str>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// One receipt of the log, proven against its entry.
#[derive(Clone, Debug)]
pub struct Found {
    pub gist: Gist,
    /// It is about a signal itself, and final for it.
    pub of_signal: bool,
    pub log_index: u64,
    /// The whole receipt, canonical JSON.
    pub json: Vec<u8>,
}

/// Shown a record: its frame, its place in the frame, itself, and where the frame stands.
type Visit<'v> = dyn FnMut(&frame::Header, u64, Record<'_>, &Place) -> Result<(), LogError> + 'v;

/// Shown where a frame stands: its segment, the file and the place; says how long it is, or that there is none.
type VisitFrame<'v> = dyn FnMut(u64, &dyn File, &Place) -> Result<Option<u64>, LogError> + 'v;

impl Reader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        seed: FrameSeed,
        index: Arc<RwLock<Index>>,
        signer: &dyn Signer,
    ) -> Self {
        Self { disk, dir, seed, index, recent: Arc::default(), origin: signer.name().into() }
    }

    /// The last signed checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> String {
        self.index.read().unwrap_or_else(PoisonError::into_inner).checkpoint.clone()
    }

    /// The receipt of this name.
    pub fn receipt(&self, id: ReceiptId) -> Result<Option<Found>, LogError> {
        Ok(self.receipts_of(id.seq)?.into_iter().find(|found| found.gist.id == id))
    }

    /// All receipts that the event `seq` caused, in the order of the log.
    pub fn receipts_of(&self, seq: Seq) -> Result<Vec<Found>, LogError> {
        let mut found = Vec::new();
        self.frames(|lowest, highest| (lowest..=highest).contains(&seq.0), &mut |segment, file, place| {
            let Some(held) = self.held(segment, file, place)? else { return Ok(None) };
            for (index, record) in held.of(seq) {
                let fields = canonical::load(record.compact).ok_or_else(|| unreadable(place))?;
                found.push(self.prove(&fields, &held.header, index, record, place)?);
            }
            Ok(Some(held.header.frame_bytes() as u64))
        })?;
        Ok(found)
    }

    /// Names of all receipts for events numbered above `after`.
    pub fn logged_after(&self, after: u64) -> Result<HashSet<ReceiptId>, LogError> {
        let mut logged = HashSet::new();
        self.walk(|_, highest| highest > after, &mut |_, _, record, _| {
            if let Some(fields) = canonical::load(record.compact) {
                let id = fields.gist.id;
                if id.seq.0 > after {
                    logged.insert(id);
                }
            }
            Ok(())
        })?;
        Ok(logged)
    }

    /// Every receipt of the log in order, each proven against its entry.
    pub fn all(&self, visit: &mut dyn FnMut(Found)) -> Result<(), LogError> {
        self.walk(|_, _| true, &mut |header, index, record, place| {
            if record.entry[0] == EntryType::Receipt as u8 {
                let fields = canonical::load(record.compact).ok_or_else(|| unreadable(place))?;
                visit(self.prove(&fields, header, index, record, place)?);
            }
            Ok(())
        })
    }

    fn prove(
        &self,
        fields: &Fields<'_>,
        header: &frame::Header,
        index: u64,
        record: Record<'_>,
        place: &Place,
    ) -> Result<Found, LogError> {
        let log_index = header.first + index;
        let mut context = Vec::with_capacity(512);
        canonical::context(fields, &mut context);
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &context).as_ref());
        if receipt_entry(record.salt, &hash, record.signature) != *record.entry {
            return Err(unreadable(place));
        }
        let logged = Logged {
            hash: &hash,
            signature: record.signature,
            salt: record.salt,
            key_id: &faster_hex::hex_string(&header.key),
            log_index,
            log_origin: &self.origin,
        };
        let mut json = Vec::with_capacity(1024);
        canonical::receipt(fields, &logged, &mut json);
        Ok(Found { gist: fields.gist, of_signal: fields.origin.is_some(), log_index, json })
    }

    /// The frame at `place`, from memory if it was asked for lately; `None` where none begins.
    fn held(&self, segment: u64, file: &dyn File, place: &Place) -> Result<Option<Arc<Held>>, LogError> {
        if let Some(held) = self.recent.find(segment, place.offset) {
            return Ok(Some(held));
        }
        let Some((header, bytes)) = self.frame(segment, file, place)? else { return Ok(None) };
        let held = Arc::new(Held::new(header, &bytes));
        self.recent.keep(segment, place.offset, Arc::clone(&held));
        Ok(Some(held))
    }

    /// The frame at `place`; `None` where none begins.
    fn frame(
        &self,
        segment: u64,
        file: &dyn File,
        place: &Place,
    ) -> Result<Option<(frame::Header, Bytes)>, LogError> {
        let begin = FrameOffset { segment, offset: place.offset };
        Frames::new(self.seed, begin, PIECES).next(file, |_| true).map_err(LogError::io(&place.path))
    }

    /// Shows the records of every frame whose bounds are `wanted`.
    fn walk(&self, wanted: impl Fn(u64, u64) -> bool, visit: &mut Visit<'_>) -> Result<(), LogError> {
        self.frames(wanted, &mut |segment, file, place| {
            let Some((header, bytes)) = self.frame(segment, file, place)? else { return Ok(None) };
            let body = bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
            for (index, record) in records(&header, body).enumerate() {
                visit(&header, index as u64, record, place)?;
            }
            Ok(Some(header.frame_bytes() as u64))
        })
    }

    /// Shows where the frames of every stretch stand whose bounds are `wanted`.
    fn frames(&self, wanted: impl Fn(u64, u64) -> bool, visit: &mut VisitFrame<'_>) -> Result<(), LogError> {
        let segments: Vec<(u64, Segment)> = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let chosen =
                index.segments.iter().filter(|(_, s)| s.lowest == u64::MAX || wanted(s.lowest, s.highest));
            chosen.map(|(index, segment)| (*index, segment.clone())).collect()
        };
        for (number, segment) in segments {
            let path = segment::path(&self.dir, number);
            let file = self.disk.open(&path).map_err(LogError::io(&path))?;
            let stretches = match segment.stretches {
                Some(stretches) => stretches,
                None => self.index_segment(number, &*file, &path)?,
            };
            for (position, stretch) in stretches.iter().enumerate() {
                if !wanted(stretch.lowest, stretch.highest) {
                    continue;
                }
                let upto = stretches.get(position + 1).map_or(u64::MAX, |next| next.offset);
                let mut place = Place { path: path.clone(), offset: stretch.offset };
                while place.offset < upto {
                    let Some(bytes) = visit(number, &*file, &place)? else { break };
                    place.offset += bytes;
                }
            }
        }
        Ok(())
    }

    fn index_segment(&self, number: u64, file: &dyn File, path: &Path) -> Result<Vec<Stretch>, LogError> {
        let mut segment = Segment::empty();
        let mut frames = Frames::<frame::Header>::new(self.seed, segment::begin(number), PIECES);
        loop {
            let offset = frames.place().offset;
            let found = frames.next(file, |_| true).map_err(LogError::io(path))?;
            let Some((header, _)) = found else { break };
            segment.add(offset, &header);
        }
        let stretches = segment.stretches.clone().unwrap_or_default();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = index.segments.get_mut(&number).filter(|known| known.stretches.is_none()) {
            *known = segment;
        }
        Ok(stretches)
    }
}

struct Place {
    path: PathBuf,
    offset: u64,
}

fn unreadable(place: &Place) -> LogError {
    let what = "a receipt does not give the entry that was logged for it";
    LogError::Damaged { path: place.path.clone(), offset: place.offset, what }
}
