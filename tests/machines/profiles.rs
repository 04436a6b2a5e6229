//! The three configurations in `config`, each as it stands, with every role. What stands around a node is real: RabbitMQ, Prometheus,
//! rsyslog, a receiver of OTLP, a target of actions. Only names of hosts and of directories are those of the test.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::line::wait_until;
use crate::node::{Node, PATIENCE, free_address, free_ports};
use crate::otlp::{Receiver, named};
use crate::program::{PROGRAM, Process, bare};
use crate::prometheus::Prometheus;
use crate::rabbit::{Broker, PASSWORD};
use crate::rsyslog::Rsyslog;
use crate::targets::{Does, Target};
use crate::tls::{Authority, served};

const SENDERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const SENDERS_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One profile, and what stands around its nodes.
struct Site {
    file: &'static str,
    dir: tempfile::TempDir,
    /// Names in the file, and what stands in their place.
    names: Vec<(&'static str, String)>,
    /// Where its secrets are: below this directory, or below each node's own.
    secrets: Option<PathBuf>,
}

impl Site {
    /// Of a profile that names its secrets: they are made as the documentation says.
    fn of(file: &'static str, authority: &Authority, hook: &Target) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
        let block = page.split_once("```console\n$ mkdir -p /etc/gemba").unwrap().1;
        let block = block.split("```").next().unwrap();
        let commands = block.lines().filter_map(|line| line.strip_prefix("$ "));
        let commands: Vec<&str> = commands.filter(|command| !command.starts_with("gemba ")).collect();
        assert!(commands.len() > 8, "{commands:?}");
        let commands = format!("mkdir -p /etc/gemba/certs\n{}", commands.join("\n"));
        let commands = commands.replace("/etc/gemba", &etc.display().to_string());
        let ran = Command::new("bash").args(["-euc", &commands]).current_dir(root()).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let certs = etc.join("certs");
        std::fs::write(certs.join("ca.crt"), authority.pem()).unwrap();
        authority.write(&certs, "prometheus", &["a node"]);
        authority.write(&certs, "syslog", &["a node"]);
        // A target on this machine is a private address: that it may be called stands beside its name.
        let ca = certs.join("ca.crt");
        let url = format!(
            "\"https://{}/hook\"\nallow_private = true\nca_file = \"{}\"",
            hook.address,
            ca.display()
        );
        let names =
            vec![("\"https://hooks.example.com/gemba\"", url), ("/etc/gemba", etc.display().to_string())];
        Self { file, dir, names, secrets: Some(etc) }
    }

    /// What the broker gave the nodes, once they have one.
    fn write_password(&self) {
        let path = self.secrets.as_ref().unwrap().join("rabbitmq.password");
        std::fs::write(&path, PASSWORD).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The file as it stands, but for these names.
    fn placed(&self, home: &Path, planes: [SocketAddr; 2]) -> String {
        let mut text = std::fs::read_to_string(root().join("config").join(self.file)).unwrap();
        let at = |name: &str| home.join(name).display().to_string();
        let [ingress, admin] = planes.map(|plane| plane.to_string());
        let mut names = self.names.clone();
        let public = if self.secrets.is_some() { "0.0.0.0:8080" } else { "127.0.0.1:8080" };
        names.extend([(public, ingress), ("127.0.0.1:9090", admin)]);
        if self.secrets.is_some() {
            names.extend([("/var/lib/gemba", at("lib")), ("/var/log/gemba", at("log"))]);
        }
        for (name, here) in names {
            assert!(text.contains(name), "{} does not name {name}", self.file);
            text = text.replace(name, &here);
        }
        for line in text.lines().map(|line| line.split(" # ").next().unwrap()) {
            let names = ["-staging", "-prod", ".internal", "example.com/", "\"/etc/", "\"/var/", "\"/dev/"];
            let left = names.iter().find(|name| line.contains(**name) && !line.starts_with('#'));
            assert!(left.is_none(), "{}: {line}", self.file);
        }
        text
    }

    /// Starts a node, and waits until it is ready. How often it tells of itself is not the file's.
    fn start(&self, role: &str, name: &str) -> Node {
        let home = self.dir.path().join(name);
        std::fs::create_dir_all(home.join("log")).unwrap();
        // As in the directory that the program is run in.
        std::os::unix::fs::symlink(root().join("config"), home.join("config")).unwrap();
        let planes = [free_address(), free_address()];
        std::fs::write(home.join("gemba.toml"), self.placed(&home, planes)).unwrap();
        let mut check = bare(PROGRAM, &home);
        let checked = check.args(["config", "check", "gemba.toml", "--role", role]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let mut command = bare(PROGRAM, &home);
        command.args(["serve", "--config", "gemba.toml", "--role", role]);
        command
            .env("GEMBA_NODE__NAME", name)
            .env("GEMBA_PROMETHEUS__INTERVAL_SECONDS", "1")
            .env("GEMBA_OPENTELEMETRY__DELAY_MS", "50")
            // The machine of the test has what room it has.
            .env("GEMBA_KANBAN__LOW_WATER_MIB", "1");
        let secrets = self.secrets.clone().unwrap_or_else(|| home.join("data"));
        Node::quiet(Process::spawn(command, PATIENCE), planes, &home, &secrets)
    }
}

/// Signals by the generator; how many were accepted.
fn load(node: &Node, more: &[&str]) -> u64 {
    let mut command = bare(PROGRAM, &node.dir);
    command.args([
        "load",
        "--rate",
        "100",
        "--duration",
        "2",
        "--connections",
        "4",
        "--tenants",
        "5",
        "--json",
    ]);
    command.arg("--url").arg(format!("http://{}", node.ingress));
    command.arg("--admin-url").arg(format!("http://{}", node.admin));
    command.arg("--secret-file").arg(node.file("signals.secret"));
    command.arg("--admin-token-file").arg(node.file("admin.token"));
    let output = command.args(more).stdout(std::process::Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let accepted = summary["signals"]["accepted"].as_u64().unwrap();
    assert!(accepted > 100, "{summary}");
    accepted
}

/// A signal on which a rule acts, by a sender that records its trace; its receipts at the node that decides.
fn signal(takes: &Node, decides: &Node) -> Vec<String> {
    let body =
        br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage","data":{"spend":81.25,"budget":100}}"#;
    let signature = takes.sign(body);
    let headers =
        [("content-type", "application/json"), ("x-signature", &*signature), ("traceparent", SENDERS)];
    assert_eq!(takes.request("POST", "/v1/signals", &headers, body).status, 202);
    let mut receipts = Vec::new();
    wait_until("the signal is decided on, and its action has an outcome", || {
        let status = decides.ask("/v1/signals/acme/s-1");
        let named = if status.status == 200 { status.json()["receipts"].clone() } else { Value::Null };
        let kind = |id: &Value| {
            let receipt = decides.ask(&format!("/v1/receipts/{}", id.as_str().unwrap())).json();
            receipt["receipt_type"].as_str().unwrap_or_default().to_owned()
        };
        // A rule of the shipped packs raises an alert, too.
        let kinds = named.as_array().into_iter().flatten().map(kind);
        receipts = kinds.filter(|kind| !kind.starts_with("alert_")).collect();
        receipts.len() == 2
    });
    receipts
}

/// Events of standard error, and of a file of the log.
fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Ends a node: what it warned of is what its profile has it warn of. All that it said.
fn ended(mut node: Node, expected: &[&str]) -> Vec<Value> {
    assert!(node.terminate().success());
    let said = events(&node.everything_said());
    // What the test machine's disk is mounted with is not the profile's.
    let machine =
        ["the data directory is mounted with `discard`: syncs wait for each block that is freed there"];
    // Without channels the log is told.
    let alerts = ["an alert"];
    for event in said.iter().filter(|event| event["level"] == "warn" || event["level"] == "error") {
        let message = event["message"].as_str().unwrap();
        let known = [expected, &machine, &alerts].iter().any(|known| known.contains(&message));
        assert!(known, "{event}");
    }
    said
}

fn has(events: &[Value], message: &str) -> bool {
    events.iter().any(|event| event["message"] == message)
}

const READY: &str = "the node takes signals";
const DRAINED: &str = "drained: everything accepted is durable, every decision has its receipt";

fn has_type(receipts: &[Value], kind: &str) -> bool {
    receipts.iter().any(|receipt| receipt["receipt_type"] == kind)
}

/// A file of the log: for its node alone, and whole.
fn file_of_log(path: &Path) -> Vec<Value> {
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    events(&std::fs::read_to_string(path).unwrap())
}

/// The queues of signals: their names, and what is the same of all of them.
fn queues(broker: &Broker, columns: &[&str]) -> (Vec<String>, Vec<Value>) {
    let listed = broker.listed(&[&["list_queues", "name"], columns].concat());
    let of_signals: Vec<&Value> = listed
        .iter()
        .filter(|queue| {
            let name = queue["name"].as_str().unwrap();
            name.starts_with("tai2030.signals") && !name.contains("deadletter")
        })
        .collect();
    let mut names: Vec<String> =
        of_signals.iter().map(|queue| queue["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    let of = |queue: &&Value| columns.iter().map(|column| queue[*column].clone()).collect::<Value>();
    let mut same: Vec<Value> = of_signals.iter().map(of).collect();
    same.dedup();
    (names, same)
}

/// How many messages consumers of signals hold unacknowledged.
fn prefetch(broker: &Broker) -> Vec<Value> {
    let listed = broker.listed(&["list_consumers", "queue_name", "prefetch_count"]);
    let of_signals = listed
        .iter()
        .filter(|consumer| consumer["queue_name"].as_str().unwrap().starts_with("tai2030.signals"));
    let mut counts: Vec<Value> = of_signals.map(|consumer| consumer["prefetch_count"].clone()).collect();
    counts.dedup();
    counts
}

/// Both parts of a trace that its sender recorded have come.
fn wait_for_trace(receiver: &Receiver, edge: &str, processor: &str) {
    let of = |told: &[Value], node: &str, name: &str| {
        named(told, name)
            .iter()
            .any(|span| span["trace"] == SENDERS_TRACE && span["resource"]["service.instance.id"] == node)
    };
    receiver.wait_for("the trace", |told| {
        ["gemba.receive", "gemba.verify", "gemba.journal"].iter().all(|name| of(told, edge, name))
            && ["gemba.decide", "gemba.act", "gemba.receipt"].iter().all(|name| of(told, processor, name))
    });
}

/// Samples of a node have come, with the labels of its profile.
fn wait_for_samples(prometheus: &Prometheus, environment: &str, node: &str, metric: &str, least: u64) {
    let query = format!("{metric},environment=\"{environment}\",job=\"gemba\",instance=\"{node}\"}}");
    wait_until(&query, || {
        let value = prometheus.asked(&format!("sum({query})"));
        value.is_some_and(|value| value.parse::<u64>().unwrap() >= least)
    });
}

/// Every panel of the dashboard that the program makes for this node shows something.
fn no_panel_is_empty(prometheus: &Prometheus, node: &Node, role: &str, name: &str) {
    let mut command = bare(PROGRAM, &node.dir);
    command.env("GEMBA_NODE__ROLE", role).args(["dashboards", "--config", "gemba.toml"]);
    let made = command.stdout(std::process::Stdio::piped()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let dashboard: Value = serde_json::from_slice(&made.stdout).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let queries = queries.map(|target| target["expr"].as_str().unwrap());
    // What rules record is recorded by a Prometheus that has the rules.
    let queries: Vec<&str> = queries.filter(|query| !query.contains("gemba:")).collect();
    assert!(queries.len() > 30, "{role}: {}", queries.len());
    for query in queries {
        let query = query.replace("$job", ".*").replace("$instance", name).replace("$__rate_interval", "1m");
        wait_until(&query, || prometheus.asked(&query).is_some());
    }
}

const ACCEPTED: &str = "gemba_signals_total{result=\"accepted\"";
const DECIDED: &str = "gemba_decisions_total{decision=~\".+\"";

fn decisions(node: &Node) -> u64 {
    let page = node.ask("/metrics").text();
    let counts = page.lines().filter(|line| line.starts_with("gemba_decisions_total{"));
    counts.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

/// Signals that an edge takes are decided on by a processor; how many it accepted.
fn decides_beside(edge: &Node, processor: &Node) -> u64 {
    let accepted = load(edge, &[]);
    assert_eq!(signal(edge, processor), ["action_generated", "action_successful"]);
    wait_until("everything is decided on", || decisions(processor) > accepted);
    accepted
}

fn has_one_queue(broker: &Broker, kind: &str, durable: bool) {
    let (names, same) = queues(broker, &["type", "durable"]);
    assert_eq!(names, ["tai2030.signals"]);
    assert_eq!(same, [serde_json::json!([kind, durable])]);
}

#[test]
fn development_runs_as_it_stands() {
    let Some(broker) = Broker::start() else { return };
    // Its broker is one as it is after its installation.
    broker.ctl(&["add_user", "guest", "guest"]);
    broker.ctl(&["set_permissions", "guest", ".*", ".*", ".*"]);
    let names = vec![("localhost:5672", format!("127.0.0.1:{}", broker.port))];
    let site = Site { file: "dev.toml", dir: tempfile::tempdir().unwrap(), names, secrets: None };

    let all = site.start("all", "dev-all");
    load(&all, &["--verify"]);
    assert_eq!(signal(&all, &all), ["action_generated", "action_successful"]);
    assert!(!all.file("rabbitmq.password").exists(), "it has nothing to say to a broker");
    let said = ended(all, &[]);
    assert!(has(&said, READY) && has(&said, DRAINED));
    let spans = |said: &[Value], name: &str| said.iter().filter(|event| event["span"] == name).count();
    for name in ["gemba.receive", "gemba.journal", "gemba.decide", "gemba.act", "gemba.receipt"] {
        assert!(spans(&said, name) > 0, "{name} is not in the log");
    }

    let (edge, processor) = (site.start("edge", "dev-edge"), site.start("processor", "dev-processor"));
    decides_beside(&edge, &processor);
    has_one_queue(&broker, "classic", false);
    assert_eq!(prefetch(&broker), [10]);
    // Their key is derived from a password that everybody knows.
    let expected = ["this should not stay so"];
    let (at_edge, at_processor) = (ended(edge, &expected), ended(processor, &expected));
    let traced = |said: &[Value], name: &str| {
        said.iter().any(|event| event["span"] == name && event["trace"] == SENDERS_TRACE)
    };
    assert!(traced(&at_edge, "gemba.receive") && traced(&at_processor, "gemba.receipt"));
}

#[test]
fn staging_runs_as_it_stands() {
    let authority = Authority::new();
    let Some(broker) = Broker::start() else { return };
    let Some(prometheus) = Prometheus::start(None) else { return };
    let Some(rsyslog) = Rsyslog::start(&authority) else { return };
    let Some(receiver) = Receiver::start(&["http"]) else { return };
    let hook = Target::wrapped(|_| Does::Answer(200), served(authority.server(false)));
    let mut site = Site::of("staging.toml", &authority, &hook);
    site.names.extend([
        // The first of the two is away.
        ("rabbitmq-staging-1:5672", free_address().to_string()),
        ("rabbitmq-staging-2:5672", format!("127.0.0.1:{}", broker.port)),
        ("prometheus-staging:9090", prometheus.address.to_string()),
        ("http://jaeger-staging:4318", receiver.url()),
        ("/dev/log", rsyslog.socket().display().to_string()),
    ]);

    // A node alone has no password for a broker.
    let all = site.start("all", "staging-all");
    load(&all, &["--verify"]);
    assert_eq!(signal(&all, &all), ["action_generated", "action_successful"]);
    wait_for_trace(&receiver, "staging-all", "staging-all");
    ended(all, &[]);

    site.write_password();
    let (edge, processor) =
        (site.start("edge", "staging-edge"), site.start("processor", "staging-processor"));
    let accepted = decides_beside(&edge, &processor);
    has_one_queue(&broker, "quorum", true);
    assert_eq!(prefetch(&broker), [50]);
    wait_for_samples(&prometheus, "staging", "staging-edge", ACCEPTED, accepted + 1);
    wait_for_samples(&prometheus, "staging", "staging-processor", DECIDED, accepted + 1);
    wait_for_trace(&receiver, "staging-edge", "staging-processor");
    no_panel_is_empty(&prometheus, &edge, "edge", "staging-edge");
    no_panel_is_empty(&prometheus, &processor, "processor", "staging-processor");
    for node in [edge, processor] {
        let log = node.dir.join("log/staging.log");
        let said = ended(node, &[]);
        let kept = file_of_log(&log);
        assert!(has(&said, READY) && kept == said, "{kept:#?} and {said:#?}");
    }
    for node in ["staging-all", "staging-edge", "staging-processor"] {
        let name = format!("\"name\":\"{node}\"");
        wait_until("syslog has the start", || {
            rsyslog.lines().iter().any(|line| {
                line.starts_with("imuxsock local0.info gemba line ")
                    && line.contains(READY)
                    && line.contains(&name)
            })
        });
    }
}

#[test]
fn production_runs_as_it_stands() {
    let authority = Authority::new();
    let ports = [(); 3].map(|()| free_ports(1));
    let listener = |port: u16| {
        let authority = &authority;
        move |dir: &Path| {
            std::fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
            authority.write(dir, "server", &["127.0.0.1"]);
            let dir = dir.display();
            format!(
                "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {dir}/ca.pem\n\
                 ssl_options.certfile = {dir}/server.crt\nssl_options.keyfile = {dir}/server.key\n\
                 ssl_options.verify = verify_none\n"
            )
        }
    };
    let Some(broker) = Broker::start_with(listener(ports[0])) else { return };
    let _others = [broker.joined_with(listener(ports[1])), broker.joined_with(listener(ports[2]))];
    let Some(prometheus) = Prometheus::start(Some(&authority)) else { return };
    let Some(rsyslog) = Rsyslog::start(&authority) else { return };
    let hook = Target::wrapped(|_| Does::Answer(200), served(authority.server(false)));
    let mut site = Site::of("prod.toml", &authority, &hook);
    authority.write(site.dir.path(), "jaeger", &["127.0.0.1"]);
    let of_jaeger =
        ["crt", "key"].map(|end| site.dir.path().join(format!("jaeger.{end}")).display().to_string());
    let Some(receiver) = Receiver::start(&["grpc", "--tls", &of_jaeger[0], &of_jaeger[1]]) else { return };
    let brokers = ports.map(|port| format!("127.0.0.1:{port}"));
    site.names.extend([
        ("rabbitmq-prod-1:5671", brokers[0].clone()),
        ("rabbitmq-prod-2:5671", brokers[1].clone()),
        ("rabbitmq-prod-3:5671", brokers[2].clone()),
        ("prometheus-prod.internal:9090", prometheus.address.to_string()),
        // The first and the last of the three are away.
        ("https://jaeger-prod-1:4317", format!("https://{}", free_address())),
        ("https://jaeger-prod-2:4317", receiver.url().replace("http:", "https:")),
        ("https://jaeger-prod-3:4317", format!("https://{}", free_address())),
        ("syslog-prod.internal:6514", format!("127.0.0.1:{}", rsyslog.tls)),
    ]);
    // Nobody is called for alerts until a channel is configured that reaches people.
    let expected = ["traces are not taken", "this should not stay so"];

    // A node alone has no password for a broker.
    let all = site.start("all", "prod-all");
    load(&all, &["--verify"]);
    assert_eq!(signal(&all, &all), ["action_generated", "action_successful"]);
    wait_for_trace(&receiver, "prod-all", "prod-all");
    ended(all, &expected);

    site.write_password();
    let (edge, processor) = (site.start("edge", "prod-edge"), site.start("processor", "prod-processor"));
    let accepted = decides_beside(&edge, &processor);
    let (names, same) = queues(&broker, &["type", "durable"]);
    let expected_names: Vec<String> =
        (0..8).map(|partition| format!("tai2030.signals.{partition}")).collect();
    assert_eq!((names, same), (expected_names, vec![serde_json::json!(["quorum", true])]));
    let (_, members) = queues(&broker, &["members"]);
    let replicas = |members: &Value| members[0].as_array().unwrap().len();
    assert!(members.iter().all(|members| replicas(members) == 3), "{members:?}");
    assert_eq!(prefetch(&broker), [100]);
    wait_for_samples(&prometheus, "prod", "prod-edge", ACCEPTED, accepted + 1);
    wait_for_samples(&prometheus, "prod", "prod-processor", DECIDED, accepted + 1);
    wait_for_trace(&receiver, "prod-edge", "prod-processor");
    for (node, is_processor) in [(edge, false), (processor, true)] {
        let log = node.dir.join("log/tls_validation.log");
        let said = ended(node, &expected);
        assert!(
            said.iter().all(|event| event["level"] != "info"),
            "standard error has warnings alone: {said:#?}"
        );
        let handshakes = file_of_log(&log);
        assert!(handshakes.iter().all(|event| event["target"] == "gemba::tls"), "{handshakes:#?}");
        assert!(has(&handshakes, "a TLS handshake succeeded"), "{handshakes:#?}");
        // Each receipt once, where signals are decided.
        let audit = log.with_file_name("audit.log");
        assert_eq!(audit.exists(), is_processor);
        if is_processor {
            let receipts = file_of_log(&audit);
            let places: Vec<u64> =
                receipts.iter().map(|receipt| receipt["log_index"].as_u64().unwrap()).collect();
            // The first entry of a log says whose it is.
            assert_eq!(places, (1..=receipts.len() as u64).collect::<Vec<_>>());
            assert!(receipts.len() as u64 > accepted && has_type(&receipts, "action_successful"));
        }
    }
    for node in ["prod-all", "prod-edge", "prod-processor"] {
        let name = format!("\"name\":\"{node}\"");
        wait_until("syslog has the start", || {
            rsyslog.lines().iter().any(|line| {
                line.starts_with("tls local0.info gemba_prod line ")
                    && line.contains(READY)
                    && line.contains(&name)
            })
        });
    }
}
