//! `gemba halt`, `gemba line`, `gemba tenant` and `gemba target`: stops more than one governor, and shows what is stopped.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell, items, moment};
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the halts of tenants, targets and the line
    List {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a halt holds up, or would: of the line, unless a tenant or a target is named
    Reach {
        /// Name of a tenant
        #[arg(long, conflicts_with = "target")]
        tenant: Option<String>,
        /// Name of an action
        #[arg(long)]
        target: Option<String>,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Orders on the whole line.
#[derive(Debug, Subcommand)]
pub enum Line {
    /// Stop every governor of the node: signals become dead letters until it is resumed
    Halt(Order),
    /// Let the line go on
    Resume(Order),
}

/// Orders on one tenant.
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Stop every governor of a tenant: its signals become dead letters until it is resumed
    Halt(OnOne),
    /// Let a tenant go on
    Resume(OnOne),
}

/// Orders on one target.
#[derive(Debug, Subcommand)]
pub enum Target {
    /// Order no action of this name: signals that would cause one become dead letters, which can be sent later
    Halt(OnOne),
    /// Let actions of this name go out again
    Resume(OnOne),
}

#[derive(Args, Debug)]
pub struct Order {
    /// Why; it stands on the receipt
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub struct OnOne {
    /// Its name
    name: String,
    #[command(flatten)]
    order: Order,
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { reach, json } => {
                let found = reach.send("halt list", &Sent::default())?;
                if json {
                    return output::print_json(&found);
                }
                let heading = ["WHAT", "NAME", "SINCE", "WHO", "REASON"];
                output::print_table(heading, items(&found, "halts").iter().map(row))
            }
            Self::Reach { tenant, target, reach, json } => {
                let given = [("tenant", tenant), ("target", target)];
                let query =
                    given.into_iter().find_map(|(name, value)| Some(format!("{name}={}", encode(&value?))));
                let query = query.unwrap_or_default();
                let found = reach.send("halt reach", &Sent { query: &query, ..Sent::default() })?;
                if json { output::print_json(&found) } else { print(&found) }
            }
        }
    }
}

impl Line {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Halt(order) => order.give("line halt", &[]),
            Self::Resume(order) => order.give("line resume", &[]),
        }
    }
}

impl Tenant {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Halt(OnOne { name, order }) => order.give("tenant halt", &[&name]),
            Self::Resume(OnOne { name, order }) => order.give("tenant resume", &[&name]),
        }
    }
}

impl Target {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Halt(OnOne { name, order }) => order.give("target halt", &[&name]),
            Self::Resume(OnOne { name, order }) => order.give("target resume", &[&name]),
        }
    }
}

impl Order {
    fn give(&self, command: &str, parts: &[&str]) -> Result<(), Failure> {
        let body = json!({"reason": self.reason});
        let done = self.reach.send(command, &Sent { parts, order: Some(&body), ..Sent::default() })?;
        if self.json {
            return output::print_json(&done);
        }
        if let Some(reach) = done.get("reach") {
            print(reach)?;
        }
        output::print(format!("receipt {}\n", cell(done.get("receipt_id"))).as_bytes())
    }
}

fn row(halt: &Value) -> [String; 5] {
    let of = |key| cell(halt.get(key));
    [of("scope"), of("name"), moment(halt.get("since_ms")), of("who"), of("reason")]
}

/// A halt in a line that begins with these words.
pub fn told(halt: &Value, begins: &str) -> String {
    let of = |key| cell(halt.get(key));
    format!("{begins} since {} by {}: {}\n", moment(halt.get("since_ms")), of("who"), of("reason"))
}

fn print(reach: &Value) -> Result<(), Failure> {
    let of = |key| cell(reach.get(key));
    let more = if reach.get("more").and_then(Value::as_bool) == Some(true) { " or more" } else { "" };
    let mut text = format!(
        "governors {}{more}, signals waiting {}{more}, actions out {}{more}\n",
        of("governors"),
        of("waiting"),
        of("in_flight")
    );
    for rule in items(reach, "rules").iter().filter_map(Value::as_str) {
        text.push_str(&format!("rule {rule}\n"));
    }
    match reach.get("halt").filter(|halt| !halt.is_null()) {
        Some(halt) => text.push_str(&told(halt, "halted")),
        None => text.push_str("not halted\n"),
    }
    output::print(text.as_bytes())
}
