//! `gemba governor`: the governors of a running node, and orders to them.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Reach, Sent};
use super::halt::told;
use super::output::{self, Failure, cell, items};
use super::pages::{ListRead, PagedList};
use crate::limits::GOVERNORS_LISTED_MAX;
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List governors
    List {
        /// Only those of this tenant
        #[arg(long)]
        tenant: Option<String>,
        /// Only those that an operator halted by themselves
        #[arg(long)]
        halted: bool,
        /// Show this many at most, in the order of tenant and SKU
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one governor
    Show {
        /// Its tenant
        tenant: String,
        /// Its SKU
        sku: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop one: its signals become dead letters until it is resumed
    Halt(Order),
    /// Let a halted one go on; its breaker closes
    Resume(Order),
    /// Entitle one
    Entitle(Order),
    /// Revoke its entitlement: it decides on critical signals only
    Revoke(Order),
    /// Set the actions that are left in this window
    Quota {
        #[command(flatten)]
        order: Order,
        /// How many are left
        #[arg(long, value_name = "COUNT")]
        remaining: u32,
    },
}

/// An order to one governor.
#[derive(Args, Debug)]
pub struct Order {
    /// Its tenant
    tenant: String,
    /// Its SKU
    sku: String,
    /// Why; it stands on the receipt
    #[arg(long)]
    reason: String,
    /// Order it at this node, also where another node has this governor
    #[arg(long)]
    here: bool,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const HEADING: [&str; 8] =
    ["TENANT", "SKU", "STATE", "QUOTA LEFT", "ACTION IN FLIGHT", "BREAKER", "WAITING", "LAST SEQ"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { tenant, halted, limit, reach, json } => {
                let list =
                    PagedList { command: "governor list", rows: "governors", page: GOVERNORS_LISTED_MAX };
                let tenant = tenant.map(|tenant| format!("tenant={}", encode(&tenant)));
                let halted = halted.then(|| "halted=true".to_owned());
                let query = tenant.into_iter().chain(halted).collect::<Vec<_>>().join("&");
                let client = reach.client()?;
                let ListRead { rows, next, .. } =
                    list.read(client.node(), &query, limit as usize)?.whole()?;
                if json {
                    return output::print_json(&json!({"governors": rows, "next": next}));
                }
                output::print_table(HEADING, rows.iter().map(row))?;
                let more = next.map_or("", |_| "there may be more: see --limit\n");
                output::print(more.as_bytes())
            }
            Self::Show { tenant, sku, reach, json } => {
                let sent = Sent { parts: &[&tenant, &sku], ..Sent::default() };
                let governor = reach.client()?.ask_on(
                    "governor show",
                    &sent,
                    &[("tenant", &tenant), ("sku", &sku)],
                    |_| true,
                )?;
                if json {
                    return output::print_json(&governor.value());
                }
                let (by, governor) = (governor.by(), governor.value);
                output::print_table(HEADING, [row(&governor)])?;
                output::print((halts(&governor) + &deliveries(&governor) + &by).as_bytes())
            }
            Self::Halt(order) => order.give("governor halt", None),
            Self::Resume(order) => order.give("governor resume", None),
            Self::Entitle(order) => order.give("governor entitle", None),
            Self::Revoke(order) => order.give("governor revoke", None),
            Self::Quota { order, remaining } => order.give("governor quota", Some(remaining)),
        }
    }
}

impl Order {
    fn give(&self, command: &str, quota_remaining: Option<u32>) -> Result<(), Failure> {
        let mut body = json!({"reason": self.reason});
        if let Some(remaining) = quota_remaining {
            body["quota_remaining"] = remaining.into();
        }
        let client = self.reach.client()?;
        let parts: &[&str] = &[&self.tenant, &self.sku];
        if !self.here {
            self.is_not_elsewhere(&client, command, parts)?;
        }
        let done = client.send(command, &Sent { parts, order: Some(&body), ..Sent::default() })?;
        if self.json {
            return output::print_json(&done);
        }
        output::print_table(HEADING, done.get("governor").map(row))?;
        let mut text = done.get("governor").map(halts).unwrap_or_default();
        if done.get("changed").and_then(Value::as_bool) == Some(false) {
            text.push_str("nothing changed: it was not halted by itself\n");
        }
        text.push_str(&format!("receipt {}\n", cell(done.get("receipt_id"))));
        output::print(text.as_bytes())
    }

    /// An order makes the governor that it is about: here, where another node has it, it would be a second one.
    fn is_not_elsewhere(&self, client: &Client, command: &str, parts: &[&str]) -> Result<(), Failure> {
        let sent = Sent { parts, ..Sent::default() };
        let Some(peer) = client.known_elsewhere("governor show", &sent) else { return Ok(()) };
        let (tenant, sku) = (&self.tenant, &self.sku);
        let what = format!(
            "this node does not know the governor {tenant}/{sku}, and {peer} does: nothing is ordered"
        );
        let order = format!("gemba {command} {tenant} {sku} --admin {} --reason …", peer.address);
        Err(Failure::check(what).hint(format!("order it there: {order}; or here all the same, with --here")))
    }
}

/// Who halted it and what it depends on, and why; nothing where nobody did.
fn halts(governor: &Value) -> String {
    let told = |halt: &Value| {
        let begins = match halt.get("scope").and_then(Value::as_str) {
            Some("tenant") => "halted with its tenant".to_owned(),
            Some("line") => "halted with the line".to_owned(),
            Some("target") => format!("its target {} is halted", cell(halt.get("name"))),
            Some(_) | None => "halted".to_owned(),
        };
        told(halt, &begins)
    };
    items(governor, "halts").iter().map(told).collect()
}

/// How many of its actions are out in the background; nothing where none is.
fn deliveries(governor: &Value) -> String {
    match governor.get("deliveries").and_then(Value::as_u64) {
        None | Some(0) => String::new(),
        Some(1) => "1 action is out in the background\n".into(),
        Some(count) => format!("{count} actions are out in the background\n"),
    }
}

fn row(governor: &Value) -> [String; 8] {
    const KEYS: [&str; 8] = [
        "tenant",
        "sku",
        "state",
        "quota_remaining",
        "in_flight_action",
        "breaker",
        "mailbox_depth",
        "last_seq",
    ];
    KEYS.map(|key| cell(governor.get(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_halt_that_holds_a_governor_up_is_told_with_who_and_why() {
        let halt = |scope: &str, who: &str| json!({"scope": scope, "name": "notify", "who": who, "reason": "a drill", "since_ms": 0});
        let governor = json!({"halts": [
            halt("line", "a"), halt("tenant", "b"), halt("governor", "c"), halt("target", "d")
        ]});
        let text = halts(&governor);
        let lines: Vec<&str> = text.lines().collect();
        for (line, (begins, ends)) in lines.iter().zip([
            ("halted with the line since", "by a: a drill"),
            ("halted with its tenant since", "by b: a drill"),
            ("halted since", "by c: a drill"),
            ("its target notify is halted since", "by d: a drill"),
        ]) {
            assert!(line.starts_with(begins) && line.ends_with(ends), "{line}");
        }
        assert_eq!(lines.len(), 4);
        assert_eq!(halts(&json!({})), "");
    }
}
