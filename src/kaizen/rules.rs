//! Recording and alerting rules for Prometheus, from the table of metrics and from what a node is configured to. Pure.
//!
//! Three objectives, each with alerts on how fast its error budget burns, over a long and a short window (Google's SRE
//! workbook, "Alerting on SLOs", multiwindow and multi-burn-rate): signals are accepted in time, decided in time, acted on
//! with success. The other alerts each look at one metric.

use std::fmt::Write as _;

use super::metric::Metric;
use super::monitored::Monitored;

/// How much an alert matters, in the words that signals use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Warning,
    Critical,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// An objective: the share of good events over 30 days.
struct Objective {
    name: &'static str,
    /// What is promised, for people.
    promise: &'static str,
    /// The share that may be bad.
    budget: f64,
    /// Its first metric: an objective is watched where that one is shown.
    metric: Metric,
    /// The share of bad events over a window.
    errors: fn(window: &str) -> String,
}

/// Requests are answered within this, in seconds; a bound of `gemba_request_seconds` that both formats write the same.
const ACCEPTED_WITHIN: &str = "0.1";
/// Signals are decided on within this, in seconds; a bound of `gemba_decision_seconds`.
const DECIDED_WITHIN: &str = "0.5";

const OBJECTIVES: [Objective; 3] = [
    Objective {
        name: "accepted",
        promise: "99.9 % of requests are answered within 0.1 s and not shed",
        budget: 0.001,
        metric: Metric::RequestSeconds,
        errors: |window| {
            let slow = slow(Metric::RequestSeconds, ACCEPTED_WITHIN, window);
            let shed = Metric::Signals.declared().name;
            let all = Metric::RequestSeconds.declared().name;
            format!(
                "{slow} + sum by (job) (rate({shed}{{result=\"shed\"}}[{window}])) / sum by (job) (rate({all}_count[{window}]))"
            )
        },
    },
    Objective {
        name: "decided",
        promise: "99.9 % of signals are decided on within 0.5 s of their acceptance",
        budget: 0.001,
        metric: Metric::DecisionSeconds,
        errors: |window| slow(Metric::DecisionSeconds, DECIDED_WITHIN, window),
    },
    Objective {
        name: "acted",
        promise: "99 % of actions succeed",
        budget: 0.01,
        metric: Metric::ActionsFailed,
        errors: |window| {
            let [failed, done] = [Metric::ActionsFailed, Metric::ActionsSuccessful]
                .map(|metric| format!("sum by (job) (rate({}[{window}]))", metric.declared().name));
            format!("{failed} / ({failed} + {done})")
        },
    },
];

/// The share of a histogram that is above a bound.
fn slow(metric: Metric, bound: &str, window: &str) -> String {
    let name = metric.declared().name;
    format!(
        "1 - sum by (job) (rate({name}_bucket{{le=\"{bound}\"}}[{window}])) / sum by (job) (rate({name}_count[{window}]))"
    )
}

/// Budget burns this many times faster than it may: over a long window, over a short one so that the alert ends soon after
/// its cause, and for how long.
const BURNS: [(f64, &str, &str, &str, Severity); 4] = [
    (14.4, "1h", "5m", "2m", Severity::Critical),
    (6.0, "6h", "30m", "15m", Severity::Critical),
    (3.0, "1d", "2h", "1h", Severity::Warning),
    (1.0, "3d", "6h", "3h", Severity::Warning),
];

/// The windows of [`BURNS`].
const WINDOWS: [&str; 8] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"];

/// An alert on one metric.
struct Alert {
    name: &'static str,
    metric: Metric,
    /// Its value, and what makes it bad; the metric's name stands for `NAME`.
    value: &'static str,
    bad: Bad,
    lasting: &'static str,
    severity: Severity,
}

/// When a value is bad.
#[derive(Clone, Copy)]
enum Bad {
    Above(f64),
    Is(u8),
    /// Below this many times [`Monitored::low_water_bytes`].
    BelowLowWater(u64),
    /// Above this share of what the node may hold.
    AboveShare(f64, fn(&Monitored) -> u64),
}

impl Bad {
    #[expect(clippy::cast_precision_loss, reason = "a bound of an alert")]
    fn condition(self, node: &Monitored) -> String {
        match self {
            Self::Above(bound) => format!("> {bound}"),
            Self::Is(state) => format!("== {state}"),
            Self::BelowLowWater(times) => format!("< {}", node.low_water_bytes.saturating_mul(times)),
            Self::AboveShare(share, of) => format!("> {}", (of(node) as f64 * share).floor()),
        }
    }
}

const ALERTS: [Alert; 24] = [
    alert("GembaUnwell", Metric::SystemStatus, "NAME", Bad::Above(0.0), "1m", Severity::Critical),
    alert(
        "GembaRestarted",
        Metric::Restarts,
        "increase(NAME[10m])",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert(
        "GembaAuditLags",
        Metric::AuditLag,
        "min_over_time(NAME[15m])",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert("GembaClockDoubted", Metric::ClockDoubted, "NAME", Bad::Is(1), "10m", Severity::Critical),
    alert("GembaDiskLow", Metric::DiskFree, "NAME", Bad::BelowLowWater(4), "5m", Severity::Warning),
    alert("GembaDiskFull", Metric::DiskFree, "NAME", Bad::BelowLowWater(1), "1m", Severity::Critical),
    alert(
        "GembaWaitingFull",
        Metric::WaitingBytes,
        "NAME",
        Bad::AboveShare(0.75, |node| node.waiting_bytes),
        "5m",
        Severity::Warning,
    ),
    alert(
        "GembaTelemetryLost",
        Metric::TelemetryLost,
        "sum by (job, instance, sink) (increase(NAME{cause!=\"repeated\"}[10m]))",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert(
        "GembaSignaturesRefused",
        Metric::SignatureRefusals,
        "sum by (job, source) (rate(NAME{reason=\"no_match\"}[5m]))",
        Bad::Above(1.0),
        "5m",
        Severity::Warning,
    ),
    alert(
        "GembaGovernorsFull",
        Metric::Governors,
        "sum by (job, instance) (NAME)",
        Bad::AboveShare(0.75, |node| node.governors),
        "5m",
        Severity::Warning,
    ),
    alert(
        "GembaGovernorsHalted",
        Metric::Governors,
        "sum by (job, instance) (NAME{state=\"halted\"})",
        Bad::Above(0.0),
        "5m",
        Severity::Warning,
    ),
    alert(
        "GembaHalts",
        Metric::Halts,
        "sum by (job, instance, scope) (NAME)",
        Bad::Above(0.0),
        "5m",
        Severity::Warning,
    ),
    alert("GembaTargetHalted", Metric::TargetBreaker, "NAME", Bad::Is(2), "1m", Severity::Critical),
    alert("GembaChannelFailing", Metric::ChannelBreaker, "NAME", Bad::Above(0.0), "5m", Severity::Warning),
    alert(
        "GembaDeadLetters",
        Metric::DeadLetters,
        "sum by (job, cause) (increase(NAME[15m]))",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert(
        "GembaReloadRefused",
        Metric::ReloadFailures,
        "increase(NAME[15m])",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert(
        "GembaConfigurationRefused",
        Metric::Reloads,
        "increase(NAME{result=\"refused\"}[15m])",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert("GembaBrokerAway", Metric::BrokerConnected, "NAME", Bad::Is(0), "1m", Severity::Critical),
    alert("GembaBrokerBlocked", Metric::BrokerBlocked, "NAME", Bad::Is(1), "1m", Severity::Warning),
    alert(
        "GembaPartitionUnserved",
        Metric::QueueConsumers,
        "max by (job, partition) (NAME)",
        Bad::Is(0),
        "1m",
        Severity::Critical,
    ),
    alert(
        "GembaMessagesRejected",
        Metric::BrokerRejected,
        "sum by (job, cause) (increase(NAME[15m]))",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
    alert("GembaSignalsMissing", Metric::BrokerMissing, "NAME", Bad::Above(0.0), "5m", Severity::Critical),
    alert("GembaStateUnshared", Metric::StateUnshared, "NAME", Bad::Above(10.0), "1m", Severity::Critical),
    alert(
        "GembaPartitionsLost",
        Metric::StateLostPartitions,
        "increase(NAME[15m])",
        Bad::Above(0.0),
        "0m",
        Severity::Warning,
    ),
];

const fn alert(
    name: &'static str,
    metric: Metric,
    value: &'static str,
    bad: Bad,
    lasting: &'static str,
    severity: Severity,
) -> Alert {
    Alert { name, metric, value, bad, lasting, severity }
}

/// The name of a recorded share of bad events.
#[must_use]
pub fn recorded(window: &str) -> String {
    format!("gemba:slo_error_ratio:rate{window}")
}

/// The objectives that a node has: their names and promises.
pub fn objectives(node: &Monitored) -> impl Iterator<Item = (&'static str, &'static str)> {
    of(node).map(|objective| (objective.name, objective.promise))
}

fn of(node: &Monitored) -> impl Iterator<Item = &'static Objective> {
    const ALL: &[Objective] = &OBJECTIVES;
    let node = *node;
    ALL.iter().filter(move |objective| node.shows(objective.metric.declared().at))
}

/// The rule file of a node.
#[must_use]
pub fn file(node: &Monitored) -> String {
    let mut file = String::from(
        "# Made by `gemba rules`; make it anew with the node's configuration rather than changing it.\ngroups:\n  - name: gemba-slo\n    rules:\n",
    );
    for objective in of(node) {
        for window in WINDOWS {
            let expression = (objective.errors)(window);
            // Writing to a string cannot fail.
            let _infallible = write!(
                file,
                "      - record: {}\n        expr: {}\n        labels: {{slo: {}}}\n",
                recorded(window),
                quoted(&expression),
                objective.name
            );
        }
    }
    file.push_str("  - name: gemba-burn\n    rules:\n");
    for objective in of(node) {
        for (rate, long, short, lasting, severity) in BURNS {
            let bound = format!("{} * {}", rate, objective.budget);
            let over = |window| format!("{}{{slo=\"{}\"}} > {bound}", recorded(window), objective.name);
            let expression = format!("{} and {}", over(long), over(short));
            let summary = format!(
                "the error budget of `{}` burns {rate} times too fast: {}",
                objective.name, objective.promise
            );
            let advice =
                "docs/operations.md says what each metric tells; begin with `gemba status` and `/readyz`.";
            let labels =
                format!("{{severity: {}, slo: {}, window: {long}}}", severity.as_str(), objective.name);
            entry(
                &mut file,
                "GembaErrorBudgetBurns",
                &expression,
                lasting,
                &labels,
                &[summary.as_str(), advice],
            );
        }
    }
    file.push_str("  - name: gemba\n    rules:\n");
    for alert in ALERTS.iter().filter(|alert| node.shows(alert.metric.declared().at)) {
        let declared = alert.metric.declared();
        let expression =
            format!("{} {}", alert.value.replace("NAME", declared.name), alert.bad.condition(node));
        let labels = format!("{{severity: {}}}", alert.severity.as_str());
        entry(&mut file, alert.name, &expression, alert.lasting, &labels, &[declared.help, declared.advice]);
    }
    file
}

fn entry(
    file: &mut String,
    name: &str,
    expression: &str,
    lasting: &str,
    labels: &str,
    [summary, description]: &[&str; 2],
) {
    let _infallible = write!(
        file,
        "      - alert: {name}\n        expr: {}\n        for: {lasting}\n        labels: {labels}\n        annotations:\n          \
         summary: {}\n          description: {}\n",
        quoted(expression),
        quoted(summary),
        quoted(description)
    );
}

/// A scalar of YAML, which nothing inside ends: single quotes are doubled (YAML 1.2, section 7.3.2). There are no line ends.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
