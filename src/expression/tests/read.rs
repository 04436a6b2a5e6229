//! One pass over a body.

use super::*;
use crate::expression::{List, Map};

const BODY: &[u8] = br#" {"id":"s\u00311","sub":{"data":1},"time":"2026-01-02T03:04:05Z","list":["}",{"data":2},"\\"],
    "d\u0061ta" : { "spend":731.25, "own\"er":{"team":"co\nre","more":{}}, "tags":["a"], "big":1e300,"small":-0.001} }"#;

/// What these paths have in a body.
fn read(paths: &[&str], body: &[u8], is: Body) -> Result<Vec<String>, Fault> {
    let mut names = names();
    let slots: Vec<_> =
        paths.iter().map(|path| names.find(&path.split('.').collect::<Vec<_>>()).unwrap().slot).collect();
    let reader = names.reader(slots.iter().copied());
    let mut facts = Facts::new();
    // What an earlier signal left behind is gone.
    for slot in &slots {
        facts.set(*slot, Value::Bool(false));
    }
    let mut facts = facts.recycle();
    reader.read(body, is, &mut facts)?;
    Ok(slots.iter().map(|slot| format!("{:?}", facts.get(*slot))).collect())
}

#[test]
fn finds_what_is_asked_for_and_nothing_else() {
    let paths = [
        "signal.id",
        "signal.data.spend",
        "signal.data.own\"er.team",
        "signal.data.tags",
        "signal.data.nothing.x",
    ];
    let found = read(&paths, BODY, Body::Signal).unwrap();
    assert_eq!(found[0], r#"Value(Text("s11"))"#);
    assert_eq!(found[1], "Value(Double(731.25))");
    assert_eq!(found[2], r#"Value(Text("co\nre"))"#);
    assert!(found[3].starts_with("Value(List(Json("), "{}", found[3]);
    assert_eq!(found[4], "Missing");
    let found = read(
        &["signal.data", "signal.data.own\"er", "signal.data.small", "signal.data.big"],
        BODY,
        Body::Signal,
    );
    let found = found.unwrap();
    assert!(found[0].starts_with("Value(Map(Json(") && found[1].starts_with("Value(Map(Json("));
    assert_eq!(&found[2..], ["Value(Double(-0.001))", "Value(Double(1e300))"]);
}

#[test]
fn an_attribute_that_is_null_is_not_set_and_null_data_is_a_value() {
    let body = br#"{"time":null,"data":{"owner":null}}"#;
    let found = read(&["signal.time", "signal.data.owner"], body, Body::Signal).unwrap();
    assert_eq!(found, ["Missing", "Value(Null)"]);
    let found = read(&["signal.time", "signal.data"], br#"{"data":null}"#, Body::Signal).unwrap();
    assert_eq!(found, ["Missing", "Value(Null)"]);
}

#[test]
fn body_of_a_binary_signal_is_the_document() {
    let body = br#"{"spend":2,"time":"2026-01-02T03:04:05Z","data":{"spend":3}}"#;
    let paths = ["signal.data.spend", "signal.time", "signal.data.data.spend", "signal.id"];
    let found = read(&paths, body, Body::Document).unwrap();
    assert_eq!(found, ["Value(Double(2.0))", "Missing", "Value(Double(3.0))", "Missing"]);
    assert_eq!(
        read(&["signal.data", "signal.data.x"], b" 7 ", Body::Document).unwrap(),
        ["Value(Double(7.0))", "Missing"]
    );
    assert_eq!(read(&["signal.time"], b"not read at all", Body::Document).unwrap(), ["Missing"]);
}

#[test]
fn fields_of_another_type_do_not_fit() {
    let found = read(&["signal.time", "signal.id"], br#"{"time":"yesterday","id":7}"#, Body::Signal).unwrap();
    assert_eq!(found, ["Unfit", "Unfit"]);
    let found = read(&["signal.time", "signal.id"], br#"{"time":7}"#, Body::Signal).unwrap();
    assert_eq!(found, ["Unfit", "Missing"]);
}

#[test]
fn numbers_are_rounded_as_the_standard_library_does() {
    for text in [
        "0",
        "-0",
        "1",
        "10",
        "0.1",
        "731.25",
        "9007199254740992",
        "9007199254740993",
        "9007199254740995",
        "1e22",
        "1e23",
        "123456789012345678901234567890",
        "0.000000000000000000000001",
        "0.3",
        "1.7976931348623157e308",
        "5e-324",
        "2.2250738585072011e-308",
        "99999999999999999999.5",
        "1234567890.12345678",
        "18446744073709551617",
        "1E+2",
        "1.5e-3",
    ] {
        let found = read(&["signal.data"], text.as_bytes(), Body::Document).unwrap();
        let number: f64 = text.parse().unwrap();
        assert_eq!(found, [format!("Value(Double({number:?}))")], "{text}");
    }
}

/// No bytes panic, and every cut of a body is refused or read.
#[test]
fn broken_bodies_are_refused() {
    let paths = ["signal.id", "signal.data.own\"er.more.x", "signal.data.tags", "signal.time"];
    for cut in 0..BODY.len() - 1 {
        assert_eq!(read(&paths, &BODY[..cut], Body::Signal), Err(Fault::Body), "{cut}");
    }
    for at in 0..BODY.len() {
        for byte in [b'"', b'\\', b'{', b'}', b'[', b']', b',', b':', b' ', 0, 0xff, b'e', b'u'] {
            let mut body = BODY.to_vec();
            body[at] = byte;
            let _ = read(&paths, &body, Body::Signal);
        }
    }
}

#[test]
fn broken_parts_are_a_fault_when_they_are_looked_into() {
    let mut names = names();
    let text = "signal.data.a[1].b == 1.0";
    let expression = Expression::compile(text, &mut names, Type::Bool).unwrap();
    let reader = names.reader(expression.slots().iter().copied());
    for body in [
        &br#"{"data":{"a":[1,}]}}"#[..],
        br#"{"data":{"a":[1,{"b"}]}}"#,
        br#"{"data":{"a":[1,{"b":tru}]}}"#,
        br#"{"data":{"a":[1 {}]}}"#,
    ] {
        let mut facts = Facts::new();
        reader.read(body, Body::Signal, &mut facts).unwrap();
        assert_eq!(expression.holds(&facts, &mut Steps::default()), Err(Fault::Body));
    }
}

#[test]
fn facts_keep_their_memory_for_the_next_signal() {
    let mut names = names();
    let slot = names.find(&["signal", "data", "x"]).unwrap().slot;
    let reader = names.reader([slot]);
    let mut facts = Facts::new();
    for round in 0..3 {
        let body = format!(r#"{{"data":{{"x":"{round}"}}}}"#);
        reader.read(body.as_bytes(), Body::Signal, &mut facts).unwrap();
        assert_eq!(format!("{:?}", facts.get(slot)), format!("Value(Text(\"{round}\"))"));
        facts = facts.recycle();
        assert_eq!(format!("{:?}", facts.get(slot)), "Missing");
    }
}

#[test]
fn lists_and_maps_can_be_taken_whole() {
    let json: &[u8] = br#"{"a":[1,{"b":2}]}"#;
    let Ok((Value::Map(map), _)) = crate::expression::value::value(json, 0) else { panic!("a map") };
    let entries = map.to_vec().unwrap();
    let Value::List(list) = &entries[0].1 else { panic!("a list") };
    let items = list.to_vec().unwrap();
    assert!(matches!(items[..], [Value::Double(1.0), Value::Map(Map::Json(_))]));
    assert!(matches!(list, List::Json(_)));
}

#[test]
fn escapes_mean_what_json_says() {
    let read = |json: &str| {
        crate::expression::value::value(json.as_bytes(), 0).map(|(value, _)| format!("{value:?}"))
    };
    assert_eq!(read(r#""\ud83d\ude00\n\/\u00e9""#).unwrap(), format!("Text({:?})", "😀\n/é"));
    for broken in [r#""\ud83d""#, r#""\ude00""#, r#""\x""#, r#""\u12""#] {
        assert!(read(broken).is_err(), "{broken}");
    }
}
