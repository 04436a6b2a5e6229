//! A receiver of OTLP by others, and what it was told.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::node::PATIENCE;
use super::program::PROGRAM;
use super::tools::missing;

/// A receiver of others that answers as a script says.
pub struct Receiver {
    child: Child,
    port: String,
    told: Arc<Mutex<Vec<Value>>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn python() -> Option<PathBuf> {
    let python = Path::new(PROGRAM).ancestors().nth(2).unwrap().join("opentelemetry/bin/python");
    if python.exists() {
        Some(python)
    } else {
        missing("the receiver of OTLP", "tests/opentelemetry/install")
    }
}

impl Receiver {
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/opentelemetry/receiver.py");
        let mut command = Command::new(python()?);
        command.arg(script).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().unwrap().unwrap();
        let told: Arc<Mutex<Vec<Value>>> = Arc::default();
        let telling = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                telling.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self { child, port, told })
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn told(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until what was told has this.
    pub fn wait_for(&self, what: &str, has: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.told();
            if has(&told) {
                return told;
            }
            assert!(Instant::now() < until, "{what} never came, but {told:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for spans of these names in the trace that has `seq`.
    pub fn trace_of(&self, seq: u64, names: &[&str]) -> Vec<Value> {
        let of = |told: &[Value]| -> Vec<Value> {
            let first = told.iter().find(|span| span["attributes"]["gemba.seq"] == seq);
            let Some(trace) = first.map(|span| span["trace"].clone()) else { return Vec::new() };
            told.iter().filter(|span| span["trace"] == trace).cloned().collect()
        };
        let has = |spans: &[Value]| names.iter().all(|name| spans.iter().any(|span| span["name"] == *name));
        of(&self.wait_for(&format!("{names:?} of {seq}"), |told| has(&of(told))))
    }
}

/// Spans of this name.
pub fn named<'s>(spans: &'s [Value], name: &str) -> Vec<&'s Value> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

/// The only span of this name.
pub fn one<'s>(spans: &'s [Value], name: &str) -> &'s Value {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}
