//! Clients that send single signals, batches and repetitions over several connections until the node is gone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::client::Connection;
use crate::http::Answer;
use crate::ledger::{Ledger, Signal, Unit};
use crate::rng::Rng;

/// What the clients of one directory share.
pub struct Clients {
    pub ledger: Ledger,
    key: aws_lc_rs::hmac::Key,
    made: AtomicU64,
}

const CONNECTIONS: usize = 4;
const TENANTS: [&str; 6] = ["acme", "boreal", "cobalt", "delta", "ember", "fjord"];
const SKUS: [&str; 4] = ["vm", "disk", "net", "seat"];
/// Units that a client may repeat: fewer signals than the smallest memory of identities.
const REPEATED_AMONG: usize = 100;

/// Whether a unit got its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    Answered,
    /// 503: to be sent again.
    Shed,
    /// No answer came.
    Gone,
}

impl Clients {
    pub fn new(secret: &str) -> Self {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        Self { ledger: Ledger::default(), key, made: AtomicU64::new(0) }
    }

    /// Sends until `stop`, or until the node is gone.
    pub fn drive(&self, at: SocketAddr, rng: &mut Rng, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                let mut rng = rng.fork();
                scope.spawn(
                    move || while !stop.load(Ordering::Relaxed) && self.connection(at, &mut rng, stop) {},
                );
            }
        });
    }

    /// False when the node is gone.
    fn connection(&self, at: SocketAddr, rng: &mut Rng, stop: &AtomicBool) -> bool {
        let Ok(mut connection) = Connection::open(at) else { return false };
        for _ in 0..5 + rng.below(40) {
            if stop.load(Ordering::Relaxed) {
                return true;
            }
            let repeated = rng.chance(1000).then(|| {
                let choice = rng.index(1 << 16);
                self.ledger.acked_lately(REPEATED_AMONG, choice)
            });
            let unit = repeated.flatten().unwrap_or_else(|| self.ledger.enter(self.unit(rng)));
            if self.send(&mut connection, unit) == Sending::Gone {
                return false;
            }
            std::thread::sleep(Duration::from_micros(rng.below(6000)));
        }
        true
    }

    /// Sends one new unit over a connection of its own.
    pub fn send_new(&self, at: SocketAddr, rng: &mut Rng) -> Sending {
        let unit = self.ledger.enter(self.unit(rng));
        match Connection::open(at) {
            Ok(mut connection) => self.send(&mut connection, unit),
            Err(_) => Sending::Gone,
        }
    }

    pub fn send(&self, connection: &mut Connection, unit: usize) -> Sending {
        let content = self.ledger.unit(unit);
        let signature = faster_hex::hex_string(aws_lc_rs::hmac::sign(&self.key, &content.body).as_ref());
        let sent = self.ledger.sends(unit);
        match connection.post(content.content_type, &signature, &content.body) {
            Err(_) => Sending::Gone,
            Ok(answer) => {
                match answer.status {
                    202 => self.ledger.answered(sent, &answer),
                    // It may have been taken all the same, so it stays unknown.
                    503 => self.check_shed(&answer),
                    _ => self.ledger.violates(format!("unit {unit} was refused: {answer:?}")),
                }
                if answer.status == 503 { Sending::Shed } else { Sending::Answered }
            }
        }
    }

    /// Whoever is shed is told in the usual form when to come again.
    fn check_shed(&self, answer: &Answer) {
        let seconds = answer.header("retry-after").and_then(|seconds| seconds.parse().ok());
        let in_bounds = seconds.is_some_and(|seconds: u32| (1..=60).contains(&seconds));
        let is_problem = answer.header("content-type") == Some("application/problem+json")
            && answer.json()["status"] == 503;
        if !in_bounds || !is_problem {
            self.ledger.violates(format!("shed without its form: {:?} {answer:?}", answer.headers));
        }
    }

    /// Something new: mostly one signal, sometimes a batch.
    pub fn unit(&self, rng: &mut Rng) -> Unit {
        let count = if rng.chance(1500) { 2 + rng.index(30) } else { 1 };
        let mut signals = Vec::new();
        let mut body = String::new();
        for _ in 0..count {
            let acts = rng.chance(1500);
            let kind = if acts { "permission.change" } else { "cost.usage" };
            let signal = Signal {
                tenant: rng.pick(&TENANTS).to_owned(),
                sku: rng.pick(&SKUS).to_owned(),
                id: format!("s-{}", self.made.fetch_add(1, Ordering::Relaxed)),
                acts,
            };
            let Signal { tenant, sku, id, .. } = &signal;
            let padding = "x".repeat(rng.index(2000));
            body.push_str(&format!(
                r#"{{"id":"{id}","tenant":"{tenant}","sku":"{sku}","type":"{kind}","data":{{"note":"{padding}"}}}}"#
            ));
            body.push('\n');
            signals.push(signal);
        }
        let content_type = if count == 1 { "application/json" } else { "application/x-ndjson" };
        Unit { signals, content_type, body: body.into_bytes() }
    }
}
