//! Whether a node does better, worse, or as before: two recordings, measure by measure.
//!
//! Each measure is a series of samples. Mann and Whitney's test says whether the series differ, corrected for samples that
//! depend on their neighbours, since what lasts for some seconds shows in several of them. Holm's correction holds the mistakes of
//! all measures together at 5 %. Series that lie far apart need no test. A difference counts only beyond 5 %, beyond what either recording drifts within itself, and
//! if the interval of the ratio says so, too.

use std::collections::BTreeSet;

use serde::Serialize;

use super::numbers::{float, number, seconds};
use super::recording::{Recording, Sample};
use super::statistics::{blocks, holm, lasting, mann_whitney, median, ratio, ratio_interval};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Better,
    Worse,
    /// No difference that chance would not make.
    Noise,
}

/// One measure in both recordings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    pub name: String,
    pub verdict: Verdict,
    /// Medians: of times in seconds.
    pub old: f64,
    pub new: f64,
    pub ratio: f64,
    /// Where 95 % of the ratios of resampled series lie.
    pub ratio_low: f64,
    pub ratio_high: f64,
    /// Of the test, corrected for the number of measures.
    pub probability: f64,
    /// A ratio nearer to 1 is not told from chance.
    pub least_ratio: f64,
    pub unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Seconds,
    PerSecond,
    Count,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// How it was judged.
    pub test: &'static str,
    /// Why nothing can be told; then there are no measures.
    pub cannot_tell: Vec<String>,
    /// What else differs, and may be the cause.
    pub changed: Vec<String>,
    pub measures: Vec<Measure>,
}

/// How the verdicts are found, for people.
const TEST: &str = "Mann-Whitney U over the samples, two-sided, corrected for autocorrelation, Holm-corrected at 5 %, \
                    or series further apart than twice their spread; ratio of medians with a 95 % bootstrap \
                    interval; least effect 5 %, or the drift within a recording";
const SIGNIFICANT: f64 = 0.05;
const LEAST_EFFECT: f64 = 0.05;
/// Load may differ by this factor.
const LOAD_APART: f64 = 1.2;
/// Blocks that a series is joined to for its interval, and samples without which nothing is told.
const BLOCKS: usize = 20;
const SAMPLES_MIN: usize = 12;

/// A measure in one recording.
struct Series {
    name: String,
    unit: Unit,
    more_is_better: bool,
    /// A difference below this is of no matter.
    least: f64,
    old: Vec<f64>,
    new: Vec<f64>,
}

impl Comparison {
    #[must_use]
    pub fn new(old: &Recording, new: &Recording) -> Self {
        let cannot_tell = why_not(old, new);
        let measures = if cannot_tell.is_empty() { judge(series(old, new)) } else { Vec::new() };
        Self { test: TEST, cannot_tell, changed: changed(old, new), measures }
    }

    /// Whether anything is worse beyond the noise.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.measures.iter().any(|measure| measure.verdict == Verdict::Worse)
    }
}

impl Verdict {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Noise => "noise",
        }
    }
}

impl Unit {
    #[must_use]
    pub fn shown(self, value: f64) -> String {
        match self {
            Self::Seconds => seconds(value),
            Self::PerSecond => format!("{}/s", number(value)),
            Self::Count => number(value),
        }
    }
}

/// Why the two cannot be compared.
fn why_not(old: &Recording, new: &Recording) -> Vec<String> {
    let mut why = Vec::new();
    let (before, after) = (&old.totals.node, &new.totals.node);
    if before.machine != after.machine {
        let told = |machine: &super::look::Machine| {
            let gib = float(machine.memory_bytes) / float(1 << 30);
            let super::look::Machine { processor, processors, kernel, file_system, .. } = machine;
            format!("{processors} x {processor}, {gib:.1} GiB, Linux {kernel}, {file_system}")
        };
        why.push(format!("the machines differ: {}; and {}", told(&before.machine), told(&after.machine)));
    }
    if before.role != after.role {
        why.push(format!("the roles differ: {} and {}", before.role, after.role));
    }
    for (which, recording) in [("old", old), ("new", new)] {
        if recording.totals.is_idle() {
            why.push(format!("the {which} recording is idle: no signal came"));
        }
        let samples = recording.samples.len();
        if samples < SAMPLES_MIN {
            why.push(format!("the {which} recording has {samples} samples, and {SAMPLES_MIN} are needed"));
        }
    }
    let rate = |recording: &Recording| {
        let totals = &recording.totals;
        let events = totals.tenants.values().map(|tenant| tenant.events).sum::<u64>();
        let load = totals.results.values().sum::<u64>().max(events + totals.other_tenants.events);
        float(load) * 1000.0 / float(totals.elapsed_milliseconds.max(1))
    };
    let (slow, fast) = (rate(old).min(rate(new)), rate(old).max(rate(new)));
    if slow > 0.0 && fast / slow > LOAD_APART {
        why.push(format!(
            "the load differs by more than 20 %: {}/s and {}/s",
            number(rate(old)),
            number(rate(new))
        ));
    }
    why
}

/// What else is not the same: the change that is judged is among it.
fn changed(old: &Recording, new: &Recording) -> Vec<String> {
    let (before, after) = (&old.totals.node, &new.totals.node);
    let mut changed = Vec::new();
    if before.version != after.version {
        changed.push(format!("version {} is now {}", before.version, after.version));
    }
    if before.configuration != after.configuration {
        changed.push("the configuration".into());
    }
    if before.policy != after.policy {
        changed.push("the policy packs".into());
    }
    if before.name != after.name {
        changed.push(format!("the node {} and the node {}", before.name, after.name));
    }
    changed
}

fn series(old: &Recording, new: &Recording) -> Vec<Series> {
    let both = |name: &str, unit, more_is_better, least, of: &dyn Fn(&Sample) -> Option<f64>| Series {
        name: name.into(),
        unit,
        more_is_better,
        least,
        old: old.samples.iter().filter_map(of).collect(),
        new: new.samples.iter().filter_map(of).collect(),
    };
    let mut all = vec![
        both("throughput", Unit::PerSecond, true, 0.0, &|sample| Some(sample.rate())),
        both("failures", Unit::PerSecond, false, 1.0, &|sample| {
            Some(float(sample.failures) * 1000.0 / float(sample.milliseconds.max(1)))
        }),
    ];
    let samples = || old.samples.iter().chain(&new.samples);
    let timed: BTreeSet<&String> = samples().flat_map(|sample| sample.times.keys()).collect();
    for name in timed {
        // The journal's time has milliseconds.
        let least = if name == "stage decide_wait" { 1e-3 } else { 0.0 };
        let of = |sample: &Sample| sample.times.get(name).copied();
        all.push(both(&format!("{name} p50"), Unit::Seconds, false, least, &|sample| {
            Some(float(of(sample)?.p50_nanoseconds) / 1e9)
        }));
        all.push(both(&format!("{name} p99"), Unit::Seconds, false, least, &|sample| {
            Some(float(of(sample)?.p99_nanoseconds) / 1e9)
        }));
    }
    let lanes: BTreeSet<&String> = samples().flat_map(|sample| sample.waiting.keys()).collect();
    for name in lanes {
        all.push(both(&format!("lane {name}"), Unit::Count, false, 1.0, &|sample| {
            sample.waiting.get(name).map(|depth| float(*depth) / 1000.0)
        }));
    }
    all.retain(|series| series.old.len() >= SAMPLES_MIN && series.new.len() >= SAMPLES_MIN);
    all
}

fn judge(all: Vec<Series>) -> Vec<Measure> {
    let joined: Vec<_> =
        all.iter().map(|series| (blocks(&series.old, BLOCKS), blocks(&series.new, BLOCKS))).collect();
    let chance = |Series { old, new, .. }: &Series| mann_whitney(old, new, lasting(old, new)).1;
    let chances: Vec<f64> = all.iter().map(chance).collect();
    let chances = holm(&chances);
    let judged = all.into_iter().zip(joined).zip(chances).map(|((series, (old, new)), probability)| {
        let Series { name, unit, more_is_better, least, .. } = series;
        let (before, after) = (median(&old), median(&new));
        let effect = ratio(before, after, least);
        let (ratio_low, ratio_high) = ratio_interval(&old, &new, least);
        let least_ratio = 1.0 + LEAST_EFFECT.max(drift(&old, least)).max(drift(&new, least));
        let grown = effect >= least_ratio && ratio_low > 1.0;
        let shrunk = effect <= 1.0 / least_ratio && ratio_high < 1.0;
        let verdict = match (probability < SIGNIFICANT || are_apart(&old, &new, least), grown, shrunk) {
            (true, true, _) if more_is_better => Verdict::Better,
            (true, true, _) => Verdict::Worse,
            (true, _, true) if more_is_better => Verdict::Worse,
            (true, _, true) => Verdict::Better,
            _ => Verdict::Noise,
        };
        let (old, new, ratio) = (before, after, effect);
        Measure { name, verdict, old, new, ratio, ratio_low, ratio_high, probability, least_ratio, unit }
    });
    judged.collect()
}

/// Whether two series lie so far apart that their order need not be judged: between the middle four fifths of both is more than
/// twice (as ratios: the square of) what either spreads over. Short series of samples that depend on each other can show a
/// change by a hundredfold no better than one by a tenth.
fn are_apart(old: &[f64], new: &[f64], least: f64) -> bool {
    let middle = |series: &[f64]| {
        let mut sorted = series.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let cut = sorted.len() / 10;
        let (low, high) = (sorted.get(cut), sorted.get(sorted.len().saturating_sub(cut + 1)));
        (low.copied().unwrap_or_default() + least, high.copied().unwrap_or_default() + least)
    };
    let ((old_low, old_high), (new_low, new_high)) = (middle(old), middle(new));
    if old_low <= 0.0 || new_low <= 0.0 {
        return false;
    }
    let spread = (old_high / old_low).max(new_high / new_low);
    (new_low / old_high).max(old_low / new_high) > spread.powi(2).max(1.0 + LEAST_EFFECT)
}

/// By how much the halves of one series differ: what a node does by itself is no effect of a change.
fn drift(series: &[f64], least: f64) -> f64 {
    let (first, second) = series.split_at(series.len() / 2);
    let apart = ratio(median(first), median(second), least);
    if apart > 0.0 { apart.max(1.0 / apart) - 1.0 } else { f64::INFINITY }
}
