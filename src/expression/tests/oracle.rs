//! The crate `cel` as the judge of what an expression means, except where CEL's specification says otherwise: that is in
//! [`otherwise`], and in tables of their own. Shared with the fuzz target.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use cel::objects::{Key as TheirKey, Map as TheirMap};
use cel::parser::Parser;
use cel::{Context, Env, Value as Theirs};

use super::expression::{Body, Expression, Facts, Fault, Key, Names, Slot, Steps, Type, Value};

/// The crate may loop over a map in any order; ours must be one that it can have.
const ORDERS: usize = 200;
const TIME: &str = "2026-01-02T03:04:05.678+01:00";

static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// What the names that are not of the signal have.
pub fn given() -> [(&'static str, Value<'static>); 4] {
    [
        ("governor.state", Value::Text("stable".into())),
        ("memory.spend", Value::Double(731.25)),
        ("memory.count", Value::Int(3)),
        ("memory.flag", Value::Bool(true)),
    ]
}

/// Whether both come to the same: the same value, or an error. A text that is refused here is not compared. True if it
/// was.
pub fn compare(text: &str, document: &serde_json::Value) -> Result<bool, String> {
    let (mut names, slots) = names();
    let Ok(expression) = Expression::compile(text, &mut names, Type::Dyn) else { return Ok(false) };
    let reader = names.reader(expression.slots().iter().copied());
    let run = |document: &str| {
        let body = format!(r#"{{"id":"s1","time":"{TIME}","more":["\"}}",{{}}],"data":{document}}}"#);
        let mut facts = Facts::new();
        let read = reader.read(body.as_bytes(), Body::Signal, &mut facts);
        for (slot, (_, value)) in slots.iter().zip(given()) {
            facts.set(*slot, value);
        }
        read.and_then(|()| expression.run(&facts, &mut Steps::default()).map(|value| theirs(&value)))
    };
    let ours = match run(&document.to_string()) {
        Err(Fault::Steps) => return Ok(false),
        Err(Fault::Body) => return Err(format!("{text} over {document}: the body is valid")),
        ours => ours,
    };
    match (&ours, run(&escaped(&document.to_string()))) {
        // More bytes may take more steps.
        (_, Err(Fault::Steps)) => {}
        (Ok(ours), Ok(other)) if same(ours, &other) => {}
        (Err(ours), Err(other)) if *ours == other => {}
        (ours, other) => return Err(format!("{text} over {document}: {ours:?}, with escapes {other:?}")),
    }
    let tree = Parser::new().parse(text).map_err(|errors| format!("{text} does not parse: {errors}"))?;
    let mut last = None;
    for _ in 0..ORDERS {
        let theirs = Theirs::resolve(&tree, &context(document));
        let same = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => same(ours, theirs),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        if same {
            return Ok(true);
        }
        last = Some(theirs);
    }
    if otherwise(text, &ours) {
        return Ok(false);
    }
    Err(format!("{text} over {document}: ours is {ours:?}, the crate's {last:?}"))
}

/// Where the crate is not the judge: it reads the beginning of a duration, more than RFC 3339 for a timestamp, digits of
/// every script, milliseconds of a duration as a total, numbers beyond the range of doubles as infinity, and appends a
/// map's keys to a list.
fn otherwise(text: &str, ours: &Result<Theirs, Fault>) -> bool {
    let read = ["duration(", "timestamp(", "getMilliseconds(", "matches(", "double("];
    let appended = matches!(ours, Err(Fault::Mismatch { what, found: Type::Map }) if what == "+")
        || text.contains(" + ") && text.contains('{');
    appended || read.iter().any(|function| text.contains(function))
}

/// The same document with the letters of its texts and keys escaped; what is an escape already stays.
fn escaped(document: &str) -> String {
    let (mut text, mut inside) = (String::new(), false);
    let mut chars = document.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => {
                let of = chars.next().expect("a backslash is never last");
                text.extend(['\\', of]);
                text.extend(chars.by_ref().take(if of == 'u' { 4 } else { 0 }));
            }
            'a'..='e' if inside => text.push_str(&format!("\\u{:04X}", u32::from(char))),
            _ => {
                inside ^= char == '"';
                text.push(char);
            }
        }
    }
    text
}

fn names() -> (Names, [Slot; 4]) {
    let mut names = Names::new();
    let slots = [
        names.declare("governor.state", Type::String),
        names.declare("memory.spend", Type::Double),
        names.declare("memory.count", Type::Int),
        names.declare("memory.flag", Type::Bool),
    ];
    names.document("signal.data");
    names.field("signal.time", "time", Type::Timestamp);
    names.field("signal.id", "id", Type::String);
    (names, slots)
}

fn context(document: &serde_json::Value) -> Context<'static, 'static> {
    let mut context = Context::with_env(Arc::clone(&ENV));
    let mut above: HashMap<String, HashMap<String, Theirs>> = HashMap::new();
    for (name, value) in given() {
        let (first, second) = name.split_once('.').unwrap_or((name, ""));
        above.entry(first.to_owned()).or_default().insert(second.to_owned(), theirs(&value));
    }
    let time = chrono::DateTime::parse_from_rfc3339(TIME).unwrap_or_default();
    let signal = [
        ("id".to_owned(), Theirs::String(Arc::new("s1".to_owned()))),
        ("time".to_owned(), Theirs::Timestamp(time)),
        ("data".to_owned(), of_json(document)),
    ];
    above.insert("signal".to_owned(), signal.into_iter().collect());
    for (name, fields) in above {
        context.add_variable_from_value(name, fields);
    }
    context
}

/// Numbers are doubles.
fn of_json(json: &serde_json::Value) -> Theirs {
    match json {
        serde_json::Value::Null => Theirs::Null,
        serde_json::Value::Bool(bool) => Theirs::Bool(*bool),
        serde_json::Value::Number(number) => Theirs::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Theirs::String(Arc::new(text.clone())),
        serde_json::Value::Array(items) => Theirs::List(Arc::new(items.iter().map(of_json).collect())),
        serde_json::Value::Object(fields) => {
            let entries = fields.iter().map(|(key, value)| (TheirKey::from(key.clone()), of_json(value)));
            Theirs::Map(TheirMap { map: Arc::new(entries.collect()) })
        }
    }
}

/// Ours as the crate has it.
pub fn theirs(value: &Value<'_>) -> Theirs {
    match value {
        Value::Null => Theirs::Null,
        Value::Bool(bool) => Theirs::Bool(*bool),
        Value::Int(int) => Theirs::Int(*int),
        Value::Double(double) => Theirs::Float(*double),
        Value::Text(text) => Theirs::String(Arc::new(text.clone().into_owned())),
        Value::Timestamp(time) => Theirs::Timestamp(*time),
        Value::Duration(duration) => Theirs::Duration(*duration),
        Value::List(list) => {
            Theirs::List(Arc::new(list.to_vec().unwrap_or_default().iter().map(theirs).collect()))
        }
        Value::Map(map) => {
            let entries = map.to_vec().unwrap_or_default();
            let entries = entries.iter().map(|(key, value)| {
                let key = match key {
                    Key::Bool(bool) => TheirKey::Bool(*bool),
                    Key::Int(int) => TheirKey::Int(*int),
                    Key::Text(text) => TheirKey::String(Arc::new(text.clone().into_owned())),
                };
                (key, theirs(value))
            });
            Theirs::Map(TheirMap { map: Arc::new(entries.collect()) })
        }
    }
}

/// Exactly the same: not a number is itself, and an int is no double.
fn same(ours: &Theirs, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (Theirs::Float(ours), Theirs::Float(theirs)) => {
            ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan())
        }
        (Theirs::List(ours), Theirs::List(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs.iter()).all(|(ours, theirs)| same(ours, theirs))
        }
        (Theirs::Map(ours), Theirs::Map(theirs)) => {
            let (ours, theirs) = (&ours.map, &theirs.map);
            ours.len() == theirs.len()
                && ours.iter().all(|(key, value)| theirs.get(key).is_some_and(|other| same(value, other)))
        }
        (Theirs::Int(_), Theirs::Float(_)) | (Theirs::Float(_), Theirs::Int(_)) => false,
        (Theirs::Timestamp(ours), Theirs::Timestamp(theirs)) => {
            ours == theirs && ours.offset() == theirs.offset()
        }
        (ours, theirs) => ours == theirs,
    }
}
