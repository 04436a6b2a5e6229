//! `gemba receipts` and `gemba audit`: receipts of a running node's log, the newest first.

use std::cmp::Reverse;
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, FromPeers, Reach, Sent};
use super::output::{self, Failure, cell, moment};
use crate::clock;
use crate::diagnostics::say;
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List receipts, the newest first
    List {
        /// Only those of this rule: its id, or PACK/ID
        #[arg(long)]
        rule: Option<String>,
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON, one receipt a line
        #[arg(long)]
        json: bool,
    },
}

/// What people, rules and configuration changed, the newest first
#[derive(Args, Debug)]
pub struct Audit {
    /// Only what this actor ordered: the name of a token
    #[arg(long, value_name = "ACTOR")]
    who: Option<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON, one receipt a line
    #[arg(long)]
    json: bool,
    /// Print comma-separated values (RFC 4180)
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Which receipts.
#[derive(Args, Debug)]
pub struct Which {
    /// Only these types, such as `operator` or `policy_change,config_change`
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[arg(long)]
    tenant: Option<String>,
    #[arg(long)]
    sku: Option<String>,
    /// Since this time, such as 2026-11-29T12:00:00Z, or since this age: 15m, 24h, 7d
    #[arg(long, value_name = "TIME", value_parser = point)]
    since: Option<u64>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = point)]
    until: Option<u64>,
    /// Show this many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Reads a time (RFC 3339), or an age such as `24h`, which counts back from now. Milliseconds since 1970.
fn point(text: &str) -> Result<u64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return u64::try_from(time.as_millisecond()).map_err(|_| "it is before 1970".to_owned());
    }
    let age = || {
        let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let millis = match unit {
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        count.parse::<u64>().ok()?.checked_mul(millis)
    };
    let age =
        age().ok_or("it is neither a time, such as 2026-11-29T12:00:00Z, nor an age, such as 24h or 7d")?;
    Ok(clock::wall().0.saturating_sub(age))
}

/// Receipts of one answer.
const PAGE: usize = 1000;
const RECEIPTS: [&str; 7] = ["TIME", "TYPE", "TENANT", "SKU", "SIGNAL", "RULE", "RECEIPT"];
const ACTS: [&str; 8] = ["TIME", "TYPE", "TENANT", "SKU", "WHAT", "REASON", "RECEIPT", "LOG INDEX"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Self::List { rule, which, reach, json } = self;
        let receipts = which.ask(&reach.client()?, "receipts list", ("rule", rule.as_deref()))?;
        if json {
            return print_lines(&receipts);
        }
        let row = |receipt: &Value| {
            let rule = receipt
                .get("policy")
                .filter(|policy| policy.is_object())
                .map(|policy| format!("{}/{}", cell(policy.get("pack")), cell(policy.get("rule"))));
            let [kind, tenant, sku, signal, id] =
                ["receipt_type", "tenant", "sku", "signal_id", "receipt_id"]
                    .map(|name| cell(receipt.get(name)));
            [
                moment(receipt.get("timestamp")),
                kind,
                tenant,
                sku,
                signal,
                rule.unwrap_or_else(|| "-".into()),
                id,
            ]
        };
        output::print_table(RECEIPTS, receipts.iter().map(row))
    }
}

impl Audit {
    pub fn run(self) -> Result<(), Failure> {
        let acts = self.which.ask(&self.reach.client()?, "audit", ("who", self.who.as_deref()))?;
        if self.json {
            return print_lines(&acts);
        }
        if self.csv {
            let mut text = ACTS.join(",").to_ascii_lowercase().replace(' ', "_") + "\r\n";
            for act in acts.iter().map(row_of_act) {
                // Writing to text does not fail.
                let _ = write!(text, "{}\r\n", act.map(|value| quoted(&value)).join(","));
            }
            return output::print(text.as_bytes());
        }
        output::print_table(ACTS, acts.iter().map(row_of_act))
    }
}

/// What an act is about, beside its governor: the keys that changed, a pack, an alert, a channel, a signal.
fn what(act: &Value) -> String {
    let facts = act.get("facts");
    let fact = |name: &str| facts.and_then(|facts| facts.get(name)).filter(|value| !value.is_null());
    if let Some(changes) = fact("changes").and_then(Value::as_array) {
        let change = |change: &Value| {
            format!("{}: {} -> {}", cell(change.get("key")), cell(change.get("old")), cell(change.get("new")))
        };
        let told: Vec<String> = changes.iter().take(CHANGES_SHOWN).map(change).collect();
        let more = if changes.len() > CHANGES_SHOWN { ", …" } else { "" };
        return told.join(", ") + more;
    }
    if let Some(pack) = act.get("policy").and_then(|policy| policy.get("pack")) {
        return format!("pack {}", cell(Some(pack)));
    }
    for (name, of) in
        [("channel", "channel"), ("name", "alert"), ("silence", "silence"), ("source", "source")]
    {
        if let Some(value) = fact(name) {
            let kind = fact("kind").map_or(String::new(), |kind| cell(Some(kind)) + " ");
            return format!("{of} {kind}{}", cell(Some(value)));
        }
    }
    match act.get("signal_id").filter(|id| !id.is_null()).or_else(|| act.get("signal_seq")) {
        Some(Value::Null) | None => "-".to_owned(),
        Some(signal) => format!("signal {}", cell(Some(signal))),
    }
}

/// Changes of one act that a table has room for.
const CHANGES_SHOWN: usize = 3;

fn row_of_act(act: &Value) -> [String; 8] {
    let [kind, tenant, sku, reason, id, index] =
        ["receipt_type", "tenant", "sku", "reason", "receipt_id", "log_index"]
            .map(|name| cell(act.get(name)));
    [moment(act.get("timestamp")), kind, tenant, sku, what(act), reason, id, index]
}

/// A value in quotes. A table's program takes one that begins like a formula for one, so such a one begins with an apostrophe.
fn quoted(value: &str) -> String {
    let guard =
        if value.starts_with(['=', '+', '@', '\t', '\r']) || (value.starts_with('-') && value.len() > 1) {
            "'"
        } else {
            ""
        };
    format!("\"{guard}{}\"", value.replace('"', "\"\""))
}

fn print_lines(receipts: &[Value]) -> Result<(), Failure> {
    for receipt in receipts {
        if !output::print_to_reader((output::json_line(receipt)? + "\n").as_bytes())? {
            break;
        }
    }
    Ok(())
}

impl Which {
    /// Asks page by page until there are enough. Of several nodes each has the receipts of what it decided.
    fn ask(&self, client: &Client, command: &str, more: (&str, Option<&str>)) -> Result<Vec<Value>, Failure> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let FromPeers { answers, missing } = client.ask_all(|send| self.pages(command, more, limit, send))?;
        for missing in missing {
            say(&format!("warning: the receipts of a node are missing: {missing}"));
        }
        let is_one = answers.len() == 1;
        let mut found: Vec<Value> = answers.into_iter().flatten().collect();
        if !is_one {
            // Each node's own are in this order already.
            found.sort_by_key(|receipt| Reverse(receipt.get("timestamp").and_then(Value::as_u64)));
            found.truncate(limit);
        }
        Ok(found)
    }

    fn pages(
        &self,
        command: &str,
        more: (&str, Option<&str>),
        limit: usize,
        send: &dyn Fn(&str, &Sent<'_>) -> Result<Value, Failure>,
    ) -> Result<Vec<Value>, Failure> {
        let (since, until) =
            (self.since.map(|time| time.to_string()), self.until.map(|time| time.to_string()));
        let given = [
            more,
            ("type", self.kind.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("sku", self.sku.as_deref()),
            ("since", since.as_deref()),
            ("until", until.as_deref()),
        ];
        let given = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?))));
        let query: String = given.map(|pair| pair + "&").collect();
        let mut found: Vec<Value> = Vec::new();
        let mut after = String::new();
        loop {
            let query = format!("{query}limit={}{after}", (limit - found.len()).min(PAGE));
            let mut page = send(command, &Sent { query: &query, ..Sent::default() })?;
            if let Some(Value::Array(receipts)) = page.get_mut("receipts").map(Value::take) {
                found.extend(receipts);
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) if found.len() < limit => after = format!("&after={next}"),
                Some(_) | None => return Ok(found),
            }
        }
    }
}
