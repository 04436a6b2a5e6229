//! A run's result as a table for the terminal; the report shows the same rows.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use super::summary::{Latency, Summary};
use super::verify::Verification;

/// Rows of a name and a value.
pub type Rows = Vec<(String, String)>;

/// Digits in groups of three.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, rounded")]
pub fn grouped_rate(rate: f64) -> String {
    grouped(rate.round() as u64)
}

fn row(rows: &mut Rows, name: impl Into<String>, value: impl Into<String>) {
    rows.push((name.into(), value.into()));
}

fn latency(rows: &mut Rows, of: &str, latency: &Latency) {
    row(rows, format!("{of}, count"), grouped(latency.count));
    let quantiles = [
        ("p50", latency.p50),
        ("p90", latency.p90),
        ("p99", latency.p99),
        ("p99.9", latency.p99_9),
        ("max", latency.max),
    ];
    for (name, millis) in quantiles {
        row(rows, format!("{of}, {name}"), format!("{millis:.3} ms"));
    }
}

/// Everything that was measured.
#[must_use]
pub fn rows(summary: &Summary) -> Rows {
    let mut rows = Rows::new();
    if let Some(ended) = summary.ended_early {
        row(&mut rows, "ended early", ended.why());
    }
    let (requests, signals) = (&summary.requests, &summary.signals);
    row(&mut rows, "signals accepted", grouped(signals.accepted));
    row(&mut rows, "signals accepted per second", grouped_rate(signals.accepted_per_second));
    if signals.duplicates > 0 {
        row(&mut rows, "duplicates recognised", grouped(signals.duplicates));
    }
    latency(&mut rows, "202", &summary.latency_millis);
    if summary.other_latency_millis.count > 0 {
        latency(&mut rows, "other answers", &summary.other_latency_millis);
    }
    row(&mut rows, "requests sent", grouped(requests.sent));
    for (status, count) in &requests.by_status {
        row(&mut rows, format!("answered {status}"), grouped(*count));
    }
    for (name, count) in [
        ("refused as expected", requests.refused),
        ("shed (429, 503)", requests.shed),
        ("wrong answers", requests.wrong),
        ("unknown (connection lost)", requests.unknown),
        ("due but not sent", requests.unsent),
    ] {
        if count > 0 {
            row(&mut rows, name, grouped(count));
        }
    }
    row(&mut rows, "bytes sent", grouped(summary.bytes_sent));
    row(&mut rows, "bytes received", grouped(summary.bytes_received));
    row(&mut rows, "connections opened", grouped(summary.connections_opened));
    if summary.connections_broken > 0 {
        row(&mut rows, "connections broken or refused", grouped(summary.connections_broken));
    }
    row(&mut rows, "generator CPU", format!("{:.2} s", summary.generator_cpu_seconds));
    row(&mut rows, "time", format!("{:.2} s", summary.seconds));
    if let Some(verification) = &summary.verification {
        verified(&mut rows, verification);
    }
    row(&mut rows, "seed", summary.settings.seed.to_string());
    row(&mut rows, "run", summary.settings.run.clone());
    rows
}

fn verified(rows: &mut Rows, found: &Verification) {
    row(rows, "verified", format!("{} signals in {:.1} s", grouped(found.signals), found.seconds));
    row(rows, "verified: decided", grouped(found.decided));
    for (name, count) in [
        ("verified: dead letters", found.dead_lettered),
        ("FAILED: lost", found.lost),
        ("FAILED: another seq", found.other_seq),
        ("FAILED: decided twice", found.decided_twice),
        ("FAILED: without receipt", found.without_receipt),
        ("FAILED: no answer", found.unanswered),
        ("accepted, not asked for before the end", found.not_asked),
        ("accepted, beyond what is remembered", found.not_remembered),
    ] {
        if count > 0 {
            row(rows, name, grouped(count));
        }
    }
}

/// The whole text for a terminal.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().top_border(rule).bottom_border(rule));
    for (name, value) in rows(summary) {
        table.add_row([name, value]);
    }
    if let Some(values) = table.column_mut(1) {
        values.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = table.to_string();
    let failures = summary.verification.iter().flat_map(|verification| &verification.failures);
    for line in summary.wrong_answers.iter().chain(failures) {
        // Writing to a string cannot fail.
        let _infallible = write!(text, "\n{line}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1 000");
        assert_eq!(grouped(12_345_678), "12 345 678");
    }
}
