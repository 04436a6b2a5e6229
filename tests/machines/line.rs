//! Edges and processors around one broker.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::http::{Answer, try_exchange};
use crate::ledger::{Acked, Ledger, Taken, journal_of, journal_through};
use crate::node::Node;
use crate::rabbit::Broker;

/// What is sent, is decided by then.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A node that can be started again where it was.
pub struct Machine {
    pub home: tempfile::TempDir,
    node: Option<Node>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Machine {
    pub fn start(role: &str, name: &str, rabbit: &str) -> Self {
        Self::start_with(role, name, rabbit, &[])
    }

    pub fn start_with(
        role: &str,
        name: &str,
        rabbit: &str,
        variables: &[(&'static str, &'static str)],
    ) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("gemba.toml"), Self::config(role, name, rabbit)).unwrap();
        let variables = [&[("GEMBA_CONFIG", "gemba.toml")], variables].concat();
        let mut machine = Self { home, node: None, variables };
        machine.up();
        machine
    }

    fn config(role: &str, name: &str, rabbit: &str) -> String {
        format!(
            "[node]\nname = \"{name}\"\nprofile = \"dev\"\nrole = \"{role}\"\n[rate_limit]\nper_second = 1000000\n{rabbit}"
        )
    }

    /// Has it read another configuration while it runs.
    pub fn reload(&self, role: &str, name: &str, rabbit: &str) {
        std::fs::write(self.home.path().join("gemba.toml"), Self::config(role, name, rabbit)).unwrap();
        let answer = self.order("/v1/reload", r#"{"reason":"a test"}"#);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["needs_restart"], serde_json::json!([]));
    }

    pub fn up(&mut self) {
        self.node = Some(Node::start_in(self.home.path(), &self.variables));
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Whether it has ended by itself.
    #[cfg(feature = "faults")]
    pub fn has_ended(&mut self) -> bool {
        self.node.as_mut().unwrap().has_ended()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.node.take().unwrap().kill();
    }

    /// From its next start on, nothing is wrong with it.
    #[cfg(feature = "faults")]
    pub fn heal(&mut self) {
        self.variables.retain(|(name, _)| !matches!(*name, "GEMBA_FAULT" | "GEMBA_PLANT"));
    }

    /// SIGTERM; it must end well.
    pub fn terminate(&mut self) {
        assert!(self.node.take().unwrap().terminate().success());
    }

    /// Orders something with the first token.
    pub fn order(&self, path: &str, body: &str) -> Answer {
        let (token, length) = (self.node().secret("admin.token"), body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: gemba\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        try_exchange(self.node().admin, request.as_bytes()).expect("an answer")
    }

    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Every signal in its journal by now, whether it runs or has ended.
    pub fn taken(&self) -> Vec<Taken> {
        match &self.node {
            Some(node) => {
                let status = node.ask("/v1/status").json();
                journal_through(&self.data(), status["durable_seq"].as_u64().unwrap())
            }
            None => journal_of(&self.data()),
        }
    }
}

/// `[rabbitmq]` for these queues.
pub fn section(broker: &Broker, more: &str) -> String {
    format!("{}{more}", broker.section())
}

/// Sends batches to edges, and notes what they answer.
pub struct Sender {
    pub ledger: Ledger,
    tenants: usize,
    sent: usize,
    /// Every so many signals one asks for an action.
    acting: usize,
    /// Bytes that each signal has beside its names.
    weight: usize,
}

impl Sender {
    pub fn new(tenants: usize) -> Self {
        Self { ledger: Ledger::default(), tenants, sent: 0, acting: usize::MAX, weight: 0 }
    }

    pub fn acting_every(mut self, signals: usize) -> Self {
        self.acting = signals;
        self
    }

    #[cfg(feature = "faults")]
    pub fn weighing(mut self, bytes: usize) -> Self {
        self.weight = bytes;
        self
    }

    /// Leaves out so many numbers.
    pub fn skip(&mut self, count: usize) {
        self.sent += count;
    }

    /// One batch of `count` signals; returns whether it was answered with 202.
    pub fn batch(&mut self, edge: usize, machine: &Machine, count: usize) -> bool {
        let signals: Vec<(String, String, String)> = (self.sent..self.sent + count)
            .map(|number| {
                // A tenant keeps to one edge, as a sender does.
                let tenant = format!("t{edge}-{}", number % self.tenants);
                (tenant, format!("sku-{}", number % 3), format!("s-{edge}-{number}"))
            })
            .collect();
        self.sent += count;
        let first = self.sent - count;
        let text = |(number, (tenant, sku, id)): (usize, &(String, String, String))| {
            let kind = if number % self.acting == self.acting - 1 { "page.now" } else { "see.this" };
            let data = "x".repeat(self.weight);
            format!(r#"{{"id":"{id}","tenant":"{tenant}","sku":"{sku}","type":"{kind}","data":"{data}"}}"#)
        };
        let body = format!("[{}]", (first..).zip(&signals).map(text).collect::<Vec<_>>().join(","));
        let node = machine.node();
        let signature = node.sign(body.as_bytes());
        let request = format!(
            "POST /v1/signals HTTP/1.1\r\nhost: gemba\r\ncontent-type: application/cloudevents-batch+json\r\n\
             x-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        match try_exchange(node.ingress, request.as_bytes()) {
            Some(answer) if answer.status == 202 => {
                let first = answer.json()["first_seq"].as_u64().unwrap();
                for (seq, (tenant, sku, id)) in (first..).zip(signals) {
                    self.ledger.acked.push(Acked { edge, seq, tenant, sku, id });
                }
                true
            }
            Some(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                false
            }
            None => {
                self.ledger.unknown.extend(signals.into_iter().map(|(_, _, id)| id));
                false
            }
        }
    }

    /// Waits until everything that was answered for is in the journal of one of these.
    pub fn wait_until_taken(&self, processors: &[&Machine]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let taken = processors.iter().flat_map(|processor| processor.taken());
            let taken: HashSet<String> = taken.map(|taken| taken.id).collect();
            let missing = self.ledger.acked.iter().filter(|acked| !taken.contains(&acked.id)).count();
            if missing == 0 {
                return;
            }
            let health = || processors.iter().map(|processor| broker_health(processor)).collect::<Vec<_>>();
            let all = self.ledger.acked.len();
            assert!(Instant::now() < until, "{missing} of {all} are missing: {:?}", health());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Waits until `holds`.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What `/readyz` says of the broker.
pub fn broker_health(machine: &Machine) -> serde_json::Value {
    let ready = machine.node().ask("/readyz").json();
    let stages = ready["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["stage"] == "broker").unwrap().clone()
}
