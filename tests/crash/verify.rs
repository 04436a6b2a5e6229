//! Holds a node that was started again to what its clients were told.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::client::Connection;
use crate::home::{Home, PATIENCE};
use crate::http::Answer;
use crate::ledger::Ledger;
use crate::node::Node;
use crate::traffic::{Clients, Sending};

/// The node went away; what was left is for the next one.
pub struct Gone;

/// Sends again what got no answer, until each has one.
pub fn resend(clients: &Clients, node: &Node) -> Result<(), Gone> {
    for unit in clients.ledger.unknown() {
        let mut connection = Connection::open(node.ingress).map_err(|_| Gone)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match clients.send(&mut connection, unit) {
                Sending::Answered => break,
                Sending::Gone => return Err(Gone),
                Sending::Shed => std::thread::sleep(Duration::from_millis(100)),
            }
            if Instant::now() > until {
                clients.ledger.violates(format!("unit {unit} is refused with 503 for ever"));
                break;
            }
        }
    }
    Ok(())
}

/// Every acked signal that was not looked at yet is decided, under its number, with its one final receipt. What is
/// older than the node's `memory` of identities is looked for by its receipt.
pub fn decided(clients: &Clients, node: &Node, token: &str, memory: u64) -> Result<(), Gone> {
    let ledger = &clients.ledger;
    while let Some(promise) = ledger.next_unverified() {
        let mut operator = Operator(Connection::open(node.admin).map_err(|_| Gone)?, token);
        for (seq, signal) in (promise.first..).zip(&ledger.unit(promise.unit).signals) {
            let receipt = format!("r-{seq:016x}-00");
            let found = if promise.acked_since < memory {
                let path = format!("/v1/signals/{}/{}", signal.tenant, signal.id);
                operator.status(&path, seq, &receipt)?
            } else {
                operator.receipt(&format!("/v1/receipts/{receipt}"), &signal.id)?
            };
            if let Err(wrong) = found {
                ledger.violates(format!("promised as {seq}: {signal:?}: {wrong}"));
                // One broken promise is enough; each of its kind would be waited for.
                return Ok(());
            }
        }
        ledger.verified(promise.unit);
    }
    Ok(())
}

struct Operator<'a>(Connection, &'a str);

impl Operator<'_> {
    fn get(&mut self, path: &str) -> Result<Answer, Gone> {
        self.0.get(path, self.1).map_err(|_| Gone)
    }

    fn status(&mut self, path: &str, seq: u64, receipt: &str) -> Result<Result<(), String>, Gone> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path)?;
            if answer.status != 200 {
                return Ok(Err(format!("{answer:?}")));
            }
            let status = answer.json();
            if status["status"] == "accepted" && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let receipts = status["receipts"].as_array().map(Vec::as_slice).unwrap_or_default();
            let finals = receipts.iter().filter(|found| **found == receipt).count();
            let right = status["status"] == "decided" && status["seq"] == seq && finals == 1;
            return Ok(if right { Ok(()) } else { Err(status.to_string()) });
        }
    }

    fn receipt(&mut self, path: &str, id: &str) -> Result<Result<(), String>, Gone> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path)?;
            if answer.status == 404 && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let right = answer.status == 200 && answer.json()["signal_id"] == id;
            return Ok(if right { Ok(()) } else { Err(format!("{answer:?}")) });
        }
    }
}

/// Each acked signal that asks for an action got one under one name; a name is carried out twice only over a crash.
pub fn actions(home: &Home, ledger: &Ledger) {
    let mut by_signal: HashMap<String, String> = HashMap::new();
    for path in home.actions() {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut in_this_run = HashSet::new();
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let of = |key: &str| line[key].as_str().unwrap().to_owned();
            let (action, signal) = (of("action_id"), of("signal_id"));
            if !in_this_run.insert(action.clone()) {
                ledger.violates(format!("{}: {action} was carried out twice", path.display()));
            }
            let known = by_signal.entry(signal).or_insert_with(|| action.clone());
            if *known != action {
                ledger.violates(format!("{}: {action} repeats {known}", path.display()));
            }
        }
    }
    for signal in ledger.acting().into_iter().filter(|signal| !by_signal.contains_key(&signal.id)) {
        ledger.violates(format!("no action was taken on {signal:?}"));
    }
}
