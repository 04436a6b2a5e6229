//! `gemba deadletter`: what could not be processed, and what becomes of it.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::Reach;
use super::output::{self, Failure, cell};
use super::progress::Progress;
use crate::case::{Cause, Status};
use crate::percent::encode;

/// Which dead letters.
#[derive(Args, Debug)]
pub struct Filter {
    /// Whose it is to mend
    #[arg(long, value_parser = PossibleValuesParser::new(Cause::ALL.map(Cause::as_str)))]
    cause: Option<String>,
    #[arg(long)]
    tenant: Option<String>,
    #[arg(long)]
    sku: Option<String>,
    /// The signal's type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count and list dead letters
    List {
        #[command(flatten)]
        filter: Filter,
        #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::as_str)))]
        status: Option<String>,
        /// Show so many, the oldest first
        #[arg(long, default_value_t = 100)]
        limit: u64,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one, with its signal
    Show {
        id: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the transitions and actions that a replay would make now
    DryRun {
        id: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send dead letters through the line again: one, or all open ones that a filter takes. An action that failed is sent again
    /// as it was; any other signal is decided anew
    Replay(Order),
    /// Send the actions of dead letters again, under the same ids and without deciding anew
    Resend(Order),
    /// Close dead letters without a replay
    Discard(Order),
}

/// An order on one case or on many.
#[derive(Args, Debug)]
pub struct Order {
    /// One case; without it, the open ones that the filter takes
    id: Option<String>,
    /// Why; it stands on the receipts
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    filter: Filter,
    /// At most so many a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// How many it must be; the count of `list` is told first and nothing is done if it is another
    #[arg(long, value_name = "COUNT", required_unless_present = "id", conflicts_with = "id")]
    expect: Option<u64>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const PATH: &str = "/v1/deadletters";
const PAGE: u64 = 1000;
const HEADING: [&str; 8] = ["ID", "TENANT", "SKU", "TYPE", "STATUS", "CAUSE", "REPLAYS", "DETAIL"];
const KEYS: [&str; 8] = ["id", "tenant", "sku", "type", "status", "cause", "replays", "detail"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { filter, status, limit, reach, json } => {
                let status = status.map(|status| format!("&status={status}")).unwrap_or_default();
                let found =
                    reach.get(&format!("{PATH}?limit={}{}{status}", limit.clamp(1, PAGE), filter.query()))?;
                if json {
                    return output::print_json(&found);
                }
                output::print(format!("{} dead letters\n", cell(found.get("count"))).as_bytes())?;
                let rows = found.get("deadletters").and_then(Value::as_array).into_iter().flatten();
                output::print_table(HEADING, rows.map(|case| KEYS.map(|key| cell(case.get(key)))))
            }
            Self::Show { id, reach, json } => {
                let case = reach.get(&format!("{PATH}/{}", encode(&id)))?;
                if json {
                    return output::print_json(&case);
                }
                output::print_table(HEADING, [KEYS.map(|key| cell(case.get(key)))])?;
                let signal = case.get("signal").map(|signal| format!("{signal:#}\n")).unwrap_or_default();
                output::print(signal.as_bytes())
            }
            Self::DryRun { id, reach, json } => dry_run(&id, &reach, json),
            Self::Replay(order) => order.run("replay"),
            Self::Resend(order) => order.run("resend"),
            Self::Discard(order) => order.run("discard"),
        }
    }
}

impl Filter {
    /// As it stands behind another parameter.
    fn query(&self) -> String {
        let given =
            [("cause", &self.cause), ("tenant", &self.tenant), ("sku", &self.sku), ("type", &self.kind)];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.fold(String::new(), |query, (name, value)| query + "&" + name + "=" + &encode(value))
    }
}

fn dry_run(id: &str, reach: &Reach, json: bool) -> Result<(), Failure> {
    let done = reach.post(&format!("{PATH}/{}/dry-run", encode(id)), &json!({}))?;
    if json {
        return output::print_json(&done);
    }
    let heading = ["RECEIPT", "BEFORE", "AFTER", "PACK", "RULE", "REASON"];
    let keys = ["receipt_type", "state_before", "state_after", "pack", "rule", "reason"];
    let rows = done.get("transitions").and_then(Value::as_array).into_iter().flatten();
    output::print_table(heading, rows.map(|row| keys.map(|key| cell(row.get(key)))))?;
    let actions = done.get("actions").and_then(Value::as_array).into_iter().flatten();
    let actions: Vec<String> = actions.map(|name| cell(Some(name))).collect();
    let actions = if actions.is_empty() { "no action".to_owned() } else { actions.join(", ") };
    let waits =
        if done.get("waits") == Some(&Value::Bool(true)) { "; it would wait in the mailbox" } else { "" };
    let does = if done.get("does").is_some_and(|does| does == "resend") {
        "send again"
    } else {
        "decide anew, and take"
    };
    output::print(format!("would {does}: {actions}{waits}\n").as_bytes())
}

impl Order {
    fn run(self, verb: &str) -> Result<(), Failure> {
        let body = json!({"reason": self.reason});
        let Some(id) = &self.id else { return self.run_all(verb, &body) };
        let done = self.reach.post(&format!("{PATH}/{}/{verb}", encode(id)), &body)?;
        if self.json {
            return output::print_json(&done);
        }
        output::print(format!("{id}: {verb} is event {}\n", cell(done.get("seq"))).as_bytes())
    }

    /// Everything that the filter takes, once the count is as expected.
    fn run_all(&self, verb: &str, body: &Value) -> Result<(), Failure> {
        let query = format!("{}&status=open", self.filter.query());
        let client = self.reach.client()?;
        let count = client.get(&format!("{PATH}?limit=1{query}"))?;
        let count = count.get("count").and_then(Value::as_u64).unwrap_or_default();
        if Some(count) != self.expect {
            return Err(Failure::check(format!(
                "{count} open dead letters are taken by this filter; nothing was done"
            ))
            .hint(format!("look at them with `gemba deadletter list`, then say --expect {count}")));
        }
        let (mut after, mut done, mut refused) = (String::new(), 0, Vec::new());
        let mut progress = Progress::new(count);
        while done + (refused.len() as u64) < count {
            let page = client.get(&format!("{PATH}?limit={PAGE}{query}{after}"))?;
            let page = page.get("deadletters").and_then(Value::as_array).cloned().unwrap_or_default();
            let Some(last) = page.last() else { break };
            after = format!("&after={}", cell(last.get("id")));
            for case in page {
                let id = cell(case.get("id"));
                // What fails is told at the end; the others are not held up by it.
                match client.post(&format!("{PATH}/{}/{verb}", encode(&id)), body) {
                    Ok(_) => done += 1,
                    Err(failure) => refused.push(format!("{id}: {}", failure.what())),
                }
                progress.advance();
                std::thread::sleep(Duration::from_secs(1) / self.rate);
            }
        }
        progress.finish();
        if self.json {
            output::print_json(&json!({"done": done, "refused": refused}))?;
        } else {
            output::print(format!("{verb}: {done} of {count}\n").as_bytes())?;
            for refused in &refused {
                output::print(format!("{refused}\n").as_bytes())?;
            }
        }
        if refused.is_empty() {
            Ok(())
        } else {
            Err(Failure::check(format!("{} of {count} were refused", refused.len())))
        }
    }
}
