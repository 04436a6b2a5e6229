//! `gemba governor`: the governors of a running node.

use clap::Subcommand;

use super::client::Reach;
use super::output::{self, Failure};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List governors
    List {
        /// Only those of this tenant
        #[arg(long)]
        tenant: Option<String>,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one governor
    Show {
        tenant: String,
        sku: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const HEADING: [&str; 8] =
    ["TENANT", "SKU", "STATE", "QUOTA LEFT", "ACTION IN FLIGHT", "BREAKER", "WAITING", "LAST SEQ"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { tenant, reach, json } => {
                let query = tenant.map_or_else(String::new, |tenant| format!("?tenant={}", escaped(&tenant)));
                let answer = reach.get(&format!("/v1/governors{query}"))?;
                if json {
                    return output::print_json(&answer);
                }
                let governors = answer.get("governors").and_then(serde_json::Value::as_array);
                output::print_table(HEADING, governors.into_iter().flatten().map(row))
            }
            Self::Show { tenant, sku, reach, json } => {
                let governor = reach.get(&format!("/v1/governors/{}/{}", escaped(&tenant), escaped(&sku)))?;
                if json {
                    return output::print_json(&governor);
                }
                output::print_table(HEADING, [row(&governor)])
            }
        }
    }
}

fn row(governor: &serde_json::Value) -> [String; 8] {
    let keys = [
        "tenant",
        "sku",
        "state",
        "quota_remaining",
        "in_flight_action",
        "breaker",
        "mailbox_depth",
        "last_seq",
    ];
    keys.map(|key| match governor.get(key) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => "-".into(),
        Some(other) => other.to_string(),
    })
}

/// Percent-encodes what is not a plain name.
fn escaped(part: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}
