//! `gemba receipts` and `gemba audit`: receipts of a running node's log, the newest first.

use std::cmp::Reverse;
use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{Client, FromPeers, Reach};
use super::output::{self, Failure, cell, moment};
use super::pages::{ListRead, PagedList};
use crate::case::CaseId;
use crate::clock;
use crate::diagnostics::say;
use crate::event::Seq;
use crate::percent::encode;
use crate::printable::with_noun;
use crate::receipt::ReceiptType;
use crate::receipt::filter::ReasonTold;
use crate::variants;

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
    /// Only what this actor ordered: the name of a token, or a person at a channel, such as `pagerduty oncall/Jane Doe`
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
    /// Only those of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only those of this SKU
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

const RECEIPTS: [&str; 7] = ["TIME", "TYPE", "TENANT", "SKU", "SIGNAL", "RULE", "RECEIPT"];
const ACTS: [&str; 9] = ["TIME", "TYPE", "WHO", "TENANT", "SKU", "WHAT", "REASON", "RECEIPT", "LOG INDEX"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        let Self::List { rule, which, reach, json } = self;
        let found = which.ask(&reach.client()?, "receipts list", ("rule", rule.as_deref()))?;
        if json {
            print_lines(&found.receipts)?;
            return found.end();
        }
        let row = |receipt: &Value| {
            let rule = receipt
                .get("policy")
                .filter(|policy| policy.is_object())
                .map(|policy| format!("{}/{}", cell(policy.get("pack")), cell(policy.get("rule"))));
            let [kind, tenant, sku, signal, id] =
                ["receipt_type", "tenant", "sku", "signal_id", "receipt_id"]
                    .map(|name| cell(receipt.get(name)));
            vec![
                moment(receipt.get("timestamp")),
                kind,
                tenant,
                sku,
                signal,
                rule.unwrap_or_else(|| "-".into()),
                id,
            ]
        };
        let (heading, rows) = found.table(&RECEIPTS, row);
        output::print_rows(&heading, rows)?;
        found.end()
    }
}

impl Audit {
    pub fn run(self) -> Result<(), Failure> {
        let found = self.which.ask(&self.reach.client()?, "audit", ("who", self.who.as_deref()))?;
        if self.json {
            print_lines(&found.receipts)?;
            return found.end();
        }
        let (heading, rows) = found.table(&ACTS, row_of_act);
        if self.csv {
            let mut text = heading.join(",").to_ascii_lowercase().replace(' ', "_") + "\r\n";
            for act in rows {
                let values: Vec<String> = act.iter().map(|value| quoted(value)).collect();
                // Writing to text does not fail.
                let _ = write!(text, "{}\r\n", values.join(","));
            }
            output::print(text.as_bytes())?;
        } else {
            output::print_rows(&heading, rows)?;
        }
        found.end()
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
    if let Some(halted) = told(act).and_then(ReasonTold::halted) {
        return output::plain(halted);
    }
    if let Some(told) = of_alerts(&fact) {
        return told;
    }
    if let Some(source) = fact("source") {
        return format!("source {}", cell(Some(source)));
    }
    // A discard knows no signal's id, so an order on a dead letter is told with the letter's own.
    let is_order = act.get("receipt_type").is_some_and(|kind| kind == ReceiptType::Operator.into_str());
    if let Some(seq) = act.get("signal_seq").and_then(Value::as_u64).filter(|_| is_order) {
        return format!("dead letter {}", CaseId(Seq(seq)));
    }
    match act.get("signal_id").filter(|id| !id.is_null()).or_else(|| act.get("signal_seq")) {
        Some(Value::Null) | None => "-".to_owned(),
        Some(signal) => format!("signal {}", cell(Some(signal))),
    }
}

/// What the facts of a receipt of alerts name: the alert or the group, and what was told whom, and why.
fn of_alerts<'a>(fact: &impl Fn(&str) -> Option<&'a Value>) -> Option<String> {
    let id = |name: &str| fact(name).map(|id| cell(Some(id)).chars().take(ID_SHOWN).collect::<String>());
    let alert = id("alert").map_or_else(String::new, |id| format!(" {id}"));
    let of_group = || {
        let group = id("group").map_or_else(String::new, |id| format!(" of group {id}"));
        let alerts = fact("alerts").and_then(Value::as_u64);
        alerts.map_or_else(String::new, |count| with_noun(count, "alert", "alerts")) + &group
    };
    if let Some(channel) = fact("channel") {
        let why = fact("why").map_or_else(String::new, |why| format!(" ({})", cell(Some(why))));
        let tells = fact("tells").map_or_else(String::new, |tells| format!(" {}{why}", cell(Some(tells))));
        let such = if alert.is_empty() { String::new() } else { format!(", such as{alert}") };
        return Some(format!("channel {}{tells}: {}{such}", cell(Some(channel)), of_group()));
    }
    if let Some(channels) = fact("channels").and_then(Value::as_array) {
        let channels: Vec<String> = channels.iter().map(|channel| cell(Some(channel))).collect();
        return Some(format!("{} to {}", of_group(), channels.join(", ")));
    }
    if let Some(silence) = fact("silence") {
        let when = fact("when").map_or_else(String::new, |when| format!(": {}", cell(Some(when))));
        return Some(format!("silence {}, {}{when}", cell(Some(silence)), of_group()));
    }
    if let Some(kind) = fact("kind") {
        let name = fact("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.map_or_else(String::new, |name| format!(" {}", output::plain(name)));
        return Some(format!("alert{alert}: {}{name}", cell(Some(kind))));
    }
    fact("group").map(|_| of_group())
}

/// Digits of an id that a table has room for, as text messages have them.
const ID_SHOWN: usize = 8;

/// Changes of one act that a table has room for.
const CHANGES_SHOWN: usize = 3;

/// What the reason of an act tells; `None` of one of a newer node's types.
fn told(act: &Value) -> Option<ReasonTold<'_>> {
    let text = |name: &str| act.get(name).and_then(Value::as_str);
    let kind = variants::named(text("receipt_type")?, &ReceiptType::ALL).ok()?;
    let of_test = act.pointer("/facts/kind").is_some_and(|kind| kind == "test");
    Some(ReasonTold {
        kind,
        reason: text("reason")?,
        of_node: text("tenant").is_none_or(str::is_empty),
        of_test,
    })
}

fn row_of_act(act: &Value) -> Vec<String> {
    let [kind, tenant, sku, reason, id, index] =
        ["receipt_type", "tenant", "sku", "reason", "receipt_id", "log_index"]
            .map(|name| cell(act.get(name)));
    let who = told(act).and_then(ReasonTold::actor).map_or_else(|| "-".to_owned(), output::plain);
    vec![moment(act.get("timestamp")), kind, who, tenant, sku, what(act), reason, id, index]
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

/// What nodes have, the newest first.
struct FoundReceipts {
    receipts: Vec<Value>,
    /// Peers answered: each receipt says in [`NODE`] which one has it.
    is_of_peers: bool,
    /// Why there may be more that were asked for.
    cut: Option<Failure>,
}

/// The field of a receipt for the peer that it is from; nothing in the receipt proves it, so the command sets it.
const NODE: &str = "node";

impl FoundReceipts {
    fn table<'a>(
        &'a self,
        heading: &[&'static str],
        row: impl Fn(&Value) -> Vec<String> + 'a,
    ) -> (Vec<&'static str>, impl Iterator<Item = Vec<String>> + 'a) {
        let mut heading = heading.to_vec();
        heading.extend(self.is_of_peers.then_some("NODE"));
        let rows = self.receipts.iter().map(move |receipt| {
            let mut row = row(receipt);
            row.extend(self.is_of_peers.then(|| cell(receipt.get(NODE))));
            row
        });
        (heading, rows)
    }

    /// After they are shown: the node that was asked has shown all that were asked for.
    fn end(self) -> Result<(), Failure> {
        self.cut.map_or(Ok(()), Err)
    }
}

impl Which {
    /// Of several nodes each has the receipts of what it decided. The newest of each are shown: how many there are of one, and when it
    /// says that they were made, leaves none of the others out.
    fn ask(
        &self,
        client: &Client,
        command: &'static str,
        more: (&str, Option<&str>),
    ) -> Result<FoundReceipts, Failure> {
        let list = PagedList { command, rows: "receipts", page: 1000 };
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let query = self.query(more);
        let FromPeers { answers, missing } = client.ask_all(|node| list.read(node, &query, limit))?;
        for missing in missing {
            say(&format!("warning: receipts of a node are missing: {missing}"));
        }
        let mut found = FoundReceipts { receipts: Vec::new(), is_of_peers: false, cut: None };
        for (peer, ListRead { mut rows, cut, .. }) in answers {
            if let Some(peer) = &peer {
                found.is_of_peers = true;
                for fields in rows.iter_mut().filter_map(Value::as_object_mut) {
                    fields.insert(NODE.to_owned(), peer.name.as_str().into());
                }
                if let Some(cut) = cut {
                    say(&format!("warning: receipts of a node are missing: {}: {}", peer.name, cut.what()));
                }
            } else {
                found.cut = cut;
            }
            found.receipts.append(&mut rows);
        }
        if found.is_of_peers {
            // Each node's own are in this order already.
            found.receipts.sort_by_key(|receipt| Reverse(receipt.get("timestamp").and_then(Value::as_u64)));
        }
        Ok(found)
    }

    fn query(&self, more: (&str, Option<&str>)) -> String {
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
        given.collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_act_says_who_ordered_it_and_what_it_is_about() {
        let halt = |reason: &str, tenant: Value| json!({"receipt_type": "jidoka_halt", "reason": reason, "tenant": tenant});
        let test = json!({"receipt_type": "alert_opened", "reason": "a test by alice: a drill", "tenant": null,
                          "facts": {"kind": "test", "name": "", "alert": "a-1"}});
        let rule = json!({"receipt_type": "alert_opened", "reason": "a test by alice: a drill", "tenant": "acme",
                          "facts": {"kind": "rule", "name": "p/act", "alert": "a-1"}});
        let escalated = json!({"receipt_type": "alert_escalated", "reason": "nobody acknowledged it within 5 minutes", "tenant": null,
                               "facts": {"alerts": 2, "channels": ["oncall", "chat"], "group": "a-7", "route": "all"}});
        let notified = json!({"receipt_type": "alert_notified", "reason": "told", "tenant": "acme",
                              "facts": {"alert": "8b1d0a5577777777", "alerts": 1, "channel": "chat", "group": "3f2a9c1e88888888", "tells": "firing", "why": "repeat"}});
        let silenced = json!({"receipt_type": "alert_silenced", "reason": "silenced by ann: known", "tenant": null,
                              "facts": {"alerts": 3, "silence": 7, "until": 9, "when": "alert.tenant == 'acme'"}});
        let held_back = json!({"receipt_type": "alert_silenced", "reason": "a silence held the notification back", "tenant": null,
                               "facts": {"alerts": 3, "group": "a-7", "route": "all"}});
        let letter = |reason: &str, id: Value| json!({"receipt_type": "operator", "reason": reason, "tenant": "acme", "signal_id": id, "signal_seq": 42});
        for (act, who, about) in [
            (halt("halt of tenant acme by alice and bob: a", Value::Null), "alice and bob", "tenant acme"),
            (halt("halt of target page by alice: a", Value::Null), "alice", "target page"),
            (halt("halt of the line by alice: a", Value::Null), "alice", "the line"),
            (halt("halt of the line by alice: a", json!("acme")), "-", "-"),
            (test, "alice", "alert a-1: test"),
            (rule, "-", "alert a-1: rule p/act"),
            (escalated, "-", "2 alerts of group a-7 to oncall, chat"),
            (notified, "-", "channel chat firing (repeat): 1 alert of group 3f2a9c1e, such as 8b1d0a55"),
            (silenced, "ann", "silence 7, 3 alerts: alert.tenant == 'acme'"),
            (held_back, "-", "3 alerts of group a-7"),
            (letter("discard by alice: stale", Value::Null), "alice", "dead letter d-000000000000002a"),
            (letter("replay by alice: mended", json!("s-42")), "alice", "dead letter d-000000000000002a"),
        ] {
            let row = row_of_act(&act);
            assert_eq!((&*row[2], &*row[5]), (who, about), "{act}");
        }
    }
}
