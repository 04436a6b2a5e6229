//! Values of the latency of requests whose traces were recorded: the newest of each bucket, so that a page leads from a slow bucket
//! to a trace and to a receipt.

use std::collections::BTreeMap;

use super::exposition::Exemplar;
use super::metric::{Kind, Metric};
use super::span::{Sampling, Span, SpanName, SpanValue};
use crate::clock;

/// By bucket of [`Metric::RequestSeconds`].
#[derive(Debug, Default)]
pub struct Exemplars(BTreeMap<usize, Exemplar>);

impl Exemplars {
    /// A request's span is one.
    pub fn note(&mut self, span: &Span, sampling: &Sampling) {
        let Kind::Histogram(_, bounds) = Metric::RequestSeconds.declared().kind else { return };
        if span.name != SpanName::Receive {
            return;
        }
        let value = span.ended.saturating_duration_since(span.begun).as_secs_f64();
        let bucket = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        let seq = span.attributes.iter().find_map(|(name, value)| match value {
            SpanValue::Number(seq) if *name == "gemba.seq" => u64::try_from(*seq).ok(),
            SpanValue::Number(_) | SpanValue::Text(_) | SpanValue::Flag(_) => None,
        });
        let receipt = seq.filter(|_| sampling.decides);
        self.0.insert(bucket, Exemplar { trace: span.trace, receipt, value, time: clock::wall().0 });
    }

    pub fn of(&self, metric: Metric) -> impl Iterator<Item = &Exemplar> {
        self.0.values().filter(move |_| metric == Metric::RequestSeconds)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::exposition::Bucket;
    use super::super::exposition::{Format, Page, Show as _};
    use super::*;
    use crate::trace::TraceContext;

    #[test]
    fn the_newest_of_a_bucket_names_its_trace_and_its_receipt() {
        let sampling = Sampling { ratio: 1.0, trusts: true, decides: true, ..Sampling::default() };
        let mut exemplars = Exemplars::default();
        let now = clock::now();
        for (millis, seq) in [(3, 41), (4, 42), (200, 43), (5000, 44)] {
            let times = (now, now + Duration::from_millis(millis));
            let span = Span::below(TraceContext::begun(7, seq), SpanName::Receive, (0, 0), times);
            exemplars.note(&span.with("gemba.seq", seq), &sampling);
        }
        let receipts: Vec<Option<u64>> =
            exemplars.of(Metric::RequestSeconds).map(|one| one.receipt).collect();
        assert_eq!(receipts, [Some(42), Some(43), Some(44)]);
        assert_eq!(exemplars.of(Metric::FsyncSeconds).count(), 0);
        let exemplar = Exemplar {
            time: 1_700_000_000_007,
            ..exemplars.of(Metric::RequestSeconds).next().unwrap().clone()
        };
        let bucket = Bucket { bound: 0.005, count: 2, exemplar: Some(exemplar) };
        let written = |format| {
            let mut page = Page::new(format);
            page.histogram(Metric::RequestSeconds, &[], std::slice::from_ref(&bucket), 0.0);
            page.finish().lines().next().unwrap().to_owned()
        };
        assert_eq!(written(Format::Text), "gemba_request_seconds_bucket{le=\"0.005\"} 2");
        assert_eq!(
            written(Format::OpenMetrics),
            "gemba_request_seconds_bucket{le=\"0.005\"} 2 # {trace_id=\"00000000000000000000000000000007\",\
             span_id=\"000000000000002a\",receipt_id=\"r-000000000000002a-00\"} 0.004 1700000000.007"
        );
    }
}
