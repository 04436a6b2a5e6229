//! The report's two plots, as inline SVG.

use std::fmt::Write as _;

use super::hgrm::Point;
use super::summary::Series;
use super::table::grouped_rate;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 32.0;
/// Steps of the throughput that are drawn; more are joined.
const STEPS_MAX: usize = 200;
/// Lines of the vertical scale.
const RULES: f64 = 4.0;

/// Latency against percentile; each step to the right is a tenth of what is left.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a count, as a place on an axis")]
pub fn percentiles(points: &[Point]) -> String {
    let Some(last) = points.last() else { return empty() };
    // 100 % stands where the last single value is: 1/count of all is left.
    let nines = |quantile: f64| -(1.0 - quantile).max(1.0 / last.count.max(10) as f64).log10();
    let across = nines(1.0).max(1.0);
    let tall = last.millis.max(0.001);
    let line: Vec<(f64, f64)> =
        points.iter().map(|point| (nines(point.quantile) / across, point.millis / tall)).collect();
    let labels = ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %", "99.9999 %", "99.99999 %"];
    let marks: Vec<(f64, String)> = labels
        .into_iter()
        .zip(0u8..)
        .map(|(label, nines)| (f64::from(nines) / across, label.to_owned()))
        .filter(|(place, _)| *place <= 1.0)
        .collect();
    svg(&line, &marks, |part| format!("{:.2} ms", part * tall))
}

/// Accepted signals per second over time.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts, as places on axes")]
pub fn throughput(series: &Series) -> String {
    let join = series.signals.len().div_ceil(STEPS_MAX).max(1);
    let rates: Vec<f64> = series
        .signals
        .chunks(join)
        .map(|steps| steps.iter().sum::<u64>() as f64 / (steps.len() as f64 * series.step_seconds))
        .collect();
    let tall = rates.iter().copied().fold(0.0, f64::max);
    if tall <= 0.0 {
        return empty();
    }
    let last = rates.len().saturating_sub(1).max(1) as f64;
    let line: Vec<(f64, f64)> =
        rates.iter().enumerate().map(|(index, rate)| (index as f64 / last, rate / tall)).collect();
    let seconds = series.signals.len() as f64 * series.step_seconds;
    let marks: Vec<(f64, String)> = (0u8..=5)
        .map(|fifth| f64::from(fifth) / 5.0)
        .map(|part| (part, format!("{:.1} s", part * seconds)))
        .collect();
    svg(&line, &marks, |part| grouped_rate(part * tall))
}

fn empty() -> String {
    "<p class=\"note\">Nothing was accepted.</p>\n".to_owned()
}

fn place(across: f64, up: f64) -> (f64, f64) {
    (LEFT + across * (WIDTH - LEFT - RIGHT), TOP + (1.0 - up) * (HEIGHT - TOP - BOTTOM))
}

/// A line through points of the unit square, with marks below and a scale to the left.
fn svg(line: &[(f64, f64)], marks: &[(f64, String)], scale: impl Fn(f64) -> String) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
    let out = &mut svg;
    let mut draw = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _infallible = out.write_fmt(text);
    };
    let mut rule = 0.0;
    while rule <= RULES {
        let (left, y) = place(0.0, rule / RULES);
        let (right, _) = place(1.0, 0.0);
        draw(format_args!(
            "<line class=\"rule\" x1=\"{left:.1}\" y1=\"{y:.1}\" x2=\"{right:.1}\" y2=\"{y:.1}\"/>\n"
        ));
        let (x, y, label) = (left - 8.0, y + 4.0, scale(rule / RULES));
        draw(format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>\n"));
        rule += 1.0;
    }
    for (at, label) in marks {
        let (x, bottom) = place(*at, 0.0);
        let anchor = if *at > 0.97 { "end" } else { "middle" };
        let (end, below) = (bottom + 5.0, bottom + 20.0);
        draw(format_args!(
            "<line class=\"rule\" x1=\"{x:.1}\" y1=\"{bottom:.1}\" x2=\"{x:.1}\" y2=\"{end:.1}\"/>\n"
        ));
        draw(format_args!("<text x=\"{x:.1}\" y=\"{below:.1}\" text-anchor=\"{anchor}\">{label}</text>\n"));
    }
    draw(format_args!("<polyline class=\"line\" points=\""));
    for (across, up) in line {
        let (x, y) = place(*across, *up);
        draw(format_args!("{x:.1},{y:.1} "));
    }
    draw(format_args!("\"/>\n</svg>\n"));
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_stands_inside_the_plot() {
        let points: Vec<Point> = [(0.0, 1), (0.5, 500), (0.999, 999), (1.0, 1000)]
            .into_iter()
            .map(|(quantile, count)| Point { millis: 1.0 + quantile, quantile, count })
            .collect();
        let series = Series { step_seconds: 0.1, signals: (0..1000).collect() };
        for svg in [percentiles(&points), throughput(&series)] {
            let line = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            for point in line.split_whitespace() {
                let (x, y) = point.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!(
                    (LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y),
                    "{point}"
                );
            }
        }
        assert!(percentiles(&points).contains("99.9 %"));
    }

    #[test]
    fn nothing_makes_no_plot() {
        assert!(percentiles(&[]).contains("Nothing"));
        assert!(throughput(&Series { step_seconds: 0.1, signals: vec![0, 0] }).contains("Nothing"));
    }
}
