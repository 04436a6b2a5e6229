//! A node that shares the state of partitions: what it holds is taken, and what is lost is taken again.

use bytes::Bytes;

use super::{Node, look, start};
use crate::clock;
use crate::event::{Ack, Arrival, EdgeName, Forwarded, Part, Position, Seq, Subject, TimerKind, UnixMillis};
use crate::kanban::journal::tests::{NOW, named};
use crate::kanban::memory::Memory;
use crate::kanban::tenure::Tenure;
use crate::ring::Mark;
use crate::sharing::{Adopt, Adopted, Hold, Shared, Taken};
use crate::signal::Fingerprint;

fn told(node: &mut Node, arrival: Arrival) -> Ack {
    node.arrivals.push(arrival).unwrap();
    node.stage.turn(clock::now(), look(NOW)).unwrap();
    node.acks.pop().unwrap()
}

fn taken(term: u64, through: u64, recent: Vec<(Fingerprint, u64)>) -> Arrival {
    let positions =
        vec![Position { edge: EdgeName::read("edge-1").unwrap(), partition: 0, through: Seq(through) }];
    Arrival::Taken(Box::new(Taken { hold: Hold { partition: 0, term }, positions, recent }))
}

fn forwarded(through: u64, id: &str) -> Arrival {
    let position = Position { edge: EdgeName::read("edge-1").unwrap(), partition: 0, through: Seq(through) };
    let part = Some(Part { position, behind: Seq(through - 1), skips: false });
    let signals = vec![(Seq(through), named(id))];
    Arrival::Forwarded(Box::new(Forwarded { signals, astray: None, part }))
}

fn lost(through: u64) -> Arrival {
    Arrival::Shared(Box::new(Shared { through: Seq(through), lost: [0].into() }))
}

#[test]
fn what_is_lost_is_taken_again_and_what_was_shared_is_not() {
    let mut node = start(&Memory::default(), clock::now());
    node.stage = node.stage.sharing(Tenure::new(1, Mark::new(0)));
    assert!(matches!(told(&mut node, forwarded(1, "s-1")), Ack::NotOwned), "nothing is held");
    assert!(matches!(told(&mut node, taken(1, 0, Vec::new())), Ack::Durable { .. }));
    assert!(matches!(told(&mut node, forwarded(1, "s-1")), Ack::Durable { duplicates: 0, .. }));
    let Ack::Cut(cut) = told(&mut node, Arrival::Cut) else { panic!("a cut is answered by one") };
    assert_eq!((cut.identities.len(), cut.positions[0].through), (1, Seq(1)));
    let known = (cut.identities[0].1, cut.identities[0].2);
    assert!(matches!(told(&mut node, forwarded(2, "s-2")), Ack::Durable { duplicates: 0, .. }));
    assert!(matches!(told(&mut node, lost(cut.through.0)), Ack::Durable { .. }));
    assert!(matches!(told(&mut node, forwarded(2, "s-2")), Ack::NotOwned), "it is lost");
    // The store knows the first one; the second is void.
    told(&mut node, taken(3, 1, vec![known]));
    assert!(matches!(told(&mut node, forwarded(1, "s-1")), Ack::Durable { duplicates: 1, .. }));
    assert!(matches!(told(&mut node, forwarded(2, "s-2")), Ack::Durable { duplicates: 0, .. }));
    let other_number = told(&mut node, forwarded(3, "s-1"));
    assert!(matches!(other_number, Ack::Durable { duplicates: 1, .. }), "{other_number:?}");
}

#[test]
fn a_governor_that_was_read_in_an_earlier_term_is_not_adopted() {
    let mut node = start(&Memory::default(), clock::now());
    node.stage = node.stage.sharing(Tenure::new(1, Mark::new(0)));
    let adopted = |term| {
        let subject = Subject::read("acme", "vm").unwrap();
        let adopt = Adopt::new(subject, Bytes::from_static(b"row")).unwrap();
        let timers =
            vec![(TimerKind::QuotaWindow, UnixMillis(1)), (TimerKind::QuotaWindow, UnixMillis(u64::MAX))];
        Arrival::Adopted(Box::new(Adopted { term, adopt, timers, waiting: vec![named("s-1")] }))
    };
    assert!(matches!(told(&mut node, adopted(1)), Ack::NotOwned), "nothing is held");
    told(&mut node, taken(2, 0, Vec::new()));
    assert!(matches!(told(&mut node, adopted(1)), Ack::NotOwned), "it may have changed since");
    // It comes with the timer that is over and with what waits.
    let Ack::Durable { first, last, .. } = told(&mut node, adopted(2)) else { panic!("it is adopted") };
    assert_eq!(last.0 - first.0, 2);
}
