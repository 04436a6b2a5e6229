//! What is counted, and what is left of it after a kill.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::alert::Importance;
use crate::kanban::journal::record::Decoder;
use crate::kanban::journal::tests::{DIR, NOW, named, reopen};
use crate::kanban::journal::{Damage, scan, segments};
use crate::kanban::memory::Memory;
use crate::signal::Assurance;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// The beginning of an hour.
const BEGIN: UnixMillis = UnixMillis(NOW.0 - NOW.0 % HOUR);

fn from(source: &str, id: &str, sequence: Option<u64>) -> Signal {
    let mut signal = named(id);
    signal.provenance = Provenance::intern(source, "k1", Assurance::C).unwrap();
    signal.set_sequence(sequence);
    signal
}

fn at(minute: u64) -> UnixMillis {
    UnixMillis(BEGIN.0 + minute * MINUTE)
}

fn hours(ledger: &SourceLedger) -> BTreeMap<String, SourceHour> {
    ledger.hours.iter().map(|kept| (kept.hour.source().to_owned(), kept.hour.clone())).collect()
}

/// Has the hours end that are over, as the journal does.
fn turn(ledger: &mut SourceLedger, seq: &mut u64, now: UnixMillis) -> Vec<Kind> {
    let ended = ledger.end_hours(now);
    for kind in &ended {
        *seq += 1;
        ledger.take((Seq(*seq), now), kind, 0);
    }
    ended
}

fn told(ended: &[Kind]) -> Vec<(String, u64)> {
    let manifest = |kind: &Kind| match kind {
        Kind::Manifest(manifest) => Some((manifest.hour.source().to_owned(), manifest.hour.count())),
        _ => None,
    };
    ended.iter().filter_map(manifest).collect()
}

#[test]
fn each_source_has_its_manifest_an_hour_and_what_is_missing_is_a_cause() {
    let (mut ledger, mut seq) = (SourceLedger::default(), 0);
    for (minute, source, number) in
        [(1, "erp", Some(1)), (2, "erp", Some(2)), (3, "crm", None), (4, "erp", Some(5)), (50, "crm", None)]
    {
        assert_eq!(turn(&mut ledger, &mut seq, at(minute)).len(), 0);
        seq += 1;
        let signal = Kind::Signal(from(source, &format!("s-{seq}"), number));
        ledger.take((Seq(seq), at(minute)), &signal, 0);
    }
    assert_eq!(turn(&mut ledger, &mut seq, UnixMillis(at(60).0 - 1)).len(), 0);
    let ended = turn(&mut ledger, &mut seq, at(60));
    assert_eq!(told(&ended), [("erp".to_owned(), 3), ("crm".to_owned(), 2)]);
    let Kind::Alarm(alarm) = &ended[1] else { panic!("behind its manifest: {ended:?}") };
    let Alarm::Raise(raise) = &**alarm else { panic!("{alarm:?}") };
    assert_eq!((raise.cause.kind, &*raise.cause.name), (CauseKind::SequenceGap, "erp"));
    assert_eq!((raise.importance, raise.minutes), (Importance::Warning, 24 * 60));
    assert_eq!(&*raise.message, "signals of source `erp` did not come: 3 to 4");
    assert_eq!(ended.len(), 3);
    let ended = turn(&mut ledger, &mut seq, at(125));
    assert_eq!(told(&ended), [("erp".to_owned(), 0), ("crm".to_owned(), 0)], "silence is told, too");
    assert_eq!(ended.len(), 2, "and nothing is missing twice");
}

#[test]
fn what_does_not_go_on_is_a_cause_and_a_usual_restart_is_none() {
    let (mut ledger, mut seq) = (SourceLedger::default(), 0);
    let mut hour = 0;
    let mut message = |numbers: Vec<u64>| {
        for number in numbers {
            seq += 1;
            let signal = Kind::Signal(from("erp", &format!("s-{seq}"), Some(number)));
            ledger.take((Seq(seq), at(60 * hour + 1)), &signal, 0);
        }
        hour += 1;
        let ended = turn(&mut ledger, &mut seq, at(60 * hour));
        let alarm = ended.iter().find_map(|kind| match kind {
            Kind::Alarm(alarm) => Some(Arc::clone(alarm)),
            _ => None,
        });
        match alarm.as_deref() {
            Some(Alarm::Raise(raise)) => raise.message.to_string(),
            _ => String::new(),
        }
    };
    assert_eq!(message((1..=100).chain([2, 1, 3, 4]).collect()), "");
    let far = crate::limits::SEQUENCE_MAX;
    let ahead =
        "signal of source `erp` has a number too far ahead to go on with, the newest 9007199254740991";
    assert_eq!(message(vec![5, far]), format!("1 {ahead}"));
    let anew = |with: &str| {
        format!("the numbers of source `erp` began anew {with}: what was lost between is not known")
    };
    assert_eq!(message(vec![2, 3, 5, 4]), anew("with 2 after 5"));
    let missing = "signals of source `erp` did not come: 7";
    assert_eq!(message(vec![6, 8, far]), format!("{missing}; 1 {ahead}"));
}

#[test]
fn where_numbers_are_not_compared_each_hour_says_so() {
    let mut ledger = SourceLedger::default();
    ledger.take((Seq(1), at(1)), &Kind::Signal(from("erp", "s-1", Some(1))), 0);
    ledger.stop_comparing();
    ledger.take((Seq(2), at(2)), &Kind::Signal(from("erp", "s-2", Some(9))), 0);
    ledger.take((Seq(3), at(3)), &Kind::Signal(from("crm", "s-3", Some(9))), 0);
    let mut seq = 3;
    for hour in 1..3 {
        let ended = turn(&mut ledger, &mut seq, at(60 * hour));
        assert_eq!(ended.len(), 2, "and no alarm");
        for kind in ended {
            let Kind::Manifest(manifest) = kind else { panic!("{kind:?}") };
            let facts = manifest.hour.facts();
            assert_eq!((&facts["compared"], &facts["gaps"]), (&false.into(), &serde_json::json!([])));
        }
    }
}

#[test]
fn a_missed_heartbeat_is_noted_whether_the_source_ever_sent_or_not() {
    let (mut ledger, mut seq) = (SourceLedger::default(), 1);
    let cause = AlertCause::of_node(CauseKind::HeartbeatMissed, "erp");
    let raise = Raise {
        cause,
        importance: Importance::Warning,
        message: "silent".into(),
        member: None,
        labels: AlertLabels::default(),
        minutes: 0,
    };
    let missed = Kind::Alarm(Arc::new(Alarm::Raise(Box::new(raise))));
    ledger.take((Seq(1), at(5)), &missed, 0);
    let times = SourceTimes::default();
    ledger.publish(&times);
    assert_eq!(times.newest_of("erp"), None, "it never sent");
    ledger.take((Seq(2), at(70)), &Kind::Signal(from("erp", "s-1", None)), 0);
    ledger.publish(&times);
    assert_eq!(times.newest_of("erp"), Some(at(70)));
    let ended = turn(&mut ledger, &mut seq, at(71));
    let Kind::Manifest(manifest) = &ended[0] else { panic!("{ended:?}") };
    assert_eq!(manifest.hour.facts()["heartbeat_missed"], true);
}

#[test]
fn there_are_as_many_sources_as_are_counted_and_those_that_are_gone_make_room() {
    let (mut ledger, mut seq) = (SourceLedger::default(), 0);
    let mut send = |ledger: &mut SourceLedger, source: String, minute| {
        seq += 1;
        ledger.take((Seq(seq), at(minute)), &Kind::Signal(from(&source, "s", None)), 0);
    };
    for number in 0..SOURCES_COUNTED_MAX + 3 {
        send(&mut ledger, format!("many-{number}"), 1);
    }
    assert_eq!(ledger.hours.len(), SOURCES_COUNTED_MAX);
    let week = 8 * 24 * 60;
    let mut seq = 10_000;
    for hour in 1..=8 * 24 {
        assert_eq!(turn(&mut ledger, &mut seq, at(60 * hour)).len(), SOURCES_COUNTED_MAX, "{hour}");
    }
    let signal = Kind::Signal(from("many-1", "s", None));
    ledger.take((Seq(seq), at(week)), &signal, 0);
    assert_eq!(turn(&mut ledger, &mut seq, at(week + 60)).len(), SOURCES_COUNTED_MAX);
    assert_eq!(ledger.hours.len(), 1, "all others were silent for longer than a source is known");
    let signal = Kind::Signal(from("many-2", "s", None));
    ledger.take((Seq(seq), at(week + 60)), &signal, 0);
    assert_eq!(hours(&ledger)["many-2"].count(), 1, "counted where it stands now");
    assert_eq!(hours(&ledger)["many-1"].count(), 0);
}

fn recovered(disk: &Memory) -> SourceLedger {
    let held = segments(disk, Path::new(DIR)).unwrap();
    let mut ledger = SourceLedger::default();
    let scanned = scan(disk, Path::new(DIR), |header, records, path, _| -> Result<(), Damage> {
        let segment = held.iter().find(|segment| segment.path == path).unwrap().index;
        let mut decoder = Decoder::new(records);
        let mut seq = header.first;
        while let Some(kind) = decoder.next_kind().unwrap() {
            ledger.take((seq, header.time), &kind, segment);
            seq = seq.next();
        }
        Ok(())
    });
    scanned.unwrap();
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Segments go as soon as they may, the node is killed anywhere, and what is counted is what was counted.
    #[test]
    fn a_kill_loses_no_count_and_no_number(frames in prop::collection::vec((0u8..3, prop::collection::vec(0u64..500, 0..30), 0u64..30, any::<bool>()), 1..60)) {
        let disk = Memory::default();
        let mut writer = reopen(&disk, 16_384);
        let mut ledger = SourceLedger::default();
        let (mut minute, mut released, mut sent, mut counted) = (0, 0, [0; 3], [0; 3]);
        for (frame, (source, numbers, passed, restarts)) in frames.into_iter().enumerate() {
            minute += passed;
            writer.begin(at(minute));
            let append = |writer: &mut Writer, ledger: &mut SourceLedger, kind: Kind| {
                let seq = writer.append(&kind);
                ledger.take((seq, writer.time()), &kind, writer.segment());
            };
            for ended in ledger.end_hours(writer.time()) {
                if let Kind::Manifest(manifest) = &ended {
                    counted[usize::from(manifest.hour.source().as_bytes()[4] - b'0')] += manifest.hour.count();
                }
                append(&mut writer, &mut ledger, ended);
            }
            ledger.write(&mut writer);
            for (at, number) in numbers.into_iter().enumerate() {
                let signal = from(&format!("src-{source}"), &format!("s-{frame}-{at}"), Some(number));
                append(&mut writer, &mut ledger, Kind::Signal(signal));
                sent[usize::from(source)] += 1;
            }
            writer.write().unwrap();
            writer.sync().unwrap();
            if ledger.is_kept(&writer) {
                released += writer.release(writer.last()).unwrap();
            }
            let found = recovered(&disk);
            prop_assert_eq!(hours(&found), hours(&ledger));
            if restarts {
                drop(writer);
                (writer, ledger) = (reopen(&disk, 16_384), found);
            }
        }
        for (source, hour) in hours(&ledger) {
            counted[usize::from(source.as_bytes()[4] - b'0')] += hour.count();
        }
        prop_assert_eq!(counted, sent, "each signal is in one hour");
        prop_assert!(released > 0 || writer.segment() < 4);
    }
}
