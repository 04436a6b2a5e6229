//! Any event, written and read.

use super::*;
use crate::manifest::{Manifest, SourceHour, is_sequence};
use crate::trace::TraceContext;

proptest! {
    #[test]
    fn every_event_reads_back_as_it_was_written(kinds in prop::collection::vec(kind(), 0..20)) {
        let mut encoder = Encoder::default();
        let mut out = Vec::new();
        for kind in &kinds {
            encoder.append(&mut out, kind);
        }
        let mut decoder = Decoder::new(Bytes::from(out));
        for kind in &kinds {
            let read = decoder.next_kind().unwrap().unwrap();
            // Signals have no equality of their own: everything they hold is in what they print.
            prop_assert_eq!(format!("{read:?}"), format!("{kind:?}"));
        }
        prop_assert!(decoder.next_kind().unwrap().is_none());
    }
}

fn text() -> impl Strategy<Value = String> {
    "[ -~]{1,40}"
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9][a-z0-9._-]{0,63}"
}

fn subject() -> impl Strategy<Value = Subject> {
    (name(), name()).prop_map(|(tenant, sku)| Subject::read(&tenant, &sku).unwrap())
}

fn kind() -> impl Strategy<Value = Kind> {
    let names = [text().boxed(), name().boxed(), name().boxed(), text().boxed()];
    let trace = prop::option::of((any::<u128>(), any::<u64>()));
    let digest = prop_oneof![any::<u64>(), 0u64..1000];
    let signal = (names.map(|name| (name, any::<bool>())), 0u8..3, 0u8..8, digest, ".{0,60}", trace);
    let signal = signal.prop_map(|(names, severity, assurance, digest, rest, trace)| {
        let mut body = rest;
        let mut texts = names.into_iter().map(|(name, spanned)| {
            if spanned {
                let at = u32::try_from(body.len()).unwrap();
                body.push_str(&name);
                Text::Span { at, len: u8::try_from(name.len()).unwrap() }
            } else {
                Text::Owned(name.into())
            }
        });
        let mut next = || texts.next().unwrap();
        let (id, tenant, sku, kind) = (next(), next(), next(), next());
        drop(texts);
        let body = Bytes::from(body);
        let identified = Identified::from_repr(assurance / 4).unwrap();
        let assurance = [Assurance::A, Assurance::B, Assurance::C, Assurance::D][usize::from(assurance % 4)];
        let severity = [Severity::Info, Severity::Warning, Severity::Critical][usize::from(severity)];
        let provenance = Provenance::intern_known("signals", "k1", assurance, identified).unwrap();
        let unchecked = Unchecked { body, id, tenant, sku, kind, severity, provenance, digest };
        let mut signal = unchecked.check().unwrap();
        signal.set_sequence(Some(digest).filter(|number| is_sequence(*number)));
        signal.set_trace(trace.map(|(id, span)| TraceContext::begun(id, span)));
        Kind::Signal(signal)
    });
    let signal = signal.boxed();
    let outcome = (subject(), any::<u64>(), prop::option::of(text()), any::<bool>());
    let outcome = outcome.prop_map(|(subject, action, error, maybe_twice)| {
        let result = error.map_or(Ok(()), |error| Err(Failure::asked(error)));
        Kind::Outcome(Box::new(Outcome {
            subject,
            action: ActionId { journal: JournalId(action % 3), seq: Seq(action) },
            by: (action % 2 == 0).then_some(Seq(action)),
            result,
            maybe_twice,
            tries: maybe_twice.then(|| crate::event::Tries::new("{\"count\":1}".into()).unwrap()),
        }))
    });
    let timer = (subject(), 0usize..4, any::<u64>()).prop_map(|(subject, kind, armed)| {
        let kinds = [
            TimerKind::Boot,
            TimerKind::QuotaWindow,
            TimerKind::BreakerReset,
            TimerKind::ActionDeadline,
            TimerKind::Idle,
        ];
        Kind::Timer(Box::new(Timer { subject, kind: kinds[kind], armed: Seq(armed) }))
    });
    let command = (subject(), 0usize..5, any::<u32>(), text(), "\\PC{0,40}");
    let command = command.prop_map(|(subject, verb, number, actor, reason)| {
        let verbs = [Verb::Halt, Verb::Resume, Verb::Entitle, Verb::Revoke, Verb::Quota(number)];
        let (actor, reason) = (actor.into(), reason.into());
        Kind::Command(Box::new(Command { subject, verb: verbs[verb], actor, reason }))
    });
    let astray = prop::sample::select(Astray::ALL.to_vec());
    let sharing = (subject(), 0u16..256, any::<u64>(), prop::collection::vec(0u16..256, 0..5), 0u8..3);
    let sharing = sharing.prop_map(|(subject, partition, number, lost, which)| match which {
        0 => Kind::Hold(Hold { partition, term: number }),
        1 => {
            let row = lost.iter().map(|byte| byte.to_le_bytes()[0]).collect();
            Kind::Adopt(Box::new(Adopt::new(subject, row).unwrap()))
        }
        _ => Kind::Shared(Box::new(Shared { through: Seq(number), lost: lost.into() })),
    });
    let stray = (signal.clone(), astray).prop_map(|(kind, why)| match kind {
        Kind::Signal(signal) => Kind::Stray(Box::new(Stray { signal, why })),
        other => other,
    });
    let position =
        ("[a-z0-9][a-z0-9._-]{0,80}", 0u16..256, any::<u64>()).prop_map(|(edge, partition, through)| {
            Kind::Position(Position {
                edge: EdgeName::read(&edge).unwrap(),
                partition,
                through: Seq(through),
            })
        });
    let manifest = (name(), prop::collection::vec((any::<u32>(), 0u64..500), 0..200), any::<bool>());
    let manifest = manifest.prop_map(|(source, signals, ends)| {
        let mut hour = SourceHour::new(&source, UnixMillis(0));
        for (at, number) in signals {
            hour.count_signal(Seq(at.into()), UnixMillis(at.into()), Some(number));
        }
        Kind::Manifest(Box::new(Manifest { hour, ends }))
    });
    prop_oneof![1 => manifest, 1 => sharing, 4 => signal, 1 => outcome, 1 => timer, 1 => command, 1 => stray, 1 => position]
}
