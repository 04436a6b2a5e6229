//! `gemba journal`: what is in the journal of a stopped node.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;

use super::configured::Configured;
use super::output::{self, Failure};
use super::serve::data_dir;
use crate::disk::{DataLock, RealDisk};
use crate::event::{Kind, Seq};
use crate::framed_log::Header as _;
use crate::kanban::journal::record::Decoder;
use crate::kanban::journal::repair::{self, Lost};
use crate::kanban::journal::{Damage, scan};
use crate::line::journal_dir;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the segments, or the events, and whether all of it is whole
    Inspect {
        /// The node's data directory; by default as configured
        dir: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
        /// Print every event as a line of JSON
        #[arg(long)]
        events: bool,
        /// First event to print
        #[arg(long, value_name = "SEQ", default_value_t = 0, requires = "events")]
        from: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what of a damaged journal can be kept, and mend it
    Repair {
        /// The node's data directory; by default as configured
        dir: Option<PathBuf>,
        #[command(flatten)]
        configured: Configured,
        /// Write the mended journal; the damaged one is kept beside it
        #[arg(long)]
        apply: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Inspect { dir, configured, events, from, json } => {
                let dir = data_dir(&configured, dir)?;
                let _lock = lock(&dir)?;
                if events { print_events(&dir, Seq(from)) } else { inspect(&dir, json) }
            }
            Self::Repair { dir, configured, apply, json } => {
                let dir = data_dir(&configured, dir)?;
                let _lock = lock(&dir)?;
                repair(&dir, apply, json)
            }
        }
    }
}

/// Nobody else may use the directory meanwhile.
fn lock(dir: &Path) -> Result<DataLock, Failure> {
    // The lock would be made in whatever directory was named.
    if matches!(journal_dir(dir).try_exists(), Ok(false)) {
        let what = format!("{}: there is no journal in it", dir.display());
        return Err(Failure::io(what).hint("name the `data_dir` of a node"));
    }
    DataLock::take(dir).map_err(|error| Failure::io(format!("{}: {error}", dir.display())))
}

/// What one segment holds.
#[derive(Default, Serialize)]
struct Segment {
    file: String,
    first_seq: u64,
    last_seq: u64,
    frames: u64,
    events: u64,
    bytes: u64,
    epochs: String,
}

fn inspect(dir: &Path, json: bool) -> Result<(), Failure> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut epochs = (0, 0);
    let end = scan(&RealDisk, &journal_dir(dir), |header, records, path, _| -> Result<(), Damage> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if segments.last().is_none_or(|segment| segment.file != file) {
            segments.push(Segment { file, first_seq: header.first.0, ..Segment::default() });
            epochs = (header.epoch.0, header.epoch.0);
        }
        if let Some(segment) = segments.last_mut() {
            epochs.1 = header.epoch.0;
            segment.last_seq = header.last().0;
            segment.frames += 1;
            segment.events += u64::from(header.count);
            segment.bytes += header.frame_bytes() as u64;
            segment.epochs = if epochs.0 == epochs.1 {
                epochs.0.to_string()
            } else {
                format!("{}-{}", epochs.0, epochs.1)
            };
        }
        drop(records);
        Ok(())
    });
    let end = end.map_err(damaged)?;
    let ended = if end.closed { "in order" } else { "without an orderly end" };
    if json {
        return output::print_json(&serde_json::json!({
            "segments": segments, "last_seq": end.last.0, "epoch": end.epoch.0, "closed": end.closed,
        }));
    }
    let rows = segments.into_iter().map(|segment| {
        [
            segment.file,
            segment.first_seq.to_string(),
            segment.last_seq.to_string(),
            segment.frames.to_string(),
            segment.events.to_string(),
            segment.bytes.to_string(),
            segment.epochs,
        ]
    });
    output::print_table(["SEGMENT", "FIRST SEQ", "LAST SEQ", "FRAMES", "EVENTS", "BYTES", "EPOCHS"], rows)?;
    output::print(format!("whole through event {}, ended {ended}\n", end.last.0).as_bytes())
}

fn repair(dir: &Path, apply: bool, json: bool) -> Result<(), Failure> {
    let journal = journal_dir(dir);
    let at_journal = |error| Failure::io(format!("{}: {error}", journal.display()));
    let disk = RealDisk;
    if repair::is_interrupted(&disk, &journal).map_err(at_journal)? {
        if !apply {
            let failure = Failure::check("a repair of this journal was interrupted");
            return Err(failure.hint("`gemba journal repair --apply` finishes it"));
        }
        repair::finish(&disk, &journal).map_err(at_journal)?;
    }
    let plan = repair::plan(&disk, &journal).map_err(at_journal)?;
    let lost = |hole: &repair::Hole| match hole.lost {
        Lost::Events(first, last) => format!("events {first} to {last}"),
        Lost::Nothing => "no event".to_owned(),
        Lost::Unknown => "unknown, nothing follows it".to_owned(),
    };
    let refused = plan.refused.as_ref().map(ToString::to_string);
    if json {
        let holes: Vec<_> = plan
            .holes
            .iter()
            .map(|hole| {
                let lost = match hole.lost {
                    Lost::Events(first, last) => serde_json::json!([first.0, last.0]),
                    Lost::Nothing => serde_json::Value::Null,
                    Lost::Unknown => "unknown".into(),
                };
                serde_json::json!({"file": hole.path.to_string_lossy(), "offset": hole.offset, "lost": lost})
            })
            .collect();
        output::print_json(
            &serde_json::json!({"kept": plan.events, "last_seq": plan.last.0, "holes": holes, "refused": refused}),
        )?;
    } else {
        for hole in &plan.holes {
            let told = format!("{}:{}: damaged; lost: {}\n", hole.path.display(), hole.offset, lost(hole));
            output::print(told.as_bytes())?;
        }
        if let Some(refused) = &refused {
            output::print(format!("a start refuses it: {refused}\n").as_bytes())?;
        }
        output::print(
            format!("can be kept: {} events, the last is {}\n", plan.events, plan.last).as_bytes(),
        )?;
    }
    if plan.is_whole() {
        return Ok(());
    }
    if !apply {
        let failure = Failure::check("the journal is damaged");
        return Err(failure
            .hint("--apply makes a new journal of what can be kept; the damaged segments stay beside it"));
    }
    let number = plan.apply(&disk, &journal).map_err(at_journal)?;
    let kept = format!("mended; the damaged segments are now {}/*.damaged-{number}\n", journal.display());
    output::print(kept.as_bytes())
}

fn damaged(damage: Damage) -> Failure {
    let hint = damage.hint();
    let failure = match damage {
        Damage::Io { .. } | Damage::Uncertain { .. } => Failure::io(damage),
        Damage::Segment { .. }
        | Damage::Missing { .. }
        | Damage::Interior { .. }
        | Damage::HalfMended { .. }
        | Damage::Record { .. } => Failure::check(damage.to_string()),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    time: u64,
    kind: &'static str,
    tenant: Option<&'a str>,
    sku: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
}

fn print_events(dir: &Path, from: Seq) -> Result<(), Failure> {
    let mut provenance = None;
    let mut failed = None;
    let end = scan(&RealDisk, &journal_dir(dir), |header, records, path, offset| -> Result<(), Damage> {
        let mut decoder = Decoder::new(records).after(provenance);
        let mut seq = header.first;
        let unreadable = |why| Damage::Record { path: path.to_owned(), offset, why };
        while let Some(kind) = decoder.next_kind().map_err(unreadable)? {
            if seq >= from && failed.is_none() {
                failed = print_event(seq, header.time.0, &kind).err();
            }
            seq = seq.next();
        }
        provenance = decoder.provenance();
        Ok(())
    });
    end.map_err(damaged)?;
    failed.map_or(Ok(()), Err)
}

fn print_event(seq: Seq, time: u64, kind: &Kind) -> Result<(), Failure> {
    let (tenant, sku) = kind.subject().unzip();
    let signal = match kind {
        Kind::Signal(signal) => Some(signal),
        Kind::Outcome(_)
        | Kind::Timer(_)
        | Kind::Command(_)
        | Kind::Replay(_)
        | Kind::Rules(_)
        | Kind::Reconfigured(_)
        | Kind::Stray(_)
        | Kind::Position(_)
        | Kind::Hold(_)
        | Kind::Adopt(_)
        | Kind::Shared(_)
        | Kind::Alarm(_)
        | Kind::Manifest(_) => None,
    };
    let counted = if let Kind::Manifest(manifest) = kind { Some(manifest.hour.source()) } else { None };
    let line = Line {
        seq: seq.0,
        time,
        kind: kind.as_str(),
        tenant,
        sku,
        id: signal.map(super::super::signal::Signal::id),
        r#type: signal.map(super::super::signal::Signal::kind),
        source: signal.map(|signal| &*signal.provenance.source).or(counted),
    };
    let mut text = output::json_line(&line)?.into_bytes();
    text.push(b'\n');
    output::print(&text)
}
