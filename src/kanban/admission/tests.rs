//! What a broker may hand over, in any order and with kills in between, against the journal.

mod sharing;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::alert::Alarm;
use crate::clock::{self, Instant, Look};
use crate::event::{Ack, Arrival, EdgeName, Forwarded, Kind, Part, Position, Seq, UnixMillis};
use crate::kaizen::Collector;
use crate::kanban::dedup::{self, Background, Dedup};
use crate::kanban::journal::record::Decoder;
use crate::kanban::journal::tests::{NOW, named};
use crate::kanban::journal::{Damage, Lineage, scan};
use crate::kanban::journal_clock::{self, Begin, JournalClock};
use crate::kanban::memory::Memory;
use crate::kanban::stage::{Lanes, Marks, Place, Port, SourceTimes, Stage};
use crate::line::recovery;
use crate::ring::{Bell, Crowd, Mark, Receiver, Room, Sender, Switch, lane};
use crate::signal::Fingerprint;

const DATA: &str = "data";
const SIGNALS: u64 = 900;
/// Signals that one message brings.
const MESSAGE: u64 = 30;

/// A processor's journal, and the two lanes of its consumer.
pub struct Node {
    pub stage: Stage,
    pub arrivals: Sender<Arrival>,
    pub acks: Receiver<Ack>,
    settled: Mark,
}

/// A machine whose clocks agree.
pub fn look(now: UnixMillis) -> Look {
    Look { wall: now.0 * 1000, boot: now.0 * 1000 }
}

pub fn start(disk: &Memory, now: Instant) -> Node {
    let (shared, data_dir) = (disk.shared(), Path::new(DATA));
    let settings = dedup::Settings { capacity: 2000, horizon_millis: 1000 };
    let dir = recovery::dedup_dir(data_dir);
    let mut dedup = Dedup::open(Arc::clone(&shared), &dir, settings, Background::Inline).unwrap();
    let nobody = &mut |_, _| {};
    let replayed =
        recovery::replay(&shared, data_dir, Seq(0), &mut dedup, (0, None), nobody, &|_| false).unwrap();
    let dir = recovery::journal_dir(data_dir);
    let kept_for = settings.horizon();
    let begin = Begin { last: replayed.end.time, boot_id: None, kept_for, look: look(NOW) };
    let clock = JournalClock::begin(&shared, &dir, begin, journal_clock::Marks::default());
    let (lineage, stamp) = (Lineage::random().unwrap(), clock.now());
    let writer = recovery::write_on(&shared, data_dir, 1 << 16, false, replayed.end, lineage, stamp).unwrap();
    let bell = || Arc::new(Bell::new(|| {}));
    let (arrivals, taken) = lane(8, bell());
    let (answers, acks) = lane(8, bell());
    let lanes = Lanes {
        ports: vec![Port { arrivals: taken, acks: answers }],
        inner: Vec::new(),
        orders: lane(1, bell()).1,
        shards: Vec::new(),
        follower: None,
        queries: lane(1, bell()).1,
    };
    let zero = || Mark::new(0);
    let settled = zero();
    let marks = Marks {
        crowd: Crowd::new(0, Room { bytes: u64::MAX, governors: u64::MAX }),
        durable: zero(),
        written: zero(),
        settled: settled.clone(),
        disk_low: zero(),
        disk_free: zero(),
        backlog_full: zero(),
        clock: journal_clock::Marks::default(),
        sources: SourceTimes::default(),
        drain: Switch::new(),
    };
    let place = Place { disk: shared, data_dir: DATA.into(), low_water_bytes: 0, backlog_bytes: None };
    let recorder = Collector::new().unwrap().recorder().unwrap();
    let stage =
        Stage::new(place, (writer, clock), dedup, lanes, marks, recorder, now).after(replayed.positions);
    Node { stage, arrivals, acks, settled }
}

fn positions(disk: &Memory) -> crate::kanban::positions::Positions {
    let settings = dedup::Settings { capacity: 2000, horizon_millis: 1000 };
    let dir = recovery::dedup_dir(Path::new(DATA));
    let mut dedup = Dedup::open(disk.copy().shared(), &dir, settings, Background::Inline).unwrap();
    let (shared, data_dir, nobody) = (disk.copy().shared(), Path::new(DATA), &mut |_, _| {});
    recovery::replay(&shared, data_dir, Seq(0), &mut dedup, (0, None), nobody, &|_| false).unwrap().positions
}

/// The numbers of each edge that are in the journal, in its order.
fn taken(disk: &Memory) -> HashMap<String, Vec<u64>> {
    let mut taken: HashMap<String, Vec<u64>> = HashMap::new();
    let read =
        scan(disk, &recovery::journal_dir(Path::new(DATA)), |_, records, _, _| -> Result<(), Damage> {
            let mut decoder = Decoder::new(records);
            while let Some(kind) = decoder.next_kind().unwrap() {
                if let Kind::Signal(signal) = kind {
                    let (edge, number) = signal.id().split_once('/').unwrap();
                    taken.entry(edge.to_owned()).or_default().push(number.parse().unwrap());
                }
            }
            Ok(())
        });
    read.unwrap();
    taken
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Messages of two edges in any order, again and again, cut anywhere, with kills in between: each number is
    /// taken once and in order, though no identity tells a repeat.
    #[test]
    fn whatever_is_handed_over_each_number_is_taken_once_and_in_order(
        deliveries in prop::collection::vec((0u8..2, 0..SIGNALS / MESSAGE, 1..=MESSAGE, 0u8..12), 1..200)
    ) {
        let disk = Memory::default();
        let mut now = clock::now();
        let mut node = start(&disk, now);
        let mut identities = 0_u64;
        let in_the_end = (0..SIGNALS / MESSAGE).flat_map(|at| [(0, at, MESSAGE, 1), (1, at, MESSAGE, 1)]);
        for (edge, at, length, then) in deliveries.into_iter().chain(in_the_end) {
            let edge = format!("edge-{edge}");
            let (after, through) = (Seq(at * MESSAGE), Seq(at * MESSAGE + length));
            let signals = (after.0 + 1..=through.0).map(|number| {
                identities += 1;
                let mut signal = named(&format!("{edge}/{number}"));
                signal.identity = Fingerprint(u128::from(identities).to_le_bytes());
                (Seq(number), signal)
            });
            let position = Position { edge: EdgeName::read(edge.as_str()).unwrap(), partition: 0, through };
            let part = Some(Part { position, behind: after, skips: false });
            let forwarded = Forwarded { signals: signals.collect(), astray: None, part };
            node.arrivals.push(Arrival::Forwarded(Box::new(forwarded))).unwrap();
            now += Duration::from_millis(400);
            node.stage.turn(now, look(UnixMillis(NOW.0 + identities))).unwrap();
            let answered = matches!(node.acks.pop(), Some(Ack::Durable { .. } | Ack::OutOfOrder));
            prop_assert!(answered);
            match then {
                // Killed: only what is durable is left.
                0 => node = start(&disk, now),
                // Everything is decided; segments that nobody needs may go.
                2 => node.settled.publish(u64::MAX),
                _ => {}
            }
        }
        let taken = taken(&disk);
        let ends: Vec<(String, Seq)> =
            positions(&disk).iter().map(|(edge, _, through)| (edge.to_string(), through)).collect();
        prop_assert_eq!(ends, ["edge-0", "edge-1"].map(|edge| (edge.to_owned(), Seq(SIGNALS))));
        // Segments with the first ones may be gone.
        for (edge, numbers) in taken {
            prop_assert_eq!(*numbers.last().unwrap(), SIGNALS);
            let all: Vec<u64> = (numbers[0]..=SIGNALS).collect();
            prop_assert_eq!(numbers, all, "{}: once, in order, without a gap", edge);
        }
    }
}

/// A wall clock that is a day ahead, and is believed: the journal says that this day did not pass.
#[test]
fn a_clock_that_is_believed_is_an_event() {
    let disk = Memory::default();
    let mut now = clock::now();
    let mut node = start(&disk, now);
    let day = 86_400_000;
    for second in 0..400 {
        now += Duration::from_secs(1);
        let (wall, boot) = (NOW.0 + second * 1000 + day, NOW.0 + second * 1000);
        node.stage.turn(now, Look { wall: wall * 1000, boot: boot * 1000 }).unwrap();
    }
    let mut steps = Vec::new();
    let read =
        scan(&disk, &recovery::journal_dir(Path::new(DATA)), |_, records, _, _| -> Result<(), Damage> {
            let mut decoder = Decoder::new(records);
            while let Some(kind) = decoder.next_kind().unwrap() {
                if let Kind::Alarm(alarm) = kind
                    && let Alarm::Stepped { millis } = *alarm
                {
                    steps.push(millis);
                }
            }
            Ok(())
        });
    read.unwrap();
    assert_eq!(steps, [day]);
}
