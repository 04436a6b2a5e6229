//! The bytes are written by hand, by the numbers of the proto files.

use prost::Message as _;

use super::super::answers::{in_order, versions};
use super::super::status::Trouble;
use super::super::value::{
    self, Change, Fields, Presumes, Timestamp as Time, Value as Ours, Version, Write as OurWrite,
};
use super::*;

fn hex(message: &impl prost::Message) -> String {
    faster_hex::hex_string(&message.encode_to_vec())
}

#[test]
fn each_kind_of_value_has_its_number() {
    let map = Fields::from([("k".to_owned(), Ours::Integer(1))]);
    let cases = [
        (Ours::Null, "5800"),
        (Ours::Bool(true), "0801"),
        // An oneof's member is written even where it is zero.
        (Ours::Bool(false), "0800"),
        (Ours::Integer(300), "10ac02"),
        (Ours::Integer(-1), "10ffffffffffffffffff01"),
        (Ours::Text("ü".to_owned()), "8a0102c3bc"),
        (Ours::Bytes(Bytes::from_static(&[0, 255])), "92010200ff"),
        (Ours::Time(Time { seconds: 1, nanos: 5000 }), "52050801108827"),
        (Ours::Array(vec![Ours::Null, Ours::Bool(true)]), "4a080a0258000a020801"),
        (Ours::Map(map), "32090a070a016b12021001"),
    ];
    for (value, bytes) in cases {
        let wire = Value::from(value.clone());
        assert_eq!(hex(&wire), bytes, "{value:?}");
        let fields = BTreeMap::from([("f".to_owned(), wire)]);
        assert_eq!(value::from_wire(fields), Ok(Fields::from([("f".to_owned(), value)])));
    }
}

#[test]
fn a_kind_that_is_not_ours_is_told_by_its_field() {
    // double_value = 3, reference_value = 5, geo_point_value = 8.
    for bytes in ["19000000000000f03f", "2a0161", "4200"] {
        let mut raw = vec![0; bytes.len() / 2];
        faster_hex::hex_decode(bytes.as_bytes(), &mut raw).unwrap();
        let value = Value::decode(&raw[..]).unwrap();
        let inner = BTreeMap::from([("inner".to_owned(), value)]);
        let map = Value { kind: Some(Kind::Map(MapValue { fields: inner })) };
        let fields = BTreeMap::from([("outer".to_owned(), map)]);
        let told = value::from_wire(fields).unwrap_err().to_string();
        assert_eq!(told, "the field `outer` has a value of a kind that gemba does not write");
    }
}

#[test]
fn writes_have_their_names_and_preconditions() {
    let name = |path: &str| format!("d/{path}");
    let write = |change, presumes| OurWrite { document: "a/b".to_owned(), change, presumes }.into_wire(name);
    let put = || Change::Put(Fields::from([("f".to_owned(), Ours::Null)]));
    // update: name "d/a/b", fields {"f": null}.
    let update = "0a100a05642f612f6212070a016612025800";
    assert_eq!(hex(&write(put(), None)), update);
    assert_eq!(hex(&write(put(), Some(Presumes::Absent))), format!("{update}22020800"));
    assert_eq!(hex(&write(put(), Some(Presumes::Present))), format!("{update}22020801"));
    let version = Version { seconds: 2, nanos: 1 };
    let presumed = format!("{update}2206120408021001");
    assert_eq!(hex(&write(put(), Some(Presumes::Version(version)))), presumed);
    assert_eq!(hex(&write(Change::Delete, None)), "1205642f612f62");
}

fn time(nanos: i32) -> Timestamp {
    Timestamp { seconds: 1, nanos }
}

fn found(name: &str, nanos: i32) -> Bytes {
    let document = Document { name: name.to_owned(), update_time: Some(time(nanos)), ..Document::default() };
    let response = BatchGetDocumentsResponse { result: Some(Looked::Found(document)), read_time: None };
    response.encode_to_vec().into()
}

fn missing(name: &str) -> Bytes {
    let response =
        BatchGetDocumentsResponse { result: Some(Looked::Missing(name.to_owned())), read_time: None };
    response.encode_to_vec().into()
}

#[test]
fn answers_are_put_in_the_order_of_the_question() {
    let names = ["a", "b", "c", "a"].map(str::to_owned);
    let only_a_time = BatchGetDocumentsResponse { result: None, read_time: Some(time(9)) };
    let answers = vec![only_a_time.encode_to_vec().into(), found("c", 3), missing("b"), found("a", 1)];
    let documents = in_order(&names, answers).unwrap();
    let nanos: Vec<Option<i32>> =
        documents.iter().map(|document| document.as_ref().map(|document| document.version.nanos)).collect();
    assert_eq!(nanos, [Some(1), None, Some(3), Some(1)]);
}

#[test]
fn an_answer_that_lacks_something_is_no_answer() {
    let names = ["a", "b"].map(str::to_owned);
    let unknown = |answers| assert!(matches!(in_order(&names, answers), Err(Trouble::Unknown(_))));
    unknown(vec![]);
    unknown(vec![found("a", 1)]);
    unknown(vec![found("a", 1), Bytes::from_static(&[0xff])]);
    let versions = |deletes: &[bool], results: &[Option<i32>]| {
        let write_results =
            results.iter().map(|nanos| WriteResult { update_time: nanos.map(time) }).collect();
        let answer = CommitResponse { write_results, commit_time: Some(time(0)) };
        versions(deletes, &[answer.encode_to_vec().into()])
    };
    let one = Some(Version { seconds: 1, nanos: 1 });
    assert_eq!(versions(&[false, true], &[Some(1), None]), Ok(vec![one, None]));
    assert!(matches!(versions(&[false], &[]), Err(Trouble::Unknown(_))));
    assert!(matches!(versions(&[false], &[None]), Err(Trouble::Unknown(_))));
    assert!(matches!(crate::net::firestore::answers::versions(&[false], &[]), Err(Trouble::Unknown(_))));
    assert!(matches!(
        crate::net::firestore::answers::versions(&[false], &[Bytes::from_static(&[9])]),
        Err(Trouble::Unknown(_))
    ));
}
