//! Traces for people, where nobody runs a receiver: each span is an event of the log.

use std::fmt;

use crate::kaizen::{Span, SpanValue};

/// Writes one span. Where nothing takes the event, nothing is formatted.
pub fn write(span: &Span) {
    tracing::debug!(
        target: "gemba::traces",
        span = span.name.into_str(),
        took_us = u64::try_from(span.ended.saturating_duration_since(span.begun).as_micros()).unwrap_or(u64::MAX),
        trace = faster_hex::hex_string(&span.trace.id()),
        id = faster_hex::hex_string(&span.id.to_bytes()),
        parent = span.parent.map(|parent| faster_hex::hex_string(&parent.to_bytes())),
        attributes = %SpanAttributes(span),
        reason = span.failed.as_deref(),
        "a span ended"
    );
}

/// What is said of a span, as `name=value` with a space between.
struct SpanAttributes<'a>(&'a Span);

impl fmt::Display for SpanAttributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.0.attributes.iter().enumerate() {
            let between = if at == 0 { "" } else { " " };
            match value {
                SpanValue::Text(text) => write!(f, "{between}{name}={text}")?,
                SpanValue::Number(number) => write!(f, "{between}{name}={number}")?,
                SpanValue::Flag(flag) => write!(f, "{between}{name}={flag}")?,
            }
        }
        Ok(())
    }
}
