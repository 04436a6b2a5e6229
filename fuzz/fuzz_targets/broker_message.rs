//! What stands in a queue of the broker is read or refused, and never more than that: whatever is read lies in its span, in
//! order, and is written as it was read. The checksum is put right, so that what stands behind it is reached.
#![no_main]

use bytes::Bytes;
use gemba::event::{EdgeName, Seq};
use gemba::kanban::broker::message::{self, Draft, Origin, Span};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let [after, count, body @ ..] = input else { return };
    let (after, mut body) = (Seq(u64::from(*after)), body.to_vec());
    let span = Span { after, through: Seq(after.0 + u64::from(*count)) };
    let edge = EdgeName::read("edge-1.0123456789abcdef").expect("a name");
    let origin = Origin { edge, partition: 3, span };
    if body.len() >= 8 {
        let crc = message::checksum(&origin, &body);
        body[4..8].copy_from_slice(&crc.to_le_bytes());
    }
    let Ok(signals) = message::open(&origin, &Bytes::from(body), None) else { return };
    assert!(!signals.is_empty() && signals.is_sorted_by(|one, other| one.0 < other.0));
    assert!(signals[0].0 > span.after && signals[signals.len() - 1].0 <= span.through);
    let mut draft = Draft::default();
    for (seq, signal) in &signals {
        draft.push(*seq, signal);
    }
    let again = message::open(&origin, &draft.seal(&origin).into(), None).expect("it was read before");
    assert_eq!(format!("{again:?}"), format!("{signals:?}"));
});
