//! `gemba route test`: who would be called for an alert, and why. From the configuration alone: no node is asked, and nobody is called.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::configured::Configured;
use super::output::{self, Failure, cell, plain};
use crate::alert::{AlertId, AlertRoute, CauseKind, Importance, ListedAlert, QuietHours, Routes};
use crate::clock;
use crate::config::{Config, NodeRole};
use crate::ids::UnixMillis;
use crate::variants::named;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say who would be called for an alert, and why: from the configuration, without calling anybody
    Test(Box<Test>),
}

impl Command {
    pub fn run(self) -> Result<(), Failure> {
        match self {
            Self::Test(test) => test.run(),
        }
    }
}

#[derive(Args, Debug)]
pub struct Test {
    #[command(flatten)]
    configured: Configured,
    /// As a node with this role would start: all or processor
    #[arg(long)]
    role: Option<String>,
    /// Severity: info, warning or critical; without it, that of the kind
    #[arg(long, value_parser = severity)]
    severity: Option<Importance>,
    /// Kind of cause, such as rule, target_breaker or disk_low
    #[arg(long, default_value = "rule", value_parser = kind)]
    kind: CauseKind,
    /// Rule (as pack/rule), target, stage, source or channel
    #[arg(long, default_value = "")]
    name: String,
    /// Tenant that the alert is about
    #[arg(long)]
    tenant: Option<String>,
    /// SKU that the alert is about
    #[arg(long)]
    sku: Option<String>,
    /// Source of the signal that caused it
    #[arg(long)]
    source: Option<String>,
    /// Assurance class of that signal: A, B, C or D
    #[arg(long)]
    assurance: Option<String>,
    /// Who is responsible, as the signal says
    #[arg(long)]
    owner: Option<String>,
    /// Action whose target fails
    #[arg(long)]
    target: Option<String>,
    /// What the alert says
    #[arg(long, default_value = "")]
    message: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn severity(name: &str) -> Result<Importance, String> {
    named(name, &Importance::ALL)
}

fn kind(name: &str) -> Result<CauseKind, String> {
    named(name, &CauseKind::ALL)
}

impl Test {
    fn run(self) -> Result<(), Failure> {
        let config = self.configured.load(self.role.clone())?;
        if config.role == NodeRole::Edge {
            return Err(Failure::usage("an edge decides nothing, so it has no routes")
                .hint("name the configuration of a processor, or --role processor"));
        }
        let routes = Routes::compile(config.alerts.routes.clone())
            .map_err(|(at, wrong)| Failure::usage(format!("alerts.route[{at}].when: {wrong}")))?;
        let said = self.told(&config, &routes);
        if self.json { output::print_json(&said) } else { output::print_table(["WHAT", "SAYS"], rows(&said)) }
    }

    fn told(&self, config: &Config, routes: &Routes) -> Value {
        let usual = self.severity.unwrap_or_else(|| self.kind.importance());
        let is_named = routes.source().importance.contains_key(&self.kind);
        let (severity, why) = match (routes.importance(self.kind, usual), self.severity) {
            (None, _) => {
                return json!({
                    "alert": {"kind": self.kind.into_str(), "name": self.name},
                    "none": format!("`alerts.severity.{}` is off: there is no such alert", self.kind.into_str()),
                });
            }
            (Some(_), Some(given)) => (given, "as --severity says".to_owned()),
            (Some(severity), None) if is_named => {
                (severity, format!("as `alerts.severity.{}` says", self.kind.into_str()))
            }
            (Some(severity), None) => (severity, "as usual for its kind".to_owned()),
        };
        let alert = self.alert(severity);
        let route = routes.find(&alert);
        let looked_at: Vec<Value> = (0..)
            .zip(routes.looked_at(&alert))
            .map(|(at, (source, fits)): (usize, _)| {
                json!({"route": format!("route[{at}]"), "when": source.when.trim(), "fits": fits})
            })
            .collect();
        json!({
            "alert": {
                "severity": severity.into_str(), "severity_is": why, "kind": self.kind.into_str(), "name": self.name,
                "tenant": self.tenant, "sku": self.sku, "source": self.source, "assurance": self.assurance,
                "owner": self.owner, "target": self.target, "message": self.message,
            },
            "looked_at": looked_at,
            "not_looked_at": routes.source().routes.len() - looked_at.len(),
            "route": &*route.name,
            "channels": channels(config, &route.channels),
            "group": routes.group(&route, &alert).iter().filter(|part| !part.is_empty()).collect::<Vec<_>>(),
            "group_wait_seconds": route.wait,
            "group_interval_seconds": route.interval,
            "repeat_minutes": route.repeat,
            "escalation": escalation(config, &route),
            "quiet_hours": route.quiet.map(|quiet| quiet_hours(quiet, clock::wall().0)),
        })
    }

    fn alert(&self, importance: Importance) -> ListedAlert {
        let boxed = |text: &Option<String>| text.as_deref().map(Into::into);
        ListedAlert {
            id: AlertId([0; 16]),
            importance,
            kind: self.kind,
            name: self.name.as_str().into(),
            tenant: boxed(&self.tenant),
            sku: boxed(&self.sku),
            message: self.message.as_str().into(),
            since: UnixMillis(0),
            ended: None,
            members: 0,
            signal: None,
            source: boxed(&self.source),
            assurance: boxed(&self.assurance),
            owner: boxed(&self.owner),
            target: boxed(&self.target),
            receipt: "".into(),
        }
    }
}

/// Each channel with its kind.
fn channels(config: &Config, names: &[Box<str>]) -> Value {
    let one = |name: &str| {
        let channel = config.channels.iter().find(|channel| channel.name == *name)?;
        Some(json!({"name": channel.name, "kind": channel.kind.name()}))
    };
    names.iter().filter_map(|name| one(name)).collect()
}

fn escalation(config: &Config, route: &AlertRoute) -> Value {
    match route.escalate_after {
        0 => Value::Null,
        minutes => json!({"after_minutes": minutes, "channels": channels(config, &route.escalate_to)}),
    }
}

fn quiet_hours(quiet: QuietHours, now: u64) -> Value {
    let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
    let left = quiet.left(now).map(|millis| millis.div_ceil(60_000));
    json!({"from": time(quiet.from), "to": time(quiet.to), "now": left.is_some(), "minutes_left": left})
}

/// The same for people.
fn rows(said: &Value) -> Vec<[String; 2]> {
    let of = |value: &Value, name: &str| cell(value.get(name));
    let list = |value: Option<&Value>| -> Vec<Value> {
        value.and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let named = |value: Option<&Value>| {
        let each = list(value)
            .iter()
            .map(|one| format!("{} ({})", of(one, "name"), of(one, "kind")))
            .collect::<Vec<_>>();
        if each.is_empty() { "nobody".to_owned() } else { each.join(", ") }
    };
    let alert = said.get("alert").cloned().unwrap_or_default();
    if let Some(none) = said.get("none") {
        return vec![["alert".into(), cell(Some(none))]];
    }
    let mut rows = vec![[
        "alert".to_owned(),
        format!("{} of kind {}, {}", of(&alert, "severity"), of(&alert, "kind"), of(&alert, "severity_is")),
    ]];
    for look in list(said.get("looked_at")) {
        let fits = if look.get("fits") == Some(&Value::Bool(true)) { "fits" } else { "does not fit" };
        let when = of(&look, "when").split_whitespace().collect::<Vec<_>>().join(" ");
        rows.push([of(&look, "route"), format!("{fits}: {when}")]);
    }
    match said.get("not_looked_at").and_then(Value::as_u64) {
        Some(0) | None => {}
        Some(rest) => rows.push(["later routes".into(), format!("{rest}, not looked at")]),
    }
    let mut group: Vec<String> =
        list(said.get("group")).iter().map(|part| cell(Some(part))).filter(|part| !part.is_empty()).collect();
    // Where no route fits, the way has the name of the severity.
    group.dedup();
    let way = of(said, "route");
    let way = if way.starts_with("route[") { way } else { format!("no route fits: `alerts.{way}`") };
    let minutes = said.get("repeat_minutes").and_then(Value::as_u64).unwrap_or_default();
    rows.push(["way".into(), way]);
    rows.push(["channels".into(), named(said.get("channels"))]);
    rows.push(["told together".into(), plain(&group.join(", "))]);
    rows.push([
        "when".into(),
        format!(
            "after {} s; after a change {} s later at the earliest; again after {} h",
            of(said, "group_wait_seconds"),
            of(said, "group_interval_seconds"),
            minutes / 60
        ),
    ]);
    if let Some(escalation) = said.get("escalation").filter(|escalation| !escalation.is_null()) {
        let to = named(escalation.get("channels"));
        let after = of(escalation, "after_minutes");
        rows.push(["escalation".into(), format!("to {to}, if nobody acknowledges it within {after} min")]);
    }
    if let Some(quiet) = said.get("quiet_hours").filter(|quiet| !quiet.is_null()) {
        let now = match quiet.get("minutes_left").and_then(Value::as_u64) {
            Some(minutes) => format!("now: it would wait for {minutes} min"),
            None => "not now".to_owned(),
        };
        rows.push(["quiet hours".into(), format!("{} to {} UTC, {now}", of(quiet, "from"), of(quiet, "to"))]);
    }
    rows
}
