//! `gemba reload`: has a running node read its configuration anew.

use clap::Args;
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell};

#[derive(Args, Debug)]
pub struct Reload {
    /// Why; it stands in the receipt
    #[arg(long)]
    reason: String,
    /// Do it only if this configuration holds, as `gemba config show --json` names it in `etag`
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Reload {
    pub fn run(self) -> Result<(), Failure> {
        let order = json!({"reason": self.reason});
        // A shell takes the quotes that are a part of the tag.
        let quoted = |tag: &str| {
            if tag == "*" || tag.starts_with('"') { tag.to_owned() } else { format!("\"{tag}\"") }
        };
        let if_match = self.if_match.as_deref().map(quoted);
        let if_match = if_match.as_deref();
        // It reads the configuration, too, to find the node.
        let client = self.reach.client();
        let client =
            client.map_err(|failure| failure.adding("the node was not asked: what held holds on"))?;
        let done = client.send("reload", &Sent { order: Some(&order), if_match, ..Sent::default() })?;
        if self.json {
            return output::print_json(&done);
        }
        if done.get("changed") == Some(&Value::Bool(true)) {
            let changes = done.get("changes").and_then(Value::as_array).into_iter().flatten();
            let row = |change: &Value| ["key", "old", "new"].map(|name| cell(change.get(name)));
            output::print_table(["KEY", "BEFORE", "NOW"], changes.map(row))?;
            if let Some(receipt) = done.get("receipt_id") {
                output::print(format!("receipt {}\n", cell(Some(receipt))).as_bytes())?;
            }
        } else {
            output::print(b"nothing changes now\n")?;
        }
        let waits: Vec<String> = done
            .get("needs_restart")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|key| cell(Some(key)))
            .collect();
        if waits.is_empty() {
            return Ok(());
        }
        output::print(format!("waits for the next start: {}\n", waits.join(", ")).as_bytes())
    }
}
