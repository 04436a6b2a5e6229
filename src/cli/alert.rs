//! `gemba alert` and `gemba silence`: what people are told of, who knows of it, and what is held back.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Reach, Sent};
use super::output::{self, Failure, cell, items, moment};
use crate::alert::Importance;
use crate::printable::with_noun;

const SEVERITIES: [&str; 3] =
    [Importance::Info.into_str(), Importance::Warning.into_str(), Importance::Critical.into_str()];

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List alerts, the open ones first
    List {
        /// Only those in this state
        #[arg(long, value_parser = PossibleValuesParser::new(["open", "notified", "acknowledged", "resolved"]))]
        state: Option<String>,
        /// Only those of this severity
        #[arg(long, value_parser = PossibleValuesParser::new(SEVERITIES))]
        severity: Option<String>,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one
    Show {
        /// As `gemba alert list` has it
        id: String,
        #[command(flatten)]
        reach: Reach,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say that you take care of it: nobody else is called
    Acknowledge(OnOne),
    /// Say that it is over
    Resolve(OnOne),
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

/// An order on one alert, or one silence.
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
            Self::List { state, severity, reach, json } => {
                let given = [("state", state), ("severity", severity)];
                let query = given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
                let query = query.collect::<Vec<_>>().join("&");
                let found = reach.send("alert list", &Sent { query: &query, ..Sent::default() })?;
                if json {
                    return output::print_json(&found);
                }
                let alerts = items(&found, "alerts");
                output::print_table(HEADING, alerts.iter().map(row))
            }
            Self::Show { id, reach, json } => {
                let alert = reach.send("alert show", &Sent { parts: &[&id], ..Sent::default() })?;
                if json { output::print_json(&alert) } else { show(&alert) }
            }
            Self::Acknowledge(order) => order.send("alert acknowledge", "acknowledged"),
            Self::Resolve(order) => order.send("alert resolve", "resolved"),
            Self::Test { severity, name, reason, reach, json } => {
                let body = json!({"severity": severity, "name": name, "reason": reason});
                let sent = Sent { order: Some(&body), ..Sent::default() };
                ordered(
                    &reach.send("alert test", &sent)?,
                    json,
                    "opened; `gemba alert list` shows who is told",
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
    output::print(format!("{done}: receipt {}\n", cell(told.get("receipt_id"))).as_bytes())
}

fn time(of: &Value, name: &str) -> String {
    moment(of.get(name))
}

fn whose(alert: &Value) -> String {
    match (cell(alert.get("tenant")), cell(alert.get("sku"))) {
        (tenant, _) if tenant == "-" || tenant.is_empty() => "the node".to_owned(),
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
    let end = match (cell(alert.get("ended_ms")).as_str(), alert.get("end_known").and_then(Value::as_bool)) {
        ("-" | "", Some(true)) => "known: it ends by itself".to_owned(),
        ("-" | "", _) => "not known: close it with `gemba alert resolve`".to_owned(),
        (_, _) => time(alert, "ended_ms"),
    };
    let lines = [
        ("alert", cell(alert.get("id"))),
        (
            "what",
            format!(
                "{} {} ({})",
                cell(alert.get("kind")),
                cell(alert.get("name")),
                cell(alert.get("severity"))
            ),
        ),
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
        ("acknowledged", cell(alert.get("acknowledged_by"))),
        ("receipt", cell(alert.get("receipt"))),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<13}{value}"));
    let text = lines.join("\n") + "\n";
    output::print(text.as_bytes())
}
