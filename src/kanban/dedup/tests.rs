//! The memory of identities beside a plain model.

use std::collections::HashMap as Plain;

use proptest::prelude::*;

use super::*;

const SETTINGS: Settings = Settings { capacity: 8, horizon_millis: 1000, floor_millis: 100 };

/// Identities that collide in the bytes the table hashes.
fn identity(n: u8) -> Fingerprint {
    let mut bytes = [0; 16];
    bytes[0] = n % 4;
    bytes[15] = n;
    Fingerprint(bytes)
}

/// All that ever came, and the rules as the module's header says them.
#[derive(Default)]
struct Model {
    came: Vec<(Fingerprint, u64, Seq, UnixMillis)>,
    forgotten: usize,
}

impl Model {
    fn remembered(&self) -> Plain<Fingerprint, (u64, Seq)> {
        let rest = &self.came[self.forgotten..];
        rest.iter().map(|(identity, digest, seq, _)| (*identity, (*digest, *seq))).collect()
    }

    fn insert(&mut self, identity: Fingerprint, digest: u64, seq: Seq, time: UnixMillis) {
        self.came.push((identity, digest, seq, time));
        let over = self.came.len().saturating_sub(SETTINGS.capacity);
        let outlived = |at: UnixMillis| time.0 > at.0 + SETTINGS.horizon_millis;
        let old = self.came.iter().filter(|(.., at)| outlived(*at)).count();
        self.forgotten = self.forgotten.max(over).max(old);
    }

    /// Whether room for `more` would cost one that is younger than the floor.
    fn is_full(&self, more: usize, now: UnixMillis) -> bool {
        let over = (self.came.len() - self.forgotten + more).saturating_sub(SETTINGS.capacity);
        let rest = &self.came[self.forgotten..];
        let young = |at: UnixMillis| now.0 < at.0 + SETTINGS.floor_millis;
        over > rest.len() || rest[..over].iter().any(|(.., at)| young(*at))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Wait(u64),
    Come { ids: Vec<u8>, digest: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let wait = prop_oneof![0u64..60, 60u64..300, 900u64..1100];
    let ids = prop::collection::vec(0u8..24, 1..4);
    prop_oneof![wait.prop_map(Op::Wait), (ids, 0u64..2).prop_map(|(ids, digest)| Op::Come { ids, digest })]
}

proptest! {
    /// Few homes, so that runs meet and go around the end.
    #[test]
    fn the_table_is_a_map(ops in prop::collection::vec((0u8..24, any::<bool>()), 0..200)) {
        let (mut table, mut model) = (Table::new(16), Plain::new());
        let crowded = |n: u8| {
            let mut bytes = [0; 16];
            bytes[0] = 28 + n % 8;
            bytes[15] = n;
            Fingerprint(bytes)
        };
        for ((n, insert), seq) in ops.into_iter().zip(1..) {
            let identity = crowded(n);
            if insert && model.len() < 16 {
                let new = model.insert(identity, (u64::from(n), Seq(seq))).is_none();
                prop_assert_eq!(table.insert(&identity, u64::from(n), Seq(seq)), new);
            } else {
                model.remove(&identity);
                table.remove(&identity);
            }
            for n in 0..24 {
                prop_assert_eq!(table.get(&crowded(n)), model.get(&crowded(n)).copied());
            }
        }
    }

    #[test]
    fn the_memory_is_the_model(ops in prop::collection::vec(op(), 0..80)) {
        let (mut dedup, mut model) = (Dedup::new(SETTINGS), Model::default());
        let (mut now, mut seq) = (UnixMillis(1_000_000), Seq(0));
        for op in ops {
            match op {
                Op::Wait(millis) => now = UnixMillis(now.0 + millis),
                Op::Come { ids, digest } => {
                    let full = dedup.is_full(ids.len(), now);
                    prop_assert_eq!(full, model.is_full(ids.len(), now));
                    if full {
                        continue;
                    }
                    for id in ids {
                        let identity = identity(id);
                        let expected = match model.remembered().get(&identity) {
                            None => Known::Fresh,
                            Some((same, seq)) if *same == digest => Known::Repeat { seq: *seq },
                            Some((_, seq)) => Known::Conflict { seq: *seq },
                        };
                        prop_assert_eq!(dedup.look(&identity, digest), expected);
                        if expected == Known::Fresh {
                            seq = seq.next();
                            dedup.insert(identity, digest, seq, now);
                            model.insert(identity, digest, seq, now);
                        }
                    }
                }
            }
            // The promise itself: what is younger than the floor is never forgotten.
            for (identity, digest, seq, at) in &model.came {
                if now.0 < at.0 + SETTINGS.floor_millis {
                    prop_assert_eq!(dedup.look(identity, *digest), Known::Repeat { seq: *seq });
                }
            }
            // A memory that is rebuilt from what stands behind the seal is the same.
            let sealed = dedup.sealed_through();
            let mut rebuilt = Dedup::new(SETTINGS);
            for (identity, digest, seq, at) in model.came.iter().filter(|(_, _, seq, _)| *seq > sealed) {
                rebuilt.insert(*identity, *digest, *seq, *at);
            }
            prop_assert_eq!(&rebuilt.order, &dedup.order);
            for id in 0..24 {
                prop_assert_eq!(rebuilt.look(&identity(id), 0), dedup.look(&identity(id), 0));
            }
        }
    }
}

#[test]
fn a_full_table_takes_more_only_when_the_oldest_is_old_enough() {
    let mut dedup = Dedup::new(SETTINGS);
    let start = UnixMillis(1_000_000);
    for n in 0..8 {
        assert!(!dedup.is_full(1, start));
        dedup.insert(identity(n), 0, Seq(u64::from(n) + 1), start);
    }
    assert!(dedup.is_full(1, start) && dedup.is_full(1, UnixMillis(start.0 + 99)));
    let later = UnixMillis(start.0 + 100);
    assert!(!dedup.is_full(8, later) && dedup.is_full(9, later));
    dedup.insert(identity(8), 0, Seq(9), later);
    assert_eq!(dedup.look(&identity(0), 0), Known::Fresh);
    assert_eq!(dedup.look(&identity(1), 0), Known::Repeat { seq: Seq(2) });
    assert_eq!(dedup.sealed_through(), Seq(1));
}

#[test]
fn the_horizon_is_kept_to_the_millisecond() {
    for (age, known) in [(1000, Known::Repeat { seq: Seq(1) }), (1001, Known::Fresh)] {
        let mut dedup = Dedup::new(SETTINGS);
        dedup.insert(identity(1), 0, Seq(1), UnixMillis(5000));
        dedup.insert(identity(2), 0, Seq(2), UnixMillis(5000 + age));
        assert_eq!(dedup.look(&identity(1), 0), known, "{age}");
    }
}

#[test]
fn an_empty_memory_needs_nothing_of_the_journal() {
    assert_eq!(Dedup::new(SETTINGS).sealed_through(), Seq(u64::MAX));
}
