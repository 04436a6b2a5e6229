//! What the senders know, and what must follow from it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gemba::disk::RealDisk;
use gemba::event::{Kind, Seq};
use gemba::kanban::journal::record::Decoder;
use gemba::kanban::journal::{Damage, Tail, scan};

use crate::checker::check;

/// One signal that an edge has answered for.
#[derive(Clone, Debug)]
pub struct Acked {
    pub edge: usize,
    pub seq: u64,
    pub tenant: String,
    pub sku: String,
    pub id: String,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub acked: Vec<Acked>,
    /// Sent and not answered: they may be there or not.
    pub unknown: HashSet<String>,
}

/// A signal in a processor's journal.
#[derive(Debug)]
pub struct Taken {
    pub tenant: String,
    pub id: String,
    pub stray: bool,
}

/// Every signal in the journal of a processor that has ended, in its order.
pub fn journal_of(data_dir: &Path) -> Vec<Taken> {
    let mut taken = Vec::new();
    let read = scan(&RealDisk, &data_dir.join("journal"), |_, records, _, _| -> Result<(), Damage> {
        taken.extend(signals_of(records));
        Ok(())
    });
    read.unwrap();
    taken
}

/// The same of a processor that runs, up to the event that it calls durable. A scan is for a journal at rest: where two
/// frames are written between its looks at the end, it finds damage.
pub fn journal_through(data_dir: &Path, durable: u64) -> Vec<Taken> {
    let mut taken = Vec::new();
    let mut tail = Tail::open(Arc::new(RealDisk), &data_dir.join("journal"), Seq(0)).unwrap();
    while let Some((_, records)) = tail.next(Seq(durable)).unwrap() {
        taken.extend(signals_of(records));
    }
    taken
}

fn signals_of(records: Bytes) -> Vec<Taken> {
    let mut taken = Vec::new();
    let mut decoder = Decoder::new(records);
    while let Some(kind) = decoder.next_kind().unwrap() {
        let (signal, stray) = match kind {
            Kind::Signal(signal) => (signal, false),
            Kind::Stray(stray) => (stray.signal, true),
            _ => continue,
        };
        taken.push(Taken { tenant: signal.tenant().to_owned(), id: signal.id().to_owned(), stray });
    }
    taken
}

impl Ledger {
    /// Holds the journals of processors that have ended against what edges have answered: everything is there, once, in
    /// the order of its tenant and SKU; and runs the oracles over each of them.
    pub fn check(&self, data_dirs: &[&Path]) {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut twice = Vec::new();
        let mut place = 0;
        for data_dir in data_dirs {
            for taken in journal_of(data_dir) {
                assert!(!taken.stray, "{taken:?}");
                place += 1;
                if places.insert(taken.id.clone(), place).is_some() {
                    twice.push(taken.id);
                }
            }
        }
        assert!(twice.is_empty(), "{} signals were taken twice, such as {}", twice.len(), twice[0]);
        let lost: Vec<&Acked> = self.acked.iter().filter(|acked| !places.contains_key(&acked.id)).collect();
        assert!(
            lost.is_empty(),
            "{} of {} were lost: {:?}",
            lost.len(),
            self.acked.len(),
            &lost[..lost.len().min(5)]
        );
        let known: HashSet<&str> = self.acked.iter().map(|acked| &*acked.id).collect();
        for id in places.keys() {
            assert!(known.contains(&**id) || self.unknown.contains(id), "nobody sent {id}");
        }
        // One edge, tenant and SKU: in the order of its numbers.
        let mut orders = BTreeMap::<_, Vec<(u64, usize)>>::new();
        for acked in &self.acked {
            let key = (acked.edge, &*acked.tenant, &*acked.sku);
            orders.entry(key).or_default().push((acked.seq, places[&acked.id]));
        }
        for (of, mut order) in orders {
            order.sort_unstable();
            assert!(order.is_sorted_by_key(|(_, place)| *place), "{of:?} was not taken in order");
        }
        for data_dir in data_dirs {
            self.run_oracles(data_dir);
        }
    }

    fn run_oracles(&self, data_dir: &Path) {
        let here: HashSet<String> = journal_of(data_dir).into_iter().map(|taken| taken.id).collect();
        let mut log = String::new();
        for acked in self.acked.iter().filter(|acked| here.contains(&acked.id)) {
            let _infallible = writeln!(log, "acked {} {} 0 0", acked.tenant, acked.id);
        }
        oracles(data_dir, &log);
    }
}

/// The oracles O1 to O10, by the program that has them, on a node that ended in order and whose clients say this.
pub fn oracles(data_dir: &Path, log: &str) {
    check(data_dir, &data_dir.with_extension("clients"), log, &[]).unwrap();
}
