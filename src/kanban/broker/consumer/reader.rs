//! Reads deliveries: who vouches for one, and which signals are in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use lapin::BasicProperties;

use super::marks::Marks;
use super::staging::Batch;
use super::subscription::DeliveryTag;
use crate::event::{Astray, Part, Position, Seq};
use crate::kanban::broker::delivery::{foreign, is_nudge, prove, prove_nudge};
use crate::kanban::broker::mac::Keys;
use crate::kanban::broker::message::{self, Origin};
use crate::ring::Current;
use crate::signal::{Provenance, Signal};

/// A message of an edge.
#[derive(Debug)]
pub struct Received {
    pub tag: DeliveryTag,
    pub origin: Origin,
    /// Under their edge's numbers.
    pub signals: Vec<(Seq, Signal)>,
    /// None of them can be decided on.
    pub astray: Option<Astray>,
    /// It may be what ends this process.
    pub suspect: bool,
}

impl Received {
    /// What goes to the journal, behind what was handed on before it.
    #[must_use]
    pub fn into_batch(self, behind: Seq, skips: bool) -> Batch {
        let Self { tag, origin: Origin { edge, partition, span }, signals, astray, .. } = self;
        let position = Position { edge, partition, through: span.through };
        Batch::of_edge(signals, astray, Part { position, behind, skips }, Some(tag))
    }
}

/// What a delivery is.
#[derive(Debug)]
pub enum Content {
    /// This node has the partition's turn, and there is nothing else in it.
    Nudge,
    /// Nobody vouches for it.
    Rejected(Batch),
    Message(Received),
}

/// Reads deliveries.
pub struct Reader<'a> {
    keys: &'a Current<Keys>,
    marks: &'a Marks,
    /// Where the last signals came from.
    provenance: Option<&'static Provenance>,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(keys: &'a Current<Keys>, marks: &'a Marks) -> Self {
        Self { keys, marks, provenance: None }
    }

    /// Reads what was delivered. Nothing of what nobody vouches for is read; nor is what `suspect` may be what ends this
    /// process, where it is `forbidden`.
    pub fn read(
        &mut self,
        (properties, body): (&BasicProperties, Bytes),
        tag: DeliveryTag,
        set_aside: bool,
        suspect: bool,
        forbidden: impl FnOnce(&Bytes) -> Result<bool, String>,
    ) -> Result<Content, String> {
        if is_nudge(properties) {
            return Ok(match prove_nudge(properties, tag.partition, &self.keys.get()) {
                Ok(()) => Content::Nudge,
                Err(why) => self.reject((properties, &body), tag, why),
            });
        }
        let origin = match prove((properties, &body), tag.partition, &self.keys.get()) {
            Ok(origin) => origin,
            Err(why) => return Ok(self.reject((properties, &body), tag, why)),
        };
        let opened = if suspect && forbidden(&body)? {
            Err(Astray::Poison)
        } else {
            crate::fault::poisoned(&body);
            let before = self.provenance;
            // A message that breaks the reader becomes a dead letter as well.
            let opened = catch_unwind(AssertUnwindSafe(|| message::open(&origin, &body, before)));
            opened.ok().and_then(Result::ok).ok_or(Astray::Unreadable)
        };
        let (signals, astray, suspect) = match opened {
            Ok(signals) => (signals, set_aside.then_some(Astray::SetAside), suspect),
            // One dead letter stands for all of its signals, so that the edge's next message has its turn.
            Err(why) => {
                self.marks.reject(why);
                (vec![(origin.span.through, foreign(properties, &body))], Some(why), suspect)
            }
        };
        self.provenance = signals.last().map(|(_, signal)| signal.provenance);
        Ok(Content::Message(Received { tag, origin, signals, astray, suspect }))
    }

    fn reject(
        &self,
        (properties, body): (&BasicProperties, &Bytes),
        tag: DeliveryTag,
        why: Astray,
    ) -> Content {
        self.marks.reject(why);
        Content::Rejected(Batch::of_nobody(foreign(properties, body), why, tag))
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldTable;

    use super::*;
    use crate::event::EdgeName;
    use crate::kanban::broker::consumer::tests::tag;
    use crate::kanban::broker::delivery::{NUDGE, vouch};
    use crate::kanban::broker::mac::Statement;
    use crate::kanban::broker::message::{Draft, Span};
    use crate::kanban::broker::tests::{delivered, keys};
    use crate::kanban::broker::trouble::Trouble;
    use crate::kanban::journal::tests::named;

    fn marks() -> Marks {
        Marks::new(&[0], 1, Trouble::of_broker())
    }

    fn message() -> (Origin, Bytes) {
        let edge = EdgeName::read("edge-1.0123456789abcdef").unwrap();
        let origin = Origin { edge, partition: 0, span: Span { after: Seq(4), through: Seq(9) } };
        let mut draft = Draft::default();
        draft.push(Seq(7), &named("s-7"));
        draft.push(Seq(9), &named("s-9"));
        let body = draft.seal(&origin).into();
        (origin, body)
    }

    fn rejected(marks: &Marks, why: Astray) -> u64 {
        marks.rejected[why as usize].read()
    }

    /// Reads a message, suspect or not, that `is_forbidden` or not.
    fn read(marks: &Marks, suspect: bool, is_forbidden: bool, set_aside: bool) -> Received {
        let (origin, body) = message();
        let (keys, properties) = (keys(), delivered(&origin, &body));
        let mut reader = Reader::new(&keys, marks);
        let read = reader.read((&properties, body), tag(1), set_aside, suspect, |_| Ok(is_forbidden));
        let Ok(Content::Message(received)) = read else { panic!("it is a message: {read:?}") };
        received
    }

    #[test]
    fn a_message_is_read_once_somebody_vouches_for_it() {
        let marks = marks();
        let received = read(&marks, false, true, false);
        assert_eq!(received.signals.len(), 2);
        assert_eq!((received.astray, received.suspect), (None, false));
        assert_eq!(read(&marks, false, false, true).astray, Some(Astray::SetAside));
        let (origin, body) = message();
        let keys = keys();
        let mut reader = Reader::new(&keys, &marks);
        let nobody = BasicProperties::default();
        for (properties, tag, why) in [
            (nobody.clone(), tag(1), Astray::Foreign),
            (nobody.with_type(NUDGE.into()), tag(1), Astray::Unsigned),
            (delivered(&origin, b"other"), tag(1), Astray::WrongMac),
            (delivered(&origin, &body), DeliveryTag { partition: 1, ..tag(1) }, Astray::Misrouted),
        ] {
            let read = reader.read((&properties, body.clone()), tag, false, true, |_| panic!("it is read"));
            assert!(matches!(read, Ok(Content::Rejected(_))), "{why:?}: {read:?}");
            assert_eq!(rejected(&marks, why), 1, "{why:?}");
        }
    }

    #[test]
    fn a_suspect_is_read_where_it_may_be_and_is_one_dead_letter_otherwise() {
        let marks = marks();
        assert!(read(&marks, true, false, false).suspect);
        let poison = read(&marks, true, true, false);
        assert_eq!((poison.astray, poison.suspect), (Some(Astray::Poison), true));
        assert_eq!(poison.signals.iter().map(|(number, _)| *number).collect::<Vec<Seq>>(), [Seq(9)]);
        assert_eq!(rejected(&marks, Astray::Poison), 1);
    }

    #[test]
    fn what_is_vouched_for_and_unreadable_is_one_dead_letter() {
        let (marks, keys) = (marks(), keys());
        let (origin, _) = message();
        let body = Bytes::from_static(b"nothing");
        let properties = delivered(&origin, &body);
        let read = Reader::new(&keys, &marks).read((&properties, body), tag(1), true, false, |_| Ok(false));
        let Ok(Content::Message(received)) = read else { panic!("it has its turn: {read:?}") };
        assert_eq!((received.astray, received.signals.len()), (Some(Astray::Unreadable), 1));
        assert_eq!(rejected(&marks, Astray::Unreadable), 1);
    }

    #[test]
    fn a_nudge_is_believed_with_a_key() {
        let (marks, keys) = (marks(), keys());
        let mut headers = FieldTable::default();
        vouch(&mut headers, &keys.get(), Statement::Nudge(0));
        let nudge = BasicProperties::default().with_type(NUDGE.into()).with_headers(headers);
        let mut reader = Reader::new(&keys, &marks);
        let mut read = |tag| reader.read((&nudge, Bytes::new()), tag, false, false, |_| Ok(false)).unwrap();
        assert!(matches!(read(tag(1)), Content::Nudge));
        assert!(matches!(read(DeliveryTag { partition: 1, ..tag(1) }), Content::Rejected(_)));
    }
}
