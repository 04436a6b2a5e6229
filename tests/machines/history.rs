//! What several processors decided one after the other, read from their logs and journals as one history: every signal that an
//! edge has answered for is decided once, in its edge's order, and every governor goes on from the state in which the
//! processor before it had left it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use gemba::andon::log::frame::records;
use gemba::andon::log::segment;
use gemba::disk::{Disk as _, RealDisk};
use gemba::event::Kind;
use gemba::kanban::journal::record::Decoder;
use gemba::kanban::journal::{Damage, scan};
use gemba::line::recovery::log_dir;
use gemba::receipt::{ReceiptType, StateName, canonical};
use gemba::sharing::partition_of;

use crate::ledger::Acked;

/// A receipt of one of them.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The term in which its processor held the partition.
    pub term: u64,
    pub kind: ReceiptType,
    before: StateName,
    after: StateName,
    /// The signal that it settles, if it is the one that does.
    pub settles: Option<String>,
    pub action: Option<String>,
    pub reason: String,
}

/// The receipts of every governor, in the order in which it was decided.
pub struct History(pub BTreeMap<(String, String), Vec<Receipt>>);

impl History {
    /// Of processors that have ended.
    pub fn of(data_dirs: &[&Path], partitions: u16) -> Self {
        let mut history: BTreeMap<(String, String), Vec<Receipt>> = BTreeMap::new();
        for data_dir in data_dirs {
            let terms = terms(data_dir);
            for path in segment::list(&RealDisk, &log_dir(data_dir)).unwrap().values() {
                let file = RealDisk.open(path).unwrap();
                let take = |_, header: &_, bytes: &[u8]| {
                    for record in records(header, bytes) {
                        let Some(fields) = canonical::load(record.compact) else { continue };
                        // What is told of alerts has no states.
                        if fields.tenant.is_empty() || fields.gist.kind.is_of_alert() {
                            continue;
                        }
                        let partition = partition_of(fields.tenant, partitions);
                        let before = terms.get(&partition).map_or(&[][..], Vec::as_slice);
                        let held = before.iter().rev().find(|(seq, _)| *seq <= fields.gist.id.seq.0);
                        let settles = fields.gist.id.ordinal == 0 && fields.origin.is_some();
                        let receipt = Receipt {
                            term: held
                                .unwrap_or_else(|| panic!("{} was decided and not held", fields.gist.id))
                                .1,
                            kind: fields.gist.kind,
                            before: fields.gist.before,
                            after: fields.gist.after,
                            settles: fields.signal.filter(|_| settles).map(|signal| signal.id.to_owned()),
                            action: fields.gist.action.map(|action| action.to_string()),
                            reason: fields.reason.unwrap_or_default().to_owned(),
                        };
                        let key = (fields.tenant.to_owned(), fields.sku.to_owned());
                        history.entry(key).or_default().push(receipt);
                    }
                };
                segment::scan(&*file, path, take).unwrap();
            }
        }
        for receipts in history.values_mut() {
            // Within a term, in the order of the log.
            receipts.sort_by_key(|receipt| receipt.term);
        }
        Self(history)
    }

    /// Holds it against what edges have answered for.
    pub fn check(&self, acked: &[Acked], unknown: &HashSet<String>) {
        let mut places: HashMap<&str, (&(String, String), usize)> = HashMap::new();
        for (of, receipts) in &self.0 {
            for (place, receipt) in receipts.iter().enumerate() {
                if let Some(id) = &receipt.settles {
                    let before = places.insert(id, (of, place));
                    assert!(before.is_none(), "{id} was decided twice: {before:?} and {of:?} {receipt:?}");
                }
            }
            for pair in receipts.windows(2) {
                assert_eq!(
                    pair[0].after, pair[1].before,
                    "{of:?}: {:?} is followed by {:?}",
                    pair[0], pair[1]
                );
            }
        }
        let lost: Vec<&Acked> = acked.iter().filter(|acked| !places.contains_key(&*acked.id)).collect();
        let some = &lost[..lost.len().min(5)];
        assert!(lost.is_empty(), "{} of {} were never decided: {some:?}", lost.len(), acked.len());
        let known: HashSet<&str> = acked.iter().map(|acked| &*acked.id).collect();
        for id in places.keys() {
            assert!(known.contains(id) || unknown.contains(*id), "nobody sent {id}");
        }
        let mut orders = BTreeMap::<_, Vec<(u64, usize)>>::new();
        for acked in acked {
            let (of, place) = places[&*acked.id];
            assert_eq!((&*of.0, &*of.1), (&*acked.tenant, &*acked.sku), "{acked:?}");
            orders.entry((acked.edge, of)).or_default().push((acked.seq, place));
        }
        for (of, mut order) in orders {
            order.sort_unstable();
            assert!(order.is_sorted_by_key(|(_, place)| *place), "{of:?} was not decided in order");
        }
    }

    /// Actions, and how often their target was called under each name: every one that was ordered has one outcome, and one
    /// that was called more than once says so.
    pub fn check_actions(&self, calls: &HashMap<String, usize>) -> usize {
        let mut ordered = HashSet::new();
        let mut ended: HashMap<&str, &Receipt> = HashMap::new();
        for receipt in self.0.values().flatten() {
            let Some(action) = &receipt.action else { continue };
            if receipt.kind == ReceiptType::ActionGenerated {
                assert!(ordered.insert(action.as_str()), "{action} was ordered twice");
            } else {
                let before = ended.insert(action, receipt);
                assert!(before.is_none(), "{action} ended twice: {before:?} {receipt:?}");
            }
        }
        for action in &ordered {
            let receipt = ended.get(action).unwrap_or_else(|| panic!("{action} never ended"));
            let count = calls.get(*action).copied().unwrap_or_default();
            assert!(count > 0, "{action} was never carried out: {receipt:?}");
            let says = receipt.reason.contains("may have run twice");
            assert!(count == 1 || says, "{action} was carried out {count} times: {receipt:?}");
        }
        for action in calls.keys() {
            assert!(ordered.contains(action.as_str()), "{action} was carried out and never decided");
        }
        ordered.len()
    }
}

/// The terms of each partition in a journal: from which event on, and which.
fn terms(data_dir: &Path) -> HashMap<u16, Vec<(u64, u64)>> {
    let mut terms: HashMap<u16, Vec<(u64, u64)>> = HashMap::new();
    let read = scan(&RealDisk, &data_dir.join("journal"), |header, frame, _, _| -> Result<(), Damage> {
        let mut decoder = Decoder::new(frame);
        let mut seq = header.first.0;
        while let Some(kind) = decoder.next_kind().unwrap() {
            if let Kind::Hold(hold) = kind {
                terms.entry(hold.partition).or_default().push((seq, hold.term));
            }
            seq += 1;
        }
        Ok(())
    });
    read.unwrap();
    terms
}
