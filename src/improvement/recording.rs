//! A recording: what a node measured over some time, in samples of about a second and in total.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::look::Look;
use super::numbers::float;

/// What stands in a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// Of the file's form; a different one is not read.
    pub format: u64,
    /// When it began, in milliseconds since 1970.
    pub begun_milliseconds: u64,
    pub samples: Vec<Sample>,
    /// The whole window.
    pub totals: Look,
}

/// What happened between two looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    pub milliseconds: u64,
    pub accepted: u64,
    pub failures: u64,
    /// By `stage …` and `target …`; those of which nothing was measured are left out.
    pub times: BTreeMap<String, Times>,
    /// By lane, all threads together: thousandths of the mean depth.
    pub waiting: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    pub count: u64,
    pub p50_nanoseconds: u64,
    pub p99_nanoseconds: u64,
}

/// Why looks make no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("the node started again while it was recorded: its counts began anew")]
    Restarted,
    #[error("the node measured nothing between two looks: too few looks were taken")]
    TooShort,
}

/// The form of the file that is written.
pub const FORMAT: u64 = 1;

/// Makes a recording of looks.
#[derive(Debug)]
pub struct Recorder {
    begun_milliseconds: u64,
    first: Look,
    last: Look,
    samples: Vec<Sample>,
}

impl Recorder {
    #[must_use]
    pub fn new(first: Look, begun_milliseconds: u64) -> Self {
        Self { begun_milliseconds, last: first.clone(), first, samples: Vec::new() }
    }

    /// One look more.
    ///
    /// # Errors
    /// [`Broken::Restarted`].
    pub fn look(&mut self, look: Look) -> Result<(), Broken> {
        if look.node.started_milliseconds != self.first.node.started_milliseconds {
            return Err(Broken::Restarted);
        }
        if look.elapsed_milliseconds > self.last.elapsed_milliseconds {
            self.samples.push(Sample::of(&look.since(&self.last)));
            self.last = look;
        }
        Ok(())
    }

    /// # Errors
    /// [`Broken::TooShort`].
    pub fn finish(self) -> Result<Recording, Broken> {
        if self.samples.is_empty() {
            return Err(Broken::TooShort);
        }
        Ok(Recording {
            format: FORMAT,
            begun_milliseconds: self.begun_milliseconds,
            totals: self.last.since(&self.first),
            samples: self.samples,
        })
    }
}

impl Sample {
    fn of(window: &Look) -> Self {
        let stages = window.stages.iter().map(|(name, stage)| (format!("stage {name}"), &stage.took));
        let targets = window.targets.iter().map(|(name, target)| (format!("target {name}"), &target.took));
        let times = stages.chain(targets).filter(|(_, took)| took.count() > 0).map(|(name, took)| {
            let (count, p50_nanoseconds, p99_nanoseconds) =
                (took.count(), took.quantile(500), took.quantile(990));
            (name, Times { count, p50_nanoseconds, p99_nanoseconds })
        });
        let mut waiting: BTreeMap<String, u64> = BTreeMap::new();
        for (name, lane) in &window.lanes {
            let mean = lane.waited_milliseconds * 1000 / window.elapsed_milliseconds.max(1);
            *waiting.entry(kind_of_lane(name).to_owned()).or_default() += mean;
        }
        Self {
            milliseconds: window.elapsed_milliseconds,
            accepted: window.accepted(),
            failures: window.failures(),
            times: times.collect(),
            waiting,
        }
    }

    /// Signals a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        float(self.accepted) * 1000.0 / float(self.milliseconds.max(1))
    }
}

/// The lane without its thread's number.
pub fn kind_of_lane(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((kind, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kind,
        Some(_) | None => name,
    }
}
