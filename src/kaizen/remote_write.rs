//! Prometheus remote write, 1.0 and 2.0 (its specifications of these names; 2.0 as of rc.4): requests as bytes, and what an answer
//! means. Pure.

mod wire;

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;

use super::metric::{Kind, Metric};
use super::samples::Sample;

/// Which of the two is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

/// The value of a series that has ended: a NaN with these bits.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Fields in which a receiver of 2.0 says what it wrote; the first counts samples.
pub const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

impl Version {
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::One => "application/x-protobuf",
            Self::Two => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// `X-Prometheus-Remote-Write-Version`.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::One => "0.1.0",
            Self::Two => "2.0.0",
        }
    }

    /// The body of a request, before it is compressed: samples of one moment, in milliseconds since 1970. Counters began at `since`.
    #[must_use]
    pub fn request(self, samples: &[Sample], time: i64, since: i64) -> Vec<u8> {
        match self {
            Self::One => one(samples, time).encode_to_vec(),
            Self::Two => two(samples, time, since).encode_to_vec(),
        }
    }
}

fn one(samples: &[Sample], time: i64) -> wire::v1::WriteRequest {
    let series = |(series, value): &Sample| wire::v1::TimeSeries {
        labels: series
            .labels
            .iter()
            .map(|(name, value)| wire::v1::Label { name: name.to_string(), value: value.to_string() })
            .collect(),
        samples: vec![wire::v1::Sample { value: *value, timestamp: time }],
    };
    wire::v1::WriteRequest { timeseries: samples.iter().map(series).collect() }
}

/// Every text once, the empty one first.
#[derive(Default)]
struct Symbols<'a> {
    all: Vec<&'a str>,
    at: HashMap<&'a str, u32>,
}

impl<'a> Symbols<'a> {
    fn of(&mut self, text: &'a str) -> u32 {
        *self.at.entry(text).or_insert_with(|| {
            self.all.push(text);
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn two(samples: &[Sample], time: i64, since: i64) -> wire::v2::Request {
    let mut symbols = Symbols::default();
    symbols.of("");
    let mut timeseries = Vec::with_capacity(samples.len());
    for (series, value) in samples {
        let labels_refs = series.labels.iter().flat_map(|(name, value)| [&**name, &**value]);
        let labels_refs = labels_refs.map(|text| symbols.of(text)).collect();
        let start_timestamp = if starts(series.metric) { since } else { 0 };
        let declared = series.metric.declared();
        let metadata = wire::v2::Metadata {
            r#type: match declared.kind {
                Kind::Counter => 1,
                Kind::Gauge => 2,
                Kind::Histogram(..) => 3,
            },
            help_ref: symbols.of(declared.help),
            unit_ref: symbols.of(declared.unit.suffix().unwrap_or_default()),
        };
        timeseries.push(wire::v2::TimeSeries {
            labels_refs,
            samples: vec![wire::v2::Sample { value: *value, timestamp: time, start_timestamp }],
            metadata: Some(metadata),
        });
    }
    wire::v2::Request { symbols: symbols.all.into_iter().map(str::to_owned).collect(), timeseries }
}

/// Whether it counts from the start of the process.
fn starts(metric: Metric) -> bool {
    match metric.declared().kind {
        Kind::Counter | Kind::Histogram(..) => true,
        Kind::Gauge => false,
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many of its samples were written.
    Written(u64),
    /// The same again in 1.0. It is certain that the receiver speaks that alone, or it may have refused the samples.
    OtherVersion { is_certain: bool },
    /// It may be different the next time, and not sooner than the receiver asked for.
    Again(Option<Duration>),
    /// It would be the same the next time.
    Refused,
}

/// What the head of an answer says.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    pub status: u16,
    /// By `Retry-After`.
    pub after: Option<Duration>,
    /// By the first of [`WRITTEN`].
    pub samples: Option<u64>,
    /// Whether any of [`WRITTEN`] is there.
    pub says_written: bool,
}

impl Answer {
    /// To a request of so many samples; `is_proven`: the receiver has said before what it wrote, so it speaks 2.0.
    #[must_use]
    pub fn of(said: &Said, version: Version, count: u64, is_proven: bool) -> Self {
        match (said.status, version) {
            (200..=299, Version::One) => Self::Written(count),
            // A part may be written, and the rest refused by 400.
            (200..=299 | 400, Version::Two) if said.says_written => {
                Self::Written(said.samples.unwrap_or(0).min(count))
            }
            // One that knows only 1.0 takes it for an empty request of that, and says that all is well.
            (200..=299 | 415, Version::Two) => Self::OtherVersion { is_certain: true },
            (400, Version::Two) if !is_proven => Self::OtherVersion { is_certain: false },
            (429 | 500..=599, _) => Self::Again(said.after),
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::exposition::{Bucket, Show};
    use super::super::samples::Known;
    use super::*;

    fn samples() -> Vec<Sample> {
        let outer = [("cluster".to_owned(), "eu".to_owned()), ("job".to_owned(), "gemba".to_owned())];
        let mut taking = Known::default().take(&outer);
        taking.sample(Metric::QueueDepth, &[], 3.0);
        taking.sample(Metric::Signals, &["accepted".into()], 5.0);
        let bucket = |bound, count| Bucket { bound, count, exemplar: None };
        taking.histogram(Metric::FsyncSeconds, &[], &[bucket(0.0001, 1), bucket(f64::INFINITY, 2)], 0.5);
        let (taken, gone, known) = taking.end();
        assert!(gone.is_empty());
        let (_, gone, _) = known.take(&outer).end();
        assert_eq!(gone.len(), taken.len(), "nothing is there now");
        taken
    }

    #[test]
    fn version_1_has_sorted_labels_and_no_empty_one() {
        let body = Version::One.request(&samples(), 1000, 7);
        let request = wire::v1::WriteRequest::decode(&*body).unwrap();
        let shown: Vec<String> = request
            .timeseries
            .iter()
            .map(|series| {
                let labels: Vec<String> =
                    series.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
                assert!(series.labels.is_sorted_by(|a, b| a.name < b.name), "{labels:?}");
                let [sample] = &series.samples[..] else { panic!("{series:?}") };
                assert_eq!(sample.timestamp, 1000);
                format!("{} {}", labels.join(","), sample.value)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "__name__=queue_depth,cluster=eu,job=gemba 3",
                "__name__=gemba_signals_total,cluster=eu,job=gemba,result=accepted 5",
                "__name__=gemba_fsync_seconds_bucket,cluster=eu,job=gemba,le=0.0001 1",
                "__name__=gemba_fsync_seconds_bucket,cluster=eu,job=gemba,le=+Inf 2",
                "__name__=gemba_fsync_seconds_sum,cluster=eu,job=gemba 0.5",
                "__name__=gemba_fsync_seconds_count,cluster=eu,job=gemba 2",
            ]
        );
    }

    #[test]
    fn version_2_says_the_same_by_symbols() {
        let (ours, body) = (samples(), Version::Two.request(&samples(), 1000, 7));
        let request = wire::v2::Request::decode(&*body).unwrap();
        assert_eq!(request.symbols[0], "");
        assert_eq!(request.symbols.iter().collect::<BTreeSet<_>>().len(), request.symbols.len());
        for ((series, value), sent) in ours.iter().zip(&request.timeseries) {
            let texts: Vec<&str> =
                sent.labels_refs.iter().map(|at| &*request.symbols[*at as usize]).collect();
            let labels: Vec<&str> =
                series.labels.iter().flat_map(|(name, value)| [&**name, &**value]).collect();
            assert_eq!(texts, labels);
            let started = if series.metric == Metric::QueueDepth { 0 } else { 7 };
            assert_eq!(
                sent.samples,
                [wire::v2::Sample { value: *value, timestamp: 1000, start_timestamp: started }]
            );
            let metadata = sent.metadata.unwrap();
            assert_eq!(request.symbols[metadata.help_ref as usize], series.metric.declared().help);
        }
        let fsync = request.timeseries.last().unwrap().metadata.unwrap();
        assert_eq!((fsync.r#type, &*request.symbols[fsync.unit_ref as usize]), (3, "seconds"));
    }

    #[test]
    fn every_answer_means_what_the_specifications_say() {
        let after = Some(Duration::from_secs(3));
        for status in 100..=599 {
            for version in [Version::One, Version::Two] {
                for (samples, says_written) in
                    [(None, false), (None, true), (Some(7), true), (Some(99), true)]
                {
                    for is_proven in [false, true] {
                        let said = Said { status, after, samples, says_written };
                        let expected = match (status, version, says_written) {
                            (200..=299, Version::One, _) => Answer::Written(10),
                            (200..=299 | 400, Version::Two, true) => {
                                Answer::Written(samples.unwrap_or(0).min(10))
                            }
                            (200..=299 | 415, Version::Two, _) => Answer::OtherVersion { is_certain: true },
                            (400, Version::Two, _) if !is_proven => {
                                Answer::OtherVersion { is_certain: false }
                            }
                            (429 | 500..=599, ..) => Answer::Again(after),
                            _ => Answer::Refused,
                        };
                        assert_eq!(
                            Answer::of(&said, version, 10, is_proven),
                            expected,
                            "{said:?} {version:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_stale_marker_has_its_bits() {
        assert_eq!(STALE.to_bits(), 0x7ff0_0000_0000_0002);
        assert!(STALE.is_nan());
    }
}
