//! Attributes are strings. One that is `null` is not set (CloudEvents JSON format, 2.2); one of another type is told as
//! such, and hides nothing behind it.

use proptest::prelude::*;

use super::*;

const KNOWN: [&str; 7] = ["id", "tenant", "sku", "type", "time", "severity", "specversion"];

#[test]
fn an_attribute_of_another_type_is_told_as_such() {
    for name in KNOWN {
        for (value, found) in [
            ("1", "a number"),
            ("-1", "a number"),
            ("1.0", "a number"),
            ("true", "a boolean"),
            ("[]", "an array"),
            (r#"[{"a":[]}]"#, "an array"),
            (r#"{"a":{}}"#, "an object"),
        ] {
            let why = reason(&format!(r#"{{"{name}":{value}}}"#), &fixed());
            assert_eq!(why, Reason::Type(name, found), "{value}");
            assert_eq!(why.to_string(), format!("`{name}` must be a string, and is {found}"));
        }
    }
    let first = reason(r#"{"sku":1,"id":true}"#, &fixed());
    assert_eq!(first, Reason::Type("sku", "a number"), "the first is told");
}

#[test]
fn what_stands_behind_a_wrong_type_is_still_json_or_not() {
    for broken in [
        r#"{"id":1,"id":2}"#,
        r#"{"id":[{"a":1,"a":2}]}"#,
        r#"{"id":1,}"#,
        r#"{"id":1e400}"#,
        r#"{"id":nul}"#,
        r#"{"id":null"#,
        r#"{"id":null,"id":"s-1"}"#,
    ] {
        assert!(matches!(reason(broken, &fixed()), Reason::Json(_)), "{broken}");
    }
    let nested = |depth: usize| format!(r#"{{"id":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(reason(&nested(31), &fixed()), Reason::Type("id", "an array"));
    assert!(matches!(reason(&nested(32), &fixed()), Reason::Json(_)));
}

#[test]
fn what_is_no_object_is_told_as_such() {
    for (text, found) in [
        ("null", "null"),
        ("true", "a boolean"),
        ("7", "a number"),
        ("-7.5", "a number"),
        (r#""signal""#, "a string"),
        (r#"[{"id":"s-1"}]"#, "an array"),
    ] {
        assert_eq!(reason(text, &fixed()), Reason::Object(found), "{text}");
        let batch = parse(Verified::assumed(format!("[{{}},{text},{{}}]").into()), Form::Batch, &fixed());
        let lines = parse(Verified::assumed(format!("{{}}\n{text}\n{{}}").into()), Form::Lines, &fixed());
        for unfit in [batch.unwrap_err(), lines.unwrap_err()] {
            let items: Vec<_> = unfit.items().collect();
            let expected =
                [(0, &Reason::Missing("id")), (1, &Reason::Object(found)), (2, &Reason::Missing("id"))];
            assert_eq!((&items[..], unfit.status()), (&expected[..], 422), "{text}");
        }
    }
}

#[test]
fn an_attribute_that_is_null_is_missing_where_it_is_needed() {
    for (name, is) in [("id", "s-1"), ("tenant", "acme"), ("sku", "vm"), ("type", "cost.usage")] {
        let text = with("").replace(&format!(r#""{name}":"{is}""#), &format!(r#""{name}":null"#));
        assert_eq!(reason(&text, &fixed()), Reason::Missing(name), "{text}");
    }
    let fixed = Fixed { tenant: Some("acme".into()), sku: Some("vm".into()), ..Fixed::default() };
    let text = br#"{"id":"s-1","tenant":null,"sku":null,"type":"cost.usage"}"#;
    let signal = one(text, &fixed).unwrap();
    assert_eq!((signal.tenant(), signal.sku()), ("acme", "vm"), "what the source fixes");
}

#[test]
fn data_that_is_null_is_data() {
    // JSON format, 3.1.1: an explicit payload.
    assert!(one(with(r#""data":null"#).as_bytes(), &fixed()).is_ok());
}

proptest! {
    /// Names, identity and severity stay what they were, whatever else is not set; only the text is another.
    #[test]
    fn attributes_that_are_not_set_change_nothing(
        known in prop::sample::subsequence(vec!["time", "severity", "specversion"], 0..=3),
        others in prop::collection::hash_set("[a-z0-9]{1,20}", 0..6),
        set in prop::sample::subsequence(
            vec![r#""severity":"critical""#, r#""time":"2026-01-02T03:04:05Z""#, r#""specversion":"1.0""#], 0..=3),
        at in 0..4_usize,
    ) {
        let is_set = |name: &str| set.iter().any(|member| member.starts_with(&format!(r#""{name}""#)));
        let unset = known.into_iter().chain(others.iter().map(String::as_str));
        let unset: Vec<String> = unset
            .filter(|name| !is_set(name) && !["id", "tenant", "sku", "type"].contains(name))
            .map(|name| format!(r#""{name}":null"#))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect();
        let needed = [r#""id":"s-1""#, r#""tenant":"acme""#, r#""sku":"vm""#, r#""type":"cost.usage""#];
        let mut members: Vec<String> = needed.iter().chain(&set).map(|member| (*member).to_owned()).collect();
        let plain = with(&set.join(","));
        members.splice(at..at, unset);
        let body = format!("{{{}}}", members.join(","));
        let [one, other] = [&plain, &body].map(|text| one(text.as_bytes(), &fixed()).unwrap());
        prop_assert_eq!((one.id(), one.tenant(), one.sku(), one.kind()), (other.id(), other.tenant(), other.sku(), other.kind()));
        prop_assert_eq!((one.severity, one.identity), (other.severity, other.identity));
        prop_assert_eq!(&other.body()[..], body.as_bytes());
    }
}
