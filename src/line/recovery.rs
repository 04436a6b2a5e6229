//! From what is on disk to a line that can take signals: state and log are opened, the journal is read once, and
//! what the state has not seen is decided again. Nothing is answered before this is done.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::alert::NotAnAlarm;
use crate::andon::log::{Log, LogError};
use crate::disk::{Disk, make_dir};
use crate::event::{Astray, Event, Feed, Kind, RulesText, Seq, UnixMillis};
use crate::jidoka::governor::Governor;
use crate::jidoka::rules::Compiled;
use crate::jidoka::store::{Loaded, StateStore, StoreError};
use crate::kanban::dedup::{ArchiveError, Dedup};
use crate::kanban::journal::record::Decoder;
use crate::kanban::journal::{self, Damage, End, Lineage, Spares, WriteError, Writer, recover, segments};
use crate::kanban::positions::Positions;
use crate::kanban::stage::{SourceLedger, shards_of};
use crate::place::ConfigError;
use crate::receipt::ReceiptId;
use crate::ring::{Full, WeighedSender};

/// Why the line cannot be taken up where it ended.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Journal(#[from] Damage),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the rules of event {seq} do not compile: {source}")]
    Rules { seq: Seq, source: ConfigError },
    #[error(
        "{path}: alert {key:?} is {why}; restore the state from a backup; while the journal is complete, it can be moved away and is rebuilt"
    )]
    Alert { path: PathBuf, key: String, why: NotAnAlarm },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// Not an error: nobody waits for it any more.
    #[error("the replay was given up")]
    Abandoned,
    #[error(
        "{path}: the journal ends at event {last}, but {witness} knows event {known}: its newest events are missing"
    )]
    Short { path: PathBuf, last: Seq, witness: &'static str, known: Seq },
    #[error(
        "{path}: the state store knows the events through {watermark}, but the journal begins at event {first}: what was decided between is missing"
    )]
    StateLost { path: PathBuf, watermark: Seq, first: Seq },
    #[error(
        "{path}: the transparency log has {size} entries, but had {known} when the state store was last written: it was lost, cut, or replaced by an older copy"
    )]
    LogShort { path: PathBuf, size: u64, known: u64 },
}

/// State and log as they were left.
pub struct Opened {
    pub store: Box<dyn StateStore>,
    pub governors: Vec<Governor>,
    /// Events up to here are in the state.
    pub watermark: Seq,
    /// The rules that hold there and from which event on, if they were ever journalled.
    pub rules: Option<(Seq, Box<str>)>,
    /// Partitions that were held there.
    pub held: Vec<u16>,
    /// Rows of the alerts.
    pub alerts: Vec<(String, Vec<u8>)>,
    pub log: Log,
    /// Receipts that the replay will make again.
    pub logged: HashSet<ReceiptId>,
}

/// Where things are in a data directory.
#[must_use]
pub fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

#[must_use]
pub fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("log")
}

#[must_use]
pub fn state_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("state")
}

#[must_use]
pub fn dedup_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("dedup")
}

/// Whether a journal was begun here.
pub fn has_journal(disk: &dyn Disk, data_dir: &Path) -> Result<bool, RecoveryError> {
    let path = journal_dir(data_dir);
    match disk.list(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(RecoveryError::Io { path, source }),
        Ok(_) => Ok(!segments(disk, &path)?.is_empty()),
    }
}

/// Takes up state and log.
pub fn open(data_dir: &Path, store: Box<dyn StateStore>, log: Log) -> Result<Opened, RecoveryError> {
    let mut governors = Vec::new();
    let Loaded { watermark, log_size, rules, held, alerts } =
        store.load(&mut |governor| governors.push(governor))?;
    // The log may lack receipts that the replay makes again, but none that were durable before a commit of the state.
    if log.size() < log_size {
        let path = log_dir(data_dir);
        return Err(RecoveryError::LogShort { path, size: log.size(), known: log_size });
    }
    // A signal that waits in a mailbox is numbered below the watermark, and its receipt is still to come.
    let oldest = governors.iter().filter_map(Governor::oldest_waiting).map(|seq| Seq(seq.0 - 1)).min();
    let logged = log.logged_after(oldest.map_or(watermark, |oldest| oldest.min(watermark)).0)?;
    Ok(Opened { store, governors, watermark, rules, held, alerts, log, logged })
}

/// What the journal said.
pub struct Replayed {
    pub end: End,
    /// The rules that hold at its end, if they came behind the watermark. Void ones are none.
    pub rules: Option<Arc<RulesText>>,
    /// Through which numbers the signals of edges were taken.
    pub positions: Positions,
    /// What sources sent within the hours that are not over.
    pub sources: SourceLedger,
}

/// Whether an event concerns the shards, and not the journal alone.
fn is_handed(kind: &Kind) -> bool {
    match kind {
        Kind::Position(_) => false,
        Kind::Manifest(manifest) => manifest.ends,
        Kind::Signal(_)
        | Kind::Outcome(_)
        | Kind::Timer(_)
        | Kind::Command(_)
        | Kind::Replay(_)
        | Kind::Rules(_)
        | Kind::Reconfigured(_)
        | Kind::Stray(_)
        | Kind::Hold(_)
        | Kind::Adopt(_)
        | Kind::Shared(_)
        | Kind::Alarm(_) => true,
    }
}

/// Which journal `data_dir` holds; a new one's lineage is written with its first segment.
pub fn lineage(disk: &dyn Disk, data_dir: &Path) -> Result<Lineage, RecoveryError> {
    let dir = journal_dir(data_dir);
    let io = |source| RecoveryError::Io { path: dir.clone(), source };
    make_dir(disk, &dir).map_err(io)?;
    match journal::lineage(disk, &dir)? {
        Some(lineage) => Ok(lineage),
        None => Lineage::random().map_err(io),
    }
}

/// Reads the journal once: identities into the memory, events that the state has not seen to their shards by `hand`.
/// Gives up when `over`, which is asked with the first event of each frame.
pub fn replay(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    watermark: Seq,
    dedup: &mut Dedup,
    (shards, compiled): (usize, Option<&Compiled>),
    hand: &mut dyn FnMut(usize, Feed),
    over: &dyn Fn(Seq) -> bool,
) -> Result<Replayed, RecoveryError> {
    let dir = journal_dir(data_dir);
    make_dir(&**disk, &dir).map_err(|source| RecoveryError::Io { path: dir.clone(), source })?;
    let held = segments(&**disk, &dir)?;
    let first = held.first().map_or(Seq(1), |segment| segment.first);
    dedup.begin_after(first)?;
    let mut provenance = None;
    let mut rules = None;
    // Those of the watermark: no shard has stepped anything yet.
    let mut since = compiled.and_then(Compiled::holding).map_or(Seq(0), |(since, _)| since);
    let mut positions = Positions::default();
    let mut sources = SourceLedger::default();
    let mut in_segment = (PathBuf::new(), u64::MAX);
    let end = recover(&**disk, &dir, |header, records, path, offset| -> Result<(), RecoveryError> {
        if over(header.first) {
            return Err(RecoveryError::Abandoned);
        }
        // What is in this frame is handed over with the next one.
        // Nothing is forgotten by the stamps of a journal whose time may have jumped.
        dedup.make_room(Seq(header.first.0 - 1), UnixMillis(0))?;
        if in_segment.0 != path {
            let index = held.iter().find(|segment| segment.path == path).map(|segment| segment.index);
            in_segment = (path.to_owned(), index.unwrap_or(u64::MAX));
        }
        let mut decoder = Decoder::new(records).after(provenance);
        let mut seq = header.first;
        loop {
            let kind = decoder.next_kind();
            let kind = kind.map_err(|why| Damage::Record { path: path.to_owned(), offset, why })?;
            let Some(kind) = kind else { break };
            match &kind {
                Kind::Signal(signal) => dedup.insert(signal.identity, signal.digest, seq, header.time),
                Kind::Stray(stray) if stray.why != Astray::Conflict => {
                    dedup.insert(stray.signal.identity, stray.signal.digest, seq, header.time);
                }
                Kind::Position(position) => positions.recover(position),
                Kind::Outcome(_)
                | Kind::Timer(_)
                | Kind::Command(_)
                | Kind::Replay(_)
                | Kind::Rules(_)
                | Kind::Reconfigured(_)
                | Kind::Stray(_)
                | Kind::Hold(_)
                | Kind::Adopt(_)
                | Kind::Shared(_)
                | Kind::Alarm(_)
                | Kind::Manifest(_) => {}
            }
            sources.take((seq, header.time), &kind, in_segment.1);
            if seq > watermark && shards > 0 && is_handed(&kind) {
                if let Kind::Rules(text) = &kind {
                    let compiles = compiled.map_or(Ok(()), |compiled| compiled.of(text.text()).map(drop));
                    compiles.map_err(|source| RecoveryError::Rules { seq, source })?;
                    if !text.is_void_under(since) {
                        (rules, since) = (Some(Arc::clone(text)), seq);
                    }
                }
                let event = Event { seq, time: header.time, kind };
                shards_of(&event, shards).for_each(|shard| hand(shard, Feed::Event(event.clone())));
            }
            seq = seq.next();
        }
        provenance = decoder.provenance();
        Ok(())
    })?;
    let known = dedup.archived_through();
    if known > end.last {
        return Err(RecoveryError::Short {
            path: dir,
            last: end.last,
            witness: "the memory of identities",
            known,
        });
    }
    Ok(Replayed { end, rules, positions, sources })
}

/// Compares the journal's end with what state and log have seen of it.
pub fn check_end(
    data_dir: &Path,
    end: &End,
    watermark: Seq,
    logged: Option<Seq>,
) -> Result<(), RecoveryError> {
    let path = journal_dir(data_dir);
    // Segments are given back only when the state has seen them; an empty state has seen none.
    if let Some(first) = end.segments.first().filter(|first| first.first > watermark.next()) {
        return Err(RecoveryError::StateLost { path: state_dir(data_dir), watermark, first: first.first });
    }
    for (witness, known) in [("the state store", Some(watermark)), ("the transparency log", logged)] {
        if let Some(known) = known.filter(|known| *known > end.last) {
            return Err(RecoveryError::Short { path, last: end.last, witness, known });
        }
    }
    Ok(())
}

/// Compares an edge's journal with what the broker has confirmed of it.
pub fn check_confirmed(data_dir: &Path, end: &End, confirmed: Seq) -> Result<(), RecoveryError> {
    if confirmed > end.last {
        let (path, last) = (journal_dir(data_dir), end.last);
        return Err(RecoveryError::Short { path, last, witness: "the broker", known: confirmed });
    }
    Ok(())
}

/// Opens the journal for writing after `end`; `ahead` as in [`Spares::open`].
pub fn write_on(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    segment_bytes: u64,
    ahead: bool,
    end: End,
    lineage: Lineage,
    now: UnixMillis,
) -> Result<Writer, RecoveryError> {
    let dir = journal_dir(data_dir);
    let end = End { lineage: end.lineage.or(Some(lineage)), ..end };
    let spares = Spares::open(Arc::clone(disk), &dir, segment_bytes, ahead);
    let spares = spares.map_err(|source| RecoveryError::Io { path: dir.clone(), source })?;
    Ok(Writer::open(Arc::clone(disk), &dir, segment_bytes, spares, end, now)?)
}

/// Hands over and rings, waiting while the lane is full: a replay is faster than the shards. Gives up when `over`.
pub fn hand(shard: &mut WeighedSender<Feed>, feed: Feed, over: &dyn Fn() -> bool) {
    let mut feed = feed;
    while let Err(Full(back)) = shard.push(feed) {
        if over() {
            return;
        }
        feed = back;
        shard.ring();
        std::thread::yield_now();
    }
    shard.ring();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Epoch, UnixMillis};
    use crate::framed_log::FrameOffset;
    use crate::kanban::journal::scan::Segment;

    /// A journal of events from `first` to `last`, whose oldest segment has this index.
    fn end(index: u64, first: u64, last: u64) -> End {
        End {
            segments: vec![Segment { index, first: Seq(first), path: "segment".into() }],
            lineage: None,
            place: FrameOffset { segment: index, offset: 64 },
            before: 0,
            epoch: Epoch(1),
            last: Seq(last),
            time: UnixMillis(0),
            closed: true,
            newest: bytes::Bytes::new(),
        }
    }

    #[test]
    fn a_witness_that_knows_more_than_the_journal_stops_the_start() {
        let check = |end: &End, watermark, logged| check_end(Path::new("data"), end, Seq(watermark), logged);
        assert!(check(&end(0, 1, 10), 10, Some(Seq(10))).is_ok());
        assert!(matches!(check(&end(0, 1, 10), 11, None), Err(RecoveryError::Short { .. })));
        assert!(matches!(check(&end(0, 1, 10), 5, Some(Seq(12))), Err(RecoveryError::Short { .. })));
    }

    #[test]
    fn a_lost_state_store_stops_the_start_unless_the_journal_still_has_everything() {
        let check = |end: &End, watermark| check_end(Path::new("data"), end, Seq(watermark), None);
        assert!(check(&end(0, 1, 10), 0).is_ok(), "it is decided again from the first event");
        assert!(check(&end(3, 1, 10), 0).is_ok(), "only segments without an event were given back");
        assert!(matches!(check(&end(3, 400, 500), 0), Err(RecoveryError::StateLost { .. })));
        assert!(check(&end(3, 400, 500), 450).is_ok());
        assert!(check(&end(3, 400, 500), 399).is_ok(), "all that came before is in the state");
        assert!(matches!(check(&end(3, 400, 500), 398), Err(RecoveryError::StateLost { .. })));
    }
}
