mod differential;
mod limits;
mod meaning;
mod oracle;
mod read;
mod specification;
mod wrong;

use crate::expression;
use expression::{Body, Expression, Facts, Fault, Names, Steps, Type, Value};

/// The names of these tests.
fn names() -> Names {
    let mut names = Names::new();
    names.declare("governor.state", Type::String);
    names.declare("memory.spend", Type::Double);
    names.declare("memory.count", Type::Int);
    names.declare("memory.flag", Type::Bool);
    names.document("signal.data");
    names.field("signal.time", "time", Type::Timestamp);
    names.field("signal.id", "id", Type::String);
    names
}

/// What the text gives over a signal with this document, in the crate's words for values.
fn run(text: &str, document: &str) -> Result<cel::Value, Fault> {
    let mut names = names();
    let expression =
        Expression::compile(text, &mut names, Type::Dyn).unwrap_or_else(|wrong| panic!("{text}: {wrong}"));
    let body = format!(r#"{{"id":"s1","time":"2026-01-02T03:04:05.678Z","data":{document},"after":[]}}"#)
        .into_bytes();
    let mut facts = Facts::new();
    names.reader(expression.slots().iter().copied()).read(&body, Body::Signal, &mut facts).unwrap();
    for (name, value) in oracle::given() {
        facts.set(names.find(&name.split('.').collect::<Vec<_>>()).unwrap().slot, value);
    }
    let value = expression.run(&facts, &mut Steps::default())?;
    Ok(oracle::theirs(&value))
}

/// That it holds, here and in the crate.
#[track_caller]
fn holds(text: &str, document: &str) {
    assert_eq!(run(text, document), Ok(cel::Value::Bool(true)), "{text} over {document}");
    agrees(text, document);
}

/// That it is this fault, and an error in the crate too.
#[track_caller]
fn faults(text: &str, document: &str, fault: &Fault) {
    assert_eq!(run(text, document).as_ref(), Err(fault), "{text} over {document}");
    agrees(text, document);
}

#[track_caller]
fn agrees(text: &str, document: &str) {
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    if let Err(difference) = oracle::compare(text, &document) {
        panic!("{difference}");
    }
}
