//! What a run found, for people and programs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::hgrm::millis;
use super::options::{Options, Protocol, Rate, SignatureScheme};
use super::shape::Shape;
use super::stop::Ended;
use super::tally::{STEP_NANOS, Tally, Wire};
use super::verify::Verification;

/// The settings that a run can be repeated with.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    pub url: String,
    pub source: String,
    pub scheme: SignatureScheme,
    pub protocol: Protocol,
    /// Signals per second; null is as fast as answers come.
    pub rate: Option<f64>,
    pub shape: Shape,
    pub duration_seconds: f64,
    pub connections: u32,
    pub pipeline: u32,
    pub threads: u32,
    pub batch: u32,
    pub tenants: u32,
    pub skew: f64,
    pub skus: u32,
    pub mix: String,
    pub seed: u64,
    /// What the ids of this run begin with.
    pub run: String,
}

impl Settings {
    #[must_use]
    pub fn new(options: &Options, seed: u64, run: &str) -> Self {
        Self {
            url: options.url.to_string(),
            source: options.source.clone(),
            scheme: options.scheme,
            protocol: options.protocol,
            rate: match options.rate {
                Rate::Max => None,
                Rate::PerSecond(rate) => Some(rate),
            },
            shape: options.shape,
            duration_seconds: options.duration,
            connections: options.connections,
            pipeline: options.pipeline,
            threads: options.threads,
            batch: options.batch,
            tenants: options.tenants,
            skew: options.skew,
            skus: options.skus,
            mix: options.mix.to_string(),
            seed,
            run: run.to_owned(),
        }
    }
}

/// Requests by how they ended.
#[derive(Clone, Debug, Serialize)]
pub struct Requests {
    pub sent: u64,
    /// Due in the schedule, yet not sent before the end: the server or the connections were too slow.
    pub unsent: u64,
    /// Refused as they deserved: bad signatures and malformed signals.
    pub refused: u64,
    /// 429 or 503.
    pub shed: u64,
    /// Another answer than the right one.
    pub wrong: u64,
    /// Without an answer.
    pub unknown: u64,
    pub by_status: BTreeMap<u16, u64>,
}

impl Requests {
    /// The status of all answers, if it is one.
    #[must_use]
    pub fn all_answered(&self) -> Option<u16> {
        let mut statuses = self.by_status.keys();
        statuses.next().copied().filter(|_| statuses.next().is_none())
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Signals {
    pub accepted: u64,
    pub duplicates: u64,
    pub accepted_per_second: f64,
}

/// In milliseconds, from the intended start.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p99_9: f64,
    pub max: f64,
}

impl Latency {
    #[must_use]
    pub fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| millis(nanos.value_at_quantile(quantile));
        Self {
            count: nanos.len(),
            mean: nanos.mean() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: millis(nanos.max()),
        }
    }
}

/// Accepted signals over time.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    pub step_seconds: f64,
    pub signals: Vec<u64>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub settings: Settings,
    /// Why it ended before its time, if it did.
    pub ended_early: Option<Ended>,
    /// Until the last answer, at least the duration.
    pub seconds: f64,
    pub requests: Requests,
    pub signals: Signals,
    /// Of 202.
    pub latency_millis: Latency,
    /// Of every other answer.
    pub other_latency_millis: Latency,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub connections_opened: u64,
    pub connections_broken: u64,
    /// CPU time of the generator's threads.
    pub generator_cpu_seconds: f64,
    pub accepted_over_time: Series,
    pub wrong_answers: Vec<String>,
    pub verification: Option<Verification>,
    /// Where everything comes from.
    #[serde(skip)]
    pub accepted_nanos: Histogram<u64>,
}

impl Summary {
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub fn new(
        settings: Settings,
        tally: Tally,
        verification: Option<Verification>,
        ended_early: Option<Ended>,
    ) -> Self {
        let lasted = Duration::from_nanos(tally.lasted).as_secs_f64();
        let meant = ended_early.map_or(settings.duration_seconds, |_| lasted.min(settings.duration_seconds));
        // A run without any time has no rate.
        let seconds = Duration::from_nanos(tally.last_answer).as_secs_f64().max(meant).max(1e-3);
        let Wire { bytes_sent, bytes_received, connections, breaks, gone: _ } = tally.wire;
        Self {
            ended_early,
            seconds,
            requests: Requests {
                sent: tally.sent,
                unsent: tally.unsent,
                refused: tally.refused,
                shed: tally.shed,
                wrong: tally.wrong,
                unknown: tally.unknown,
                by_status: tally.statuses,
            },
            signals: Signals {
                accepted: tally.accepted,
                duplicates: tally.duplicates,
                accepted_per_second: tally.accepted as f64 / seconds,
            },
            latency_millis: Latency::of(&tally.accepted_nanos),
            other_latency_millis: Latency::of(&tally.other_nanos),
            bytes_sent,
            bytes_received,
            connections_opened: connections,
            connections_broken: breaks,
            generator_cpu_seconds: Duration::from_nanos(tally.cpu_nanos).as_secs_f64(),
            accepted_over_time: Series {
                step_seconds: Duration::from_nanos(STEP_NANOS).as_secs_f64(),
                signals: tally.series,
            },
            wrong_answers: tally.examples,
            verification,
            accepted_nanos: tally.accepted_nanos,
            settings,
        }
    }

    /// Whether every answer was the right one, and the server kept its word where it was asked.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.requests.wrong == 0 && self.verification.as_ref().is_none_or(Verification::passed)
    }
}
