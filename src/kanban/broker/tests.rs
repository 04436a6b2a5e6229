//! From signals to messages and back, under every delivery that a broker may make.

use bytes::Bytes;
use proptest::prelude::*;

use super::batch::{Batcher, Message};
use super::message::{self, Draft, Origin, Span, Unreadable};
use super::order::{Order, Verdict};
use crate::event::{EdgeName, Seq};
use crate::limits::{MESSAGE_BYTES_MAX, MESSAGE_SIGNALS_MAX};
use crate::sharing::partition_of;
use crate::signal::{Assurance, Provenance, Severity, Signal, Text, Unchecked};

const EDGE: &str = "edge-1.0123456789abcdef";

fn edge() -> EdgeName {
    EdgeName::read(EDGE).unwrap()
}

fn signal(tenant: &str, id: &str, bytes: usize) -> Signal {
    let body = Bytes::from(format!("{{\"id\":\"{id}\",\"pad\":\"{}\"}}", "x".repeat(bytes)));
    Unchecked {
        id: Text::Owned(id.into()),
        tenant: Text::Owned(tenant.into()),
        sku: Text::Owned("vm".into()),
        kind: Text::Owned("cost.usage".into()),
        severity: Severity::Warning,
        provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
        digest: 7,
        body,
    }
    .check()
    .unwrap()
}

/// All messages of these signals, numbered from 1 on.
fn messages(tenants: &[u8], partitions: u16, after: Seq) -> Vec<Message> {
    // An edge that begins behind a number knows what it sent last in each partition.
    let mut behind = vec![Seq(0); usize::from(partitions)];
    for (at, tenant) in tenants.iter().enumerate().take(usize::try_from(after.0).unwrap()) {
        behind[usize::from(partition_of(&format!("tenant-{tenant}"), partitions))] = Seq(at as u64 + 1);
    }
    let mut batcher = Batcher::new(&edge(), &behind);
    let mut all = Vec::new();
    for (at, tenant) in tenants.iter().enumerate() {
        let seq = Seq(at as u64 + 1);
        if seq > after {
            all.extend(batcher.take(seq, &signal(&format!("tenant-{tenant}"), &format!("id-{}", seq.0), 10)));
            // Now and then the publisher has caught up.
            if tenant % 5 == 0 {
                all.extend(std::iter::from_fn(|| batcher.flush(|_| true)));
            }
        }
    }
    all.extend(std::iter::from_fn(|| batcher.flush(|_| true)));
    assert_eq!(batcher.oldest(), None);
    all
}

#[test]
fn a_partition_never_changes() {
    // By the PyPI package xxhash, xxh3_64 with the seed.
    let known = [("acme", 3), ("beta", 8), ("tenant-000", 0), ("tenant-001", 8)];
    for (tenant, partition) in known {
        assert_eq!(partition_of(tenant, 16), partition, "{tenant}");
    }
    assert_eq!(partition_of("acme", 1), 0);
}

#[test]
fn a_message_is_bounded_in_signals_and_bytes() {
    let mut draft = Draft::default();
    let small = signal("acme", "a", 10);
    for number in 1..=MESSAGE_SIGNALS_MAX as u64 {
        assert!(draft.takes(&small));
        draft.push(Seq(number), &small);
    }
    assert!(!draft.takes(&small));
    let origin = Origin { edge: edge(), partition: 0, span: Span { after: Seq(0), through: Seq(1000) } };
    let body = Bytes::from(draft.seal(&origin));
    assert_eq!(message::open(&origin, &body, None).unwrap().len(), MESSAGE_SIGNALS_MAX);
    let large = signal("acme", "a", MESSAGE_BYTES_MAX - 100);
    assert!(draft.takes(&large), "one signal always fits");
    draft.push(Seq(1), &large);
    assert!(!draft.takes(&small));
}

proptest! {
    #[test]
    fn what_was_put_in_comes_out(tenants in prop::collection::vec(0u8..20, 1..600), partitions in 1u16..5) {
        let mut through = vec![Seq(0); usize::from(partitions)];
        let mut got = Vec::new();
        for Message { origin, first, count, body, .. } in messages(&tenants, partitions, Seq(0)) {
            let held = &mut through[usize::from(origin.partition)];
            prop_assert_eq!(origin.span.after, *held, "spans follow one another without a gap");
            *held = origin.span.through;
            let signals = message::open(&origin, &body.into(), None).unwrap();
            prop_assert_eq!((signals.len(), signals[0].0), (count, first));
            for (seq, signal) in signals {
                prop_assert_eq!(partition_of(signal.tenant(), partitions), origin.partition);
                let put = format!("tenant-{}/id-{}", tenants[usize::try_from(seq.0).unwrap() - 1], seq.0);
                prop_assert_eq!(format!("{}/{}", signal.tenant(), signal.id()), put);
                got.push(seq);
            }
        }
        got.sort_unstable();
        let all: Vec<Seq> = (1..=tenants.len() as u64).map(Seq).collect();
        prop_assert_eq!(got, all);
    }

    #[test]
    fn a_changed_bit_or_header_is_told(
        tenants in prop::collection::vec(0u8..3, 1..40), bit: prop::sample::Index, header in 0usize..4
    ) {
        let Message { origin, body, .. } = messages(&tenants, 1, Seq(0)).swap_remove(0);
        let mut damaged = body.clone();
        let bit = bit.index(8 * body.len());
        damaged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(message::open(&origin, &damaged.into(), None).is_err());
        let mut other = origin.clone();
        match header {
            0 => other.edge = EdgeName::read("edge-1.fedcba9876543210").unwrap(),
            1 => other.partition += 1,
            2 => other.span.after = Seq(other.span.after.0 + 1),
            _ => other.span.through = Seq(other.span.through.0 + 1),
        }
        prop_assert_eq!(message::open(&other, &body.into(), None).unwrap_err(), Unreadable::Damaged);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>, after: u64, through: u64) {
        let span = Span { after: Seq(after), through: Seq(through) };
        let origin = Origin { edge: edge(), partition: 0, span };
        prop_assert!(message::open(&origin, &bytes.into(), None).is_err());
    }

    /// A broker delivers in any order, gives again, and an edge sends everything again from any point, in other pieces.
    #[test]
    fn whatever_the_delivery_each_signal_is_taken_once_and_in_order(
        tenants in prop::collection::vec(0u8..20, 1..300),
        partitions in 1u16..4,
        resends in prop::collection::vec(0usize..300, 0..3),
        deliveries in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..400),
    ) {
        // What one partition gets, and another one has between it.
        let of = |messages: Vec<Message>| messages.into_iter().filter(|message| message.origin.partition == 0);
        let mut sent: Vec<Message> = of(messages(&tenants, partitions, Seq(0))).collect();
        for resend in resends {
            sent.extend(of(messages(&tenants, partitions, Seq((resend % tenants.len()) as u64))));
        }
        let mut order = Order::new(None);
        let mut taken = Vec::new();
        let mut left: Vec<usize> = (0..sent.len()).collect();
        let mut deliver = |at: usize, order: &mut Order<usize>| {
            let mut next = Some((sent[at].origin.span, at));
            while let Some((span, message)) = next {
                match order.offer(span, message) {
                    Verdict::Take(message, behind) => {
                        let Message { origin, body, .. } = &sent[message];
                        let signals = message::open(origin, &Bytes::from(body.clone()), None).unwrap();
                        taken.extend(signals.into_iter().map(|(seq, _)| seq).filter(|seq| *seq > behind));
                    }
                    Verdict::Repeat(_) | Verdict::Held => {}
                    // The broker gives it again once the edge is known.
                    Verdict::Stranger(message) => return Some(message),
                }
                next = order.ready();
            }
            None
        };
        let mut again = Vec::new();
        for (index, twice) in deliveries {
            if !left.is_empty() {
                let at = index.index(left.len());
                let message = if twice { left[at] } else { left.swap_remove(at) };
                again.extend(deliver(message, &mut order));
            }
        }
        // In the end everything was delivered, the first message first.
        let mut rest: Vec<usize> = (0..sent.len()).collect();
        rest.extend(again);
        for message in rest {
            deliver(message, &mut order);
        }
        prop_assert_eq!(order.held(), 0);
        let here = |tenant: &u8| partition_of(&format!("tenant-{tenant}"), partitions) == 0;
        let all = (1..).map(Seq).zip(&tenants).filter(|(_, tenant)| here(tenant));
        prop_assert_eq!(taken, all.map(|(seq, _)| seq).collect::<Vec<_>>());
    }
}

#[test]
fn an_edge_that_others_knew_is_a_stranger_until_it_is_adopted() {
    let mut order = Order::new(None);
    let span = |after, through| Span { after: Seq(after), through: Seq(through) };
    assert_eq!(order.offer(span(5, 9), 'a'), Verdict::Stranger('a'));
    order.adopt(Seq(5));
    assert_eq!(order.offer(span(5, 9), 'a'), Verdict::Take('a', Seq(5)));
    assert_eq!(order.offer(span(3, 9), 'b'), Verdict::Repeat('b'));
    assert_eq!(order.offer(span(8, 12), 'c'), Verdict::Take('c', Seq(9)));
}

#[test]
fn what_never_comes_is_left_behind_and_named() {
    let mut order = Order::new(Some(Seq(4)));
    let span = |after, through| Span { after: Seq(after), through: Seq(through) };
    assert_eq!(order.offer(span(9, 12), 'a'), Verdict::Held);
    assert_eq!(order.offer(span(12, 13), 'b'), Verdict::Held);
    assert_eq!(order.ready(), None);
    assert_eq!(order.skip(), Some(span(4, 9)));
    let (next, message) = order.ready().unwrap();
    assert_eq!(order.offer(next, message), Verdict::Take('a', Seq(9)));
    let (next, message) = order.ready().unwrap();
    assert_eq!(order.offer(next, message), Verdict::Take('b', Seq(12)));
    assert_eq!(order.skip(), None);
}
