//! The trace that a message belongs to: that of its first signal, as it was carried here or as the signal names one
//! (CloudEvents, Distributed Tracing extension). The signals themselves keep theirs.

use crate::expression::{Body, Expression, Facts, Names, Reader, Steps, Type, Value};
use crate::signal::{Assurance, Signal};
use crate::trace::TraceContext;

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
    pub fn of(&self, signal: &Signal) -> Option<TraceContext> {
        if signal.trace().is_some() {
            return signal.trace();
        }
        let mut facts = Facts::new();
        // In binary mode the attributes are not in the body.
        if signal.provenance.assurance == Assurance::D
            || self.reader.read(signal.body(), Body::Signal, &mut facts).is_err()
        {
            return None;
        }
        match self.asked.as_ref()?.run(&facts, &mut Steps::default()) {
            Ok(Value::Text(text)) => TraceContext::parse(text.as_bytes()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kanban::journal::tests::named;
    use crate::signal::Unchecked;

    #[test]
    fn a_message_belongs_to_the_trace_of_its_first_signal() {
        let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::default();
        let signal = |body: &str| {
            let signal = Unchecked { body: body.to_owned().into(), ..named("a").into() };
            signal.check().unwrap()
        };
        let says = |trace: Option<TraceContext>| trace.map(|trace| trace.to_string());
        assert_eq!(trace.of(&named("a")), None);
        let mut traced = signal(&format!(r#"{{"id":"a","traceparent":"{right}"}}"#));
        assert_eq!(says(trace.of(&traced)).as_deref(), Some(right));
        for wrong in ["7", r#""00-0af7-b7ad-01""#, r#""""#] {
            assert_eq!(trace.of(&signal(&format!(r#"{{"id":"a","traceparent":{wrong}}}"#))), None, "{wrong}");
        }
        // What it was carried here with is nearer.
        traced.set_trace(Some(TraceContext::begun(7, 9)));
        assert_eq!(trace.of(&traced), traced.trace());
    }
}
