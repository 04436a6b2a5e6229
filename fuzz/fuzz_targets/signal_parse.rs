//! A signal is taken only if serde_json takes it, means the same by it, and no key in it stands twice. The text is a
//! verified body, read in each form.
#![no_main]

use bytes::Bytes;
use gemba::signal::{Fixed, Form, Reason, Signal, Signals, Unfit, parse};
use gemba::signature::Verified;
use gemba_fuzz::json::Json;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    single(body);
    for form in [Form::Batch, Form::Lines] {
        several(body, form);
    }
});

fn read(body: &[u8], form: Form<'_>) -> Result<Signals, Unfit> {
    let fixed = Fixed { sku: Some("vm".into()), control: true, ..Fixed::default() };
    parse(Verified::assumed(Bytes::copy_from_slice(body)), form, &fixed)
}

fn single(body: &[u8]) {
    let json = serde_json::from_slice::<Json>(body);
    let strict = json.as_ref().is_ok_and(Json::is_strict);
    let typed = json.is_ok_and(|json| json.is_strict_object());
    match read(body, Form::Single) {
        Ok(Signals::One(signal)) => {
            assert!(typed);
            assert_eq!(signal.body(), body);
            same(&signal);
        }
        Ok(Signals::Batch(_)) => panic!("a single signal is no batch"),
        Err(Unfit::Items { items, .. }) => {
            let not_json = matches!(items[..], [(0, Reason::Json(_))]);
            assert_eq!(not_json, !strict, "{items:?}");
            let not_typed = matches!(items[..], [(0, Reason::Object(_) | Reason::Type(..))]);
            assert_eq!(not_typed, strict && !typed, "{items:?}");
        }
        Err(unfit) => assert!(!strict, "{unfit:?}"),
    }
}

fn several(body: &[u8], form: Form<'_>) {
    let Ok(signals) = read(body, form) else { return };
    let signals = signals.as_slice();
    for signal in signals {
        let json: Json = serde_json::from_slice(signal.body()).expect("an item is JSON");
        assert!(json.is_strict_object());
        same(signal);
    }
    let items: Vec<Value> = match form {
        Form::Batch => serde_json::from_slice(body).expect("a batch is an array"),
        _ => body
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).expect("a line is JSON"))
            .collect(),
    };
    assert_eq!(items.len(), signals.len());
    for (item, signal) in items.iter().zip(signals) {
        assert_eq!(*item, serde_json::from_slice::<Value>(signal.body()).expect("an item is JSON"));
    }
}

/// What we read is what serde_json reads.
fn same(signal: &Signal) {
    let value: Value = serde_json::from_slice(signal.body()).expect("serde_json takes it");
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    assert_eq!(text("id"), Some(signal.id()));
    assert_eq!(text("tenant"), Some(signal.tenant()));
    assert_eq!(text("type"), Some(signal.kind()));
    assert_eq!(text("sku").unwrap_or("vm"), signal.sku());
    let severity = format!("{:?}", signal.severity).to_lowercase();
    assert_eq!(text("severity").unwrap_or("info"), severity);
}
