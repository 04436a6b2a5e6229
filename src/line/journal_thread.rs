//! The journal's thread: reads what is there, hands on what is not decided, says that it is ready, and writes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::error::ServeError;
use super::recovery::{self, RecoveryError};
use super::running::Told;
use super::settings::Bounds;
use super::threads::{self, Stop};
use crate::clock;
use crate::disk::Disk;
use crate::event::{Feed, Order, RulesText, Seq};
use crate::jidoka::rules::{Compiled, RulesSource};
use crate::kaizen::Recorder;
use crate::kanban::dedup::Dedup;
use crate::kanban::journal::Lineage;
use crate::kanban::journal_clock::{Begin, JournalClock};
use crate::kanban::stage as journal;
use crate::kanban::tenure::Tenure;
use crate::ring::{Mark, Sleeper};

/// What the journal's thread is given.
pub struct JournalPlan {
    pub disk: Arc<dyn Disk>,
    pub data_dir: PathBuf,
    pub lineage: Lineage,
    pub bounds: Bounds,
    /// How long identities are kept.
    pub kept_for: Duration,
    pub dedup: Dedup,
    /// Events up to here need not be handed on.
    pub watermark: Seq,
    /// What decides on the events has seen so much; an edge has nothing that does.
    pub seen: Option<Seen>,
    pub lanes: journal::Lanes,
    pub marks: journal::Marks,
    pub recorder: Recorder,
    pub start: StartMarks,
    /// Of a node that shares the state of partitions.
    pub tenure: Option<Tenure>,
    /// No other node decides on signals of the same sources.
    pub has_all_of_sources: bool,
    pub ready: mpsc::Sender<Told>,
}

/// How far a start has come.
pub struct StartMarks {
    /// The last event that was read.
    pub read: Mark,
    /// The journal's last event when the line began.
    pub began: Mark,
}

/// What was seen of the journal by what decides on it.
pub struct Seen {
    /// Newest event that the log has a receipt of.
    pub newest: Option<Seq>,
    /// Text of the rules at the watermark, if there are any.
    pub stored: Option<Box<str>>,
    pub configured: RulesSource,
    pub compiled: Arc<Compiled>,
}

impl JournalPlan {
    /// Reads the journal, hands on what is not decided, says that it is ready, and writes until it is stopped.
    pub fn run(self, sleeper: &Sleeper, stop: &Stop) -> Result<(), ServeError> {
        let Self { disk, data_dir, lineage, bounds, mut dedup, watermark, seen, .. } = self;
        let Self { mut lanes, marks, recorder, .. } = self;
        let shards = lanes.shards.len();
        let mut hand =
            |shard: usize, feed| recovery::hand(&mut lanes.shards[shard], feed, &|| stop.abandon.is_on());
        let compiled = seen.as_ref().map(|seen| &*seen.compiled);
        let over = |seq: Seq| {
            self.start.read.publish(seq.0);
            stop.abandon.is_on()
        };
        let replayed =
            recovery::replay(&disk, &data_dir, watermark, &mut dedup, (shards, compiled), &mut hand, &over);
        let replayed = match replayed {
            Err(RecoveryError::Abandoned) => return Ok(()),
            replayed => replayed?,
        };
        let end = replayed.end;
        match &seen {
            Some(seen) => recovery::check_end(&data_dir, &end, watermark, seen.newest)?,
            None => recovery::check_confirmed(&data_dir, &end, watermark)?,
        }
        let begins_with = match seen {
            Some(Seen { stored, configured, .. }) => {
                let holding = replayed.rules.map(|rules| rules.text().into()).or(stored);
                // No token has such a name.
                let (actor, reason) = ("the configuration".into(), "start".into());
                // What an operator halted stays halted.
                let halts = holding.as_deref().map(RulesSource::from_text).transpose();
                let halts = halts.map_err(|source| RecoveryError::Rules { seq: watermark, source })?;
                let halts = halts.map(|held| held.halts).unwrap_or_default();
                let configured = configured.under(halts).to_text();
                let changes = holding.as_ref() != Some(&configured);
                changes.then(|| RulesText::new(configured, actor, reason)).transpose()?
            }
            None => None,
        };
        // An order to begin with is the next event.
        self.start.began.publish(if begins_with.is_some() { end.last.next() } else { end.last }.0);
        for shard in 0..shards {
            hand(shard, Feed::Through(end.last));
            hand(shard, Feed::Live);
        }
        let boot_id = clock::boot_id();
        let begin = Begin { last: end.time, boot_id, kept_for: self.kept_for, look: clock::look() };
        let clock = JournalClock::begin(&disk, &recovery::journal_dir(&data_dir), begin, marks.clock.clone());
        let segment_bytes = bounds.segment_bytes;
        let writer = recovery::write_on(&disk, &data_dir, segment_bytes, true, end, lineage, clock.now())?;
        let Bounds { low_water_bytes, backlog_bytes, .. } = bounds;
        let place = journal::Place { disk, data_dir, low_water_bytes, backlog_bytes };
        let mut sources = replayed.sources;
        if !self.has_all_of_sources {
            sources.stop_comparing();
        }
        let mut stage =
            journal::Stage::new(place, (writer, clock), dedup, lanes, marks, recorder, clock::now())
                .after(replayed.positions.clone())
                .counting(sources);
        if let Some(tenure) = self.tenure {
            stage = stage.sharing(tenure);
        }
        if let Some(rules) = begins_with {
            stage.begin_with(Order::Rules(Arc::new(rules)));
        }
        // Nobody listens only when the line ends already.
        let _ending = self.ready.send(Told::Ready(replayed.positions));
        Ok(threads::journal(stage, sleeper, stop)?)
    }
}

/// The journal's memory of what it promised is gone with it: only a new process may go on.
pub fn abort_on_panic<T>(run: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => value,
        Err(_) => std::process::abort(),
    }
}
