//! `gemba deadletter`: what could not be processed, and what becomes of it.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell};
use super::pages::{ListRead, PagedList, Pages};
use super::progress::Progress;
use crate::case::{Cause, Status};
use crate::percent::encode;
use crate::printable::with_noun;

/// Which dead letters.
#[derive(Args, Debug)]
pub struct Filter {
    /// Whose it is to mend
    #[arg(long, value_parser = PossibleValuesParser::new(Cause::ALL.map(|cause| cause.into_str())))]
    cause: Option<String>,
    /// Of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Of this SKU
    #[arg(long)]
    sku: Option<String>,
    /// The signal's type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count and list dead letters: the open ones, or those of another status
    List {
        #[command(flatten)]
        filter: Filter,
        /// What became of them
        #[arg(long, default_value = Status::Open.into_str(), value_parser = PossibleValuesParser::new(STATUSES))]
        status: String,
        /// Show this many at most, the oldest first
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one, with its signal
    Show {
        /// As `gemba deadletter list` has it
        id: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the transitions and actions that a replay would make now
    DryRun {
        /// As `gemba deadletter list` has it
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
    /// Close all open dead letters that a filter takes by one order, which can need two persons
    DiscardAll {
        /// Why; it stands on the receipts
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        filter: Filter,
        /// How many it must be, 10,000 at most; nothing is done if it is another
        #[arg(long, value_name = "COUNT")]
        expect: u64,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
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

const LIST: PagedList = PagedList { command: "deadletter list", rows: "deadletters", page: 1000 };
/// Whatever the status.
const ANY: &str = "all";
const STATUSES: [&str; 4] =
    [Status::Open.into_str(), Status::Replayed.into_str(), Status::Discarded.into_str(), ANY];
const HEADING: [&str; 8] = ["ID", "TENANT", "SKU", "TYPE", "STATUS", "CAUSE", "REPLAYS", "DETAIL"];
const KEYS: [&str; 8] = ["id", "tenant", "sku", "type", "status", "cause", "replays", "detail"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { filter, status, limit, reach, json } => {
                let query = filter.query(&status);
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                let client = reach.client()?;
                let ListRead { rows: cases, count, next, .. } =
                    LIST.read(client.node(), &query, limit)?.whole()?;
                // Where nothing counts them: all were seen, or there are more.
                let count = count.or(next.is_none().then_some(cases.len() as u64));
                if json {
                    return output::print_json(&json!({"count": count, "deadletters": cases, "next": next}));
                }
                let status = if status == ANY { String::new() } else { format!("{status} ") };
                let (one, many) = (format!("{status}dead letter"), format!("{status}dead letters"));
                let at_least = || format!("{} or more {many}", cases.len());
                let counted = count.map_or_else(at_least, |count| with_noun(count, &one, &many));
                output::print((counted + "\n").as_bytes())?;
                output::print_table(HEADING, cases.iter().map(|case| KEYS.map(|key| cell(case.get(key)))))
            }
            Self::Show { id, reach, json } => {
                let case = reach.send("deadletter show", &Sent { parts: &[&id], ..Sent::default() })?;
                if json {
                    return output::print_json(&case);
                }
                output::print_table(HEADING, [KEYS.map(|key| cell(case.get(key)))])?;
                for (what, field, keys) in
                    [("action", "action", ["name", "id"]), ("last failure", "last", ["cause", "detail"])]
                {
                    if let Some(found) = case.get(field).filter(|found| found.is_object()) {
                        let [first, second] = keys.map(|key| cell(found.get(key)));
                        output::print(format!("{what}: {first}: {second}\n").as_bytes())?;
                    }
                }
                case.get("signal").map_or(Ok(()), output::print_json)
            }
            Self::DryRun { id, reach, json } => dry_run(&id, &reach, json),
            Self::Replay(order) => order.run(Does::Replay),
            Self::Resend(order) => order.run(Does::Resend),
            Self::Discard(order) => order.run(Does::Discard),
            Self::DiscardAll { reason, filter, expect, reach, json } => {
                let query = format!("expect={expect}&{}", filter.query(ANY));
                let query = query.trim_end_matches('&');
                let body = json!({"reason": reason});
                let sent = Sent { query, order: Some(&body), ..Sent::default() };
                let done = reach.send("deadletter discard-all", &sent)?;
                if json {
                    return output::print_json(&done);
                }
                let [discarded, left] = ["discarded", "left"].map(|name| cell(done.get(name)));
                let left = if left == "0" { left } else { left + ", which were settled meanwhile" };
                output::print(format!("discarded: {discarded}; left: {left}\n").as_bytes())
            }
        }
    }
}

impl Filter {
    /// As it stands in a query.
    fn query(&self, status: &str) -> String {
        let status = (status != ANY).then(|| status.to_owned());
        let given = [
            ("cause", &self.cause),
            ("tenant", &self.tenant),
            ("sku", &self.sku),
            ("type", &self.kind),
            ("status", &status),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
    }
}

fn dry_run(id: &str, reach: &Reach, json: bool) -> Result<(), Failure> {
    let done = reach.send("deadletter dry-run", &Sent { parts: &[id], ..Sent::default() })?;
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

/// What is ordered.
#[derive(Clone, Copy, Debug)]
enum Does {
    Replay,
    Resend,
    Discard,
}

impl Does {
    /// Its command, and its word.
    fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Replay => ("deadletter replay", "replay"),
            Self::Resend => ("deadletter resend", "resend"),
            Self::Discard => ("deadletter discard", "discard"),
        }
    }
}

impl Order {
    fn run(self, does: Does) -> Result<(), Failure> {
        let body = json!({"reason": self.reason});
        let Some(id) = &self.id else { return self.run_all(does, &body) };
        let (command, verb) = does.named();
        let done = self.reach.send(command, &Sent { parts: &[id], order: Some(&body), ..Sent::default() })?;
        if self.json {
            return output::print_json(&done);
        }
        // It may have failed again; only of a discard is that all.
        let then = match does {
            Does::Discard => String::new(),
            Does::Replay | Does::Resend => format!("; what came of it: gemba deadletter show {id}"),
        };
        output::print(
            format!("{id}: {verb} is ordered, as event {}{then}\n", cell(done.get("seq"))).as_bytes(),
        )
    }

    /// Everything that the filter takes, once the count is as expected.
    fn run_all(&self, does: Does, body: &Value) -> Result<(), Failure> {
        let query = self.filter.query(Status::Open.into_str());
        let client = self.reach.client()?;
        let mut pages = Pages::new(LIST, client.node(), &query, usize::MAX);
        let mut ids = Vec::new();
        // Nothing is done before all of them are known, and nothing to one that was not counted.
        loop {
            ids.extend(pages.read_next()?.iter().map(|case| cell(case.get("id"))));
            let counted = pages.count.filter(|count| Some(*count) != self.expect);
            if counted.is_none() && pages.has_more() {
                continue;
            }
            let count = counted.unwrap_or(ids.len() as u64);
            if Some(count) == self.expect {
                break;
            }
            let failure = format!(
                "{} this filter; nothing was done",
                with_noun(count, "open dead letter matches", "open dead letters match")
            );
            let hint = match count {
                0 => "`gemba deadletter list` shows which are open".to_owned(),
                _ => format!("look at them with `gemba deadletter list`, then repeat with --expect {count}"),
            };
            return Err(Failure::check(failure).hint(hint));
        }
        let count = ids.len() as u64;
        let (command, verb) = does.named();
        let (mut done, mut refused) = (0_u64, Vec::new());
        let mut progress = Progress::new(count);
        for id in ids {
            // What fails is told at the end; the others are not held up by it.
            match client.send(command, &Sent { parts: &[&id], order: Some(body), ..Sent::default() }) {
                Ok(_) => done += 1,
                // The others would wait, too, each for itself.
                Err(failure) if failure.is_waiting() => {
                    progress.finish();
                    let others = count - 1;
                    let what =
                        format!("the orders on the other {others} were not sent: each would wait, too");
                    return Err(failure.adding(&what).hint(match does {
                        Does::Discard => "refuse it, and use `gemba deadletter discard-all`: one order for all",
                        Does::Replay | Does::Resend => {
                            "have it approved by somebody else (`gemba request approve`), then order the others"
                        }
                    }));
                }
                Err(failure) => refused.push(format!("{id}: {}", failure.what())),
            }
            progress.advance();
            std::thread::sleep(Duration::from_secs(1) / self.rate);
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
