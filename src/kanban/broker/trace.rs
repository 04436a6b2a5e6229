//! The trace that a message belongs to: that of its first signal, if that names one (CloudEvents, Distributed Tracing
//! extension; W3C Trace Context, `traceparent` version 00). The signals themselves keep theirs.

use crate::expression::{Body, Expression, Facts, Names, Reader, Steps, Type, Value};
use crate::signal::{Assurance, Signal};

/// Finds a signal's `traceparent`.
#[derive(Debug)]
pub struct Trace {
    reader: Reader,
    asked: Option<Expression>,
}

const FIELD: &str = "signal.traceparent";

impl Default for Trace {
    fn default() -> Self {
        let mut names = Names::new();
        names.field(FIELD, "traceparent", Type::String);
        let asked = Expression::compile(FIELD, &mut names, Type::String).ok();
        let slots = asked.iter().flat_map(|asked| asked.slots().iter().copied());
        Self { reader: names.reader(slots), asked }
    }
}

impl Trace {
    /// What the signal says, where it is one.
    #[must_use]
    pub fn of(&self, signal: &Signal) -> Option<Box<str>> {
        let mut facts = Facts::new();
        // In binary mode the attributes are not in the body.
        if signal.provenance.assurance == Assurance::D
            || self.reader.read(signal.body(), Body::Signal, &mut facts).is_err()
        {
            return None;
        }
        match self.asked.as_ref()?.run(&facts, &mut Steps::default()) {
            Ok(Value::Text(text)) if is_traceparent(&text) => Some(text.into()),
            _ => None,
        }
    }
}

/// W3C Trace Context, 3.2: `00-<trace id>-<parent id>-<flags>`, lowercase hex, ids not all zero.
fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let named = |part: &str| part.bytes().any(|byte| byte != b'0');
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        ["00", trace, parent, flags] => {
            hex(trace, 32) && named(trace) && hex(parent, 16) && named(parent) && hex(flags, 2)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kanban::journal::tests::named;
    use crate::signal::Unchecked;

    #[test]
    fn only_a_whole_traceparent_is_one() {
        let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(right));
        for wrong in [
            "",
            "00-0af7-b7ad-01",
            &right.replacen("00", "01", 1),
            &right.to_uppercase(),
            &format!("{right}-01"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert!(!is_traceparent(wrong), "{wrong}");
        }
        let trace = Trace::default();
        let of = |body: String| {
            let signal = Unchecked { body: body.into(), ..named("a").into() };
            trace.of(&signal.check().unwrap())
        };
        assert_eq!(trace.of(&named("a")), None);
        let traced = of(format!(r#"{{"id":"a","traceparent":"{right}"}}"#));
        assert_eq!(traced.as_deref(), Some(right));
        assert_eq!(of(r#"{"id":"a","traceparent":7}"#.into()), None);
    }
}
