//! One page for a browser: the report with plots, in one file that asks nobody for anything. Names are hostile: every text is
//! escaped, and the page's policy allows no script and only its own style.

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64;

use super::numbers::{float, number, seconds};
use super::ranking::{Ranking, Report};
use super::recording::{Recording, Sample};
use crate::printable::is_order;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1c1c;--soft:#666;--paper:#fff;--line:#ddd;--vital:#c2410c;--rest:#94a3b8;--a:#1d4ed8;--b:#c2410c}
@media(prefers-color-scheme:dark){:root{--ink:#eee;--soft:#aaa;--paper:#161616;--line:#444;--vital:#fb923c;--rest:#64748b;--a:#60a5fa;--b:#fb923c}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
.first{border-left:.4rem solid var(--vital);padding:.2rem 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{color:var(--soft);font-weight:600}td.n{text-align:right;white-space:nowrap}tr.vital td:first-child{font-weight:700}
svg{width:100%;height:auto}svg .vital{fill:var(--vital)}svg .rest{fill:var(--rest)}svg .axis{stroke:var(--line)}svg text{fill:var(--soft);font-size:11px}
polyline{fill:none;stroke-width:1.5}.a{stroke:var(--a)}.b{stroke:var(--b)}b.a{color:var(--a)}b.b{color:var(--b)}small{color:var(--soft)}";
/// Of the plots, in their own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// Rows of a table; the rest is in the JSON.
const ROWS: usize = 30;

/// The page of a report and of the recording that it is of.
#[must_use]
pub fn page(report: &Report, recording: &Recording) -> String {
    let hash = BASE64.encode(digest(&SHA256, STYLE.as_bytes()).as_ref());
    let node = &report.node;
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'sha256-{hash}'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>What to improve next: {name}</title>\n<style>{STYLE}</style></head><body>\n<h1>What to improve next: {name}</h1>\n",
        name = escaped(&node.name),
    );
    match &report.first {
        Some(first) => page.push_str(&format!(
            "<div class=\"first\"><p><strong>{}: {}</strong></p><p>Why: {}.</p><p>Do: {}.</p></div>\n",
            first.kind.title(),
            escaped(&first.name),
            escaped(&first.reason),
            escaped(first.advice)
        )),
        None => page.push_str(
            "<p class=\"first\">Nothing came while it was recorded: there is nothing to rank.</p>\n",
        ),
    }
    page.push_str(&format!(
        "<p>{} signals a second over {:.0} s; {:.2} % of the work failed.<br><small>{} {}, {} processors ({}), Linux {}, {}.</small></p>\n",
        number(report.signals_per_second),
        report.seconds,
        report.failure_share * 100.0,
        escaped(&node.role),
        escaped(&node.version),
        node.machine.processors,
        escaped(&node.machine.processor),
        escaped(&node.machine.kernel),
        escaped(&node.machine.file_system),
    ));
    for ranking in &report.rankings {
        page.push_str(&table(ranking));
    }
    page.push_str(&plots(&recording.samples));
    page.push_str("</body></html>\n");
    page
}

/// A text as it stands in HTML, between tags or in an attribute.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Neither control characters nor those that change the direction of what follows.
            c if is_order(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn table(ranking: &Ranking) -> String {
    let mut table = format!(
        "<h2>{}</h2>\n<table><thead><tr><th>name</th><th>amount</th><th>share</th><th></th><th></th></tr></thead><tbody>\n",
        ranking.kind.title()
    );
    for item in ranking.items.iter().take(ROWS) {
        let class = if item.vital { "vital" } else { "rest" };
        table.push_str(&format!(
            "<tr class=\"{class}\"><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1} %</td><td><svg viewBox=\"0 0 100 8\" \
             role=\"img\" aria-label=\"share\"><rect class=\"{class}\" width=\"{:.1}\" height=\"8\"/></svg></td><td>{}</td></tr>\n",
            escaped(&item.name),
            ranking.kind.shown(item.amount),
            item.share * 100.0,
            item.share * 100.0,
            escaped(&item.detail),
        ));
    }
    table.push_str("</tbody></table>\n");
    let more = ranking.items.len().saturating_sub(ROWS);
    if more > 0 {
        table.push_str(&format!("<p><small>and {more} more</small></p>\n"));
    }
    table
}

fn plots(samples: &[Sample]) -> String {
    let rate: Vec<f64> = samples.iter().map(Sample::rate).collect();
    let time = |of: fn(&super::recording::Times) -> u64| -> Vec<f64> {
        let whole = samples.iter().map(|sample| sample.times.get("stage whole").map_or(0, of));
        whole.map(|nanoseconds| float(nanoseconds) / 1e9).collect()
    };
    let (median, tail) = (time(|times| times.p50_nanoseconds), time(|times| times.p99_nanoseconds));
    let waiting: Vec<f64> =
        samples.iter().map(|sample| float(sample.waiting.values().sum()) / 1000.0).collect();
    let failures: Vec<f64> = samples.iter().map(|sample| float(sample.failures)).collect();
    [
        plot("Signals a second", &[("a", "accepted", &rate)], number),
        plot("Time of a request", &[("a", "median", &median), ("b", "p99", &tail)], seconds),
        plot("Waiting in lanes", &[("a", "events", &waiting)], number),
        plot("Failures of a sample", &[("b", "failures", &failures)], number),
    ]
    .concat()
}

fn plot(title: &str, lines: &[(&str, &str, &[f64])], shown: fn(f64) -> String) -> String {
    let most = lines.iter().flat_map(|(_, _, values)| *values).copied().fold(0.0, f64::max);
    let names: Vec<String> =
        lines.iter().map(|(class, name, _)| format!("<b class=\"{class}\">{name}</b>")).collect();
    let mut plot = format!(
        "<h2>{title} <small>{}</small></h2>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">\
         <line class=\"axis\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{HEIGHT}\" y2=\"{HEIGHT}\"/><text x=\"2\" y=\"11\">{}</text>",
        names.join(", "),
        HEIGHT + 4.0,
        shown(most)
    );
    for (class, _, values) in lines {
        let last = float(values.len().saturating_sub(1).max(1) as u64);
        let points: Vec<String> = (0u64..)
            .zip(*values)
            .map(|(at, value)| {
                let height = if most > 0.0 { value / most } else { 0.0 };
                format!("{:.1},{:.1}", float(at) / last * WIDTH, HEIGHT - height * (HEIGHT - 16.0))
            })
            .collect();
        plot.push_str(&format!("<polyline class=\"{class}\" points=\"{}\"/>", points.join(" ")));
    }
    plot.push_str("</svg>\n");
    plot
}
