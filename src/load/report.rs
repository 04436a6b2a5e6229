//! `--report DIR`: one page that needs nothing else, and the latencies in HdrHistogram's own text.

use std::fs;
use std::io;
use std::path::Path;

use super::plot;
use super::summary::Summary;
use super::table;
use super::{LoadError, hgrm};
use crate::config::file;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --faint: #6a737d; --rule: #d8dee4; --line: #0b62c4; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --faint: #8b949e; --rule: #30363d; --line: #58a6ff; --page: #0d1117; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td { padding: .15rem 1.5rem .15rem 0; border-bottom: 1px solid var(--rule); }
td + td { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0; }
svg { width: 100%; height: auto; } svg text { fill: var(--faint); font-size: 12px; }
svg .rule { stroke: var(--rule); } svg .line { stroke: var(--line); fill: none; stroke-width: 2; }
.verdict { font-weight: 600; } .note { color: var(--faint); }
";

const NAMES: [&str; 2] = ["index.html", "latency.hgrm"];

/// Makes `directory`, and sees that the report can be written there. Changes nothing that is in it.
pub fn check(directory: &Path) -> Result<(), LoadError> {
    let failed = |source: io::Error| LoadError::Report { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    for name in NAMES {
        let path = directory.join(name);
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(_) => fs::remove_file(&path).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                file::open_to_write(&path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

/// Writes the report to `directory`.
pub fn write(summary: &Summary, directory: &Path) -> Result<(), LoadError> {
    let failed = |source: io::Error| LoadError::Report { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let [index, latency] = NAMES.map(|name| directory.join(name));
    fs::write(index, page(summary)).map_err(failed)?;
    let mut text = Vec::new();
    hgrm::write(&summary.accepted_nanos, &mut text).map_err(failed)?;
    fs::write(latency, text).map_err(failed)
}

fn page(summary: &Summary) -> String {
    let settings = &summary.settings;
    let rate = settings.rate.map_or_else(
        || "closed loop: each connection sends when it has its answer".to_owned(),
        |rate| {
            let rate = table::grouped_rate(rate);
            format!("open loop at {rate} signals/s; latency counts from the intended start")
        },
    );
    let early =
        summary.ended_early.map(|ended| format!("; ended early: {}", ended.why())).unwrap_or_default();
    let verdict = if summary.passed() { "every check passed" } else { "a check FAILED" };
    let mut body = format!(
        "<h1>Load on {}</h1>\n<p class=\"verdict\">{} signals/s accepted, p99 {:.3} ms; {verdict}{early}</p>\n\
         <p class=\"note\">{}</p>\n",
        escaped(&settings.url),
        table::grouped_rate(summary.signals.accepted_per_second),
        summary.latency_millis.p99,
        escaped(&rate),
    );
    body.push_str("<h2>Latency of 202 by percentile</h2>\n");
    body.push_str(&plot::percentiles(&hgrm::points(&summary.accepted_nanos)));
    body.push_str("<h2>Signals accepted per second, over time</h2>\n");
    body.push_str(&plot::throughput(&summary.accepted_over_time));
    body.push_str("<h2>Result</h2>\n");
    rows(&mut body, &table::rows(summary));
    let failures = summary.verification.iter().flat_map(|verification| &verification.failures);
    for line in summary.wrong_answers.iter().chain(failures) {
        body.push_str(&format!("<p>{}</p>\n", escaped(line)));
    }
    body.push_str("<h2>Settings</h2>\n");
    rows(&mut body, &settings_rows(summary));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Load on {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&settings.url),
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn settings_rows(summary: &Summary) -> table::Rows {
    let Ok(serde_json::Value::Object(settings)) = serde_json::to_value(&summary.settings) else {
        return table::Rows::new();
    };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        serde_json::Value::Null => "max".to_owned(),
        other => other.to_string(),
    };
    settings.into_iter().map(|(name, value)| (name.replace('_', " "), text(value))).collect()
}

fn rows(body: &mut String, rows: &table::Rows) {
    body.push_str("<table>\n");
    for (name, value) in rows {
        body.push_str(&format!("<tr><td>{}</td><td>{}</td></tr>\n", escaped(name), escaped(value)));
    }
    body.push_str("</table>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
