//! Reading the log beside its writer: operators' questions, replays, checkers.
//!
//! The index says in which stretch a frame stands; inside a stretch the frames are walked. Frames of older segments are indexed
//! when they are first asked for.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;

use super::error::LogError;
use super::frame::{self, Record, records};
use super::index::{Index, Segment};
use super::recent::{Held, Recent};
use super::segment;
use crate::disk::{Disk, File};
use crate::event::Seq;
use crate::framed_log::{FrameOffset, FrameSeed, Frames, Header as _, PIECES};
use crate::proof::note::Signer;
use crate::receipt::canonical::{self, Fields, Logged};
use crate::receipt::commitment::receipt_entry;
use crate::receipt::filter;
use crate::receipt::{Gist, ReceiptId};

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
pub struct LoggedReceipt {
    pub gist: Gist,
    pub log_index: u64,
    /// It is about a signal itself, and final for it.
    pub of_signal: bool,
    /// Who ordered what it tells of, where somebody did.
    pub actor: Option<Box<str>>,
    /// The whole receipt, canonical JSON.
    pub json: Vec<u8>,
}

/// A segment that is read frame by frame.
pub(super) struct SegmentFrames {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    pub frames: Frames<frame::Header>,
}

/// Shown a record: its frame, its place in the frame, itself, and where the frame stands.
type Visit<'v> = dyn FnMut(&frame::Header, u64, Record<'_>, &Place) -> Result<(), LogError> + 'v;

/// Shown where a frame stands: its segment, the file and the place; says how long it is.
type VisitFrame<'v> = dyn FnMut(u64, &dyn File, &Place) -> Result<u64, LogError> + 'v;

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

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// The first entry that is there, and how many the log has.
    #[must_use]
    pub fn entries(&self) -> (u64, u64) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        (index.begins(), index.size().unwrap_or_default())
    }

    /// The segment that has this entry, and its frames from one on that stands not far before it.
    pub(super) fn segment_with(&self, log_index: u64) -> Result<SegmentFrames, LogError> {
        let find = || self.index.read().unwrap_or_else(PoisonError::into_inner).find(log_index);
        let missing = || LogError::NoEntry { path: self.dir.clone(), log_index };
        let (segment, known) = find().ok_or_else(missing)?;
        let offset = match known {
            Some(offset) => offset,
            None => self.know_segment(segment)?.stretch_of(log_index).ok_or_else(missing)?,
        };
        self.open_at(FrameOffset { segment, offset })
    }

    /// The frames of a segment from this place on.
    pub(super) fn open_at(&self, at: FrameOffset) -> Result<SegmentFrames, LogError> {
        let path = segment::path(&self.dir, at.segment);
        let file = self.disk.open(&path).map_err(LogError::io(&path))?;
        Ok(SegmentFrames { path, file, frames: Frames::new(self.seed, at, PIECES) })
    }

    pub(super) fn index(&self) -> &RwLock<Index> {
        &self.index
    }

    /// Walks a segment of which only the beginning is known.
    pub(super) fn know_segment(&self, number: u64) -> Result<Segment, LogError> {
        let path = segment::path(&self.dir, number);
        let file = self.disk.open(&path).map_err(LogError::io(&path))?;
        self.index_segment(number, &*file, &path)
    }

    /// The receipt of this name.
    pub fn receipt(&self, id: ReceiptId) -> Result<Option<LoggedReceipt>, LogError> {
        Ok(self.receipts_of(id.seq)?.into_iter().find(|found| found.gist.id == id))
    }

    /// All receipts that the event `seq` caused, in the order of the log.
    pub fn receipts_of(&self, seq: Seq) -> Result<Vec<LoggedReceipt>, LogError> {
        let mut found = Vec::new();
        self.frames(|lowest, highest| (lowest..=highest).contains(&seq.0), &mut |segment, file, place| {
            let held = self.held(segment, file, place)?;
            for (index, record) in held.of(seq) {
                let fields = canonical::load(record.compact).ok_or_else(|| unreadable(place))?;
                found.push(prove(&fields, (&held.header, &self.origin), index, record, place)?);
            }
            Ok(held.header.frame_bytes() as u64)
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

    /// The frame at `place`, from memory if it was asked for lately.
    fn held(&self, segment: u64, file: &dyn File, place: &Place) -> Result<Arc<Held>, LogError> {
        if let Some(held) = self.recent.find(segment, place.offset) {
            return Ok(held);
        }
        let (header, bytes) = self.frame(segment, file, place)?;
        let held = Arc::new(Held::new(header, &bytes));
        self.recent.keep(segment, place.offset, Arc::clone(&held));
        Ok(held)
    }

    /// The frame at `place`, where one was committed.
    fn frame(
        &self,
        segment: u64,
        file: &dyn File,
        place: &Place,
    ) -> Result<(frame::Header, Bytes), LogError> {
        let begin = FrameOffset { segment, offset: place.offset };
        let found = Frames::new(self.seed, begin, PIECES).next(file, |_| true);
        found.map_err(LogError::io(&place.path))?.ok_or_else(|| lost(place))
    }

    /// Shows the records of every frame whose bounds are `wanted`.
    fn walk(&self, wanted: impl Fn(u64, u64) -> bool, visit: &mut Visit<'_>) -> Result<(), LogError> {
        self.frames(wanted, &mut |segment, file, place| {
            let (header, bytes) = self.frame(segment, file, place)?;
            let body = bytes.get(frame::HEADER_BYTES..).unwrap_or_default();
            for (index, record) in records(&header, body).enumerate() {
                visit(&header, index as u64, record, place)?;
            }
            Ok(header.frame_bytes() as u64)
        })
    }

    /// Shows where the frames of every stretch stand whose bounds are `wanted`.
    fn frames(&self, wanted: impl Fn(u64, u64) -> bool, visit: &mut VisitFrame<'_>) -> Result<(), LogError> {
        let segments = self.index.read().unwrap_or_else(PoisonError::into_inner).chosen(&wanted);
        for (number, known) in segments {
            let path = segment::path(&self.dir, number);
            let file = self.disk.open(&path).map_err(LogError::io(&path))?;
            let segment = if known.was_walked() { known } else { self.index_segment(number, &*file, &path)? };
            for (offset, end) in segment.stretches(&wanted) {
                let mut place = Place { path: path.clone(), offset };
                while place.offset < end {
                    place.offset += visit(number, &*file, &place)?;
                }
            }
        }
        Ok(())
    }

    fn index_segment(&self, number: u64, file: &dyn File, path: &Path) -> Result<Segment, LogError> {
        let (begins, ends) = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.begin_of(number).unwrap_or_default(), index.begin_of(number + 1))
        };
        let mut segment = Segment::empty(begins);
        let mut frames = Frames::<frame::Header>::new(self.seed, segment::begin(number), PIECES);
        loop {
            let offset = frames.place().offset;
            let found = frames.next(file, |_| true).map_err(LogError::io(path))?;
            let Some((header, frame)) = found else { break };
            let records = frame.get(frame::HEADER_BYTES..).unwrap_or_default();
            segment.add(offset, &header, frame::types(&header, records));
        }
        // The segment after it says how far it went.
        if ends.is_some_and(|ends| segment.entries() != (begins, ends)) {
            return Err(lost(&Place { path: path.to_owned(), offset: frames.place().offset }));
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.walked(number, segment.clone());
        Ok(segment)
    }
}

/// The receipt of a record that stands at `index` in a frame.
pub(super) fn prove(
    fields: &Fields<'_>,
    (header, origin): (&frame::Header, &str),
    index: u64,
    record: Record<'_>,
    place: &Place,
) -> Result<LoggedReceipt, LogError> {
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
        log_origin: origin,
    };
    let mut json = Vec::with_capacity(1024);
    canonical::receipt(fields, &logged, &mut json);
    let actor = filter::actor(fields).map(Into::into);
    Ok(LoggedReceipt { gist: fields.gist, log_index, of_signal: fields.origin.is_some(), actor, json })
}

/// Where a frame stands.
#[derive(Debug)]
pub struct Place {
    pub path: PathBuf,
    pub offset: u64,
}

pub(super) fn lost(place: &Place) -> LogError {
    let what = "a frame that was committed does not hold any more";
    LogError::Damaged { path: place.path.clone(), offset: place.offset, what }
}

pub(super) fn unreadable(place: &Place) -> LogError {
    let what = "a receipt does not give the entry that was logged for it";
    LogError::Damaged { path: place.path.clone(), offset: place.offset, what }
}
