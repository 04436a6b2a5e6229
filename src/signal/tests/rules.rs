//! The rules for names, and every reason.

use super::*;

#[test]
fn a_plain_signal_keeps_its_text_and_points_into_it() {
    let text = with(r#""specversion":"1.0","severity":"critical","time":"2026-01-02T03:04:05Z","data":[1]"#);
    let signal = one(text.as_bytes(), &fixed()).unwrap();
    assert_eq!(
        (signal.id(), signal.tenant(), signal.sku(), signal.kind()),
        ("s-1", "acme", "vm", "cost.usage")
    );
    assert_eq!((signal.severity, &signal.body()[..]), (Severity::Critical, text.as_bytes()));
    for name in signal.texts() {
        assert!(matches!(name, Text::Span { .. }), "{name:?}");
    }
    assert_eq!(signal.provenance.assurance, Assurance::C);
    assert_eq!(signal.digest, xxhash_rust::xxh3::xxh3_64(text.as_bytes()));
}

#[test]
fn escaped_names_are_read_as_what_they_mean() {
    let signal = one(with(r#""\u0064ata":{}"#).replace("acme", r"\u0061cme").as_bytes(), &fixed()).unwrap();
    assert_eq!((signal.tenant(), signal.texts()[1]), ("acme", &Text::Owned("acme".into())));
}

#[test]
fn what_the_source_fixes_may_be_left_out_but_not_contradicted() {
    let fixed = Fixed { tenant: Some("acme".into()), sku: Some("vm".into()), ..Fixed::default() };
    let signal = one(br#"{"id":"s-1","type":"cost.usage"}"#, &fixed).unwrap();
    assert_eq!((signal.tenant(), signal.sku()), ("acme", "vm"));
    assert_eq!(one(with("").as_bytes(), &fixed).unwrap().tenant(), "acme");
    assert_eq!(reason(&with("").replace("acme", "other"), &fixed), Reason::Fixed("tenant"));
    assert_eq!(reason(&with("").replace("vm", "disk"), &fixed), Reason::Fixed("sku"));
}

#[test]
fn a_sender_may_number_its_signals_and_anything_else_is_kept_and_not_counted() {
    let table = [
        ("", None),
        ("7", Some(7)),
        ("0", Some(0)),
        ("9007199254740991", Some(9_007_199_254_740_991)),
        ("9007199254740992", None),
        ("18446744073709551616", None),
        ("-1", None),
        ("7.0", None),
        ("null", None),
        ("true", None),
        ("[1]", None),
        (r#"{"a":1}"#, None),
        (r#""7""#, Some(7)),
        (r#""00000000000000000000000000000007""#, Some(7)),
        (r#""000000000000000000000000000000007""#, None),
        (r#""9007199254740992""#, None),
        (r#""""#, None),
        (r#""+7""#, None),
        (r#""7a""#, None),
        (r#""\u0037""#, Some(7)),
    ];
    for (value, expected) in table {
        let member = if value.is_empty() { String::new() } else { format!(r#""sequence":{value}"#) };
        let signal = one(with(&member).as_bytes(), &fixed()).unwrap();
        assert_eq!(signal.sequence(), expected, "{value}");
    }
    assert!(matches!(reason(&with(r#""sequence":{"a":1,"a":2}"#), &fixed()), Reason::Json(_)), "twin keys");
    assert!(matches!(reason(&with(r#""sequence":1,"sequence":2"#), &fixed()), Reason::Json(_)));
}

#[test]
fn every_reason_is_reached() {
    let strict = |why: &Reason| matches!(why, Reason::Json(_));
    assert!(strict(&reason("{", &fixed())));
    for (text, expected) in [
        (with("").replace(r#""id":"s-1","#, ""), Reason::Missing("id")),
        (with("").replace(r#","type":"cost.usage""#, ""), Reason::Missing("type")),
        (with("").replace(r#""tenant":"acme","#, ""), Reason::Missing("tenant")),
        (with("").replace(r#""sku":"vm","#, ""), Reason::Missing("sku")),
        (with("").replace("s-1", ""), illegal("id", Rule::Printable, 0)),
        (with("").replace("s-1", "é"), illegal("id", Rule::Printable, 2)),
        (with("").replace("s-1", r"a\nb"), illegal("id", Rule::Printable, 3)),
        (with("").replace("s-1", r"a\u007fb"), illegal("id", Rule::Printable, 3)),
        (with("").replace("s-1", &"x".repeat(129)), illegal("id", Rule::Printable, 129)),
        (with("").replace("cost.usage", ""), illegal("type", Rule::Printable, 0)),
        (with("").replace("cost.usage", &"x".repeat(129)), illegal("type", Rule::Printable, 129)),
        (with("").replace("acme", ""), illegal("tenant", Rule::Name, 0)),
        (with("").replace("acme", ".acme"), illegal("tenant", Rule::Name, 5)),
        (with("").replace("acme", "Acme"), illegal("tenant", Rule::Name, 4)),
        (with("").replace("acme", "ac/me"), illegal("tenant", Rule::Name, 5)),
        (with("").replace("acme", &"a".repeat(65)), illegal("tenant", Rule::Name, 65)),
        (with("").replace("vm", "-vm"), illegal("sku", Rule::Name, 3)),
        (with("").replace("vm", "v m"), illegal("sku", Rule::Name, 3)),
        (with(r#""severity":"fatal""#), Reason::Severity),
        (with(r#""severity":"Info""#), Reason::Severity),
        (with(r#""specversion":"0.3""#), Reason::SpecVersion),
        (with(r#""time":"yesterday""#), Reason::Time),
        (with("").replace("cost.usage", "gemba.entitlement.active"), Reason::Reserved),
        (with("").replace("cost.usage", "gemba.anything"), Reason::Reserved),
    ] {
        assert_eq!(reason(&text, &fixed()), expected, "{text}");
    }
    let control = Fixed { control: true, ..fixed() };
    let unknown = with("").replace("cost.usage", "gemba.halt");
    assert_eq!(reason(&unknown, &control), Reason::UnknownReserved);
    for kind in ["gemba.entitlement.active", "gemba.entitlement.revoked"] {
        assert_eq!(one(with("").replace("cost.usage", kind).as_bytes(), &control).unwrap().kind(), kind);
    }
}

#[test]
fn the_longest_names_fit() {
    let text = with("")
        .replace("s-1", &"~".repeat(128))
        .replace("acme", &"a".repeat(64))
        .replace("vm", "0.z_9-")
        .replace("cost.usage", &" ".repeat(128));
    let signal = one(text.as_bytes(), &fixed()).unwrap();
    assert_eq!((signal.id().len(), signal.tenant().len(), signal.kind().len()), (128, 64, 128));
}

#[test]
fn times_are_those_of_rfc_3339() {
    let time = |time: &str| one(with(&format!(r#""time":"{time}""#)).as_bytes(), &fixed()).is_ok();
    for good in [
        "1985-04-12T23:20:50.52Z",
        "1996-12-19T16:39:57-08:00",
        "1990-12-31T23:59:60Z",
        "1937-01-01T12:00:27.87+00:20",
        "2026-01-02t03:04:05z",
        "2026-01-02T03:04:05.123456789Z",
        "2026-01-02T03:04:05-00:00",
        "2026-01-02T03:04:05+23:59",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999Z",
    ] {
        assert!(time(good), "{good}");
    }
    for bad in [
        "",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-02-30T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:04Z",
        "20260102T030405Z",
        "2026-01-02T03:04:05+01",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05Z[UTC]",
        "+002026-01-02T03:04:05Z",
        "1767323045",
        "2026-01-02 03:04:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05Zé",
        " 2026-01-02T03:04:05Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "2026-01-02T03:04:05+24:00",
        "2026-01-02T03:04:05.1234567890Z",
        "2026-01-02T03:04:60Z",
    ] {
        assert!(!time(bad), "{bad}");
    }
}

#[test]
fn one_id_of_two_tenants_is_two_signals_and_one_body_of_one_source_is_one() {
    let of = |text: String| one(text.as_bytes(), &fixed()).unwrap();
    let (here, there) = (of(with("")), of(with("").replace("acme", "other")));
    assert_ne!(here.identity, there.identity);
    let again = of(with(r#""data":1"#));
    assert_eq!(again.identity, here.identity);
    assert_ne!(again.digest, here.digest);
}

#[test]
fn an_identity_is_the_documented_hash() {
    let expected =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"gemba/identity\0signals\0acme\0s-1");
    let signal = one(with("").as_bytes(), &fixed()).unwrap();
    assert_eq!(signal.identity.0, expected.as_ref()[..16]);
    let body = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"{}");
    let text = [&b"gemba/identity/body\0signals\0"[..], body.as_ref()].concat();
    let expected = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let beside = Provenance::intern("signals", "k1", Assurance::D).unwrap();
    let beside = Fingerprint::of(beside, "acme", "s-1", b"\t{}\r\n ");
    assert_eq!(beside.0, expected.as_ref()[..16], "white space around it does not count");
}

#[test]
fn the_content_type_chooses_the_form() {
    let mut headers = hyper::HeaderMap::new();
    let form = |headers: &hyper::HeaderMap, text: Option<&str>, binary| match Form::of(
        text.map(str::as_bytes),
        headers,
        binary,
    ) {
        Ok(Form::Single) => "single",
        Ok(Form::Batch) => "batch",
        Ok(Form::Lines) => "lines",
        Ok(Form::Binary(_)) => "binary",
        Err(UnsupportedForm::ContentType) => "content type",
        Err(UnsupportedForm::Binary) => "no binary mode",
        Err(UnsupportedForm::Batch) => "no batch",
    };
    for (text, wanted, beside_binary) in [
        ("application/json", "single", "single"),
        ("Application/JSON; charset=utf-8", "single", "single"),
        (" application/cloudevents+json ;x=y", "single", "single"),
        ("application/cloudevents-batch+json", "batch", "no batch"),
        ("application/x-ndjson", "lines", "no batch"),
        ("text/plain", "content type", "content type"),
        ("", "content type", "content type"),
        ("application/json5", "content type", "content type"),
    ] {
        assert_eq!(form(&headers, Some(text), false), wanted, "{text}");
        assert_eq!(form(&headers, Some(text), true), beside_binary, "{text}");
    }
    assert_eq!(form(&headers, None, true), "content type");
    headers.insert("ce-id", "s-1".parse().unwrap());
    for text in ["text/plain", "application/json", ""] {
        assert_eq!(form(&headers, Some(text), true), "binary", "{text}");
        assert_eq!(form(&headers, Some(text), false), "no binary mode", "{text}");
    }
    assert_eq!(form(&headers, Some("application/cloudevents+json"), true), "single");
    assert_eq!(form(&headers, Some("application/cloudevents-batch+json"), false), "batch");
}

/// An attacker with a copy of a signed body can choose everything beside it (promise P6).
#[test]
fn what_is_beside_a_body_gives_it_no_second_identity_and_no_further_right() {
    let bodies = [
        with(""),
        format!(" {}\r\n", with("")),
        format!("[{}]", with("")),
        format!("{}\n{}", with(""), with("").replace("s-1", "s-2")),
        r#"{"any":"data"}"#.to_owned(),
        r#"{"id":"c-1","tenant":"acme","sku":"vm","type":"gemba.entitlement.active"}"#.to_owned(),
    ];
    let types = [
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/x-ndjson",
        "text/plain",
    ];
    let mut beside = vec![hyper::HeaderMap::new()];
    for (tenant, kind) in
        [("acme", "cost.usage"), ("victim", "cost.usage"), ("acme", "gemba.entitlement.revoked")]
    {
        for id in ["x-1", "x-2"] {
            let mut headers = hyper::HeaderMap::new();
            for (name, value) in [("ce-id", id), ("ce-tenant", tenant), ("ce-sku", "vm"), ("ce-type", kind)] {
                headers.insert(name, value.parse().unwrap());
            }
            beside.push(headers);
        }
    }
    let acme = || Some("acme".into());
    let sources = [
        fixed(),
        Fixed { tenant: acme(), ..fixed() },
        Fixed { tenant: acme(), binary: true, ..fixed() },
        Fixed { tenant: acme(), binary: true, control: true, ..fixed() },
    ];
    for (source, fixed) in sources.iter().enumerate() {
        for body in &bodies {
            let mut identities = std::collections::HashSet::new();
            let mut taken = 0;
            for (headers, kind) in beside.iter().flat_map(|headers| types.map(|kind| (headers, kind))) {
                let Ok(form) = Form::of(Some(kind.as_bytes()), headers, fixed.binary) else { continue };
                let verified = Verified::assumed_of(Bytes::from(body.clone()), fixed.binary);
                let Ok(signals) = parse(verified, form, fixed) else { continue };
                taken = taken.max(signals.as_slice().len());
                for signal in signals.as_slice() {
                    assert_eq!(signal.tenant(), "acme", "source {source}, {kind}, {body}");
                    let signed = body.contains(signal.kind()) && signal.provenance.assurance != Assurance::D;
                    let reserved = signal.kind().starts_with("gemba.");
                    assert!(!reserved || signed && fixed.control, "source {source}, {kind}, {body}");
                    identities.insert(signal.identity);
                }
            }
            assert_eq!(identities.len(), taken, "source {source}: {body}");
        }
    }
}
