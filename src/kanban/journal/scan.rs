//! Reading the journal back, and the rule for its tail (promise P1).
//!
//! A frame that does not hold is either the torn end of the last write, which was never acknowledged, or damage to
//! something that was; [`crate::framed_log`] tells them apart. A torn tail is trimmed; damage is
//! refused with file and offset, since with one copy a guess would be a lie.
//!
//! A whole frame need not be on the device: what was written and not synced, or whose sync failed, can be read from the
//! page cache. Only the last frame can be so, since the writer stops at the first sync that fails. Whoever builds on
//! what is read calls [`recover`], which writes that frame again and syncs it before it is shown (decision 16).
//!
//! The remaining blind spot: rot of the very last frame of a busy line looks torn. A quiet line seals within 50 ms,
//! and the transparency log and the state store are compared with the end that was found.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::frame::{self, Mark};
use super::segment::{self, BadHeader, Lineage};
use crate::disk::{Disk, File};
use crate::event::{Epoch, Seq, UnixMillis};
use crate::framed_log::{FrameOffset, FrameSeed, Frames, make_certain, whole_frame_behind};
use crate::limits::{FRAME_BYTES_MAX, FRAME_EVENTS_MAX};

/// What the operator can do where bytes were read that the device does not take.
pub const UNCERTAIN: &str =
    "the device refuses writes; mend it and start again: nothing that was answered is lost";

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path}: the last frame cannot be made durable: {source}")]
    Uncertain { path: PathBuf, source: io::Error },
    #[error("{path}: {why}")]
    Segment { path: PathBuf, why: BadHeader },
    #[error("{path} is missing; the segments around it are there")]
    Missing { path: PathBuf },
    #[error("{path}:{offset}: the journal is damaged and whole records stand behind the damage")]
    Interior { path: PathBuf, offset: u64 },
    #[error("{path}: a repair of the journal was interrupted")]
    HalfMended { path: PathBuf },
    #[error("{path}:{offset}: {why}")]
    Record { path: PathBuf, offset: u64, why: super::record::Unreadable },
}

impl Damage {
    /// What the operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Interior { .. } | Self::Missing { .. } | Self::Segment { why: BadHeader::Damaged, .. } => {
                Some("restore the directory from a backup, or see what `gemba journal repair` would keep")
            }
            Self::Uncertain { .. } => Some(UNCERTAIN),
            Self::HalfMended { .. } => Some("`gemba journal repair --apply` finishes it"),
            Self::Segment { why: BadHeader::Version(_), .. } => {
                Some("start the version of the program that wrote it, or give this one a new `node.data_dir`")
            }
            Self::Segment { why: BadHeader::Stranger, .. } => {
                Some("segments of two journals lie in one directory: restore the directory from a backup")
            }
            Self::Segment { why: BadHeader::Foreign, .. } => {
                Some("something else wrote this file: restore the directory from a backup")
            }
            Self::Io { .. } | Self::Record { .. } => None,
        }
    }
}

/// File that says what a repair has still to do. While it is there, nobody else reads the journal.
pub const REPAIR_NOTE: &str = "repair";

/// One segment that is there.
#[derive(Clone, Debug)]
pub struct Segment {
    pub index: u64,
    /// Number that came next when it began.
    pub first: Seq,
    pub path: PathBuf,
}

/// Where the whole part of the journal ends.
#[derive(Clone, Debug)]
pub struct End {
    pub segments: Vec<Segment>,
    /// Which journal it is; `None` before its first segment.
    pub lineage: Option<Lineage>,
    /// Where the next frame goes.
    pub place: FrameOffset,
    /// Checksum of the last frame.
    pub before: u32,
    pub epoch: Epoch,
    /// Last number that was recovered; 0 when there is none.
    pub last: Seq,
    /// Last stamp.
    pub time: UnixMillis,
    /// The writer ended in order, so every spent number was recovered.
    pub closed: bool,
    /// The last frame, whole; empty where the last segment has none.
    pub newest: Bytes,
}

impl End {
    /// The first number that no writer can have spent: without an orderly end, a frame may have been lost that
    /// spent as many as a frame can hold.
    #[must_use]
    pub fn next(&self) -> Seq {
        let nothing_lost = self.closed || self.epoch == Epoch(0) || crate::fault::planted("seq-restarts");
        let lost = if nothing_lost { 0 } else { FRAME_EVENTS_MAX as u64 };
        Seq(self.last.0 + 1 + lost)
    }
}

/// The segments in a directory, in order.
pub fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<Segment>, Damage> {
    let names = disk.list(dir).map_err(at(dir))?;
    if names.iter().any(|path| path.file_name().is_some_and(|name| name == REPAIR_NOTE)) {
        return Err(Damage::HalfMended { path: dir.to_owned() });
    }
    let (listed, missing) = segment::KIND.list(disk, dir).map_err(at(dir))?;
    if let Some(missing) = missing {
        return Err(Damage::Missing { path: segment::path(dir, missing) });
    }
    let mut found = Vec::with_capacity(listed.len());
    for (index, path) in listed {
        let header = header(&*disk.open(&path).map_err(at(&path))?, &path)?;
        if header.index != index {
            return Err(Damage::Segment { path, why: BadHeader::Damaged });
        }
        found.push(Segment { index, first: header.first, path });
    }
    Ok(found)
}

/// Which journal is in a directory; `None` where none is.
///
/// # Errors
/// [`Damage`]: no header says it.
pub fn lineage(disk: &dyn Disk, dir: &Path) -> Result<Option<Lineage>, Damage> {
    let Some(oldest) = segments(disk, dir)?.into_iter().next() else { return Ok(None) };
    let file = disk.open(&oldest.path).map_err(at(&oldest.path))?;
    Ok(Some(header(&*file, &oldest.path)?.lineage))
}

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Damage {
    let path = path.to_owned();
    move |source| Damage::Io { path, source }
}

pub(super) fn header(file: &dyn File, path: &Path) -> Result<segment::Header, Damage> {
    let mut bytes = [0; segment::HEADER_BYTES];
    let got = file.read_at(&mut bytes, 0).map_err(at(path))?;
    segment::Header::read(&bytes[..got]).map_err(|why| Damage::Segment { path: path.to_owned(), why })
}

/// Shows every whole frame to `visit`, from the first segment on, and says where they end.
pub fn scan<E: From<Damage>>(
    disk: &dyn Disk,
    dir: &Path,
    mut visit: impl FnMut(&frame::Header, Bytes, &Path, u64) -> Result<(), E>,
) -> Result<End, E> {
    let segments = segments(disk, dir)?;
    let mut end = End {
        place: segment::begin(0),
        before: 0,
        epoch: Epoch(0),
        last: Seq(0),
        time: UnixMillis(0),
        closed: true,
        newest: Bytes::new(),
        segments: Vec::new(),
        lineage: None,
    };
    for (position, segment) in segments.iter().enumerate() {
        let file = disk.open(&segment.path).map_err(at(&segment.path))?;
        let header = header(&*file, &segment.path)?;
        let lineage = *end.lineage.get_or_insert(header.lineage);
        if header.lineage != lineage {
            return Err(Damage::Segment { path: segment.path.clone(), why: BadHeader::Stranger }.into());
        }
        if position == 0 {
            end.before = header.before;
            end.epoch = header.epoch;
            end.last = Seq(header.first.0.saturating_sub(1));
        } else if header.before != end.before {
            let before = &segments[position - 1];
            return Err(Damage::Interior { path: before.path.clone(), offset: end.place.offset }.into());
        }
        end.place = segment::begin(segment.index);
        end.newest = Bytes::new();
        read_segment(&*file, segment, lineage.seed, &mut end, &mut visit)?;
        let is_last = position + 1 == segments.len();
        let looked = is_last && !crate::fault::planted("interior-rot-trimmed");
        // What was there before the file was used again has older numbers.
        let newer = |header: &frame::Header| header.first > end.last;
        let behind = || whole_frame_behind(&*file, end.place, lineage.seed, newer);
        if looked && behind().map_err(at(&segment.path))? {
            return Err(Damage::Interior { path: segment.path.clone(), offset: end.place.offset }.into());
        }
    }
    end.segments = segments;
    Ok(end)
}

/// As [`scan`], for whoever builds on what it shows: all of it is on the device when it is shown.
///
/// Every frame but the last was synced before the next was written, and every segment before it got its name. So the
/// last frame and the names are all that an earlier process can have left in the page cache; the frame is written again,
/// and shown last.
pub fn recover<E: From<Damage>>(
    disk: &dyn Disk,
    dir: &Path,
    mut visit: impl FnMut(&frame::Header, Bytes, &Path, u64) -> Result<(), E>,
) -> Result<End, E> {
    disk.sync_dir(dir).map_err(at(dir))?;
    let mut held: Option<(frame::Header, Bytes, u64)> = None;
    let mut held_path = PathBuf::new();
    let end = scan(disk, dir, |header, records, path, offset| {
        if let Some((header, records, offset)) = held.replace((*header, records, offset)) {
            visit(&header, records, &held_path, offset)?;
        }
        if held_path.as_os_str() != path.as_os_str() {
            path.clone_into(&mut held_path);
        }
        Ok::<(), E>(())
    })?;
    if let Some(last) = end.segments.last() {
        let file = disk.open(&last.path).map_err(at(&last.path))?;
        let certain = make_certain(&*file, &end.newest, end.place.offset, "journal-trusts-cache");
        certain.map_err(|source| Damage::Uncertain { path: last.path.clone(), source })?;
    }
    if let Some((header, records, offset)) = held {
        visit(&header, records, &held_path, offset)?;
    }
    Ok(end)
}

/// Bytes read at once.
const PIECE_BYTES: usize = FRAME_BYTES_MAX + frame::HEADER_BYTES;

fn read_segment<E: From<Damage>>(
    file: &dyn File,
    segment: &Segment,
    seed: FrameSeed,
    end: &mut End,
    visit: &mut impl FnMut(&frame::Header, Bytes, &Path, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut frames = Frames::<frame::Header>::new(seed, end.place, PIECE_BYTES..=PIECE_BYTES);
    loop {
        let found = frames.next(file, |header| header.follows(end.before, end.epoch, end.last));
        let Some((header, frame)) = found.map_err(at(&segment.path))? else { return Ok(()) };
        let records = frame.slice(frame::HEADER_BYTES..);
        end.closed = header.count == 0 && *records == [Mark::Close as u8];
        if header.count > 0 {
            visit(&header, records, &segment.path, end.place.offset)?;
        }
        end.newest = frame;
        end.before = header.crc;
        end.epoch = header.epoch;
        end.last = header.last();
        end.time = end.time.max(header.time);
        end.place = frames.place();
    }
}
