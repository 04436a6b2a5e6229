//! Spans as OTLP has them (opentelemetry-proto 1.x, `opentelemetry/proto/collector/trace/v1`): one request for a batch, and
//! what its receiver answers. Pure: bytes out, bytes in.

mod answer;
mod wire;

use prost::Message as _;

pub use answer::Answer;

use super::span::{Span, SpanName, SpanValue};
use crate::clock::Instant;
use wire::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Link, Resource, ResourceSpans,
    ScopeSpans, Status, Value,
};

/// Who tells of the spans, in every request.
#[derive(Clone, Debug)]
pub struct Teller {
    resource: Resource,
}

/// Two clocks at one moment: the one that spans are measured by, and nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: Instant,
    pub wall_nanos: u64,
}

impl Moment {
    /// A span's time as others count it: a wall clock that steps makes no span longer or shorter.
    fn wall(self, at: Instant) -> u64 {
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let before = nanos(self.now.saturating_duration_since(at));
        let after = nanos(at.saturating_duration_since(self.now));
        self.wall_nanos.saturating_sub(before).saturating_add(after)
    }
}

impl Teller {
    /// `attributes` say more of the node.
    #[must_use]
    pub fn new(service: &str, node: &str, role: &str, attributes: &[(String, String)]) -> Self {
        let own = [
            ("service.name", service),
            ("service.instance.id", node),
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("gemba.role", role),
        ];
        let given = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // What is given stands in place of ours.
        let own = own.into_iter().filter(|(name, _)| !attributes.iter().any(|(given, _)| given == name));
        let attributes = own.chain(given).map(|(name, value)| text(name, value)).collect();
        Self { resource: Resource { attributes } }
    }

    /// One request, as protobuf.
    #[must_use]
    pub fn request(&self, spans: &[Span], moment: Moment) -> Vec<u8> {
        let scope = InstrumentationScope { name: "gemba".into(), version: env!("CARGO_PKG_VERSION").into() };
        let spans = spans.iter().map(|span| wire_span(span, moment)).collect();
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }
}

/// Flags of OTLP beside those of W3C: whether a parent is remote is known, and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
const STATUS_ERROR: i32 = 2;

fn wire_span(span: &Span, moment: Moment) -> wire::Span {
    let flags = u32::from(span.trace.flags());
    let is_remote = span.name == SpanName::Receive && span.parent.is_some();
    let link = span.link.map(|link| Link {
        trace_id: link.id().to_vec(),
        span_id: link.span.to_bytes().to_vec(),
        flags: u32::from(link.flags()) | HAS_IS_REMOTE | IS_REMOTE,
    });
    wire::Span {
        trace_id: span.trace.id().to_vec(),
        span_id: span.id.to_bytes().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        name: span.name.into_str().into(),
        kind: match span.name {
            SpanName::Receive => 2,
            SpanName::Try => 3,
            SpanName::Verify | SpanName::Journal | SpanName::Decide | SpanName::Act | SpanName::Receipt => 1,
        },
        start_time_unix_nano: moment.wall(span.begun),
        end_time_unix_nano: moment.wall(span.ended),
        attributes: span.attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        links: link.into_iter().collect(),
        status: span.failed.as_ref().map(|why| Status { message: why.to_string(), code: STATUS_ERROR }),
        flags: flags | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 },
    }
}

fn attribute(name: &str, value: &SpanValue) -> KeyValue {
    let value = match value {
        SpanValue::Text(value) => Value::Text(value.to_string()),
        SpanValue::Number(number) => Value::Number(*number),
        SpanValue::Flag(flag) => Value::Flag(*flag),
    };
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }) }
}

fn text(name: &str, value: &str) -> KeyValue {
    attribute(name, &SpanValue::Text(value.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::trace::TraceContext;

    #[test]
    fn a_span_is_written_as_the_specification_has_it() {
        let parent = TraceContext::parse(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        let trace = parent.under(crate::trace::SpanId::new(7).unwrap());
        let now = clock::now();
        let times = (now, now + Duration::from_millis(2));
        let receive = Span {
            id: trace.span,
            parent: Some(parent.span),
            ..Span::below(trace, SpanName::Receive, (0, 0), times)
        };
        let mut decide = Span::below(trace, SpanName::Decide, (1, 0), times)
            .with("gemba.rule", "budget-80")
            .with("gemba.seq", 42)
            .with("gemba.maybe_twice", true);
        decide.failed = Some("the target is away".into());
        decide.link = Some(parent);
        let teller = Teller::new("gemba", "n1", "all", &[("service.instance.id".into(), "given".into())]);
        let moment = Moment { now, wall_nanos: 1_000_000_000 };
        let request = teller.request(&[receive, decide], moment);
        let request = ExportTraceServiceRequest::decode(&*request).unwrap();
        let [of_node] = &request.resource_spans[..] else { panic!("{request:?}") };
        let resource = of_node.resource.clone().unwrap().attributes;
        let named = |name| resource.iter().filter(move |pair| pair.key == name).collect::<Vec<_>>();
        assert_eq!(named("service.instance.id"), [&text("service.instance.id", "given")]);
        assert_eq!(named("service.name"), [&text("service.name", "gemba")]);
        let [receive, decide] = &of_node.scope_spans[0].spans[..] else { panic!("{of_node:?}") };
        assert_eq!((receive.name.as_str(), receive.kind, receive.flags), ("gemba.receive", 2, 0x301));
        assert_eq!(receive.parent_span_id, parent.span.to_bytes());
        assert_eq!(
            (receive.start_time_unix_nano, receive.end_time_unix_nano),
            (1_000_000_000, 1_002_000_000)
        );
        assert_eq!((decide.kind, decide.flags, decide.links.len()), (1, 0x101, 1));
        assert_eq!(
            (decide.trace_id.as_slice(), decide.parent_span_id.as_slice()),
            (&parent.id()[..], &receive.span_id[..])
        );
        assert_eq!(decide.status, Some(Status { message: "the target is away".into(), code: STATUS_ERROR }));
        assert_eq!(decide.attributes.len(), 3);
    }
}
