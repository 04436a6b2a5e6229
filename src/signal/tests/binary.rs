//! Binary mode: attributes in headers, which no signature covers.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::*;

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

const NAMES: [(&str, &[u8]); 4] =
    [("ce-id", b"s-1"), ("ce-tenant", b"acme"), ("ce-sku", b"vm"), ("ce-type", b"cost.usage")];

fn plus(more: &[(&'static str, &'static [u8])]) -> HeaderMap {
    headers(&[&NAMES, more].concat())
}

fn binary(headers: &HeaderMap, fixed: &Fixed) -> Result<Signal, Reason> {
    let verified = Verified::assumed(Bytes::from_static(b"any data \xff"));
    match parse(verified, Form::Binary(headers), fixed) {
        Ok(Signals::One(signal)) => Ok(signal),
        Err(Unfit::Items { batch: false, mut items }) => Err(items.remove(0).1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn attributes_come_from_headers_and_the_body_is_any_data() {
    let headers = plus(&[("ce-severity", b"warning"), ("ce-specversion", b"1.0")]);
    let signal = binary(&headers, &fixed()).unwrap();
    assert_eq!(
        (signal.id(), signal.tenant(), signal.sku(), signal.kind()),
        ("s-1", "acme", "vm", "cost.usage")
    );
    assert_eq!((signal.severity, &signal.body()[..]), (Severity::Warning, &b"any data \xff"[..]));
    assert_eq!(signal.provenance.assurance, Assurance::D);
}

#[test]
fn values_are_percent_encoded_text() {
    let mut headers = plus(&[]);
    let mut id = |value: &[u8]| {
        headers.insert("ce-id", HeaderValue::from_bytes(value).unwrap());
        binary(&headers, &fixed()).map(|signal| signal.id().to_owned())
    };
    assert_eq!(id(b"a%20b%25c%7E"), Ok("a b%c~".into()));
    assert_eq!(id(b"%61+%2B"), Ok("a++".into()));
    for broken in [&b"%"[..], b"a%2", b"a%zz", b"a%-1", b"%ff", b"\xff", b"%c3%28"] {
        assert_eq!(id(broken), Err(Reason::Header("ce-id")), "{broken:?}");
    }
    for (unprintable, bytes) in [(&b"%00"[..], 1), (b"%0a", 1), (b"%c3%a9", 2), (b"\xc3\xa9", 2), (b"", 0)] {
        assert_eq!(id(unprintable), Err(illegal("id", Rule::Printable, bytes)), "{unprintable:?}");
    }
}

#[test]
fn quoted_values_are_unquoted_and_then_decoded_once() {
    let mut headers = plus(&[]);
    let mut id = |value: &[u8]| {
        headers.insert("ce-id", HeaderValue::from_bytes(value).unwrap());
        binary(&headers, &fixed()).map(|signal| signal.id().to_owned())
    };
    assert_eq!(id(br#""a%20b""#), Ok("a b".into()));
    assert_eq!(id(br#""say \"hi\" \\ %2522""#), Ok(r#"say "hi" \ %22"#.into()));
    assert_eq!(id(br#"a"b"#), Ok(r#"a"b"#.into()));
    for broken in [&br#"""#[..], br#""a"#, br#""a"b"#, br#""a\""#] {
        assert_eq!(id(broken), Err(Reason::Header("ce-id")), "{broken:?}");
    }
}

#[test]
fn a_doubled_attribute_is_refused() {
    for (name, value) in NAMES {
        let mut headers = plus(&[]);
        headers.append(name, HeaderValue::from_bytes(value).unwrap());
        assert_eq!(binary(&headers, &fixed()).unwrap_err(), Reason::Header(name));
    }
}

#[test]
fn the_rules_are_those_of_json() {
    for (more, expected) in [
        (("ce-severity", &b"fatal"[..]), Reason::Severity),
        (("ce-specversion", b"0.3"), Reason::SpecVersion),
        (("ce-time", b"yesterday"), Reason::Time),
    ] {
        assert_eq!(binary(&plus(&[more]), &fixed()).unwrap_err(), expected);
    }
    for (at, expected) in [
        (0, Reason::Missing("id")),
        (1, Reason::Missing("tenant")),
        (2, Reason::Missing("sku")),
        (3, Reason::Missing("type")),
    ] {
        let mut headers = plus(&[]);
        headers.remove(NAMES[at].0);
        assert_eq!(binary(&headers, &fixed()).unwrap_err(), expected);
    }
}

#[test]
fn what_no_signature_covers_controls_nothing() {
    let mut headers = plus(&[]);
    headers.insert("ce-type", HeaderValue::from_static("gemba.entitlement.active"));
    let control = Fixed { control: true, ..fixed() };
    assert_eq!(binary(&headers, &control).unwrap_err(), Reason::Reserved);
}

#[test]
fn a_signed_body_counts_once_whatever_stands_beside_it() {
    let first = binary(&plus(&[]), &fixed()).unwrap();
    let mut headers = plus(&[]);
    headers.insert("ce-id", HeaderValue::from_static("s-2"));
    let second = binary(&headers, &fixed()).unwrap();
    assert_eq!(first.identity, second.identity);
    assert_ne!(first.digest, second.digest);
    assert_eq!(binary(&plus(&[]), &fixed()).unwrap().digest, first.digest);
}
