//! Strict JSON beside serde_json: what we take, it takes, and there is nothing in it that two readers could read
//! differently.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::*;
use crate::limits::{JSON_DEPTH_MAX, JSON_KEYS_MAX, JSON_NODES_MAX};

/// A value with all its keys, twins included; what serde_json reads, without any rule of ours.
enum Naive {
    Null,
    Text,
    Other,
    List(Vec<Naive>),
    Map(Vec<(String, Naive)>),
}

impl Naive {
    fn depth(&self) -> usize {
        match self {
            Self::Null | Self::Text | Self::Other => 0,
            Self::List(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(entries) => 1 + entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
        }
    }

    fn values(&self) -> usize {
        match self {
            Self::Null | Self::Text | Self::Other => 1,
            Self::List(items) => 1 + items.iter().map(Self::values).sum::<usize>(),
            Self::Map(entries) => 1 + entries.iter().map(|(_, value)| value.values()).sum::<usize>(),
        }
    }

    /// No twin keys and not too many.
    fn has_plain_keys(&self) -> bool {
        match self {
            Self::Null | Self::Text | Self::Other => true,
            Self::List(items) => items.iter().all(Self::has_plain_keys),
            Self::Map(entries) => {
                let mut keys: Vec<&String> = entries.iter().map(|(key, _)| key).collect();
                keys.sort();
                keys.dedup();
                keys.len() == entries.len()
                    && keys.len() <= JSON_KEYS_MAX
                    && entries.iter().all(|(_, value)| value.has_plain_keys())
            }
        }
    }

    /// The rules of the module, said in another way.
    fn is_strict(&self) -> bool {
        self.depth() <= JSON_DEPTH_MAX && self.values() - 1 <= JSON_NODES_MAX && self.has_plain_keys()
    }

    /// An object whose attributes are strings, or not set.
    fn is_of_the_right_types(&self) -> bool {
        let Self::Map(entries) = self else { return false };
        let attributes = ["id", "tenant", "sku", "type", "time", "severity", "specversion"];
        let mut attributes = entries.iter().filter(|(key, _)| attributes.contains(&key.as_str()));
        attributes.all(|(_, value)| matches!(value, Self::Text | Self::Null))
    }
}

impl<'de> Deserialize<'de> for Naive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Naive;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Naive, E> {
                Ok(Naive::Null)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Naive, E> {
                Ok(Naive::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Naive, E> {
                Ok(Naive::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Naive, E> {
                Ok(Naive::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Naive, E> {
                Ok(Naive::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Naive, E> {
                Ok(Naive::Text)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Naive, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Naive::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Naive, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Naive::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Ours and the naive reader agree; what we took has the meaning that serde_json sees.
fn compare(body: &[u8]) {
    let naive = serde_json::from_slice::<Naive>(body).ok();
    let strict = naive.as_ref().is_some_and(Naive::is_strict);
    let typed = naive.is_some_and(|value| value.is_of_the_right_types());
    match one(body, &fixed()) {
        Ok(signal) => {
            assert!(strict && typed, "{}", String::from_utf8_lossy(body));
            let value: serde_json::Value = serde_json::from_slice(body).unwrap();
            let text = |name: &str| value[name].as_str().unwrap();
            assert_eq!(signal.id(), text("id"));
            assert_eq!(signal.tenant(), text("tenant"));
            assert_eq!(signal.sku(), text("sku"));
            assert_eq!(signal.kind(), text("type"));
            let severity = value["severity"].as_str().unwrap_or("info");
            assert_eq!(severity, format!("{:?}", signal.severity).to_lowercase());
            assert_eq!(&signal.body()[..], body);
        }
        Err(Unfit::NotUtf8) => assert!(!strict),
        Err(Unfit::Items { items, .. }) => {
            let not_json = matches!(items[0].1, Reason::Json(_));
            assert_eq!(not_json, !strict, "{}: {items:?}", String::from_utf8_lossy(body));
            let not_typed = matches!(items[0].1, Reason::Object(_) | Reason::Type(..));
            assert_eq!(not_typed, strict && !typed, "{}: {items:?}", String::from_utf8_lossy(body));
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn nested(depth: usize) -> String {
    // The signal's own object is the first level.
    with(&format!(r#""data":{}{}"#, "[".repeat(depth - 1), "]".repeat(depth - 1)))
}

fn says(body: &str, what: &str) {
    compare(body.as_bytes());
    let why = reason(body, &fixed());
    assert!(matches!(&why, Reason::Json(text) if text.contains(what)), "{body:.80}: {why:?}");
}

#[test]
fn nesting_ends_at_32() {
    compare(nested(JSON_DEPTH_MAX).as_bytes());
    assert!(one(nested(JSON_DEPTH_MAX).as_bytes(), &fixed()).is_ok());
    says(&nested(JSON_DEPTH_MAX + 1), "nested deeper than 32");
    says(&nested(200), "nested deeper than 32");
    let objects =
        |depth: usize| with(&format!(r#""data":{}1{}"#, r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1)));
    assert!(one(objects(JSON_DEPTH_MAX).as_bytes(), &fixed()).is_ok());
    says(&objects(JSON_DEPTH_MAX + 1), "nested deeper than 32");
}

#[test]
fn twin_keys_are_found_wherever_and_however_they_are_written() {
    for twins in [
        r#""id":"s-2""#,
        r#""\u0069d":"s-1""#,
        r#""x":1,"x":1"#,
        r#""x":1,"\u0078":1"#,
        r#""é":1,"\u00e9":2"#,
        r#""":1,"":2"#,
        r#""😀":1,"\ud83d\ude00":2"#,
        r#""data":{"a":1,"b":2,"a":3}"#,
        r#""data":[[{"a":1,"\u0061":3}]]"#,
        r#""data":null,"data":{}"#,
    ] {
        says(&with(twins), "stands twice");
    }
    let many: Vec<String> = (0..100).map(|n| format!(r#""k{n}":{n}"#)).collect();
    let distinct = with(&many.join(","));
    assert!(one(distinct.as_bytes(), &fixed()).is_ok());
    for again in [0, 5, 15, 16, 17, 99] {
        says(&with(&format!(r#"{},"k{again}":0"#, many.join(","))), "stands twice");
    }
    assert!(one(with(r#""data":{"id":1},"e":{"id":2}"#).as_bytes(), &fixed()).is_ok());
}

#[test]
fn keys_and_values_are_bounded() {
    let object = |count: usize| {
        let keys: Vec<String> = (0..count).map(|n| format!(r#""{n}":0"#)).collect();
        with(&format!(r#""data":{{{}}}"#, keys.join(",")))
    };
    assert!(one(object(JSON_KEYS_MAX).as_bytes(), &fixed()).is_ok());
    says(&object(JSON_KEYS_MAX + 1), "more than 1000 keys");
    // Four attributes and the list itself are values too.
    let list = |count: usize| with(&format!(r#""data":[{}]"#, vec!["0"; count].join(",")));
    assert!(one(list(JSON_NODES_MAX - 5).as_bytes(), &fixed()).is_ok());
    says(&list(JSON_NODES_MAX - 4), "more than 10000 values");
}

#[test]
fn what_is_no_json_is_refused() {
    let signal = with("");
    for body in [
        String::new(),
        " ".to_owned(),
        format!("{signal}x"),
        format!("{signal}{signal}"),
        format!("{signal},"),
        format!("{signal}\0"),
        format!("\u{feff}{signal}"),
        format!("{signal}\u{feff}"),
        format!("\u{a0}{signal}"),
        signal.replace('"', "'"),
        with(r#""x":"\ud800""#),
        with(r#""x":"\ud800\u0041""#),
        with(r#""x":"\udc00\ud800""#),
        with(r#""\ud800":1"#),
        with("\"x\":\"a\nb\""),
        with(r#""x":"\x41""#),
        with(r#""x":1e400"#),
        with(r#""x":-1e400"#),
        with(r#""x":01"#),
        with(r#""x":+1"#),
        with(r#""x":.5"#),
        with(r#""x":5."#),
        with(r#""x":0x10"#),
        with(r#""x":NaN"#),
        with(r#""x":Infinity"#),
        with(r#""x":[1,]"#),
        with(r#""x":{"a":1,}"#),
        with(r#""x":1 /* no */"#),
        with("x:1"),
        with("\"x\""),
    ] {
        compare(body.as_bytes());
        assert!(matches!(reason(&body, &fixed()), Reason::Json(_)), "{body}");
    }
}

#[test]
fn unusual_json_is_still_json() {
    for more in [
        r#""x":123456789012345678901234567890"#,
        r#""x":-0"#,
        r#""x":1e-400"#,
        r#""x":1E+2"#,
        r#""x":18446744073709551616"#,
        r#""x":"\ud83d\ude00\u0000""#,
        "\"x\":\"\u{7f}\u{2028}\"",
        "\r\n\t \"x\" : [ ] ",
    ] {
        compare(with(more).as_bytes());
        assert!(one(with(more).as_bytes(), &fixed()).is_ok(), "{more}");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_refused() {
    let signal = with(r#""x":"?""#);
    let at = signal.find('?').unwrap();
    for wrong in [&b"\xff"[..], b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        let body = [&signal.as_bytes()[..at], wrong, &signal.as_bytes()[at + 1..]].concat();
        compare(&body);
        assert_eq!(one(&body, &fixed()).unwrap_err(), Unfit::NotUtf8);
    }
}

/// JSON text of few keys, so that twins are common, some of them escaped.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        Just("1e400".to_owned()),
        r#""[a-z ]{0,6}""#,
        Just(r#""\ud83d\ude00""#.to_owned()),
        Just(r#""\ud83d""#.to_owned()),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            members(inner).prop_map(|entries| format!("{{{entries}}}")),
        ]
    })
}

fn members(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c", "d", "e", r"\u0061", "id", "data", "severity", "é"]);
    prop::collection::vec((key, value), 0..5).prop_map(|entries| {
        let entries: Vec<String> =
            entries.into_iter().map(|(key, value)| format!(r#""{key}":{value}"#)).collect();
        entries.join(",")
    })
}

proptest! {
    #[test]
    fn whatever_is_taken_serde_json_takes_and_means_the_same(more in members(value())) {
        compare(with(&more).as_bytes());
    }

    #[test]
    fn damaged_json_is_judged_as_serde_json_judges_it(
        more in members(value()),
        at: prop::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let mut body = with(&more).into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if cut {
            body.truncate(at);
        }
        compare(&body);
    }

    #[test]
    fn foreign_bytes_never_panic(body: Vec<u8>) {
        compare(&body);
        for form in [Form::Batch, Form::Lines] {
            prop_assert!(parse(Verified::assumed(body.clone().into()), form, &fixed()).is_err());
        }
    }
}
