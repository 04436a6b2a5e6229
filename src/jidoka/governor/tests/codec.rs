//! The stored form.

use proptest::prelude::*;

use super::super::Damage;
use super::super::state::State;
use super::model::op;
use super::*;

fn bytes(governor: &Governor) -> Vec<u8> {
    let mut out = Vec::new();
    governor.encode(&mut out);
    out
}

/// One of each: boot, pending with a waiting signal, halted by either.
fn samples() -> Vec<Governor> {
    let halt = Op::Order(Verb::Halt);
    let histories: [(Line, &[Op]); 5] = [
        (Line::booting(), &[SEE]),
        (Line::new(rules()), &[]),
        (Line::new(rules()), &[ACT, SEE]),
        (Line::new(rules()), &[ACT, ERROR, ACT, ERROR]),
        (Line::new(rules()), &[ACT, halt]),
    ];
    histories.into_iter().map(|(line, ops)| line.all(ops).governor).collect()
}

#[test]
fn the_form_of_version_3_is_pinned() {
    let hex: Vec<String> =
        samples().iter().map(|governor| data_encoding::HEXLOWER.encode(&bytes(governor))).collect();
    let golden = include_str!("golden_v3.hex");
    assert_eq!(hex, golden.lines().collect::<Vec<_>>());
    let hash = samples()[1].state_hash(&mut Vec::new());
    assert_eq!(hash, GOLDEN_HASH);
}

#[test]
fn older_versions_are_still_read() {
    let older = [include_str!("golden_v1.hex"), include_str!("golden_v2.hex")];
    for (line, sample) in older.iter().flat_map(|golden| golden.lines().zip(samples())) {
        let read = Governor::decode(&data_encoding::HEXLOWER.decode(line.as_bytes()).unwrap()).unwrap();
        assert_eq!(
            (read.state(), read.last_seq(), read.waiting()),
            (sample.state(), sample.last_seq(), sample.waiting())
        );
        let action =
            |governor: &Governor| governor.in_flight().map(|intent| (intent.action, intent.accepted));
        assert_eq!(action(&read), action(&sample));
        assert_eq!(
            Governor::decode(&bytes(&read)).unwrap().state_hash(&mut Vec::new()),
            read.state_hash(&mut Vec::new())
        );
    }
}

const GOLDEN_HASH: u64 = 3_374_433_720_621_464_867;

#[test]
fn an_idle_governor_takes_few_bytes() {
    assert!(bytes(&samples()[1]).len() <= 40);
}

#[test]
fn no_beginning_of_a_governor_is_a_governor() {
    for governor in samples() {
        let whole = bytes(&governor);
        for len in 0..whole.len() {
            assert!(Governor::decode(&whole[..len]).is_err());
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(Governor::decode(&longer).map(|_| ()), Err(Damage::Trailing { count: 1 }));
    }
}

#[test]
fn a_changed_byte_is_refused_or_meant() {
    for governor in samples() {
        let whole = bytes(&governor);
        // Byte 0 is the version: an older one is written anew as this one.
        for at in 1..whole.len() {
            for value in [0, 1, 2, 3, 5, 6, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(read) = Governor::decode(&changed) {
                    assert_eq!(bytes(&read), changed, "byte {at} as {value}");
                }
            }
        }
    }
}

#[test]
fn a_governor_that_contradicts_itself_is_refused() {
    let mut governor = Line::new(rules()).all(&[SEE]).governor;
    governor.entitled = false;
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
    let mut governor = Line::new(rules()).all(&[ACT, SEE]).governor;
    governor.last_seq = Seq(1);
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
    let mut governor = Line::new(rules()).all(&[ACT, SEE, SEE]).governor;
    let State::ActionPending(pending) = &mut governor.state else { panic!() };
    pending.flight.intent.by = Seq(2);
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
    let mut governor = Line::new(rules()).all(&[ACT, SEE]).governor;
    governor.key = super::super::key("acme", "vn");
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
}

#[test]
fn an_unknown_version_is_named() {
    let mut whole = bytes(&samples()[1]);
    whole[0] = 9;
    assert_eq!(Governor::decode(&whole).map(|_| ()), Err(Damage::Version { found: 9 }));
}

proptest! {
    #[test]
    fn what_was_written_is_read(entitled: bool, ops in prop::collection::vec(op(), 0..60)) {
        let line = if entitled { Line::new(rules()) } else { Line::booting() };
        let governor = line.all(&ops).governor;
        let whole = bytes(&governor);
        let read = Governor::decode(&whole).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{governor:?}"));
        prop_assert_eq!(bytes(&read), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(random in prop::collection::vec(any::<u8>(), 0..300)) {
        let versioned = |version| [&[version], &random[..]].concat();
        let _older = Governor::decode(&versioned(1));
        for candidate in [&random, &versioned(2)] {
            if candidate.first() == Some(&2) && let Ok(read) = Governor::decode(candidate) {
                prop_assert_eq!(&bytes(&read), candidate);
            }
        }
    }
}
