//! Records as they are written and read.

use super::*;
use crate::event::UnixMillis;
use crate::manifest::SourceHour;

fn signal(tenant: Text) -> Signal {
    let body = Bytes::from_static(br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage"}"#);
    Unchecked {
        id: Text::Span { at: 7, len: 3 },
        sku: Text::Span { at: 35, len: 2 },
        kind: Text::Span { at: 47, len: 10 },
        severity: Severity::Critical,
        provenance: Provenance::intern("signals", "k1", Assurance::C).unwrap(),
        digest: 99,
        tenant,
        body,
    }
    .check()
    .unwrap()
}

#[test]
fn every_kind_reads_back_as_it_was_written() {
    let subject = Subject::read("acme", "vm").unwrap();
    let mut encoder = Encoder::default();
    let mut out = Vec::new();
    let spanned = signal(Text::Span { at: 22, len: 4 });
    let owned = signal(Text::Owned("acme".into()));
    encoder.signal(&mut out, &spanned);
    encoder.signal(&mut out, &owned);
    let outcome = Outcome {
        subject: subject.clone(),
        action: ActionId { journal: JournalId(7), seq: Seq(5) },
        by: Some(Seq(6)),
        result: Err(Failure::withheld("the breaker stands open")),
        maybe_twice: true,
        tries: Some(Tries::new("{\"calls\":[],\"count\":0}".into()).unwrap()),
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
        never_ordered: true,
    };
    let replay = |signal: &Signal| Replay {
        case: Seq(2),
        signal: signal.clone(),
        actor: "root".into(),
        reason: "the cause is gone".into(),
        resend: (signal.provenance.assurance == Assurance::B).then(|| Box::new(resend.clone())),
    };
    let mut other = owned.clone();
    other.provenance = Provenance::intern("webhooks", "k2", Assurance::B).unwrap();
    let rules = RulesText::new("{}".into(), "root".into(), "new packs".into()).unwrap();
    for kind in [
        Kind::Outcome(Box::new(outcome.clone())),
        Kind::Timer(Box::new(timer.clone())),
        Kind::Command(Box::new(command.clone())),
        Kind::Command(Box::new(discard.clone())),
        Kind::Replay(Box::new(replay(&owned))),
        Kind::Replay(Box::new(replay(&other))),
        Kind::Rules(Arc::new(rules.clone())),
    ] {
        encoder.append(&mut out, &kind);
    }

    let mut decoder = Decoder::new(Bytes::from(out));
    for expected in [&spanned, &owned] {
        let Some(Kind::Signal(read)) = decoder.next_kind().unwrap() else { panic!("a signal") };
        assert_eq!((read.id(), read.tenant(), read.sku(), read.kind()), ("s-1", "acme", "vm", "cost.usage"));
        assert_eq!((read.identity, read.digest), (expected.identity, expected.digest));
        assert_eq!((read.severity, read.body()), (expected.severity, expected.body()));
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
        assert_eq!((read.signal.tenant(), read.signal.body()), ("acme", expected.body()));
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

/// What a foreign hand writes: a signal record that says whatever it likes.
fn foreign_record(names: [&Text; 4], body: &[u8]) -> Vec<u8> {
    let mut out = vec![RecordKind::Provenance as u8, Assurance::C as u8, Identified::ById as u8];
    for name in ["signals", "k1"] {
        short(&mut out, name);
    }
    out.extend_from_slice(&[RecordKind::Signal as u8, 0]);
    out.extend_from_slice(&7_u64.to_le_bytes());
    for name in names {
        match name {
            Text::Span { at, len } => {
                out.extend_from_slice(&at.to_le_bytes());
                out.push(*len);
            }
            Text::Owned(text) => {
                out.extend_from_slice(&OWNED.to_le_bytes());
                short(&mut out, text);
            }
        }
    }
    bytes(&mut out, body);
    out
}

#[test]
fn what_breaks_a_rule_is_refused_by_its_field_and_never_built() {
    let own = |text: &str| Text::Owned(text.into());
    let (id, tenant, sku, kind) = (own("s-1"), own("acme"), own("vm"), own("cost.usage"));
    let read = |names: [&Text; 4], body: &[u8]| {
        let mut decoder = Decoder::new(foreign_record(names, body).into());
        decoder.next_kind().map(|kind| kind.is_some())
    };
    let refused = |field, rule, found| Err(Unreadable::Illegal(Illegal { field, rule, found }));
    let body = b"{\"id\":\"s-1\"}".as_slice();
    assert_eq!(read([&id, &tenant, &sku, &kind], body), Ok(true));
    for (bad, found) in [(own(&"a".repeat(100)), 100), (own(""), 0), (own("Acme"), 4), (own("ä"), 2)] {
        assert_eq!(read([&id, &bad, &sku, &kind], body), refused("tenant", Rule::Name, found));
        assert_eq!(read([&id, &tenant, &bad, &kind], body), refused("sku", Rule::Name, found));
    }
    for (bad, found) in [(own(&"a".repeat(129)), 129), (own(""), 0), (own("a\nb"), 3)] {
        assert_eq!(read([&bad, &tenant, &sku, &kind], body), refused("id", Rule::Printable, found));
        assert_eq!(read([&id, &tenant, &sku, &bad], body), refused("type", Rule::Printable, found));
    }
    let outside =
        [Text::Span { at: 12, len: 1 }, Text::Span { at: 0, len: 255 }, Text::Span { at: 7, len: 6 }];
    for span in outside {
        let Text::Span { len, .. } = span else { unreachable!() };
        let why = refused("tenant", Rule::Inside, len.into());
        assert_eq!(read([&id, &span, &sku, &kind], body), why, "{span:?}");
    }
    let long = vec![b'x'; BODY_BYTES_MAX + 1];
    let why = refused("body", Rule::AtMost(BODY_BYTES_MAX), long.len());
    assert_eq!(read([&id, &tenant, &sku, &kind], &long), why);
    // Where it came from is checked before it is remembered for ever.
    let before = Provenance::known().len();
    let mut out = vec![RecordKind::Provenance as u8, 0, 0];
    short(&mut out, &"s".repeat(200));
    short(&mut out, "k1");
    let refusal = Decoder::new(out.into()).next_kind().map(|kind| kind.is_some());
    assert_eq!(refusal, refused("source", Rule::Name, 200));
    assert!(Provenance::known().len() <= before + 1, "another test may have made one");
    let mut out = vec![RecordKind::Position as u8];
    short(&mut out, "edge-1");
    out.extend_from_slice(&300_u16.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    let refusal = Decoder::new(out.into()).next_kind().map(|kind| kind.is_some());
    assert_eq!(refusal, refused("partition", Rule::Below(256), 300));
}

#[test]
fn an_edge_name_that_would_have_to_be_cut_cannot_be_made() {
    for long in ["a".repeat(82), format!("{}é", "a".repeat(254)), "é".repeat(128), String::new()] {
        let refused = EdgeName::read(&long).unwrap_err();
        assert_eq!((refused.field, refused.found), ("edge", long.len()));
    }
    let told = EdgeName::read(&"a".repeat(256)).unwrap_err().to_string();
    assert!(told.contains("`edge`") && told.contains("{0,80}") && told.contains("has 256 bytes"), "{told}");
    let longest = EdgeName::read(&"a".repeat(81)).unwrap();
    let position = Position { edge: longest, partition: 3, through: Seq(9) };
    let mut out = Vec::new();
    Encoder::default().append(&mut out, &Kind::Position(position.clone()));
    assert!(
        matches!(Decoder::new(out.into()).next_kind(), Ok(Some(Kind::Position(read))) if read == position)
    );
}

#[test]
fn words_are_cut_where_they_are_made_and_written_whole() {
    for text in ["é".repeat(4000), "x".repeat(70_000), format!("a{}", "€".repeat(30_000))] {
        let command = Command {
            subject: Subject::read("acme", "vm").unwrap(),
            verb: Verb::Halt,
            actor: "root".into(),
            reason: text.as_str().into(),
        };
        assert!(command.reason.len() <= crate::limits::REASON_BYTES_MAX && command.reason.ends_with('…'));
        let mut out = Vec::new();
        Encoder::default().append(&mut out, &Kind::Command(Box::new(command.clone())));
        let read = Decoder::new(out.into()).next_kind();
        assert!(matches!(read, Ok(Some(Kind::Command(read))) if *read == command));
    }
}

/// The stored bytes of every kind, field by field: a journal that exists is read by every later version.
#[test]
fn records_are_stored_as_ever() {
    let subject = Subject::read("acme", "vm").unwrap();
    let signal = signal(Text::Owned("acme".into()));
    let from: &[u8] = b"\x00\x02\x00\x07signals\x02k1";
    let body: &[u8] = br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage"}"#;
    let texts: &[u8] = b"\x07\0\0\0\x03\xff\xff\xff\xff\x04acme\x23\0\0\0\x02\x2f\0\0\0\x0a";
    let stored = [&b"\x01\x02\x63\0\0\0\0\0\0\0"[..], texts, b"\x3b\0\0\0", body].concat();
    let outcome_of = |journal, by, result| {
        let action = ActionId { journal: JournalId(journal), seq: Seq(5) };
        let subject = subject.clone();
        Kind::Outcome(Box::new(Outcome { subject, action, by, result, maybe_twice: true, tries: None }))
    };
    let outcome = |journal, result| outcome_of(journal, None, result);
    let command = |verb| {
        let (actor, reason) = ("root".into(), "why".into());
        Kind::Command(Box::new(Command { subject: subject.clone(), verb, actor, reason }))
    };
    let resend = |never_ordered| {
        Box::new(Resend {
            action: ActionId { journal: JournalId(7), seq: Seq(5) },
            name: "page".into(),
            pack: "cost".into(),
            rule: "one".into(),
            content_hash: [0xab; 32],
            because: "80 %".into(),
            never_ordered,
        })
    };
    let sent: &[u8] = b"\x07\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x04\0page\x04\0cost\x03\0one";
    let sent = [sent, &[0xab; 32], b"\x04\x0080 %"].concat();
    let replay = |resend| {
        let (actor, reason) = ("root".into(), "why".into());
        Kind::Replay(Box::new(Replay { case: Seq(2), signal: signal.clone(), actor, reason, resend }))
    };
    let said: &[u8] = b"\x04\0root\x03\0why";
    let golden: Vec<(Kind, Vec<u8>)> = vec![
        (Kind::Signal(signal.clone()), [from, &stored].concat()),
        (outcome(0, Ok(())), b"\x02\x04acme\x02vm\x05\0\0\0\0\0\0\0\x01".to_vec()),
        (
            outcome_of(7, Some(Seq(6)), Err(Failure::asked("no"))),
            b"\x09\x07\0\0\0\0\0\0\0\x04acme\x02vm\x05\0\0\0\0\0\0\0\x13\x02\0no\x06\0\0\0\0\0\0\0".to_vec(),
        ),
        (
            outcome(7, Err(Failure::asked("no"))),
            b"\x09\x07\0\0\0\0\0\0\0\x04acme\x02vm\x05\0\0\0\0\0\0\0\x03\x02\0no".to_vec(),
        ),
        (
            outcome(7, Err(Failure::withheld("no"))),
            b"\x09\x07\0\0\0\0\0\0\0\x04acme\x02vm\x05\0\0\0\0\0\0\0\x07\x02\0no".to_vec(),
        ),
        (
            Kind::Timer(Box::new(Timer { subject: subject.clone(), kind: TimerKind::Idle, armed: Seq(3) })),
            b"\x03\x04acme\x02vm\x04\x03\0\0\0\0\0\0\0".to_vec(),
        ),
        (command(Verb::Quota(7)), [&b"\x04\x04acme\x02vm\x04\x07\0\0\0"[..], said].concat()),
        (
            command(Verb::Discard(Seq(9))),
            [&b"\x04\x04acme\x02vm\x05\0\0\0\0\x09\0\0\0\0\0\0\0"[..], said].concat(),
        ),
        (replay(None), [b"\x05\x02\0\0\0\0\0\0\0", said, from, &stored].concat()),
        (replay(Some(resend(true))), [b"\x12\x02\0\0\0\0\0\0\0", said, &sent, from, &stored].concat()),
        (replay(Some(resend(false))), [b"\x0d\x02\0\0\0\0\0\0\0", said, &sent, from, &stored].concat()),
        (
            Kind::Rules(Arc::new(RulesText::new("{}".into(), "root".into(), "why".into()).unwrap())),
            [b"\x06", said, b"\x02\0\0\0{}"].concat(),
        ),
        (
            Kind::Rules(Arc::new(
                RulesText::new("{}".into(), "root".into(), "why".into()).unwrap().made_from(Seq(9)),
            )),
            [b"\x11\x09\0\0\0\0\0\0\0", said, b"\x02\0\0\0{}"].concat(),
        ),
        (
            Kind::Stray(Box::new(Stray { signal: signal.clone(), why: Astray::Poison })),
            [b"\x07\x03", from, &stored].concat(),
        ),
        (
            Kind::Position(Position { edge: EdgeName::read("e-1").unwrap(), partition: 3, through: Seq(9) }),
            b"\x08\x03e-1\x03\0\x09\0\0\0\0\0\0\0".to_vec(),
        ),
        (Kind::Hold(Hold { partition: 3, term: 2 }), b"\x0a\x03\0\x02\0\0\0\0\0\0\0".to_vec()),
        (
            Kind::Adopt(Box::new(Adopt::new(subject.clone(), Bytes::from_static(b"row")).unwrap())),
            b"\x0b\x04acme\x02vm\x03\0\0\0row".to_vec(),
        ),
        (
            Kind::Shared(Box::new(Shared { through: Seq(9), lost: [1, 255].into() })),
            b"\x0c\x09\0\0\0\0\0\0\0\x02\0\x01\0\xff\0".to_vec(),
        ),
    ];
    are_stored(golden);
}

fn are_stored(golden: Vec<(Kind, Vec<u8>)>) {
    for (kind, expected) in golden {
        let mut out = Vec::new();
        Encoder::default().append(&mut out, &kind);
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{kind:?}");
        for cut in 1..expected.len() {
            let cut_off = !matches!(Decoder::new(expected[..cut].to_vec().into()).next_kind(), Ok(Some(_)));
            assert!(cut_off, "{cut} bytes of {kind:?}");
        }
        let mut decoder = Decoder::new(expected.into());
        let read = decoder.next_kind().unwrap().unwrap();
        assert_eq!(format!("{read:?}"), format!("{kind:?}"));
        assert!(matches!(decoder.next_kind(), Ok(None)));
    }
}

#[test]
fn numbers_of_senders_and_manifests_are_stored_as_ever() {
    let mut numbered = signal(Text::Owned("acme".into()));
    numbered.set_sequence(Some(5));
    let from: &[u8] = b"\x00\x02\x00\x07signals\x02k1";
    let head = b"\x01\x42\x63\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0";
    let texts: &[u8] = b"\x07\0\0\0\x03\xff\xff\xff\xff\x04acme\x23\0\0\0\x02\x2f\0\0\0\x0a";
    let body: &[u8] = br#"{"id":"s-1","tenant":"acme","sku":"vm","type":"cost.usage"}"#;
    let mut hour = SourceHour::new("erp", UnixMillis(3_600_001));
    for number in [2, 3, 5] {
        hour.count_signal(Seq(number), UnixMillis(3_600_002), Some(number));
    }
    hour.miss_heartbeat();
    let number = |number: u64| number.to_le_bytes();
    let none = number(u64::MAX);
    let counted = [3_600_000, 3, 2, 5, 3_600_002].map(number).concat();
    let runs = [2, 3, 5, 5].map(number).concat();
    let numbers = [&counted[..], &none, &none, &number(0), b"\x02", &runs, b"\0"].concat();
    let manifest = [&b"\x10\x0f\x03erp"[..], &numbers].concat();
    // An older version stored it so; it is written again as it was.
    let older = Manifest::read(&mut Reader::new(&manifest[1..])).unwrap();
    let mut counts = hour;
    // 3 comes again, 9,000 is far; then it is not compared any more.
    counts.count_signal(Seq(6), UnixMillis(3_600_002), Some(3));
    counts.count_signal(Seq(7), UnixMillis(3_600_002), Some(9000));
    let mut stopped = counts.clone();
    stopped.stop_comparing();
    let of_hour = |flags: &[u8], numbered: u64| {
        let counted = [3_600_000, 5, 2, 7, 3_600_002].map(number).concat();
        let plain = [none, none, number(0)].concat();
        (
            [&b"\x10"[..], flags, b"\x03erp", &counted, &plain].concat(),
            [&number(numbered)[..], b"\0\0"].concat(),
        )
    };
    let (hour, extension) = of_hour(b"\x1b", 5);
    let counts_read = [
        &hour[..],
        b"\x02",
        &runs,
        b"\0",
        &extension,
        &[&none[..], &none, &none, &number(9000), &number(1), &number(1), &number(0), b"\0\0\0\x02"].concat(),
        &[3, 3, 9000, 9000].map(number).concat(),
        b"\x01",
        &number(3),
        b"\x01",
        &number(9000),
    ]
    .concat();
    let (hour, extension) = of_hour(b"\x3b", 5);
    let nothing = [&none[..], &none, &none, &none, &[0; 24], b"\0\0\0\0\0\0"].concat();
    let stopped_read = [&hour[..], b"\0\0", &extension, &nothing].concat();
    are_stored(vec![
        (Kind::Signal(numbered), [from, head, texts, b"\x3b\0\0\0", body].concat()),
        (Kind::Manifest(Box::new(Manifest { hour: counts, ends: true })), counts_read),
        (Kind::Manifest(Box::new(Manifest { hour: stopped, ends: true })), stopped_read),
        (Kind::Manifest(Box::new(older)), manifest),
    ]);
}
