//! A governor that goes from one node to another.

use proptest::prelude::*;

use super::model::op;
use super::*;
use crate::jidoka::governor::ActionRequest;
use crate::receipt::ReceiptType;

/// What the governor says and asks for, without the numbers of its node.
fn told(line: &Line, drafts: &[Draft]) -> Vec<String> {
    let draft = |draft: &Draft| {
        let of = match &draft.about {
            crate::receipt::About::Signal(signal) => Some(signal.id().to_owned()),
            _ => None,
        };
        // Who replays names a number; after the change it names another.
        let reason = draft.reason.as_deref().filter(|_| draft.gist.kind != ReceiptType::Operator);
        format!("{:?} {:?}->{:?} {of:?} {reason:?}", draft.gist.kind, draft.gist.before, draft.gist.after)
    };
    let request = |request: &ActionRequest| format!("{} {}", request.intent.name, request.intent.signal.id());
    drafts.iter().map(draft).chain(line.effects.requests.iter().map(request)).collect()
}

/// The governor as another node has it: its row, and behind it what waits, as signals of that node's.
fn moved(line: &mut Line) {
    let waiting: Vec<_> = line.governor.waits().map(|(_, signal)| signal.clone()).collect();
    let mut row = Vec::new();
    line.governor.encode_bare(&mut row);
    line.seq = Seq(line.seq.0 + 1000);
    let (by, time) = (line.seq, line.time);
    line.governor = Governor::adopted(&row, by, time, &line.rules).unwrap();
    for signal in waiting {
        line.seq = line.seq.next();
        let event = Event { seq: line.seq, time, kind: Kind::Signal(signal) };
        line.effects.clear();
        line.governor.step(event, &line.rules, &mut line.effects);
        assert!(line.effects.drafts.is_empty() && line.effects.requests.is_empty(), "it waits as before");
    }
}

proptest! {
    /// Whenever it goes, it decides on.
    #[test]
    fn a_governor_that_is_handed_over_decides_as_if_it_had_stayed(
        before in prop::collection::vec(op(), 0..30),
        after in prop::collection::vec(op(), 0..30),
        boots: bool
    ) {
        let line = || if boots { Line::booting() } else { Line::new(rules()) };
        let (mut stayed, mut went) = (line().all(&before), line().all(&before));
        moved(&mut went);
        prop_assert_eq!(went.governor.state(), stayed.governor.state());
        prop_assert_eq!(went.governor.waiting(), stayed.governor.waiting());
        for op in &after {
            let (drafts, moved) = (stayed.feed(op), went.feed(op));
            prop_assert_eq!(told(&went, &moved), told(&stayed, &drafts), "{:?}", op);
        }
    }
}

#[test]
fn an_action_keeps_its_name_and_gets_its_whole_time_again() {
    let mut line = Line::new(rules()).all(&[ACT, SEE, SEE]);
    let name = line.governor.in_flight().unwrap().action;
    line.time = line.time.plus_seconds(3600);
    moved(&mut line);
    assert_eq!(line.governor.in_flight().unwrap().action, name);
    let deadline = line.governor.timers().find(|arm| arm.kind == TimerKind::ActionDeadline).unwrap();
    assert_eq!((deadline.armed, deadline.due), (Seq(1003), line.time.plus_seconds(90)));
    let lasting: Vec<_> = line.governor.lasting_timers().map(|(kind, _)| kind).collect();
    assert_eq!(lasting, [TimerKind::QuotaWindow]);
}

#[test]
fn a_row_that_is_none_is_refused() {
    let mut whole = Vec::new();
    Line::new(rules()).all(&[ACT, SEE]).governor.encode(&mut whole);
    let adopt = |row: &[u8]| Governor::adopted(row, Seq(9), UnixMillis(1), &rules()).is_err();
    assert!(adopt(&whole), "what waits is not in a row");
    assert!(adopt(&whole[..9]) && adopt(b""));
}
