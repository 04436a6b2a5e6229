//! Records as they are written and read.

use super::*;

fn signal(tenant: Text) -> Signal {
    let body = Bytes::from_static(br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage"}"#);
    let identity = Fingerprint::of_id("signals", tenant.of(&body), "s-1");
    Signal {
        id: Text::Span { at: 7, len: 3 },
        sku: Text::Span { at: 35, len: 2 },
        kind: Text::Span { at: 47, len: 10 },
        severity: Severity::Critical,
        provenance: Provenance::intern("signals", "k1", Assurance::C),
        identity,
        digest: 99,
        tenant,
        body,
    }
}

#[test]
fn every_kind_reads_back_as_it_was_written() {
    let subject = Subject { tenant: "acme".into(), sku: "vm".into() };
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    let spanned = signal(Text::Span { at: 22, len: 4 });
    let owned = signal(Text::Owned("acme".into()));
    encoder.signal(&mut out, &spanned);
    encoder.signal(&mut out, &owned);
    let outcome = Outcome {
        subject: subject.clone(),
        action: ActionId { journal: JournalId(7), seq: Seq(5) },
        result: Err(Failure::withheld("the breaker stands open")),
        maybe_twice: true,
    };
    let timer = Timer { subject: subject.clone(), kind: TimerKind::BreakerReset, armed: Seq(3) };
    let command =
        |verb| Command { subject: subject.clone(), verb, actor: "root".into(), reason: "month end".into() };
    let (command, discard) = (command(Verb::Quota(7)), command(Verb::Discard(Seq(9))));
    let resend = Resend {
        action: ActionId { journal: JournalId(7), seq: Seq(5) },
        name: "page".into(),
        pack: "cost".into(),
        rule: "budget-80".into(),
        content_hash: [0xab; 32],
        because: "80 % is spent".into(),
    };
    let replay = |signal: &Signal| Replay {
        case: Seq(2),
        signal: signal.clone(),
        actor: "root".into(),
        reason: "the cause is gone".into(),
        resend: (signal.provenance.assurance == Assurance::B).then(|| Box::new(resend.clone())),
    };
    let mut other = owned.clone();
    other.provenance = Provenance::intern("webhooks", "k2", Assurance::B);
    let rules = RulesText { text: "{}".into(), actor: "root".into(), reason: "new packs".into() };
    encoder.outcome(&mut out, &outcome);
    encoder.timer(&mut out, &timer);
    encoder.command(&mut out, &command);
    encoder.command(&mut out, &discard);
    encoder.replay(&mut out, &replay(&owned));
    encoder.replay(&mut out, &replay(&other));
    encoder.rules(&mut out, &rules);

    let mut decoder = Decoder::new(Bytes::from(out));
    for expected in [&spanned, &owned] {
        let Some(Kind::Signal(read)) = decoder.next_kind().unwrap() else { panic!("a signal") };
        assert_eq!((read.id(), read.tenant(), read.sku(), read.kind()), ("s-1", "acme", "vm", "cost.usage"));
        assert_eq!((read.identity, read.digest), (expected.identity, expected.digest));
        assert_eq!((read.severity, &read.body), (expected.severity, &expected.body));
        assert!(std::ptr::eq(read.provenance, expected.provenance));
    }
    assert!(matches!(decoder.next_kind().unwrap(), Some(Kind::Outcome(read)) if *read == outcome));
    assert!(matches!(decoder.next_kind().unwrap(), Some(Kind::Timer(read)) if *read == timer));
    assert!(matches!(decoder.next_kind().unwrap(), Some(Kind::Command(read)) if *read == command));
    assert!(matches!(decoder.next_kind().unwrap(), Some(Kind::Command(read)) if *read == discard));
    for expected in [&owned, &other] {
        let Some(Kind::Replay(read)) = decoder.next_kind().unwrap() else { panic!("a replay") };
        assert_eq!((read.case, &*read.actor, &*read.reason), (Seq(2), "root", "the cause is gone"));
        assert_eq!(read.resend, replay(expected).resend);
        assert_eq!((read.signal.tenant(), &read.signal.body), ("acme", &expected.body));
        assert!(std::ptr::eq(read.signal.provenance, expected.provenance));
    }
    assert!(matches!(decoder.next_kind().unwrap(), Some(Kind::Rules(read)) if *read == rules));
    assert!(decoder.next_kind().unwrap().is_none());
}

proptest::proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes: Vec<u8>) {
        let mut decoder = Decoder::new(Bytes::from(bytes));
        while let Ok(Some(_)) = decoder.next_kind() {}
    }
}
