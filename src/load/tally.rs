//! What one thread counts and times while it drives load; threads' tallies are added at the end.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::plan::Kind;

/// Width of a step of the series over time.
pub const STEP_NANOS: u64 = 100_000_000;
/// Latencies are told apart from here, with three digits, up to two minutes.
const NANOS_MIN: u64 = 100;
const NANOS_MAX: u64 = 120_000_000_000;
const DIGITS: u8 = 3;
/// Wrong answers that are told in full.
const EXAMPLES_MAX: usize = 5;

/// How the answer to one request is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Duplicate,
    /// Refused, as the request deserved.
    Refused,
    /// 429 or 503.
    Shed,
    Wrong,
}

#[derive(Debug)]
pub struct Tally {
    /// Of 202, in nanoseconds.
    pub accepted_nanos: Histogram<u64>,
    /// Of every other answer.
    pub other_nanos: Histogram<u64>,
    /// Requests by status of their answer.
    pub statuses: BTreeMap<u16, u64>,
    /// Signals accepted, by step of time.
    pub series: Vec<u64>,
    /// Requests.
    pub sent: u64,
    pub accepted: u64,
    pub duplicates: u64,
    pub refused: u64,
    pub shed: u64,
    pub wrong: u64,
    pub unknown: u64,
    /// Due in the schedule, yet not sent before the end.
    pub unsent: u64,
    /// When the last answer came, in nanoseconds of the run.
    pub last_answer: u64,
    /// How long it went on, in nanoseconds of the run.
    pub lasted: u64,
    pub wire: Wire,
    pub cpu_nanos: u64,
    /// What was wrong, in words.
    pub examples: Vec<String>,
}

/// What went over the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub connections: u64,
    /// Connections that broke, or that could not be made.
    pub breaks: u64,
    /// The node was gone, then or at the end.
    pub gone: bool,
}

impl Wire {
    pub fn add(&mut self, other: Self) {
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.connections += other.connections;
        self.breaks += other.breaks;
        self.gone |= other.gone;
    }
}

impl Tally {
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = || Histogram::new_with_bounds(NANOS_MIN, NANOS_MAX, DIGITS);
        Ok(Self {
            accepted_nanos: histogram()?,
            other_nanos: histogram()?,
            statuses: BTreeMap::new(),
            series: Vec::new(),
            sent: 0,
            accepted: 0,
            duplicates: 0,
            refused: 0,
            shed: 0,
            wrong: 0,
            unknown: 0,
            unsent: 0,
            last_answer: 0,
            lasted: 0,
            wire: Wire::default(),
            cpu_nanos: 0,
            examples: Vec::new(),
        })
    }

    /// Counts one answer; `at` is in nanoseconds of the run.
    pub fn answered(&mut self, verdict: Verdict, status: u16, took_nanos: u64, at: u64, signals: u64) {
        *self.statuses.entry(status).or_default() += 1;
        let histogram = if status == 202 { &mut self.accepted_nanos } else { &mut self.other_nanos };
        histogram.saturating_record(took_nanos);
        self.last_answer = self.last_answer.max(at);
        match verdict {
            Verdict::Accepted => {
                self.accepted += signals;
                let step = usize::try_from(at / STEP_NANOS).unwrap_or(usize::MAX);
                if step >= self.series.len() {
                    self.series.resize(step + 1, 0);
                }
                self.series[step] += signals;
            }
            Verdict::Duplicate => self.duplicates += signals,
            Verdict::Refused => self.refused += 1,
            Verdict::Shed => self.shed += 1,
            Verdict::Wrong => self.wrong += 1,
        }
    }

    /// Keeps what a wrong answer said, of the first few.
    pub fn tell(&mut self, kind: Kind, status: u16, body: &[u8]) {
        if self.examples.len() < EXAMPLES_MAX {
            let body = String::from_utf8_lossy(&body[..body.len().min(200)]);
            self.examples
                .push(format!("a request of kind {} was answered {status}: {body}", kind.into_str()));
        }
    }

    pub fn add(&mut self, other: Self) {
        // All histograms have the same bounds.
        let _same = self.accepted_nanos.add(&other.accepted_nanos);
        let _same = self.other_nanos.add(&other.other_nanos);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.series.resize(self.series.len().max(other.series.len()), 0);
        self.series.iter_mut().zip(other.series).for_each(|(sum, of)| *sum += of);
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.shed += other.shed;
        self.wrong += other.wrong;
        self.unknown += other.unknown;
        self.unsent += other.unsent;
        self.last_answer = self.last_answer.max(other.last_answer);
        self.lasted = self.lasted.max(other.lasted);
        self.wire.add(other.wire);
        self.cpu_nanos += other.cpu_nanos;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}
