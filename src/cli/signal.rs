//! `gemba signal`: what became of a signal at a running node.

use clap::Subcommand;
use serde_json::Value;

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell};
use crate::percent::encode;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show whether a signal is decided, and its receipts
    Show {
        tenant: String,
        /// The sender's id
        id: String,
        /// The source that it came from; needed where several have a signal of this id
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

const HEADING: [&str; 4] = ["STATUS", "SOURCE", "SEQ", "RECEIPTS"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Self::Show { tenant, id, source, reach, json } = self;
        let query = source.map_or_else(String::new, |source| format!("source={}", encode(&source)));
        let sent = Sent { parts: &[&tenant, &id], query: &query, ..Sent::default() };
        let signal = reach.send("signal show", &sent)?;
        if json {
            return output::print_json(&signal);
        }
        let receipts = signal.get("receipts").and_then(Value::as_array);
        let receipts: Vec<&str> = receipts.into_iter().flatten().filter_map(Value::as_str).collect();
        let [status, source, seq] = ["status", "source", "seq"].map(|key| cell(signal.get(key)));
        output::print_table(HEADING, [[status, source, seq, receipts.join(" ")]])
    }
}
