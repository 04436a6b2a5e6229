//! `gemba metrics`: every metric of a node, from the table in the code.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Failure};
use crate::kaizen::{Declared, Kind, LabelName, Metric, Values};

#[derive(Args, Debug)]
pub struct Metrics {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Metrics {
    pub fn run(self) -> Result<(), Failure> {
        let declared = Metric::ALL.map(Metric::declared);
        if self.json {
            return output::print_json(&declared.map(object).to_vec());
        }
        output::print(page(&declared).as_bytes())
    }
}

fn object(declared: &Declared) -> Value {
    let labels = declared.labels.iter().map(|LabelName { name, values }| match values {
        Values::Of(values) => json!({"name": name, "values": values}),
        Values::Each(of, most) => json!({"name": name, "one_of_each": of, "at_most": most}),
    });
    let buckets = match declared.kind {
        Kind::Counter | Kind::Gauge => Value::Null,
        Kind::Histogram(_, bounds) => json!(bounds),
    };
    json!({
        "name": declared.name, "type": declared.kind.as_str(), "unit": declared.unit.suffix(), "labels": labels.collect::<Vec<_>>(),
        "buckets": buckets, "roles": declared.at.in_words().replace('`', ""), "help": declared.help, "advice": declared.advice,
    })
}

/// The reference, in Markdown.
fn page(declared: &[&Declared]) -> String {
    let mut page = String::from(
        "# Metrics\n\nMade by `gemba metrics`; a test compares it. `GET /metrics` gives them as Prometheus text 0.0.4, or as \
         OpenMetrics 1.0 where\n`Accept` asks for it. Counters and histograms begin at 0 with each process, and again when the \
         line is taken up. What threads count is collected once a\nsecond, so a page may lag by two or three seconds. \
         [operations.md](operations.md#what-to-watch) says what to watch first.\n",
    );
    for declared in declared {
        // Writing to a string cannot fail.
        let _infallible = write!(page, "\n## `{}`\n\n{}\n\n", declared.name, declared.help);
        let unit = declared.unit.in_words();
        let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
        let _infallible =
            writeln!(page, "- Type: {}{unit}. Roles: {}.", declared.kind.as_str(), declared.at.in_words());
        for LabelName { name, values } in declared.labels {
            let values = match values {
                Values::Of(values) => {
                    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
                }
                Values::Each(of, most) => format!("one for each of the {of}, at most {most}"),
            };
            let _infallible = writeln!(page, "- Label `{name}`: {values}.");
        }
        if let Kind::Histogram(_, bounds) = declared.kind {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            let _infallible = writeln!(page, "- Buckets up to: {}.", bounds.join(", "));
        }
        let _infallible = writeln!(page, "- What to do: {}", declared.advice);
    }
    page
}
