//! A dashboard for Grafana, from the table of metrics: every metric that a node shows has a panel. In the classic model,
//! which each version since 8 reads. Pure.

use serde_json::{Value, json};

use super::metric::{At, Declared, Kind, Metric, Unit};
use super::monitored::{Monitored, Role};
use super::rules;

/// The last version of the classic model.
const SCHEMA: u32 = 42;
/// Panels are so wide, of 24, and so high.
const WIDTH: usize = 8;
const HEIGHT: usize = 8;

/// The dashboard of a node, as JSON.
#[must_use]
pub fn dashboard(node: &Monitored) -> Value {
    let role = match node.role {
        Role::All => "all",
        Role::Edge => "edge",
        Role::Processor { .. } => "processor",
    };
    let mut panels = Panels::default();
    panels.row("Objectives");
    for (name, promise) in rules::objectives(node) {
        let target = ["5m", "1h"].map(|window| {
            let query = format!("{}{{slo=\"{name}\", job=~\"$job\"}}", rules::recorded(window));
            (query, format!("over {window}"))
        });
        panels.add(&format!("Errors: {name}"), promise, "percentunit", false, &target);
    }
    for (title, section) in [
        ("Line", At::Every),
        ("Front door", At::Ingress),
        ("Decisions and actions", At::Deciding),
        ("Broker", At::Broker),
        ("Broker, edge", At::Edge),
        ("Broker, processor", At::Processor),
        ("Shared state", At::Shared),
    ] {
        let metrics: Vec<Metric> = node.metrics().filter(|metric| metric.declared().at == section).collect();
        if !metrics.is_empty() {
            panels.row(title);
            for metric in metrics {
                panels.metric(metric.declared());
            }
        }
    }
    let variable = |name: &str, query: String| {
        json!({
            "name": name, "label": name, "type": "query", "datasource": datasource(), "definition": query,
            "query": {"query": query, "refId": name}, "refresh": 2, "includeAll": true, "multi": true,
            "current": {"text": "All", "value": "$__all"}, "sort": 1,
        })
    };
    let status = Metric::SystemStatus.declared().name;
    json!({
        "id": null, "uid": format!("gemba-{role}"), "title": format!("Gemba, {role}"), "tags": ["gemba"],
        "schemaVersion": SCHEMA, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"}, "timezone": "", "links": [],
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
             "current": {}, "refresh": 1, "hide": 0},
            variable("job", format!("label_values({status}, job)")),
            variable("instance", format!("label_values({status}{{job=~\"$job\"}}, instance)")),
        ]},
        "annotations": {"list": annotations(node)},
        "panels": panels.list,
    })
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// When the rules changed, and when the line was taken up again.
fn annotations(node: &Monitored) -> Vec<Value> {
    let changes = [(Metric::RulesSince, "rules changed", "blue"), (Metric::Restarts, "restarted", "red")];
    let shown = changes.into_iter().filter(|(metric, ..)| node.shows(metric.declared().at));
    let annotation = |(metric, name, color): (Metric, &str, &str)| {
        let query = format!("changes({}[1m]) > 0", series(metric.declared().name, ""));
        json!({
            "name": name, "datasource": datasource(), "enable": true, "iconColor": color, "expr": query, "step": "1m",
            "titleFormat": name, "textFormat": "{{instance}}",
        })
    };
    shown.map(annotation).collect()
}

/// The series of the chosen nodes; `more` are further matchers, each after a comma.
fn series(name: &str, more: &str) -> String {
    format!("{name}{{job=~\"$job\", instance=~\"$instance\"{more}}}")
}

#[derive(Default)]
struct Panels {
    list: Vec<Value>,
    /// Panels in the row of the screen, and where it begins.
    in_line: usize,
    at: usize,
}

impl Panels {
    fn row(&mut self, title: &str) {
        self.end_line();
        self.list.push(json!({
            "id": self.list.len() + 1, "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": self.at, "w": 24, "h": 1},
        }));
        self.at += 1;
    }

    fn end_line(&mut self) {
        if self.in_line > 0 {
            (self.in_line, self.at) = (0, self.at + HEIGHT);
        }
    }

    fn metric(&mut self, declared: &Declared) {
        let labels: Vec<&str> = declared.labels.iter().map(|label| label.name).collect();
        let legend = |more: &str| {
            let parts = labels.iter().map(|label| format!("{{{{{label}}}}}"));
            parts.chain([more.to_owned()]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        };
        let by = |more: &[&str]| [more, &labels].concat().join(", ");
        let name = declared.name;
        let (unit, targets) = match declared.kind {
            Kind::Counter => {
                let rate = format!("rate({}[$__rate_interval])", series(name, ""));
                let unit = if declared.unit == Unit::Bytes { "Bps" } else { "cps" };
                (unit, vec![(format!("sum by ({}) ({rate})", by(&["instance"])), legend("{{instance}}"))])
            }
            Kind::Gauge => (unit(declared.unit), vec![(series(name, ""), legend("{{instance}}"))]),
            Kind::Histogram(..) => {
                let bucket = format!("rate({}[$__rate_interval])", series(&format!("{name}_bucket"), ""));
                let quantile = |share: &str, word: &str| {
                    let query = format!("histogram_quantile({share}, sum by ({}) ({bucket}))", by(&["le"]));
                    (query, legend(word))
                };
                (unit(declared.unit), vec![quantile("0.5", "p50"), quantile("0.99", "p99")])
            }
        };
        let description = format!("{} {}", declared.help, declared.advice);
        self.add(name, &description, unit, matches!(declared.kind, Kind::Histogram(..)), &targets);
    }

    fn add(
        &mut self,
        title: &str,
        description: &str,
        unit: &str,
        exemplars: bool,
        targets: &[(String, String)],
    ) {
        if (self.in_line + 1) * WIDTH > 24 {
            self.end_line();
        }
        let targets: Vec<Value> = ('A'..)
            .zip(targets)
            .map(|(id, (query, legend))| {
                json!({
                    "refId": id.to_string(), "datasource": datasource(), "expr": query, "legendFormat": legend,
                    "exemplar": exemplars, "range": true,
                })
            })
            .collect();
        self.list.push(json!({
            "id": self.list.len() + 1, "type": "timeseries", "title": title, "description": description,
            "datasource": datasource(), "targets": targets,
            "gridPos": {"x": self.in_line * WIDTH, "y": self.at, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        }));
        self.in_line += 1;
    }
}

/// As Grafana names it.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::None => "short",
        Unit::Seconds => "s",
        Unit::Microseconds => "µs",
        Unit::Bytes => "bytes",
    }
}
