//! `gemba alert` and `gemba silence`: what people are told of, who knows of it, and what is held back.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell, items, moment};
use super::pages::{ListRead, PagedList};
use crate::alert::{Importance, QuietHours};
use crate::clock;
use crate::limits::GOVERNORS_LISTED_MAX;
use crate::percent::encode;
use crate::printable::with_noun;

const SEVERITIES: [&str; 3] =
    [Importance::Info.into_str(), Importance::Warning.into_str(), Importance::Critical.into_str()];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List alerts: the open ones first, of these the most severe, and of equals the newest
    List {
        /// Only those in this state
        #[arg(long, value_parser = PossibleValuesParser::new(["open", "notified", "acknowledged", "resolved"]))]
        state: Option<String>,
        /// Only those of this severity
        #[arg(long, value_parser = PossibleValuesParser::new(SEVERITIES))]
        severity: Option<String>,
        /// Only those of this tenant's governors
        #[arg(long)]
        tenant: Option<String>,
        /// Show this many at most
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// Its id, or as many of its first digits as no other one has: 6 or more
        id: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say that you take care of it: nobody else is called
    Acknowledge(OnAlert),
    /// Say that it is over
    Resolve(OnAlert),
    /// Open an alert that is none, to see who is reached; it ends by itself
    Test {
        /// How urgent it says it is
        #[arg(long, default_value = "info", value_parser = PossibleValuesParser::new(SEVERITIES))]
        severity: String,
        /// What routes see as its name
        #[arg(long, default_value = "")]
        name: String,
        /// Why; it stands on the receipts
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// An order on one alert.
#[derive(Args, Debug)]
pub struct OnAlert {
    /// Its id, or as many of its first digits as no other one has: 6 or more
    id: String,
    /// Why; it stands on the receipts
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An order on one silence.
#[derive(Args, Debug)]
pub struct OnOne {
    /// As `gemba alert list` has it, or `gemba silence list`
    id: String,
    /// Why; it stands on the receipts
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Silence {
    /// Call nobody for alerts that fit, for a time
    Add {
        /// Which alerts: CEL over `alert`, such as "alert.tenant == 'acme'"
        when: String,
        /// For how long
        #[arg(long)]
        minutes: u64,
        /// Why; it stands on the receipts
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the silences that hold
    List {
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End one before its time
    End(OnOne),
}

const HEADING: [&str; 8] = ["ID", "SINCE", "SEVERITY", "STATE", "KIND", "NAME", "WHOSE", "MESSAGE"];

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::List { state, severity, tenant, limit, reach, json } => {
                let given = [("state", state), ("severity", severity), ("tenant", tenant)];
                let query = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
                let query: Vec<_> = query.map(|(name, value)| format!("{name}={}", encode(&value))).collect();
                let list = PagedList { command: "alert list", rows: "alerts", page: GOVERNORS_LISTED_MAX };
                let client = reach.client()?;
                let ListRead { rows, count, next, .. } =
                    list.read(client.node(), &query.join("&"), limit as usize)?.whole()?;
                if json {
                    return output::print_json(&json!({"count": count, "alerts": rows, "next": next}));
                }
                output::print_table(HEADING, rows.iter().map(row))?;
                let more = count.unwrap_or_default().saturating_sub(rows.len() as u64);
                let more = if more > 0 { format!("{more} more: see --limit\n") } else { String::new() };
                output::print(more.as_bytes())
            }
            Self::Show { id, reach, json } => {
                let alert = reach.send("alert show", &Sent { parts: &[&id], ..Sent::default() })?;
                if json { output::print_json(&alert) } else { show(&alert) }
            }
            Self::Acknowledge(order) => order.acknowledge(),
            Self::Resolve(order) => {
                let OnAlert { id, reason, reach, json } = order;
                OnOne { id, reason, reach, json }.send("alert resolve", "resolved")
            }
            Self::Test { severity, name, reason, reach, json } => {
                let body = json!({"severity": severity, "name": name, "reason": reason});
                let sent = Sent { order: Some(&body), ..Sent::default() };
                ordered(
                    &reach.send("alert test", &sent)?,
                    json,
                    "opened; `gemba alert show` says who is told",
                )
            }
        }
    }
}

impl Silence {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add { when, minutes, reason, reach, json } => {
                let body = json!({"when": when, "minutes": minutes, "reason": reason});
                let told = reach.send("silence add", &Sent { order: Some(&body), ..Sent::default() })?;
                let id = told.get("seq").and_then(Value::as_u64).unwrap_or_default();
                ordered(
                    &told,
                    json,
                    &format!("silence {id} holds for {}", with_noun(minutes, "minute", "minutes")),
                )
            }
            Self::List { reach, json } => {
                let found = reach.send("silence list", &Sent::default())?;
                if json {
                    return output::print_json(&found);
                }
                let row = |silence: &Value| {
                    [
                        cell(silence.get("id")),
                        time(silence, "until_ms"),
                        cell(silence.get("alerts")),
                        cell(silence.get("by")),
                        cell(silence.get("when")),
                        cell(silence.get("reason")),
                    ]
                };
                let heading = ["ID", "UNTIL", "ALERTS", "BY", "WHEN", "REASON"];
                output::print_table(heading, items(&found, "silences").iter().map(row))
            }
            Self::End(order) => order.send("silence end", "ended"),
        }
    }
}

impl OnAlert {
    fn acknowledge(self) -> Result<(), Failure> {
        let Self { id, reason, reach, json } = self;
        // What an order answers is how it is afterwards.
        let before = reach.send("alert show", &Sent { parts: &[&id], ..Sent::default() })?;
        // The very one that was shown, if its first digits were given.
        let id = before.get("id").and_then(Value::as_str).map_or(id, str::to_owned);
        let done = match acknowledged(&before) {
            Some(said) => format!("acknowledged; it was acknowledged already by {said}"),
            None => "acknowledged".to_owned(),
        };
        OnOne { id, reason, reach, json }.send("alert acknowledge", &done)
    }
}

/// Who acknowledged an alert, and why.
fn acknowledged(alert: &Value) -> Option<String> {
    let text = |name: &str| alert.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let by = text("acknowledged_by")?;
    Some(text("acknowledged_reason").map_or_else(|| by.to_owned(), |reason| format!("{by}: {reason}")))
}

impl OnOne {
    fn send(self, command: &'static str, done: &str) -> Result<(), Failure> {
        let Self { id, reason, reach, json } = self;
        let (parts, body) = ([id.as_str()], json!({"reason": reason}));
        let sent = Sent { parts: &parts, order: Some(&body), ..Sent::default() };
        ordered(&reach.send(command, &sent)?, json, done)
    }
}

fn ordered(told: &Value, json: bool, done: &str) -> Result<(), Failure> {
    if json {
        return output::print_json(told);
    }
    let alert = told.get("alert").map(in_lines).unwrap_or_default();
    output::print(format!("{done}: receipt {}\n{alert}", cell(told.get("receipt_id"))).as_bytes())
}

/// Which alert it was: few would know it by its id.
fn in_lines(alert: &Value) -> String {
    let lines = [
        ("alert", cell(alert.get("id"))),
        ("what", what(alert)),
        ("whose", whose(alert)),
        ("message", cell(alert.get("message"))),
    ];
    lines.map(|(name, value)| format!("{name:<13}{value}\n")).concat()
}

/// Whether quiet hours hold calls back now, and until when.
fn quiet(alert: &Value, now: u64) -> String {
    let hours = alert.get("quiet_hours").and_then(Value::as_str).and_then(QuietHours::read);
    let Some(hours) = hours else { return "-".to_owned() };
    let text = hours.to_text();
    match (hours.left(now), text.split_once('-')) {
        (Some(_), Some((_, to))) => format!("until {to} UTC: nobody is called before"),
        (None, _) | (Some(_), None) => format!("not now; {text} UTC"),
    }
}

/// Kind, name and severity.
fn what(alert: &Value) -> String {
    let name = alert.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.map(|name| format!(" {}", output::plain(name))).unwrap_or_default();
    format!("{}{name} ({})", cell(alert.get("kind")), cell(alert.get("severity")))
}

fn time(of: &Value, name: &str) -> String {
    moment(of.get(name))
}

fn whose(alert: &Value) -> String {
    match (cell(alert.get("tenant")), cell(alert.get("sku"))) {
        (tenant, _) if tenant == "-" || tenant.is_empty() => "the node".to_owned(),
        (tenant, sku) if sku == "-" || sku.is_empty() => tenant,
        (tenant, sku) => format!("{tenant}/{sku}"),
    }
}

fn state(alert: &Value) -> String {
    let silenced = alert.get("silenced").and_then(Value::as_bool).unwrap_or_default();
    cell(alert.get("state")) + if silenced { ", silenced" } else { "" }
}

fn row(alert: &Value) -> [String; 8] {
    [
        cell(alert.get("id")),
        time(alert, "since_ms"),
        cell(alert.get("severity")),
        state(alert),
        cell(alert.get("kind")),
        cell(alert.get("name")),
        whose(alert),
        cell(alert.get("message")),
    ]
}

fn show(alert: &Value) -> Result<(), Failure> {
    let told = items(alert, "channels");
    let told = told.iter().map(|one| format!("{} {}", cell(one.get("channel")), cell(one.get("state"))));
    let ends = alert.get("ends_ms").filter(|at| !at.is_null());
    let end = match (alert.get("ended_ms").filter(|at| !at.is_null()), ends) {
        (Some(_), _) => time(alert, "ended_ms"),
        (None, Some(_)) => {
            format!("known: it ends by itself at {}, unless it is raised again", time(alert, "ends_ms"))
        }
        (None, None) if alert.get("end_known").and_then(Value::as_bool) == Some(true) => {
            "known: it ends by itself when its cause is over".to_owned()
        }
        (None, None) => "not known: close it with `gemba alert resolve`".to_owned(),
    };
    let lines = [
        ("alert", cell(alert.get("id"))),
        ("what", what(alert)),
        ("whose", whose(alert)),
        ("state", state(alert)),
        ("since", time(alert, "since_ms")),
        ("end", end),
        ("message", cell(alert.get("message"))),
        ("owner", cell(alert.get("owner"))),
        ("signal", cell(alert.get("signal"))),
        ("members", cell(alert.get("members"))),
        ("route", cell(alert.get("route"))),
        ("told", told.collect::<Vec<_>>().join(", ")),
        ("quiet", quiet(alert, clock::wall().0)),
        ("acknowledged", acknowledged(alert).unwrap_or_else(|| "-".to_owned())),
        ("receipt", cell(alert.get("receipt"))),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<13}{value}"));
    let text = lines.join("\n") + "\n";
    output::print(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_alert_an_order_concerned_is_told() {
        let alert = json!({"id": "a-1", "kind": "halt", "name": "", "severity": "warning", "tenant": "acme", "sku": "vm", "message": "halted\u{1b}[2J"});
        let told = in_lines(&alert);
        for says in [
            "alert        a-1\n",
            "what         halt (warning)\n",
            "whose        acme/vm\n",
            "message      halted",
        ] {
            assert!(told.contains(says), "{told}");
        }
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }

    #[test]
    fn quiet_hours_say_until_when_nobody_is_called() {
        let alert = json!({"quiet_hours": "22:00-07:00"});
        assert_eq!(quiet(&alert, 23 * 3_600_000), "until 07:00 UTC: nobody is called before");
        assert_eq!(quiet(&alert, 12 * 3_600_000), "not now; 22:00-07:00 UTC");
        assert_eq!(quiet(&json!({}), 0), "-");
    }

    #[test]
    fn who_acknowledged_it_is_told_with_the_reason() {
        let alert = |by: Value, reason: Value| json!({"acknowledged_by": by, "acknowledged_reason": reason});
        assert_eq!(acknowledged(&alert("ann".into(), "on it".into())).as_deref(), Some("ann: on it"));
        assert_eq!(acknowledged(&alert("ann".into(), Value::Null)).as_deref(), Some("ann"));
        assert_eq!(acknowledged(&alert(Value::Null, Value::Null)), None);
    }
}
