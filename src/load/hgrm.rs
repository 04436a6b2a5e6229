//! The percentile text of HdrHistogram (`.hgrm`), which its plotters read. Values are milliseconds, as wrk2 writes
//! them. Format: `outputPercentileDistribution` of the Java original.

use std::io::{self, Write};

use hdrhistogram::Histogram;

/// Steps for each halving of the distance to 100 %.
const TICKS_PER_HALF: u32 = 5;
const NANOS_PER_MILLI: f64 = 1e6;

/// One line of the distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub millis: f64,
    /// Part of all values, 0 to 1.
    pub quantile: f64,
    /// Values up to here.
    pub count: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a latency in nanoseconds")]
pub fn millis(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_MILLI
}

/// The distribution, ever finer towards its end.
pub fn points(histogram: &Histogram<u64>) -> Vec<Point> {
    let mut count = 0;
    let step = |step: hdrhistogram::iterators::IterationValue<u64>| {
        count += step.count_since_last_iteration();
        Point { millis: millis(step.value_iterated_to()), quantile: step.quantile_iterated_to(), count }
    };
    histogram.iter_quantiles(TICKS_PER_HALF).map(step).collect()
}

/// Writes the whole text.
pub fn write(histogram: &Histogram<u64>, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    for Point { millis, quantile, count } in points(histogram) {
        write!(out, "{millis:12.3} {quantile:2.12} {count:10}")?;
        if quantile < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - quantile))?;
        }
        writeln!(out)?;
    }
    let (mean, deviation) = (histogram.mean() / NANOS_PER_MILLI, histogram.stdev() / NANOS_PER_MILLI);
    writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]")?;
    let (max, count) = (millis(histogram.max()), histogram.len());
    writeln!(out, "#[Max     = {max:12.3}, Total count    = {count:12}]")?;
    writeln!(out, "#[Buckets = {:12}, SubBuckets     = {:12}]", histogram.buckets(), sub_buckets(histogram))
}

/// Steps that a bucket is divided into: enough for the digits that are kept.
fn sub_buckets(histogram: &Histogram<u64>) -> u32 {
    (2 * 10u32.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
mod tests {
    use super::*;

    #[test]
    fn every_line_agrees_with_the_histograms_own_quantiles() {
        let mut histogram = Histogram::<u64>::new_with_bounds(100, 120_000_000_000, 3).unwrap();
        for n in 1..=20_000u64 {
            histogram.record(n * n * 37).unwrap();
        }
        let mut text = Vec::new();
        write(&histogram, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("       Value     Percentile TotalCount 1/(1-Percentile)"));
        assert_eq!(lines.next(), Some(""));
        let mut last = (0.0, 0.0);
        let mut seen = 0;
        for line in lines.by_ref().take_while(|line| !line.starts_with('#')) {
            let columns: Vec<f64> = line.split_whitespace().map(|column| column.parse().unwrap()).collect();
            let own = millis(histogram.value_at_quantile(columns[1]));
            assert!((columns[0] - own).abs() <= own * 0.002 + 0.001, "{line} {own}");
            let own = histogram.count_between(0, histogram.value_at_quantile(columns[1]));
            assert!((columns[2] - own as f64).abs() <= 20.0, "{line} {own}");
            if columns[1] < 1.0 {
                assert!((columns[3] * (1.0 - columns[1]) - 1.0).abs() < 0.01, "{line}");
            }
            assert!(columns[0] >= last.0 && columns[2] >= last.1);
            last = (columns[0], columns[2]);
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
        assert!(last.1 > 19_999.5);
        assert!(text.contains("Total count    =        20000]"), "{text}");
        assert!(text.contains("SubBuckets     =         2048]"), "{text}");
    }

    #[test]
    fn an_empty_histogram_is_written_too() {
        let mut text = Vec::new();
        write(&Histogram::<u64>::new(3).unwrap(), &mut text).unwrap();
        assert!(String::from_utf8(text).unwrap().contains("Total count    =            0]"));
    }
}
