//! The oracles O1–O10: what must hold between the journal, the transparency log, the state store and what the clients
//! were told, whatever happened in between. Used by the simulation on its disk and by the checker on a real directory.
//!
//! The journal is read with the real scan and decided anew from its first event; the log's tree is computed a second
//! time and its checkpoints are verified by crates that share no code with the program.
//!
//! O7 (queues) is looked at where a queue is stored, in the mailboxes; O9 (nothing pending) where `ended` says that the
//! line ended in order; O10 (secrets) by the checker, which alone sees files and secrets.

mod cases;
mod log;
mod manifests;
mod replay;
mod tenure;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use gemba::case::{Case, CaseId};
use gemba::disk::Disk;
use gemba::event::Seq;
use gemba::receipt::ReceiptId;

/// What one client was told of a signal: tenant and id.
pub type Name = (String, String);

/// An answer that promised a number.
#[derive(Clone, Debug)]
pub struct Acked {
    pub name: Name,
    /// `None` where the answer told only the bounds of a batch.
    pub seq: Option<Seq>,
}

/// Everything that the clients know.
#[derive(Clone, Debug, Default)]
pub struct Clients {
    pub acked: Vec<Acked>,
    pub unknown: HashSet<Name>,
    /// Refused at least once; may have been sent again later.
    pub refused: HashSet<Name>,
    /// Numbers that operators were told of their orders.
    pub ordered: Vec<Seq>,
}

/// What the state store holds.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub watermark: Seq,
    /// The rules that hold at the watermark, and since which event.
    pub rules: Option<(Seq, Box<str>)>,
    pub cases: BTreeMap<CaseId, Case>,
}

/// What the oracles look at. Nothing of it is written. The rules are the journal's own.
pub struct Evidence<'a> {
    pub disk: &'a Arc<dyn Disk>,
    pub data_dir: &'a Path,
    pub stored: &'a Stored,
    pub clients: &'a Clients,
    /// The log's key as text (C2SP); without it checkpoints are compared with the tree, and their signatures are not.
    pub vkey: Option<&'a str>,
    /// Verify the signature of every checkpoint, or of each segment's last one only.
    pub every_checkpoint: bool,
    /// The line ended in order: nothing may be pending.
    pub ended: bool,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub events: u64,
    pub signals: u64,
    pub replays: u64,
    /// Changes of the rules.
    pub rules: u64,
    pub cases: u64,
    pub governors: u64,
    pub receipts: u64,
    pub checkpoints: u64,
    pub acked: u64,
}

/// Why the evidence is not accepted.
#[derive(Clone, Debug)]
pub enum Failure {
    Violation {
        oracle: &'static str,
        detail: String,
    },
    /// The evidence itself cannot be read.
    Unreadable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation { oracle, detail } => write!(f, "{oracle}: {detail}"),
            Self::Unreadable(detail) => f.write_str(detail),
        }
    }
}

fn violation<T>(oracle: &'static str, detail: String) -> Result<T, Failure> {
    Err(Failure::Violation { oracle, detail })
}

/// A receipt: its name, what it says, and the event that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Receipt {
    id: ReceiptId,
    /// Hash of its context.
    context: u128,
}

/// By governor, in order.
type Receipts = HashMap<String, Vec<Receipt>>;

/// Looks at everything.
pub fn check(evidence: &Evidence<'_>) -> Result<Summary, Failure> {
    let decided = replay::decide(evidence)?;
    let logged = log::read(evidence)?;
    compare(evidence, &decided, &logged.receipts)?;
    clients(evidence, &decided, &logged)?;
    Ok(Summary {
        events: decided.events,
        signals: decided.signals.len() as u64,
        replays: decided.replays.len() as u64,
        rules: decided.rules,
        cases: evidence.stored.cases.len() as u64,
        governors: decided.governors.len() as u64,
        receipts: logged.ids.len() as u64,
        checkpoints: logged.checkpoints,
        acked: evidence.clients.acked.len() as u64,
    })
}

/// What was logged against what the journal decides, governor by governor.
fn compare(evidence: &Evidence<'_>, decided: &replay::Decided, logged: &Receipts) -> Result<(), Failure> {
    for (key, receipts) in logged {
        let Some(expected) = decided.receipts.get(key) else {
            return violation("O3", format!("{key:?} has receipts and no event in the journal"));
        };
        for (at, receipt) in receipts.iter().enumerate() {
            match expected.get(at).map(|(_, expected)| expected) {
                Some(expected) if expected == receipt => {}
                Some(expected) if expected.id == receipt.id => {
                    return violation("O5", format!("{} says something else than the journal", receipt.id));
                }
                expected if decided.ids.contains(&receipt.id) => {
                    let expected = expected.map(|expected| expected.id.to_string()).unwrap_or_default();
                    let detail = format!("{key:?}: {} is logged where {expected} should be", receipt.id);
                    return violation("O4", detail);
                }
                _ => return violation("O3", format!("{} was caused by no event", receipt.id)),
            }
        }
    }
    for (key, expected) in &decided.receipts {
        let there = logged.get(key).map_or(0, Vec::len);
        let applied = decided.applied(evidence, key);
        let missing = expected[there..].iter().find(|(cause, _)| evidence.ended || *cause <= applied);
        if let Some((_, missing)) = missing {
            let why = if evidence.ended { "after the end" } else { "though the state has passed it" };
            return violation("O2", format!("{key:?}: {} is not in the log, {why}", missing.id));
        }
    }
    Ok(())
}

fn clients(evidence: &Evidence<'_>, decided: &replay::Decided, logged: &log::Logged) -> Result<(), Failure> {
    let known = evidence.clients;
    for Acked { name, seq } in &known.acked {
        let Some(found) = decided.signals.get(name) else {
            return violation("O1", format!("{name:?} was acked as {seq:?} and is not in the journal"));
        };
        if seq.is_some_and(|seq| seq != *found) {
            return violation("O1", format!("{name:?} was acked as {seq:?} and is {found} in the journal"));
        }
        if evidence.ended && !logged.ids.contains(&ReceiptId { seq: *found, ordinal: 0 }) {
            return violation("O2", format!("{name:?}, acked as {found}, has no receipt after the end"));
        }
    }
    if let Some(seq) = known.ordered.iter().find(|seq| !decided.orders.contains(seq)) {
        return violation("O1", format!("an operator was told {seq}, which is no order in the journal"));
    }
    let acked: HashSet<&Name> = known.acked.iter().map(|acked| &acked.name).collect();
    for name in decided.signals.keys() {
        if known.refused.contains(name) && !acked.contains(name) && !known.unknown.contains(name) {
            return violation("O3", format!("{name:?} was refused, and is in the journal"));
        }
        if evidence.ended && !acked.contains(name) && !known.unknown.contains(name) {
            return violation("O3", format!("nobody sent {name:?}, and it is in the journal"));
        }
    }
    Ok(())
}
