//! Any order of signals, pauses, pieces of work, kills and power cuts, beside a plain map.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    /// Signals with their numbers' distance; they are durable after the next sync.
    Come {
        ids: Vec<u64>,
        digest: u64,
        others: u64,
    },
    Sync,
    /// The background does so many pieces.
    Work(usize),
    /// Killed, and started with a journal that was released as far as it may be, or not at all.
    Restart {
        released: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let wait = prop_oneof![0u64..60, 60u64..300, 900u64..1100];
    let ids = prop::collection::vec(0u64..60, 1..5);
    let come = (ids, 0u64..2, 0u64..3).prop_map(|(ids, digest, others)| Op::Come { ids, digest, others });
    prop_oneof![
        1 => wait.prop_map(Op::Wait),
        6 => come,
        3 => Just(Op::Sync),
        4 => (1usize..12).prop_map(Op::Work),
        1 => any::<bool>().prop_map(|released| Op::Restart { released }),
    ]
}

/// All events that the journal was given, and how many of them it has for sure.
#[derive(Default)]
struct Journal {
    events: Vec<(Fingerprint, u64, Seq, UnixMillis)>,
    last: Seq,
    durable: Seq,
}

impl Journal {
    /// The newest that came under each identity.
    fn newest(&self) -> HashMap<Fingerprint, (u64, Seq, UnixMillis)> {
        self.events.iter().map(|(identity, digest, seq, time)| (*identity, (*digest, *seq, *time))).collect()
    }
}

/// A fresh one, or what must be known; what is beyond the horizon may be known still.
fn agrees(
    known: Known,
    newest: &HashMap<Fingerprint, (u64, Seq, UnixMillis)>,
    (identity, digest): (&Fingerprint, u64),
    now: UnixMillis,
) -> bool {
    let Some((first, seq, time)) = newest.get(identity) else { return known == Known::Fresh };
    let expected = if *first == digest { Known::Repeat { seq: *seq } } else { Known::Conflict { seq: *seq } };
    known == expected || known == Known::Fresh && now.0 - time.0 > HORIZON
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_is_the_model(ops in prop::collection::vec(op(), 0..150)) {
        let memory = Memory::default();
        let mut dedup = open(&memory).unwrap();
        dedup.begin_after(Seq(1)).unwrap();
        let mut journal = Journal::default();
        let mut now = at(0);
        for op in ops {
            match op {
                Op::Wait(millis) => now = UnixMillis(now.0 + millis),
                Op::Come { ids, digest, others } => {
                    if dedup.is_full(ids.len()) {
                        dedup.make_room(journal.durable, now).unwrap();
                        continue;
                    }
                    for id in ids {
                        let newest = journal.newest();
                        let identity = identity(id);
                        let known = dedup.look(&identity, digest).unwrap();
                        prop_assert!(agrees(known, &newest, (&identity, digest), now), "{id}: {known:?}");
                        if known == Known::Fresh {
                            journal.last = Seq(journal.last.0 + 1 + others);
                            dedup.insert(identity, digest, journal.last, now);
                            journal.events.push((identity, digest, journal.last, now));
                        }
                    }
                }
                Op::Sync => journal.durable = journal.last,
                Op::Work(pieces) => {
                    for _ in 0..pieces {
                        dedup.turn(journal.durable, now).unwrap();
                    }
                }
                Op::Restart { released } => {
                    // What was not synced is lost, and its numbers are not spent again.
                    journal.events.retain(|(_, _, seq, _)| *seq <= journal.durable);
                    let archived = dedup.archived_through();
                    prop_assert!(archived <= journal.durable, "the archive knows what the journal may lose");
                    let first = if released { archived.next() } else { Seq(1) };
                    drop(dedup);
                    dedup = open(&memory).unwrap();
                    prop_assert!(dedup.archived_through() >= archived, "what was released is archived");
                    dedup.begin_after(first).unwrap();
                    for (identity, digest, seq, time) in journal.events.iter().filter(|(_, _, seq, _)| *seq >= first) {
                        dedup.make_room(Seq(seq.0 - 1), *time).unwrap();
                        dedup.insert(*identity, *digest, *seq, *time);
                    }
                }
            }
            let newest = journal.newest();
            for id in 0..64 {
                for digest in 0..2 {
                    let known = dedup.look(&identity(id), digest).unwrap();
                    prop_assert!(agrees(known, &newest, (&identity(id), digest), now), "{id}: {known:?}");
                }
            }
        }
    }
}
