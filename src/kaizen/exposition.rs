//! The page of `/metrics` in both formats: Prometheus text 0.0.4 and OpenMetrics 1.0. Pure.

use std::fmt::Write as _;

use super::metric::{Kind, Metric};
use crate::trace::TraceContext;

/// How a page is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What an `Accept` field wants most (RFC 9110, section 12.5.1); text where it wants neither or does not say.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let mut best = (0, Self::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut version, mut quality) = (None, 1000);
            for part in parts {
                match part.split_once('=').map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
                {
                    Some((name, value)) if name.eq_ignore_ascii_case("version") => version = Some(value),
                    Some((name, value)) if name.eq_ignore_ascii_case("q") => quality = thousandths(value),
                    Some(_) | None => {}
                }
            }
            let format = match (media.as_str(), version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => Self::OpenMetrics,
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => Self::Text,
                (_, _) => continue,
            };
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }
}

/// A weight in thousandths; one that is not in the form counts as none.
fn thousandths(quality: &str) -> u32 {
    let (whole, part) = quality.split_once('.').unwrap_or((quality, ""));
    let is_plain = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let part = format!("{part:0<3}").parse::<u32>().ok().filter(|_| is_plain);
    match (whole, part) {
        ("0", Some(part)) => part,
        ("1", Some(0)) => 1000,
        _ => 0,
    }
}

/// Takes what is shown, metric by metric.
pub trait Show {
    /// Begins a metric; its samples follow.
    fn head(&mut self, metric: Metric);

    /// A counter or gauge.
    fn sample(&mut self, metric: Metric, labels: &[Box<str>], value: f64);

    /// Of a histogram; the last bucket has no bound, and so counts all.
    fn histogram(&mut self, metric: Metric, labels: &[Box<str>], buckets: &[Bucket], sum: f64);
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
}

/// One bucket: its upper bound in the metric's unit, how many values are not above it, and one that is in it and in no other.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    /// Infinite where there is none.
    pub bound: f64,
    pub count: u64,
    pub exemplar: Option<Exemplar>,
}

/// A value whose trace was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    pub trace: TraceContext,
    /// The number of the signal that its receipt is named after; `None` where none is made here.
    pub receipt: Option<u64>,
    /// In the metric's unit.
    pub value: f64,
    /// Milliseconds since 1970.
    pub time: u64,
}

impl Page {
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// OpenMetrics 1.0, section "Exemplars": at most 128 characters of names and values.
    fn exemplar(&mut self, exemplar: &Exemplar) {
        let Exemplar { trace, receipt, value, time } = exemplar;
        let id = u128::from_be_bytes(trace.id());
        let _infallible = write!(self.text, " # {{trace_id=\"{id:032x}\",span_id=\"{}\"", trace.span);
        if let Some(seq) = receipt {
            let _infallible = write!(self.text, ",receipt_id=\"r-{seq:016x}-00\"");
        }
        let _infallible = write!(self.text, "}} {value} {}.{:03}", time / 1000, time % 1000);
    }

    fn series(&mut self, metric: Metric, suffix: &str, labels: &[Box<str>], le: Option<&str>) {
        let declared = metric.declared();
        self.text.push_str(declared.name);
        self.text.push_str(suffix);
        let named = declared.labels.iter().map(|label| label.name).zip(labels.iter().map(|value| &**value));
        let mut open = '{';
        for (name, value) in named.chain(le.map(|bound| ("le", bound))) {
            self.text.push(open);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value, true);
            self.text.push('"');
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
    }
}

impl Show for Page {
    fn head(&mut self, metric: Metric) {
        let declared = metric.declared();
        let name = match (self.format, declared.kind) {
            // OpenMetrics names the family without the suffix of its samples.
            (Format::OpenMetrics, Kind::Counter) => declared.name.trim_end_matches("_total"),
            (Format::Text | Format::OpenMetrics, _) => declared.name,
        };
        // Writing to a string cannot fail.
        let _infallible = write!(self.text, "# HELP {name} ");
        escape(&mut self.text, declared.help, self.format == Format::OpenMetrics);
        let _infallible = writeln!(self.text, "\n# TYPE {name} {}", declared.kind.as_str());
        if self.format == Format::OpenMetrics
            && let Some(unit) = declared.unit.suffix()
        {
            let _infallible = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    fn sample(&mut self, metric: Metric, labels: &[Box<str>], value: f64) {
        self.series(metric, "", labels, None);
        let _infallible = writeln!(self.text, " {value}");
    }

    fn histogram(&mut self, metric: Metric, labels: &[Box<str>], buckets: &[Bucket], sum: f64) {
        for bucket in buckets {
            let bound = bound(bucket.bound, self.format);
            self.series(metric, "_bucket", labels, Some(&bound));
            let _infallible = write!(self.text, " {}", bucket.count);
            if let Some(exemplar) = bucket.exemplar.as_ref().filter(|_| self.format == Format::OpenMetrics) {
                self.exemplar(exemplar);
            }
            self.text.push('\n');
        }
        self.series(metric, "_sum", labels, None);
        let _infallible = writeln!(self.text, " {sum}");
        self.series(metric, "_count", labels, None);
        let _infallible = writeln!(self.text, " {}", buckets.last().map_or(0, |all| all.count));
    }
}

/// OpenMetrics 1.0, section "Considerations: Canonical Numbers": a float, with two digits of exponent where it is small.
fn bound(bound: f64, format: Format) -> String {
    match format {
        _ if bound.is_infinite() => "+Inf".into(),
        Format::Text => bound_of_text(bound),
        Format::OpenMetrics if bound < 1e-4 => {
            let short = format!("{bound:e}");
            let (digits, exponent) = short.split_once("e-").unwrap_or((&short, "0"));
            format!("{digits}e-{exponent:0>2}")
        }
        Format::OpenMetrics => format!("{bound:?}"),
    }
}

/// As text 0.0.4 has it, and so a scraped series.
pub fn bound_of_text(bound: f64) -> String {
    if bound.is_infinite() { "+Inf".into() } else { bound.to_string() }
}

/// The help of text 0.0.4 leaves quotes as they are.
fn escape(text: &mut String, value: &str, quotes: bool) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quotes => text.push_str("\\\""),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_wanted_most() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html", Format::Text),
            ("text/plain", Format::Text),
            (prometheus_3, Format::OpenMetrics),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", Format::OpenMetrics),
            ("application/openmetrics-text; version=0.0.1", Format::Text),
            ("application/openmetrics-text; version=2.0.0, */*", Format::Text),
            ("application/openmetrics-text; q=0.1, text/plain; q=0.2", Format::Text),
            ("application/openmetrics-text; q=0, text/plain; q=0.001", Format::Text),
            ("application/openmetrics-text; q=0", Format::Text),
            ("application/openmetrics-text; q=7", Format::Text),
            ("application/openmetrics-text; q=0.5, text/plain; q=0.50", Format::OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn what_would_end_a_value_is_escaped() {
        let mut page = Page::new(Format::Text);
        page.sample(Metric::RingDepth, &["a\"b\\c\nd".into()], 1.0);
        assert_eq!(page.finish(), "gemba_ring_depth{ring=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
