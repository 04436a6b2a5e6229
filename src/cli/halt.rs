//! `gemba halt`, `gemba line`, `gemba tenant` and `gemba target`: stops more than one governor, and shows what is stopped.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell, items, moment};
use crate::halt::HaltScope;
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what operators halted: tenants, targets, the line, and governors by themselves
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
                let halts = items(&found, "halts").iter().map(row);
                output::print_table(heading, halts.chain(items(&found, "governors").iter().map(governor)))?;
                let more = if found.get("more").and_then(Value::as_bool) == Some(true) {
                    "more governors are halted: gemba governor list --halted\n"
                } else {
                    ""
                };
                output::print(more.as_bytes())
            }
            Self::Reach { tenant, target, reach, json } => {
                let scope = match (tenant, target) {
                    (Some(tenant), _) => HaltScope::Tenant(tenant.into()),
                    (None, Some(target)) => HaltScope::Target(target.into()),
                    (None, None) => HaltScope::Line,
                };
                let query = scope.name().map_or_else(String::new, |name| {
                    let kind = scope.kind();
                    format!("{kind}={}", encode(name))
                });
                let found = reach.send("halt reach", &Sent { query: &query, ..Sent::default() })?;
                if json { output::print_json(&found) } else { print(&found, &scope) }
            }
        }
    }
}

impl Line {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Halt(order) => order.give("line halt", &HaltScope::Line),
            Self::Resume(order) => order.give("line resume", &HaltScope::Line),
        }
    }
}

impl Tenant {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Halt(OnOne { name, order }) => order.give("tenant halt", &HaltScope::Tenant(name.into())),
            Self::Resume(OnOne { name, order }) => {
                order.give("tenant resume", &HaltScope::Tenant(name.into()))
            }
        }
    }
}

impl Target {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Halt(OnOne { name, order }) => order.give("target halt", &HaltScope::Target(name.into())),
            Self::Resume(OnOne { name, order }) => {
                order.give("target resume", &HaltScope::Target(name.into()))
            }
        }
    }
}

impl Order {
    fn give(&self, command: &str, scope: &HaltScope) -> Result<(), Failure> {
        let body = json!({"reason": self.reason});
        let parts: Vec<&str> = scope.name().into_iter().collect();
        let sent = Sent { parts: &parts, order: Some(&body), ..Sent::default() };
        let done = self.reach.send(command, &sent)?;
        if self.json {
            return output::print_json(&done);
        }
        if let Some(reach) = done.get("reach") {
            print(reach, scope)?;
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

/// A governor that was halted by itself; rows of before say nothing of it.
fn governor(governor: &Value) -> [String; 5] {
    let name = format!("{}/{}", cell(governor.get("tenant")), cell(governor.get("sku")));
    let of_itself = |halt: &&Value| halt.get("scope").and_then(Value::as_str) == Some("governor");
    let halt = items(governor, "halts").iter().find(of_itself);
    let of = |key| cell(halt.and_then(|halt| halt.get(key)));
    let since = halt.map_or_else(|| cell(None), |halt| moment(halt.get("since_ms")));
    ["governor".into(), name, since, of("who"), of("reason")]
}

fn print(reach: &Value, scope: &HaltScope) -> Result<(), Failure> {
    output::print(reached(reach, scope).as_bytes())
}

/// What a halt holds up, or would, in lines.
fn reached(reach: &Value, scope: &HaltScope) -> String {
    let more = if reach.get("more").and_then(Value::as_bool) == Some(true) { " or more" } else { "" };
    let of = |key| format!("{}{more}", cell(reach.get(key)));
    let out = format!("actions out {}, in the background {}\n", of("in_flight"), of("deliveries"));
    let is_known = reach.get("known").and_then(Value::as_bool) != Some(false);
    let mut text = match (scope, is_known) {
        (HaltScope::Tenant(_), false) => {
            format!("no governor of {scope} is known here; a halt holds for those that are still to come\n")
        }
        (HaltScope::Target(_), false) => format!("no [[action]] of this node is named as {scope}\n"),
        (HaltScope::Target(_), true) => out,
        (HaltScope::Tenant(_) | HaltScope::Line, _) => {
            format!("governors {}, signals waiting {}, {out}", of("governors"), of("waiting"))
        }
    };
    for rule in items(reach, "rules").iter().filter_map(Value::as_str) {
        text.push_str(&format!("rule {rule}\n"));
    }
    match reach.get("halt").filter(|halt| !halt.is_null()) {
        Some(halt) => text.push_str(&told(halt, "halted")),
        None => text.push_str("not halted\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_said_and_not_counted() {
        let reach = json!({"known": false, "governors": 0, "more": false, "in_flight": 0, "halt": null});
        for (scope, says) in [
            (HaltScope::Tenant("nope".into()), "no governor of tenant nope is known here"),
            (HaltScope::Target("nope".into()), "no [[action]] of this node is named as target nope"),
        ] {
            let text = reached(&reach, &scope);
            assert!(text.starts_with(says) && text.ends_with("\nnot halted\n"), "{text}");
            assert!(!text.contains("governors 0"), "{text}");
        }
        let reach = json!({
            "known": true, "governors": 2, "waiting": 3, "more": true, "in_flight": 1, "deliveries": 4, "halt": null
        });
        assert!(reached(&reach, &HaltScope::Line).starts_with(
            "governors 2 or more, signals waiting 3 or more, actions out 1 or more, in the background 4 or more\n"
        ));
        assert!(reached(&reach, &HaltScope::Target("page".into())).starts_with("actions out 1"));
    }
}
