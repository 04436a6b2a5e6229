//! `gemba status`: how a running node does.

use clap::Args;
use serde_json::Value;

use super::client::{Reach, Sent};
use super::halt::told;
use super::output::{self, Failure, cell, items};

#[derive(Args, Debug)]
pub struct Status {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Prints what the node says of itself; a node that is not ready is a failed check.
    pub fn run(self) -> Result<(), Failure> {
        let status = self.reach.send("status", &Sent::default())?;
        if self.json {
            output::print_json(&status)?;
        } else {
            output::print_table(["WHAT", "STATE"], rows(&status))?;
        }
        match status.get("ready").and_then(Value::as_bool) {
            Some(true) => Ok(()),
            _ => Err(Failure::check("the node is not ready")),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours")]
fn rows(status: &Value) -> Vec<[String; 2]> {
    let said = |name: &str| cell(status.get(name));
    let mut rows = vec![
        ["node".to_owned(), format!("{}, {}", said("name"), said("role"))],
        ["last durable event".to_owned(), said("durable_seq")],
    ];
    rows.extend(items(status, "halts").iter().map(|halt| {
        let name = halt.get("name").map_or_else(String::new, |name| format!(" {}", cell(Some(name))));
        let what = format!("{}{name}", cell(halt.get("scope")));
        [what, told(halt, "halted").trim_end().to_owned()]
    }));
    for stage in status.get("stages").and_then(Value::as_array).into_iter().flatten() {
        let word = if stage.get("ok") == Some(&Value::Bool(true)) { "ok" } else { "not ready" };
        let reason = stage.get("reason").and_then(Value::as_str);
        let state = reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"));
        rows.push([cell(stage.get("stage")), state]);
    }
    for (name, value) in status.get("broker").and_then(Value::as_object).into_iter().flatten() {
        match value {
            Value::Array(partitions) => rows.extend(partitions.iter().map(partition)),
            value => rows.push([format!("broker {}", name.replace('_', " ")), cell(Some(value))]),
        }
    }
    for (name, value) in status.get("state").and_then(Value::as_object).into_iter().flatten() {
        let state = match value {
            Value::Array(of) => of.iter().map(|value| cell(Some(value))).collect::<Vec<_>>().join(", "),
            value => cell(Some(value)),
        };
        rows.push([format!("state {}", name.replace('_', " ")), state]);
    }
    rows
}

/// What is true of a partition, as far as this node sees it.
fn partition(partition: &Value) -> [String; 2] {
    let number = |name: &str| partition.get(name).and_then(Value::as_u64);
    let says = |name: &str| partition.get(name).and_then(Value::as_bool);
    let (messages, consumers) = (number("queue_messages"), number("queue_consumers"));
    let whose = match (says("consumed"), says("owned"), consumers) {
        (_, Some(true), _) => "taken here",
        (_, _, None) => "not known: the broker does not say",
        (Some(true), _, Some(0)) => "nobody takes it, and this node does not stand in line now",
        (Some(false), _, Some(0)) => "nobody takes it; `rabbitmq.consume` of this node leaves it out",
        (None, _, Some(0)) => "nobody takes it: is its processor running?",
        (Some(true), _, Some(_)) if messages.is_some_and(|messages| messages > 0) => {
            "another processor takes it; this node stands in line"
        }
        (Some(true), _, Some(_)) => "this node stands in line; no message has come to it yet",
        (Some(false), _, Some(_)) => {
            "another processor takes it; `rabbitmq.consume` of this node leaves it out"
        }
        (None, _, Some(_)) => "a processor takes it",
    };
    let waiting = messages.map_or_else(String::new, |messages| format!("; {messages} messages wait"));
    [format!("partition {}", cell(partition.get("partition"))), format!("{whose}{waiting}")]
}
