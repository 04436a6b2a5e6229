//! The stored form.

use proptest::prelude::*;

use super::super::mailbox::Held;
use super::super::state::{Halted, HaltedBy, State};
use super::super::{Bare, Damage, decode_signal, encode_held, encode_signal};
use super::model::op_or_told;
use super::*;
use crate::jidoka::store::{Changes, Kept};
use crate::trace::TraceContext;

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
fn the_form_of_version_6_is_pinned_and_older_ones_are_read() {
    let hex: Vec<String> =
        samples().iter().map(|governor| data_encoding::HEXLOWER.encode(&bytes(governor))).collect();
    if std::env::var_os("GEMBA_WRITE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/jidoka/governor/tests/golden_v6.hex");
        std::fs::write(path, hex.join("\n") + "\n").unwrap();
    }
    let golden = include_str!("golden_v6.hex");
    assert_eq!(hex, golden.lines().collect::<Vec<_>>());
    for (old, governor) in include_str!("golden_v4.hex").lines().zip(samples()) {
        let mut known = governor;
        known.known_mut().alarms = None;
        if let State::Halted(Halted { by: HaltedBy::Operator { order, .. }, .. }) =
            &mut known.known_mut().state
        {
            *order = None;
        }
        let read = Governor::decode(&data_encoding::HEXLOWER.decode(old.as_bytes()).unwrap()).unwrap();
        assert_eq!(bytes(&read), bytes(&known), "it had told of nothing, and of no operator");
    }
    for (old, governor) in include_str!("golden_v5.hex").lines().zip(samples()) {
        let read = Governor::decode(&data_encoding::HEXLOWER.decode(old.as_bytes()).unwrap()).unwrap();
        let mut known = governor;
        known.known_mut().alarms.iter_mut().for_each(|alarms| alarms.forget_events());
        assert_eq!(bytes(&read), bytes(&known), "nothing was out in the background");
    }
    let hash = samples()[1].state_hash(&mut Vec::new());
    assert_eq!(hash, GOLDEN_HASH);
}

/// As a store keeps it: the governor, and each signal that waits.
fn rows(governor: &Governor) -> (Vec<u8>, Vec<(Seq, Vec<u8>)>) {
    let mut bare = Vec::new();
    governor.encode_bare(&mut bare);
    let row = |held: &Held| {
        let mut row = Vec::new();
        encode_held(held, &mut row);
        (held.seq, row)
    };
    (bare, governor.held_after(None).map(row).collect())
}

#[test]
fn signals_that_wait_stand_by_themselves() {
    let governor = Line::new(Rules { mailbox: 3, ..rules() }).all(&[ACT, SEE, SEE, SEE]).governor;
    let (bare, waits) = rows(&governor);
    assert_eq!(waits.len(), 3);
    let join = |waits: &[(Seq, Vec<u8>)]| {
        let mut read = Bare::decode(&bare)?;
        assert_eq!(read.lacks(), 3);
        waits.iter().try_for_each(|(seq, wait)| read.wait(*seq, wait))?;
        read.complete()
    };
    assert_eq!(bytes(&join(&waits).unwrap()), bytes(&governor));
    assert_eq!(join(&waits[..2]).map(|_| ()), Err(Damage::Short { field: "mailbox" }), "one is missing");
    let twice = [&waits[..], &waits[2..]].concat();
    assert_eq!(join(&twice).map(|_| ()), Err(Damage::Inconsistent), "one is too many");
    let turned: Vec<_> = waits.iter().rev().cloned().collect();
    assert_eq!(join(&turned).map(|_| ()), Err(Damage::Inconsistent), "another order");
    let renamed = [&waits[..2], &[(Seq(99), waits[2].1.clone())]].concat();
    assert_eq!(join(&renamed).map(|_| ()), Err(Damage::Inconsistent), "under another number");
    let (alone, _) = rows(&Line::new(rules()).all(&[ACT]).governor);
    assert_eq!(bare.len(), alone.len(), "the governor is written without them");
}

#[test]
fn a_signal_keeps_its_trace() {
    let mut signal = signal(&subject(), "s-1", "cost.usage", Severity::Warning);
    let stored = |signal: &Signal| {
        let mut out = Vec::new();
        encode_signal(&mut out, signal);
        out
    };
    let bare = stored(&signal);
    signal.set_trace(Some(TraceContext::begun(7, 9)));
    let traced = stored(&signal);
    assert_eq!(traced.len(), bare.len() + TraceContext::BYTES);
    assert_eq!(decode_signal(&bare).unwrap().trace(), None);
    assert_eq!(decode_signal(&traced).unwrap().trace(), signal.trace());
    // Not every 25 bytes are one.
    let zero = [&traced[..bare.len()], &[0; TraceContext::BYTES]].concat();
    assert_eq!(decode_signal(&zero).map(|_| ()), Err(Damage::Text { field: "trace" }));
}

const GOLDEN_HASH: u64 = 4_778_747_223_876_278_085;

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

/// Bytes that a commit writes for one more waiting signal, where so many wait then.
fn written(waiting: usize) -> usize {
    let mut line = Line::new(Rules { mailbox: waiting, ..rules() }).all(&[ACT]);
    let mut kept = Kept::default();
    for _ in 1..waiting {
        line.feed(&SEE);
        Changes::default().governor(&line.governor, &mut kept);
    }
    line.feed(&SEE);
    let mut changes = Changes::default();
    changes.governor(&line.governor, &mut kept);
    assert_eq!((line.governor.waiting(), changes.waits().count()), (waiting, 1));
    let rows: usize = changes.rows().map(|(key, row)| key.len() + row.len()).sum();
    rows + changes.waits().map(|(key, row)| key.len() + row.map_or(0, <[u8]>::len)).sum::<usize>()
}

#[test]
fn a_signal_that_waits_is_written_once() {
    // The number of the signal is part of its name, which is one digit longer.
    assert!(written(800) <= written(2) + 8, "{} and {}", written(800), written(2));
}

#[test]
fn a_changed_byte_is_refused_or_meant() {
    for governor in samples() {
        let whole = bytes(&governor);
        for at in 0..whole.len() {
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
    governor.known_mut().entitled = false;
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
    let mut governor = Line::new(rules()).all(&[ACT, SEE]).governor;
    governor.known_mut().last_seq = Seq(1);
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
    let mut governor = Line::new(rules()).all(&[ACT, SEE, SEE]).governor;
    let State::ActionPending(pending) = &mut governor.known_mut().state else { panic!() };
    pending.flight.intent.by = Seq(2);
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
    let mut governor = Line::new(rules()).all(&[ACT, SEE]).governor;
    governor.known_mut().key = super::super::key("acme", "vn");
    assert_eq!(Governor::decode(&bytes(&governor)).map(|_| ()), Err(Damage::Inconsistent));
}

/// As the shared store may say it.
#[test]
fn the_last_number_there_is_overflows_nothing() {
    for mut governor in samples() {
        governor.known_mut().last_seq = Seq(u64::MAX);
        let _read = Governor::decode(&bytes(&governor));
    }
}

#[test]
fn an_unknown_version_is_named() {
    let mut whole = bytes(&samples()[1]);
    whole[0] = 9;
    assert_eq!(Governor::decode(&whole).map(|_| ()), Err(Damage::Version { found: 9 }));
}

proptest! {
    #[test]
    fn what_was_written_is_read(entitled: bool, ops in prop::collection::vec(op_or_told(), 0..60)) {
        let line = if entitled { Line::new(rules()) } else { Line::booting() };
        let governor = line.all(&ops).governor;
        let whole = bytes(&governor);
        let read = Governor::decode(&whole).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{governor:?}"));
        prop_assert_eq!(bytes(&read), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(random in prop::collection::vec(any::<u8>(), 0..300)) {
        for candidate in [random.clone(), [&[4], &random[..]].concat()] {
            if let Ok(read) = Governor::decode(&candidate) {
                prop_assert_eq!(bytes(&read), candidate.clone());
            }
            let _bare = Bare::decode(&candidate).and_then(|mut bare| bare.wait(Seq(1), &random));
        }
    }
}
