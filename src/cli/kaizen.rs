//! `gemba kaizen`: records what a running node measures, says what to improve next, and whether a change helped.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{Client, Reach, Sent};
use super::output::{self, Failure, plain};
use super::progress::Progress;
use crate::clock;
use crate::config::Place;
use crate::config::secret::{Chooser, Kept, SecretRef, Written};
use crate::improvement::{self, BaselineKey, Comparison, Look, Recorder, Recording, Report, Verdict};
use crate::limits::{RECORDING_BYTES_MAX, RECORDING_SECONDS_MAX};
use secrecy::ExposeSecret as _;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Record what a running node measures into a signed file: a baseline
    Record {
        /// A new file
        file: PathBuf,
        /// Seconds to record
        #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=RECORDING_SECONDS_MAX))]
        duration: u64,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        keys: Keys,
    },
    /// Say which few parts cause most of the delay, the waiting and the failures, and which to change first
    Report {
        /// A baseline; without one a running node is recorded first
        file: Option<PathBuf>,
        /// Seconds to record where no file is named
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=RECORDING_SECONDS_MAX))]
        duration: u64,
        /// Write a page for a browser, too
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        keys: Keys,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is better or worse in a newer baseline, beyond chance; exits with 1 where something is worse
    Compare {
        /// A recording of before
        old: PathBuf,
        /// A recording of after
        new: PathBuf,
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        keys: Keys,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// What baselines are signed with, and which signatures hold.
#[derive(Args, Debug)]
pub struct Keys {
    /// File of the key that signs baselines; by default `baseline.key` in the data directory, made when it is first needed
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Public key, in hex, whose baselines are trusted as those of the own key are; may be repeated
    #[arg(long, value_name = "HEX")]
    trust: Vec<String>,
}

/// A look is taken this often.
const EVERY: Duration = Duration::from_secs(1);
/// Its name in the data directory.
const KEY_FILE: &str = "baseline.key";

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Record { file, duration, reach, keys } => record(&file, duration, &reach, &keys),
            Self::Report { file, duration, html, reach, keys, json } => {
                let recording = match &file {
                    Some(file) => open(file, &keys.trusted(&reach)?)?,
                    None => take(&reach.client()?, duration)?,
                };
                report(&recording, html.as_deref(), json)
            }
            Self::Compare { old, new, reach, keys, json } => {
                let trusted = keys.trusted(&reach)?;
                compare(&Comparison::new(&open(&old, &trusted)?, &open(&new, &trusted)?), json)
            }
        }
    }
}

fn record(file: &Path, duration: u64, reach: &Reach, keys: &Keys) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(format!("{}: {error}", file.display()));
    // Before a minute is spent on it.
    let key = keys.own(reach)?;
    if file.exists() {
        return Err(Failure::usage(format!("{} exists", file.display()))
            .hint("name a new file: a baseline is not written over"));
    }
    let recording = take(&reach.client()?, duration)?;
    let (samples, idle) = (recording.samples.len(), recording.totals.is_idle());
    let sealed = improvement::seal(recording, &key).map_err(Failure::io)?;
    std::fs::write(file, sealed).map_err(failed)?;
    let idle = if idle { "; no signal came meanwhile: it tells nothing of a node at work" } else { "" };
    let (file, key) = (file.display(), key.public());
    output::print(format!("{file}: {samples} samples, signed with the key {key}{idle}\n").as_bytes())
}

/// Looks at a node once a second.
fn take(client: &Client, seconds: u64) -> Result<Recording, Failure> {
    let look = || {
        let look = client.send("kaizen record", &Sent::default())?;
        serde_json::from_value::<Look>(look).map_err(|error| {
            Failure::io(format!("the node's answer cannot be read: {error}"))
                .hint("is the node of the same version as this command?")
        })
    };
    let mut recorder = Recorder::new(look()?, clock::wall().0);
    let mut progress = Progress::new(seconds);
    let begun = clock::now();
    for second in 1..=u32::try_from(seconds).unwrap_or(u32::MAX) {
        std::thread::sleep((EVERY * second).saturating_sub(clock::now() - begun));
        recorder.look(look()?).map_err(broken)?;
        progress.advance();
    }
    progress.finish();
    recorder.finish().map_err(broken)
}

fn broken(why: impl std::fmt::Display) -> Failure {
    Failure::check(why.to_string()).hint("record again while the node runs")
}

fn report(recording: &Recording, html: Option<&Path>, json: bool) -> Result<(), Failure> {
    let report = Report::new(recording);
    if let Some(file) = html {
        std::fs::write(file, improvement::page(&report, recording))
            .map_err(|error| Failure::io(format!("{}: {error}", file.display())))?;
    }
    if json {
        return output::print_json(&report);
    }
    match &report.first {
        Some(first) => {
            let (title, name) = (first.kind.title(), plain(&first.name));
            let (reason, advice) = (plain(&first.reason), first.advice);
            output::print(
                format!("Change first: {name} ({title})\n  Why: {reason}.\n  Do:  {advice}.\n\n").as_bytes(),
            )?;
        }
        None => output::print(b"Nothing came while it was recorded: there is nothing to rank.\n")?,
    }
    for ranking in &report.rankings {
        output::print(format!("{}\n", ranking.kind.title()).as_bytes())?;
        let rows = ranking.items.iter().take(SHOWN).map(|item| {
            let few = if item.vital { "*" } else { "" };
            let share = format!("{:.1} %", item.share * 100.0);
            [few.into(), plain(&item.name), ranking.kind.shown(item.amount), share, plain(&item.detail)]
        });
        output::print_table(["80 %", "NAME", "AMOUNT", "SHARE", "DETAIL"], rows)?;
        let more = ranking.items.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!("and {more} more: see --json\n\n") } else { "\n".into() };
        output::print(more.as_bytes())?;
    }
    Ok(())
}

/// Rows of a table.
const SHOWN: usize = 10;

fn compare(comparison: &Comparison, json: bool) -> Result<(), Failure> {
    if json {
        output::print_json(&json!({"worse": comparison.is_worse(), "comparison": comparison}))?;
    } else {
        let rows = comparison.measures.iter().map(|measure| {
            let shown = |value| measure.unit.shown(value);
            let ratio =
                format!("{:.2} ({:.2} to {:.2})", measure.ratio, measure.ratio_low, measure.ratio_high);
            let verdict = measure.verdict.as_str().to_owned();
            [
                plain(&measure.name),
                verdict,
                shown(measure.old),
                shown(measure.new),
                ratio,
                format!("{:.3}", measure.probability),
            ]
        });
        if !comparison.measures.is_empty() {
            output::print_table(["MEASURE", "VERDICT", "OLD", "NEW", "RATIO", "P"], rows)?;
            output::print(format!("{}\n", comparison.test).as_bytes())?;
        }
        for changed in &comparison.changed {
            output::print(format!("changed: {}\n", plain(changed)).as_bytes())?;
        }
    }
    if !comparison.cannot_tell.is_empty() {
        let why = comparison.cannot_tell.join("; ");
        return Err(Failure::usage(format!("these cannot be compared: {why}"))
            .hint("record both on one machine, under the same load, for at least half a minute"));
    }
    let count = |verdict| comparison.measures.iter().filter(|measure| measure.verdict == verdict).count();
    let (better, worse) = (count(Verdict::Better), count(Verdict::Worse));
    if worse > 0 {
        return Err(Failure::check(format!("{worse} measures are worse, {better} are better")));
    }
    if json {
        Ok(())
    } else {
        output::print(format!("{better} measures are better, none is worse\n").as_bytes())
    }
}

/// The recording of a file whose signature holds.
fn open(file: &Path, trusted: &[String]) -> Result<Recording, Failure> {
    let failed = |error: std::io::Error| Failure::io(format!("{}: {error}", file.display()));
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened.take(RECORDING_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > RECORDING_BYTES_MAX {
        return Err(Failure::usage(format!(
            "{} has more than {RECORDING_BYTES_MAX} bytes: it is not a baseline",
            file.display()
        )));
    }
    improvement::open(&bytes, trusted).map_err(|why| {
        Failure::check(format!("{}: {why}", file.display()))
            .hint("name the key that recorded it with --key FILE, or its public half with --trust HEX")
    })
}

impl Keys {
    fn file(&self, reach: &Reach) -> Result<PathBuf, Failure> {
        match &self.key {
            // With a directory, so that it can be said where it is made.
            Some(file) => Ok(Path::new(".").join(file)),
            None => Ok(reach.data_dir()?.join(KEY_FILE)),
        }
    }

    /// The key that signs; made where there is none.
    fn own(&self, reach: &Reach) -> Result<BaselineKey, Failure> {
        let file = self.file(reach)?;
        let secret = secret(&file);
        let dir = file.parent().unwrap_or(Path::new("."));
        if !dir.is_dir() {
            return Err(Failure::usage(format!(
                "{} is not a directory, so no key can be made there",
                dir.display()
            ))
            .hint("name a file for the key with --key FILE: this command may run far from the node"));
        }
        secret.create(dir).map_err(Failure::io)?;
        read(&secret)
    }

    /// The public keys whose signatures hold.
    fn trusted(&self, reach: &Reach) -> Result<Vec<String>, Failure> {
        let mut trusted: Vec<String> = self.trust.iter().map(|key| key.to_ascii_lowercase()).collect();
        let file = self.file(reach)?;
        if file.exists() || self.key.is_some() {
            trusted.push(read(&secret(&file))?.public());
        }
        Ok(trusted)
    }
}

fn secret(file: &Path) -> SecretRef {
    SecretRef {
        kept: Kept::File(file.to_owned()),
        what: "the key of baselines".into(),
        key: "--key".into(),
        place: Place::named("--key"),
        chosen_by: Chooser::Us(Written::Hex),
    }
}

fn read(secret: &SecretRef) -> Result<BaselineKey, Failure> {
    let seed = secret.read()?;
    let key = BaselineKey::from_hex(seed.expose_secret());
    key.ok_or_else(|| secret.wrong("it is not 32 bytes in hex").into())
}
