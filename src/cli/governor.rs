//! `gemba governor`: the governors of a running node, and orders to them.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::halt::told;
use super::output::{self, Failure, cell};
use super::pages::{List, Listed};
use crate::limits::GOVERNORS_LISTED_MAX;
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List governors
    List {
        /// Only those of this tenant
        #[arg(long)]
        tenant: Option<String>,
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
            Self::List { tenant, limit, reach, json } => {
                let list = List { command: "governor list", rows: "governors", page: GOVERNORS_LISTED_MAX };
                let query = tenant.map_or_else(String::new, |tenant| format!("tenant={}", encode(&tenant)));
                let client = reach.client()?;
                let Listed { rows, next, .. } = list.read(client.node(), &query, limit as usize)?.whole()?;
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
                output::print((halt(&governor) + &deliveries(&governor) + &by).as_bytes())
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
        let sent = Sent { parts: &[&self.tenant, &self.sku], order: Some(&body), ..Sent::default() };
        let done = self.reach.send(command, &sent)?;
        if self.json {
            return output::print_json(&done);
        }
        output::print_table(HEADING, done.get("governor").map(row))?;
        output::print(format!("receipt {}\n", cell(done.get("receipt_id"))).as_bytes())
    }
}

/// Who halted it, and why; nothing where nobody did.
fn halt(governor: &Value) -> String {
    let Some(halt) = governor.get("halt") else { return String::new() };
    let begins = match halt.get("scope").and_then(Value::as_str) {
        Some("tenant") => "halted with its tenant",
        Some("line") => "halted with the line",
        Some(_) | None => "halted",
    };
    told(halt, begins)
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
