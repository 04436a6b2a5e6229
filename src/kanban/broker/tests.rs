//! From signals to messages and back, under every delivery that a broker may make.

use std::sync::Arc;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use proptest::prelude::*;

use super::batch::{Batcher, Message};
use super::delivery;
use super::mac::{Keys, Statement};
use super::message::{self, Draft, MESSAGE_MAX, Origin, Span, Unreadable};
use super::order::{Order, Verdict};
use crate::event::{Astray, EdgeName, Seq};
use crate::limits::{BODY_BYTES_MAX, ID_BYTES_MAX, MESSAGE_BYTES_MAX, MESSAGE_SIGNALS_MAX, NAME_BYTES_MAX};
use crate::ring::Current;
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
                    Verdict::Take { message, behind, .. } => {
                        let Message { origin, body, .. } = &sent[message];
                        let signals = message::open(origin, &Bytes::from(body.clone()), None).unwrap();
                        taken.extend(signals.into_iter().map(|(seq, _)| seq).filter(|seq| *seq > behind));
                    }
                    Verdict::Repeat(_) | Verdict::Twin(_) | Verdict::Held => {}
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
    assert_eq!(order.offer(span(5, 9), 'a'), Verdict::Take { message: 'a', behind: Seq(5), skips: true });
    assert_eq!(order.offer(span(3, 9), 'b'), Verdict::Repeat('b'));
    assert_eq!(order.offer(span(8, 12), 'c'), Verdict::Take { message: 'c', behind: Seq(9), skips: false });
}

#[test]
fn what_comes_again_while_it_waits_is_no_repeat_of_what_was_taken() {
    let mut order = Order::new(Some(Seq(4)));
    let span = |after, through| Span { after: Seq(after), through: Seq(through) };
    assert_eq!(order.offer(span(9, 12), 'a'), Verdict::Held);
    assert_eq!(order.offer(span(9, 12), 'b'), Verdict::Twin('a'));
    assert_eq!(order.held(), 1);
    assert_eq!(order.offer(span(4, 9), 'c'), Verdict::Take { message: 'c', behind: Seq(4), skips: false });
    assert_eq!(order.ready(), Some((span(9, 12), 'b')));
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
    assert_eq!(order.offer(next, message), Verdict::Take { message: 'a', behind: Seq(9), skips: true });
    let (next, message) = order.ready().unwrap();
    assert_eq!(order.offer(next, message), Verdict::Take { message: 'b', behind: Seq(12), skips: false });
    assert_eq!(order.skip(), None);
}

pub fn keys() -> Current<Keys> {
    Current::new(Arc::new(Keys::derived("q", b"0123456789abcdef01234567").unwrap()))
}

pub fn delivered(origin: &Origin, body: &[u8]) -> BasicProperties {
    let mut headers = FieldTable::default();
    let number = |seq: Seq| AMQPValue::LongLongInt(i64::try_from(seq.0).unwrap());
    headers.insert("gemba-edge".into(), AMQPValue::LongString((*origin.edge).into()));
    headers.insert("gemba-partition".into(), AMQPValue::LongInt(origin.partition.into()));
    headers.insert("gemba-after".into(), number(origin.span.after));
    headers.insert("gemba-through".into(), number(origin.span.through));
    delivery::vouch(&mut headers, &keys().get(), Statement::Signals(origin, body));
    BasicProperties::default().with_content_type(message::CONTENT_TYPE.into()).with_headers(headers)
}

#[test]
fn the_longest_message_of_an_edge_is_taken_and_a_longer_one_is_not_looked_at() {
    let long = |bytes: usize| Text::Owned("a".repeat(bytes).into());
    let longest = |body: usize| {
        let names = [long(ID_BYTES_MAX), long(NAME_BYTES_MAX), long(NAME_BYTES_MAX), long(ID_BYTES_MAX)];
        let [id, tenant, sku, kind] = names;
        let body = Bytes::from(vec![b'x'; body]);
        Unchecked { body, id, tenant, sku, kind, ..signal("acme", "a", 1).into() }.check()
    };
    assert!(longest(BODY_BYTES_MAX + 1).is_err());
    let mut draft = Draft::default();
    // As many small ones as a message takes, and the largest that has room beside them.
    let room = MESSAGE_BYTES_MAX - 255 * 600;
    for number in 1..=255 {
        draft.push(Seq(number), &longest(1).unwrap());
    }
    let last = (0..room).rev().step_by(97).map(|body| longest(body).unwrap());
    let last = last.into_iter().find(|signal| draft.takes(signal)).unwrap();
    draft.push(Seq(256), &last);
    let origin = Origin { edge: edge(), partition: 0, span: Span { after: Seq(0), through: Seq(256) } };
    let mut single = Draft::default();
    single.push(Seq(1), &longest(BODY_BYTES_MAX).unwrap());
    for (mut draft, signals) in [(draft, 256), (single, 1)] {
        let body = draft.seal(&origin);
        assert!(body.len() <= MESSAGE_MAX, "{}", body.len());
        assert_eq!(
            delivery::prove((&delivered(&origin, &body), &body), 0, &keys().get()),
            Ok(origin.clone())
        );
        assert_eq!(message::open(&origin, &body.into(), None).unwrap().len(), signals);
    }
    let longer = vec![0; MESSAGE_MAX + 1];
    let properties = delivered(&origin, &longer);
    assert_eq!(delivery::prove((&properties, &longer), 0, &keys().get()), Err(Astray::TooLong));
    assert_eq!(delivery::prove((&delivered(&origin, b""), b""), 1, &keys().get()), Err(Astray::Misrouted));
}

#[test]
fn what_is_too_long_for_a_case_keeps_its_beginning_and_the_digest_of_the_whole() {
    let mut whole = vec![b'x'; 3_000_000];
    let named = BasicProperties::default().with_message_id("hello".into());
    let one = delivery::foreign(&named, &Bytes::from(whole.clone()));
    assert_eq!(one.body().len(), BODY_BYTES_MAX);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &whole);
    assert_eq!(one.id(), format!("foreign-{}", faster_hex::hex_string(digest.as_ref())));
    *whole.last_mut().unwrap() = b'y';
    let other = delivery::foreign(&named, &Bytes::from(whole));
    assert!(one.id() != other.id() && one.digest != other.digest);
    assert_eq!(delivery::foreign(&named, &Bytes::from_static(b"hello")).id(), "hello");
    for id in ["", "a b", "ä", &"x".repeat(129), "a\u{7f}"] {
        let named = BasicProperties::default().with_message_id(id.into());
        let signal = delivery::foreign(&named, &Bytes::from_static(b"hello"));
        assert!(signal.id().starts_with("foreign-"), "{id}");
    }
}

proptest! {
    #[test]
    fn no_headers_break_the_reader(edge in ".{0,300}", partition: i32, after: i64, key in ".{0,80}", mac in ".{0,80}") {
        let mut headers = FieldTable::default();
        headers.insert("gemba-edge".into(), AMQPValue::LongString(edge.as_str().into()));
        headers.insert("gemba-partition".into(), AMQPValue::LongInt(partition));
        headers.insert("gemba-after".into(), AMQPValue::LongLongInt(after));
        headers.insert("gemba-through".into(), AMQPValue::LongLongInt(after));
        headers.insert(delivery::KEY.into(), AMQPValue::LongString(key.as_str().into()));
        headers.insert(delivery::MAC.into(), AMQPValue::LongString(mac.as_str().into()));
        let properties = BasicProperties::default()
            .with_content_type(message::CONTENT_TYPE.into())
            .with_headers(headers);
        let refused = delivery::prove((&properties, b"body"), 0, &keys().get()).unwrap_err();
        prop_assert!(matches!(refused, Astray::Foreign | Astray::UnknownKey | Astray::WrongMac));
    }
}
