//! `gemba tap`: signals as they are decided, without their secrets.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{Client, Reach, Sent};
use super::output::{self, Failure, cell, moment};
use crate::percent;

#[derive(Args, Debug)]
pub struct Tap {
    /// Only signals of this source
    #[arg(long)]
    source: Option<String>,
    /// Only signals of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only signals that this rule decided: its id, or PACK/ID
    #[arg(long)]
    rule: Option<String>,
    /// Only signals with a receipt of this type, such as `policy_denied`
    #[arg(long)]
    result: Option<String>,
    /// End after this number of signals
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON, one signal a line
    #[arg(long)]
    json: bool,
}

/// How often the node is asked for more.
const EVERY: Duration = Duration::from_millis(250);

impl Tap {
    /// Prints signals until it is ended, its reader leaves, or there were enough.
    pub fn run(self) -> Result<(), Failure> {
        let client = self.reach.client()?;
        let given = [
            ("source", &self.source),
            ("tenant", &self.tenant),
            ("rule", &self.rule),
            ("result", &self.result),
        ];
        let query = given.iter().filter_map(|(name, value)| {
            let value = value.as_deref()?;
            Some(format!("{name}={}", percent::encode(value)))
        });
        let mut page = ask(&client, &query.collect::<Vec<_>>().join("&"))?;
        let mut left = self.count.unwrap_or(u64::MAX);
        loop {
            let signals = output::items(&page, "signals");
            for signal in signals {
                let line = if self.json { output::json_line(signal)? } else { line(signal) };
                left -= 1;
                if !output::print_to_reader(format!("{line}\n").as_bytes())? || left == 0 {
                    return Ok(());
                }
            }
            std::thread::sleep(EVERY);
            let look = page.get("look").and_then(Value::as_str).unwrap_or_default();
            page = ask(&client, &format!("look={look}"))?;
        }
    }
}

fn ask(client: &Client, query: &str) -> Result<Value, Failure> {
    client.send("tap", &Sent { query, ..Sent::default() })
}

/// One signal on a line: when, whose, what it is, what was decided and by which rule, and what it says.
fn line(signal: &Value) -> String {
    let said = |name: &str| cell(signal.get(name));
    let time = moment(signal.get("time"));
    let rule = match (signal.get("pack"), signal.get("rule")) {
        (Some(Value::String(_)), Some(Value::String(_))) => format!(" by {}/{}", said("pack"), said("rule")),
        _ => String::new(),
    };
    let reason = match signal.get("reason") {
        Some(Value::String(_)) => format!(" ({})", said("reason")),
        _ => String::new(),
    };
    let passed_over = match signal.get("passed_over").and_then(Value::as_u64) {
        None | Some(0) => String::new(),
        Some(count) => format!(" [{count} before it are not shown]"),
    };
    let what = match signal.get("signal") {
        Some(Value::Null) | None => format!("{} bytes", said("bytes")),
        body => cell(body),
    };
    let [source, tenant, sku, id, kind, result] =
        ["source", "tenant", "sku", "id", "type", "result"].map(said);
    format!("{time} {source} {tenant}/{sku} {id} {kind}: {result}{rule}{reason}{passed_over} {what}")
}
