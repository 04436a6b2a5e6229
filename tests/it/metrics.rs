//! The page of metrics, as Prometheus and others read it.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use gemba::kaizen::{Kind, Metric};

use crate::http::{Answer, exchange};
use crate::node::{Node, PATIENCE, free_address, signal};
use crate::program::{PROGRAM, Process, bare};
use crate::prometheus::installed;
use crate::tools::missing;
use crate::wire::raw;

const JSON: &str = "application/json";
const OPEN_METRICS: &str = "accept: application/openmetrics-text; version=1.0.0";

fn page(node: &Node, headers: &[&str]) -> Answer {
    let headers: Vec<&str> = headers.iter().copied().chain(["connection: close"]).collect();
    exchange(node.admin, &raw("GET /metrics HTTP/1.1", &headers, b""))
}

/// What a command says of `input`.
fn fed(command: &mut Command, input: &str) -> Output {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Decides on a signal, refuses one, and waits until both are counted.
fn used() -> Node {
    // Nobody takes its traces, and what is counted of them is there.
    let nobody = format!("[\"http://{}\"]", free_address());
    let node = Node::start_with(&[("GEMBA_OPENTELEMETRY__ENDPOINTS", &nobody)]);
    assert_eq!(node.post(JSON, signal("acme", "vm", "s-1").as_bytes()).status, 202);
    node.decided("acme", "s-1");
    let forged = node.request("POST", "/v1/signals", &[("content-type", JSON)], b"{}");
    assert_eq!(forged.status, 401);
    let signed = [("content-type", JSON), ("x-signature", "00")];
    assert_eq!(node.request("POST", "/v1/signals", &signed, b"{}").status, 401);
    let until = Instant::now() + PATIENCE;
    while node.metric("gemba_signals_total{result=\"bad_signature\"}") < 2.0
        || !node.ask("/metrics").text().contains("gemba_decisions_total{")
    {
        assert!(Instant::now() < until, "{}", node.ask("/metrics").text());
        std::thread::sleep(Duration::from_millis(20));
    }
    node
}

#[test]
fn the_page_has_the_form_that_is_asked_for() {
    let node = used();
    let text = page(&node, &[]);
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!text.text().contains("# EOF") && text.header("content-encoding").is_none());
    let open = page(&node, &[OPEN_METRICS]);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(content_type));
    assert!(open.text().ends_with("# EOF\n"));
    for (headers, is_zipped) in [
        (&["accept-encoding: gzip"][..], true),
        (&["accept-encoding: br, GZIP;q=0.5"], true),
        (&["accept-encoding: br", "accept-encoding: gzip"], true),
        (&["accept-encoding: gzip;q=0"], false),
        (&["accept-encoding: identity"], false),
    ] {
        let answer = page(&node, headers);
        assert_eq!(answer.header("content-encoding"), is_zipped.then_some("gzip"), "{headers:?}");
        assert_eq!(answer.header("vary"), Some("accept, accept-encoding"));
        let mut text = String::new();
        if is_zipped {
            GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap();
        } else {
            text = answer.text();
        }
        assert!(text.contains("# TYPE gemba_signals_total counter"), "{headers:?}: {text}");
    }
}

#[test]
fn decisions_and_refused_signatures_are_counted_by_their_reasons() {
    let node = used();
    let decided = |series: &str| node.metric(&format!("gemba_decisions_total{{{series}}}"));
    assert!((decided("pack=\"none\",rule=\"none\",decision=\"observe\"") - 1.0).abs() < 0.1);
    for (reason, count) in [("missing", 1.0), ("malformed", 1.0), ("no_match", 0.0), ("too_old", 0.0)] {
        let series = format!("gemba_signature_refusals_total{{source=\"signals\",reason=\"{reason}\"}}");
        assert!((node.metric(&series) - count).abs() < 0.1, "{series}: {}", node.ask("/metrics").text());
    }
    assert!(node.metric("gemba_disk_free_bytes") > 0.0);
}

#[test]
fn tenants_are_told_apart_to_a_viewer() {
    let node = used();
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let answer = node.ask("/metrics/tenants");
        assert_eq!(answer.status, 200, "{answer:?}");
        if answer.text().contains("gemba_tenant_events_total{tenant=\"acme\"} 1\n") {
            break answer.text();
        }
        assert!(Instant::now() < until, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(!node.ask("/metrics").text().contains("acme"), "who has no token learns no names");
    let stranger = exchange(node.admin, &raw("GET /metrics/tenants HTTP/1.1", &["connection: close"], b""));
    assert_eq!(stranger.status, 401);
    let Some(promtool) = installed("promtool") else { return };
    let output = fed(Command::new(&promtool).args(["check", "metrics"]), &text);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// The reference architecture's name ends in an abbreviated unit, and stays.
#[test]
fn promtool_finds_fault_with_nothing_but_the_old_name() {
    let Some(promtool) = installed("promtool") else { return };
    let golden = std::fs::read_to_string(root().join("src/kaizen/tests/page.txt")).unwrap();
    for text in [page(&used(), &[]).text(), golden] {
        let output = fed(Command::new(&promtool).args(["check", "metrics"]), &text);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let others: Vec<&str> = said.lines().filter(|line| !line.starts_with(OLD_NAME)).collect();
        assert_eq!(others, [""; 0], "{text}");
        assert_eq!(said.lines().count(), 1, "promtool looks at names: {said}");
    }
}

const OLD_NAME: &str = "signal_processing_latency_us ";

#[test]
fn the_strict_parser_of_others_reads_openmetrics() {
    let python = target().join("prometheus/bin/python");
    if !python.exists() {
        return missing("target/prometheus", "tests/prometheus/install").unwrap_or_default();
    }
    let golden = std::fs::read_to_string(root().join("src/kaizen/tests/page.openmetrics.txt")).unwrap();
    let node = used();
    let until = Instant::now() + PATIENCE;
    // Latency leads to a trace and to a receipt.
    let live = loop {
        let live = page(&node, &[OPEN_METRICS]).text();
        let exemplar = live
            .lines()
            .find(|line| line.starts_with("gemba_request_seconds_bucket") && line.contains(" # {"));
        if exemplar.is_some_and(|line| line.contains("trace_id=") && line.contains("receipt_id=\"r-")) {
            break live;
        }
        assert!(Instant::now() < until, "{live}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(!page(&node, &[]).text().contains(" # {"), "text 0.0.4 has none");
    let viewer = format!("authorization: Bearer {}", node.secret("admin.token"));
    let headers = [OPEN_METRICS, viewer.as_str(), "connection: close"];
    let tenants = exchange(node.admin, &raw("GET /metrics/tenants HTTP/1.1", &headers, b"")).text();
    let (of_tenants, others): (Vec<Metric>, Vec<Metric>) =
        Metric::ALL.into_iter().partition(|metric| metric.declared().name.starts_with("gemba_tenant_"));
    assert_eq!(of_tenants.len(), 3);
    for (text, metrics) in [(&golden, others), (&live, vec![]), (&tenants, of_tenants)] {
        let script = root().join("tests/prometheus/openmetrics.py");
        let output = fed(Command::new(&python).arg(script), text);
        assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
        let read = String::from_utf8(output.stdout).unwrap();
        for metric in metrics {
            let declared = metric.declared();
            let family = match declared.kind {
                Kind::Counter => declared.name.trim_end_matches("_total"),
                Kind::Gauge | Kind::Histogram(..) => declared.name,
            };
            let line =
                format!("{family} {} {}", declared.kind.as_str(), declared.unit.suffix().unwrap_or(""));
            assert!(read.lines().any(|read| read.starts_with(&line)), "{line}: {read}");
        }
        // A cut page is an error to it, so it looks at more than lines.
        let cut = text.trim_end_matches("# EOF\n");
        let script = root().join("tests/prometheus/openmetrics.py");
        assert!(!fed(Command::new(&python).arg(script), cut).status.success());
    }
}

/// A Prometheus that scrapes `node` each second, with `more` in its configuration; and where it answers.
fn scraping(prometheus: PathBuf, node: &Node, dir: &Path, more: &str) -> (SocketAddr, Process) {
    let address = free_address();
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n{more}scrape_configs:\n- job_name: gemba\n  \
         static_configs: [{{targets: ['{}']}}]\n",
        node.admin
    );
    std::fs::write(dir.join("prometheus.yml"), config).unwrap();
    let mut command = Command::new(prometheus);
    command.current_dir(dir).args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        &format!("--web.listen-address={address}"),
    ]);
    (address, Process::spawn(command, PATIENCE))
}

#[test]
fn prometheus_scrapes_the_node() {
    let Some(prometheus) = installed("prometheus") else { return };
    let node = used();
    let dir = tempfile::tempdir().unwrap();
    let (address, _process) = scraping(prometheus, &node, dir.path(), "");
    let wanted = [
        ("up{job=\"gemba\"}", "1"),
        ("gemba_signals_total{result=\"accepted\"}", "1"),
        ("gemba_decisions_total{decision=\"observe\"}", "1"),
        ("gemba_request_seconds_count > bool 2", "1"),
    ];
    let until = Instant::now() + PATIENCE;
    for (query, value) in wanted {
        loop {
            let found = asked(address, query);
            if found.as_deref() == Some(value) {
                break;
            }
            assert!(Instant::now() < until, "{query}: {found:?}\n{}", node.ask("/metrics").text());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The configurations whose rules and dashboards are in the tree.
const COMMITTED: [(&str, &str); 3] =
    [("dev", "gemba"), ("edge", "gemba-edge"), ("processor", "gemba-processor")];

#[test]
fn rules_and_dashboards_in_the_tree_are_what_the_program_makes() {
    let dir = tempfile::tempdir().unwrap();
    for (config, name) in COMMITTED {
        let config = root().join(format!("config/{config}.toml"));
        for (word, kept) in [
            ("rules", format!("prometheus/{name}.rules.yml")),
            ("dashboards", format!("grafana/{name}.json")),
        ] {
            let mut command = command_in_root();
            let output =
                command.stdout(Stdio::piped()).args([word, "--config"]).arg(&config).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let made = String::from_utf8(output.stdout).unwrap();
            let kept = root().join("config").join(kept);
            assert!(
                made == std::fs::read_to_string(&kept).unwrap(),
                "write {} anew: gemba {word}",
                kept.display()
            );
            let mut command = command_in_root();
            command.arg(word).arg(dir.path()).arg("--config").arg(&config);
            assert!(command.output().unwrap().status.success());
            assert!(dir.path().join(kept.file_name().unwrap()).exists());
        }
    }
}

#[test]
fn promtool_takes_the_rules_and_they_fire_on_what_they_are_for() {
    let Some(promtool) = installed("promtool") else { return };
    let rules = COMMITTED.map(|(_, name)| format!("config/prometheus/{name}.rules.yml"));
    for arguments in [
        [&["check".to_owned(), "rules".to_owned()], rules.as_slice()].concat(),
        ["test", "rules", "tests/prometheus/rules_test.yml"].map(str::to_owned).to_vec(),
    ] {
        let output = Command::new(&promtool).current_dir(root()).args(&arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && !said.contains("FAILED"), "{said}");
    }
}

/// Each query of the dashboard and of the rules, asked of a Prometheus that scraped a node at work.
#[test]
fn no_query_of_dashboard_or_rules_comes_back_empty() {
    let Some(prometheus) = installed("prometheus") else { return };
    let node = used();
    let dir = tempfile::tempdir().unwrap();
    let rules = std::fs::read_to_string(root().join("config/prometheus/gemba.rules.yml")).unwrap();
    std::fs::write(dir.path().join("gemba.rules.yml"), &rules).unwrap();
    let (address, _process) = scraping(prometheus, &node, dir.path(), "rule_files: [gemba.rules.yml]\n");
    let dashboard = std::fs::read_to_string(root().join("config/grafana/gemba.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut queries: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    queries.extend(annotations.map(|annotation| annotation["expr"].as_str().unwrap().to_owned()));
    let of_rules = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: '")?.strip_suffix('\''));
    queries.extend(of_rules.map(|expression| expression.replace("''", "'")));
    assert!(queries.len() > 80, "{}", queries.len());
    let until = Instant::now() + PATIENCE;
    for query in &queries {
        let query = query.replace("$job", ".*").replace("$instance", ".*").replace("$__rate_interval", "1m");
        // What an alert looks at is there, also while it is good.
        for part in query.split(" and ") {
            let looked_at = [" > ", " < ", " == "].iter().find_map(|sign| part.rsplit_once(sign));
            let looked_at = looked_at.map_or(part, |(looked_at, _)| looked_at);
            while asked(address, looked_at).is_none() {
                assert!(Instant::now() < until, "empty: {looked_at}\n{}", node.ask("/metrics").text());
                let body =
                    signal("acme", "vm", &format!("{:?}", Instant::now()).replace([' ', '{', '}'], ""));
                assert_eq!(node.post(JSON, body.as_bytes()).status, 202);
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// The value of the first series that Prometheus has.
fn asked(prometheus: SocketAddr, query: &str) -> Option<String> {
    let query = query.bytes().fold(String::new(), |query, byte| query + &format!("%{byte:02x}"));
    let line = format!("GET /api/v1/query?query={query} HTTP/1.1");
    let answer = crate::http::try_exchange(prometheus, &raw(&line, &["connection: close"], b""))?;
    let found: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
}

/// Without the variables of other tests, which change bounds.
fn command_in_root() -> Command {
    bare(PROGRAM, root())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(target)
}
